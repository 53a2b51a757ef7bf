"""Two real processes (torchrun, gloo) do what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from seehear.train.checkpoint import Checkpoints
from tests.methods_under_test import METHODS
from tests.train.test_loop import CONFIG, losses
from tests.train.two_processes import collectives, gradient, trained

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The folder two processes worked in."""
    folder = tmp_path_factory.mktemp("pair")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(Path(__file__).with_name("two_processes.py")), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def found(pair):
    return [torch.load(pair / f"rank{r}.pt", weights_only=True) for r in range(2)]


def test_gathered_rows_and_their_gradient(found):
    alone = collectives()
    for of_rank in found:
        for name, tensor in of_rank["collectives"].items():
            if name == "equal shares":
                assert tensor.tolist() == [[0.0], [0.0], [1.0], [1.0]]
            else:
                torch.testing.assert_close(tensor, alone[name], msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("micro_batch", [None, 4])
@pytest.mark.parametrize("name", METHODS)
def test_gradients_are_equal(found, name, micro_batch):
    alone = gradient(name, None)
    for of_rank in found:
        pair = of_rank["gradients"][name, micro_batch]
        assert pair.keys() == alone.keys()
        for n in alone:
            torch.testing.assert_close(pair[n], alone[n], rtol=1e-6, atol=1e-9, msg=lambda m, n=n: f"{n}: {m}")


@pytest.mark.parametrize("name", METHODS)
def test_a_whole_run_is_equal(found, pair, name, tmp_path):
    parameters = trained(name, tmp_path / "one", CONFIG)
    assert losses(pair / name) == pytest.approx(losses(tmp_path / "one"), rel=1e-9)
    for a, b, c in zip(parameters, *(of_rank["parameters"][name] for of_rank in found), strict=True):
        assert torch.equal(b, c)  # the two processes end with the same weights to the bit
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_a_run_of_two_processes_goes_on_with_one(pair, tmp_path):
    assert Checkpoints(pair / "half" / "checkpoints").steps() == [1, 2, 3, 4, 5]
    whole = trained("toy", tmp_path / "one", CONFIG)
    resumed = trained("toy", pair / "half", CONFIG, resume=True)
    assert losses(pair / "half") == pytest.approx(losses(tmp_path / "one"), rel=1e-9)
    for a, b in zip(whole, resumed, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
