"""Configuration of a run: method, data, optimiser, training. Recipes are functions that return one.

A data configuration (`LatentsConfig`, `MediaConfig`) loads `Inputs` from a library: latents of frozen encoders, or the
media themselves. Training, validation, estimates and saving use `Inputs` only, whatever a method reads.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import numpy as np
import torch

from seehear.errors import SeehearError, check_range, unknown
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.inputs.contexts import ContextConfig, ContextData, contexts
from seehear.inputs.latents import EncoderInfo, LatentData, encoders_of, load_latents
from seehear.inputs.loader import TrainingData
from seehear.inputs.raw import RawConfig, RawMedia, load_raw
from seehear.inputs.raw.text import Vocabulary, VocabularyConfig, library_vocabulary
from seehear.library.records import learned_texts
from seehear.methods.base import Method, MethodConfig, trained
from seehear.progress import counted, hushed
from seehear.runs.features import clip_features, placed
from seehear.space.frozen import Towers, joint_towers
from seehear.space.saved import InputSpec
from seehear.train.config import TrainConfig
from seehear.train.optim import OptimConfig
from seehear.types import MODALITIES, Float, Modality

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables

Vectors = dict[str, dict[Modality, Embedded]]
"""Vectors of clips, by space and modality."""
_NOT_NOTED = ("cache", "cache_gb", "raw", "vocabulary")
"""Data settings that do not change what is learned, or that are part of 'shown'."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    where: str | None = None
    """Only the clips that meet this SQL condition over the library's columns."""
    validate_at_most: int = 2000
    """Validation clips that are scored, a fixed draw of more."""

    def __post_init__(self) -> None:
        check_range(self, "[2, inf)", "validate_at_most")

    def load(self, library: LibraryTables, method: MethodConfig) -> Inputs:
        """Loads the library's clips as the method reads them."""
        raise NotImplementedError

    @property
    def keeps_clips(self) -> bool:
        """Whether decoded clips are cached."""
        return False

    def cached_in(self, folder: Path) -> Self:
        """The same settings with decoded clips cached in a folder."""
        return self


class Inputs:
    """Loaded clips. The splits 'train' and 'val' are read, 'test' never."""

    clips: Any
    """`LatentData` or `RawMedia`."""
    library: str
    """Address of the library; empty for arrays."""

    @cached_property
    def train(self) -> Any:
        """The training clips with two modalities or more."""
        return self.clips.split("train").joined()

    @cached_property
    def validation(self) -> Any:
        """Likewise the validation clips."""
        return self.clips.split("val").joined()

    def learned_from(self, config: Any, device: torch.device) -> TrainingData:
        """Training data of a run."""
        raise NotImplementedError

    def vectors(self, model: Method, clips: Any) -> Vectors:
        """Vectors of clips in the model's spaces."""
        raise NotImplementedError

    def settings(self, config: Any) -> dict[str, Any]:
        """Settings that a resumed run must share, beside those of `fit`."""
        raise NotImplementedError

    def facts(self, method: Method) -> dict[str, Any]:
        """Record of the inputs in the model's config.json."""
        raise NotImplementedError

    @property
    def files(self) -> Mapping[str, str]:
        """Text by name of the files saved beside the model."""
        return {}

    def about(self, method: Method) -> str:
        """Description of the method's inputs."""
        raise NotImplementedError

    def lost(self) -> str:
        """Description of unreadable clips so far."""
        return ""


def library_place(library: LibraryTables) -> str:
    """Address of a library that stays valid in another working directory."""
    return library.uri if "://" in library.uri else str(Path(library.uri).resolve())


# -- latents -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class LatentsConfig(DataConfig):
    encoders: dict[Modality, tuple[str, ...]] = field(default_factory=dict)
    """Names of the encoders by modality, several of one concatenated. Empty: all that the library has latents of, but
    sequences (words, spectrograms) only for a method that reads them, and then alone of their modality."""
    contexts: ContextConfig = field(default_factory=lambda: ContextConfig(clips_per_video=0))
    """Training clips made of a recording's clips and their neighbours, as in MCN; validation uses the library's
    clips."""
    per_text: bool = False
    """A training row for each text of a clip, as caption sets are published. Off: a row a clip, with one of its texts
    each epoch. Validation is by clip in both."""
    resident: bool = True
    """Keep the latents on the device."""
    joint: str | None = None
    """Joint encoder whose space is kept and bound to, for FuseMix: its towers encode their modalities, words also where
    no clip has text. '' is the library's first, None is none."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.per_text and self.contexts.clips_per_video:
            raise SeehearError(
                "per_text and contexts: a context joins the texts of its clips, leave one of the two out"
            )

    def load(self, library: LibraryTables, method: MethodConfig) -> LatentInputs:
        locked = {} if self.joint is None else joint_towers(library, self.joint)
        encoders: Mapping[Modality, Sequence[str]] = self.encoders
        if locked:
            known = library.encoders()
            # A tower of the joint encoder may have no latents: that of words, where no clip has text.
            towers = {m: [info["name"] for info in infos if info["name"] in known] for m, infos in locked.items()}
            rest = {m: list(self.encoders.get(m, ())) or encoders_of(known, m) for m in MODALITIES if m not in locked}
            encoders = {m: names for m, names in (towers | rest).items() if names}
        data = load_latents(library, encoders=encoders or None, where=self.where, sequences=method.reads_sequences)
        # Contexts are made of training clips alone: a window may not reach into held-out ones.
        made = contexts(library, data.split("train"), self.contexts) if self.contexts.clips_per_video else None
        return LatentInputs(data, contexts=made, library=library_place(library), locked=locked)


@dataclass(frozen=True)
class LatentInputs(Inputs):
    clips: LatentData
    contexts: ContextData | None = None
    """Training data in place of the training clips."""
    library: str = ""
    locked: Towers = field(default_factory=dict)
    """Encoders of the kept space, by modality; that of words may be for queries only."""

    @property
    def encoders(self) -> dict[Modality, Sequence[EncoderInfo]]:
        return {
            m: self.clips.encoders.get(m) or self.locked[m]
            for m in MODALITIES
            if m in {*self.clips.encoders, *self.locked}
        }

    def learned_from(self, config: LatentsConfig, device: torch.device) -> TrainingData:
        if config.joint is not None and not self.locked:
            raise SeehearError("a recipe that binds needs a library: arrays do not say which encoder's space is kept")
        clips: LatentData = self.train.by_text() if config.per_text else self.train
        learned = clips if self.contexts is None else self.contexts
        # Latents are small: on the device, a batch is one index of a tensor.
        return learned.to(device) if config.resident else learned

    def vectors(self, model: Method, clips: LatentData) -> Vectors:
        return {space: embed_latents(model, clips, space=space) for space in model.spaces}

    def settings(self, config: LatentsConfig) -> dict[str, Any]:
        return {"data": asdict(config), "encoders": self.encoders}

    def facts(self, method: Method) -> dict[str, Any]:
        return {"encoders": self.encoders}

    def about(self, method: Method) -> str:
        widths = ", ".join(f"{m} {sum(own)}" for m, own in self.clips.widths.items())
        kept = f"; the space of {', '.join(i[0]['name'] for i in self.locked.values())} stays" if self.locked else ""
        return f"{widths} -> {method.config.dim}{kept}"


# -- media -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class MediaConfig(DataConfig):
    raw: RawConfig = field(default_factory=RawConfig)
    """Input of the model."""
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    """Vocabulary of the texts."""
    validate_at_most: int = 1000
    """Validation clips that are scored, a fixed draw of more."""
    windows: int = 1
    """Evenly spaced windows whose mean is a clip's vector, in validation and in the trained model."""
    crops: int = 1
    """Squares of each window along the longer side of the picture, likewise."""
    cache: Path | None = None
    """Folder of decoded clips, shared by runs; without one every epoch decodes the media."""
    cache_gb: float = 20.0
    """Largest size of the cache."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[1, inf)", "windows", "crops")
        check_range(self, "(0, inf)", "cache_gb")

    def load(self, library: LibraryTables, method: MethodConfig) -> MediaInputs:
        """Loads the modalities that the library has, with a vocabulary of its training texts."""
        clips = library.clips(self.where)
        asked = [m for m in self.raw.modalities if m in method.modalities]
        # A library may lack a modality that the recipe could read: the run does without.
        has = {m: any(learned_texts(clip) if m == "text" else clip.has(m) for clip in clips) for m in asked}
        raw = replace(self.raw, modalities=tuple(m for m in asked if has[m]))
        words = self.words_of(library) if "text" in raw.modalities else None
        spec = InputSpec(raw=raw, windows=self.windows, crops=self.crops, vocabulary=words)
        media = load_raw(library, raw, vocabulary=words, where=self.where, cache=self.cache, cache_gb=self.cache_gb)
        # Only the rows of the library's own words: published tables have millions.
        table = words.vectors(self.vocabulary.table) if words and self.vocabulary.table else None
        return MediaInputs(media, spec=spec, table=table, library=library_place(library))

    def words_of(self, library: LibraryTables) -> Vocabulary:
        """Vocabulary of the run."""
        return library_vocabulary(library, self.vocabulary)

    @property
    def keeps_clips(self) -> bool:
        return self.cache is not None

    def cached_in(self, folder: Path) -> Self:
        return replace(self, cache=folder)


@dataclass(frozen=True)
class MediaInputs(Inputs):
    clips: RawMedia
    spec: InputSpec
    table: Float[np.ndarray, "v d"] | None = None
    """Vectors that the vocabulary's words start from."""
    library: str = ""

    def learned_from(self, config: MediaConfig, device: torch.device) -> RawMedia:
        return self.train

    def vectors(self, model: Method, clips: RawMedia) -> Vectors:
        """Mean of a clip's windows in each space."""
        # Called for every evaluation, within the progress of training.
        with hushed():
            features = clip_features(model, clips, windows=self.spec.windows, crops=self.spec.crops)
        return {space: placed(model, features, space) for space in model.spaces}

    def settings(self, config: MediaConfig) -> dict[str, Any]:
        # A run may go on with its cache in another place.
        data = {k: v for k, v in asdict(config).items() if k not in _NOT_NOTED}
        return {"data": data, "shown": self.spec.plain()}

    def facts(self, method: Method) -> dict[str, Any]:
        return self.spec.facts(method)

    @property
    def files(self) -> Mapping[str, str]:
        return self.spec.files

    def about(self, method: Method) -> str:
        raw, words, looked = self.spec.raw, self.spec.vocabulary, []
        if "video" in raw.modalities:
            # Named, as a part of the picture that is left out is easily forgotten.
            whole = raw.region == (0.0, 0.0, 1.0, 1.0)
            part = "" if whole else f" of the part {raw.region} (--data.raw.region) of each"
            moves = ", what moves in them (--data.raw.motion)" if raw.motion else ""
            looked.append(f"{raw.frames} pictures of {raw.size} pixels{part}, {raw.fps:g} a second{moves}")
        if "audio" in raw.modalities:
            looked.append(f"{raw.audio_seconds:g} s of sound")
        return ", ".join([*looked, *([counted(len(words), "word")] if words else [])])

    def lost(self) -> str:
        times = self.train.lost
        return f"; {counted(times, 'time')} something of a clip could not be read" if times else ""


# -- the run ----------------------------------------------------------------------------------------------------------


Data = TypeVar("Data", bound=DataConfig)
Settings = TypeVar("Settings", bound=MethodConfig)


@dataclass(frozen=True, kw_only=True)
class Run(Generic[Data, Settings]):
    recipe: str
    """Name of the recipe."""
    method: Settings
    """Method settings; those that depend on the data are filled in."""
    data: Data
    """Training data."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def presets(method: str) -> ModuleType:
    """`seehear.recipes.METHOD`: its `PRESETS`, runs by name with the default first, and its `build`."""
    return importlib.import_module(f"seehear.recipes.{method}")


@cache
def recipes() -> dict[str, Callable[[], Run[Any, Any]]]:
    """All runs by name: 'fusemix.base', and 'fusemix' for the first preset of a method. A preset with a dot in its name
    is a variant with that full name: 'vatt-ma.medium'."""
    found = {}
    for method in trained():
        made: dict[str, Callable[[], Run[Any, Any]]] = presets(method).PRESETS
        # The first preset is the default of its method.
        found[method] = next(iter(made.values()))
        found |= {name if "." in name else f"{method}.{name}": make for name, make in made.items()}
    return found


def recipe(name: str) -> Run[Any, Any]:
    if name not in recipes():
        raise unknown("recipe", name, recipes())
    return recipes()[name]()
