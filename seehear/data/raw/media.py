"""Clips decoded as they are trained on (`TrainingData`): a window of pictures, its sound, and the sentences around it.

All that chance decides about a sample is a function of (seed, epoch, its index), whichever process reads it. What
cannot be read is absent: one clip without one modality, or without any, and never the end of a run.
"""

from __future__ import annotations

from copy import copy
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from seehear.data.raw.cache import ClipCache
from seehear.data.raw.columns import RawClips, check, columns, recordings_of
from seehear.data.raw.config import RawConfig
from seehear.data.raw.reading import Asked, Reader
from seehear.data.raw.sample import Drawn, Viewed
from seehear.data.raw.sentences import Sentences, sentences_of
from seehear.data.raw.windows import Span, Starts, frames_part, samples_part
from seehear.data.vocabulary import Vocabulary
from seehear.errors import SeehearError
from seehear.types import Batch, Int, Modality, Tensor

if TYPE_CHECKING:
    from seehear.data.library import Library


def load_raw(
    library: Library,
    config: RawConfig,
    *,
    vocabulary: Vocabulary | None = None,
    where: str | None = None,
    cache: str | Path | None = None,
    cache_gb: float = 20.0,
) -> RawMedia:
    """The clips of a library, all or those an SQL condition keeps. `vocabulary` may lack where no text is read.

    `cache`: a folder for small decoded clips, up to so many gigabytes; it may serve many runs, one after the other or
    at the same time.
    """
    clips = library.clips(where)
    if not clips:
        raise SeehearError(f"no clip of {library.uri}" + (f" meets {where!r}" if where else ": run 'seehear prepare'"))
    if "text" not in config.modalities:
        vocabulary = Vocabulary((), lower=True)
    elif vocabulary is None:
        raise ValueError("texts are read: give the vocabulary that makes numbers of their words")
    sentences = sentences_of(clips, recordings_of(clips), vocabulary, config.words)
    made, files = columns(library, clips, config, sentences.has())
    check(made, files, config, library.uri)
    kept = ClipCache(cache, most_bytes=int(cache_gb * 1e9)) if cache is not None else None
    return RawMedia(made, files, sentences, config, Reader(config, kept))


class RawMedia:
    """`load_raw` makes it from a library. Rows of `batch`, for the modalities of the config:

    video (B, T, H, W, 3) uint8, audio (B, S) float32, text (B, K, L) int64; rows of zeros where `has_*` is False, and
    sentences of zeros where a clip has fewer than K around it.
    """

    heavy = True
    together = 1

    def __init__(
        self, clips: RawClips, files: tuple[str, ...], sentences: Sentences, config: RawConfig, reader: Reader
    ):
        self.clips, self.files, self.sentences, self.config = clips, files, sentences, config
        self._reader = reader
        self._views: tuple[int, int] | None = None

    # -- what there is -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.clips) * self._per_clip

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return self.config.modalities

    @property
    def ids(self) -> np.ndarray:
        """Of clips; where there are views, each clip has that many rows, one after the other."""
        return self.clips.ids

    @property
    def splits(self) -> np.ndarray:
        return self.clips.splits

    @property
    def groups(self) -> Tensor:
        return torch.from_numpy(self.clips.groups).repeat_interleave(self._per_clip)

    def has(self, modality: Modality) -> Tensor:
        """(N,) bool, of clips, as the library has it."""
        clips = self.clips
        return torch.from_numpy(clips.has_text if modality == "text" else getattr(clips, modality) >= 0)

    def first_sentences(self) -> Int[np.ndarray, "n l"]:
        """Of every clip, the one in its middle; zeros where there is none."""
        c, spans = self.clips, zip(self.clips.start, self.clips.end, strict=True)
        rows = zip(c.number.tolist(), c.recording.tolist(), spans, strict=True)
        found = [self.sentences.around(n, r, (start + end) / 2, 1, None) for n, r, (start, end) in rows]
        return np.concatenate(found) if found else np.zeros((0, self.config.words), np.int64)

    @property
    def lost(self) -> int:
        """Times that a clip's pictures or sound were to be read so far, by any process, and could not be."""
        return self._reader.lost.samples

    def unread(self) -> dict[str, str]:
        """Files of which something could not be read so far, and why."""
        return self._reader.lost.files()

    # -- parts -------------------------------------------------------------------------------------------------------

    def take(self, keep: np.ndarray | Tensor) -> RawMedia:
        """Some clips, by a mask or by their numbers. The sentences around them stay."""
        return self._with(clips=self.clips.take(np.asarray(keep)))

    def split(self, name: str) -> RawMedia:
        return self.take(self.splits == name)

    def joined(self, at_least: int = 2) -> RawMedia:
        """The clips that have so many of the modalities."""
        return self.take(torch.stack([self.has(m).long() for m in self.modalities]).sum(0) >= at_least)

    def views(self, *, windows: int = 1, crops: int = 1) -> RawMedia:
        """For evaluation: of each clip so many windows, evenly spaced, and of each so many squares along the longer
        side of the picture, without chance. Row clip * windows * crops + window * crops + crop; one window and one crop
        are the middle of both."""
        if windows < 1 or crops < 1:
            raise SeehearError(f"windows and crops must be at least 1; got {windows} and {crops}")
        return self._with(_views=(windows, crops))

    @property
    def _per_clip(self) -> int:
        return 1 if self._views is None else self._views[0] * self._views[1]

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
                batch[m][row] = sample.get(m, 0)
                batch[f"has_{m}"][row] = m in sample
        batch["group"] = torch.from_numpy(self.clips.groups)[indices.cpu() // self._per_clip]
        return batch

    def _sample(self, index: int, seed: int, epoch: int, reader: _Once) -> dict[Modality, Tensor]:
        """The modalities that it has and that can be read."""
        c, (clip, view) = self.config, divmod(index, self._per_clip)
        shown = self._view(view) if self._views else Drawn(seed, epoch, index)
        span = self.clips.span(clip, c.fps)
        begin = shown.starts(span, c)
        read = reader(span, self._asked(clip, span, begin), key=(clip, begin))
        sample = {}
        if "video" in read:
            sample["video"] = shown.seen(read["video"], c)
        if "audio" in read:
            sample["audio"] = shown.heard(read["audio"], c)
        if "text" in c.modalities and self.clips.has_text[clip]:
            middle = span.start + begin.window / c.fps + min(c.window_seconds, span.seconds) / 2
            number, recording = int(self.clips.number[clip]), int(self.clips.recording[clip])
            texts_KL = self.sentences.around(number, recording, middle, c.contexts, shown.draws("text"))
            sample["text"] = torch.from_numpy(texts_KL)
        return sample

    def _view(self, number: int) -> Viewed:
        assert self._views is not None
        windows, crops = self._views
        window, crop = divmod(number, crops)
        return Viewed(window, windows, crop, crops)

    def _asked(self, clip: int, span: Span, begin: Starts) -> dict[Modality, Asked]:
        c, asked = self.config, {}
        if (video := self.clips.video[clip]) >= 0:
            asked["video"] = Asked(self.files[video], frames_part(span, begin.video, c.frames, loop=c.loop))
        if (audio := self.clips.audio[clip]) >= 0:
            part = samples_part(span, begin.audio, c.samples, c.rate, loop=c.loop)
            asked["audio"] = Asked(self.files[audio], part)
        return asked


class _Once:
    """Crops of one window follow each other: what they are cut out of is read once."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self._key: tuple[int, Starts] | None = None
        self._read: dict[Modality, np.ndarray] = {}

    def __call__(
        self, span: Span, asked: dict[Modality, Asked], *, key: tuple[int, Starts]
    ) -> dict[Modality, np.ndarray]:
        if key != self._key:
            self._key, self._read = key, self._reader(span, asked)
        return self._read
