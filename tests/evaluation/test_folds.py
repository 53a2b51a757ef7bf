"""Official folds: who is in which part, and that the test rows are looked at once and last."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from seehear.errors import SeehearError
from seehear.evaluation.classify import Classification, knn, linear_probe
from seehear.evaluation.folds import Fold, listed_folds, official_folds, probe_folds, rotating_folds
from seehear.library.records import Clip

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data"))


@given(numbers=st.lists(st.integers(1, 5), min_size=5, max_size=40).filter(lambda n: len(set(n)) >= 3))
def test_rotating_folds_part_the_rows(numbers):
    folds = rotating_folds(numbers)
    assert [f.name for f in folds] == [f"fold {n}" for n in sorted(set(numbers))]
    for fold in folds:
        parts = np.concatenate([fold.train, fold.val, fold.test])
        assert sorted(parts.tolist()) == list(range(len(numbers)))
    assert sorted(np.concatenate([f.test for f in folds]).tolist()) == list(range(len(numbers)))
    assert sorted(np.concatenate([f.val for f in folds]).tolist()) == list(range(len(numbers)))


def test_rotating_folds_by_hand():
    first, _, last = rotating_folds(["1", "2", "3", "1"])
    assert (first.test.tolist(), first.val.tolist(), first.train.tolist()) == ([0, 3], [1], [2])
    assert (last.test.tolist(), last.val.tolist(), last.train.tolist()) == ([2], [0, 3], [1])
    with pytest.raises(ValueError, match="need three"):
        rotating_folds([1, 2])


def test_lists_hold_whole_groups_back_and_leave_unused_rows_out():
    groups = [f"g{n // 3}" for n in range(90)]
    said = ["" if n >= 84 else "test" if n >= 60 else "train" for n in range(90)]
    (fold,) = listed_folds({"split1": said}, groups)
    assert fold.test.tolist() == list(range(60, 84))
    assert sorted([*fold.train.tolist(), *fold.val.tolist()]) == list(range(60))
    assert {groups[i] for i in fold.train}.isdisjoint(groups[i] for i in fold.val)
    assert 6 <= len(fold.val) <= 24
    with pytest.raises(ValueError, match="split2 has no row of test"):
        listed_folds({"split2": ["train"] * 90}, groups)


def test_folds_of_imported_clips():
    clips = [Clip(id=str(n), meta={"fold": str(n % 5 + 1)}) for n in range(10)]
    assert [f.test.tolist() for f in official_folds(clips)] == [[n, n + 5] for n in range(5)]
    uses = {"split1": "test", "split2": "train"}, {"split1": "train", "split2": "test"}
    clips = [Clip(id=str(n), group=f"g{n}", meta=uses[n % 2]) for n in range(40)]
    assert [f.test.tolist() for f in official_folds(clips)] == [list(range(0, 40, 2)), list(range(1, 40, 2))]
    with pytest.raises(SeehearError, match="the clips have no folds"):
        official_folds([Clip(id="x", meta={"mood": "glad"})])


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(150) % 3
    centres = rng.standard_normal((3, 12))
    vectors = (centres[labels] + 1.5 * rng.standard_normal((150, 12))).astype(np.float32)
    return vectors, [f"class {n}" for n in labels], (np.arange(150) // 3) % 5 + 1


def test_the_hyper_parameter_is_of_validation_and_the_fit_of_all_training_rows(data):
    """Against scikit-learn alone: choose C on the next fold, then fit once more on the four."""
    vectors, labels, numbers = data
    found = probe_folds(vectors, labels, rotating_folds(numbers))
    labels, wanted = np.asarray(labels), []
    for test in range(1, 6):
        val = test % 5 + 1
        parts = {"train": (numbers != test) & (numbers != val), "val": numbers == val}
        scores = {}
        for c in (0.01, 0.1, 1.0, 10.0, 100.0):
            scaler = StandardScaler().fit(vectors[parts["train"]].astype(np.float64))
            model = LogisticRegression(C=c, max_iter=2000).fit(
                scaler.transform(vectors[parts["train"]]), labels[parts["train"]]
            )
            scores[c] = model.score(scaler.transform(vectors[parts["val"]]), labels[parts["val"]])
        best = max(scores, key=scores.__getitem__)
        assert found.folds[f"fold {test}"].chosen == {"C": best, "validation_top1": pytest.approx(scores[best])}
        four = numbers != test
        scaler = StandardScaler().fit(vectors[four].astype(np.float64))
        model = LogisticRegression(C=best, max_iter=2000).fit(scaler.transform(vectors[four]), labels[four])
        wanted.append(model.score(scaler.transform(vectors[~four]), labels[~four]))
    assert [f.metrics["top1"] for f in found.folds.values()] == pytest.approx(wanted)
    assert found.mean["top1"] == pytest.approx(np.mean(wanted))
    assert found.deviation["top1"] == pytest.approx(np.std(wanted, ddof=1))
    assert "mean of 5 folds" in str(found)


def test_test_labels_choose_nothing(data):
    """With the test labels of a fold shuffled, what was chosen for it is the same."""
    vectors, labels, numbers = data
    folds = rotating_folds(numbers)
    shuffled = np.asarray(labels)
    shuffled[folds[0].test] = np.random.default_rng(1).permutation(shuffled[folds[0].test])
    for probe in (linear_probe, knn):
        one = probe_folds(vectors, labels, folds[:1], probe=probe)
        other = probe_folds(vectors, shuffled.tolist(), folds[:1], probe=probe)
        assert one.folds["fold 1"].chosen == other.folds["fold 1"].chosen
        assert one.mean["top1"] > other.mean["top1"]


def test_a_probe_sees_test_rows_only_in_its_last_fit(data):
    vectors, labels, _ = data
    seen = []

    def spy(train, val, test, **settings) -> Classification:
        seen.append((len(train), len(val), len(test), settings))
        return linear_probe(train, val, test, **settings)

    fold = Fold(name="one", train=np.arange(90), val=np.arange(90, 120), test=np.arange(120, 150))
    found = probe_folds(vectors, labels, [fold], probe=spy)
    chosen = found.folds["one"].chosen["C"]
    assert seen == [(90, 30, 30, {}), (120, 30, 30, {"strengths": (chosen,)})]
    assert found.deviation == {name: 0.0 for name in found.mean}
    three = np.repeat(vectors[:, None], 3, axis=1)
    assert probe_folds(vectors, labels, [fold], views=three).mean == found.mean
    nothing = probe_folds(vectors, labels, [fold], views=np.zeros_like(three))
    assert nothing.mean["top1"] < found.mean["top1"]
    with pytest.raises(ValueError, match="need folds"):
        probe_folds(vectors, labels, [])


@pytest.mark.data
@pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}: set SEEHEAR_DATA")
def test_esc10_over_its_official_folds():
    """Four of the five folds are at hand; a linear probe of the packaged encoder is near the 93 % measured before."""
    with open(DATA / "esc10" / "metadata.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    with np.load(DATA / "features" / "esc10.npz") as features:
        ids, vectors = features["ids"].tolist(), features["audio_aisfx"].astype(np.float32)
    clips = [rows[name] for name in ids]
    found = probe_folds(vectors, [c["label"] for c in clips], rotating_folds([c["fold"] for c in clips]))
    assert len(found.folds) == 4
    assert 0.89 < found.mean["top1"] < 0.97
