"""The encoder study: it ranks by what the encoders know, sees training clips only, and says when it knows little."""

from __future__ import annotations

import json

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.studies.encoders import EncoderStudyOptions, encoder_pairs
from seehear.studies.trained import agreement, cross_fitted, folds_of, held_out_retrieval
from tests.studies import worlds


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("encoders")
    data = worlds.data(video=(1.0, 3.0, 8.0), text=(1.0, 4.0))
    options = EncoderStudyOptions(check=True, model="closed", seeds=1)
    return folder, data, options, encoder_pairs(data, folder, options)


def test_less_noise_ranks_higher(checked):
    _, _, _, study = checked
    rows = study.tables[0].rows
    assert len(rows) == 6
    assert rows[0].settings == {"modalities": "video, text", "first": "video0", "second": "text0"}
    assert (rows[-1].settings["first"], rows[-1].settings["second"]) == ("video2", "text1")
    for measure in ("CCA MRR", "CCA R@10", "mutual k-NN", "CKA"):
        assert rows[0].estimates[measure].mean > rows[-1].estimates[measure].mean


def test_what_was_foretold_is_what_training_finds(checked):
    _, _, _, study = checked
    found = study.details["rank correlation"]
    assert found["CCA MRR"]["MRR"] > 0.8
    assert set(found) == {"CCA MRR", "mutual k-NN", "CKA"}
    assert study.tables[1].rows[0].settings["first"] == "video0"
    assert "6 pairs of encoders" in str(study)


def test_tables_and_figures_are_written_and_nothing_is_measured_twice(checked, capsys):
    folder, data, options, first = checked
    assert {p.name for p in folder.glob("encoders.*")} == {"encoders.png", "encoders.svg", "encoders.pdf"}
    assert len(json.loads((folder / "study.json").read_text())["cells"]) == 12
    before = (folder / "encoders.svg").read_bytes()
    again = encoder_pairs(data, folder, options)
    assert "6 of 6 cells are measured already" in capsys.readouterr().err
    assert repr(again.tables) == repr(first.tables)  # NaN is not equal to itself
    assert (folder / "encoders.svg").read_bytes() == before


def test_held_out_clips_do_not_move_the_prediction(tmp_path):
    """Other validation and test clips, the same numbers."""
    data = worlds.data(200, video=(1.0, 2.0), held_out=80)
    x = data.every("video").clone()
    x[120:] = 0
    other = LatentData.from_arrays(
        {"video": x, "text": data.every("text")}, splits=data.splits, groups=data.groups, encoders=data.encoders
    )
    found = [encoder_pairs(d, tmp_path / n, EncoderStudyOptions()).tables[0] for n, d in (("a", data), ("b", other))]
    assert repr(found[0]) == repr(found[1])  # NaN is not equal to itself


def test_other_latents_in_the_same_folder_are_refused(tmp_path):
    encoder_pairs(worlds.data(150, held_out=60), tmp_path, EncoderStudyOptions())
    with pytest.raises(SeehearError, match=r"data.revision .*--redo"):
        encoder_pairs(worlds.data(150, held_out=60, seed=1), tmp_path, EncoderStudyOptions())


def test_a_group_is_in_one_fold_and_every_clip_is_judged_once():
    groups = np.arange(60) // 4
    fold = folds_of(groups, folds=5, seed=0)
    assert all(len(set(fold[groups == g])) == 1 for g in set(groups))
    assert np.bincount(fold).tolist() == [12] * 5
    x, y = worlds.views(60, (1.0, 1.0))
    rows = np.concatenate([rows for rows, _, _ in cross_fitted(x, y, groups)])
    assert sorted(rows.tolist()) == list(range(60))
    with pytest.raises(SeehearError, match="three groups"):
        folds_of(np.array([0, 0, 1, 1]), folds=5, seed=0)


def test_cross_fitting_finds_nothing_in_noise():
    """A map that had seen the clips it judges would find a lot: 32 dimensions, 90 rows."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(90, 32)), rng.normal(size=(90, 32))
    found = held_out_retrieval(x, y, np.arange(90))
    assert found["R@1"] < 0.15  # chance 1/18


def test_agreement_finds_the_pairs_that_are_wrong():
    data = worlds.data(300, video=(0.5,), text=(0.5,), held_out=0, clips_of_a_group=1)
    text = data.every("text").clone()
    text[:30] = text[:30].roll(1, dims=0)
    wrong = LatentData.from_arrays({"video": data.every("video"), "text": text}, groups=data.groups)
    scores = agreement(wrong)
    assert np.isin(np.argsort(scores)[:30], np.arange(30)).mean() > 0.8
    alone = LatentData.from_arrays(
        {"video": data.every("video"), "text": text[1:]}, owner={"text": np.arange(1, 300)}, groups=data.groups
    )
    assert np.isnan(agreement(alone)[0])
    assert np.isfinite(agreement(alone)[1:]).all()
