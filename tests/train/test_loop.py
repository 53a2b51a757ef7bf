"""What the loop promises of every method: it learns, goes on exactly, and stops cleanly."""

from __future__ import annotations

import json
import math
import os
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from seehear.errors import SeehearError
from seehear.progress import Interrupted
from seehear.train.config import RunFolder, read_metrics
from seehear.train.files import Checkpoints
from seehear.train.loop import OptimConfig, TrainConfig, fit
from tests.faults.outcome import Command
from tests.methods_under_test import EACH, METHODS
from tests.toy import Data, HeavyData, Toy, recall_at_1

CONFIG = TrainConfig(steps=10, batch_size=8, seed=5, log_every=1, device="cpu")
OPTIM = OptimConfig(lr=1e-2, warmup=0.2)


def losses(folder: Path) -> list[float]:
    return [entry["loss"] for entry in read_metrics(folder / "metrics.jsonl") if "loss" in entry]


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Killed(BaseException):
    """Nothing of ours catches it."""


class DiesAt:
    """Data whose process dies while a batch is being made: nothing is saved at that moment."""

    heavy = False
    together = 1

    def __init__(self, data, calls: int):
        self.data, self.left, self.groups = data, calls, data.groups

    def __len__(self):
        return len(self.data)

    def batch(self, indices, *, seed, epoch):
        if not self.left:
            raise Killed
        self.left -= 1
        return self.data.batch(indices, seed=seed, epoch=epoch)


STEPS = {"mavil": 200, "diffmavil": 300, "painter": 300, "mavil-stage2": 300, "vatt-agnostic": 300}
"""Where 120 are too few: about half as many again as it takes."""


# Seconds each; their losses are pinned by `test_golden.py` in any case.
OVERFITS = [pytest.param(name, marks=pytest.mark.slow) if name in ("mavil", "diffmavil") else name for name in EACH]


@pytest.mark.parametrize("name", OVERFITS)
def test_overfits_8_clips(name, tmp_path):
    make_method, make_data = METHODS[name]
    method, data = make_method(), make_data(8)
    config = replace(CONFIG, steps=STEPS.get(name, 120))
    fit(method, data, config=config, optim=OPTIM, folder=tmp_path / "run")
    assert recall_at_1(method, data) == 1.0


@pytest.mark.parametrize("name", EACH)
def test_5_steps_and_5_more_are_10_steps_bit_for_bit(name, tmp_path):
    """20 clips in batches of 8 are two steps an epoch: the run dies in the middle of its third one."""
    make_method, make_data = METHODS[name]
    whole, half = make_method(), make_method()
    fit(whole, make_data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "whole")
    config = replace(CONFIG, save_minutes=0)  # after every step
    with pytest.raises(Killed):
        fit(half, DiesAt(make_data(20), 6), config=config, optim=OPTIM, folder=tmp_path / "half")
    assert Checkpoints(tmp_path / "half" / "checkpoints").steps()[-1] == 5
    again = make_method()
    torch.nn.init.zeros_(next(again.parameters()))  # whatever it was, the checkpoint replaces it
    result = fit(again, make_data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path / "half", resume=True))
    assert result.steps == 10
    assert same(whole.state_dict(), again.state_dict())
    assert losses(tmp_path / "half") == losses(tmp_path / "whole")


def test_resume_keeps_the_best_and_the_patience(tmp_path):
    """Scores by step: the best is at 4, patience of 3 ends the run at 10, in one session or in two."""
    config = replace(CONFIG, steps=20, evaluations=10, patience=3, save_minutes=0)

    def score(method):
        return {"score": -abs(float(method.counted) - 4), "other": 1.0}

    class Counting(Toy):
        def __init__(self):
            super().__init__()
            self.register_buffer("counted", torch.zeros(()))

        def after_step(self, out, progress):
            self.counted += 1

    whole, half, again = Counting(), Counting(), Counting()
    first = fit(whole, Data(20), config=config, optim=OPTIM, folder=tmp_path / "whole", validate=score)
    assert (first.steps, first.best_step, first.score) == (10, 4, 0.0)
    assert first.metrics == {"score": 0.0, "other": 1.0}
    with pytest.raises(Killed):
        fit(half, DiesAt(Data(20), 8), config=config, optim=OPTIM, folder=tmp_path / "half", validate=score)
    second = fit(
        again, Data(20), config=config, optim=OPTIM, folder=RunFolder(tmp_path / "half", resume=True), validate=score
    )
    assert (second.steps, second.best_step, second.metrics) == (10, 4, first.metrics)
    assert same(whole.state_dict(), again.state_dict())
    assert whole.counted == 4
    files = sorted(p.name for p in (tmp_path / "half" / "checkpoints").iterdir())
    assert files == ["best-00000004.safetensors", "step-00000009.safetensors", "step-00000010.safetensors"]
    done = fit(
        again, Data(20), config=config, optim=OPTIM, folder=RunFolder(tmp_path / "half", resume=True), validate=score
    )
    assert (done.steps, done.best_step) == (10, 4)


@pytest.mark.slow  # batches are the same: tests/inputs/test_loader.py
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_the_number_of_workers_does_not_matter(tmp_path):
    trained = {}
    for workers in (0, 2):
        trained[workers] = Toy()
        config = replace(CONFIG, workers=workers, steps=5)
        fit(trained[workers], HeavyData(20), config=config, optim=OPTIM, folder=tmp_path / str(workers))
    assert losses(tmp_path / "0") == losses(tmp_path / "2")
    assert same(trained[0].state_dict(), trained[2].state_dict())


def test_micro_batches_train_the_same_model(tmp_path):
    for name, micro_batch in (("full", None), ("cached", 3)):
        config = replace(CONFIG, micro_batch=micro_batch)
        fit(Toy().double(), Data(20), config=config, optim=OPTIM, folder=tmp_path / name)
    assert losses(tmp_path / "full") == pytest.approx(losses(tmp_path / "cached"), rel=1e-9)


class Diverges(Toy):
    """One term, or one gradient, goes bad at step 3."""

    def __init__(self, what: str):
        super().__init__()
        self.what = what
        self.steps = 0

    def objective(self, encoded, *, progress, rng):
        out = super().objective(encoded, progress=progress, rng=rng)
        self.steps += 1
        if self.steps <= 3:
            return out
        if self.what == "term":
            return replace(out, loss=out.loss * math.nan, metrics=out.metrics | {"loss/rows": torch.tensor(math.inf)})
        poison = (self.head.weight[0, 0] - self.head.weight[0, 0].detach()).sqrt()  # 0, its gradient infinite
        return replace(out, loss=out.loss + poison)


def test_a_loss_that_is_not_finite_stops_the_run_and_is_named(tmp_path):
    method = Diverges("term")
    config = replace(CONFIG, save_minutes=0)
    with pytest.raises(SeehearError, match=r"step 3: loss = nan, loss/rows = inf, grad_norm = nan; step 3 is saved"):
        fit(method, Data(20), config=config, optim=OPTIM, folder=tmp_path / "run")
    assert all(p.isfinite().all() for p in method.parameters())
    _, model, _, _ = Checkpoints(tmp_path / "run" / "checkpoints").load()
    assert same(model, dict(method.state_dict()))


def test_a_gradient_that_is_not_finite_is_named(tmp_path):
    message = r"step 3: grad_norm = (nan|inf), gradient of head.weight; nothing is saved yet"
    with pytest.raises(SeehearError, match=message):
        fit(Diverges("gradient"), Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "run")


def test_a_set_smaller_than_the_batch_trains(tmp_path):
    method = Toy()
    before = method.head.weight.clone()
    config = replace(CONFIG, batch_size=4096, steps=None, epochs=3)
    assert fit(method, Data(7), config=config, optim=OPTIM, folder=tmp_path / "run").steps == 3
    assert not torch.equal(before, method.head.weight)


def test_one_sample_is_refused(tmp_path):
    with pytest.raises(SeehearError, match="needs two at least, here is 1 sample"):
        fit(Toy(), Data(1), config=CONFIG, optim=OPTIM, folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    with pytest.raises(
        SeehearError, match=r"is not empty: choose another folder, or run the same command again with --resume"
    ):
        fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "run")
    with pytest.raises(SeehearError, match="holds no run to resume"):
        fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path / "run", resume=True))
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_two_do_not_train_one_run_at_once(tmp_path):
    def meanwhile(method):
        fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path / "run", resume=True))

    with pytest.raises(SeehearError, match=r"run is being written by another process: run the same command again when"):
        fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "run", validate=meanwhile)
    fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path / "run", resume=True))


def test_a_changed_setting_is_refused_on_resume(tmp_path):
    fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "run")
    again = {"config": CONFIG, "optim": OPTIM, "folder": RunFolder(tmp_path / "run", resume=True)}
    with pytest.raises(SeehearError, match=r"started with optim.lr = 0.01, now it is 0.001"):
        fit(Toy(), Data(20), **(again | {"optim": replace(OPTIM, lr=1e-3)}))
    with pytest.raises(SeehearError, match=r"started with samples = 20, now it is 21"):
        fit(Toy(), Data(21), **again)
    with pytest.raises(SeehearError, match=r"started with method.dim = 8, now it is 9"):
        fit(Toy(replace(Toy().config, dim=9)), Data(20), **again)
    with pytest.raises(SeehearError, match=r"started with encoders.text = null, now it is \"e5\""):
        fit(Toy(), Data(20), **(again | {"folder": replace(again["folder"], settings={"encoders": {"text": "e5"}})}))
    fit(Toy(), Data(20), **(again | {"config": replace(CONFIG, workers=3, log_every=7, micro_batch=4)}))


def test_a_signal_saves_and_says_how_to_go_on(tmp_path):
    class Sends(Toy):
        def after_step(self, out, progress):
            if self.followed == 0:
                os.kill(os.getpid(), signal.SIGTERM)
            super().after_step(out, progress)

    usual = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match=r"SIGTERM at step 1 of 10: saved in .*--resume"):
        fit(Sends(), Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "run")
    assert signal.getsignal(signal.SIGTERM) is usual
    whole, again = Toy(), Toy()
    fit(again, Data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path / "run", resume=True))
    fit(whole, Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "whole")
    assert same(whole.state_dict(), again.state_dict())


class Slow(Data):
    def batch(self, *args, **kwargs):
        time.sleep(0.02)
        return super().batch(*args, **kwargs)


def train_slowly(folder: Path, resume: bool) -> int:
    config = replace(CONFIG, steps=30, save_minutes=0)
    fit(Toy(), Slow(20), config=config, optim=OPTIM, folder=RunFolder(folder, resume=resume))
    return 0


@pytest.mark.parametrize("kills", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_kill_9_loses_one_step_at_most(kills, tmp_path):
    """Checkpoints are written all the time while the process is killed, the resumed one too."""
    folder = tmp_path / "run"
    for resume in (False, True)[:kills]:
        seen = len(losses(folder)) if resume else 0
        process = Command(partial(train_slowly, folder, resume))
        while not process.wait(0.005) and (not (folder / "metrics.jsonl").exists() or len(losses(folder)) < seen + 5):
            pass
        process.kill_group()
        process.ended()
        logged = len(losses(folder))
        assert Checkpoints(folder / "checkpoints").load()[0].step >= logged - 1
    train_slowly(folder, True)
    whole = Toy()
    fit(whole, Data(20), config=replace(CONFIG, steps=30), optim=OPTIM, folder=tmp_path / "whole")
    assert same(Checkpoints(folder / "checkpoints").load()[1], dict(whole.state_dict()))
    assert losses(folder) == losses(tmp_path / "whole")


def test_the_best_weights_come_back(tmp_path):
    """The starting point counts: training that only makes it worse returns it."""
    method = Toy()
    start = {k: v.clone() for k, v in method.state_dict().items()}
    result = fit(
        method,
        Data(20),
        config=replace(CONFIG, evaluations=5),
        optim=OPTIM,
        folder=tmp_path / "run",
        validate=lambda m: {"score": -float(m.followed)},
    )
    assert (result.best_step, result.steps) == (0, 10)
    assert same(method.state_dict(), start)
    evaluated = [e["step"] for e in read_metrics(tmp_path / "run" / "metrics.jsonl") if "val/score" in e]
    assert evaluated == [0, 2, 4, 6, 8, 10]


def test_the_run_folder_says_what_was_trained(tmp_path):
    fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path / "run", settings={"recipe": "toy"}))
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["train"]["batch_size"] == 8
    assert config["optim"]["lr"] == 0.01
    assert config["method"] == {"name": "toy", "width": 12, "dim": 8, "dropout": 0.2}
    assert config["recipe"] == "toy"
    entry = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert {
        "step",
        "loss",
        "loss/rows",
        "loss/columns",
        "grad_norm",
        "lr",
        "epoch",
        "rows_per_second",
        "steps",
        "seconds_left",
    } <= entry.keys()
    assert entry["epoch"] == 5.0
    assert "training toy: 10 steps of 8 samples, on cpu" in (tmp_path / "run" / "log.txt").read_text()


def test_precision_and_fast_products_train_and_put_the_settings_back(tmp_path):
    before = torch.get_float32_matmul_precision()
    config = replace(CONFIG, precision="bf16", fast_matmul=True, deterministic=True, steps=100)
    method = Toy()
    fit(method, Data(16), config=config, optim=OPTIM, folder=tmp_path / "run")
    assert torch.get_float32_matmul_precision() == before
    assert not torch.are_deterministic_algorithms_enabled()
    assert all(p.dtype == torch.float32 for p in method.parameters())
    assert losses(tmp_path / "run")[-1] < losses(tmp_path / "run")[0] / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")  # inside torch
def test_compiled_encoding_trains_the_same_model(tmp_path):
    for compiled in (False, True):
        config = replace(CONFIG, compile=compiled)
        fit(Toy(), Data(20), config=config, optim=OPTIM, folder=tmp_path / str(compiled))
    assert losses(tmp_path / "True") == pytest.approx(losses(tmp_path / "False"), rel=1e-4)


def test_multipliers_scale_the_update(tmp_path):
    """Adam's first update is lr times the sign of the gradient: half as long where the multiplier is a half."""
    method = Toy()
    before = {n: p.detach().clone() for n, p in method.named_parameters()}
    optim = OptimConfig(lr=1e-2, warmup=0.0, schedule="constant", weight_decay=0.0)
    fit(method, Data(20), config=replace(CONFIG, steps=1), optim=optim, folder=tmp_path / "run")
    moved = {n: float((p.detach() - before[n]).abs().max()) for n, p in method.named_parameters()}
    assert moved["head.weight"] == pytest.approx(5e-3, rel=1e-3)
    assert moved["out.video.weight"] == pytest.approx(1e-2, rel=1e-3)


def test_the_gradient_is_clipped(tmp_path):
    """After one step Adam's first moment is a tenth of the gradient it was given."""
    optim = replace(OPTIM, clip=0.25)
    fit(Toy(), Data(20), config=replace(CONFIG, steps=1), optim=optim, folder=tmp_path / "run")
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["grad_norm"] > 0.25
    _, _, optimizer, _ = Checkpoints(tmp_path / "run" / "checkpoints").load()
    first = torch.cat([v.flatten() for k, v in optimizer.items() if k.endswith("/exp_avg")])
    assert float(first.norm()) == pytest.approx(0.025, rel=1e-5)


def test_bad_configs_are_refused():
    with pytest.raises(SeehearError, match="two samples in a batch"):
        TrainConfig(batch_size=1)
    with pytest.raises(SeehearError, match="batch_size has 2 numbers for 3 epochs"):
        TrainConfig(batch_size=(4, 8), epochs=3)
    with pytest.raises(SeehearError, match="unknown tracker 'tensorbord'; did you mean 'tensorboard'"):
        TrainConfig(trackers=("tensorbord",))
    with pytest.raises(SeehearError, match="part of the run"):
        OptimConfig(warmup=100)


def test_a_metric_that_validation_does_not_give(tmp_path):
    with pytest.raises(SeehearError, match="no validation metric 'score'; there are R@1"):
        fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=tmp_path / "r", validate=lambda m: {"R@1": 0.5})
