"""Runs of MAViL: what the paper says, and where the weights of a start come from."""

import json
from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.methods.mavil import MAViLConfig
from seehear.recipes import mavil as recipes
from seehear.runs.run import recipe
from seehear.train.files import save_model
from seehear.train.optim import learning_rate
from tests.methods_under_test import mavil
from tests.nn.test_image_mae import published


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
    assert MAViLConfig.from_dict(json.loads(json.dumps(asdict(run.method)))) == run.method
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
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(SeehearError, match=r"holds no \.safetensors file"):
        recipes.started(type(mavil())(replace(config, image_mae=str(tmp_path))))
