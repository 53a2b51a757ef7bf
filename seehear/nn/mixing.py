"""Linear mixing of rows of a batch, and the choice of pairs when some rows lack modalities."""

from __future__ import annotations

import torch

from seehear.types import Bool, Float, Int, Tensor


def mix(
    z_BD: Float[Tensor, "b d"], first_R: Int[Tensor, " r"], second_R: Int[Tensor, " r"], weight_R: Float[Tensor, " r"]
) -> Float[Tensor, "r d"]:
    """weight * z[first] + (1 - weight) * z[second], row by row."""
    weight = weight_R[:, None]
    return weight * z_BD[first_R] + (1 - weight) * z_BD[second_R]


def halves(present_BM: Bool[Tensor, "b m"]) -> tuple[Tensor, Tensor]:
    """(first, second) row numbers, every row in one pair: the first half with the second among rows that have the same
    modalities. One row of each such set may be left over; these pair with the row that shares most modalities."""
    first, second, left = [], [], []
    for rows in _alike(present_BM):
        half = len(rows) // 2
        first.append(rows[:half])
        second.append(rows[half : 2 * half])
        left += rows[2 * half :].tolist()
    left.sort(key=lambda r: -int(present_BM[r].sum()))
    while left:
        r = left.pop(0)
        nearest = max(left, key=lambda c: int((present_BM[r] & present_BM[c]).sum()))
        left.remove(nearest)
        first.append(torch.tensor([r]))
        second.append(torch.tensor([nearest]))
    return torch.cat(first), torch.cat(second)


def permutation(present_BM: Bool[Tensor, "b m"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """(all rows, their partners): a uniformly random permutation of the rows that have the same modalities."""
    # A flip or a roll by half a batch would put each pair in twice, with the weights swapped: false negatives.
    partner = torch.empty(len(present_BM), dtype=torch.int64)
    for rows in _alike(present_BM):
        partner[rows] = rows[torch.randperm(len(rows), generator=generator)]
    return torch.arange(len(present_BM)), partner


def row_numbers(z_BD: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
    """Equal rows get equal numbers (63-bit sums of their bits; the chance of a false match is about B^2 / 2^64)."""
    bits_BD = z_BD.float().contiguous().view(torch.int32).to(torch.int64)
    generator = torch.Generator().manual_seed(0)
    # Odd factors: a product with an odd number keeps all of 64 bits.
    factors_D = torch.randint(2**62, (z_BD.shape[1],), generator=generator, dtype=torch.int64) * 2 + 1
    return (bits_BD * factors_D.to(z_BD.device)).sum(dim=1)


def _alike(present_BM: Tensor) -> list[Tensor]:
    """Row numbers, ascending, of each set of rows that have the same modalities."""
    code_B = (present_BM.long() * 2 ** torch.arange(present_BM.shape[1])).sum(dim=1)
    return [(code_B == code).nonzero().squeeze(1) for code in code_B.unique()]
