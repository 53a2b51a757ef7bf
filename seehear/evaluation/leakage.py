"""Leaks from training into a test split, which make its numbers too high.

Exact: one file, recording or text on both sides. Near: a high cosine of vectors of a frozen encoder, equal perceptual
fingerprints of pictures and sounds.
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
# Scores held at once.
_BLOCK = 1 << 24


@dataclass(frozen=True)
class Leak:
    kind: str
    """file, recording, text, near video, near audio, near text, same picture, same sound."""
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
    """Number of clips of the test split."""
    leaks: tuple[Leak, ...]

    def affected(self, kind: str | None = None) -> set[str]:
        """Test clips with a leak, of one kind or any."""
        return {leak.test for leak in self.leaks if kind in (None, leak.kind)}

    def plain(self) -> dict[str, Any]:
        counts = {kind: len(self.affected(kind)) for kind in dict.fromkeys(leak.kind for leak in self.leaks)}
        return asdict(self) | {"affected": counts}

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
    """One leak for each test clip that shares a value (a file's fingerprint, a text) with a training clip. `test`,
    `train`: values by clip."""
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
    """The nearest training row of each test clip whose cosine reaches the threshold. `test`, `train`: clips of rows."""
    if not len(test_NE) or not len(train_ME):
        return []
    # Centred on the training mean: to encoders whose vectors all point one way, everything would be near.
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


AUDIO_RATE = 5512
"""Sample rate of `audio_fingerprint`, Hz: music and speech are recognised below 2 kHz."""
PICTURE = 32
"""Side of the pictures of `picture_fingerprint`, pixels."""
# Largest number of bits of 63 in which two prints of a picture differ, and share of bits in those of a sound.
_SAME_PICTURE, _SAME_SOUND = 8, 0.25
_FRAME, _HOP, _BANDS = 2048, 128, 33
# Frames that two sounds must share: 1.5 s.
_OVERLAP = 64
# Largest number of places of a value; more frequent ones are silence or hum.
_COMMON = 200
# Standard deviation of grey levels below which a picture is blank.
_FLAT = 2.0
# Mean square of a frame relative to the loudest, below which it is silence.
_SILENT = 1e-4


def picture_fingerprint(frame_HWC: np.ndarray) -> int | None:
    """63 bits of a picture, (32, 32, 3) uint8: signs of its 63 lowest frequencies; None for a blank one, which
    resembles every other."""
    if frame_HWC.shape[:2] != (PICTURE, PICTURE):
        raise ValueError(f"a picture must be ({PICTURE}, {PICTURE}, 3); got {frame_HWC.shape}")
    # Luma of ITU-R BT.601, as in JPEG.
    grey = frame_HWC.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    if grey.std() < _FLAT:
        return None
    # Without the first coefficient: the mean brightness changes from copy to copy.
    low = require("scipy.fft").dctn(grey, norm="ortho")[:8, :8].ravel()[1:]
    bits = low > np.median(low)
    # A 64th bit fills the last byte.
    return int(np.packbits(np.append(bits, False)).view(">u8")[0])


def matching_pictures(a: np.ndarray, b: np.ndarray) -> list[tuple[int, int, int]]:
    """(row of a, row of b, different bits) of the uint64 fingerprints that are nearly equal."""
    found = []
    block = max(1, (1 << 22) // max(len(b), 1))
    for at in range(0, len(a), block):
        differ = np.bitwise_count(a[at : at + block, None] ^ b[None, :])
        for i, j in np.argwhere(differ <= _SAME_PICTURE):
            found.append((at + int(i), int(j), int(differ[i, j])))
    return found


def audio_fingerprint(waveform_S: Float[np.ndarray, " s"]) -> np.ndarray:
    """(T,) uint32 of a mono waveform at `AUDIO_RATE`, one each 23 ms; 0 for silence. Bits are signs of the change in
    time of the energy differences of neighbouring bands (Haitsma and Kalker, ISMIR 2002): two prints of a recording
    agree in most bits once aligned, those of different ones in half."""
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
class _SoundMatch:
    place: int
    """Position in the list that was searched."""
    differ: float
    """Share of different bits: 0 for equal sounds, 0.5 for unrelated ones."""
    seconds: float
    """Delay of the query's sound in the other."""


class SoundIndex:
    """Fingerprints of many sounds, searched for those that share a stretch with another."""

    def __init__(self, prints: list[np.ndarray]):
        self.prints = prints
        values = np.concatenate(prints) if prints else np.zeros(0, np.uint32)
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.owner = np.repeat(np.arange(len(prints)), [len(p) for p in prints])[order]
        self.frame = np.concatenate([np.arange(len(p)) for p in prints] or [np.zeros(0, int)])[order]

    def matches(self, query: np.ndarray) -> list[_SoundMatch]:
        """Sounds that agree with the query on at least 1.5 s, each in its best alignment."""
        found = []
        for place, shift in self._candidates(query):
            other = self.prints[place]
            start, stop = max(0, -shift), min(len(query), len(other) - shift)
            mine, theirs = query[start:stop], other[start + shift : stop + shift]
            both = (mine != 0) & (theirs != 0)
            if both.sum() < _OVERLAP:
                # Too short to tell.
                continue
            differ = float(np.bitwise_count(mine[both] ^ theirs[both]).mean() / 32)
            if differ <= _SAME_SOUND:
                found.append(_SoundMatch(place, differ, shift * _HOP / AUDIO_RATE))
        return found

    def _candidates(self, query: np.ndarray) -> list[tuple[int, int]]:
        """(sound, shift) with the most equal values, for each sound with two or more of them."""
        votes: dict[tuple[int, int], int] = {}
        low, high = np.searchsorted(self.values, query, "left"), np.searchsorted(self.values, query, "right")
        # Only exact values are looked up: two prints of one recording share some, even with a quarter of their bits
        # wrong.
        for t in np.flatnonzero((high > low) & (high - low <= _COMMON) & (query != 0)):
            here = slice(low[t], high[t])
            for place, frame in zip(self.owner[here].tolist(), self.frame[here].tolist(), strict=True):
                votes[place, frame - int(t)] = votes.get((place, frame - int(t)), 0) + 1
        best: dict[int, tuple[int, int]] = {}
        for (place, shift), count in votes.items():
            if count > 1 and count > best.get(place, (0, 0))[0]:
                best[place] = (count, shift)
        return [(place, shift) for place, (_, shift) in best.items()]
