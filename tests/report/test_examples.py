"""Which queries are shown, and what is said of them."""

import numpy as np
import pytest

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.results import TaskResult
from seehear.evaluation.retrieval import retrieval
from seehear.nn.unit import unit
from seehear.report.examples import examples, spread


def test_from_the_best_rank_to_the_worst_and_more_of_the_worse():
    ranks = np.arange(1, 102, dtype=float)[::-1]
    shown = ranks[spread(ranks, [str(i) for i in range(101)], 5)]
    assert shown.tolist() == [1, 45, 76, 95, 101]


def test_the_choice_does_not_depend_on_the_order_of_the_rows():
    rng = np.random.default_rng(0)
    ranks, names = rng.integers(1, 6, 40).astype(float), np.array([f"clip {i}" for i in range(40)])
    once = names[spread(ranks, names.tolist(), 6)]
    order = rng.permutation(40)
    again = names[order][spread(ranks[order], names[order].tolist(), 6)]
    assert once.tolist() == again.tolist()


@pytest.mark.parametrize(("count", "shown"), [(1, 1), (3, 3), (9, 3)])
def test_fewer_queries_than_asked_for(count, shown):
    assert len(spread(np.array([2.0, 1.0, 3.0]), ["a", "b", "c"], count)) == shown


@pytest.fixture
def found():
    """Ten clips, the texts of the first two there twice."""
    rng = np.random.default_rng(1)
    x = unit(rng.normal(size=(10, 4)))
    owner = np.array([0, 0, 1, 1, *range(2, 10)])
    texts, pictures = Embedded(unit(x[owner] + 0.8 * rng.normal(size=(12, 4))), owner), Embedded(x, np.arange(10))
    return texts, pictures, [f"clip {i}" for i in range(10)]


def result(task, query, gallery, ids):
    ranked = retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)
    within = np.arange(len(query.owner)) - np.searchsorted(query.owner, query.owner)
    keys = np.array([f"{ids[o]}|{n}" if n else ids[o] for o, n in zip(query.owner, within, strict=True)])
    return TaskResult(
        task=task, kind="retrieval", model="m", metrics=ranked.metrics, per_query=ranked.per_query, keys=keys
    )


def test_each_shows_the_right_answer_at_its_rank_and_what_came_first(found):
    texts, pictures, ids = found
    shown = examples(result("text->video", texts, pictures, ids), texts, pictures, ids, count=12)
    assert len(shown) == 12
    assert [e.rank for e in shown] == sorted(e.rank for e in shown)
    for e in shown:
        row = ids.index(e.query.clip)
        q = np.flatnonzero(texts.owner == row)[e.query.number]
        scores = pictures.vectors @ texts.vectors[q]
        assert e.rank == 1 + (scores > scores[row]).sum()
        assert e.right.clip == e.query.clip
        assert [i.clip for i in e.first] == [ids[g] for g in np.argsort(-scores)[:3]]
        assert [i.right for i in e.first] == [i.clip == e.query.clip for i in e.first]
        assert e.right.score == pytest.approx(scores[row])
        assert e.gallery == 10


def test_the_best_of_several_right_answers(found):
    texts, pictures, ids = found
    for e in examples(result("video->text", pictures, texts, ids), pictures, texts, ids, count=10):
        own = np.flatnonzero(texts.owner == ids.index(e.query.clip))
        scores = texts.vectors @ pictures.vectors[ids.index(e.query.clip)]
        assert e.right.number == np.argmax(scores[own])


def test_pictures_and_sounds_of_an_example_and_no_texts(found):
    texts, pictures, ids = found
    (e, *_) = examples(result("text->video", texts, pictures, ids), texts, pictures, ids, count=1)
    assert {m for _, m in e.media} == {"video"}
    assert len(e.media) == 4


def test_queries_of_clips_that_are_gone_are_passed_over(found):
    texts, pictures, ids = found
    known = result("text->video", texts, pictures, ids)
    renamed = [f"other {i}" if i > 2 else ids[i] for i in range(10)]
    assert {e.query.clip for e in examples(known, texts, pictures, renamed, count=12)} == set(ids[:3])
    assert examples(known, texts, pictures, [f"other {i}" for i in range(10)], count=5) == []
