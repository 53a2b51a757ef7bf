"""`python -m benchmarks.faults.heavy FOLDER` trains a toy on data that two worker processes load, or resumes it."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from seehear.errors import SeehearError
from seehear.train.config import RunFolder
from seehear.train.files import write_tensors
from seehear.train.loop import OptimConfig, TrainConfig, fit
from seehear.types import Batch, Tensor
from tests.toy import HeavyData, Toy


class Slow(HeavyData):
    """So that a run lasts long enough for one of its processes to be killed."""

    def batch(self, indices: Tensor, *, seed: int, epoch: int) -> Batch:
        time.sleep(0.03)
        return super().batch(indices, seed=seed, epoch=epoch)


def main(folder: Path) -> int:
    config = TrainConfig(steps=60, batch_size=8, workers=2, save_minutes=0.0, device="cpu", seed=3)
    method = Toy()
    try:
        fit(
            method,
            Slow(40),
            config=config,
            optim=OptimConfig(lr=1e-2),
            folder=RunFolder(folder, resume=folder.exists()),
        )
    except SeehearError as error:
        print(f"seehear: {error}", file=sys.stderr)
        return 2
    write_tensors(folder / "weights.safetensors", method.state_dict())
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
