"""The towers of a trained method as frozen encoders of its own: then a library's latents, its index, evaluation and
search are the same for methods that read media as for those that read latents.

A tower's latent is its features of each window of a clip, laid flat: (W D). `SharedSpace.embed` takes them through the
heads, and a clip's vector is the mean of its windows there, made unit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.weights import fingerprint, tensors_hash
from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.inputs.raw.reading import views_of
from seehear.inputs.raw.text import Vocabulary
from seehear.methods.base import Method
from seehear.types import Modality, Tensor

VOCABULARY = "vocabulary.json"
"""In a model's folder: its words, where it reads texts."""
_BLOCK = 16  # views the model always sees at once


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """What of a clip a method is shown when it is used, and how its texts become numbers."""

    raw: RawConfig
    windows: int = 1
    crops: int = 1
    vocabulary: Vocabulary | None = None

    def plain(self) -> dict[str, Any]:
        """For 'shown' in a model's config.json; the vocabulary lies beside it."""
        words = {"vocabulary": self.vocabulary.fingerprint} if self.vocabulary else {}
        return {"raw": asdict(self.raw), "windows": self.windows, "crops": self.crops} | words

    def facts(self, method: Method) -> dict[str, Any]:
        """What `save_model` writes of a trained method that is shown this: its towers are its encoders."""
        towers = towers_of(method, self)
        infos = {m: [{"name": t.name, "fingerprint": t.fingerprint, "width": t.width}] for m, t in towers.items()}
        return {"encoders": infos, "shown": self.plain()}

    @property
    def files(self) -> dict[str, str]:
        """Text by the name of a file that lies beside the model."""
        return {} if self.vocabulary is None else {VOCABULARY: self.vocabulary.to_json()}

    @classmethod
    def from_plain(cls, said: Mapping[str, Any], folder: Path) -> InputSpec:
        """What `plain` gave, and the vocabulary of the model's folder."""
        try:
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in said["raw"].items()}
            raw = RawConfig(**values)
            windows, crops, expected = int(said["windows"]), int(said["crops"]), said.get("vocabulary", "")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SeehearError(f"{folder / 'config.json'}: 'shown' is not as seehear writes it ({error})") from error
        words = Vocabulary.load(folder / VOCABULARY, expected=expected) if expected else None
        return cls(raw=raw, windows=windows, crops=crops, vocabulary=words)


class Tower(Encoder):
    """One modality of a method that reads media."""

    of_run = True
    no_graph = "it reads media itself: of such a model only the heads are exported"

    def __init__(self, method: Method, modality: Modality, inputs: InputSpec, *, model: str):
        """`model`: the fingerprint of all of it."""
        self.method, self.modality, self.inputs = method, modality, inputs
        self.fingerprint = fingerprint(model=model, modality=modality)
        self.name = f"{method.name}-{model[:8]}.{modality}"
        self.windows = 1 if modality == "text" else inputs.windows * (inputs.crops if modality == "video" else 1)
        self.width = self._rows(self._nothing()).shape[1] * self.windows

    def prepare(self, sample: Sample) -> np.ndarray:
        prepared: np.ndarray = self.preparation()(sample)
        return prepared

    def preparation(self) -> Callable[[Sample], Any]:
        inputs = self.inputs
        if self.modality == "text":
            assert inputs.vocabulary is not None
            return partial(_numbers, vocabulary=inputs.vocabulary, words=inputs.raw.words)
        return partial(views_of, m=self.modality, config=inputs.raw, windows=inputs.windows, crops=inputs.crops)

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return self._rows(torch.from_numpy(np.concatenate(list(prepared)))).numpy().reshape(len(prepared), self.width)

    @torch.inference_mode()
    def _rows(self, x: Tensor) -> Tensor:
        """(R, D) of views, always so many at a time: what a row gives depends on that row alone."""
        device, found = next(self.method.parameters()).device, []
        for some in x.split(_BLOCK):
            block = torch.zeros(_BLOCK, *some.shape[1:], dtype=some.dtype)
            block[: len(some)] = some
            features = self.method.features(self.modality, block.to(device))[: len(some)]
            found.append(features.flatten(1).float().cpu())
        return torch.cat(found)

    def _nothing(self) -> Tensor:
        """A view with nothing in it."""
        raw = self.inputs.raw
        if self.modality == "text":
            return torch.zeros(1, 1, raw.words, dtype=torch.int64)
        if self.modality == "audio":
            return torch.zeros(1, raw.samples)
        return torch.zeros(1, raw.frames, raw.size, raw.size, 3, dtype=torch.uint8)


def towers_of(method: Method, inputs: InputSpec) -> dict[Modality, Tower]:
    """The modalities in the order of the first space that holds them."""
    modalities = dict.fromkeys(m for held in method.spaces.values() for m in held)
    model = fingerprint(
        weights=tensors_hash(method.state_dict()), method=method.name, config=asdict(method.config), **inputs.plain()
    )
    return {m: Tower(method, m, inputs, model=model) for m in modalities}


def _numbers(sample: Sample, *, vocabulary: Vocabulary, words: int) -> np.ndarray:
    """(1, 1, L)"""
    return vocabulary.encode(sample.text, words)[None, None]
