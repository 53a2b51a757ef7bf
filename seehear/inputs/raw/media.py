"""Media of a library to train on (`TrainingData`): a window of pictures, its sound, and the sentences around it.

Every draw is a function of (seed, epoch, index), whichever process reads the sample. An unreadable modality is absent
from its clip, and never ends a run.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.inputs.raw.config import EPSILON, RawConfig, Span, Starts, frames_part, reach, samples_part
from seehear.inputs.raw.reading import Asked, ClipCache, ClipReader
from seehear.inputs.raw.sample import Drawn, Viewed
from seehear.inputs.raw.text import Sentences, Vocabulary, sentences_of
from seehear.library.records import Clip
from seehear.nn.random import some_of
from seehear.types import Batch, Int, Modality, Tensor

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables


# Files whose presence is checked before a run.
_LOOKED_FOR = 16


def load_raw(
    library: LibraryTables,
    config: RawConfig,
    *,
    vocabulary: Vocabulary | None = None,
    where: str | None = None,
    cache: str | Path | None = None,
    cache_gb: float = 20.0,
) -> RawMedia:
    """The clips of a library, or those that meet an SQL condition. `vocabulary` is needed where text is read. `cache`:
    a folder for small decoded clips, at most `cache_gb` gigabytes, which several runs may share."""
    clips = library.clips(where)
    if not clips:
        raise SeehearError(f"no clip of {library.uri}" + (f" meets {where!r}" if where else ": run 'seehear prepare'"))
    if "text" not in config.modalities:
        vocabulary = Vocabulary((), lower=True)
    elif vocabulary is None:
        raise ValueError("texts are read: give the vocabulary that makes numbers of their words")
    sentences = sentences_of(clips, _recordings_of(clips), vocabulary, config.words)
    made, files = _columns(library, clips, config, sentences.has())
    _check(made, files, config, library.uri)
    kept = ClipCache(cache, most_bytes=int(cache_gb * 1e9)) if cache is not None else None
    return RawMedia(made, files, sentences, config, ClipReader(config, kept))


class RawMedia:
    """Clips of a library, decoded when they are asked for. Rows of `batch`, for the modalities of the config:

    video (B, T, H, W, 3) uint8, audio (B, S) float32, text (B, K, L) int64; rows of zeros where `has_*` is False, and
    sentences of zeros where a clip has fewer than K around it.
    """

    heavy = True
    together = 1

    def __init__(
        self, clips: RawClips, files: tuple[str, ...], sentences: Sentences, config: RawConfig, reader: ClipReader
    ):
        self.clips, self.files, self.sentences, self.config = clips, files, sentences, config
        self._reader = reader
        # (windows, crops) of evaluation; None: draws of training.
        self._views: tuple[int, int] | None = None

    # -- what there is -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.clips) * self._per_clip

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self.config.modalities

    @property
    def ids(self) -> np.ndarray:
        """Ids of the clips; with views, each clip has consecutive rows, one a view."""
        return self.clips.ids

    @property
    def splits(self) -> np.ndarray:
        return self.clips.splits

    @property
    def groups(self) -> Tensor:
        return torch.from_numpy(self.clips.groups).repeat_interleave(self._per_clip)

    def has(self, modality: Modality) -> Tensor:
        """(N,) bool: clips with the modality in the library."""
        clips = self.clips
        return torch.from_numpy(clips.has_text if modality == "text" else getattr(clips, modality) >= 0)

    def first_sentences(self) -> Int[np.ndarray, "n l"]:
        """Middle sentence of every clip; zeros where it has none."""
        c, spans = self.clips, zip(self.clips.start, self.clips.end, strict=True)
        rows = zip(c.number.tolist(), c.recording.tolist(), spans, strict=True)
        found = [self.sentences.around(n, r, (start + end) / 2, 1, None) for n, r, (start, end) in rows]
        return np.concatenate(found) if found else np.zeros((0, self.config.words), np.int64)

    def own_sentences(self) -> tuple[Int[np.ndarray, "r l"], Int[np.ndarray, " r"]]:
        """(sentences of all clips, clip number of each)"""
        first, own = self.sentences.own_first, self.sentences.own
        rows = [own[first[n] : first[n + 1]] for n in self.clips.number.tolist()]
        owner = np.repeat(np.arange(len(rows)), [len(some) for some in rows])
        return self.sentences.tokens[np.concatenate(rows)].astype(np.int64), owner

    @property
    def lost(self) -> int:
        """Number of failed readings of pictures or sound so far, over all processes."""
        return self._reader.lost.samples

    # -- parts -------------------------------------------------------------------------------------------------------

    def take(self, keep: np.ndarray | Tensor) -> RawMedia:
        """Clips chosen by a mask or by number. The sentences around them stay."""
        return self._with(clips=self.clips.take(np.asarray(keep)))

    def sample(self, at_most: int, seed: int) -> RawMedia:
        """At most `at_most` clips, drawn by the seed, in their order."""
        return self if len(self) <= at_most else self.take(some_of(len(self), at_most, seed))

    def split(self, name: str) -> RawMedia:
        return self.take(self.splits == name)

    def joined(self, at_least: int = 2) -> RawMedia:
        """Clips with at least so many of the modalities."""
        return self.take(torch.stack([self.has(m).long() for m in self.modalities]).sum(0) >= at_least)

    def views(self, *, windows: int = 1, crops: int = 1) -> RawMedia:
        """Clips for evaluation, without chance: evenly spaced windows, and in each evenly spaced squares along the
        longer side of the picture. Row (clip * windows + window) * crops + crop; one window or crop is the middle."""
        if windows < 1 or crops < 1:
            raise SeehearError(f"windows and crops must be at least 1; got {windows} and {crops}")
        return self._with(_views=(windows, crops))

    @property
    def windows(self) -> int:
        return 1 if self._views is None else self._views[0]

    @property
    def crops(self) -> int:
        return 1 if self._views is None else self._views[1]

    @property
    def _per_clip(self) -> int:
        return self.windows * self.crops

    def _with(self, **changed: object) -> RawMedia:
        made = copy(self)
        made.__dict__ |= changed
        return made

    # -- batches -----------------------------------------------------------------------------------------------------

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        c, b = self.config, len(indices)
        shapes = {"video": (c.frames, c.size, c.size, 3), "audio": (c.samples,), "text": (c.contexts, c.words)}
        kinds = {"video": torch.uint8, "audio": torch.float32, "text": torch.int64}
        batch: Batch = {m: torch.empty(b, *shapes[m], dtype=kinds[m]) for m in c.modalities}
        batch |= {f"has_{m}": torch.zeros(b, dtype=torch.bool) for m in c.modalities}
        reader = _Once(self._reader)
        for row, index in enumerate(indices.tolist()):
            sample = self._sample(index, seed, epoch, reader)
            for m in c.modalities:
                # Zeros for an absent modality: keys and shapes of a batch never change.
                batch[m][row] = sample.get(m, 0)
                batch[f"has_{m}"][row] = m in sample
        batch["group"] = torch.from_numpy(self.clips.groups)[indices.cpu() // self._per_clip]
        return batch

    def _sample(self, index: int, seed: int, epoch: int, reader: _Once) -> dict[Modality, Tensor]:
        """Modalities that the clip has and that can be read."""
        c, (clip, view) = self.config, divmod(index, self._per_clip)
        if self._views:
            windows, crops = self._views
            shown: Drawn | Viewed = Viewed(view // crops, windows, view % crops, crops)
        else:
            shown = Drawn(seed, epoch, index)
        span = self.clips.span(clip, c.fps)
        begin = shown.starts(span, c)
        asked: dict[Modality, Asked] = {}
        if (video := self.clips.video[clip]) >= 0:
            asked["video"] = Asked(self.files[video], frames_part(span, begin.video, c.frames, loop=c.loop))
        if (audio := self.clips.audio[clip]) >= 0:
            part = samples_part(span, begin.audio, c.samples, c.rate, loop=c.loop)
            asked["audio"] = Asked(self.files[audio], part)
        read = reader(span, asked, key=(clip, begin))
        sample = {}
        if "video" in read:
            sample["video"] = shown.seen(read["video"], c)
        if "audio" in read:
            sample["audio"] = shown.heard(read["audio"], c)
        if "text" in c.modalities and self.clips.has_text[clip]:
            # The middle of the window, not of the clip: sentences are ordered by their distance from what is seen.
            middle = span.start + begin.window / c.fps + min(c.window_seconds, span.seconds) / 2
            number, recording = int(self.clips.number[clip]), int(self.clips.recording[clip])
            weights = self.sentences.weights
            # Evaluation counts every text once.
            part_R = None if weights is None or self._views else weights.taking_part(seed, epoch).numpy()
            draws = shown.draws("text")
            texts_KL = self.sentences.around(number, recording, middle, c.contexts, draws, part_R=part_R)
            if texts_KL.any():
                sample["text"] = torch.from_numpy(texts_KL)
        return sample


class _Once:
    """Reader of consecutive crops: the window that they are cut out of is read once."""

    def __init__(self, reader: ClipReader):
        self._reader = reader
        self._key: tuple[int, Starts] | None = None
        self._read: dict[Modality, np.ndarray] = {}

    def __call__(
        self, span: Span, asked: dict[Modality, Asked], *, key: tuple[int, Starts]
    ) -> dict[Modality, np.ndarray]:
        if key != self._key:
            self._key, self._read = key, self._reader(span, asked)
        return self._read


# -- clips as columns that go to worker processes ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class RawClips:
    """A row a clip, in arrays that are cheap to send to worker processes; files by number."""

    ids: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    """(N,) int64."""
    video: np.ndarray
    """(N,) int64: the number of its file, -1 for none."""
    audio: np.ndarray
    start: np.ndarray
    """(N,) float64: start in seconds of the stretch in which windows lie."""
    end: np.ndarray
    number: np.ndarray
    """(N,) int64: number of the clip among the sentences."""
    recording: np.ndarray
    has_text: np.ndarray
    """(N,) bool."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, at: np.ndarray) -> RawClips:
        return replace(self, **{f.name: getattr(self, f.name)[at] for f in fields(self)})

    def span(self, clip: int, fps: float) -> Span:
        return Span(float(self.start[clip]), float(self.end[clip]), fps)


def _recordings_of(clips: Sequence[Clip]) -> np.ndarray:
    """(N,) int64: clips of the same files share a number; clips of text alone have one each."""
    number: dict[tuple[str, ...], int] = {}
    keys = ((clip.source, clip.audio_source) if clip.source else (clip.id,) for clip in clips)
    return np.array([number.setdefault(key, len(number)) for key in keys], np.int64)


def _columns(
    library: LibraryTables, clips: Sequence[Clip], config: RawConfig, has_text: np.ndarray
) -> tuple[RawClips, tuple[str, ...]]:
    """Returns (columns, paths of the media files)."""
    sources, number = library.sources(), dict[str, int]()
    spans = np.array([(clip.start, clip.end) for clip in clips], np.float64).reshape(-1, 2)
    for n, clip in enumerate(clips):
        # The shorter of two files limits the stretch: both must reach to its end.
        if config.extend and clip.end > clip.start:
            own = {clip.source_of(m) for m in ("video", "audio") if m in config.modalities and clip.has(m)}
            lengths = [sources[s].duration for s in own if s in sources and sources[s].duration > 0]
            spans[n] = reach(clip.start, clip.end, min(lengths, default=0.0), config.window_seconds)
    files = {}
    for m in ("video", "audio"):
        named = [clip.source_of(m) if m in config.modalities and clip.has(m) else "" for clip in clips]
        files[m] = np.array([number.setdefault(s, len(number)) if s else -1 for s in named], np.int64)
    roots = library.roots()
    made = RawClips(
        # Strings as objects: an array of strings takes the length of the longest for each.
        ids=np.array([clip.id for clip in clips], dtype=object),
        splits=np.array([clip.split for clip in clips], dtype=object),
        groups=np.unique([clip.recording for clip in clips], return_inverse=True)[1],
        **files,
        start=spans[:, 0],
        end=spans[:, 1],
        number=np.arange(len(clips)),
        recording=_recordings_of(clips),
        has_text=has_text,
    )
    return made, tuple(str(library.path_of(source, roots)) for source in number)


def _check(clips: RawClips, files: Sequence[str], config: RawConfig, uri: str) -> None:
    """Raises `SeehearError` for a modality that no clip has, a window longer than every clip, or moved media."""
    for m in config.modalities:
        if not (clips.has_text if m == "text" else getattr(clips, m) >= 0).any():
            raise SeehearError(f"{uri}: no clip has {m}: leave that modality out, or add some")
    seconds = (clips.end - clips.start)[(clips.video >= 0) | (clips.audio >= 0)]
    longest, asked = float(seconds.max(initial=0.0)), config.window_seconds
    if longest > 0 and (longest + 1 / config.fps + EPSILON) * (1 + EPSILON) < asked:
        raise SeehearError(
            f"{uri}: a window of {asked:g} s is asked for, and the longest of {len(seconds):,} clips lasts "
            f"{longest:.2f} s: take fewer frames, more of them a second, or fewer seconds of sound"
        )
    # Some of them, evenly spread: a look at each of a million files takes minutes.
    looked_for = [files[n] for n in np.unique(np.linspace(0, len(files) - 1, _LOOKED_FOR).astype(int))] if files else []
    if looked_for and not any(os.path.exists(path) for path in looked_for):
        raise SeehearError(
            f"{uri}: its media are not where they were: there is no {looked_for[0]} and none of {len(looked_for)} "
            "others that were looked for; run 'seehear prepare' on the folder they are in now"
        )
