"""Would more pairs help? Recall against number of pairs, and what ten times as many would bring.

Each seed puts the training recordings in an order of its own; its subsets are the first so many of them, each inside
the next. What is learned from each is measured on the same test clips. Curves are fitted to the means (`curve.py`), and
tried first on what is known: fitted to the smaller sizes, do they foretell the largest?
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError, check_range
from seehear.inputs.latents import LatentData
from seehear.library.tables import Library
from seehear.nn.random import seed_of
from seehear.studies import figure
from seehear.studies.curve import FEWEST, Curve, Forecast, fit_curve
from seehear.studies.grid import Cell, Result, run_grid
from seehear.studies.table import Estimate, Study, estimate, tabulate
from seehear.studies.trained import (
    MEASURES,
    about_data,
    check_held_out,
    check_model,
    latents_of,
    measured,
    training_part,
    training_rows,
)

_SMALLEST = 30  # pairs that a covariance can be taken of at all
_TIMES = 10
_WIDE = 0.25  # of recall: an interval that says nothing one could act on
_NO_GAIN = 0.01
_CLOSE = 0.005  # of recall: what a forecast may miss by and still be right
_FULL = 0.97


@dataclass(frozen=True, kw_only=True)
class DataStudyOptions:
    sizes: tuple[int, ...] = ()
    """Numbers of training clips; all of them, and that halved five times, when not given."""
    seeds: int = 5
    """Orders of the recordings, each trained with its own seed."""
    encoders: tuple[str, ...] = ()
    """Names of encoders; all that the library has latents of when not given."""
    model: str = "linear"
    """Model to train: closed, linear or base."""
    measure: str = "R@10"
    """Measure of the curve: R@1, R@10 or MRR."""
    redo: bool = False
    """Measure again what the folder holds of other data or options."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "seeds", "sizes")
        check_model(self.model)
        if self.measure not in MEASURES:
            raise SeehearError(f"unknown measure {self.measure!r} (known: {', '.join(MEASURES)})")


def data_study(library: Library, folder: Path, options: DataStudyOptions | None = None) -> Study:
    """Recall on the test split against number of training clips, and what more would bring."""
    figure.require_figures()
    options = options or DataStudyOptions()
    return learning_curve(latents_of(library, options.encoders), folder, options)


def learning_curve(data: LatentData, folder: Path, options: DataStudyOptions) -> Study:
    """The same for latents that are at hand."""
    check_held_out(data)
    rows = training_rows(data)
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
    points, values = _points(results, sizes, options.measure)
    whole = fit_curve(points, values)
    forecasts = _forecasts(points, values, whole)
    study = Study(folder, (table,), tuple(_words(forecasts, options)), tuple(results), about, {"forecasts": forecasts})
    study.save()
    figure.save_figure(folder / "data", partial(_draw, points=points, curve=whole, options=options))
    return study


def nested(data: LatentData, rows: np.ndarray, n: int, seed: int) -> np.ndarray:
    """The clips of the first recordings in an order drawn by the seed, n or a few more; a smaller n gives a part of
    what a larger one does."""
    groups = data.groups.numpy()[rows]
    names, count = np.unique(groups, return_counts=True)
    order = np.random.default_rng(seed_of(seed, "order of recordings")).permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(count[order]), n)) + 1
    return rows[np.isin(groups, names[order[:enough]])]


def _points(
    results: Sequence[Result], sizes: Sequence[int], measure: str
) -> tuple[list[tuple[float, Estimate]], list[list[float]]]:
    """(clips, mean) and the single values, of the sizes that were measured."""
    points, values = [], []
    for n in sizes:
        own = [r.values for r in results if r.cell["clips"] == n and math.isfinite(r.values.get(measure, math.nan))]
        if own:
            values.append([v[measure] for v in own])
            points.append((float(np.mean([v["clips"] for v in own])), estimate(values[-1])))
    if len(points) < FEWEST:
        raise SeehearError(f"only {len(points)} numbers of clips could be measured, a curve needs {FEWEST}")
    return points, values


def _forecasts(
    points: Sequence[tuple[float, Estimate]], values: Sequence[Sequence[float]], whole: Curve
) -> dict[str, Any]:
    """What more would bring; and, where there are sizes enough, whether the curve of the smaller sizes foretold the
    largest."""
    largest, now = points[-1]
    found: dict[str, Any] = {"now": {"pairs": largest, **asdict(now)}, "families": whole.families}
    found |= {"misfit": whole.misfit}
    for times in (2, _TIMES):
        found[f"times {times}"] = asdict(whole.at(times * largest))
        found[f"gain of times {times}"] = asdict(whole.gain(largest, times * largest))
    back = [n for n, _ in points if n <= largest / 2]
    if len(back) >= FEWEST:
        told = fit_curve(points[: len(back)], values[: len(back)]).at(largest)
        found["back-test"] = {"fitted up to": back[-1], "factor": largest / back[-1], **asdict(told), "was": now.mean}
        low, high = (now.mean, now.mean) if math.isnan(now.low) else (now.low, now.high)
        found["back-test"]["held"] = told.low - _CLOSE <= high and low <= told.high + _CLOSE
    return found


def _words(found: dict[str, Any], options: DataStudyOptions) -> list[str]:
    name, now = options.measure, found["now"]
    said = [f"With {now['pairs']:,.0f} training clips {name} is {100 * now['mean']:.1f} %."]
    if now["mean"] > _FULL:
        said.append(
            f"{name} has no room left to grow here: ask for a harder measure (--measure R@1) or more test clips."
        )
    for times in (2, _TIMES):
        said.append(_outlook(times, Forecast(**found[f"times {times}"]), Forecast(**found[f"gain of times {times}"])))
    test = found.get("back-test")
    if test is None:
        said.append("There are too few sizes to try the forecast on what is known: take it as a guess.")
    else:
        told = f"{100 * test['value']:.1f} % ({100 * test['low']:.1f} to {100 * test['high']:.1f})"
        said.append(
            f"Tried on what is known: fitted on up to {test['fitted up to']:,.0f} clips, the curve foretold {told} for "
            f"{now['pairs']:,.0f}; measured were {100 * test['was']:.1f} %, "
            + ("in keeping with it." if test["held"] else "not in keeping with it: do not build on the forecast.")
        )
        said.append(
            f"That step is {test['factor']:.0f} times; {_TIMES} times lies further out than anything here can check, "
            "and holds for more clips of the same kind only."
        )
    return said


def _outlook(times: int, then: Forecast, gain: Forecast) -> str:
    interval = f"{100 * then.low:.0f} to {100 * then.high:.0f} %"
    head = f"{times} times as many ({then.pairs:,.0f}) would bring it to {100 * then.value:.0f} % ({interval})"
    if then.high - then.low > _WIDE:
        return f"{head}: the fit cannot tell, measure more sizes or more seeds."
    if gain.high < _NO_GAIN:
        return f"{head}: no gain worth having."
    if gain.low < _NO_GAIN:
        return f"{head}: a gain is likely, none at all is possible."
    return f"{head}: {100 * gain.low:.0f} to {100 * gain.high:.0f} points more."


def _draw(axes: Any, *, points: Sequence[tuple[float, Estimate]], curve: Curve, options: DataStudyOptions) -> None:
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
