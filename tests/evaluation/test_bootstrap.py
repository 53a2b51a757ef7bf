import numpy as np
import pytest
from scipy import stats

from seehear.evaluation.bootstrap import (
    compare,
    intervals,
    mean_interval,
    median_interval,
    seeded_interval,
    statistic_interval,
)


def test_mean_interval_is_that_of_the_normal_theory_when_clips_are_independent():
    rng = np.random.default_rng(0)
    values = rng.normal(size=2000)
    low, high = mean_interval(values, np.arange(2000), draws=4000)
    expected = stats.norm.interval(0.95, loc=values.mean(), scale=values.std() / np.sqrt(2000))
    assert (low, high) == pytest.approx(expected, abs=0.004)


def test_clips_of_one_group_count_once():
    """The same 40 values given 25 times over say no more than once."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=40)
    once = mean_interval(values, np.arange(40))
    many = mean_interval(np.repeat(values, 25), np.repeat(np.arange(40), 25))
    assert many == pytest.approx(once)
    blind = mean_interval(np.repeat(values, 25), np.arange(1000))
    assert blind[1] - blind[0] < 0.3 * (many[1] - many[0])


def test_coverage_with_unequal_groups():
    rng = np.random.default_rng(2)
    hits = 0
    for trial in range(200):
        sizes = rng.integers(1, 9, 60)
        effect = np.repeat(rng.normal(size=60), sizes)
        values = effect + rng.normal(size=len(effect))
        low, high = mean_interval(values, np.repeat(np.arange(60), sizes), draws=400, seed=trial)
        hits += low <= 0.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_several_measures_share_their_draws():
    values = np.random.default_rng(3).random(50)
    both = intervals({"a": values, "b": 2 * values}, np.arange(50) // 2)
    assert both["b"] == pytest.approx((2 * both["a"][0], 2 * both["a"][1]))
    assert both["a"] == mean_interval(values, np.arange(50) // 2)


def test_median_interval_holds_the_median_and_matches_scipy():
    values = np.random.default_rng(4).exponential(size=300)
    low, high = median_interval(values, np.arange(300))
    theirs = stats.bootstrap((values,), np.median, method="percentile", n_resamples=2000, rng=0).confidence_interval
    assert low < np.median(values) < high
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.03)


def test_one_group_says_nothing():
    assert np.isnan(mean_interval(np.arange(5.0), ["a"] * 5)).all()
    assert np.isnan(median_interval(np.arange(5.0), ["a"] * 5)).all()


def test_pairing_finds_a_small_steady_gain():
    rng = np.random.default_rng(5)
    a = rng.normal(size=300)
    gain = compare(a, a + 0.1 + 0.05 * rng.normal(size=300), np.arange(300) // 3)
    assert gain.difference == pytest.approx(0.1, abs=0.02)
    assert 0.05 < gain.low < gain.difference < gain.high
    assert gain.p < 0.001
    assert gain.groups == 100
    assert "+0.1" in str(gain)


def test_p_is_uniform_when_there_is_no_difference():
    rng = np.random.default_rng(6)
    p = [compare(*rng.normal(size=(2, 40)), np.arange(40), draws=300, seed=i).p for i in range(200)]
    assert stats.kstest(p, "uniform").pvalue > 0.01


def test_sign_flip_agrees_with_scipy():
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=(2, 60))
    b = b + 0.3
    ours = compare(a, b, np.arange(60), draws=20000).p
    theirs = stats.permutation_test(
        (b, a), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=20000, rng=0
    ).pvalue
    assert ours == pytest.approx(theirs, abs=0.02)


def test_comparison_needs_the_same_queries():
    with pytest.raises(ValueError, match="same queries"):
        compare(np.zeros(3), np.zeros(4), [1, 2, 3])


def test_a_comparison_in_words():
    """One group leaves nothing to tell chance by, and no NaN is shown."""
    alone = compare(np.zeros(3), np.ones(3), ["a"] * 3)
    assert str(alone) == "+1.0000, 1 group"
    assert alone.text(100.0, 1) == "+100.0"
    assert compare(np.zeros(4), np.ones(4), list("aabb")).text(100.0, 1).startswith("+100.0 [+100.0, +100.0], p 0.")


def test_any_statistic_agrees_with_the_closed_way():
    values = np.random.default_rng(8).random(90)
    groups = np.arange(90) // 3
    slow = statistic_interval(lambda rows: values[rows].mean(), groups, draws=500)
    assert slow == pytest.approx(mean_interval(values, groups, draws=500))
    assert np.isnan(statistic_interval(lambda rows: 0.0, ["a"] * 90)).all()

    def often_fails(rows):
        if 0 not in rows:
            raise ValueError
        return 1.0

    assert statistic_interval(often_fails, groups) == (1.0, 1.0)


def test_an_interval_over_seeds_and_groups():
    """Seeds that differ widen it; of one seed it is the interval over groups; pairs take away what queries share."""
    rng = np.random.default_rng(0)
    x, groups = rng.random(300), np.arange(300)
    one = seeded_interval([x], groups)
    assert one == pytest.approx(mean_interval(x, groups), abs=0.01)
    low, high = seeded_interval([x - 0.2, x, x + 0.2], groups)
    assert high - low > 2 * (one[1] - one[0])
    gain = seeded_interval([x + 0.1, x + 0.1], groups, minus=[x])
    assert gain == pytest.approx((0.1, 0.1))
    assert np.isnan(seeded_interval([x], np.zeros(300))).all()
