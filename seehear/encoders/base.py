"""Interface of encoders: one modality in, one vector of `width` numbers out, the same every time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

if TYPE_CHECKING:  # not at run time: decode workers import this file, and do without torch
    from seehear.types import Modality


@dataclass(frozen=True)
class Sample:
    """Input of an encoder: a window of a media file, or a text."""

    path: str = ""
    start: float = 0.0
    """Seconds."""
    end: float = 0.0
    """Seconds; for a picture start = end = 0."""
    text: str = ""


@dataclass(frozen=True)
class SampleVectors:
    """Vectors of one sample."""

    vector: np.ndarray
    """(width,) float32."""
    frames: Sequence[np.ndarray] = ()
    """(width,) float32 of each frame of a film that differs from the one before it; none where all are alike."""
    places: Sequence[float] = ()
    """Share of the window at which each of these frames is on show, ascending."""


class Encoder(ABC):
    """A frozen encoder. `prepare` runs in worker processes (decoding, resizing: no model), `encode` where the model is.
    `encode` of a sample does not depend on what else is in the batch; threads may call it at the same time."""

    name: str
    """Name that the user gave: 'efficientnet-lite0', or 'hub:<folder or id>[#layer=..,pool=..]'."""
    modality: Modality
    width: int
    shape: tuple[int, int] | None = None
    """Of an encoder that gives a sequence, which is stored flat: (L, D) of words, (F, S) of a spectrogram; the width is
    their product."""
    of_run: bool = False
    """Whether it is a part of a trained model: then nothing takes its latents that does not ask for them by name."""
    model: str = ""
    """Of such a part: where the trained model lies."""
    device: str = "cpu"
    """Device of the model."""
    fingerprint: str
    """16 hex digits over weights, preprocessing and pooling: another fingerprint is another space."""

    source: Encoder | None = None
    """Encoder whose latents this one is a function of: where a library has them, no media are read."""

    @abstractmethod
    def prepare(self, sample: Sample) -> Any:
        """Decode and shape one sample. Raises `DecodeError` for media that cannot be read."""

    @abstractmethod
    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        """(B, width) float32, one row a prepared sample."""

    def encode_parts(self, prepared: Sequence[Any]) -> list[SampleVectors]:
        """`encode`, with the vectors of frames by encoders that see them one by one."""
        return [SampleVectors(vector) for vector in self.encode(prepared)]

    def query_preparation(self) -> Callable[[Sample], Any]:
        """`preparation` for what is searched with: some text encoders want another prompt there than for documents."""
        return self.preparation()

    def derive(self, latents: np.ndarray) -> np.ndarray:
        """(B, width) float32 from stored latents of `source`, equal to `encode` of what they were made from."""
        raise NotImplementedError

    def to(self, device: str) -> Self:
        """Move the model; encoders without one stay where they are."""
        return self

    def preparation(self) -> Callable[[Sample], Any]:
        """`prepare` as something that pickles: it goes to the worker processes. Encoders with a large model hand out
        the decoding alone."""
        return self.prepare
