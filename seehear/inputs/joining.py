"""Joining the latents of several clips: vectors by maximum or mean, sequences by concatenation.

Indices are computed on the CPU; latents are gathered on their device. An absent modality adds nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import torch
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.inputs.latents import EncoderInfo, Rows
from seehear.nn.davenet import PADDING_DB, valid_frames
from seehear.types import Bool, Float, Int, Modality, Tensor

Pool = Literal["max", "mean"]
_FRAMES_A_SECOND = 100
# Numbers scanned at a time for the ends of sequences, which bounds memory.
_AT_ONCE = 2**24


@dataclass(frozen=True)
class Members:
    """Member clips of the rows of a batch, row by row, in the order of time."""

    count: Int[Tensor, " b"]
    row: Int[Tensor, " p"]
    """Row of each member."""
    clip: Int[Tensor, " p"]
    start: Float[Tensor, " p"]
    """Seconds."""
    end: Float[Tensor, " p"]

    def heard_before(self, heard_P: Bool[Tensor, " p"]) -> Float[Tensor, " p"]:
        """Latest end of the heard members before each one in its row; minus infinity where there are none."""
        within = torch.arange(len(self.row)) - (self.count.cumsum(0) - self.count)[self.row]
        end_BK = torch.full((len(self.count), int(self.count.max()) + 1), -torch.inf, dtype=self.end.dtype)
        # One place further: a member is not heard before itself.
        end_BK[self.row[heard_P], within[heard_P] + 1] = self.end[heard_P]
        return end_BK.cummax(dim=1).values[self.row, within]


def sequence_shape(modality: Modality, encoders: Sequence[EncoderInfo]) -> tuple[int, int] | None:
    """(L, D) of words, (F, S) of a spectrogram; None for vectors. Raises for a sequence beside another encoder."""
    shapes = [e["shape"] for e in encoders if e.get("shape")]
    if not shapes:
        return None
    if len(encoders) > 1 or modality == "video":
        names = ", ".join(str(e["name"]) for e in encoders)
        raise SeehearError(f"one sequence of text, or of audio, can be read; got {names} for {modality}: choose one")
    first, second = shapes[0]
    return int(first), int(second)


def expand(count_B: Int[Tensor, " b"]) -> tuple[Tensor, Tensor]:
    """Returns (row, position in its row) of each item, for so many items a row."""
    row = torch.repeat_interleave(torch.arange(len(count_B)), count_B)
    return row, torch.arange(len(row)) - (count_B.cumsum(0) - count_B)[row]


class Joined(ABC):
    """One modality of the rows of a batch."""

    def __init__(self, rows: Rows, every_N: Bool[Tensor, " n"]):
        """`every_N`: clips of which all latents are used; of others one is drawn."""
        self.first, self.count, self.every = rows.first.cpu(), rows.count.cpu(), every_N

    @cached_property
    def holds(self) -> Bool[Tensor, " n"]:
        """Clips with a latent."""
        return self.count > 0

    @abstractmethod
    def __call__(
        self,
        vectors_RD: Tensor,
        members: Members,
        draw_B: Float[Tensor, " b"],
        part_R: Bool[Tensor, " r"] | None = None,
    ) -> tuple[Tensor, Bool[Tensor, " b"]]:
        """Returns ((B, D) float32, rows with the modality). `draw_B`, in [0, 1), picks one of several texts. `part_R`:
        latents that take part, all by default."""

    def sources(self, members: Members, draw_B: Tensor, part_R: Tensor | None) -> tuple[Tensor, Tensor]:
        """Returns (member, latent) of everything that is joined, in order."""
        every, count = self.every[members.clip], self.count[members.clip]
        member, within = expand(count.where(every, count.clamp(max=1)))
        # float64, so that a number just below 1 times the count stays below the count.
        drawn = (draw_B[members.row].double() * count).long()
        latent = self.first[members.clip[member]] + within.where(every[member], drawn[member])
        if part_R is None:
            return member, latent
        kept = part_R[latent]
        return member[kept], latent[kept]


class Pooled(Joined):
    """Maximum or mean of vectors; zeros where there is none."""

    def __init__(self, rows: Rows, every_N: Tensor, pool: Pool):
        super().__init__(rows, every_N)
        self.pool = pool

    def __call__(
        self, vectors_RD: Tensor, members: Members, draw_B: Tensor, part_R: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        member, latent = self.sources(members, draw_B, part_R)
        count_B = torch.bincount(members.row[member], minlength=len(members.count))
        begin_B = count_B.cumsum(0) - count_B
        if self.pool == "mean":
            offsets_B = begin_B.to(vectors_RD.device)
            # Means of ranges without a copy of every member's latent.
            joined_BD = F.embedding_bag(latent.to(vectors_RD.device), vectors_RD, offsets_B, mode="mean")
            return _as_batch(joined_BD), (count_B > 0).to(vectors_RD.device)
        # Rows with many latents first: those with a k-th one are then a prefix.
        order = count_B.argsort(descending=True, stable=True)
        joined_BD = vectors_RD.new_zeros(len(order), vectors_RD.shape[1])
        for k in range(int(count_B.max())):
            n = int((count_B > k).sum())
            kth_ND = vectors_RD[latent[begin_B[order[:n]] + k].to(vectors_RD.device)]
            # The first as it is: a maximum with the zeros there would lose negative numbers.
            joined_BD[:n] = torch.maximum(joined_BD[:n], kth_ND) if k else kth_ND
        joined_BD = joined_BD[order.argsort().to(vectors_RD.device)]
        return _as_batch(joined_BD), (count_B > 0).to(vectors_RD.device)


class _Sequences(Joined):
    """Concatenated steps of flattened sequences, cut at `room`."""

    def __init__(self, rows: Rows, every_N: Tensor, shape: tuple[int, int], length: Callable[[Tensor], Tensor]):
        super().__init__(rows, every_N)
        self.shape = shape
        # Once and not in every batch: the end of a sequence shows only in its values.
        parts = rows.vectors.split(max(1, _AT_ONCE // rows.vectors.shape[1]))
        self.length = torch.cat([length(part.unflatten(1, shape)).cpu() for part in parts])

    @cached_property
    def holds(self) -> Tensor:
        before = torch.cat([torch.zeros(1, dtype=torch.int64), (self.length > 0).cumsum(0)])
        return (before[self.first + self.count] > before[self.first]) & (self.count > 0)

    def steps(
        self, members: Members, draw_B: Tensor, part_R: Tensor | None, *, room: int, once: bool
    ) -> Int[Tensor, "b room"]:
        """latent * room + step of each slot; -1: empty. `once`: the overlap with earlier members is left out."""
        member, latent = self.sources(members, draw_B, part_R)
        length, skip = self.length[latent], torch.zeros_like(latent)
        if once:
            heard = torch.zeros(len(members.row), dtype=torch.bool)
            heard[member] = True
            overlap = members.heard_before(heard)[member] - members.start[member]
            skip = (overlap.clamp(min=0) * _FRAMES_A_SECOND).round().long().minimum(length)
        row, length = members.row[member], length - skip
        behind = length.cumsum(0) - length
        before_B = torch.zeros_like(members.count).scatter_add_(0, row, length)
        # First slot of each latent: the slots before it are filled.
        begin = behind - (before_B.cumsum(0) - before_B)[row]
        which, within = expand(length.minimum((room - begin).clamp(min=0)))
        found_BL = torch.full((len(members.count), room), -1)
        found_BL[row[which], begin[which] + within] = latent[which] * room + skip[which] + within
        return found_BL


class WordSequences(_Sequences):
    """(L, D): the first L words of texts in the order of time."""

    def __init__(self, rows: Rows, every_N: Tensor, shape: tuple[int, int]):
        super().__init__(rows, every_N, shape, _words)

    def __call__(
        self, vectors_RD: Tensor, members: Members, draw_B: Tensor, part_R: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        at_BL = self.steps(members, draw_B, part_R, room=self.shape[0], once=False).to(vectors_RD.device)
        # Empty slots read row 0, and are zeroed afterwards.
        found_BLD = vectors_RD.reshape(-1, self.shape[1])[at_BL.clamp(min=0)]
        found_BLD[at_BL < 0] = 0
        return _as_batch(found_BLD.flatten(1)), at_BL[:, 0] >= 0


class Frames(_Sequences):
    """(F, S): the first S frames of sound in the order of time, overlaps once."""

    def __init__(self, rows: Rows, every_N: Tensor, shape: tuple[int, int]):
        super().__init__(rows, every_N, shape, valid_frames)

    def __call__(
        self, vectors_RD: Tensor, members: Members, draw_B: Tensor, part_R: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        bands, room = self.shape
        at_BS = self.steps(members, draw_B, part_R, room=room, once=True).to(vectors_RD.device)
        latent_B1S, frame_B1S = at_BS.clamp(min=0)[:, None] // room, at_BS.clamp(min=0)[:, None] % room
        band_F1 = torch.arange(bands, device=at_BS.device)[:, None]
        found_BFS = vectors_RD.unflatten(1, self.shape)[latent_B1S, band_F1, frame_B1S]
        # Silence is far below any level: 0 dB would be the loudest.
        found_BFS.masked_fill_(at_BS[:, None] < 0, PADDING_DB)
        return _as_batch(found_BFS.flatten(1)), at_BS[:, 0] >= 0


def _words(x_RLD: Float[Tensor, "r l d"]) -> Int[Tensor, " r"]:
    """Number of words: padding is rows of zeros at the end."""
    word_RL = (x_RLD != 0).any(dim=2)
    return (word_RL * torch.arange(1, word_RL.shape[1] + 1, device=x_RLD.device)).amax(dim=1)


def _as_batch(x: Tensor) -> Tensor:
    """float32 of float16, as in batches of `LatentData`."""
    return x.float() if x.dtype == torch.float16 else x
