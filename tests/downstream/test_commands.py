"""`seehear finetune` and `seehear probe` on a run in a folder."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from seehear.cli import main
from seehear.evaluation.report import EvaluationReport
from seehear.space.saved import InputSpec
from seehear.train.files import save_model
from tests.downstream.small import pictures, vatt
from tests.inputs.raw_library import TINY

SHORT = ["--train.steps", "4", "--train.batch-size", "8", "--train.workers", "0", "--train.device", "cpu", "--windows"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A folder with a run over stills, as `seehear train` leaves it."""
    folder = tmp_path_factory.mktemp("run")
    library = pictures(folder, {"train": 12, "val": 4, "test": 6})
    made = vatt(modalities=("video", "audio"))
    shown = InputSpec(raw=replace(TINY, modalities=("video", "audio")))
    save_model(folder / "runs" / "small" / "model", made, shown.facts(made))
    (folder / "runs" / "small" / "config.json").write_text(json.dumps({"library": library.uri}))
    return folder / "runs" / "small"


def test_fine_tune_resume_and_compare(run, capsys):
    words = ["finetune", str(run), "--label", "colour", *SHORT, "1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    made = run.with_name("small-colour")
    assert "video->colour" in said
    assert f"fine-tuned {made / 'model'}" in said
    assert EvaluationReport.load(made).about["command"].startswith("seehear finetune")
    assert main(words) == 2
    assert "is not empty" in capsys.readouterr().err
    other = run.with_name("scratch")
    assert main([*words, "--scratch", "--out", str(other)]) == 0
    assert main(["compare", str(made), str(other)]) == 0
    assert "video->colour" in capsys.readouterr().out


def test_a_preset_gives_the_defaults(run, capsys):
    words = ["finetune", str(run), "--label", "colour", "--preset", "vatt.image", "--clips.size", "16", "--optim.lr"]
    assert main([*words, "0.01", "--out", str(run.with_name("image")), "--json", *SHORT, "1"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["details"]["preset"] == "vatt.image"
    said = json.loads((run.with_name("image") / "config.json").read_text())
    assert (said["optim"]["kind"], said["optim"]["lr"], said["shown"]["frames"]) == ("sgd", 0.01, 4)


def test_probe(run, capsys):
    assert main(["probe", str(run), "--label", "colour", "--probe", "linear", "knn", "--windows", "2"]) == 0
    said = capsys.readouterr().out
    assert "video probe knn (colour)" in said
    assert "vatt untrained" in said
    assert "top1 over untrained" in said
    report = json.loads((run / "probe-colour.json").read_text())
    assert report["command"].startswith(f"seehear probe {run} --label colour")
    assert len(report["results"]) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--label", "color"], "no clip has a label 'color'; there are colour, fold, labels"),
        (["--label", "colour", "--preset", "vatt.vidio"], "unknown preset 'vatt.vidio'; did you mean 'vatt.video'?"),
        (["--label", "colour", "--tower", "audio"], "tower 'audio' needs audio; there is video"),
        (["--label", "colour", "--learning.smoothing", "2"], "smoothing must be in [0, 1); got 2.0"),
    ],
)
def test_mistakes_are_one_line(run, capsys, words, said):
    assert main(["finetune", str(run), *words, "--out", str(run.with_name("none"))]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert said in lines[-1]
    assert lines[-1].startswith("seehear: ")
    assert not run.with_name("none").exists()
