"""`torchrun -m seehear train`: two processes train the model of one, and what ends them is said and mended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from seehear.cli import main
from seehear.train.config import read_metrics
from seehear.train.files import Checkpoints, read_tensors
from tests.studies.worlds import films_with_texts

ROOT = Path(__file__).parent.parent.parent
OPTIONS = ["fusemix", "--method.dim", "8", "--train.batch-size", "16", "--train.device", "cpu", "--train.evaluations"]
OPTIONS += ["4", "--train.log-every", "1"]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Eighty clips with a film and a text each, and latents of both."""
    rng = np.random.default_rng(0)
    hidden = rng.standard_normal((80, 8))
    video, text = (hidden @ rng.standard_normal((8, w)) + rng.standard_normal((80, w)) for w in (20, 16))
    return films_with_texts(tmp_path_factory.mktemp("library") / "lib", video, text).uri


def torchrun(library: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += ["-m", "seehear", "train", library, *OPTIONS, "--out", str(folder), *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def trained(library: str, folder: Path, *options: str) -> str:
    """What was printed."""
    process = torchrun(library, folder, *options)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    return out


def alone(library: str, folder: Path, *options: str) -> None:
    assert main(["train", library, *OPTIONS, "--out", str(folder), *options, "--quiet"]) == 0


def started(library: str, folder: Path, *options: str) -> subprocess.Popen[str]:
    """A long run, once it has saved a few steps."""
    process = torchrun(library, folder, *options)
    deadline = time.monotonic() + 120
    while not (done := Checkpoints(folder / "checkpoints").steps()) or done[-1] < 3:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def ranks_of(process: subprocess.Popen[str]) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True).stdout
    return [int(pid) for pid in listed.split()]


def same_model(a: Path, b: Path) -> None:
    (one, _), (two, _) = (read_tensors(folder / "model" / "model.safetensors") for folder in (a, b))
    assert one.keys() == two.keys()
    for name in one:
        torch.testing.assert_close(two[name], one[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_metrics(folder / "metrics.jsonl") if "loss" in entry]


@pytest.mark.parametrize("options", [(), ("--train.shard",), ("--train.micro-batch", "4")], ids=lambda o: " ".join(o))
def test_two_processes_train_the_model_of_one(library, tmp_path, options):
    said = trained(library, tmp_path / "two", "--train.steps", "20", *options)
    assert said.count("trained ") == 1, "every process reports"
    alone(library, tmp_path / "one", "--train.steps", "20")
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=1e-4)
    same_model(tmp_path / "one", tmp_path / "two")


LONG = ("--train.steps", "100")


@pytest.mark.parametrize("shard", [(), ("--train.shard",)], ids=["whole", "sharded"])
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_run_that_was_ended_goes_on(library, tmp_path, how, shard):
    process = started(library, tmp_path / "run", *LONG, *shard, "--train.save-minutes", "0")
    if how == "stopped":  # by a scheduler, whose SIGTERM torchrun hands to its processes
        process.send_signal(signal.SIGTERM)
    else:  # one of the two is gone, for lack of memory say
        os.kill(ranks_of(process)[1], signal.SIGKILL)
    _, err = process.communicate(timeout=200)
    assert process.returncode != 0
    assert ("SIGTERM at step" if how == "stopped" else "another process of the run ended at step") in err
    assert "with --resume" in err
    assert 3 <= Checkpoints(tmp_path / "run" / "checkpoints").steps()[-1] < 100
    trained(library, tmp_path / "run", *LONG, *shard, "--resume")
    alone(library, tmp_path / "one", *LONG)
    same_model(tmp_path / "one", tmp_path / "run")
