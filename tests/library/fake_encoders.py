"""Encoders without a model, for tests of the pipeline: what they give is known, and every call is counted."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seehear.encoders import Encoder, Sample
from seehear.encoders.base import ReadText, ReadWaveform
from seehear.errors import SeehearError
from seehear.library.current import read_current
from seehear.library.engines import EngineOptions
from seehear.library.tables import LibraryTables, Vectors

IN_PROCESS = EngineOptions(workers=0)


def latents(library: LibraryTables, name: str) -> Vectors:
    """The current rows of an encoder, of all clips."""
    encoder = library.encoders().get(name, {"fingerprint": ""})
    clips = {clip.id: clip for clip in library.clips()}
    return read_current(library, {"name": name, **encoder}, clips, library.sources())[0]


@dataclass(frozen=True)
class Read:
    """Decodes; a file whose name says so ends its worker, a machine that lacks something ends the run."""

    delay: float = 0.0

    def __call__(self, sample: Sample) -> Any:
        time.sleep(self.delay)
        if "crash" in sample.path:
            os._exit(7)
        if "unready" in sample.path:
            raise SeehearError("this needs the package 'decoder'")
        if "huge" in sample.path:
            raise MemoryError("Unable to allocate 4.00 TiB")
        if "bug" in sample.path:
            raise KeyError("of this file alone")
        return ReadWaveform(rate=8000)(sample)


class FakeSound(Encoder):
    """(start, length, loudness, deviation) of a sound."""

    modality, width = "audio", 4

    def __init__(
        self, *, fingerprint: str = "1111111111111111", delay: float = 0.0, width: int = 4, scale: float = 1.0
    ):
        self.name, self.fingerprint, self.width = "fake-sound", fingerprint, width
        self.delay, self.scale = delay, scale
        self.batches: list[int] = []

    def preparation(self) -> Read:
        return Read(self.delay)

    def prepare(self, sample: Sample) -> Any:
        return self.preparation()(sample)

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(prepared))
        rows = [[len(x) / 8000, np.abs(x).max(), x.std(), x[0], *[0.0] * (self.width - 4)] for x in prepared]
        return np.array(rows, dtype=np.float32) * self.scale


class FakeText(Encoder):
    """(characters, words)."""

    modality, width = "text", 2

    def __init__(self, *, fingerprint: str = "2222222222222222"):
        self.name, self.fingerprint = "fake-text", fingerprint
        self.read: list[str] = []

    def preparation(self) -> ReadText:
        return ReadText()

    def prepare(self, sample: Sample) -> str:
        return self.preparation()(sample)

    def encode(self, prepared: Sequence[str]) -> np.ndarray:
        self.read += prepared
        return np.array([[len(text), len(text.split())] for text in prepared], dtype=np.float32)


class Broken(FakeSound):
    """Numbers that float16 cannot hold, or that are none, for the first sounds of a batch."""

    def encode(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        vectors = super().encode(prepared)
        vectors[0, 0] = np.nan
        if len(vectors) > 1:
            vectors[1, 0] = 1e6
        return vectors
