"""Two processes that hold a half of the method each train what one process trains that holds all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seehear.errors import SeehearError
from seehear.train.files import Checkpoints
from seehear.train.loop import TrainConfig
from tests.methods_under_test import METHODS
from tests.train.sharded_processes import CASES, trained
from tests.train.test_loop import CONFIG, losses

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.slow


def alone(folder: Path, name: str = "toy", **options) -> list[torch.Tensor]:
    return trained(name, folder, replace(CONFIG, **options), resume=folder.exists())


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder two processes worked in; in it a run that one process began and ended after five steps."""
    folder = tmp_path_factory.mktemp("sharded")
    alone(folder / "one", save_minutes=0, keep=20)
    for step in range(6, 11):
        (folder / "one" / "checkpoints" / f"step-{step:08d}.safetensors").unlink(missing_ok=True)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(Path(__file__).with_name("sharded_processes.py")), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def found(pair):
    return [torch.load(pair / f"rank{r}.pt", weights_only=True) for r in range(2)]


def close(found: list[list[torch.Tensor]], expected: list[torch.Tensor]) -> None:
    for a, *of_ranks in zip(expected, *found, strict=True):
        for b in of_ranks:
            torch.testing.assert_close(b, a, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_a_sharded_run_is_equal(pair, found, case, tmp_path):
    expected = alone(tmp_path / "one", CASES[case][0])
    assert losses(pair / case) == pytest.approx(losses(tmp_path / "one"), rel=1e-9)
    close([of_rank["parameters"][case] for of_rank in found], expected)


@pytest.mark.parametrize("name", METHODS)
def test_each_process_holds_about_a_half(found, name):
    held, whole, norm = zip(*(of_rank["held"][name] for of_rank in found), strict=True)
    assert max(held) < 0.75 * whole[0]
    assert sum(held) >= whole[0]
    expected = torch.cat([p.detach().reshape(-1) for p in METHODS[name][0]().parameters()]).norm()
    assert norm == pytest.approx([float(expected)] * 2, rel=1e-5)


def test_a_sharded_run_goes_on_with_one_process(pair, tmp_path):
    assert Checkpoints(pair / "half" / "checkpoints").steps()[-1] == 5
    close([alone(pair / "half")], alone(tmp_path / "one"))


def test_a_run_of_one_process_goes_on_sharded(found, tmp_path):
    close([of_rank["begun by one"] for of_rank in found], alone(tmp_path / "one"))


def test_alone_the_option_changes_nothing(tmp_path):
    close([alone(tmp_path / "sharded", shard=True)], alone(tmp_path / "one"))


def test_not_with_compile():
    with pytest.raises(SeehearError, match="is not compiled"):
        TrainConfig(shard=True, compile=True)
