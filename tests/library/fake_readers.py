"""Recognisers without a model, for tests of `transcribe` and `ocr`: what they find follows from the input alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from seehear.encoders.screen import ScreenText
from seehear.encoders.whisper import RATE, Segment
from seehear.library.prepare import PrepareOptions
from seehear.library.recordings import read_recordings
from seehear.library.tables import LibraryTables
from seehear.library.transcribe import Transcriber
from tests.library.fake_encoders import IN_PROCESS

FIXED = PrepareOptions(workers=0, clips="fixed", seconds=2.0)


class FakeRecogniser:
    """Hears the word 'tone' for every whole second that is loud, in a language of choice."""

    def __init__(self, *, language: str = "en", delay: float = 0.0):
        self.language, self.delay = language, delay
        self.heard: list[tuple[float, str, bool]] = []
        """(seconds, language, translate) of every call in this process."""

    def __call__(self, samples: np.ndarray, *, language: str, translate: bool) -> tuple[str, Sequence[Segment]]:
        time.sleep(self.delay)
        self.heard.append((len(samples) / RATE, language, translate))
        loud = [n for n in range(len(samples) // RATE) if np.abs(samples[n * RATE :][:RATE]).max() > 0.01]
        if not loud:
            return "", []
        word = "sound" if translate else "tone"
        segments = [Segment(text=f" {word} {n}.", start=float(n), end=n + 0.9) for n in loud]
        return language or self.language, segments


class FakeScreen:
    """Reads a made-up text off the brightness of a frame, in steps of 50; a dark frame has none."""

    def __init__(self) -> None:
        self.found = self.read_frames = 0

    def find(self, frame: np.ndarray) -> np.ndarray:
        self.found += 1
        return np.array([[0.1, 0.1, 0.9, 0.3]] if frame.mean() > 50 else np.empty((0, 4)))

    def read(self, frame: np.ndarray) -> Sequence[ScreenText]:
        self.read_frames += 1
        word = ["nothing", "dusk", "daylight", "brightness", "glare"][min(4, int(frame.mean()) // 50)]
        return [ScreenText(word, 0.9, (0.1, 0.1, 0.9, 0.3))]


def transcribe(lib, recogniser=None, *, weights="w1"):
    reader = Transcriber(recogniser or FakeRecogniser(), name="fake", weights=weights)
    return read_recordings(LibraryTables.open(lib), reader, IN_PROCESS)


def said(lib):
    """Texts of each clip."""
    return {clip.id: [text.text for text in clip.texts] for clip in LibraryTables.open(lib).clips()}
