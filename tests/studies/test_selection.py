"""Selecting training clips, and the study of it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seehear.cli import main
from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import LibraryTables
from seehear.studies.selection import (
    SelectionStudyOptions,
    SelectOptions,
    choose,
    mark,
    select,
    selection_study,
)
from seehear.studies.trained import training_rows
from tests.studies import worlds


@pytest.fixture
def library(tmp_path):
    return worlds.library(tmp_path / "lib")


@pytest.mark.parametrize("by", ["kdpp", "quality", "random"])
def test_so_many_training_clips_the_same_each_time(library, by):
    found = select(library, 30, SelectOptions(by=by))
    split = {c.id: c.split for c in library.clips()}
    assert len(set(found.ids)) == 30
    assert {split[i] for i in found.ids} == {"train"}
    assert select(library, 30, SelectOptions(by=by)).ids == found.ids
    assert select(library, 10, SelectOptions(by=by)).ids == found.ids[:10]


def test_diverse_means_one_of_each_kind():
    """Five kinds of very unequal size: k-DPP takes one of each first, a draw does not."""
    rng = np.random.default_rng(0)
    kind = np.array([0] * 160 + [1] * 20 + [2] * 10 + [3] * 6 + [4] * 4)
    video = 5 * rng.normal(size=(5, 12))[kind] + 0.1 * rng.normal(size=(200, 12))
    data = LatentData.from_arrays({"video": video, "text": rng.normal(size=(200, 8))})
    rows = training_rows(data)
    assert set(kind[choose(data, rows, 5, SelectOptions(by="kdpp"))]) == {0, 1, 2, 3, 4}
    assert len(set(kind[choose(data, rows, 5, SelectOptions(by="random"))])) < 5


def test_after_the_last_different_clip_the_rest_is_drawn(capsys):
    latents = np.tile(np.random.default_rng(0).normal(size=(8, 6)), (10, 1))
    data = LatentData.from_arrays({"video": latents.astype(np.float32), "text": latents})
    chosen = choose(data, np.arange(80), 20, SelectOptions(modality="video"))
    assert len(set(chosen.tolist())) == 20
    assert set(chosen[:8] % 8) == set(range(8))
    assert "the other 12 are drawn" in capsys.readouterr().err


def test_a_pool_bounds_what_is_chosen_among(capsys):
    data = worlds.data(300)
    rows = training_rows(data)
    some = choose(data, rows, 20, SelectOptions(pool=40))
    assert len(some) == 20
    assert "40 of 150" in capsys.readouterr().err
    with pytest.raises(SeehearError, match="raise --pool"):
        choose(data, rows, 50, SelectOptions(pool=40))
    with pytest.raises(SeehearError, match="there are 150 training clips"):
        choose(data, rows, 151, SelectOptions())
    with pytest.raises(SeehearError, match="unknown modality 'vidio'; did you mean 'video'"):
        choose(data, rows, 5, SelectOptions(modality="vidio"))


def test_a_marked_choice_is_what_training_reads(library):
    first, second = (select(library, n, SelectOptions(by="random", seed=n)) for n in (40, 25))
    mark(library, first.ids, "mine")
    where = mark(library, second.ids, "mine")  # replaces the first
    data = load_latents(library, where=where)
    assert set(data.split("train").ids) == set(second.ids)
    assert len(data.split("val")) == len(data.split("test")) == 40
    assert len(load_latents(library)) == 200


def test_encoders_by_name(library):
    assert select(library, 5, SelectOptions(encoders=("enc-video", "enc-text"))).ids == select(library, 5).ids
    with pytest.raises(SeehearError, match="did you mean 'enc-video'"):
        select(library, 5, SelectOptions(encoders=("enc-vido",)))


def test_the_command_writes_ids_and_says_how_to_train(tmp_path, capsys):
    worlds.library(tmp_path / "lib")
    out = tmp_path / "ids.txt"
    words = ["select", str(tmp_path / "lib"), "--clips", "12", "--out", str(out), "--column", "diverse", "--quiet"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "12 of 120 training clips by kdpp" in said
    assert "--data.where" in said
    marked = [c.id for c in LibraryTables.open(tmp_path / "lib").clips() if c.meta.get("diverse") == "yes"]
    assert sorted(out.read_text().split()) == marked
    assert main(["select", str(tmp_path / "lib"), "--clips", "3", "--json", "--quiet"]) == 0
    assert len(json.loads(capsys.readouterr().out)["clips"]) == 3
    assert main(["select", str(tmp_path / "lib"), "--clips", "3", "--column", "a b", "--quiet"]) == 2
    assert main(["study", "encodrs", "lib"]) == 2
    assert "did you mean 'encoders'" in capsys.readouterr().err


def test_the_study_trains_every_way_at_every_size_and_goes_on(tmp_path, capsys):
    library = worlds.library(tmp_path / "lib")
    options = SelectionStudyOptions(sizes=(20, 40), seeds=1, model="closed")
    study = selection_study(library, tmp_path / "study", options)
    rows = [(r.settings["chosen by"], r.settings["clips"]) for r in study.tables[0].rows]
    ways = ["random", "k-DPP on video", "k-DPP on text", "quality"]
    assert rows == [(w, n) for n in (20, 40) for w in ways] + [("all of them", 96)]
    best = study.tables[0].find(**{"chosen by": "all of them"}).estimates["MRR"].mean
    assert best > study.tables[0].find(**{"chosen by": "random", "clips": 20}).estimates["MRR"].mean
    assert (tmp_path / "study" / "selection.svg").exists()
    more = SelectionStudyOptions(sizes=(20, 40), seeds=2, model="closed")
    capsys.readouterr()
    selection_study(library, tmp_path / "study", more)
    assert "9 of 18 cells are measured already" in capsys.readouterr().err
    with pytest.raises(SeehearError, match="cannot be chosen among"):
        selection_study(library, tmp_path / "other", SelectionStudyOptions(sizes=(100,)))
