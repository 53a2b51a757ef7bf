"""An encoder around a network of ours: loaded on first use, never sent to a worker."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from threading import RLock
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.pooling import pool_time
from seehear.types import Tensor

_LOADING = RLock()
"""Threads that encode at the same time load a network once; one encoder may load another."""


class FrozenEncoder(Encoder):
    """Name, width and fingerprint are known from the start; the weights are read when the first batch comes, so a
    library that is encoded already costs no loading."""

    last: ClassVar[tuple[str, ...]] = ()
    """Names that the modules of its last block begin with: what learns of it where it is fine-tuned. Empty: every
    linear map, at low rank."""
    _network: nn.Module | None = None

    @abstractmethod
    def preparation(self) -> Callable[[Sample], Any]: ...

    @abstractmethod
    def load(self) -> nn.Module:
        """The network with its weights, on the CPU."""

    @abstractmethod
    def embed(self, network: nn.Module, prepared: Sequence[Any]) -> Tensor:
        """(B, width) on the network's device."""

    def prepare(self, sample: Sample) -> Any:
        return self.preparation()(sample)

    @property
    def network(self) -> nn.Module:
        with _LOADING:
            if self._network is None:
                self._network = self.load().eval().requires_grad_(False).to(self.device)
            return self._network

    def to(self, device: str) -> Self:
        self.device = device
        if self._network is not None:
            self._network.to(device)
        return self

    def encode(self, prepared: Sequence[Any]) -> np.ndarray:
        network = self.network
        with torch.inference_mode():
            return self.embed(network, prepared).float().cpu().numpy()


class PooledParts(nn.Module):
    """Samples of one size at once, for export: `cut` into parts (B, T, ...), which the network sees one by one."""

    def __init__(self, network: nn.Module, cut: Callable[[Tensor], Tensor], pool: str):
        super().__init__()
        self.network, self.cut, self.pool = network, cut, pool

    def forward(self, samples: Tensor) -> Tensor:
        parts = self.cut(samples)
        return pool_time(self.network(parts.flatten(0, 1)).unflatten(0, parts.shape[:2]), self.pool)


def run_parts(parts: Sequence[Tensor], function: Callable[[Tensor], Tensor], *, at_once: int) -> Iterator[Tensor]:
    """`function` over the rows of several tensors, one result a part. On a GPU rows of different parts go through
    together, `at_once` at a time. On a CPU each part goes alone: it is a batch already, and a sample's vector is then
    the same to the last bit whatever it is encoded with."""
    if not parts or parts[0].device.type == "cpu":
        for part in parts:
            yield torch.cat([function(rows) for rows in part.split(at_once)])
        return
    done: list[Tensor] = [parts[0]] * len(parts)
    for shape in {part.shape[1:] for part in parts}:  # pictures of one shape share a batch
        own = [n for n, part in enumerate(parts) if part.shape[1:] == shape]
        rows = torch.cat([parts[n] for n in own])
        results = torch.cat([function(some) for some in rows.split(at_once)])
        for n, result in zip(own, results.split([len(parts[n]) for n in own]), strict=True):
            done[n] = result
    yield from done


def stacked(rows: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(rows))


def padded_batches(
    rows: Sequence[Tensor], function: Callable[[Tensor, Tensor], Tensor], *, device: str, at_once: int, pad: int = 0
) -> Tensor:
    """`function(tokens_BL, seen_BL)` over token rows of any length, rows of like length together; in the order given.
    Texts are short, so they share batches on a CPU too (4 times the speed): a vector then depends on its neighbours
    by a float32 rounding, which float16 storage shows in about one number of a thousand, by one unit."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
    done: list[Tensor | None] = [None] * len(rows)
    for at in range(0, len(order), at_once):
        chosen = order[at : at + at_once]
        tokens_BL = nn.utils.rnn.pad_sequence([rows[i] for i in chosen], batch_first=True, padding_value=pad)
        lengths = torch.tensor([len(rows[i]) for i in chosen])
        seen_BL = torch.arange(tokens_BL.shape[1]) < lengths[:, None]
        for i, vector in zip(chosen, function(tokens_BL.to(device), seen_BL.to(device)), strict=True):
            done[i] = vector
    return torch.stack([vector for vector in done if vector is not None])
