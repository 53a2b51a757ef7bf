"""Interface of encoders: one modality in, one vector of `width` numbers out, the same every time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

if TYPE_CHECKING:  # not at run time: decode workers import this file, and do without torch
    from torch import nn

    from seehear.types import Modality, Tensor


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


@dataclass(frozen=True)
class Graph:
    """An encoder as one network from named tensors to latents (B, width), for export."""

    network: nn.Module
    inputs: Mapping[str, Tensor]
    """Examples by name, of two samples."""
    axes: Mapping[str, Mapping[int, str]]
    """Names of the axes of each input that may have another length; the first is the batch."""
    takes: str
    """Description of the inputs."""
    least: Mapping[str, int] = field(default_factory=dict)
    """Smallest length by the name of an axis, if above 2."""
    files: Sequence[Path] = ()
    """Files that making the inputs takes."""


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
    windows: int = 1
    """Vectors of a clip that a row holds side by side."""
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

    no_graph: ClassVar[str] = "it is no network that torch can export"
    """Reason why there is no `graph`."""

    def graph(self) -> Graph | None:
        """The encoder for export; one with a `source` begins at the latents of that. None where it has none."""
        return None

    def to(self, device: str) -> Self:
        """Move the model; encoders without one stay where they are."""
        return self

    def preparation(self) -> Callable[[Sample], Any]:
        """`prepare` as something that pickles: it goes to the worker processes. Encoders with a large model hand out
        the decoding alone."""
        return self.prepare
