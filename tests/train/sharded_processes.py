"""Run under torchrun by `test_sharding.py`: what a sharded run computes goes into FOLDER for comparison."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seehear import distributed
from seehear.errors import SeehearError
from seehear.methods.base import Method
from seehear.train.config import RunFolder
from seehear.train.loop import TrainConfig, fit
from seehear.train.optim import gradient_norm, on_device
from tests.methods_under_test import METHODS
from tests.train.test_loop import CONFIG, OPTIM

SHARDED = replace(CONFIG, shard=True)
CLIPPED = replace(OPTIM, clip=0.5)
CASES = {name: (name, SHARDED) for name in METHODS} | {"toy-cached": ("toy", replace(SHARDED, micro_batch=2))}


def trained(name: str, folder: Path, config: TrainConfig, *, resume: bool = False) -> list[torch.Tensor]:
    """In double precision, so that only the order of sums differs, and by little."""
    make_method, make_data = METHODS[name]
    method = make_method().double()
    if distributed.rank():  # every process starts from the first one's weights
        torch.nn.init.zeros_(next(method.parameters()))

    def validate(method: Method) -> dict[str, float]:
        batch = make_data(12).batch(torch.arange(12), seed=0, epoch=0)
        embedded = method.embed(batch, next(iter(method.spaces)))
        return {"score": float(sum(z.double().sum() for z in embedded.values()))}

    # A painter has no space to be scored in: its last weights are compared.
    score, opened = validate if method.spaces else None, RunFolder(folder, resume=resume)
    fit(method, make_data(40), config=config, optim=CLIPPED, folder=opened, validate=score)
    return [p.detach() for p in method.parameters()]


def bytes_held(name: str) -> tuple[int, int, float]:
    """(numbers of a sharded method on this process, numbers of it whole, norm of it as gradients)."""
    whole = METHODS[name][0]()
    held = on_device(whole, torch.device("cpu"), shard=True)
    own = [p.to_local() if distributed.is_sharded(p) else p for p in held.parameters()]  # type: ignore[attr-defined]
    norm = float(gradient_norm(p.detach() for p in held.parameters()))
    return sum(p.numel() for p in own), sum(p.numel() for p in whole.parameters()), norm


def main(folder: Path) -> None:
    distributed.start()
    found = {
        "held": {name: bytes_held(name) for name in METHODS},
        "parameters": {case: trained(name, folder / case, config) for case, (name, config) in CASES.items()},
    }
    trained("toy", folder / "half", replace(SHARDED, save_minutes=0, keep=20))
    distributed.barrier()
    if distributed.rank() == 0:  # as if the machine had died after step 5
        for step in range(6, 11):
            (folder / "half" / "checkpoints" / f"step-{step:08d}.safetensors").unlink(missing_ok=True)
    distributed.barrier()
    found["begun by one"] = trained("toy", folder / "one", SHARDED, resume=True)
    with pytest.raises(SeehearError, match="7 rows do not go over 2 processes"):
        trained("toy", folder / "uneven", replace(SHARDED, batch_size=7, micro_batch=2))
    torch.save(found, folder / f"rank{distributed.rank()}.pt")
    distributed.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
