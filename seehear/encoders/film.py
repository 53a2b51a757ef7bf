"""Which frames of a film differ, so that what stands still is encoded, stored and searched once."""

from __future__ import annotations

import numpy as np

from seehear.encoders.base import SampleVectors
from seehear.types import Float, Int, Tensor

STILL = 2.0
"""Mean difference of blocks of pixels, of 255, up to which a frame counts as the one before: the cosine of their
features is then above 0.95."""
_BLOCKS = 16  # along each side


def like_runs(frames_THWC: np.ndarray) -> Int[np.ndarray, " t"]:
    """Number of the run of like frames that each belongs to, from 0. Each is compared with the first of its run: what
    changes slowly is no run without end."""
    _, height, width, _ = frames_THWC.shape
    tall, wide = max(1, height // _BLOCKS), max(1, width // _BLOCKS)
    blocks = frames_THWC[:, : height // tall * tall, : width // wide * wide]
    blocks = blocks.reshape(len(blocks), height // tall, tall, width // wide, wide, 3).mean((2, 4), dtype=np.float32)
    runs_T = np.zeros(len(blocks), np.int64)
    first = 0
    for t in range(1, len(blocks)):
        differs = np.abs(blocks[t] - blocks[first]).mean() > STILL
        first = t if differs else first
        runs_T[t] = runs_T[t - 1] + differs
    return runs_T


def with_frames(vector_D: Tensor, x_FD: Float[Tensor, "f d"], runs_T: np.ndarray) -> SampleVectors:
    """A film's vector with those of the first frame of each run; without, where all is one run."""
    if len(x_FD) < 2:
        return SampleVectors(vector_D.numpy())
    places = (np.unique(runs_T, return_index=True)[1] + 0.5) / len(runs_T)
    return SampleVectors(vector_D.numpy(), list(x_FD.numpy()), places.tolist())
