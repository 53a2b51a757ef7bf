"""What a test split shares with training: clips that are the same, or nearly, make numbers too good.

Exact: one file or recording on both sides, or the same words. Near: vectors of a frozen encoder whose cosine is
unlikely of different things, fingerprints of picture and sound (`fingerprints.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seehear.errors import require
from seehear.nn.unit import unit
from seehear.progress import counted
from seehear.types import Float

NEAR = 0.95
"""Cosine of frozen latents from which two items count as near-duplicates."""
_BLOCK = 1 << 24  # scores held at once


@dataclass(frozen=True)
class Leak:
    kind: str
    """file, recording, text, near video, near audio, near text, same picture or same sound."""
    test: str
    """Clip id."""
    train: str
    """Clip id, or the group for 'recording'."""
    score: float = 1.0
    """Cosine, or the share of bits that agree."""


@dataclass(frozen=True)
class LeakageReport:
    split: str
    clips: int
    """In the test split."""
    leaks: tuple[Leak, ...]

    def affected(self, kind: str | None = None) -> set[str]:
        """Test clips with a leak."""
        return {leak.test for leak in self.leaks if kind in (None, leak.kind)}

    def plain(self) -> dict[str, Any]:
        counts = {kind: len(self.affected(kind)) for kind in dict.fromkeys(leak.kind for leak in self.leaks)}
        leaks = [asdict(leak) for leak in self.leaks]
        return {"split": self.split, "clips": self.clips, "affected": counts, "leaks": leaks}

    def __str__(self) -> str:
        if not self.leaks:
            return f"{self.split}: none of {self.clips:,} clips was found among the training clips"
        lines = [f"{self.split}: {len(self.affected()):,} of {self.clips:,} clips were found among the training clips"]
        for kind in dict.fromkeys(leak.kind for leak in self.leaks):
            own = [leak for leak in self.leaks if leak.kind == kind]
            shown = ", ".join(f"{leak.test} ~ {leak.train}" for leak in own[:3])
            lines.append(
                f"  {kind}: {counted(len(self.affected(kind)), 'clip')} ({shown}{', ...' if len(own) > 3 else ''})"
            )
        return "\n".join(lines)


def equal_values(kind: str, test: dict[str, Sequence[str]], train: dict[str, Sequence[str]]) -> list[Leak]:
    """Clips that share a value (a file's fingerprint, a text): {clip: its values}. One training clip is named for each
    test clip."""
    owner: dict[str, str] = {}
    for clip, values in train.items():
        for value in values:
            owner.setdefault(value, clip)
    found = []
    for clip, values in test.items():
        shared = next((owner[value] for value in values if value in owner), None)
        if shared is not None:
            found.append(Leak(kind, clip, shared))
    return found


def near_duplicates(
    kind: str,
    test_NE: Float[np.ndarray, "n e"],
    train_ME: Float[np.ndarray, "m e"],
    *,
    test: Sequence[str],
    train: Sequence[str],
    threshold: float = NEAR,
) -> list[Leak]:
    """The nearest training row of each test row, where the cosine reaches the threshold; the best row of each clip.

    Latents are centred on the training mean first: encoders whose vectors all point one way would call everything near.
    """
    if not len(test_NE) or not len(train_ME):
        return []
    mean = np.asarray(train_ME, np.float32).mean(axis=0)
    test_NE, train_ME = unit(np.asarray(test_NE, np.float32) - mean), unit(np.asarray(train_ME, np.float32) - mean)
    best: dict[str, Leak] = {}
    block = max(1, _BLOCK // len(train_ME))
    for at in range(0, len(test_NE), block):
        scores = test_NE[at : at + block] @ train_ME.T
        nearest = scores.argmax(axis=1)
        for i in np.flatnonzero(scores.max(axis=1) >= threshold):
            leak = Leak(kind, test[at + int(i)], train[int(nearest[i])], float(scores[i, nearest[i]]))
            if leak.test not in best or leak.score > best[leak.test].score:
                best[leak.test] = leak
    return list(best.values())


# ----------------------------------------------------------------------------------------------------------------------
# Perceptual fingerprints: the same picture or sound after another encoding, size or volume has (nearly) the same one.
#
# Pictures: signs of the 63 lowest frequencies of a 32 x 32 grey copy. Sounds: for each 23 ms the signs of how the
# energy differences of neighbouring bands change in time, 32 bits (Haitsma and Kalker, ISMIR 2002); two stretches of
# the same recording agree in most bits once aligned, and bits of different ones agree by half.

AUDIO_RATE = 5512
"""Samples a second that `audio_fingerprint` takes: music and speech are recognised below 2 kHz."""
PICTURE = 32
"""Pixels of a side that `picture_fingerprint` takes."""
SAME_PICTURE = 8  # bits of 63 that may differ
SAME_SOUND = 0.25  # share of bits that may differ
_FRAME, _HOP, _BANDS = 2048, 128, 33
_OVERLAP = 64  # frames that two sounds must share: 1.5 s
_COMMON = 200  # places a value may stand at; more often it is silence or hum, and says nothing
_FLAT = 2.0  # standard deviation of grey levels below which a picture is blank
_SILENT = 1e-4  # mean square of a frame relative to the loudest, below which it is silence


def picture_fingerprint(frame_HWC: np.ndarray) -> int | None:
    """63 bits of a 32 x 32 picture, (32, 32, 3) uint8; None for a blank one, which resembles every other."""
    if frame_HWC.shape[:2] != (PICTURE, PICTURE):
        raise ValueError(f"a picture must be ({PICTURE}, {PICTURE}, 3); got {frame_HWC.shape}")
    grey = frame_HWC.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    if grey.std() < _FLAT:
        return None
    low = require("scipy.fft").dctn(grey, norm="ortho")[:8, :8].ravel()[1:]
    bits = low > np.median(low)
    return int(np.packbits(np.append(bits, False)).view(">u8")[0])


def matching_pictures(a: np.ndarray, b: np.ndarray, *, most: int = SAME_PICTURE) -> list[tuple[int, int, int]]:
    """(place in a, place in b, bits that differ) of the fingerprints, uint64, that are nearly the same."""
    found = []
    block = max(1, (1 << 22) // max(len(b), 1))
    for at in range(0, len(a), block):
        differ = np.bitwise_count(a[at : at + block, None] ^ b[None, :])
        for i, j in np.argwhere(differ <= most):
            found.append((at + int(i), int(j), int(differ[i, j])))
    return found


def audio_fingerprint(waveform_S: Float[np.ndarray, " s"]) -> np.ndarray:
    """(T,) uint32 of a mono waveform at `AUDIO_RATE`; 0 for silence."""
    if len(waveform_S) < _FRAME + _HOP:
        return np.zeros(0, np.uint32)
    frames_TF = np.lib.stride_tricks.sliding_window_view(np.asarray(waveform_S, np.float64), _FRAME)[::_HOP]
    power_TF = np.abs(np.fft.rfft(frames_TF * np.hanning(_FRAME), axis=1)) ** 2
    edges = np.geomspace(300.0, 2000.0, _BANDS + 1) * _FRAME / AUDIO_RATE
    bands_TB = np.add.reduceat(power_TF, np.round(edges).astype(int), axis=1)[:, :_BANDS]
    across = bands_TB[:, :-1] - bands_TB[:, 1:]
    bits = across[1:] - across[:-1] > 0
    values = np.packbits(bits, axis=1).view(">u4").ravel().astype(np.uint32)
    loudness = np.mean(frames_TF[1:] ** 2, axis=1)
    return np.where(loudness > _SILENT * max(loudness.max(), 1e-12), values, 0).astype(np.uint32)


@dataclass(frozen=True)
class SoundMatch:
    place: int
    """Place in the list that was searched."""
    differ: float
    """Share of bits that differ: 0 for the same, 0.5 for strangers."""
    seconds: float
    """How much later the query's sound comes in the other."""


class SoundIndex:
    """Fingerprints of many sounds, to find those that share a stretch with another."""

    def __init__(self, prints: list[np.ndarray]):
        self.prints = prints
        values = np.concatenate(prints) if prints else np.zeros(0, np.uint32)
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.owner = np.repeat(np.arange(len(prints)), [len(p) for p in prints])[order]
        self.frame = np.concatenate([np.arange(len(p)) for p in prints] or [np.zeros(0, int)])[order]

    def matches(self, query: np.ndarray) -> list[SoundMatch]:
        """Sounds that agree with the query on at least 1.5 s, best alignment of each."""
        found = []
        for place, shift in self._candidates(query):
            differ = _difference(query, self.prints[place], shift)
            if differ is not None and differ <= SAME_SOUND:
                found.append(SoundMatch(place, differ, shift * _HOP / AUDIO_RATE))
        return found

    def _candidates(self, query: np.ndarray) -> list[tuple[int, int]]:
        """(sound, shift) with most values in common, for each sound that shares two or more."""
        votes: dict[tuple[int, int], int] = {}
        low, high = np.searchsorted(self.values, query, "left"), np.searchsorted(self.values, query, "right")
        for t in np.flatnonzero((high > low) & (high - low <= _COMMON) & (query != 0)):
            here = slice(low[t], high[t])
            for place, frame in zip(self.owner[here].tolist(), self.frame[here].tolist(), strict=True):
                votes[place, frame - int(t)] = votes.get((place, frame - int(t)), 0) + 1
        best: dict[int, tuple[int, int]] = {}
        for (place, shift), count in votes.items():
            if count > 1 and count > best.get(place, (0, 0))[0]:
                best[place] = (count, shift)
        return [(place, shift) for place, (_, shift) in best.items()]


def _difference(query: np.ndarray, other: np.ndarray, shift: int) -> float | None:
    """Share of bits that differ where both sound; None when that is too short to tell."""
    start, stop = max(0, -shift), min(len(query), len(other) - shift)
    mine, theirs = query[start:stop], other[start + shift : stop + shift]
    both = (mine != 0) & (theirs != 0)
    if both.sum() < _OVERLAP:
        return None
    return float(np.bitwise_count(mine[both] ^ theirs[both]).mean() / 32)
