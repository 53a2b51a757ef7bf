"""Each of the two processes of `test_processes.py`: what it computes with some methods goes into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from seehear import distributed
from seehear.nn.random import Randomness
from seehear.train.config import RunFolder
from seehear.train.loop import TrainConfig, fit
from seehear.train.optim import Computation, gradients
from tests.methods_under_test import METHODS
from tests.train.test_loop import CONFIG, OPTIM


def trained(name: str, folder: Path, config: TrainConfig, *, resume: bool = False) -> list[torch.Tensor]:
    make_method, make_data = METHODS[name]
    method = make_method().double()  # so that only the order of sums differs, and by little
    if distributed.rank():  # fit starts every process from the first one's weights
        torch.nn.init.zeros_(next(method.parameters()))

    def validate(method: torch.nn.Module) -> dict[str, float]:
        assert distributed.rank() == 0
        return {"score": float(next(method.parameters()).detach().double().sum())}

    fit(method, make_data(40), config=config, optim=OPTIM, folder=RunFolder(folder, resume=resume), validate=validate)
    return [p.detach() for p in method.parameters()]


def gradient(name: str, micro_batch: int | None) -> dict[str, torch.Tensor]:
    make_method, make_data = METHODS[name]
    method = make_method().double()
    rows = 18 if method.assembles else 19  # mixed to 9, or 19: never the same number on each process
    share = distributed.share(rows)
    gradients(
        method,
        make_data(rows).batch(torch.arange(rows)[share], seed=0, epoch=0),
        progress=0.5,
        rng=Randomness(seed=1, step=2, start=share.start, stop=share.stop, total=rows),
        how=Computation(micro_batch=micro_batch),
    )
    return {n: p.grad for n, p in method.named_parameters() if p.grad is not None}


def collectives() -> dict[str, torch.Tensor]:
    """Gathered rows of every type, and the gradient of a strided use of them."""
    total, share = 5, distributed.share(5)
    found = {}
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.int64, torch.bool):
        rows = torch.arange(2 * total).view(total, 2).to(dtype)
        found[str(dtype)] = distributed.gather(rows[share], total=total)
    rows = torch.arange(2.0 * total).view(total, 2)[share].requires_grad_()
    found["equal shares"] = distributed.gather(torch.full((2, 1), float(distributed.rank())))
    gathered = distributed.gather(rows, total=total)
    torch.einsum("be,ce->bc", gathered, gathered.detach()).T.cos().sum().backward()
    found["gradient"] = distributed.gather(rows.grad, total=total) / distributed.world_size()
    found["decided"] = torch.tensor(distributed.from_first(lambda: 7 + distributed.rank()))
    found["any"] = torch.tensor([distributed.any_rank(distributed.rank() == 0), distributed.any_rank(False)])
    return found


def main(folder: Path, names: Sequence[str]) -> int:
    distributed.start()
    found = {
        "collectives": collectives(),
        "gradients": {(n, m): gradient(n, m) for n in names for m in (None, 4)},
        "parameters": {n: trained(n, folder / n, CONFIG) for n in names},
    }
    config = replace(CONFIG, steps=10, save_minutes=0, keep=20)
    trained("toy", folder / "half", config)
    if distributed.rank() == 0:  # as if the machine had died after step 5
        for step in range(6, 11):
            (folder / "half" / "checkpoints" / f"step-{step:08d}.safetensors").unlink(missing_ok=True)
    torch.save(found, folder / f"rank{distributed.rank()}.pt")
    distributed.stop()
    return 0
