"""The study of modalities: its rows, its measures against ones made by hand, a study stopped in the middle, answers."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.evaluation.embedded import Embedded, smallest_space
from seehear.evaluation.geometry import agreement
from seehear.inputs.latents import LatentData
from seehear.nn.unit import unit
from seehear.progress import Interrupted
from seehear.recipes import mcn
from seehear.runs import config as presets
from seehear.runs import run
from seehear.studies import modalities as study
from seehear.studies.grid import Result, cell_key
from seehear.studies.modalities import measures
from seehear.studies.modality_report import Answered, Findings, answers, designs, possible, run_of

ALL = ("video", "audio", "text")


def world(n: int = 90) -> tuple[LatentData, list[str]]:
    """Views of hidden vectors that lie in four heaps; sight and sound share more than text knows."""
    rng = np.random.default_rng(0)
    kind = np.arange(n) % 4
    hidden = 2 * rng.normal(size=(4, 6))[kind] + rng.normal(size=(n, 6))
    maps = {"video": rng.normal(size=(6, 12)), "audio": rng.normal(size=(6, 10)), "text": rng.normal(size=(6, 8))}
    latents = {m: (hidden @ w + 0.5 * rng.normal(size=(n, w.shape[1]))).astype(np.float32) for m, w in maps.items()}
    splits = ["train"] * (n - 40) + ["val"] * 20 + ["test"] * 20
    return LatentData.from_arrays(latents, splits=splits), [f"kind {k}" for k in kind]


@pytest.fixture(scope="module", autouse=True)
def small():
    """Recipes of a second."""
    tiny = mcn.tiny()
    method = replace(tiny.method, dim=8, hidden=8, clusters=4, queue=32)
    train = replace(tiny.train, epochs=4, batch_size=25, evaluations=2, device="cpu", fast_matmul=False)
    fuse = presets.recipe("fusemix")
    linear = replace(fuse.method, dim=8, head="linear")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.recipes(), "mcn.tiny", lambda: replace(tiny, method=method, train=train))
        patch.setitem(presets.recipes(), "fusemix", lambda: replace(fuse, method=linear, train=train))
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A study of both recipes that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    study.study_of(*world(), folder, study.ModalityOptions(methods=("mcn.tiny", "fusemix"), seeds=1))
    return folder


def test_the_rows_are_those_that_were_asked_for():
    names = [d.name for d in designs(ALL)]
    assert names[:4] == ["V+A", "V+T", "A+T", "V+A+T"]
    assert names[4:7] == ["V+A+T, no V-A", "V+A+T, no V-T", "V+A+T, no A-T"]
    assert names[7:10] == ["V+A+T, no clusters", "V+A+T, no reconstruction", "V+A+T, contrast only"]
    assert names[10:] == ["V+A+T, disjoint spaces", "V+A+T, fine and coarse"]
    assert [d.name for d in designs(("text", "video"))] == [
        "V+T",
        "V+T, no clusters",
        "V+T, no reconstruction",
        "V+T, contrast only",
    ]


def test_terms_weigh_the_same_with_two_modalities_as_with_three():
    base = mcn.tiny()
    rows = {d.name: run_of(d, base, of=3, seed=5) for d in designs(ALL)}
    assert rows["V+A+T"].method.contrast_weight == 1.0
    assert rows["V+T"].method.contrast_weight == 3.0
    assert rows["V+A+T, no V-T"].method.contrast_weight == 1.5
    assert rows["V+T"].method.reconstruct_weight == 75.0
    assert rows["V+A+T, contrast only"].method.cluster_weight == 0
    assert {r.train.seed for r in rows.values()} == {5}
    assert {r.train.patience for r in rows.values()} == {None}
    assert [possible(d, presets.recipe("fusemix")) for d in designs(ALL)] == [True] * 7 + [False] * 5


def test_measures_are_those_made_by_hand():
    """Sight and sound of a clip are orthogonal halves of its text: text finds both, sight and sound nothing."""
    eye = np.eye(6, dtype=np.float32)
    video, audio = np.repeat(eye[:3], 2, axis=0), np.tile(eye[3:5], (3, 1))
    text = unit(video + audio)
    rows = np.arange(6)
    vectors = {"joint": {m: Embedded(x, rows) for m, x in (("video", video), ("audio", audio), ("text", text))}}
    whole = measures(vectors, np.array(["test"] * 6), [""] * 6, seed=0)
    found = whole.values
    assert whole.queries["text->video+audio R@10"].clips.tolist() == list(range(6))
    assert found["text->video+audio R@1"] == 1.0
    assert found["text->video R@1"] == 0.5  # two clips look the same
    assert found["text->audio R@1"] == pytest.approx(1 / 3)
    assert found["video->audio R@1"] == pytest.approx(1 / 6)  # all scores are equal
    split = {
        "video-text": {"video": Embedded(video, rows), "text": Embedded(video, rows)},
        "audio-text": {"audio": Embedded(audio, rows), "text": Embedded(audio, rows)},
    }
    apart = measures(split, np.array(["test"] * 6), [""] * 6, seed=0).values
    assert apart["text->video+audio R@1"] == 1.0  # the sum of both spaces' cosines
    assert "video->audio R@1" not in apart


def test_the_smallest_space_that_holds_them():
    one = Embedded(np.eye(2, dtype=np.float32), np.arange(2))
    vectors = {"coarse": dict.fromkeys(ALL, one), "fine": dict.fromkeys(ALL[:2], one)}
    assert smallest_space(vectors, "video", "audio") == "fine"
    assert smallest_space(vectors, "video", "text") == "coarse"
    assert smallest_space({"fine": vectors["fine"]}, "text") is None


def test_agreement_of_clusters_with_labels():
    perfect = agreement(["a", "a", "b", "b"], np.array([7, 7, 3, 3]))
    assert perfect == {"NMI": pytest.approx(1.0), "purity": 1.0}
    none = agreement(["a", "b", "a", "b"], np.array([0, 0, 1, 1]))
    assert none == {"NMI": pytest.approx(0.0, abs=1e-9), "purity": 0.5}


@pytest.mark.slow  # the kill below resumes, too
def test_a_study_goes_on_where_it_was_stopped(whole, tmp_path, monkeypatch):
    """Two rows are measured and a third is begun. Of the others, all but two are taken from the whole study."""
    data, labels = world()
    options = study.ModalityOptions(methods=("mcn.tiny", "fusemix"), seeds=1)
    real, calls = run.train_on, []

    def stops(*args, **kwargs):
        calls.append(kwargs)
        if len(calls) == 3:
            raise Interrupted("stopped by SIGTERM")
        return real(*args, **kwargs)

    monkeypatch.setattr(run, "train_on", stops)
    with pytest.raises(Interrupted):
        study.study_of(data, labels, tmp_path / "cut", options)
    before = {p.name: p.read_bytes() for p in (tmp_path / "cut" / "cells").iterdir()}
    assert len(before) == 4 + 2  # closed forms and two rows
    left = (("mcn.tiny", "A+T"), ("mcn.tiny", "V+A+T, contrast only"), ("fusemix", "V+A+T"))
    left = {cell_key({"method": method, "design": design, "seed": 0}) for method, design in left}
    for cell in (whole / "cells").iterdir():
        if cell.name not in before and cell.stem not in left:
            shutil.copy(cell, tmp_path / "cut" / "cells")
            shutil.copy(whole / "queries" / f"{cell.stem}.npz", tmp_path / "cut" / "queries")
    again = study.study_of(data, labels, tmp_path / "cut", options)
    text = (tmp_path / "cut" / "table.md").read_text()
    assert text == (whole / "table.md").read_text()
    after = {p.name: p.read_bytes() for p in (tmp_path / "cut" / "cells").iterdir()}
    assert {name: after[name] for name in before} == before
    assert len(calls) == 3 + 3  # one was begun twice
    for name in ("study.json", "table.md", "modalities.png", "modalities.svg", "modalities.pdf"):
        assert (tmp_path / "cut" / name).stat().st_size > 500
    plain = json.loads((tmp_path / "cut" / "study.json").read_text())
    assert len(plain["cells"]) == 4 + 12 + 7
    assert len(again.said) == 1 + len(plain["answers"])
    assert again.said[0].startswith("- The first 10 of 20 test clips say little")
    assert all(line in text for line in again.said)
    assert not list((tmp_path / "cut" / "runs").iterdir())


def test_a_study_killed_while_a_run_is_removed_goes_on(tmp_path, monkeypatch):
    data, labels = world()
    data = data.only(("video", "text"))
    options = study.ModalityOptions(methods=("fusemix",), seeds=1)
    remove = shutil.rmtree

    class Kill(BaseException):
        pass

    def killed(folder, *args, **kwargs):
        if (Path(folder) / "config.json").exists():
            (Path(folder) / "config.json").unlink()
            remove(Path(folder) / "model")
            raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", killed)
        with pytest.raises(Kill):
            study.study_of(data, labels, tmp_path, options)
    study.study_of(data, labels, tmp_path, options)
    cells = json.loads((tmp_path / "study.json").read_text())["cells"]
    assert not [cell for cell in cells if cell.get("error")]


def test_answers_are_paired_by_query_and_speak_of_recordings_and_seeds():
    rng = np.random.default_rng(0)
    hard = rng.random(200)  # queries differ far more than designs do: unpaired, nothing could be told
    results, queries = [], {}
    for design, gain in (("V+A+T", 0.1), ("V+T", 0.0)):
        for seed in range(3):
            cell = {"method": "m", "design": design, "seed": seed}
            results.append(Result(cell, {"text->video R@10": float(np.mean(hard + gain))}))
            queries[cell_key(cell)] = {"text->video R@10": Answered(hard + gain, np.arange(200))}
    found = Findings(results, queries, np.arange(200))
    (answer,) = answers(found, designs(ALL))
    assert answer.difference.mean == pytest.approx(0.1)
    assert answer.difference.high - answer.difference.low < 1e-9
    assert str(answer).endswith("+10.0 points [+10.0, +10.0]: yes")
    alone = found.estimate(found.runs("m", "V+T", "text->video R@10"))
    assert alone.high - alone.low == pytest.approx(2 * 1.96 * hard.std() / np.sqrt(200), rel=0.1)


@pytest.mark.slow
def test_an_unreadable_note_of_queries_is_said(whole, tmp_path):
    data, labels = world()
    options = study.ModalityOptions(methods=("mcn.tiny", "fusemix"), seeds=1)
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    broken = sorted((tmp_path / "queries").iterdir())[0]
    broken.write_bytes(b"no archive")
    with pytest.raises(
        SeehearError, match=f"{re.escape(broken.stem)}.npz cannot be read: remove .*{re.escape(broken.stem)}.json"
    ):
        study.study_of(data, labels, tmp_path, options)


def test_a_split_without_complete_clips_is_said(tmp_path):
    data, labels = world()
    data.splits[:] = "train"
    with pytest.raises(SeehearError, match=r"two clips with video, audio, text in every split; val has 0"):
        study.study_of(data, labels, tmp_path, study.ModalityOptions())
