"""`seehear train` proposes only commands that can succeed."""

import json
from dataclasses import replace

import pytest

from seehear.cli import main
from seehear.runs.run import TrainResult
from tests.search import toy


@pytest.mark.parametrize(
    ("modalities", "paired", "alone", "evaluates"),
    [
        (("video", "text"), 2, 0, True),
        (("video", "text"), 1, 5, False),
        (("video", "text"), 0, 0, False),
        (("audio", "text"), 0, 9, False),  # the test clips are silent: one modality of the run
    ],
)
def test_evaluate_is_proposed_only_where_the_test_split_has_pairs(
    tmp_path, monkeypatch, capsys, modalities, paired, alone, evaluates
):
    library, out = toy.library(tmp_path, 18), tmp_path / "run"  # all of the split train
    pairs = [replace(toy.clip(n), id=f"pair{n}", split="test") for n in range(paired)]
    silent = {"has_audio": False, "has_video": modalities[0] == "audio"}
    one = [replace(toy.clip(n), id=f"one{n}", split="test", texts=(), **silent) for n in range(alone)]
    if modalities[0] == "audio":
        one = [replace(clip, texts=toy.clip(0).texts) for clip in one]
    library.put_clips(pairs + one)

    def trained(_library, _run, folder, **_):
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "model.safetensors").touch()
        encoders = {m: [{"name": f"toy-{m}", "fingerprint": "f1", "width": 8}] for m in modalities}
        config = {"method": "fusemix", "config": {}, "encoders": encoders}
        (folder / "model" / "config.json").write_text(json.dumps(config))
        return TrainResult(**dict.fromkeys(TrainResult.__dataclass_fields__))

    monkeypatch.setattr("seehear.commands.model.train_run", trained)
    assert main(["train", library.uri, "fusemix", "--out", str(out)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    index = f"seehear index {library.uri} {out}"
    reason = "evaluate needs two clips of the split test with two modalities of the run"
    assert last == (f"next: seehear evaluate {out}; {index}" if evaluates else f"next: {index} ({reason})")
