"""How sure is a number? Intervals and comparisons that resample source recordings, not clips.

Clips of one recording resemble each other, so they are not independent: whole groups are drawn with replacement, and a
group's clips come along together. The gallery stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

DRAWS = 2000
_LEVEL = 0.95
FEW_GROUPS = 20  # fewer, and a percentile interval is too narrow to be believed
_AT_ONCE = 1 << 24  # weights held at once


@dataclass(frozen=True)
class Comparison:
    """B minus A on the same queries."""

    difference: float
    low: float
    high: float
    p: float
    """Two-sided, of a difference at least as large if each group's sign were a coin toss. 1 / (draws + 1) at least."""
    groups: int

    def __str__(self) -> str:
        return f"{self.difference:+.4f} [{self.low:+.4f}, {self.high:+.4f}], p {self.p:.4f}, {self.groups:,} groups"


def mean_interval(
    values: np.ndarray, groups: Sequence[str | int] | np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean. One group gives (nan, nan): nothing can be said."""
    return intervals({"": values}, groups, draws=draws, seed=seed)[""]


def intervals(
    values: dict[str, np.ndarray], groups: Sequence[str | int] | np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, tuple[float, float]]:
    """The same for several measures of the same queries: each draw of groups serves all of them."""
    sums_GM, sizes_G = _by_group(np.stack(list(values.values()), axis=1), groups)
    means = [w_RG @ sums_GM / (w_RG @ sizes_G)[:, None] for w_RG in _draws(len(sizes_G), draws, seed)]
    means_RM = np.concatenate([np.empty((0, len(values))), *means])
    return {name: _percentiles(means_RM[:, i]) for i, name in enumerate(values)}


def seeded_interval(
    runs: Sequence[np.ndarray],
    groups: Sequence[str | int] | np.ndarray,
    *,
    minus: Sequence[np.ndarray] = (),
) -> tuple[float, float]:
    """Percentile interval of the mean over runs with several seeds, (N,) each on the same queries; or of that mean
    minus the one of other runs. Every draw takes groups, and among the runs seeds, anew: the interval speaks of other
    recordings and of other seeds. One group gives (nan, nan)."""
    sums_GM, sizes_G = _by_group(np.stack([*runs, *minus], axis=1), groups)
    rng = np.random.default_rng((0, 1))
    found = [np.empty(0)]
    for w_RG in _draws(len(sizes_G), DRAWS, 0):
        means_RM = w_RG @ sums_GM / (w_RG @ sizes_G)[:, None]
        total_R = np.zeros(len(w_RG))
        for sign, first, count in ((1, 0, len(runs)), (-1, len(runs), len(minus))):
            if count:
                times_RS = rng.multinomial(count, np.full(count, 1 / count), size=len(w_RG))
                total_R += sign * (means_RM[:, first : first + count] * times_RS).sum(axis=1) / count
        found.append(total_R)
    return _percentiles(np.concatenate(found))


def median_interval(
    values: np.ndarray, groups: Sequence[str | int] | np.ndarray, *, draws: int = DRAWS, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the median."""
    order = np.argsort(values, kind="stable")
    sorted_N = values[order]
    medians = []
    for times_N in _draws_of_rows(groups, draws, seed):
        reached = np.cumsum(times_N[order])
        middle = reached[-1] / 2
        low, high = np.searchsorted(reached, middle), np.searchsorted(reached, middle, side="right")
        medians.append((sorted_N[low] + sorted_N[high]) / 2)
    return _percentiles(medians)


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of anything: `statistic` gets the row numbers of a draw, some of them several times. A draw
    it cannot use (ValueError: no class left) is left out."""
    found = []
    for times_N in _draws_of_rows(groups, draws, seed):
        with suppress(ValueError):
            found.append(statistic(np.repeat(np.arange(len(times_N)), times_N)))
    return _percentiles(found)


def compare(
    a: np.ndarray,
    b: np.ndarray,
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Mean of `b - a`, two measurements of the same queries: bootstrap interval, and sign-flip test, by group."""
    if len(a) != len(b) or len(a) != len(groups):
        raise ValueError(f"a, b and groups must be of the same queries; got {len(a)}, {len(b)} and {len(groups)}")
    gain = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    sums_G1, sizes_G = _by_group(gain[:, None], groups)
    low, high = mean_interval(gain, groups, draws=draws, seed=seed)
    signs = np.random.default_rng([seed, 1])
    chunk = max(1, _AT_ONCE // len(sizes_G))
    flipped = np.concatenate(
        [
            (signs.integers(0, 2, (min(chunk, draws - at), len(sizes_G))) * 2.0 - 1) @ sums_G1[:, 0]
            for at in range(0, draws, chunk)
        ]
    )
    extreme = np.count_nonzero(np.abs(flipped) >= np.abs(sums_G1.sum()) * (1 - 1e-9))
    return Comparison(float(gain.mean()), low, high, (extreme + 1) / (draws + 1), len(sizes_G))


def _by_group(values_NM: np.ndarray, groups: Sequence[str | int] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(sums of each group, number of queries in it)"""
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    sums_GM = np.zeros((int(group.max()) + 1, values_NM.shape[1]))
    np.add.at(sums_GM, group, values_NM)
    return sums_GM, np.bincount(group).astype(np.float64)


def _draws(num_groups: int, draws: int, seed: int, rows: int = 0) -> Iterator[np.ndarray]:
    """How often each group was drawn, in blocks of draws: (some, groups). None of a single group, which has no
    spread."""
    rng = np.random.default_rng([seed, 0])
    chunk = max(1, _AT_ONCE // max(num_groups, rows))
    for at in range(0, draws if num_groups > 1 else 0, chunk):
        yield rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=min(chunk, draws - at))


def _draws_of_rows(groups: Sequence[str | int] | np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """How often each row was drawn with its group, (N,), draw by draw."""
    group_N = np.unique(np.asarray(groups), return_inverse=True)[1]
    for weights_RG in _draws(int(group_N.max()) + 1, draws, seed, rows=len(group_N)):
        yield from (weights_G[group_N] for weights_G in weights_RG)


def _percentiles(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The interval that holds 95 % of the values; (nan, nan) where there are none."""
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return float(low), float(high)
