"""Baselines and the start of a run: one fit, one tuning, on clips that have several texts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.inputs.latents import LatentData
from seehear.methods import linear, tuning
from seehear.methods.tuning import FEW_CLIPS, folds, training_moments, validation_rows
from seehear.recipes import fusemix
from seehear.runs.closed_forms import closed_forms
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.run import validation_score


def captioned(captions: int = 5, seed: int = 13) -> LatentData:
    """Clips with several captions, each of which misses much of what is shown."""
    draw = np.random.default_rng(seed)
    hidden = draw.normal(size=(200, 10))
    video = hidden @ draw.normal(size=(10, 40)) + draw.normal(size=(200, 40))
    owner = np.repeat(np.arange(200), captions)
    text = (hidden @ draw.normal(size=(10, 30)))[owner] + 3 * draw.normal(size=(len(owner), 30))
    splits = ["train"] * 100 + ["val"] * 60 + ["test"] * 40
    return LatentData.from_arrays({"video": video, "text": text}, owner={"text": owner}, splits=splits)


def mean_reciprocal_rank(maps: linear.LinearMaps, val: LatentData) -> float:
    """By loops: every clip is ranked by its best row, every clip counts once."""
    vectors = {m: maps.embed({m: val.every(m)})[m].numpy() for m in val.modalities}
    owners = {m: val.owner(m).numpy() for m in val.modalities}
    found = []
    for p, q in (("video", "text"), ("text", "video")):
        for clip in range(len(val)):
            own = []
            for x in vectors[p][owners[p] == clip]:
                best = [float((vectors[q][owners[q] == other] @ x).max()) for other in range(len(val))]
                own.append(1 / (1 + sum(score > best[clip] for score in best)))
            found.append(np.mean(own))
    return float(np.mean(found))


def test_the_report_and_the_start_of_a_run_choose_the_same_closed_form():
    data = captioned()
    report = next(form for form in closed_forms(data) if form.name == "cca")
    config = replace(recipe("fusemix").method, head="linear", dim=30)
    start = fusemix.start_of(config, data)
    assert (start.name, start.settings) == ("cca", report.settings)
    val = data.split("val")
    model = fusemix.build(config, LatentInputs(data), seed=1)
    scores = [validation_score(m, inputs=LatentInputs(data), clips=val) for m in (report, start, model)]
    assert scores[0] == scores[1] == scores[2]


def test_another_caption_of_a_clip_is_no_wrong_answer():
    """Taken for wrong answers, a clip's own captions choose another shrinkage, which is worse."""
    data = captioned()
    m, val = training_moments(data.split("train")), data.split("val")
    rows = validation_rows(val)
    right, wrong = (tuning.tuned(m, [tuning.TuningFold(m, *some)]) for some in (rows, rows[:2]))
    assert right.settings != wrong.settings
    for maps in (right, wrong):
        by_hand = mean_reciprocal_rank(maps, val)
        assert tuning.reciprocal_ranks(maps, *rows)["video", "text"] == pytest.approx(by_hand, abs=1e-9)
    assert mean_reciprocal_rank(right, val) > mean_reciprocal_rank(wrong, val)
    assert next(form for form in closed_forms(data) if form.name == "cca").settings == right.settings


def test_many_captions_leave_clips_of_the_whole_split_to_choose_by():
    """Rows beyond the limit are left out by clips, drawn over the split, and never in the middle of it."""
    data = LatentData.from_arrays(
        {"video": np.zeros((3000, 1)), "text": np.zeros((15000, 1))}, owner={"text": np.repeat(np.arange(3000), 5)}
    )
    latents, present, clip = validation_rows(data)
    assert 4000 < len(clip) <= 4096
    assert latents["text"].shape == latents["video"].shape == (len(clip), 1)
    assert bool(present["text"].all())
    assert torch.bincount(clip).tolist() == [5] * (len(clip) // 5)


def views(seed: int, *, train: int = 60, val: int = 8, test: int = 200) -> LatentData:
    """Pictures and words of a hidden vector in few clips, two of each recording."""
    draw, n = np.random.default_rng(seed), train + val + test
    hidden = draw.normal(size=(n, 6))
    rows = {m: hidden @ draw.normal(size=(6, d)) + 1.5 * draw.normal(size=(n, d)) for m, d in SIZES.items()}
    splits = ["train"] * train + ["val"] * val + ["test"] * test
    return LatentData.from_arrays(rows, splits=splits, groups=np.arange(n) // 2)


SIZES = {"video": 24, "text": 16}


def test_folds_cut_the_clips_that_may_be_seen_by_recording():
    data = views(0)
    data.rows["video"].vectors[:, 0] = torch.arange(len(data))  # the number of each clip, to be found again
    held_out = [fold.rows["video"][:, 0].long().tolist() for fold in folds(data)]
    assert sorted(n for own in held_out for n in own) == list(range(68))  # no test clip
    assert {len(own) for own in held_out} == {12, 14}
    recordings = [{n // 2 for n in own} for own in held_out]
    assert sum(map(len, recordings)) == len(set.union(*recordings))
    for fold, own in zip(folds(data), held_out, strict=True):
        rest = torch.tensor([n for n in range(68) if n not in own], dtype=torch.float64)
        assert float(fold.train.mean["video"][0]) == pytest.approx(float(rest.mean()))


def test_there_are_no_folds_where_the_validation_clips_are_enough_or_alone():
    assert folds(views(0, val=FEW_CLIPS)) == []
    assert folds(views(0, val=0)) == []
    one = views(0)
    one.groups[:] = 0
    assert folds(one) == []


def test_what_is_best_in_one_fold_by_chance_is_not_chosen():
    """Two maps: one is right in the first fold alone, the other in the four that follow."""
    eye = torch.eye(4, dtype=torch.float64)
    zero, back = {m: torch.zeros(4) for m in SIZES}, eye.flip(1)
    rare = linear.LinearMaps("rare", zero, {"video": eye, "text": back})
    common = linear.LinearMaps("common", zero, {"video": eye, "text": eye})
    train = training_moments(LatentData.from_arrays({m: np.random.default_rng(0).normal(size=(9, 4)) for m in SIZES}))
    held_out = [tuning.TuningFold(train, {"video": eye, "text": text}) for text in (back, eye, eye, eye, eye)]

    def family(_: linear.Moments) -> list[linear.LinearMaps]:
        return [rare, common]

    assert tuning.chosen(family, train, held_out[:1]).name == "rare"
    found = tuning.chosen(family, train, held_out)
    assert found.name == "common"
    assert (found.sure.folds, found.sure.clips, found.sure.others_as_good) == (5, 20, 0)
    ranks = np.array([tuning.reciprocal_ranks(common, fold.rows)["video", "text"] for fold in held_out])
    assert ranks[0] < 0.5
    assert ranks[1:].tolist() == [1.0] * 4
    assert found.sure.reciprocal_rank == pytest.approx(ranks.mean())
    assert found.sure.error == pytest.approx(ranks.std(ddof=1) / 5**0.5)

    lonely = {"video": torch.ones(4, dtype=torch.bool), "text": torch.zeros(4, dtype=torch.bool)}
    without_pairs = tuning.TuningFold(train, held_out[0].rows, lonely)
    assert tuning.chosen(family, train, [*held_out, without_pairs]).sure == found.sure
    assert tuning.chosen(family, train, [held_out[0], without_pairs]).sure is None


def test_the_start_of_a_run_says_how_sure_its_choice_is(capsys):
    fusemix.build(replace(recipe("fusemix").method, head="linear", dim=16), LatentInputs(views(0)), seed=0)
    said = capsys.readouterr().err
    assert "best on validation, 5 folds of 68 clips, mean reciprocal rank 0." in said
    assert "(standard error)" in said
