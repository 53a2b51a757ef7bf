"""Randomness that does not depend on how a batch is cut over processes or micro-batches.

Every draw is named, and is a function of (seed, step, name) when the whole batch shares it, and of (seed, step, name,
position in the global batch) when each sample has its own. The global batch is cut into fixed blocks of rows, each with
its own generator: a process that holds some rows draws only the blocks they fall into.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from seehear.types import Bool, Float

_BLOCKS = 64
_SMALLEST_BLOCK = 16
# `random_` from here on without an upper end draws all 64 bits.
_INT64 = -(2**63)


def seed_of(*parts: int | str) -> int:
    """A 63-bit seed from numbers and names, the same on every machine and Python version."""
    # A separator that no name contains: 'a', 'bc' and 'ab', 'c' are two seeds.
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def some_of(count: int, some: int, seed: int) -> Tensor:
    """(some,) int64, ascending: numbers below `count`, none twice, a function of the seed."""
    drawn = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    return drawn[:some].sort().values


class TextWeights:
    """Confidence of machine-made texts as their weight in training: a text takes part in an epoch with a probability
    equal to its confidence, so that it weighs that much over many epochs, in every loss. Without any of its texts a
    clip lacks text in that epoch. A user's texts always take part. Closed forms and validation count every text once.
    """

    def __init__(self, confidence_R: Float[np.ndarray | Tensor, " r"]):
        """Confidence of each text, in [0, 1]."""
        self.confidence_R = torch.as_tensor(confidence_R, dtype=torch.float32)
        self._drawn: tuple[tuple[int, int], Tensor] | None = None

    def taking_part(self, seed: int, epoch: int) -> Bool[Tensor, " r"]:
        """Texts that take part in an epoch."""
        if self._drawn is None or self._drawn[0] != (seed, epoch):
            generator = torch.Generator().manual_seed(seed_of(seed, "confidence", epoch))
            # [0, 1): never below 0, always below 1.
            chance_R = torch.rand(len(self.confidence_R), generator=generator)
            self._drawn = (seed, epoch), chance_R < self.confidence_R
        return self._drawn[1]


@dataclass(frozen=True)
class Randomness:
    """The draws of one training step, for rows [start, stop) of a global batch of `total` rows."""

    seed: int
    step: int
    start: int
    stop: int
    total: int
    device: torch.device = torch.device("cpu")

    def narrow(self, start: int, stop: int) -> Randomness:
        """The same draws for a slice of these rows (a micro-batch)."""
        return replace(self, start=self.start + start, stop=self.start + stop)

    def whole(self) -> Randomness:
        """The same draws for all rows of the global batch."""
        return replace(self, start=0, stop=self.total)

    def resized(self, start: int, stop: int, total: int) -> Randomness:
        """For a step that turns the loaded batch into one with another number of rows (mixing halves)."""
        return replace(self, start=start, stop=stop, total=total)

    def shared(self, name: str, device: torch.device | None = None) -> torch.Generator:
        """A generator for what the whole batch shares: a mixing weight, a permutation, a shared keep set."""
        generator = torch.Generator(device or torch.device("cpu"))
        generator.manual_seed(seed_of(self.seed, self.step, name))
        return generator

    def uniform(self, name: str, *shape: int) -> Tensor:
        """(rows, *shape) float32 in [0, 1)."""
        return self._rows("uniform", name, shape)

    def normal(self, name: str, *shape: int) -> Tensor:
        """(rows, *shape) float32, standard normal."""
        return self._rows("normal", name, shape)

    def bits(self, name: str, *shape: int) -> Tensor:
        """(rows, *shape) int16, uniform over all its values: four from one draw of the generator, so three times
        cheaper than as many floats."""
        numbers = math.prod(shape)
        words = self._rows("words", name, (-(-numbers // 4),))
        # A copy: torch.compile cannot give out what is another type's view of its memory.
        return words.view(torch.int16)[:, :numbers].clone().view(-1, *shape)

    def _rows(self, kind: str, name: str, shape: tuple[int, ...]) -> Tensor:
        draw = _draw_compiled if torch.compiler.is_compiling() else _draw
        place = (self.seed, self.step, self.start, self.stop, self.total)
        return draw(kind, name, place, shape, self.device)


_FILL: dict[str, tuple[torch.dtype, Callable[[Tensor, torch.Generator], object]]] = {
    "uniform": (torch.float32, lambda rows, g: rows.uniform_(generator=g)),
    "normal": (torch.float32, lambda rows, g: rows.normal_(generator=g)),
    "words": (torch.int64, lambda rows, g: rows.random_(_INT64, None, generator=g)),
}


def _draw(kind: str, name: str, place: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    """`place`: seed, step, and start, stop and total of the rows."""
    seed, step, start, stop, total = place
    dtype, fill = _FILL[kind]
    block = max(_SMALLEST_BLOCK, -(-total // _BLOCKS))
    first, last = start // block, -(-stop // block)
    generator = torch.Generator(device)
    drawn = torch.empty(((last - first) * block, *shape), dtype=dtype, device=device)
    for i in range(first, last):
        generator.manual_seed(seed_of(seed, step, name, i))
        fill(drawn[(i - first) * block : (i - first + 1) * block], generator)
    return drawn[start - first * block : stop - first * block]


# For torch.compile, an operation that it does not look into: a generator would end the graph at every draw, and what
# follows would be compiled anew for every name.
_draw_compiled = torch.library.custom_op("seehear::draw", _draw, mutates_args=())


@_draw_compiled.register_fake
def _undrawn(kind: str, name: str, place: Sequence[int], shape: Sequence[int], device: torch.device) -> Tensor:
    return torch.empty((place[3] - place[2], *shape), dtype=_FILL[kind][0], device=device)


def dropout(x: Tensor, p: float, rng: Randomness | None, name: str) -> Tensor:
    """Inverted dropout over rows of a batch, `p` to the nearest multiple of 2^-16; off without `rng`."""
    # No train/eval switch that a caller may forget.
    if rng is None or p == 0.0:
        return x
    dropped = round(p * 2**16)
    scale = torch.empty_like(x, memory_format=torch.contiguous_format)
    # int16 begins at -2^15. Written in the type of x at once, without a tensor of booleans in between.
    torch.ge(rng.bits(name, *x.shape[1:]), dropped - 2**15, out=scale)
    return x * scale.mul_(2**16 / (2**16 - dropped))
