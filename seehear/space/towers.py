"""Towers of a trained method that reads media, as frozen encoders: latents, indexes, evaluation and search then work as
for methods that read latents.

The latent of a tower is its features of each window of a clip, flattened: (W D). `SharedSpace.embed` applies the heads;
the vector of a clip is the mean over its windows, made unit.
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
        self.fingerprint = fingerprint(model=model, modality=modality)
        self.name = f"{method.name}-{model[:8]}.{modality}"
        self.windows = 1 if modality == "text" else inputs.windows * (inputs.crops if modality == "video" else 1)
        raw = inputs.raw
        empty = {
            "text": torch.zeros(1, 1, raw.words, dtype=torch.int64),
            "audio": torch.zeros(1, raw.samples),
            "video": torch.zeros(1, raw.frames, raw.size, raw.size, 3, dtype=torch.uint8),
        }
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
    model = fingerprint(
        weights=tensors_hash(method.state_dict()), method=method.name, config=asdict(method.config), **inputs.plain()
    )
    return {m: Tower(method, m, inputs, model=model) for m in modalities}


def _numbers(sample: Sample, *, vocabulary: Vocabulary, words: int) -> np.ndarray:
    """(1, 1, L) word numbers of a text."""
    return vocabulary.encode(sample.text, words)[None, None]
