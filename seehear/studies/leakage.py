"""Copies of test clips among the training clips of a library: by file, text, latents, picture and sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.errors import DecodeError, SeehearError, unknown
from seehear.evaluation.leakage import (
    AUDIO_RATE,
    NEAR,
    PICTURE,
    Leak,
    LeakageReport,
    SoundIndex,
    audio_fingerprint,
    equal_values,
    matching_pictures,
    near_duplicates,
    picture_fingerprint,
)
from seehear.library.tables import SPLITS, Clip, LibraryTables
from seehear.progress import progress, say

if TYPE_CHECKING:
    from seehear.inputs.latents import LatentData

_FRAMES = 3
TIME_LIMIT = 300.0


@dataclass(frozen=True)
class _MediaPrint:
    pictures: tuple[int, ...]
    sound: np.ndarray


@dataclass(frozen=True)
class _Window:
    """Media of a clip for a worker process; '' for a side that it lacks."""

    clip: str
    video: str
    audio: str
    start: float
    end: float


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
    leaks: list[Leak] = []
    for kind, key in keys.items():
        leaks += equal_values(kind, {c.id: key(c) for c in test}, {c.id: key(c) for c in train})
    if latents:
        leaks += _by_latents(library, test, train, threshold)
    if media:
        leaks += _by_media(library, test, train, workers)
    return LeakageReport(split, len(test), tuple(leaks))


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
        (test_vectors, test_ids), (train_vectors, train_ids) = (_rows(data, m, own) for own in names)
        yield from near_duplicates(
            f"near {m}", test_vectors, train_vectors, test=test_ids, train=train_ids, threshold=threshold
        )


def _rows(data: LatentData, modality: str, names: set[str]) -> tuple[np.ndarray, list[str]]:
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
        for window, made in map_in_processes(read_print, windows, workers=workers, time_limit=TIME_LIMIT):
            if isinstance(made, Exception):
                say(f"{window.clip}: not compared ({made})")
            else:
                prints[window.clip] = made
            bar.advance()
    test_ids, train_ids = ([c.id for c in own if c.id in prints] for own in (test, train))
    pictures = [[(i, p) for i in own for p in prints[i].pictures] for own in (test_ids, train_ids)]
    bits = [np.array([p for _, p in own], np.uint64) for own in pictures]
    best: dict[str, Leak] = {}
    for i, j, differ in matching_pictures(*bits) if len(bits[0]) and len(bits[1]) else []:
        leak = Leak("same picture", pictures[0][i][0], pictures[1][j][0], 1 - differ / 63)
        # One leak a clip, its nearest: a film of many frames would be listed many times.
        if leak.test not in best or leak.score > best[leak.test].score:
            best[leak.test] = leak
    yield from best.values()
    # Sounds are compared by an index over time offsets: a copy may start elsewhere.
    index = SoundIndex([prints[i].sound for i in train_ids])
    for name in test_ids:
        matches = index.matches(prints[name].sound)
        if matches:
            match = min(matches, key=lambda m: m.differ)
            yield Leak("same sound", name, train_ids[match.place], 1 - match.differ)


def read_print(window: Any) -> _MediaPrint:
    """Fingerprints of one clip; empty for a side that cannot be read."""
    from seehear.media.files import VideoSpec, read_window

    frames = waveform = None
    if window.video:
        # Squashed, not cropped: a copy of another shape keeps its fingerprint.
        spec = VideoSpec(num_frames=_FRAMES, size=(PICTURE, PICTURE), fit="squash")
        with suppress(DecodeError):
            frames = read_window(window.video, window.start, window.end, video=spec).frames
    if window.audio:
        with suppress(DecodeError):
            waveform = read_window(window.audio, window.start, window.end, rate=AUDIO_RATE).waveform
    bits = [picture_fingerprint(frame) for frame in frames] if frames is not None else []
    pictures = tuple(dict.fromkeys(b for b in bits if b is not None))
    return _MediaPrint(pictures, np.zeros(0, np.uint32) if waveform is None else audio_fingerprint(waveform))
