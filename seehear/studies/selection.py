"""Selection of training clips, and a study that compares the ways to select.

    kdpp      greedy k-DPP on the latents of one modality, as FuseMix's authors select pairs (`kdpp.py`)
    quality   clips whose modalities agree best under cross-fitted maps (`crossfit.agreement`)
    random    a fixed random draw

The study trains on every selection at every size and measures on held-out clips: FuseMix's study of quantity, quality
and diversity on the user's data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seehear.errors import SeehearError, check_range, unknown
from seehear.inputs.latents import LatentData
from seehear.library.tables import LibraryTables
from seehear.nn.random import seed_of
from seehear.progress import say
from seehear.studies import table as figure
from seehear.studies.crossfit import agreement
from seehear.studies.grid import Cell, Result, Value, run_grid
from seehear.studies.kdpp import greedy_kdpp
from seehear.studies.table import Study, Table, tabulate
from seehear.studies.trained import (
    about_data,
    check_held_out,
    check_model,
    latents_of,
    measured,
    training_part,
    training_rows,
)
from seehear.train.files import write_text
from seehear.types import Modality

By = Literal["kdpp", "quality", "random"]
_YES = "yes"
_GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class SelectOptions:
    by: By = "kdpp"
    """kdpp: diverse clips. quality: clips whose modalities agree. random: a fixed random draw, the control."""
    modality: Modality = ""
    """Modality whose latents should be diverse; by default the first of video, audio, text in the library."""
    pool: int = 100_000
    """Maximal number of candidates for the k-DPP; a fixed random sample of more training clips."""
    encoders: tuple[str, ...] = ()
    """Names of encoders; all that the library has latents of when not given."""
    seed: int = 0
    """Seed of every draw."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "pool")


@dataclass(frozen=True)
class Selection:
    ids: list[str]
    """Clips in order of choice: the first half is the selection of half as many."""
    said: str

    def plain(self) -> dict[str, Any]:
        return {"clips": self.ids, "said": self.said}

    def __str__(self) -> str:
        return "\n".join(self.ids)


def select(library: LibraryTables, clips: int, options: SelectOptions | None = None) -> Selection:
    """Selection among the training clips with two modalities; held-out clips are not read."""
    options = options or SelectOptions()
    data = latents_of(library, options.encoders)
    rows = choose(data, training_rows(data), clips, options)
    said = f"{len(rows):,} of {len(training_rows(data)):,} training clips by {options.by}"
    return Selection([str(name) for name in data.ids[rows]], said)


def choose(data: LatentData, rows: np.ndarray, k: int, options: SelectOptions) -> np.ndarray:
    """k of `rows`, row numbers of `data`, in order of choice."""
    if not 0 < k <= len(rows):
        raise SeehearError(f"{k:,} clips are asked for, there are {len(rows):,} training clips with two modalities")
    rng = np.random.default_rng(seed_of(options.seed, "selection"))
    if options.by == "random":
        return rng.permutation(rows)[:k]
    if options.by == "quality":
        scores = agreement(data.take(rows), seed=options.seed)
        return rows[np.argsort(-scores, kind="stable")[:k]]
    if options.by != "kdpp":
        raise unknown("way to select", options.by, ("kdpp", "quality", "random"))
    return _diverse(data, rows, k, options, rng)


def mark(library: LibraryTables, ids: Sequence[str], column: str) -> str:
    """Stores the selection in the clips' column `column`; returns the SQL condition that trains on it and keeps all
    held-out clips."""
    chosen, changed = set(ids), []
    for clip in library.clips():
        meta = {name: value for name, value in clip.meta.items() if name != column}
        meta |= {column: _YES} if clip.id in chosen else {}
        if meta != clip.meta:
            changed.append(replace(clip, meta=meta))
    library.put_clips(changed)
    text = f'"{column}": "{_YES}"'
    return f"split <> 'train' OR contains(meta, '{text}')"


def write_ids(path: Path, selection: Selection) -> None:
    """Writes one id per line, in order of choice."""
    write_text(path, "\n".join(selection.ids) + "\n")


def _diverse(
    data: LatentData, rows: np.ndarray, k: int, options: SelectOptions, rng: np.random.Generator
) -> np.ndarray:
    modality = options.modality or data.modalities[0]
    if modality not in data.modalities:
        raise unknown("modality", modality, data.modalities)
    pool = rows[data.has(modality).numpy()[rows]]
    if len(pool) > options.pool:
        say(f"choosing among {options.pool:,} of {len(pool):,} clips, a fixed draw: more with --pool")
        pool = np.sort(rng.permutation(pool)[: options.pool])
    if k > len(pool):
        raise SeehearError(
            f"{k:,} clips are asked for, there are {len(pool):,} candidates: raise --pool, or ask for fewer"
        )
    width = sum(data.widths[modality])
    if (size := 4 * len(pool) * (2 * width + k)) > 64 * _GIB:
        raise SeehearError(f"a k-DPP of {k:,} among {len(pool):,} takes {size / _GIB:.0f} GiB: lower --pool or --clips")
    found = pool[greedy_kdpp(data.take(pool).one_each(modality), k).chosen]
    if missing := k - len(found):
        say(f"after {len(found):,} clips every {modality} repeats one that is chosen: the other {missing:,} are drawn")
        found = np.concatenate([found, rng.permutation(np.setdiff1d(pool, found))[:missing]])
    return found


# -- the study ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SelectionStudyOptions:
    sizes: tuple[int, ...] = ()
    """Numbers of training clips; an eighth, a quarter and half of all when not given."""
    seeds: int = 3
    """Number of runs; each selects among its own random `share` of the training recordings."""
    share: float = 0.8
    """Share of the training recordings that a seed selects among; with 1 every k-DPP is the same."""
    encoders: tuple[str, ...] = ()
    """Names of encoders; all that the library has latents of when not given."""
    model: str = "linear"
    """Model to train: closed, linear or base."""
    redo: bool = False
    """Measure again what the folder holds of other data or options."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "seeds", "sizes")
        check_range(self, "(0, 1]", "share")
        check_model(self.model)


def selection_study(library: LibraryTables, folder: Path, options: SelectionStudyOptions | None = None) -> Study:
    """Recall on the test split against number of training clips, for each way to select them."""
    figure.require_figures()
    options = options or SelectionStudyOptions()
    data = latents_of(library, options.encoders)
    check_held_out(data)
    rows = training_rows(data)
    sizes = options.sizes or tuple(len(rows) * share // 8 for share in (1, 2, 4))
    if min(sizes) < 2:
        raise SeehearError(f"the study needs 16 training clips with two modalities, or --sizes; there are {len(rows)}")
    diverse = {f"k-DPP on {m}": SelectOptions(by="kdpp", modality=m) for m in data.modalities}
    ways = {"random": SelectOptions(by="random"), **diverse, "quality": SelectOptions(by="quality")}
    seeds = range(options.seeds)
    groups = data.groups.numpy()[rows]
    names = np.unique(groups)
    pools = []  # the clips of a random share of the recordings, by seed
    for seed in seeds:
        order = np.random.default_rng(seed_of(seed, "pool")).permutation(names)
        pools.append(rows[np.isin(groups, order[: max(1, round(options.share * len(names)))])])
    if max(sizes) > (fewest := min(map(len, pools))):
        raise SeehearError(f"{max(sizes):,} clips cannot be chosen among the {fewest:,} that a seed sees")

    # Selections are nested: the longest one is computed once for all sizes.
    @cache
    def ordered(way: str, seed: int) -> np.ndarray:
        return choose(data, pools[seed], max(sizes), replace(ways[way], seed=seed))

    def run(cell: Cell) -> dict[str, float]:
        seed = int(cell["seed"] or 0)
        chosen = pools[seed]
        if cell["chosen by"] != _ALL:
            chosen = ordered(str(cell["chosen by"]), seed)[: int(cell["clips"] or 0)]
        work = folder / "runs" / f"{cell['chosen by']} {cell['clips']} {seed}".replace(" ", "-")
        return measured(training_part(data, chosen), options.model, seed=seed, folder=work)

    cells: list[Cell] = [{"chosen by": w, "clips": n, "seed": s} for n in sizes for w in ways for s in seeds]
    cells += [{"chosen by": _ALL, "clips": round(options.share * len(rows)), "seed": s} for s in seeds]
    about = about_data(data) | {"study": "selection", "model": options.model, "share": options.share}
    results = run_grid(folder, cells, run, about=about, redo=options.redo)
    table = _table(results, options, test=about["data"]["test"])
    study = Study(folder, (table,), tuple(_words(table, sizes)), tuple(results), about)
    study.save()
    figure.save_figure(folder / "selection", partial(_draw, table=table, ways=list(ways)))
    return study


_ALL = "all of them"
_SHOWN = ("R@10", "R@1", "MRR")


def _table(results: Sequence[Result], options: SelectionStudyOptions, *, test: int) -> Table:
    notes = (
        f"Trained ({options.model}) on the chosen training clips, measured on {test:,} test clips: mean of both "
        "directions.",
        f"Each seed chooses among its own {options.share:.0%} of the training recordings.",
    )
    return tabulate(results, measures=_SHOWN, title="Which clips to train on", notes=notes, percent=True)


def _words(table: Table, sizes: Sequence[int]) -> list[str]:
    """Comparison of each way with the random draw; they differ if their intervals do not overlap."""
    said = []
    for n in sizes:
        here: dict[str, Value] = {"chosen by": "random", "clips": n}
        base = table.find(**here).estimates.get("R@10")
        for row in table.rows:
            own = row.estimates.get("R@10")
            way = row.settings["chosen by"]
            if base is None or own is None or row.settings["clips"] != n or way == "random":
                continue
            apart = own.low > base.high or own.high < base.low
            verdict = ("above" if own.mean > base.mean else "below") if apart else "not told apart from"
            said.append(
                f"{n:,} clips by {way}: R@10 {100 * own.mean:.1f}, {verdict} the random draw ({100 * base.mean:.1f})."
            )
    return said


def _draw(axes: Any, *, table: Table, ways: Sequence[str]) -> None:
    series = {
        way: [
            (float(row.settings["clips"] or 0), row.estimates["R@10"].within(0.0, 1.0))
            for row in table.rows
            if row.settings["chosen by"] == way and "R@10" in row.estimates
        ]
        for way in [*ways, _ALL]
    }
    figure.curves(axes, series, x="training clips", y="held-out R@10, %", scale=100)
