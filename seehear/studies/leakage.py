"""Leaks from training into a test split, which make its numbers too high.

Exact: one file, recording or text on both sides. Near: a high cosine of vectors of a frozen encoder, equal perceptual
fingerprints of pictures and sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from seehear.errors import DecodeError, SeehearError, require, unknown
from seehear.library.tables import SPLITS, Clip, LibraryTables
from seehear.nn.unit import unit
from seehear.progress import counted, progress, say
from seehear.types import Float

if TYPE_CHECKING:
    from seehear.inputs.latents import LatentData

NEAR = 0.95
"""Cosine of frozen latents from which two items count as near-duplicates."""
AUDIO_RATE = 5512
"""Sample rate of `audio_fingerprint`, Hz: music and speech are recognised below 2 kHz."""
_Rows = tuple[Float[np.ndarray, "n e"], Sequence[str]]
"""Vectors, and the clip of each."""
# Scores held at once.
BLOCK = 1 << 24
_FRAMES = 3
_TIME_LIMIT = 300.0


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


def check_leakage(
    library: LibraryTables | str | Path,
    *,
    split: str = "test",
    latents: bool = True,
    media: bool = False,
    threshold: float = NEAR,
    workers: int = 1,
) -> LeakageReport:
    """Clips of `split` compared with those of train and val: by recording, content and text; with `latents` by the
    cosine of frozen encoders; with `media` by fingerprints of decoded pictures and sounds, which finds copies that no
    file name shows."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    library = library if isinstance(library, LibraryTables) else LibraryTables.open(library)
    clips = library.clips()
    test = [clip for clip in clips if clip.split == split]
    # Validation clips count as training: settings are chosen by them.
    train = [clip for clip in clips if clip.split != split and clip.split != "test"]
    if not test or not train:
        raise SeehearError(
            f"{library.uri} has {len(test)} clips of {split} and {len(train)} to train on: nothing to compare"
        )
    best: dict[tuple[str, str], Leak] = {}
    for leak in chain(
        _by_values(library, test, train),
        _by_latents(library, test, train, threshold) if latents else (),
        _by_media(library, test, train, workers) if media else (),
    ):
        # One of a kind for a clip, its nearest: a film of many frames would be listed many times.
        key = leak.kind, leak.test
        if key not in best or leak.score > best[key].score:
            best[key] = leak
    return LeakageReport(split, len(test), tuple(best.values()))


def _by_values(library: LibraryTables, test: Sequence[Clip], train: Sequence[Clip]) -> Iterator[Leak]:
    sources = library.sources()

    def contents(clip: Clip) -> list[str]:
        # By content: a copy has another path. With the span, as clips of one film are not copies of each other.
        own = [sources[name] for name in {clip.source, clip.audio_source} if name in sources]
        return [f"{source.fingerprint} {clip.start!r} {clip.end!r}" for source in own]

    keys: dict[str, Callable[[Clip], list[str]]] = {
        "file": contents,
        "recording": lambda clip: [clip.group] if clip.group else [],
        # Case and spaces do not make a text another one.
        "text": lambda clip: [" ".join(t.text.lower().split()) for t in clip.texts],
    }
    for kind, key in keys.items():
        yield from equal_values(kind, {c.id: key(c) for c in test}, {c.id: key(c) for c in train})


class _Window(NamedTuple):
    """Media of a clip for a worker process; '' for a side that it lacks."""

    clip: str
    video: str
    audio: str
    start: float
    end: float


class _MediaPrint(NamedTuple):
    pictures: tuple[int, ...]
    sound: np.ndarray


def _by_latents(
    library: LibraryTables, test: Sequence[Clip], train: Sequence[Clip], threshold: float
) -> Iterator[Leak]:
    # Imported here: it imports torch, which the fingerprint processes do without.
    from seehear.inputs.latents import load_latents

    try:
        data = load_latents(library)
    except SeehearError as error:
        say(f"latents are not compared: {error}")
        return
    names = {clip.id for clip in test}, {clip.id for clip in train}
    for m in data.modalities:
        own, other = (_rows(data, m, some) for some in names)
        yield from near_duplicates(f"near {m}", own, other, threshold)


def _rows(data: LatentData, modality: str, names: set[str]) -> _Rows:
    ids = data.ids[data.owner(modality).numpy()]
    rows = np.flatnonzero([i in names for i in ids.tolist()])
    return data.every(modality).float().numpy()[rows], ids[rows].tolist()


def _by_media(library: LibraryTables, test: Sequence[Clip], train: Sequence[Clip], workers: int) -> Iterator[Leak]:
    from seehear.library.workers import map_in_processes

    roots, windows = library.roots(), []
    for clip in (*test, *train):
        if clip.has_video or clip.has_audio:
            video = str(library.path_of(clip.source_of("video"), roots)) if clip.has_video else ""
            audio = str(library.path_of(clip.source_of("audio"), roots)) if clip.has_audio else ""
            windows.append(_Window(clip.id, video, audio, clip.start, clip.end))
    prints: dict[str, _MediaPrint] = {}
    with progress("fingerprints of media", len(windows)) as bar:
        for window, made in map_in_processes(_read_print, windows, workers=workers, time_limit=_TIME_LIMIT):
            if isinstance(made, Exception):
                say(f"{window.clip}: not compared ({made})")
            else:
                prints[window.clip] = made
            bar.advance()
    test_ids, train_ids = ([c.id for c in own if c.id in prints] for own in (test, train))
    pictures = [[(i, p) for i in own for p in prints[i].pictures] for own in (test_ids, train_ids)]
    for i, j, differ in matching_pictures(*(np.array([p for _, p in own], np.uint64) for own in pictures)):
        yield Leak("same picture", pictures[0][i][0], pictures[1][j][0], 1 - differ / 63)
    # Sounds are compared by an index over time offsets: a copy may start elsewhere.
    index = SoundIndex([prints[i].sound for i in train_ids])
    for name in test_ids:
        for place, share in index.matches(prints[name].sound):
            yield Leak("same sound", name, train_ids[place], 1 - share)


def _read_print(window: _Window) -> _MediaPrint:
    """Fingerprints of one clip; empty for a side that cannot be read."""
    from seehear.media.files import VideoSpec, read_window

    frames = waveform = None
    if window.video:
        # Squashed, not cropped: a copy of another shape keeps its fingerprint.
        spec = VideoSpec(num_frames=_FRAMES, size=(_PICTURE, _PICTURE), fit="squash")
        with suppress(DecodeError):
            frames = read_window(window.video, window.start, window.end, video=spec).frames
    if window.audio:
        with suppress(DecodeError):
            waveform = read_window(window.audio, window.start, window.end, rate=AUDIO_RATE).waveform
    bits = [picture_fingerprint(frame) for frame in frames] if frames is not None else []
    pictures = tuple(dict.fromkeys(b for b in bits if b is not None))
    return _MediaPrint(pictures, np.zeros(0, np.uint32) if waveform is None else audio_fingerprint(waveform))


# ----------------------------------------------------------------------------------------------------------------------
# Comparisons. Each yields every match, and `check_leakage` keeps the nearest.


def equal_values(kind: str, test: dict[str, Sequence[str]], train: dict[str, Sequence[str]]) -> Iterator[Leak]:
    """A leak for each value (a file's fingerprint, a text) that a test clip shares with a training clip. `test`,
    `train`: values by clip."""
    owner: dict[str, str] = {}
    for clip, values in train.items():
        for value in values:
            owner.setdefault(value, clip)
    for clip, values in test.items():
        yield from (Leak(kind, clip, owner[value]) for value in values if value in owner)


def near_duplicates(kind: str, test: _Rows, train: _Rows, threshold: float = NEAR) -> Iterator[Leak]:
    """The nearest training row of each test row whose cosine reaches the threshold."""
    (test_NE, test_ids), (train_ME, train_ids) = test, train
    if not len(train_ME):
        return
    # Centred on the training mean: to encoders whose vectors all point one way, everything would be near.
    mean = np.asarray(train_ME, np.float32).mean(axis=0)
    test_NE, train_ME = unit(np.asarray(test_NE, np.float32) - mean), unit(np.asarray(train_ME, np.float32) - mean)
    block = max(1, BLOCK // len(train_ME))
    for at in range(0, len(test_NE), block):
        scores = test_NE[at : at + block] @ train_ME.T
        nearest, highest = scores.argmax(axis=1), scores.max(axis=1)
        for i in np.flatnonzero(highest >= threshold).tolist():
            yield Leak(kind, test_ids[at + i], train_ids[int(nearest[i])], float(highest[i]))


# Side of the pictures of `picture_fingerprint`, pixels.
_PICTURE = 32
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
    if frame_HWC.shape[:2] != (_PICTURE, _PICTURE):
        raise ValueError(f"a picture must be ({_PICTURE}, {_PICTURE}, 3); got {frame_HWC.shape}")
    # Luma of ITU-R BT.601, as in JPEG.
    grey = frame_HWC.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    if grey.std() < _FLAT:
        return None
    # Without the first coefficient: the mean brightness changes from copy to copy.
    low = require("scipy.fft").dctn(grey, norm="ortho")[:8, :8].ravel()[1:]
    bits = low > np.median(low)
    # A 64th bit fills the last byte.
    return int(np.packbits(np.append(bits, False)).view(">u8")[0])


def matching_pictures(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """(row of a, row of b, different bits) of the uint64 fingerprints that are nearly equal."""
    block = max(1, (1 << 22) // max(len(b), 1))
    for at in range(0, len(a), block):
        differ = np.bitwise_count(a[at : at + block, None] ^ b[None, :])
        for i, j in np.argwhere(differ <= _SAME_PICTURE):
            yield at + int(i), int(j), int(differ[i, j])


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


class SoundIndex:
    """Fingerprints of many sounds, searched for those that share a stretch with another."""

    def __init__(self, prints: list[np.ndarray]):
        self.prints = prints
        values = np.concatenate([np.zeros(0, np.uint32), *prints])
        order = np.argsort(values, kind="stable")
        self.values = values[order]
        self.owner = np.repeat(np.arange(len(prints)), [len(p) for p in prints])[order]
        self.frame = np.concatenate([np.zeros(0, int), *(np.arange(len(p)) for p in prints)])[order]

    def matches(self, query: np.ndarray) -> Iterator[tuple[int, float]]:
        """(number of the sound, share of different bits) of those that agree with the query on at least 1.5 s, each in
        its best alignment: 0 for equal sounds, 0.5 for unrelated ones."""
        for place, shift in self._candidates(query):
            other = self.prints[place]
            start, stop = max(0, -shift), min(len(query), len(other) - shift)
            mine, theirs = query[start:stop], other[start + shift : stop + shift]
            both = (mine != 0) & (theirs != 0)
            # A shorter stretch may agree by chance.
            if both.sum() >= _OVERLAP:
                differ = float(np.bitwise_count(mine[both] ^ theirs[both]).mean() / 32)
                if differ <= _SAME_SOUND:
                    yield place, differ

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
