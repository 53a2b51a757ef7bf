"""Steps in order, a second each: the sheet's worked example, brute force over all choices, and the two means."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.evaluation.localisation import Located, align, chance, located, recall_by_video, recall_pooled

SCORES = np.array([[0.1, 0.9, 0], [0.8, 0.2, 0.1], [0.3, 0.4, 0.7], [0.2, 0.6, 0.3], [0, 0.5, 0.65]])


def truth(seconds, *rows):
    marked = np.zeros((seconds, len(rows)), bool)
    for k, own in enumerate(rows):
        marked[list(own), k] = True
    return marked


def brute_force(scores):
    seconds, steps = scores.shape
    return max(combinations(range(seconds), steps), key=lambda t: (sum(scores[t, range(steps)]), [-x for x in t]))


def test_the_worked_example():
    chosen = align(SCORES)
    assert chosen.tolist() == [1, 3, 4]
    assert SCORES[chosen, range(3)].sum() == pytest.approx(2.05, abs=1e-12)
    without = located("task", "video", SCORES, truth(5, (0, 1), (2, 3), ()))
    assert (without.hits, without.steps) == (2, 2)
    other = located("task", "video", SCORES, truth(5, (0, 1), (2, 3), (2,)))
    assert (other.hits, other.steps) == (2, 3)
    assert recall_by_video([other]) == pytest.approx(2 / 3)


@given(st.integers(1, 4), st.integers(0, 5), st.integers(0, 2**31), st.booleans())
def test_it_is_the_best_of_all_choices(steps, more, seed, ties):
    """Whole numbers make ties: then the sum is the same, and the seconds are in order."""
    rng = np.random.default_rng(seed)
    shape = (steps + more, steps)
    scores = rng.integers(-3, 3, shape).astype(float) if ties else rng.standard_normal(shape)
    chosen, best = align(scores), brute_force(scores)
    assert scores[chosen, range(steps)].sum() == pytest.approx(scores[list(best), range(steps)].sum(), abs=1e-12)
    assert (np.diff(chosen) > 0).all()
    if not ties:
        assert chosen.tolist() == list(best)


def test_equal_scores_take_the_earliest_seconds():
    assert align(np.zeros((6, 3))).tolist() == [0, 1, 2]


def test_exactly_one_second_a_step_even_when_it_costs():
    assert align(-np.ones((4, 2))).tolist() == [0, 1]
    assert align(np.array([[5.0, -9], [9, -9], [5, -9]])).tolist() == [1, 2]


def test_more_steps_than_seconds():
    with pytest.raises(ValueError, match="3 steps of a second each do not fit into 2 seconds"):
        align(np.zeros((2, 3)))
    assert located("t", "v", np.zeros((2, 3)), truth(2, (0,), (1,), ())) == Located("t", "v", 0, 2)


def test_a_shift_of_a_steps_scores_changes_nothing():
    assert align(SCORES + np.array([3.0, -7.0, 0.5])).tolist() == [1, 3, 4]


def test_the_two_means_differ():
    videos = [Located("a", "1", 1, 1), Located("a", "2", 1, 4), Located("b", "3", 1, 2), Located("b", "4", 0, 0)]
    assert recall_by_video(videos) == pytest.approx(((1 + 0.25) / 2 + 0.5) / 2)
    assert recall_pooled(videos) == pytest.approx((2 / 5 + 1 / 2) / 2)
    assert np.isnan(recall_by_video([]))


@given(st.integers(1, 4), st.integers(0, 4), st.integers(0, 2**31))
def test_chance_is_the_mean_over_all_choices(steps, more, seed):
    marked = np.random.default_rng(seed).random((steps + more, steps)) < 0.4
    choices = list(combinations(range(steps + more), steps))
    expected = np.mean([marked[list(t), range(steps)].sum() for t in choices])
    assert chance(marked) == pytest.approx(expected, abs=1e-9)
