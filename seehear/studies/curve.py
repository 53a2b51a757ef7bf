"""A learning curve: what was measured at some numbers of pairs, curves that fit it, and what they say of more pairs.

    power      R(n) = c - a n^-b            0 < c <= 1: levels off below 1, which few sizes can show
    certain    R(n) = 1 - a n^-b            errors fall as a power of n, to none in the end
    logistic   R(n) = 1 / (1 + exp(-(a + b log n)))

No data says which of them holds beyond the largest size, so what they say together is the forecast: each is fitted to
many redrawn sets of means (the means, plus noise of the size that seeds and misfit show), and the interval is the range
of all curves of all families whose fit is not clearly worse than the best. An interval so made is only as good as the
families: it cannot know of a change of slope that no measured size shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seehear.studies.table import Estimate

FEWEST = 4  # sizes that three parameters need
_DRAWS = 100
_WORSE = 2.0  # times the best family's misfit: clearly worse
_CERTAIN = 1e-3  # least standard error of a mean, of recall


@dataclass(frozen=True)
class Forecast:
    pairs: float
    value: float
    low: float
    """95 %: over redrawn means and families."""
    high: float


@dataclass(frozen=True)
class Curve:
    """Fitted; ask it for any number of pairs."""

    curves: tuple[tuple[str, np.ndarray], ...]
    """(family, parameters) of every redrawn fit that counts."""
    families: tuple[str, ...]
    """Those that fit."""
    misfit: float
    """Root mean square of what the best family leaves, of recall."""

    def at(self, pairs: float) -> Forecast:
        return _forecast(pairs, [_FAMILIES[name].of(np.log(pairs), p) for name, p in self.curves])

    def gain(self, start: float, end: float) -> Forecast:
        """What going from `start` to `end` pairs brings, curve by curve: sharper than a difference of intervals."""
        gains = [_FAMILIES[n].of(np.log(end), p) - _FAMILIES[n].of(np.log(start), p) for n, p in self.curves]
        return _forecast(end, gains)


def _forecast(pairs: float, values: Sequence[np.ndarray]) -> Forecast:
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return Forecast(float(pairs), float(middle), float(low), float(high))


@dataclass(frozen=True)
class _Family:
    of: Callable[[np.ndarray | float, np.ndarray], np.ndarray]
    """(log n, parameters) -> recall."""
    start: Callable[[np.ndarray, np.ndarray], list[float]]
    bounds: tuple[list[float], list[float]]


def _logit(y: np.ndarray) -> np.ndarray:
    y = np.clip(y, 1e-3, 1 - 1e-3)
    return np.log(y / (1 - y))


def _line(x: np.ndarray, y: np.ndarray) -> list[float]:
    slope, level = np.polyfit(x, y, 1)
    return [float(level), float(slope)]


def _falling(x: np.ndarray, y: np.ndarray, top: float) -> list[float]:
    """(log a, b) of top - a n^-b through the points, roughly."""
    level, slope = _line(x, np.log(np.clip(top - y, 1e-3, None)))
    return [level, min(max(-slope, 0.02), 1.9)]


_FAMILIES: dict[str, _Family] = {
    "power": _Family(
        lambda x, p: p[0] - np.exp(p[1] - p[2] * x),
        lambda x, y: [min(1.0, y.max() + 0.1), *_falling(x, y, min(1.0, y.max() + 0.1))],
        ([0.0, -30.0, 0.0], [1.0, 30.0, 2.0]),
    ),
    "certain": _Family(
        lambda x, p: 1 - np.exp(p[0] - p[1] * x), lambda x, y: _falling(x, y, 1.0), ([-30.0, 0.0], [30.0, 2.0])
    ),
    "logistic": _Family(
        lambda x, p: 1 / (1 + np.exp(-(p[0] + p[1] * x))), lambda x, y: _line(x, _logit(y)), ([-50.0, 0.0], [50.0, 8.0])
    ),
}


def fit_curve(points: Sequence[tuple[float, Estimate]], values: Sequence[Sequence[float]], *, seed: int = 0) -> Curve:
    """`points` are (pairs, mean over seeds), `values` what each seed gave: their spread, shared over sizes, is the
    noise of a mean. Every size has the same weight."""
    if len(points) < FEWEST:
        raise ValueError(f"a curve needs {FEWEST} numbers of pairs; got {len(points)}")
    x, y = np.log([n for n, _ in points]), np.array([e.mean for _, e in points])
    fits = {name: _fitted(family, x, y) for name, family in _FAMILIES.items()}
    # Each family's misfit per degree of freedom: three parameters always come nearer than two.
    misfits = {
        name: math.sqrt(((_FAMILIES[name].of(x, p) - y) ** 2).sum() / max(1, len(x) - len(p)))
        for name, p in fits.items()
    }
    noise = _noise(values)
    best = min(misfits.values())
    kept = [name for name, misfit in misfits.items() if misfit <= _WORSE * max(best, noise.max(), _CERTAIN)]
    spread = np.sqrt(noise**2 + best**2)
    rng = np.random.default_rng(seed)
    redrawn = y + spread * rng.standard_normal((_DRAWS, len(y)))
    curves = tuple((name, _fitted(_FAMILIES[name], x, own, fits[name])) for name in kept for own in redrawn)
    return Curve(curves, tuple(kept), best)


def _noise(values: Sequence[Sequence[float]]) -> np.ndarray:
    """Standard error of each mean, by one deviation for all sizes: few seeds give none of their own."""
    deviations = [np.var(own, ddof=1) for own in values if len(own) > 1]
    pooled = math.sqrt(float(np.mean(deviations))) if deviations else 0.02
    return np.array([max(_CERTAIN, pooled / math.sqrt(len(own))) for own in values])


def _fitted(family: _Family, x: np.ndarray, y: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    from scipy.optimize import least_squares

    low, high = (np.array(bound) for bound in family.bounds)
    at = np.clip(family.start(x, y) if start is None else start, low + 1e-6, high - 1e-6)
    return least_squares(lambda p: family.of(x, p) - y, at, bounds=(low, high), ftol=1e-6, xtol=1e-5, max_nfev=60).x
