"""Learning curve: recall against number of training clips, and a forecast for ten times as many.

Each seed orders the training recordings; its subsets are prefixes of that order, all measured on the same test clips.
Curves are fitted to the means, and back-tested: fitted to the smaller sizes, they should predict the largest.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, check_range
from seehear.inputs.latents import LatentData
from seehear.library.tables import LibraryTables
from seehear.nn.random import seed_of
from seehear.studies import table as figure
from seehear.studies.grid import Cell, run_grid
from seehear.studies.table import SeedEstimate, Study, estimate, tabulate
from seehear.studies.trained import (
    MEASURES,
    StudyOptions,
    about_data,
    check_held_out,
    latents_of,
    measured,
    training_part,
    training_rows,
)

# Clips: fewer have no usable covariance.
_SMALLEST = 30
_TIMES = 10
# Width of an interval of recall that is too wide to act on.
_WIDE = 0.25
# Gain of recall below which more clips are not worth it.
_NO_GAIN = 0.01
# Tolerance of the back-test, of recall.
_CLOSE = 0.005
_FULL = 0.97


@dataclass(frozen=True, kw_only=True)
class DataStudyOptions(StudyOptions):
    sizes: tuple[int, ...] = ()
    """Numbers of training clips; all of them, and that halved five times, when not given."""
    seeds: int = 5
    """Orders of the recordings, each trained with its own seed."""
    measure: str = "R@10"
    """Measure of the curve: R@1, R@10 or MRR."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[1, inf)", "sizes")
        if self.measure not in MEASURES:
            raise SeehearError(f"unknown measure {self.measure!r} (known: {', '.join(MEASURES)})")


def data_study(library: LibraryTables, folder: Path, options: DataStudyOptions) -> Study:
    """Recall on the test split against number of training clips, and what more would bring."""
    figure.require_figures()
    return learning_curve(latents_of(library, options.encoders), folder, options)


def learning_curve(data: LatentData, folder: Path, options: DataStudyOptions) -> Study:
    """The study of latents in memory."""
    check_held_out(data)
    rows = training_rows(data)
    # Halved, not evenly spaced: recall grows with the logarithm of their number.
    halved = (len(rows) // 2**i for i in reversed(range(6)))
    sizes = tuple(sorted(options.sizes)) or tuple(size for size in halved if size >= _SMALLEST)
    if len(sizes) < FEWEST or sizes[-1] > len(rows):
        raise SeehearError(
            f"a learning curve needs {FEWEST} numbers of clips, {_SMALLEST} to all of the {len(rows):,} training clips "
            f"with two modalities; got {', '.join(map(str, sizes)) or 'too few clips for that'}"
        )

    def run(cell: Cell) -> dict[str, float]:
        n, seed = int(cell["clips"] or 0), int(cell["seed"] or 0)
        chosen = nested(data, rows, n, seed)
        found = measured(training_part(data, chosen), options.model, seed=seed, folder=folder / "runs" / f"{n}-{seed}")
        return found | {"clips": len(chosen), "recordings": len(np.unique(data.groups[chosen]))}

    cells: list[Cell] = [{"clips": n, "seed": s} for n in sizes for s in range(options.seeds)]
    about = about_data(data) | {"study": "data", "model": options.model}
    results = run_grid(folder, cells, run, about=about, redo=options.redo)
    notes = (
        f"Trained ({options.model}) on so many training clips, measured on {about['data']['test']:,} test clips: "
        "mean of both directions.",
    )
    table = tabulate(results, measures=MEASURES, title="Recall against number of pairs", notes=notes, percent=True)
    known = [r for r in results if math.isfinite(r.values.get(options.measure, math.nan))]
    by_size = [own for n in sizes if (own := [r.values for r in known if r.cell["clips"] == n])]
    values = [[v[options.measure] for v in own] for own in by_size]
    points = [(float(np.mean([v["clips"] for v in own])), estimate(v)) for own, v in zip(by_size, values, strict=True)]
    if len(points) < FEWEST:
        raise SeehearError(f"only {len(points)} numbers of clips could be measured, a curve needs {FEWEST}")
    whole = fit_curve(points, values)
    forecasts, said = _outcome(points, values, whole, options.measure)
    study = Study(folder, (table,), tuple(said), tuple(results), about, {"forecasts": forecasts})
    study.save()
    figure.save_figure(folder / "data", partial(_draw, points=points, curve=whole, options=options))
    return study


def nested(data: LatentData, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """Rows of the first recordings in an order drawn by the seed: n clips or a few more. Nested: a smaller n gives a
    subset."""
    groups = data.groups.numpy()[rows]
    names, count = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed_of(seed, "order of recordings")).permutation(len(names))
    # Whole recordings: clips of one are alike, and half of it would be told by the other half.
    enough = int(np.searchsorted(np.cumsum(count[order]), n)) + 1
    return rows[np.isin(groups, names[order[:enough]])]


def _outcome(
    points: Sequence[tuple[float, SeedEstimate]],
    values: Sequence[Sequence[float]],
    whole: _LearningCurve,
    name: str,
) -> tuple[dict[str, Any], list[str]]:
    """Forecasts for more clips and, with enough sizes, the back-test: as plain values for `study.json`, and in
    sentences."""
    largest, now = points[-1]
    plain: dict[str, Any] = {"now": {"pairs": largest, **asdict(now)}, "families": whole.families}
    plain |= {"misfit": whole.misfit}
    said = [f"With {largest:,.0f} training clips {name} is {100 * now.mean:.1f} %."]
    if now.mean > _FULL:
        said.append(f"{name} is close to its maximum: use a harder measure (--measure R@1) or more test clips.")
    for times in (2, _TIMES):
        forecast, gain = whole.at(times * largest), whole.gain(largest, times * largest)
        plain |= {f"times {times}": asdict(forecast), f"gain of times {times}": asdict(gain)}
        said.append(outlook(times, forecast, gain))
    # At least a factor of two: nearer sizes would flatter the forecast.
    back = [n for n, _ in points if n <= largest / 2]
    if len(back) < FEWEST:
        return plain, [*said, "There are too few sizes for a back-test of the forecast: it is a guess."]
    told, factor = fit_curve(points[: len(back)], values[: len(back)]).at(largest), largest / back[-1]
    # One seed has no interval.
    low, high = (now.mean, now.mean) if math.isnan(now.low) else (now.low, now.high)
    held = told.low - _CLOSE <= high and low <= told.high + _CLOSE
    plain["back-test"] = {"fitted up to": back[-1], "factor": factor, **asdict(told), "was": now.mean, "held": held}
    predicted = f"{100 * told.value:.1f} % ({100 * told.low:.1f} to {100 * told.high:.1f})"
    return plain, [
        *said,
        f"Back-test: fitted on up to {back[-1]:,.0f} clips, the curve predicted {predicted} for {largest:,.0f}; "
        f"{100 * now.mean:.1f} % was measured, "
        + ("within the forecast." if held else "outside the forecast: do not rely on it."),
        f"The back-test spans a factor of {factor:.0f}; no factor of {_TIMES} can be checked here, and the "
        "forecast is for clips of the same kind.",
    ]


def outlook(times: int, forecast: Forecast, gain: Forecast) -> str:
    """Verdict on `times` as many clips, from the forecast of recall and of its gain."""
    interval = f"{100 * forecast.low:.0f} to {100 * forecast.high:.0f} %"
    head = f"{times} times as many ({forecast.pairs:,.0f}) would bring it to {100 * forecast.value:.0f} % ({interval})"
    if forecast.high - forecast.low > _WIDE:
        return f"{head}: too uncertain, measure more sizes or more seeds."
    if gain.high < _NO_GAIN:
        return f"{head}: no gain worth having."
    if gain.low < _NO_GAIN:
        return f"{head}: a gain is likely, none at all is possible."
    return f"{head}: {100 * gain.low:.0f} to {100 * gain.high:.0f} points more."


def _draw(
    axes: Any, *, points: Sequence[tuple[float, SeedEstimate]], curve: _LearningCurve, options: DataStudyOptions
) -> None:
    x = np.geomspace(points[0][0], _TIMES * points[-1][0], 40)
    told = [curve.at(n) for n in x]
    low, middle, high = (100 * np.array([getattr(f, side) for f in told]) for side in ("low", "value", "high"))
    figure.band(axes, x, middle, low, high, name="fitted, 95 %")
    shown = [(n, e.within(0.0, 1.0)) for n, e in points]
    figure.curves(
        axes, {"measured": shown}, x="training clips", y=f"held-out {options.measure}, %", scale=100, lines=False
    )
    ticks = [n for n, _ in points] + [_TIMES * points[-1][0]]
    axes.set_xticks(ticks, [f"{n:,.0f}" for n in ticks])


# Three families of curves:
#
#     power      R(n) = c - a n^-b            0 < c <= 1: levels off below 1, which few sizes can show
#     certain    R(n) = 1 - a n^-b            errors fall to zero as a power of n
#     logistic   R(n) = 1 / (1 + exp(-(a + b log n)))
#
# No data shows which of them holds beyond the largest size, so the forecast pools them: each is fitted to many redrawn
# sets of means (noise of the size of the seeds' spread and the misfit), and the interval covers all families whose fit
# is not clearly worse than the best. It cannot foresee a change of slope that no measured size shows.

# Sizes that three parameters need.
FEWEST = 4
_DRAWS = 100
# Times the misfit of the best family: clearly worse.
_WORSE = 2.0
# Smallest standard error of a mean of recall.
_CERTAIN = 1e-3


@dataclass(frozen=True)
class Forecast:
    pairs: float
    value: float
    low: float
    """95 % interval over redrawn means and families."""
    high: float


@dataclass(frozen=True)
class _LearningCurve:
    """Fitted curves, to be evaluated at any number of pairs."""

    curves: tuple[tuple[str, np.ndarray], ...]
    """(family, parameters) of every redrawn fit that counts."""
    families: tuple[str, ...]
    """Families that fit."""
    misfit: float
    """Root mean square residual of the best family, of recall."""

    def at(self, pairs: float) -> Forecast:
        return _forecast(pairs, [_FAMILIES[name].of(np.log(pairs), p) for name, p in self.curves])

    def gain(self, start: float, end: float) -> Forecast:
        """Gain from `start` to `end` pairs, curve by curve: sharper than a difference of intervals."""
        gains = [_FAMILIES[n].of(np.log(end), p) - _FAMILIES[n].of(np.log(start), p) for n, p in self.curves]
        return _forecast(end, gains)


def _forecast(pairs: float, values: Sequence[np.ndarray]) -> Forecast:
    # The median: one of the redrawn curves may run away.
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return Forecast(float(pairs), float(middle), float(low), float(high))


@dataclass(frozen=True)
class _Family:
    of: Callable[[np.ndarray | float, np.ndarray], np.ndarray]
    """(log n, parameters) -> recall."""
    start: Callable[[np.ndarray, np.ndarray], list[float]]
    bounds: tuple[list[float], list[float]]


def _line(x: np.ndarray, y: np.ndarray) -> list[float]:
    slope, level = np.polyfit(x, y, 1)
    return [float(level), float(slope)]


def _falling(x: np.ndarray, y: np.ndarray, top: float) -> list[float]:
    """Approximate (log a, b) of top - a n^-b: a start for the fit."""
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
        lambda x, p: 1 / (1 + np.exp(-(p[0] + p[1] * x))),
        lambda x, y: _line(x, -np.log(1 / np.clip(y, 1e-3, 1 - 1e-3) - 1)),
        ([-50.0, 0.0], [50.0, 8.0]),
    ),
}


def fit_curve(
    points: Sequence[tuple[float, SeedEstimate]], values: Sequence[Sequence[float]], *, seed: int = 0
) -> _LearningCurve:
    """The curves through `points`, (pairs, mean over seeds), all of equal weight; `values` are those of each seed."""
    if len(points) < FEWEST:
        raise ValueError(f"a curve needs {FEWEST} numbers of pairs; got {len(points)}")
    x, y = np.log([n for n, _ in points]), np.array([e.mean for _, e in points])
    fits = {name: _fitted(family, x, y) for name, family in _FAMILIES.items()}
    # Each family's misfit per degree of freedom: three parameters always come nearer than two.
    misfits = {
        name: math.sqrt(((_FAMILIES[name].of(x, p) - y) ** 2).sum() / max(1, len(x) - len(p)))
        for name, p in fits.items()
    }
    # One deviation for all sizes: the few seeds of a size say little about their own spread.
    deviations = [np.var(own, ddof=1) for own in values if len(own) > 1]
    pooled = math.sqrt(float(np.mean(deviations))) if deviations else 0.02
    noise = np.array([max(_CERTAIN, pooled / math.sqrt(len(own))) for own in values])
    best = min(misfits.values())
    # A family that fits clearly worse says nothing about larger sizes.
    kept = [name for name, misfit in misfits.items() if misfit <= _WORSE * max(best, noise.max(), _CERTAIN)]
    spread = np.sqrt(noise**2 + best**2)
    rng = np.random.default_rng(seed)
    # Noise of both kinds: what seeds change, and what no family can fit.
    redrawn = y + spread * rng.standard_normal((_DRAWS, len(y)))
    curves = tuple((name, _fitted(_FAMILIES[name], x, own, fits[name])) for name in kept for own in redrawn)
    return _LearningCurve(curves, tuple(kept), best)


def _fitted(family: _Family, x: np.ndarray, y: np.ndarray, start: np.ndarray | None = None) -> np.ndarray:
    from scipy import optimize

    low, high = (np.array(bound) for bound in family.bounds)
    at = np.clip(family.start(x, y) if start is None else start, low + 1e-6, high - 1e-6)
    # Loose tolerances: hundreds of redrawn fits, whose scatter is far larger.
    return optimize.least_squares(
        lambda p: family.of(x, p) - y, at, bounds=(low, high), ftol=1e-6, xtol=1e-5, max_nfev=60
    ).x
