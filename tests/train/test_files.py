"""Files that are whole or not there."""

from __future__ import annotations

import json
import sys
import types

import pytest
import torch

from seehear.errors import SeehearError
from seehear.train import files
from seehear.train.config import RunFolder, RunLog, read_metrics
from seehear.train.files import Checkpoints, Counters, read_tensors, save_model, write_tensors
from tests.toy import Toy


def save(checkpoints: Checkpoints, step: int, best_step: int = 0) -> None:
    counters = Counters(step=step, best_step=best_step, best_score=0.5)
    tensors = {"w": torch.full((2,), float(step))}
    checkpoints.save(counters, model=tensors, optimizer={"w/exp_avg": tensors["w"] + 1}, best={"w": torch.zeros(2)})


def test_the_last_few_and_the_best_they_speak_of_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step, best in ((1, 0), (2, 2), (3, 2), (4, 4)):
        save(checkpoints, step, best)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "best-00000002.safetensors",
        "best-00000004.safetensors",
        "step-00000003.safetensors",
        "step-00000004.safetensors",
    ]
    counters, model, optimizer, best = checkpoints.load()
    assert (counters.step, counters.best_step, counters.best_score) == (4, 4, 0.5)
    assert (model["w"].tolist(), optimizer["w/exp_avg"].tolist(), best["w"].tolist()) == ([4, 4], [5, 5], [0, 0])


@pytest.mark.parametrize("damage", ["cut", "empty", "rubbish", "no best"])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path, damage, capsys):
    checkpoints = Checkpoints(tmp_path, keep=2)
    save(checkpoints, 1)
    save(checkpoints, 2, best_step=2)
    path = checkpoints.best_path(2) if damage == "no best" else checkpoints.path(2)
    content = path.read_bytes()
    if damage == "no best":
        path.unlink()
    else:
        path.write_bytes({"cut": content[:-5], "empty": b"", "rubbish": b"\x80" * 300}[damage])
    assert checkpoints.load()[0].step == 1
    assert "checkpoint of step 2 is damaged" in capsys.readouterr().err


def test_nothing_is_ever_unpickled(tmp_path):
    """A file of the right name that holds a pickle is damaged, whatever it would do."""
    checkpoints = Checkpoints(tmp_path)
    torch.save({"model/w": torch.zeros(1)}, checkpoints.path(1))
    assert checkpoints.load() is None


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"w": torch.zeros(1)})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(SeehearError, match=r"cannot write .*No space left"):
        write_tensors(path, {"w": torch.ones(1)})
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    assert read_tensors(path)[0]["w"].item() == 0


def test_tied_and_strided_tensors_are_written(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {"a": base, "tied": base, "view": base[1:], "strided": base.T, "scalar": torch.tensor(3)}
    write_tensors(tmp_path / "a.safetensors", tensors)
    found, _ = read_tensors(tmp_path / "a.safetensors")
    assert all(torch.equal(found[k], v) for k, v in tensors.items())


def test_a_model_folder_says_what_is_in_it(tmp_path):
    method = Toy()
    encoders = {"text": [{"name": "minilm", "fingerprint": "0123456789abcdef", "width": 384}]}
    save_model(tmp_path, method, {"encoders": encoders, "metrics": {"val/R@1": 0.25}})
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["method"] == "toy"
    assert config["config"] == {"width": 12, "dim": 8, "dropout": 0.2}
    assert config["encoders"] == encoders
    assert config["spaces"] == {"joint": ["video", "text"]}
    assert read_tensors(tmp_path / "model.safetensors")[0].keys() == method.state_dict().keys()
    card = (tmp_path / "README.md").read_text()
    assert "| text | minilm | 384 | `0123456789abcdef` |" in card
    assert "| val/R@1 | 0.2500 |" in card


def test_metrics_are_valid_json_and_cut_back_on_resume(tmp_path):
    log = RunLog(tmp_path, step=0, trackers=(), settings={})
    for step in range(1, 5):
        log.log(step, {"loss": 1.0 / step, "odd": float("nan")})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')  # killed while writing
    RunLog(tmp_path, step=3, trackers=(), settings={})
    entries = read_metrics(tmp_path / "metrics.jsonl")
    assert [e["step"] for e in entries] == [1, 2, 3]
    assert entries[0] == {"step": 1, "loss": 1.0, "odd": None}


@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_trackers_get_what_the_log_gets(name, tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType(name)
    for call in ("init", "log", "finish", "start_run", "log_dict", "log_metrics", "end_run"):
        setattr(fake, call, lambda *a, call=call, **k: calls.append((call, a, k)))
    monkeypatch.setitem(sys.modules, name, fake)
    log = RunLog(tmp_path, step=0, trackers=(name,), settings={"seed": 1})
    log.log(3, {"loss": 0.5})
    log.close()
    assert len(calls) == (4 if name == "mlflow" else 3)
    assert calls[-2][1][0] == {"loss": 0.5}
    assert calls[-2][2] == {"step": 3}


def test_a_tracker_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SeehearError, match="tracker 'wandb' needs a package that is not there: pip install wandb"):
        RunLog(tmp_path, step=0, trackers=("wandb",), settings={})


def test_a_run_resumes_without_options_that_were_removed_unless_it_used_them(tmp_path):
    old = {"method": {"dim": 8, "matryoshka": [], "weighting": "pairs", "linear_shrinkage": 0.1}}
    for name, settings in (("plain", old), ("used", {"method": old["method"] | {"matryoshka": [4, 8]}})):
        with RunFolder(tmp_path / name, settings).open():
            pass
    with RunFolder(tmp_path / "plain", {"method": {"dim": 8}}, resume=True).open():
        pass
    with pytest.raises(SeehearError, match=r"was started with method\.matryoshka"):
        RunFolder(tmp_path / "used", {"method": {"dim": 8}}, resume=True).open().__enter__()
