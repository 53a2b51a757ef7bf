"""95 % bootstrap intervals and paired comparisons. Source recordings are resampled instead of clips, as clips of one
recording are not independent. Groups are drawn with replacement, with all their queries; the gallery is fixed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from seehear.progress import counted

DRAWS = 2000
# Percentile intervals of fewer groups are too narrow.
FEW_GROUPS = 20
Groups = Sequence[str | int] | np.ndarray
"""(N,) recording of each query."""
Interval = tuple[float, float]
"""Lower and upper bound; NaN where there is one group only."""
_LEVELS = (0.025, 0.975)
_UNKNOWN = (float("nan"), float("nan"))
# Weights held at once; fewer where every draw is read several times, so that a block stays in the cache.
_AT_ONCE, _IN_CACHE = 1 << 24, 1 << 16


@dataclass(frozen=True)
class Comparison:
    """B minus A on the same queries."""

    difference: float
    low: float
    high: float
    p: float
    """Two-sided p of the sign-flip test over groups; at least 1 / (draws + 1)."""
    groups: int

    def __str__(self) -> str:
        return f"{self.text(1.0, 4)}, {counted(self.groups, 'group')}"

    def text(self, scale: float, digits: int) -> str:
        """'+1.4 [+0.2, +2.9], p 0.021'; the difference alone where there is one group."""
        if math.isnan(self.low):
            return f"{scale * self.difference:+.{digits}f}"
        low, high = (f"{scale * bound:+.{digits}f}" for bound in (self.low, self.high))
        return f"{scale * self.difference:+.{digits}f} [{low}, {high}], p {self.p:.{max(digits, 3)}f}"


def mean_interval(values: np.ndarray, groups: Groups, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Interval of the mean."""
    return intervals({"": values}, groups, draws=draws, seed=seed)[""]


def intervals(
    values: dict[str, np.ndarray], groups: Groups, *, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Interval of the mean of each measure of the same queries, from the same draws."""
    return dict(zip(values, map(_bounds, _means(list(values.values()), groups, draws, seed).T), strict=True))


def seeded_interval(runs: Sequence[np.ndarray], groups: Groups, *, minus: Sequence[np.ndarray] = ()) -> Interval:
    """Interval of the mean over runs with several seeds, (N,) values each on the same queries, less the mean of the
    runs in `minus`. Every draw resamples both groups and runs, so that it covers other recordings and other seeds."""
    means_RM = _means([*runs, *minus], groups, DRAWS, 0)
    # Another stream than that of the groups: their draws must be independent.
    rng = np.random.default_rng((0, 1))
    total_R = np.zeros(len(means_RM))
    for sign, first, count in ((1, 0, len(runs)), (-1, len(runs), len(minus))):
        if count:
            times_RS = rng.multinomial(count, np.full(count, 1 / count), size=len(means_RM))
            total_R += sign * (means_RM[:, first : first + count] * times_RS).sum(axis=1) / count
    return _bounds(total_R)


def median_interval(values: np.ndarray, groups: Groups, *, seed: int = 0) -> Interval:
    """Interval of the median."""
    group, num = _numbered(groups)
    if num < 2:
        return _UNKNOWN
    order = np.argsort(values, kind="stable")
    sorted_N, group_N = values[order], group[order]
    medians = []
    for weights_RG in _draws(num, DRAWS, seed, rows=len(values), at_once=_IN_CACHE):
        # The median of a draw by its cumulative weights: repeating and sorting the rows of each draw is far slower.
        reached_RN = 2 * np.cumsum(np.take(weights_RG, group_N, axis=1), axis=1)
        middle_R1 = reached_RN[:, -1:] // 2
        low_R = np.count_nonzero(reached_RN < middle_R1, axis=1)
        high_R = np.count_nonzero(reached_RN <= middle_R1, axis=1)
        # The mean of the two middle values, which are one where their number is odd.
        medians.append((sorted_N[low_R] + sorted_N[high_R]) / 2)
    return _bounds(np.concatenate(medians))


def statistic_interval(statistic: Callable[[np.ndarray], float], groups: Groups, *, draws: int = 200) -> Interval:
    """Interval of any statistic: a function of row numbers, some of which a draw repeats."""
    return statistic_intervals(lambda rows: (statistic(rows),), ("",), groups, draws=draws)[""]


def statistic_intervals(
    statistics: Callable[[np.ndarray], Sequence[float]],
    names: Sequence[str],
    groups: Groups,
    *,
    draws: int = 200,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of several numbers that one function of row numbers returns, in the order of `names`. Draws on which it
    raises ValueError (no class left) are skipped."""
    group, num = _numbered(groups)
    samples = []
    for weights_RG in _draws(num, draws, seed, rows=len(group)) if num > 1 else ():
        for weights_G in weights_RG:
            try:
                samples.append(statistics(np.repeat(np.arange(len(group)), weights_G[group])))
            except ValueError:
                continue
    if not samples:
        return dict.fromkeys(names, _UNKNOWN)
    return dict(zip(names, map(_bounds, np.transpose(samples)), strict=True))


def compare(a: np.ndarray, b: np.ndarray, groups: Groups, *, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Mean of `b - a` over the same queries, with its bootstrap interval and a sign-flip test, both by group."""
    if len(a) != len(b) or len(a) != len(groups):
        raise ValueError(f"a, b and groups must be of the same queries; got {len(a)}, {len(b)} and {len(groups)}")
    gain = np.asarray(b, np.float64) - np.asarray(a, np.float64)
    sums_G1, sizes_G = _by_group(gain[:, None], groups)
    low, high = mean_interval(gain, groups, draws=draws, seed=seed)
    # Another stream than that of the bootstrap.
    signs = np.random.default_rng([seed, 1])
    chunk = max(1, _AT_ONCE // len(sizes_G))
    flipped = np.concatenate(
        [
            (signs.integers(0, 2, (min(chunk, draws - at), len(sizes_G))) * 2.0 - 1) @ sums_G1[:, 0]
            for at in range(0, draws, chunk)
        ]
    )
    # The tolerance counts sums that are equal but for rounding, such as the observed signs themselves.
    extreme = np.count_nonzero(np.abs(flipped) >= np.abs(sums_G1.sum()) * (1 - 1e-9))
    # The observed signs count as one of the draws, so that p is never 0.
    return Comparison(float(gain.mean()), low, high, (extreme + 1) / (draws + 1), len(sizes_G))


def group_warnings(groups: Sequence[str | int], split: str) -> tuple[str, ...]:
    """Warning about a split with few source recordings."""
    num = len(set(groups))
    if num >= FEW_GROUPS:
        return ()
    return (
        f"the {split} split has {counted(num, 'group')}: with fewer than {FEW_GROUPS} the intervals are too narrow",
    )


def _numbered(groups: Groups) -> tuple[np.ndarray, int]:
    """(N,) number of the group of each query, and the number of groups."""
    names, group_N = np.unique(np.asarray(groups), return_inverse=True)
    return group_N, len(names)


def _by_group(values_NM: np.ndarray, groups: Groups) -> tuple[np.ndarray, np.ndarray]:
    """(G, M) sums and (G,) number of queries of each group."""
    group, num = _numbered(groups)
    sums_GM = np.zeros((num, values_NM.shape[1]))
    # Not `+=`, which would count one query of each group.
    np.add.at(sums_GM, group, values_NM)
    return sums_GM, np.bincount(group).astype(np.float64)


def _means(values: Sequence[np.ndarray], groups: Groups, draws: int, seed: int) -> np.ndarray:
    """(R, M) mean of each of the values in each draw; none of one group."""
    sums_GM, sizes_G = _by_group(np.stack(values, axis=1), groups)
    if len(sizes_G) < 2:
        return np.empty((0, len(values)))
    # Divided by the queries drawn, whose number differs from draw to draw with the size of the recordings.
    return np.concatenate([w @ sums_GM / (w @ sizes_G)[:, None] for w in _draws(len(sizes_G), draws, seed)])


def _draws(num_groups: int, draws: int, seed: int, rows: int = 0, at_once: int = _AT_ONCE) -> Iterator[np.ndarray]:
    """Number of times each group was drawn, in blocks of draws: (R, G)."""
    rng = np.random.default_rng([seed, 0])
    chunk = max(1, at_once // max(num_groups, rows))
    # In blocks, so that many draws of many groups fit into memory.
    for at in range(0, draws, chunk):
        yield rng.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size=min(chunk, draws - at))


def _bounds(samples_R: np.ndarray) -> Interval:
    """Unknown without samples."""
    return tuple(np.quantile(samples_R, _LEVELS).tolist()) if len(samples_R) else _UNKNOWN
