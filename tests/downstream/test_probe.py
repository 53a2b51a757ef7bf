"""Probes on frozen features, from the library to the report."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from seehear.downstream.finetune import Pretrained
from seehear.downstream.measure import lrc_probe
from seehear.downstream.probe import ProbeOptions, probe, save
from seehear.errors import SeehearError
from seehear.evaluation.classify import Labelled
from tests.downstream.small import films, pictures, vatt
from tests.inputs.raw_library import TINY


@pytest.fixture(scope="module")
def stills(tmp_path_factory):
    return pictures(tmp_path_factory.mktemp("stills"), {"train": 16, "val": 6, "test": 8})


@pytest.fixture(scope="module")
def model():
    return Pretrained(vatt(), TINY, "runs/small")


def test_every_probe_beside_the_untrained_network(stills, model, tmp_path):
    options = ProbeOptions(probe=("linear", "knn", "svm", "lrc"), windows=2, crops=2, steps=100)
    report = probe(model, stills, "colour", options)
    assert report.models() == ["vatt", "vatt untrained"]
    for name in options.probe:
        found = report.get(f"video probe {name} (colour)")
        assert found.metrics["top1"] == 1.0  # red and blue lie apart for any network
        assert found.chance["top1"] == 0.5
        assert found.keys.tolist() == [clip.id for clip in stills.clips("split = 'test'")]
        assert found.details["top1 over untrained"].startswith("+0.0000")
    path = save(report, tmp_path, "a/b")
    assert path.name == "probe-a-b.json"
    assert json.loads(path.read_text())["results"][0]["task_name"] == "video probe linear (colour)"


def test_official_folds(stills, model):
    found = probe(model, stills, "colour", ProbeOptions(folds=True, untrained=False)).results[0]
    assert found.counts["queries"] == 30
    assert set(found.details["folds"]) == {"fold 1", "fold 2", "fold 3"}
    assert found.metrics["top1"] == pytest.approx(np.mean(list(found.details["folds"].values())))


@pytest.mark.parametrize("name", ["linear", "lrc"])
def test_several_labels_a_clip(tmp_path, model, name):
    made = pictures(tmp_path, {"train": 16, "val": 8, "test": 8}, several=True)
    options = ProbeOptions(probe=(name,), untrained=False, windows=2, steps=100)
    found = probe(model, made, "labels", options).results[0]
    assert found.kind == "multilabel"
    assert found.counts["classes"] == 3
    assert found.metrics["mAP"] > found.chance["mAP"]
    with pytest.raises(SeehearError, match="which knn cannot learn: use linear or lrc"):
        probe(model, made, "labels", replace(options, probe=("knn",)))


def test_low_rank_learns_and_validation_says_when_to_stop():
    draws = np.random.default_rng(0)
    centres = 3 * draws.standard_normal((4, 16))

    def blobs(rows, views=1):
        label = np.arange(rows) % 4
        x = centres[label][:, None] + draws.standard_normal((rows, views, 16))
        return Labelled(x[:, 0] if views == 1 else x, [f"class {n}" for n in label])

    train, val, test = blobs(80), blobs(40, 2), blobs(40, 3)
    found = lrc_probe(train, val, test, steps=(50, 100, 150))
    assert found.metrics["top1"] > 0.9
    assert found.chosen["steps"] in (50, 100, 150)
    again = lrc_probe(train, val, test, steps=(int(found.chosen["steps"]),))
    assert again.said.tolist() == found.said.tolist()


@pytest.mark.parametrize(
    ("label", "options", "said"),
    [
        ("color", {}, "no clip has a label 'color'; there are colour, fold, labels"),
        ("colour", {"where": "split = 'train'"}, "no clip with a label 'colour' is in val, test"),
        ("colour", {"tower": ("audio",)}, "tower 'audio' needs audio; there is video"),
    ],
)
def test_one_line_for_what_cannot_be(stills, model, label, options, said):
    with pytest.raises(SeehearError, match=said):
        probe(model, stills, label, ProbeOptions(**options))


def test_clips_that_lack_what_a_tower_reads(tmp_path, model):
    """Films of which the only one of the test is silent."""
    made = films(tmp_path, 6, silent=(5,), splits=("train", "train", "train", "train", "val", "test"))
    options = ProbeOptions(untrained=False, probe=("knn",))
    found = probe(model, made, "kind", replace(options, tower=("video",))).results
    assert [r.task for r in found] == ["video probe knn (kind)"]
    with pytest.raises(SeehearError, match="no labelled clip of test has audio that can be read"):
        probe(model, made, "kind", options)


def test_probes_that_there_are():
    with pytest.raises(SeehearError, match=r"unknown probe 'lienar'; did you mean 'linear'\?"):
        ProbeOptions(probe=("lienar",))
