"""From a trained model and labelled clips to a classifier in a folder."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.downstream.finetune import Pretrained, classifier, finetune
from seehear.downstream.labels import labelled
from seehear.downstream.measure import logits_of
from seehear.downstream.presets import PRESETS, ClipOptions, FineTune, preset
from seehear.errors import SeehearError
from seehear.evaluation.report import EvaluationReport
from seehear.inputs.loader import Loader, Sampling
from seehear.inputs.raw import RawConfig, load_raw
from seehear.methods.classifier import Classifier, Learning
from seehear.progress import Interrupted
from seehear.space import SharedSpace, load_method
from seehear.train.config import RunFolder, TrainConfig
from seehear.train.optim import OptimConfig, learning_rate
from tests.downstream.small import films, pictures, vatt
from tests.inputs.raw_library import TINY

QUICK = FineTune(
    learning=Learning(layer_decay=0.75),
    optim=OptimConfig(lr=3e-3, warmup=0.1, weight_decay=0.0),
    train=TrainConfig(steps=40, batch_size=8, workers=0, evaluations=2, device="cpu", save_minutes=1e9),
)

SHORT = replace(QUICK.train, steps=10, evaluations=1)


class Empty:
    """So many samples with nothing in them."""

    heavy, together = False, 1

    def __init__(self, count: int):
        self.groups = torch.arange(count)

    def __len__(self) -> int:
        return len(self.groups)


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("stills"), {"train": 16, "val": 4, "test": 8})


@pytest.fixture
def model():
    return Pretrained(vatt(), replace(TINY, jitter=0.0), "runs/small")


def test_a_tower_learns_and_is_loaded_again(stills, model, tmp_path):
    report = finetune(model, stills, "colour", QUICK, tmp_path / "run", command="seehear finetune x")
    found = report.get("video->colour")
    assert found.metrics["top1"] == 1.0
    assert found.chance["top1"] == 0.5
    assert found.intervals["top1"] == (1.0, 1.0)
    assert EvaluationReport.load(tmp_path / "run").get("video->colour").metrics == found.metrics
    again, config, shown = load_method(tmp_path / "run")
    assert isinstance(again, Classifier)
    assert again.config.classes == ("blue", "red")
    assert config["label"] == "colour"
    media = load_raw(stills, replace(shown.raw, modalities=("video",)))
    logits = logits_of(again.eval(), labelled(stills, media, "colour", tower="video"))
    said = np.array(again.config.classes)[logits.argmax(1)]
    assert said.tolist() == [clip.meta["colour"] for clip in stills.clips()]
    with pytest.raises(SeehearError, match="is a classifier, which has no space"):
        SharedSpace.from_pretrained(tmp_path / "run")
    with pytest.raises(SeehearError, match="is a classifier already"):
        Pretrained.load(tmp_path / "run")
    assert "blue, red" in (tmp_path / "run" / "model" / "README.md").read_text()


def test_a_run_that_was_stopped_goes_on_to_the_same_weights(stills, model, tmp_path, monkeypatch):
    learning = Learning(mixup=0.5, dropout=0.2, smoothing=0.1)
    settings = replace(QUICK, learning=learning, balanced=True, train=replace(SHORT, steps=8))
    plain, calls = Classifier.after_step, []

    def stops(self, out, progress):
        plain(self, out, progress)
        calls.append(progress)
        if len(calls) == 11:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Classifier, "after_step", stops)
    finetune(model, stills, "colour", settings, tmp_path / "whole")
    with pytest.raises(Interrupted, match="run the same command again with --resume to continue"):
        finetune(model, stills, "colour", settings, tmp_path / "parts")
    finetune(model, stills, "colour", settings, RunFolder(tmp_path / "parts", resume=True))
    whole, parts = (load_method(tmp_path / name)[0].state_dict() for name in ("whole", "parts"))
    assert len(calls) == 16
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    with pytest.raises(SeehearError, match="was started with label"):
        finetune(model, stills, "labels", settings, RunFolder(tmp_path / "parts", resume=True))


def test_another_resolution_and_frame_count(stills, model, tmp_path):
    """Positions of 2 x 2 x 2 patches become 1 x 3 x 3, those of a still."""
    clips = ClipOptions(frames=2, size=24)
    made = classifier(model, FineTune(clips=clips), ("a", "b"), tower="video", several=False)
    table = made.model.tokens["video"].positions
    assert table.counts == (1, 3, 3)
    batch = {"video": torch.randint(0, 255, (2, 2, 24, 24, 3), dtype=torch.uint8)}
    resampled = model.method.features("video", batch["video"])
    assert torch.allclose(made.tower(batch), resampled, atol=1e-5)  # as the trained model itself would look at them
    settings = replace(QUICK, clips=clips, train=replace(SHORT, steps=2))
    assert finetune(model, stills, "colour", settings, tmp_path / "run") is not None


def test_a_still_is_one_patch_in_time():
    """Four equal frames of 384 x 384 are a grid of 1 x 24 x 24 tokens."""
    trained = vatt(frames=(8, 32, 32), patch=(4, 16, 16))
    settings = FineTune(clips=preset("vatt.image").clips)
    made = classifier(Pretrained(trained, TINY, ""), settings, "ab", tower="video", several=False)
    tokens = made.model.tokens["video"]
    assert tokens.positions.counts == (1, 24, 24)
    assert tokens(torch.zeros(1, 4, 384, 384, 3), rng=None, name="video").shape[1] == 576 + 1


def test_random_weights_are_those_of_the_seed_and_not_the_trained_ones(model):
    def weights(scratch=False, seed=0):
        settings = FineTune(scratch=scratch, train=replace(SHORT, seed=seed))
        made = classifier(model, settings, ("a", "b"), tower="audio", several=False)
        return made.state_dict()["model.encoders.audio.blocks.0.up.weight"]

    trained = model.method.state_dict()["encoders.audio.blocks.0.up.weight"]
    assert torch.equal(weights(), trained)
    assert not torch.equal(weights(scratch=True), trained)
    assert torch.equal(weights(scratch=True, seed=1), weights(scratch=True, seed=1))
    assert not torch.equal(weights(scratch=True, seed=1), weights(scratch=True, seed=2))


def test_several_labels_a_clip(tmp_path, model):
    made = pictures(tmp_path, {"train": 16, "val": 4, "test": 8}, several=True)
    learning = Learning(prior_bias=True, weighted=True, sum_classes=True, mixup=1.0)
    report = finetune(model, made, "labels", replace(QUICK, learning=learning, train=SHORT), tmp_path / "run")
    found = report.get("video->labels")
    assert found.kind == "multilabel"
    assert found.counts["classes"] == 3
    assert set(found.intervals) == {"mAP", "AUC", "d'"}


def test_official_folds_in_place_of_the_library_s_splits(stills, model, tmp_path):
    settings = replace(QUICK, fold="fold 2", train=replace(SHORT, steps=2))
    report = finetune(model, stills, "colour", settings, tmp_path / "run")
    wanted = [clip.id for clip in stills.clips() if clip.meta["fold"] == "2"]
    assert report.get("video->colour").keys.tolist() == wanted
    with pytest.raises(SeehearError, match="no official fold 'fold 9'; there are fold 1, fold 2, fold 3"):
        finetune(model, stills, "colour", replace(settings, fold="fold 9"), tmp_path / "other")


def test_logits_of_several_views_are_their_mean(tmp_path, model):
    made = films(tmp_path, 2)
    media = load_raw(made, replace(model.raw, modalities=("video", "audio")))
    clips = labelled_all(made, media)
    settings = FineTune(learning=Learning(norm=True))
    tower = classifier(model, settings, ("a", "b"), tower="video+audio", several=False)
    found = logits_of(tower, clips, windows=2, crops=3)
    views = media.views(windows=2, crops=3)
    with torch.no_grad():
        logits = [tower.classify(tower.tower(views.batch(torch.tensor([n])))) for n in range(12)]
    by_hand = torch.cat(logits).view(2, 6, 2).mean(1)
    assert np.allclose(found, by_hand, atol=1e-5)


def labelled_all(library, media):
    from seehear.downstream.labels import LabelledClips

    clips = library.clips()
    return LabelledClips(media, [("a",)] * len(clips), clips, "x")


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "changed", "said"),
    [
        ("color", {}, "no clip has a label 'color'; there are colour, fold, labels"),
        ("colour", {"tower": "audio"}, "tower 'audio' needs audio; there is video"),
        ("colour", {"where": "split = 'val'"}, "have no two classes of 'colour': there are none"),
        ("colour", {"clips": ClipOptions(size=4)}, "a patch alone .*: take longer or larger clips"),
        ("colour", {"learning": Learning(keep=0.5), "clips": ClipOptions(mel_mean=1.0)}, "vatt has no mel_mean"),
    ],
)
def test_one_line_for_what_cannot_be(stills, model, tmp_path, label, changed, said):
    with pytest.raises(SeehearError, match=said.replace("(", "\\(")) as error:
        finetune(model, stills, label, replace(QUICK, **changed), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_window_longer_than_every_clip_and_channels_that_do_not_fit(model, tmp_path, stills):
    made = films(tmp_path, 2)
    with pytest.raises(SeehearError, match=r"a window of 80 s is asked for, and the longest of 2 clips lasts 4.00 s"):
        finetune(model, made, "labels", replace(QUICK, clips=ClipOptions(frames=400)), tmp_path / "run")
    grey = Pretrained(vatt(channels=1), model.raw, "")
    with pytest.raises(SeehearError, match="video of a clip is 4 x 16 x 16 x 3, this model reads 3 axes and 1 channel"):
        finetune(grey, stills, "colour", QUICK, tmp_path / "run")


# -- presets -----------------------------------------------------------------------------------------------------------


def test_the_published_rate_of_video():
    """Base 0.005: half of it after 1,250 steps, all after 2,500, half again in the middle of the rest, 0 at the end."""
    settings = preset("vatt.video")
    run = Loader(Empty(192), Sampling(batch_size=64, seed=0, steps=100_000))
    rates = [learning_rate(settings.optim, run, s) for s in (1250, 2500, 51_250, 100_000)]
    assert rates == pytest.approx([2.5e-3, 5e-3, 2.5e-3, 0.0], abs=1e-9)
    assert settings.windows * settings.crops == 12


def test_the_published_rate_of_mavil_follows_the_batch():
    settings = preset("mavil.as2m")
    run = Loader(Empty(5120), Sampling(batch_size=512, seed=0, epochs=100))
    rates = [learning_rate(settings.optim, run, int(10 * epoch)) for epoch in (0, 10, 20, 99.9)]
    assert rates == pytest.approx([0.0, 2e-4, 4e-4, 1e-6], abs=3e-9)


def test_what_presets_show():
    audio = preset("vatt.audio").clips.of(RawConfig())
    assert (audio.samples, audio.rate) == (153_600, 24_000)
    video = preset("vatt.video").clips.of(RawConfig())
    assert video.video_seconds == pytest.approx(2.56)
    assert all(preset(name).preset == name for name in PRESETS)
    with pytest.raises(SeehearError, match="unknown preset 'vatt\\.vidio'"):
        preset("vatt.vidio")


def test_config_json_says_what_was_done(stills, model, tmp_path):
    settings = replace(QUICK, scratch=True, train=replace(SHORT, steps=2))
    finetune(model, stills, "colour", settings, tmp_path / "run")
    said = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (said["from"], said["label"], said["finetune"]["scratch"]) == ("runs/small", "colour", True)
    assert EvaluationReport.load(tmp_path / "run").models() == ["vatt from scratch"]
