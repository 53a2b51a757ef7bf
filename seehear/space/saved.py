"""Loading of model folders: the method with its weights, and the input specification and towers of one that reads
media."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.weights import fingerprint, tensors_hash
from seehear.errors import SeehearError, near, read_json
from seehear.inputs.raw import RawConfig
from seehear.inputs.raw.reading import views_of
from seehear.inputs.raw.text import Vocabulary
from seehear.methods.base import Method, make_method
from seehear.space.frozen import FROZEN, load_frozen
from seehear.train.files import has_model
from seehear.types import Modality, Tensor


def load_method(folder: str | os.PathLike[str]) -> tuple[Method, dict[str, Any], InputSpec | None]:
    """(method, config.json, input specification if the method reads media) of a run or model folder, or of a frozen
    space ('frozen:LIBRARY', `space/frozen.py`)."""
    if str(folder).startswith(FROZEN):
        frozen, towers = load_frozen(str(folder))
        return frozen, {"encoders": towers}, None
    method, config = load_model(folder)
    if not method.reads_media:
        return method, config, None
    folder = model_folder(folder)
    if not isinstance(config.get("shown"), dict):
        raise SeehearError(f"{folder / 'config.json'} has no input specification ('shown'): train again")
    return method, config, InputSpec.from_plain(config["shown"], folder)


class ModelGone(SeehearError):
    """The model of an index is missing."""

    def __init__(self, message: str, todo: str):
        super().__init__(f"{message}: run '{todo}'")
        self.message, self.todo = message, todo


def model_of(library_uri: str, name: str, about: Mapping[str, Any]) -> str:
    """Address of the model of an index, for `load_method`; raises `ModelGone`. `about`: entry of the index in
    `indexes`."""
    model = str(about.get("model", ""))
    # By the present address of the library, which may have moved.
    if model.startswith(FROZEN):
        return f"{FROZEN}{library_uri}#{model.partition('#')[2]}"
    if not model or not Path(model).is_dir():
        raise ModelGone(
            f"the model of index {name} is no longer at {model!r}", f"seehear index {library_uri} RUN --name {name}"
        )
    return model


def load_model(folder: str | os.PathLike[str]) -> tuple[Method, dict[str, Any]]:
    """(method, config.json) of a run or model folder."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = model_folder(folder)
    config, weights = read_config(folder), folder / "model.safetensors"

    def make() -> Method:
        made = make_method(config["method"], config["config"])
        made.set_last_sizes(config.get("last_layer", {}))
        return made

    try:
        # Needs no memory, however large the sizes of a foreign config are.
        with torch.device("meta"):
            empty = make()
            sizes = {name: tuple(tensor.shape) for name, tensor in empty.state_dict().items()}
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise SeehearError(f"{folder / 'config.json'} describes no {config['method']} model: {error}") from error
    # Before anything of that size is allocated.
    _check_sizes(sizes, weights, empty.current_name)
    method = make()
    try:
        tensors = {method.current_name(name): tensor for name, tensor in load_file(weights).items()}
    except (SafetensorError, OSError) as error:
        raise SeehearError(f"{weights} cannot be read: {error}") from error
    for name, tensor in tensors.items():
        # One NaN makes every vector NaN, and every search empty, without an error.
        if not torch.isfinite(tensor).all():
            raise SeehearError(f"{weights}: tensor {name} has NaN or infinity: train again, or copy the model again")
    method.load_state_dict(tensors)
    return method, config


def model_folder(folder: str | os.PathLike[str]) -> Path:
    """Model folder of a run, or the folder itself if it is a model folder."""
    for candidate in (Path(folder) / "model", Path(folder)):
        if has_model(candidate):
            return candidate
    raise SeehearError(
        f"no trained model in {folder}{'' if os.path.exists(folder) else near(folder)}: a run has "
        "model/model.safetensors once it has been trained"
    )


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a model folder."""
    path = folder / "config.json"
    config = read_json(path, "it is no model that seehear saved")
    if missing := [name for name in ("method", "config", "encoders") if name not in config]:
        raise SeehearError(f"{path} lacks {', '.join(missing)}: it is no model that seehear saved")
    kinds = {"method": str, "config": dict, "encoders": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(config[name], kind)]
    fields = {"name": str, "fingerprint": str, "width": int}
    for infos in [] if wrong else config["encoders"].values():
        if not isinstance(infos, list) or not all(
            isinstance(info, dict) and all(isinstance(info.get(name), kind) for name, kind in fields.items())
            for info in infos
        ):
            wrong = ["encoders"]
    if wrong:
        raise SeehearError(f"{path}: {', '.join(wrong)} is not as seehear writes it")
    return config


def verdict_of(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Verdict at the end of training of a run (`runs/verdict.py`), {} for none."""
    if str(folder).startswith(FROZEN):
        return {}
    verdict = read_config(model_folder(folder)).get("verdict")
    return verdict if isinstance(verdict, dict) and isinstance(verdict.get("words"), str) else {}


def _check_sizes(sizes: Mapping[str, tuple[int, ...]], path: Path, current_name: Callable[[str], str]) -> None:
    """Raises `SeehearError` for a file without tensors of exactly these sizes; reads only its header."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            stored = {current_name(name): tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SeehearError(f"{path} cannot be read: {error}") from error
    for name in sorted(sizes.keys() | stored.keys()):
        if sizes.get(name) != stored.get(name):
            raise SeehearError(
                f"{path} does not fit its config.json: {name} is {_size(stored.get(name))}, "
                f"and should be {_size(sizes.get(name))}"
            )


def _size(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else " x ".join(map(str, shape)) or "one number"


# ----------------------------------------------------------------------------------------------------------------------
# Towers of a trained method that reads media, as frozen encoders: latents, indexes, evaluation and search then work as
# for methods that read latents.
#
# The latent of a tower is its features of each window of a clip, flattened: (W D). `SharedSpace.embed` applies the
# heads; the vector of a clip is the mean over its windows, made unit.

VOCABULARY = "vocabulary.json"
"""File of a model folder with the words of a method that reads texts."""
# Views of every forward pass.
_BLOCK = 16


@dataclass(frozen=True, kw_only=True)
class InputSpec:
    """Input specification of a method that reads media: views of a clip, and the vocabulary of its texts."""

    raw: RawConfig
    windows: int = 1
    crops: int = 1
    vocabulary: Vocabulary | None = None

    def plain(self) -> dict[str, Any]:
        """Entry 'shown' of a model's config.json; the vocabulary is a file of its own."""
        words = {"vocabulary": self.vocabulary.fingerprint} if self.vocabulary else {}
        return {"raw": asdict(self.raw), "windows": self.windows, "crops": self.crops} | words

    def facts(self, method: Method) -> dict[str, Any]:
        """Entries of config.json of a method with these inputs, whose encoders are its towers."""
        towers = towers_of(method, self)
        infos = {m: [{"name": t.name, "fingerprint": t.fingerprint, "width": t.width}] for m, t in towers.items()}
        return {"encoders": infos, "shown": self.plain()}

    @property
    def files(self) -> dict[str, str]:
        """Content of further files of the model folder by name."""
        return {} if self.vocabulary is None else {VOCABULARY: self.vocabulary.to_json()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], folder: Path) -> InputSpec:
        """Specification from `plain` and the vocabulary of the model's folder."""
        try:
            # JSON has lists, and the configuration tuples.
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain["raw"].items()}
            raw = RawConfig(**values)
            windows, crops, expected = int(plain["windows"]), int(plain["crops"]), plain.get("vocabulary", "")
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise SeehearError(f"{folder / 'config.json'}: 'shown' is not as seehear writes it ({error})") from error
        words = Vocabulary.load(folder / VOCABULARY, expected=expected) if expected else None
        return cls(raw=raw, windows=windows, crops=crops, vocabulary=words)


class Tower(Encoder):
    """One modality of a method that reads media."""

    of_run = True
    no_graph = "it reads media itself: of such a model only the heads are exported"

    def __init__(self, method: Method, modality: Modality, inputs: InputSpec, *, model: str):
        """`model`: fingerprint of the whole model."""
        self.method, self.modality, self.inputs = method, modality, inputs
        # The whole model: towers share weights, and their latents lie in one space.
        self.fingerprint = fingerprint(model=model, modality=modality)
        self.name = f"{method.name}-{model[:8]}.{modality}"
        self.windows = 1 if modality == "text" else inputs.windows * (inputs.crops if modality == "video" else 1)
        raw = inputs.raw
        empty = {
            "text": torch.zeros(1, 1, raw.words, dtype=torch.int64),
            "audio": torch.zeros(1, raw.samples),
            "video": torch.zeros(1, raw.frames, raw.size, raw.size, 3, dtype=torch.uint8),
        }
        # A dry run: methods do not state the width of their features.
        self.width = self._rows(empty[modality]).shape[1] * self.windows

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
        """(R, D) features of views, in blocks of a fixed size: the result of a row then depends on that row alone."""
        device, found = next(self.method.parameters()).device, []
        for some in x.split(_BLOCK):
            block = torch.zeros(_BLOCK, *some.shape[1:], dtype=some.dtype)
            block[: len(some)] = some
            features = self.method.features(self.modality, block.to(device))[: len(some)]
            found.append(features.flatten(1).float().cpu())
        return torch.cat(found)


def towers_of(method: Method, inputs: InputSpec) -> dict[Modality, Tower]:
    """Towers by modality, in the order of the first space with the modality."""
    modalities = dict.fromkeys(m for held in method.spaces.values() for m in held)
    # With the input specification: the same weights on other frames give other features.
    model = fingerprint(
        weights=tensors_hash(method.state_dict()), method=method.name, config=asdict(method.config), **inputs.plain()
    )
    return {m: Tower(method, m, inputs, model=model) for m in modalities}


def _numbers(sample: Sample, *, vocabulary: Vocabulary, words: int) -> np.ndarray:
    """(1, 1, L) word numbers of a text."""
    return vocabulary.encode(sample.text, words)[None, None]
