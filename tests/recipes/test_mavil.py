"""Runs of MAViL: what the paper says, and where the weights of a start come from."""

import json
import signal
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.methods.base import config_from
from seehear.methods.mavil import SIDES, MAViL, MAViLConfig
from seehear.progress import Interrupted
from seehear.recipes import mavil as recipes
from seehear.runs.config import recipe
from seehear.runs.run import train_run
from seehear.space import load_model
from seehear.train import loop
from seehear.train.files import save_model
from seehear.train.optim import learning_rate
from tests.inputs.raw_library import PLAIN
from tests.methods.test_mavil_layers import as_timm, published
from tests.methods_under_test import mavil
from tests.train import test_golden as golden


def test_the_paper():
    run = recipe("mavil.base")
    config = run.method.reading(run.data.raw)
    assert config == MAViLConfig()  # what the loader shows is what the defaults are made for
    raw = run.data.raw
    assert (raw.frames, raw.video_seconds, raw.audio_seconds, raw.samples) == (
        8,
        4.0,
        10.0,
        160_000,
    )
    assert (config.inter_weight, config.intra_weight) == (0.1, 0.01)
    assert (config.inter_temperature, config.intra_temperature) == (0.1, 1.0)


@pytest.mark.parametrize(("epoch", "expected"), [(0, 0.0), (2, 2e-4), (4, 4e-4), (12, 2.005e-4), (20, 1e-6)])
def test_the_rate_of_the_paper(epoch, expected):
    optim, steps = recipe("mavil.base").optim, 100
    place = SimpleNamespace(rows=512, epoch=epoch)
    loader = SimpleNamespace(progress=lambda step: step / (20 * steps), place=lambda step: place)
    assert learning_rate(optim, loader, epoch * steps) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("seconds", "frames"), [(10.0, 1024), (5.0, 512), (1.0, 128), (3.0, 320)])
def test_spectrograms_are_as_long_as_in_audio_mae(seconds, frames):
    raw = RawConfig(rate=16_000, seconds=seconds)
    assert MAViLConfig().reading(raw).mel_frames == frames


@pytest.mark.parametrize("name", ["mavil.tiny", "mavil.small", "mavil.base"])
def test_runs_can_be_written_down(name):
    run = recipe(name)
    assert run.recipe == name
    assert config_from(MAViLConfig, json.loads(json.dumps(asdict(run.method)))) == run.method
    assert run.method.reading(run.data.raw, vocabulary=7).counts("video")


def test_both_sides_must_be_there():
    with pytest.raises(SeehearError, match="there is no audio"):
        MAViLConfig().reading(RawConfig(modalities=("video", "text")))


def test_a_teacher_is_a_run_or_a_model(tmp_path):
    first, student = mavil(), mavil(teacher=str(tmp_path / "run"))
    save_model(tmp_path / "run" / "model", first, {})
    for place in (tmp_path / "run", tmp_path / "run" / "model"):
        student.config = replace(student.config, teacher=str(place))
        torch.nn.init.zeros_(next(student.teacher.parameters()))
        recipes.started(student)
        assert all(torch.equal(v, student.teacher.state_dict()[k]) for k, v in first.trunk.state_dict().items())
    save_model(tmp_path / "second" / "model", student, {})  # the next round: the student teaches, not its teacher
    last = mavil(teacher=str(tmp_path / "second"))
    torch.nn.init.ones_(student.trunk.tokens["audio"].cls)
    save_model(tmp_path / "second" / "model", student, {})
    assert bool((recipes.started(last).teacher.tokens["audio"].cls == 1).all())


def test_what_cannot_teach_is_refused(tmp_path):
    save_model(tmp_path / "other" / "model", mavil(fusion_layers=2), {})
    for place, message in (("nowhere", "holds no trained model"), ("other", "of another size or method")):
        model = mavil(teacher=str(tmp_path / place))
        with pytest.raises(SeehearError, match=message):
            recipes.started(model)


def test_an_image_mae_from_a_file_or_a_folder(tmp_path):
    _, tensors = published()
    size = {"layers": 3, "width": 32, "hidden": 64, "heads": 2}
    config = replace(mavil().config, size=replace(mavil().config.size, **size), patch=(2, 4, 4), mel_patch=(4, 4))
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    for place in (tmp_path, tmp_path / "model.safetensors"):
        given = {"image_mae": str(place), "image_mae_audio": True}
        model = recipes.started(type(mavil())(replace(config, **given)))
        assert torch.equal(model.trunk.tokens["audio"].cls, tensors["vit.embeddings.cls_token"].flatten())
    torch.save({"model": as_timm(tensors)}, tmp_path / "mae.pth")  # as the authors of MAE publish theirs
    model = recipes.started(type(mavil())(replace(config, image_mae=str(tmp_path / "mae.pth"))))
    kernel = tensors["vit.embeddings.patch_embeddings.projection.weight"].permute(0, 2, 3, 1)
    found = model.trunk.tokens["video"].project.weight.unflatten(1, (2, 4, 4, 3))
    assert torch.equal(found[:, 0], kernel)
    assert torch.equal(found[:, 1], kernel)
    torch.save([1], tmp_path / "list.pth")
    (tmp_path / "none.pth").write_bytes(b"nothing")
    for name, message in (("list.pth", "holds no weights by name"), ("none.pth", "cannot be read as weights of torch")):
        with pytest.raises(SeehearError, match=message):
            recipes.started(type(mavil())(replace(config, image_mae=str(tmp_path / name))))
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SeehearError, match=r"holds no \.safetensors file"):
        recipes.started(type(mavil())(replace(config, image_mae=str(tmp_path))))


@pytest.mark.parametrize("name", ["mavil.base", "diffmavil.base", "mavil.tiny"])
def test_a_start_from_random_weights_is_said_where_the_papers_differs(name, monkeypatch, capsys):
    monkeypatch.setattr(recipes, "seeded", lambda kind, config, seed: mavil())  # the real one is large
    run = recipe(name)
    recipes.build(run.method, SimpleNamespace(spec=SimpleNamespace(raw=run.data.raw)), seed=0, batch_size=4)
    said = "starts from random weights, the paper's from an image MAE" in capsys.readouterr().err
    assert said == (name != "mavil.tiny")


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """Films, and stage 2 made small: two rounds, taught at first by an untrained model."""
    where = tmp_path_factory.mktemp("rounds")
    films, run = golden.films(where / "films"), recipe("mavil.stage2")
    small = {"size": golden.SMALL, "fusion_layers": 1, "decoder": golden.SMALL, "patch": (2, 4, 4)}
    small |= {"mel_bands": 16, "mel_patch": (2, 4)}
    raw = replace(PLAIN, modalities=SIDES, squash=True)
    train = {"epochs": 2, "batch_size": 4, "precision": "fp32", "workers": 0, "evaluations": 1, "device": "cpu"}
    method = replace(run.method, **small).reading(raw)
    save_model(where / "first" / "model", MAViL(method), {})
    method = replace(run.method, **small, rounds=2, teacher=str(where / "first"))
    run = replace(run, method=method, data=replace(run.data, raw=raw), train=replace(run.train, log_every=1, **train))
    train_run(films, run, where / "whole")
    return films, run, where / "whole"


def test_stage_two_is_rounds_of_stage_two(rounds, tmp_path):
    """The second is taught by what the first ended with; its weights start anew."""
    films, run, whole = rounds
    first = whole / "rounds" / "1"
    assert json.loads((first / "config.json").read_text())["method"]["teacher"] == run.method.teacher
    train_run(films, replace(run, method=replace(run.method, rounds=1, teacher=str(first))), tmp_path / "second")
    assert golden.losses_of(whole) == golden.losses_of(tmp_path / "second") != golden.losses_of(first)


def test_stage_two_is_resumed_in_the_round_it_was_stopped_in(rounds, tmp_path, monkeypatch):
    films, run, whole = rounds
    stopped = tmp_path / "stopped"
    finish_step, steps = loop._Run._finish_step, []

    def stop_third(self, out, began, shown):
        steps.append(began)
        if len(steps) == 3:  # the first of the second round
            signal.raise_signal(signal.SIGINT)
        return finish_step(self, out, began, shown)

    monkeypatch.setattr(loop._Run, "_finish_step", stop_third)
    with pytest.raises(Interrupted):
        train_run(films, run, stopped)
    monkeypatch.undo()
    with pytest.raises(SeehearError, match=r"stopped is not empty.*--resume"):
        train_run(films, run, stopped)
    with pytest.raises(SeehearError, match=r"was started with optim.lr"):
        train_run(films, replace(run, optim=replace(run.optim, lr=1.0)), stopped, resume=True)
    train_run(films, run, stopped, resume=True)
    assert golden.losses_of(stopped) == golden.losses_of(whole)
    ours, theirs = (load_model(folder)[0].state_dict() for folder in (stopped, whole))
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())


def test_stage_two_without_a_teacher_is_refused():
    run = recipe("mavil.stage2")
    assert (run.method.rounds, run.train.epochs) == (3, 20)
    with pytest.raises(SeehearError, match=r"needs a teacher: --method.teacher RUN"):
        recipes.build(run.method, SimpleNamespace(spec=SimpleNamespace(raw=run.data.raw)), seed=0, batch_size=4)
