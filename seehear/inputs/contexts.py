"""Training clips made of a recording's clips and their neighbours, as MCN makes them (arXiv 2104.12671).

Each epoch draws clips of every recording. A clip shorter than `min_duration` is extended by the neighbour that makes
the smaller span (the earlier of equal ones) until it is long enough or the recording ends. The latents of its members
become one row: vectors by maximum or mean, words and frames of sound in the order of time. (The official code puts the
words of an earlier caption behind those of later ones, and gives a clip that starts at 0 s no sound.)

Extension is not random, and computed once. A row is a function of (seed, epoch, index), index = recording *
clips_per_video + draw.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

from seehear.errors import SeehearError, unknown
from seehear.inputs.joining import Frames, Joined, Members, Pool, Pooled, WordSequences, expand, sequence_shape
from seehear.inputs.latents import LatentData, Rows
from seehear.library.records import learned_texts
from seehear.nn.random import seed_of
from seehear.types import MODALITIES, Batch, Float, Int, Modality, Tensor

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables


@dataclass(frozen=True, kw_only=True)
class ContextConfig:
    clips_per_video: int = 32
    """Training clips drawn of each recording in an epoch, all in one batch. 0: the library's clips are used as they
    are."""
    min_duration: float = 10.0
    """Seconds below which a clip is extended by its neighbours."""
    replacement: bool = True
    """Draw with replacement (the paper). False: no clip twice before all others of its recording."""
    pool: dict[Modality, Pool] = field(default_factory=dict)
    """Pooling of vectors, 'max' or 'mean'; by default the maximum of video (the paper), the mean of audio and text.
    Words and frames are concatenated instead."""

    def __post_init__(self) -> None:
        if self.clips_per_video < 0 or not 0 <= self.min_duration < float("inf"):
            raise SeehearError(
                "clips_per_video must be at least 0, min_duration a number of seconds; got "
                f"{self.clips_per_video} and {self.min_duration}"
            )
        for m, pool in self.pool.items():
            if m not in MODALITIES:
                raise unknown("modality", m, MODALITIES)
            if pool not in ("max", "mean"):
                raise unknown(f"pooling of {m}", pool, ("max", "mean"))

    def pool_of(self, m: Modality) -> Pool:
        return self.pool.get(m, "max" if m == "video" else "mean")


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Recording and time of each clip of some latents."""

    video: np.ndarray
    """(N,) int64: recording; only clips of one are neighbours."""
    start: np.ndarray
    """(N,) float64, seconds."""
    end: np.ndarray
    """(N,) float64, seconds; a picture ends at its start."""
    every_text: np.ndarray
    """(N,) bool: the clip's texts follow each other in time, and all are used; else they are alternatives, and one is
    drawn."""


def contexts(library: LibraryTables, data: LatentData, config: ContextConfig, *, at_least: int = 2) -> ContextData:
    """Training clips of some latents, with the library's times. `data` should have all clips of a split: clips of one
    modality complete their neighbours. `at_least`: modalities that a training clip has."""
    clips = {clip.id: clip for clip in library.clips()}
    if missing := [str(i) for i in data.ids if i not in clips]:
        raise SeehearError(f"{library.uri} has no clip {missing[0]!r} ({len(missing):,} missing): no times to go by")
    here = [clips[i] for i in data.ids]
    files = [(clip.source, clip.audio_source) if clip.source else (clip.id,) for clip in here]
    number = {file: n for n, file in enumerate(dict.fromkeys(files))}
    timing = Timing(
        video=np.array([number[file] for file in files], np.int64),
        start=np.array([clip.start for clip in here], np.float64),
        end=np.array([clip.end for clip in here], np.float64),
        every_text=np.array([all(text.start is not None for text in learned_texts(clip)) for clip in here], bool),
    )
    return ContextData(data, timing, config, at_least=at_least)


class ContextData:
    """Training clips (`TrainingData`); evaluation uses `LatentData`. Text without a known word, and sound without a
    frame, are absent. Recordings without a training clip of two modalities are left out."""

    heavy = False

    def __init__(self, data: LatentData, timing: Timing, config: ContextConfig, *, at_least: int = 2):
        self.data, self.config, self.together = data, config, config.clips_per_video
        # In the order of time, the members of an extended clip are a range.
        self._order = torch.from_numpy(np.lexsort((timing.end, timing.start, timing.video)))
        video_N, self._start, self._end = (
            torch.from_numpy(x)[self._order] for x in (timing.video, timing.start, timing.end)
        )
        self._low, self._high = extended(video_N, self._start, self._end, config.min_duration)
        self._joined = {m: _joined(m, rows, config, timing) for m, rows in data.rows.items()}
        # Modalities of each clip, in the order of time, once it is extended.
        held = torch.zeros(len(self._order), dtype=torch.int64)
        for join in self._joined.values():
            # Cumulative counts: two look-ups tell whether any member of a range has the modality.
            before = torch.cat([torch.zeros(1, dtype=torch.int64), join.holds[self._order].cumsum(0)])
            held += before[self._high + 1] > before[self._low]
        self._drawn = (held >= at_least).nonzero().squeeze(1)
        if not len(self._drawn):
            needed = "two" if at_least == 2 else "all"
            raise SeehearError(f"training needs clips with {needed} modalities, by themselves or with their neighbours")
        _, self._video, self._count = torch.unique_consecutive(
            video_N[self._drawn], return_inverse=True, return_counts=True
        )
        self._first = self._count.cumsum(0) - self._count
        group_V = data.groups.cpu()[self._order[self._drawn[self._first]]]
        self.groups = group_V.repeat_interleave(self.together)
        self._draw: tuple[tuple[int, int], Tensor, Tensor] | None = None

    def __len__(self) -> int:
        return len(self.groups)

    def to(self, device: torch.device | str) -> ContextData:
        """Keep the latents on a device: no step then moves them."""
        moved = copy(self)
        moved.data = self.data.to(device)
        return moved

    def only(self, modalities: Collection[Modality]) -> ContextData:
        """The same training clips, with these modalities only."""
        part = copy(self)
        part.data = self.data.only(modalities)
        part._joined = {m: join for m, join in self._joined.items() if m in modalities}
        return part

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        indices = indices.cpu()
        place_B, draw_B = self._draws(indices, seed, epoch)
        members = self._members(place_B)
        batch: Batch = {}
        for m, join in self._joined.items():
            rows = self.data.rows[m]
            part_R = None if rows.weights is None else rows.weights.taking_part(seed, epoch)
            batch[m], batch[f"has_{m}"] = join(rows.vectors, members, draw_B, part_R)
        batch["group"] = self.groups[indices].to(self.data.groups.device)
        return batch

    def clips(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> list[list[int]]:
        """Clip numbers in `data` of each row's members, in the order of time."""
        members = self._members(self._draws(indices.cpu(), seed, epoch)[0])
        return [clips.tolist() for clips in members.clip.split(members.count.tolist())]

    def _draws(self, indices: Tensor, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
        """Returns (position in time of each row's first clip, draw in [0, 1) of its text)."""
        # For the whole epoch at once: a row must not depend on the batch that asks for it.
        if self._draw is None or self._draw[0] != (seed, epoch):
            generator = torch.Generator().manual_seed(seed_of(seed, "contexts", epoch))
            text = torch.rand(len(self), generator=generator)
            size = len(self) if self.config.replacement else len(self._drawn)
            # float64: in float32 a number just below 1 times the count may round up to the count.
            chance = torch.rand(size, generator=generator).double()
            if not self.config.replacement:
                # The whole part sorts by recording, the fraction shuffles within it.
                chance = (self._video + chance).argsort()
            self._draw = ((seed, epoch), chance, text)
        _, chance, text = self._draw
        video, draw = indices // self.together, indices % self.together
        first, count = self._first[video], self._count[video]
        if self.config.replacement:
            return self._drawn[first + (chance[indices] * count).long()], text[indices]
        # Where a recording has fewer clips than draws, its shuffled order is gone through again.
        return self._drawn[chance[first + draw % count]], text[indices]

    def _members(self, place_B: Tensor) -> Members:
        low, count = self._low[place_B], self._high[place_B] - self._low[place_B] + 1
        row, within = expand(count)
        place = low[row] + within
        return Members(count, row, self._order[place], self._start[place], self._end[place])


def _joined(m: Modality, rows: Rows, config: ContextConfig, timing: Timing) -> Joined:
    every = torch.from_numpy(timing.every_text)
    shape = sequence_shape(m, rows.encoders)
    if shape is None:
        return Pooled(rows, every, config.pool_of(m))
    return (WordSequences if m == "text" else Frames)(rows, every, shape)


def extended(
    video_N: Int[Tensor, " n"], start_N: Float[Tensor, " n"], end_N: Float[Tensor, " n"], least: float
) -> tuple[Int[Tensor, " n"], Int[Tensor, " n"]]:
    """Returns (first, last) member of each extended clip, clips in the order of (video, start, end). A picture, of 0 s,
    is not extended."""
    n = len(video_N)
    low, high = torch.arange(n), torch.arange(n)
    # The latest end of all members: a clip may outlast one that begins after it.
    until = end_N.clone()
    growing = ((end_N > start_N) & (end_N - start_N < least)).nonzero().squeeze(1)
    while len(growing):
        before, after = (low[growing] - 1).clamp(min=0), (high[growing] + 1).clamp(max=n - 1)
        backward = torch.maximum(until[growing], end_N[before]) - start_N[before]
        forward = torch.maximum(until[growing], end_N[after]) - start_N[low[growing]]
        own = video_N[growing]
        backward[(low[growing] == 0) | (video_N[before] != own)] = torch.inf
        forward[(high[growing] == n - 1) | (video_N[after] != own)] = torch.inf
        # Of equal spans the earlier, as in MCN's code.
        goes_back = backward <= forward
        possible = torch.minimum(backward, forward) < torch.inf
        taken = before.where(goes_back, after)[possible]
        growing, goes_back = growing[possible], goes_back[possible]
        low[growing[goes_back]] -= 1
        high[growing[~goes_back]] += 1
        until[growing] = torch.maximum(until[growing], end_N[taken])
        growing = growing[until[growing] - start_N[low[growing]] < least]
    return low, high
