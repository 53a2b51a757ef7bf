"""Galleries of a search: the rows of an index, exact in memory, or by Lance's approximate index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Protocol

import numpy as np

from seehear.errors import SeehearError, require
from seehear.library.clip_table import ClipTable
from seehear.library.tables import LibraryTables, one_of, quote, table_name
from seehear.library.vectors import VectorTable
from seehear.nn.unit import unit
from seehear.search.filters import ASKED, Allowed
from seehear.search.index import nearest_approximate
from seehear.types import MODALITIES, Bool, Float, Int, Modality

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("seen", "heard", "spoken", "screen", "text")
"""Kinds of match of a moment; `text` is a caption by the user."""
KIND_OF = {"video": "seen", "audio": "heard"}
"""Kind of the rows of a modality; that of a text is its own."""
KIND_OF_TEXT = {"subtitle": "spoken", "speech": "spoken", "screen": "screen", "caption": "text"}
_MODALITIES = ("video", "audio", "text", "text", "text")  # of `KINDS`
Found = tuple[str, int, Modality, float]
"""Clip id, item (number of the text), matching modality, score."""
# Rows read first under a filter.
FIRST = 256
# Clips that pass a filter up to which an approximate gallery reads their rows by id.
_READ_BY_ID = 10_000


class Gallery(Protocol):
    means: dict[Modality, np.ndarray]
    """(E,) mean by modality that is subtracted from the vectors; empty without gap removal."""

    def near(
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
    want, only = 4 * k if allowed is None else max(4 * k, FIRST), None
    while True:
        rows = gallery.near(query_E, want, modalities, only)
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


def _kind_numbers(names: pa.Array | pa.ChunkedArray, kinds: Mapping[str, str]) -> np.ndarray:
    """(N,) int8 index into `KINDS` of the kind of each name, -1 for a name without kind."""
    places = require("pyarrow.compute").index_in(names, value_set=require("pyarrow").array(list(kinds)))
    return np.array([*map(KINDS.index, kinds.values()), -1], np.int8)[places.fill_null(-1).to_numpy()]


class IndexRows:
    """Rows of an index in memory, ordered by (kind, id, item), so that the vectors of a kind are contiguous; rows of
    deleted clips and texts are left out."""

    def __init__(self, table: VectorTable, clips: ClipTable):
        self.clips = clips
        # A million rows as columns of numbers, never as a million objects; vectors are copied once.
        rows = table.columns("id", "item", "modality", "vector")
        clips_N, items_N = self.clips.places(rows["id"]), rows["item"].to_numpy()
        kinds_N = _kind_numbers(rows["modality"], KIND_OF)
        texts = np.flatnonzero(kinds_N < 0)
        kinds_N[texts] = _kind_numbers(self.clips.kinds_of_texts(clips_N[texts], items_N[texts]), KIND_OF_TEXT)
        kinds_N[clips_N < 0] = -1
        # As uint8, -1 sorts last.
        keys = rows.select(["id", "item"]).append_column("kind", [kinds_N.view(np.uint8)]).combine_chunks()
        by = [(column, "ascending") for column in ("kind", "id", "item")]
        order_N = require("pyarrow.compute").sort_indices(keys, sort_keys=by).to_numpy()
        place_N = np.empty(len(order_N), np.int64)
        place_N[order_N] = np.arange(len(order_N))
        vectors_NE, at = np.empty((len(order_N), table.width), np.float32), 0
        for chunk in rows["vector"].chunks:
            part = chunk.flatten().to_numpy(zero_copy_only=False).reshape(len(chunk), -1)
            vectors_NE[place_N[at : at + len(part)]] = unit(part)
            at += len(part)
        kept = order_N[: np.count_nonzero(kinds_N >= 0)]
        self.vectors_NE = vectors_NE[: len(kept)]
        # Index into `clips`, item of the clip, index into `KINDS`.
        self.clips_N, self.items_N, self.kinds_N = clips_N[kept], items_N[kept], kinds_N[kept]
        bounds = np.searchsorted(self.kinds_N, np.arange(len(KINDS) + 1)).tolist()
        self._rows = {kind: slice(*bounds[n : n + 2]) for n, kind in enumerate(KINDS)}

    def rows(self, kind: str) -> slice:
        """Rows of a kind."""
        return self._rows[kind]

    def count(self, kind: str) -> int:
        """Number of rows of a kind."""
        return self._rows[kind].stop - self._rows[kind].start


class ExactGallery(IndexRows):
    """All vectors in memory. With `gap`, each modality's mean over the training clips is subtracted from its
    vectors."""

    def __init__(self, library: LibraryTables, name: str, *, gap: bool = False):
        super().__init__(library.vectors("vectors", name), ClipTable(library))
        self.means: dict[Modality, np.ndarray] = {}
        if not gap:
            return
        query = library.table("clips").search().where("split = 'train'").select(["id"]).limit(None)
        train_N = self.clips.mask(query.to_arrow()["id"].to_pylist())[self.clips_N]
        for m in MODALITIES:
            own_N = self._of((m,))
            if not own_N.any():
                continue
            if not (own_N & train_N).any():
                raise SeehearError(f"gap removal needs training clips with {m}: this library's index has none")
            self.means[m] = self.vectors_NE[own_N & train_N].mean(axis=0)
            # The difference of two unit vectors is no unit vector.
            self.vectors_NE[own_N] = unit(self.vectors_NE[own_N] - self.means[m])

    def _of(self, modalities: Sequence[Modality]) -> np.ndarray:
        """(N,) mask of the rows of these modalities."""
        return np.array([modality in modalities for modality in _MODALITIES])[self.kinds_N]

    def near(
        self, query_E: np.ndarray, k: int, modalities: Sequence[Modality], only: set[str] | None = None
    ) -> list[Found]:
        mask_N = self._of(modalities)
        if only is not None:
            mask_N &= self.clips.mask(only)[self.clips_N]
        scores, rows = nearest(self.vectors_NE, query_E, k, None if mask_N.all() else mask_N)
        kinds = [_MODALITIES[kind] for kind in self.kinds_N[rows]]
        ids = self.clips.ids(self.clips_N[rows])
        return list(zip(ids, self.items_N[rows].tolist(), kinds, scores.tolist(), strict=True))

    def vectors_of(self, clip: str) -> dict[Modality, np.ndarray]:
        own_N = self.clips_N == self.clips.place(clip) if clip in self.clips else np.zeros(len(self.clips_N), bool)
        modalities = np.array([_MODALITIES[kind] for kind in self.kinds_N[own_N]], dtype=object)
        return _by_modality(modalities, self.vectors_NE[own_N])


class ApproximateGallery:
    """For more vectors than are worth holding. Gap removal changes every vector, so it needs exact search."""

    def __init__(self, library: LibraryTables, name: str, *, probes: int, kinds: Sequence[Modality]):
        self.library, self.name, self.probes, self.kinds = library, name, probes, frozenset(kinds)
        self.means: dict[Modality, np.ndarray] = {}

    def near(
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
