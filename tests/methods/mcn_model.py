"""A small MCN and made-up batches for its tests."""

from dataclasses import replace
from itertools import combinations

import torch

from seehear.methods.mcn import MCN, MCNConfig
from seehear.nn.random import Randomness
from tests.clips import BANDS

WIDTHS = {"video": 12, "audio": 7, "text": 9}
PAIRS = tuple(combinations(WIDTHS, 2))
SMALL = MCNConfig(widths=WIDTHS, dim=8, hidden=6, clusters=3, queue=12, refit_every=3, channels=(8, 16))
OF_CLIPS = {"widths": {"video": 12, "audio": BANDS, "text": 12}, "inputs": {"audio": "mel", "text": "words"}}


def draws(rows, step=0, seed=0):
    return Randomness(seed, step, 0, rows, rows)


def batch_of(rows=16, *, widths=WIDTHS, seed=0, absent=0.0):
    g = torch.Generator().manual_seed(seed)
    batch = {m: torch.randn(rows, d, generator=g) for m, d in widths.items()}
    has = {f"has_{m}": torch.rand(rows, generator=g) >= absent for m in widths}
    return {**batch, **has, "group": torch.arange(rows)}


def made(config=SMALL, **changes):
    torch.manual_seed(0)
    return MCN(replace(config, **changes))


def step(model, batch, *, number=0):
    rng = draws(len(batch["group"]), number)
    return model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)


def trained(model, batch, steps, lr=3e-3):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for number in range(steps):
        optimizer.zero_grad()
        out = step(model, batch, number=number)
        out.loss.backward()
        optimizer.step()
        model.after_step(out, 0.0)
        losses.append(out.loss.item())
    return losses


def started(model, batch, number=0):
    """As it is one step later, weights apart: with centroids, and rows in the queue."""
    model.after_step(step(model, batch, number=number), 0.0)
    return model
