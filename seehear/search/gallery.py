"""Galleries of a search: the rows of an index, exact in memory, or by Lance's approximate index."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import cached_property
from math import ceil
from typing import Protocol

import numpy as np

from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables, Vectors, one_of, quote, table_name
from seehear.nn.unit import unit
from seehear.search.filters import ASKED, Allowed
from seehear.search.index import nearest_approximate
from seehear.types import Bool, Float, Int, Modality

Found = tuple[str, int, Modality, float]
"""Clip id, item (number of the text), matching modality, score."""
# Rows read first under a filter.
_FIRST = 256
# Clips that pass a filter up to which an approximate gallery reads their rows by id.
_READ_BY_ID = 10_000


class Gallery(Protocol):
    means: dict[Modality, np.ndarray]
    """(E,) mean by modality that is subtracted from the vectors; empty without gap removal."""

    def rows(
        self, query_E: np.ndarray, k: int, modalities: Sequence[Modality], only: set[str] | None = None
    ) -> list[Found]:
        """The k best rows, best first. `only`: clips of the rows; rows of other clips may be among them where leaving
        them out costs more than reading them."""
        ...

    def vectors_of(self, clip: str) -> dict[Modality, np.ndarray]:
        """(rows, E) vectors of one clip by modality."""
        ...


def nearest_clips(
    gallery: Gallery, query_E: np.ndarray, k: int, modalities: Sequence[Modality], allowed: Allowed | None
) -> list[Found]:
    """The best row of each of the k best clips, best first."""
    # Rows are read in growing numbers until k of their clips pass: filtering a few rows is faster than filtering all.
    want, only = 4 * k if allowed is None else max(4 * k, _FIRST), None
    while True:
        rows = gallery.rows(query_E, want, modalities, only)
        found: dict[str, Found] = {}
        for row in rows:
            found.setdefault(row[0], row)
        if allowed is not None:
            fitting = allowed.of(found) if only is None else only
            found = {clip: row for clip, row in found.items() if clip in fitting}
        if len(found) >= k or len(rows) < want:
            return list(found.values())[:k]
        # As many rows as should hold k fitting clips, by the share of those that were read, and half as many more.
        # Half a clip where none fits: the next number stays finite.
        want = ceil(1.5 * want * k / max(len(found), 0.5))
        if allowed is not None and want > ASKED:
            only = allowed.all


class ExactGallery:
    """All vectors in memory. With `gap`, each modality's mean over the training clips is subtracted from its
    vectors."""

    def __init__(self, library: LibraryTables, name: str, *, gap: bool = False):
        rows = library.vectors("vectors", name).read()
        self.ids = np.asarray(rows.ids, dtype=object)
        self.items = rows.items
        self.kinds = tuple(dict.fromkeys(rows.modalities))
        self.kind_of_row = np.array([self.kinds.index(m) for m in rows.modalities], np.int8)
        vectors_NE = unit(rows.vectors)
        self.means = _means(library, rows, vectors_NE) if gap else {}
        # The difference of two unit vectors is no unit vector.
        for m, mean_E in self.means.items():
            own = self.kind_of_row == self.kinds.index(m)
            vectors_NE[own] = unit(vectors_NE[own] - mean_E)
        self.vectors_NE = vectors_NE
        # Rows are sorted by clip: another one begins wherever the id changes.
        starts = np.concatenate([[True], self.ids[1:] != self.ids[:-1]]) if len(self.ids) else np.zeros(0, bool)
        self.clip_of_row = np.cumsum(starts) - 1
        self.clips = self.ids[starts]

    @cached_property
    def place(self) -> dict[str, int]:
        return {clip: n for n, clip in enumerate(self.clips.tolist())}

    def rows(
        self, query_E: np.ndarray, k: int, modalities: Sequence[Modality], only: set[str] | None = None
    ) -> list[Found]:
        scores, rows = nearest(self.vectors_NE, query_E, k, self._mask(modalities, only))
        kinds = [self.kinds[kind] for kind in self.kind_of_row[rows]]
        return list(zip(self.ids[rows].tolist(), self.items[rows].tolist(), kinds, scores.tolist(), strict=True))

    def _mask(self, modalities: Sequence[Modality], only: set[str] | None) -> np.ndarray | None:
        mask = None
        if set(self.kinds) - set(modalities):
            mask = np.array([kind in modalities for kind in self.kinds])[self.kind_of_row]
        if only is not None:
            kept = np.zeros(len(self.clips), bool)
            kept[[self.place[clip] for clip in only if clip in self.place]] = True
            of_clip = kept[self.clip_of_row]
            mask = of_clip if mask is None else mask & of_clip
        return mask

    def vectors_of(self, clip: str) -> dict[Modality, np.ndarray]:
        # Rows are stored sorted by clip.
        rows = slice(bisect_left(self.ids, clip), bisect_right(self.ids, clip))
        modalities = np.array([self.kinds[kind] for kind in self.kind_of_row[rows]], dtype=object)
        return _by_modality(modalities, self.vectors_NE[rows])


class ApproximateGallery:
    """For more vectors than are worth holding. Gap removal changes every vector, so it needs exact search."""

    def __init__(self, library: LibraryTables, name: str, *, probes: int, kinds: Sequence[Modality]):
        self.library, self.name, self.probes, self.kinds = library, name, probes, frozenset(kinds)
        self.means: dict[Modality, np.ndarray] = {}

    def rows(
        self, query_E: np.ndarray, k: int, modalities: Sequence[Modality], only: set[str] | None = None
    ) -> list[Found]:
        if only is not None and len(only) <= _READ_BY_ID:
            return self._exact(query_E, k, modalities, sorted(only))
        table = self.library.table(table_name("vectors", self.name))
        # A condition that all rows meet would cost a pass over them.
        where = one_of("modality", modalities) if self.kinds - set(modalities) else None
        return nearest_approximate(table, query_E, k, probes=self.probes, where=where)

    def _exact(self, query_E: np.ndarray, k: int, modalities: Sequence[Modality], clips: list[str]) -> list[Found]:
        """Rows of a few clips, by their own vectors: the lists would be read for mostly other clips."""
        if not clips:
            return []
        rows = self.library.vectors("vectors", self.name).read(where=one_of("id", clips))
        scores_N = unit(rows.vectors) @ query_E
        fitting = [n for n in np.argsort(-scores_N, kind="stable").tolist() if rows.modalities[n] in modalities]
        return [(rows.ids[n], int(rows.items[n]), rows.modalities[n], float(scores_N[n])) for n in fitting[:k]]

    def vectors_of(self, clip: str) -> dict[Modality, np.ndarray]:
        rows = self.library.vectors("vectors", self.name).read(where=f"id = {quote(clip)}")
        return _by_modality(np.asarray(rows.modalities, dtype=object), unit(rows.vectors))


def _by_modality(modalities: np.ndarray, vectors: np.ndarray) -> dict[Modality, np.ndarray]:
    return {m: vectors[modalities == m] for m in dict.fromkeys(modalities.tolist())}


def _means(library: LibraryTables, rows: Vectors, vectors_NE: np.ndarray) -> dict[Modality, np.ndarray]:
    """Mean unit vector of each modality over the clips of the training split."""
    query = library.table("clips").search().where("split = 'train'").select(["id"])
    train = set(query.limit(None).to_arrow()["id"].to_pylist())
    here = np.fromiter((i in train for i in rows.ids), dtype=bool, count=len(rows))
    modalities = np.asarray(rows.modalities, dtype=object)
    means = {}
    for m in dict.fromkeys(rows.modalities):
        own = here & (modalities == m)
        if not own.any():
            raise SeehearError(f"gap removal needs training clips with {m}: this library's index has none")
        means[m] = vectors_NE[own].mean(axis=0)
    return means


# ----------------------------------------------------------------------------------------------------------------------
# Exact search at the speed of memory: a query is bound by reading N x E floats once. `np.vecdot` reads at that speed;
# the matrix-vector products of OpenBLAS and MKL reach a third of it (`benchmarks/search.py`).

# A mask that keeps less than this share of rows: only these are read, copied in parts that stay in the cache.
_FEW, _GATHER = 0.3, 1 << 12
# Scores of a column of the grid of `top`.
_ROWS = 32


def nearest(
    vectors_NE: Float[np.ndarray, "n e"],
    query_E: Float[np.ndarray, " e"],
    k: int,
    mask_N: Bool[np.ndarray, " n"] | None = None,
) -> tuple[Float[np.ndarray, " k"], Int[np.ndarray, " k"]]:
    """(scores, rows) of the k largest inner products, best first, equal scores by row; fewer where there are fewer
    rows. `mask_N`: True where a row may be found. Vectors are float32 and not copied: a memory map stays one."""
    # Another type would make NumPy convert all rows to it, a copy of the whole gallery.
    query_E = np.ascontiguousarray(query_E, np.float32)
    rows = None if mask_N is None else np.flatnonzero(mask_N)
    if rows is None or len(rows) > _FEW * len(vectors_NE):
        scores = np.vecdot(vectors_NE, query_E)
        scores = scores if rows is None else scores[rows]
    else:
        # One gather of all rows would be written to memory and read again.
        scores = np.empty(len(rows), np.float32)
        for at in range(0, len(rows), _GATHER):
            np.vecdot(vectors_NE[rows[at : at + _GATHER]], query_E, out=scores[at : at + _GATHER])
    best = top(scores, k)
    return scores[best], best if rows is None else rows[best]


def top(scores_N: Float[np.ndarray, " n"], k: int) -> Int[np.ndarray, " k"]:
    """Indices of the k largest (all of fewer), largest first, equal ones in their order."""
    # Scores in rows of a grid: k scores reach the k-th largest of its column maxima, so only those that reach it, all
    # in columns whose maximum does, are sorted.
    columns = len(scores_N) // _ROWS
    if columns >= 4 * k:
        whole = columns * _ROWS
        grid_RM = scores_N[:whole].reshape(_ROWS, columns)
        maxima_M = grid_RM.max(axis=0)
        bound = np.partition(maxima_M, columns - k)[columns - k]
        good = np.flatnonzero(maxima_M >= bound)
        row, column = np.nonzero(grid_RM[:, good] >= bound)
        rest = np.flatnonzero(scores_N[whole:] >= bound) + whole
        candidates = np.concatenate([row * columns + good[column], rest])
    else:
        candidates = np.arange(len(scores_N))
    # Partitioned and then cut by value, not by place: `argpartition` picks any of several rows that tie at the bound.
    if len(candidates) > 8 * k:
        partial = np.argpartition(scores_N[candidates], len(candidates) - k)
        bound = scores_N[candidates[partial[len(candidates) - k]]]
        candidates = candidates[scores_N[candidates] >= bound]
    return candidates[np.argsort(-scores_N[candidates], kind="stable")[:k]]
