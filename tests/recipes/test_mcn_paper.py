"""MCN as published, from files to search: subtitles as words, sound as frames, clips with their context."""

from __future__ import annotations

import json

import pytest

from seehear.cli import main
from tests.library.makers import film, srt

SMALL = [
    *("--method.dim", "16", "--method.hidden", "8", "--method.clusters", "2", "--method.queue", "16"),
    *("--method.channels", "4", "4", "4", "8", "--data.contexts.clips-per-video", "4", "--train.batch-size", "8"),
    *("--train.epochs", "2", "--train.evaluations", "2", "--train.device", "cpu", "--optim.warmup-steps", "1"),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    (root / "media").mkdir()
    said = ("a dog barks", "at the red cat", "it runs", "rain on a roof")
    for n in range(6):
        film(root / "media" / f"{n}.mp4", seconds=5.0)
        srt(root / "media" / f"{n}.srt", [(k * 1.2, k * 1.2 + 1.1, f"{said[k]} {said[n % 4]}") for k in range(4)])
    library = str(root / "lib")
    assert main(["prepare", str(root / "media"), "--library", library, "--clips", "subtitles"]) == 0
    encoders = ["efficientnet-lite0", "words:minilm#max=8", "melframes#seconds=2"]
    assert main(["encode", library, "--encoders", *encoders, "minilm", "--workers", "1"]) == 0
    return library


@pytest.mark.slow
def test_train_evaluate_index_and_search(library, tmp_path, capsys, few_phrases):
    run = str(tmp_path / "run")
    assert main(["train", library, "mcn.paper", "--out", run, *SMALL]) == 0
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["config"]["inputs"] == {"audio": "mel", "text": "words"}
    assert [e["name"] for e in config["encoders"]["text"]] == ["words:minilm#max=8"]  # alone, where there are words
    settings = json.loads((tmp_path / "run" / "config.json").read_text())
    assert settings["data"]["contexts"]["clips_per_video"] == 4
    capsys.readouterr()
    assert main(["evaluate", run, "--split", "train", "--no-closed-forms", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {r["model_name"] for r in report["results"]} >= {"mcn"}
    assert main(["index", library, run]) == 0
    capsys.readouterr()
    assert main(["search", library, "a dog barks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"]
    assert main(["train", library, "fusemix", "--out", str(tmp_path / "fuse"), "--train.epochs", "1"]) == 0
    fused = json.loads((tmp_path / "fuse" / "model" / "config.json").read_text())
    assert {m: [e["name"] for e in infos] for m, infos in fused["encoders"].items()} == {
        "video": ["efficientnet-lite0"],
        "text": ["minilm"],
    }
