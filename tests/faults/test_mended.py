"""What the campaign found and was mended: each case fails on the code of before."""

from __future__ import annotations

import torch

from seehear.train.checkpoint import Checkpoints, Counters

WEIGHTS = {"w": torch.ones(2)}


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(Counters(step=step), model=WEIGHTS, optimizer={}, best=None)
