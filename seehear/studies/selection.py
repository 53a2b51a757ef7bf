"""Selection of training clips, and a study that compares the ways to select.

    kdpp      greedy k-DPP on the latents of one modality, as FuseMix's authors select pairs
    quality   clips whose modalities agree best under cross-fitted maps (`trained.agreement`)
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
from seehear.progress import progress, say
from seehear.studies import table as figure
from seehear.studies.grid import Cell, Result, Value, run_grid
from seehear.studies.table import Study, Table, tabulate
from seehear.studies.trained import (
    StudyOptions,
    about_data,
    agreement,
    check_held_out,
    latents_of,
    measured,
    training_part,
    training_rows,
)
from seehear.train.files import write_text
from seehear.types import Float, Int, Modality

By = Literal["kdpp", "quality", "random"]
_YES, _ALL = "yes", "all of them"
_SHOWN = ("R@10", "R@1", "MRR")
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
class _Selection:
    ids: list[str]
    """Clips in order of choice: the first half is the selection of half as many."""
    said: str

    def plain(self) -> dict[str, Any]:
        return {"clips": self.ids, "said": self.said}

    def __str__(self) -> str:
        return "\n".join(self.ids)


def select(library: LibraryTables, clips: int, options: SelectOptions | None = None) -> _Selection:
    """Selection among the training clips with two modalities; held-out clips are not read."""
    options = options or SelectOptions()
    data = latents_of(library, options.encoders)
    rows = choose(data, training_rows(data), clips, options)
    said = f"{len(rows):,} of {len(training_rows(data)):,} training clips by {options.by}"
    return _Selection([str(name) for name in data.ids[rows]], said)


def choose(data: LatentData, rows: np.ndarray, k: int, options: SelectOptions) -> np.ndarray:
    """k of `rows`, row numbers of `data`, in order of choice."""
    if not 0 < k <= len(rows):
        raise SeehearError(f"{k:,} clips are asked for, there are {len(rows):,} training clips with two modalities")
    rng = np.random.default_rng(seed_of(options.seed, "selection"))
    if options.by == "random":
        return rng.permutation(rows)[:k]
    if options.by == "quality":
        # A stable sort: clips of equal agreement stay in the order of the data.
        scores = agreement(data.take(rows), seed=options.seed)
        return rows[np.argsort(-scores, kind="stable")[:k]]
    if options.by != "kdpp":
        raise unknown("way to select", options.by, ("kdpp", "quality", "random"))
    modality = options.modality or data.modalities[0]
    if modality not in data.modalities:
        raise unknown("modality", modality, data.modalities)
    pool = rows[data.has(modality).numpy()[rows]]
    if len(pool) > options.pool:
        say(f"choosing among {options.pool:,} of {len(pool):,} clips, a fixed draw: more with --pool")
        # In the order of the data: ties of the k-DPP go to the first row.
        pool = np.sort(rng.permutation(pool)[: options.pool])
    if k > len(pool):
        raise SeehearError(
            f"{k:,} clips are asked for, there are {len(pool):,} candidates: raise --pool, or ask for fewer"
        )
    width = sum(data.widths[modality])
    if (size := 4 * len(pool) * (2 * width + k)) > 64 * _GIB:
        raise SeehearError(f"a k-DPP of {k:,} among {len(pool):,} takes {size / _GIB:.0f} GiB: lower --pool or --clips")
    chosen = pool[greedy_kdpp(data.take(pool).one_each(modality), k).chosen]
    if missing := k - len(chosen):
        say(f"after {len(chosen):,} clips every {modality} repeats one that is chosen: the other {missing:,} are drawn")
        chosen = np.concatenate([chosen, rng.permutation(np.setdiff1d(pool, chosen))[:missing]])
    return chosen


def mark(library: LibraryTables, ids: Sequence[str], column: str) -> str:
    """Stores the selection in the clips' column `column`; returns the SQL condition that trains on it and keeps all
    held-out clips."""
    chosen, changed = set(ids), []
    # Every clip is visited: an earlier selection in this column has to go.
    for clip in library.clips():
        meta = {name: value for name, value in clip.meta.items() if name != column}
        meta |= {column: _YES} if clip.id in chosen else {}
        if meta != clip.meta:
            changed.append(replace(clip, meta=meta))
    library.put_clips(changed)
    # Metadata is stored as JSON text, which SQL can only search.
    text = f'"{column}": "{_YES}"'
    return f"split <> 'train' OR contains(meta, '{text}')"


def write_ids(path: Path, selection: _Selection) -> None:
    """Writes one id per line, in order of choice."""
    write_text(path, "\n".join(selection.ids) + "\n")


# -- the study ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class SelectionStudyOptions(StudyOptions):
    sizes: tuple[int, ...] = ()
    """Numbers of training clips; an eighth, a quarter and half of all when not given."""
    share: float = 0.8
    """Random share of the training recordings that a seed selects among; with 1 every k-DPP is the same."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "[1, inf)", "sizes")
        check_range(self, "(0, 1]", "share")


def selection_study(library: LibraryTables, folder: Path, options: SelectionStudyOptions) -> Study:
    """Recall on the test split against number of training clips, for each way to select them."""
    figure.require_figures()
    data = latents_of(library, options.encoders)
    check_held_out(data)
    rows = training_rows(data)
    sizes = options.sizes or tuple(len(rows) * share // 8 for share in (1, 2, 4))
    if min(sizes) < 2:
        raise SeehearError(f"the study needs 16 training clips with two modalities, or --sizes; there are {len(rows)}")
    ways = {"random": SelectOptions(by="random")}
    ways |= {f"k-DPP on {m}": SelectOptions(by="kdpp", modality=m) for m in data.modalities}
    ways |= {"quality": SelectOptions(by="quality")}
    seeds, groups = range(options.seeds), data.groups.numpy()[rows]
    names = np.unique(groups)
    # The clips of a random share of the recordings, by seed.
    orders = [np.random.default_rng(seed_of(seed, "pool")).permutation(names) for seed in seeds]
    pools = [rows[np.isin(groups, order[: max(1, round(options.share * len(names)))])] for order in orders]
    if max(sizes) > (fewest := min(map(len, pools))):
        raise SeehearError(f"{max(sizes):,} clips cannot be chosen among the {fewest:,} that a seed sees")

    # Selections are nested: the longest one is computed once for all sizes.
    @cache
    def ordered(way: str, seed: int) -> np.ndarray:
        return choose(data, pools[seed], max(sizes), replace(ways[way], seed=seed))

    def run(cell: Cell) -> dict[str, float]:
        way, seed = str(cell["chosen by"]), int(cell["seed"] or 0)
        chosen = pools[seed] if way == _ALL else ordered(way, seed)[: int(cell["clips"] or 0)]
        work = folder / "runs" / f"{way} {cell['clips']} {seed}".replace(" ", "-")
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


# ----------------------------------------------------------------------------------------------------------------------
# Greedy k-DPP: repeatedly the item that differs most from those chosen.
#
#     L_ij = (1 + cos(z_i, z_j))^2                         rank far above the width of z, unlike the cosine alone
#     next j = argmax det L[S + j] / det L[S] = argmax d_j^2
#     e_i = (L_ji - <c_j, c_i>) / d_j,   c_i <- (c_i, e_i),   d_i^2 <- d_i^2 - e_i^2     (arXiv 1709.05135)
#
# This is exactly the greedy choice, as FuseMix's authors select pairs; ties go to the first item. Unlike theirs,
# updates are lazy: d_i^2 only falls, so an old value is an upper bound. After each choice only a few hundred promising
# items are updated; the rest follows for all choices at once, by matrix products, when the best of them falls to the
# bound of the rest. No kernel matrix is held: memory is n x (D + k) numbers.

PROMISING, CHUNK = 512, 8192  # items that are updated after each choice; rows of a lazy update at a time
# Gain, at most 4, below which only float32 rounding is left.
NOTHING = 1e-5


@dataclass(frozen=True)
class _Diverse:
    chosen: Int[np.ndarray, " k"]
    """Row numbers in order of choice; fewer than k if all other rows repeat chosen ones."""
    gains: Float[np.ndarray, " k"]
    """d^2 of each at its choice; its logarithm is the growth of the log determinant."""


def greedy_kdpp(latents_ND: Float[np.ndarray, "n d"], k: int) -> _Diverse:
    """Greedy maximum of det L[S] over k rows, computed in float64 for float64 latents, else in float32."""
    if not 0 < k <= len(latents_ND):
        raise ValueError(f"k must be in 1..{len(latents_ND)}; got {k}")
    state = _State(latents_ND, k)
    with progress("choosing", k) as p:
        while state.count < k and state.choose():
            p.advance()
    return _Diverse(state.chosen[: state.count].copy(), state.gains[: state.count].copy())


class _State:
    """Rows of `c` and `d2` account for the first `synced` choices, those in `near` for all `count` of them."""

    def __init__(self, latents_ND: np.ndarray, k: int):
        dtype: type = np.float64 if latents_ND.dtype == np.float64 else np.float32
        x: np.ndarray = np.array(latents_ND, dtype)
        norm_N1 = np.linalg.norm(x, axis=1, keepdims=True)
        self.x: np.ndarray = x / norm_N1.clip(1e-12)
        self.c: np.ndarray = np.zeros((len(x), k), dtype)
        # L_ii, without its rounding: equal rows must tie.
        self.d2: np.ndarray = np.where(norm_N1[:, 0] > 0, 4, 1).astype(dtype)
        self.chosen, self.gains = np.zeros(k, np.int64), np.zeros(k, np.float64)
        self.count = self.synced = 0
        self.near = np.empty(0, np.int64)
        self.bound = np.inf  # largest d2 outside `near`

    def choose(self) -> bool:
        """Chooses one more row; False if none adds anything."""
        best = int(self.near[self.d2[self.near].argmax()]) if len(self.near) else -1
        if best < 0 or self.d2[best] <= self.bound:
            self._sync()
            best = int(self.d2.argmax())
        gain = float(self.d2[best])
        if gain <= NOTHING:
            return False
        t = self.count
        self.chosen[t], self.gains[t] = best, gain
        if best not in self.near:
            self.near = np.sort(np.append(self.near, best))
        kernel: np.ndarray = (1 + self.x[self.near] @ self.x[best]) ** 2
        e = (kernel - self.c[self.near, :t] @ self.c[best, :t]) / np.sqrt(gain)
        self.c[self.near, t] = e
        self.d2[self.near] -= e**2
        # Never chosen again.
        self.d2[best] = -np.inf
        self.count += 1
        return True

    def _sync(self) -> None:
        """Updates all rows for all choices, and selects the promising ones, sorted so that ties go to the first."""
        s, t = self.synced, self.count
        if t > s:
            block = self.chosen[s:t]
            # The chosen rows of c are triangular: solving with them equals one step after the other.
            inverse = np.linalg.inv(self.c[block, s:t].astype(np.float64)).T.astype(self.c.dtype)
            stale = np.ones(len(self.x), bool)
            stale[self.near] = False
            stale[self.chosen[:t]] = False
            rows = np.flatnonzero(stale)
            for at in range(0, len(rows), CHUNK):
                some = rows[at : at + CHUNK]
                kernel = (1 + self.x[some] @ self.x[block].T) ** 2
                kernel -= self.c[some, :s] @ self.c[block, :s].T
                e = kernel @ inverse
                self.c[some, s:t] = e
                self.d2[some] -= np.einsum("nb,nb->n", e, e)
            self.synced = t
        size = min(PROMISING, len(self.d2))
        order = np.argpartition(-self.d2, size - 1)
        self.near, outside = np.sort(order[:size]), order[size:]
        self.bound = float(self.d2[outside].max()) if len(outside) else -np.inf
