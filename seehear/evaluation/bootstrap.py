"""How sure is a number? Intervals and comparisons that resample source recordings, not clips.

Clips of one recording resemble each other, so they are not independent: whole groups are drawn with replacement, and a
group's clips come along together. The gallery stays as it is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seehear.progress import counted

DRAWS = 2000
FEW_GROUPS = 20  # fewer, and a percentile interval is too narrow to be believed
_AT_ONCE = 1 << 24  # weights held at once
_IN_CACHE = 1 << 16  # of them, where every draw is looked at several times


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
        return f"{self.text(1.0, 4)}, {counted(self.groups, 'group')}"

    def text(self, scale: float, digits: int) -> str:
        """'+1.4 [+0.2, +2.9], p 0.021'; the difference alone where one group leaves nothing to tell chance by."""
        if math.isnan(self.low):
            return f"{scale * self.difference:+.{digits}f}"
        low, high = (f"{scale * bound:+.{digits}f}" for bound in (self.low, self.high))
        return f"{scale * self.difference:+.{digits}f} [{low}, {high}], p {self.p:.{max(digits, 3)}f}"


def mean_interval(
    values: np.ndarray,
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean. One group gives (nan, nan): nothing can be said."""
    return intervals({"": values}, groups, draws=draws, level=level, seed=seed)[""]


def intervals(
    values: dict[str, np.ndarray],
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The same for several measures of the same queries: each draw of groups serves all of them."""
    sums_GM, sizes_G = _by_group(np.stack(list(values.values()), axis=1), groups)
    if len(sizes_G) < 2:
        return {name: (float("nan"), float("nan")) for name in values}
    means_RM = np.concatenate([w @ sums_GM / (w @ sizes_G)[:, None] for w in _draws(len(sizes_G), draws, seed)])
    bounds = np.quantile(means_RM, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(bounds[0, i]), float(bounds[1, i])) for i, name in enumerate(values)}


def seeded_interval(
    runs: Sequence[np.ndarray],
    groups: Sequence[str | int] | np.ndarray,
    *,
    minus: Sequence[np.ndarray] = (),
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the mean over runs with several seeds, (N,) each on the same queries; or of that mean
    minus the one of other runs. Every draw takes groups, and among the runs seeds, anew: the interval speaks of other
    recordings and of other seeds. One group gives (nan, nan)."""
    sums_GM, sizes_G = _by_group(np.stack([*runs, *minus], axis=1), groups)
    if len(sizes_G) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng((seed, 1))
    found = []
    for w_RG in _draws(len(sizes_G), draws, seed):
        means_RM = w_RG @ sums_GM / (w_RG @ sizes_G)[:, None]
        total_R = np.zeros(len(w_RG))
        for sign, first, count in ((1, 0, len(runs)), (-1, len(runs), len(minus))):
            if count:
                times_RS = rng.multinomial(count, np.full(count, 1 / count), size=len(w_RG))
                total_R += sign * (means_RM[:, first : first + count] * times_RS).sum(axis=1) / count
        found.append(total_R)
    low, high = np.quantile(np.concatenate(found), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def median_interval(
    values: np.ndarray,
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of the median."""
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    num = int(group.max()) + 1
    if num < 2:
        return float("nan"), float("nan")
    order = np.argsort(values, kind="stable")
    sorted_N, group_N = values[order], group[order]
    medians = []
    for weights_RG in _draws(num, draws, seed, rows=len(values), at_once=_IN_CACHE):
        reached_RN = 2 * np.cumsum(np.take(weights_RG, group_N, axis=1), axis=1)
        middle_R1 = reached_RN[:, -1:] // 2
        low_R = np.count_nonzero(reached_RN < middle_R1, axis=1)
        high_R = np.count_nonzero(reached_RN <= middle_R1, axis=1)
        medians.append((sorted_N[low_R] + sorted_N[high_R]) / 2)
    low, high = np.quantile(np.concatenate(medians), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def statistic_interval(
    statistic: Callable[[np.ndarray], float],
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of anything: `statistic` gets the row numbers of a draw, some of them several times. A draw
    it cannot use (ValueError: no class left) is left out."""
    return statistic_intervals(lambda rows: (statistic(rows),), ("",), groups, draws=draws, level=level, seed=seed)[""]


def statistic_intervals(
    statistics: Callable[[np.ndarray], Sequence[float]],
    names: Sequence[str],
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = 200,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """The same for several numbers that are computed together: `statistics` returns one for each name."""
    group = np.unique(np.asarray(groups), return_inverse=True)[1]
    num = int(group.max()) + 1
    if num < 2:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    found = []
    for weights_RG in _draws(num, draws, seed, rows=len(group)):
        for weights_G in weights_RG:
            try:
                found.append(statistics(np.repeat(np.arange(len(group)), weights_G[group])))
            except ValueError:
                continue
    if not found:
        return dict.fromkeys(names, (float("nan"), float("nan")))
    bounds = np.quantile(found, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: (float(bounds[0, i]), float(bounds[1, i])) for i, name in enumerate(names)}


def compare(
    a: np.ndarray,
    b: np.ndarray,
    groups: Sequence[str | int] | np.ndarray,
    *,
    draws: int = DRAWS,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Mean of `b - a`, two measurements of the same queries: bootstrap interval, and sign-flip test, by group."""
    if len(a) != len(b) or len(a) != len(groups):
        raise ValueError(f"a, b and groups must be of the same queries; got {len(a)}, {len(b)} and {len(groups)}")
    gain = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    sums_G1, sizes_G = _by_group(gain[:, None], groups)
    low, high = mean_interval(gain, groups, draws=draws, level=level, seed=seed)
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


def _draws(num_groups: int, draws: int, seed: int, rows: int = 0, at_once: int = _AT_ONCE) -> Iterator[np.ndarray]:
    """How often each group was drawn, in blocks of draws: (some, groups)."""
    rng = np.random.default_rng([seed, 0])
    chunk = max(1, at_once // max(num_groups, rows))
    for at in range(0, draws, chunk):
        yield rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=min(chunk, draws - at))
