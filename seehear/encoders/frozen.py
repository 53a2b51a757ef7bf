"""An encoder around a network of ours: loaded on first use, never sent to a worker."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import RLock
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import Encoder, SampleVectors
from seehear.errors import SeehearError
from seehear.types import Float, Int, Tensor

# Threads that encode at the same time load a network once; one encoder may load another.
_LOADING = RLock()


class FrozenEncoder(Encoder):
    """Encoder around a network, whose weights are read with the first batch: a library that is encoded already costs no
    loading. Name, width and fingerprint are known before."""

    last: ClassVar[tuple[str, ...]] = ()
    """Prefixes of the modules of the last block, which learns in fine-tuning. Empty: every linear map, at low rank."""
    _network: nn.Module | None = None

    @abstractmethod
    def load(self) -> nn.Module:
        """The network with its weights, on the CPU."""

    @abstractmethod
    def embed(self, network: nn.Module, prepared: Sequence[Any]) -> Tensor:
        """(B, width) on the network's device."""

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
        # Loaded outside of inference mode: tensors made inside it could not be trained later.
        network = self.network
        with torch.inference_mode():
            return self.embed(network, prepared).float().cpu().numpy()


class SteppedEncoder(FrozenEncoder):
    """Encoder of samples that take time: a vector a step (a frame, a window or moment of sound), pooled over steps."""

    pooling: str
    """Over time: mean, mean+std or segments:K."""
    by_frame: ClassVar[bool] = False
    """Whether each step is the vector of one frame, alone."""

    @abstractmethod
    def steps(self, network: nn.Module, prepared: Sequence[Any]) -> Iterable[Tensor]:
        """(T, D) of each sample, on the network's device."""

    def embed(self, network: nn.Module, prepared: Sequence[Any]) -> Tensor:
        return torch.stack([pool_time(x_TD.float(), self.pooling) for x_TD in self.steps(network, prepared)])

    def encode_parts(self, prepared: Sequence[Any]) -> list[SampleVectors]:
        # Pooled otherwise than by the mean, a clip is not comparable with one of its frames.
        if not self.by_frame or pooled_width(self.pooling, 1) > 1:
            return super().encode_parts(prepared)
        network, parts = self.network, []
        with torch.inference_mode():
            steps = [x_TD.float().cpu() for x_TD in self.steps(network, prepared)]
        for frames_THWC, x_TD in zip(prepared, steps, strict=True):
            parts.append(SampleVectors(pool_time(x_TD, self.pooling).numpy()))
            firsts = np.unique(like_runs(frames_THWC), return_index=True)[1]
            if len(firsts) > 1:
                # + 0.5: the middle of the frame's share of the window.
                places = (firsts + 0.5) / len(frames_THWC)
                parts[-1] = replace(parts[-1], frames=list(x_TD[firsts].numpy()), places=places.tolist())
        return parts


class PooledParts(nn.Module):
    """Network for export: samples of one size, `cut` into parts (B, T, ...), encoded part by part and pooled."""

    def __init__(self, network: nn.Module, cut: Callable[[Tensor], Tensor], pool: str):
        super().__init__()
        self.network, self.cut, self.pool = network, cut, pool

    def forward(self, samples: Tensor) -> Tensor:
        parts = self.cut(samples)
        return pool_time(self.network(parts.flatten(0, 1)).unflatten(0, parts.shape[:2]), self.pool)


def run_parts(parts: Sequence[Tensor], function: Callable[[Tensor], Tensor], *, at_once: int) -> Iterator[Tensor]:
    """`function` over the rows of several tensors, `at_once` at a time; one result a part."""
    # On a CPU each part goes alone: it is a batch already, and a sample's vector is then the same to the last bit
    # whatever it is encoded with. On a GPU small batches waste the device.
    if not parts or parts[0].device.type == "cpu":
        for part in parts:
            yield torch.cat([function(rows) for rows in part.split(at_once)])
        return
    done: list[Tensor] = [parts[0]] * len(parts)
    # Pictures of one shape share a batch.
    for shape in {part.shape[1:] for part in parts}:
        own = [n for n, part in enumerate(parts) if part.shape[1:] == shape]
        rows = torch.cat([parts[n] for n in own])
        results = torch.cat([function(some) for some in rows.split(at_once)])
        for n, result in zip(own, results.split([len(parts[n]) for n in own]), strict=True):
            done[n] = result
    yield from done


def padded_batches(
    rows: Sequence[Tensor], function: Callable[[Tensor, Tensor], Tensor], *, device: str, at_once: int, pad: int = 0
) -> Tensor:
    """`function(tokens_BL, seen_BL)` over token rows of any length; results in the order of `rows`."""
    # Texts are short, so they share batches on a CPU too, those of like length together (4 times the speed): a vector
    # then depends on its neighbours by a float32 rounding, which float16 storage shows in about one number of a
    # thousand, by one unit.
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


# -- pooling over time: the option `pool` of every encoder with a time axis --------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PoolOptions:
    pool: str = "mean"
    """Over time: mean, mean+std or segments:K."""


@dataclass(frozen=True, kw_only=True)
class SpreadOptions(PoolOptions):
    pool: str = "mean+std"


def pooled_width(how: str, width: int) -> int:
    """Numbers of a pooled vector: `width` for 'mean', twice that for 'mean+std', K times for 'segments:K' (the means of
    K equal parts in time, which keep the order of events). Raises `SeehearError` for any other pooling."""
    if how not in ("mean", "mean+std") and not re.fullmatch(r"segments:[1-9]\d?", how):
        raise SeehearError(f"unknown pooling {how!r}; known: mean, mean+std, segments:K with K from 1 to 99")
    if how.startswith("segments:"):
        return width * int(how.split(":")[1])
    return width * 2 if how == "mean+std" else width


def pool_time(x_TD: Float[Tensor, "*b t d"], how: str) -> Float[Tensor, "*b p"]:
    """(..., T, D) -> (..., pooled_width). Segment i covers steps [i T / k, (i + 1) T / k), at least the one it starts
    in, so one step (a picture) fills every segment. The deviation is the population's: 0 for one step."""
    if how == "mean":
        return x_TD.mean(-2)
    if how == "mean+std":
        return torch.cat([x_TD.mean(-2), x_TD.std(-2, correction=0)], -1)
    steps, parts = x_TD.shape[-2], int(how.split(":")[1])
    edges = [i * steps // parts for i in range(parts + 1)]
    return torch.cat([x_TD[..., a : max(b, a + 1), :].mean(-2) for a, b in pairwise(edges)], -1)


# -- still pictures of a film: encoded, stored and searched once -------------------------------------------------------

STILL = 2.0
"""Mean difference of blocks of pixels, of 255, up to which a frame counts as the one before: the cosine of their
features is then above 0.95."""
# Blocks along each side of a picture.
_BLOCKS = 16


def like_runs(frames_THWC: np.ndarray) -> Int[np.ndarray, " t"]:
    """Number of the run of like frames that each frame belongs to, from 0."""
    _, height, width, _ = frames_THWC.shape
    tall, wide = max(1, height // _BLOCKS), max(1, width // _BLOCKS)
    blocks = frames_THWC[:, : height // tall * tall, : width // wide * wide]
    blocks = blocks.reshape(len(blocks), height // tall, tall, width // wide, wide, 3).mean((2, 4), dtype=np.float32)
    runs_T = np.zeros(len(blocks), np.int64)
    first = 0
    # Compared with the first of the run, not with the frame before: a slow change would make a run without end.
    for t in range(1, len(blocks)):
        differs = np.abs(blocks[t] - blocks[first]).mean() > STILL
        first = t if differs else first
        runs_T[t] = runs_T[t - 1] + differs
    return runs_T
