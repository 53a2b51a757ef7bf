"""Exact search: the k best of N unit vectors by inner product, at the speed of memory.

One query is bound by reading N x E floats once. `np.vecdot` reads at the speed of memory; the matrix-vector products of
OpenBLAS and MKL reach a third of it (`benchmarks/search.py`). Many queries are bound by the matrix product: rows are
read in tiles, and only scores above the k-th best so far are considered.
"""

from __future__ import annotations

import numpy as np

from seehear.types import Bool, Float, Int

# Scores of a tile of rows against all queries.
_TILE = 1 << 22
# A mask that keeps less than this share of rows: only these are read, copied in parts that stay in the cache.
_FEW, _GATHER = 0.3, 1 << 12
# Number of queries from which one matrix product is faster than a pass for each.
_PRODUCT = 6
# Scores of a column of the grid of `top`.
_ROWS = 32


class ExactSearch:
    """Search among float32 rows (unit vectors, for cosine), which are not copied: a memory map stays one."""

    def __init__(self, vectors_NE: Float[np.ndarray, "n e"]):
        if vectors_NE.dtype != np.float32 or vectors_NE.ndim != 2:
            raise ValueError(f"vectors must be (N, E) float32; got {vectors_NE.shape} {vectors_NE.dtype}")
        self.vectors_NE = vectors_NE

    def __len__(self) -> int:
        return len(self.vectors_NE)

    def search(
        self, query_QE: Float[np.ndarray, "q e"], k: int, *, mask_N: Bool[np.ndarray, " n"] | None = None
    ) -> tuple[Float[np.ndarray, "q k"], Int[np.ndarray, "q k"]]:
        """(scores, rows), best first, equal scores by row; fewer than k columns where there are fewer rows.
        `mask_N`: True where a row may be found."""
        # Another type would make NumPy convert all rows to it, a copy of the whole gallery.
        query_QE = np.ascontiguousarray(query_QE, np.float32)
        rows = None if mask_N is None else np.flatnonzero(mask_N)
        k = min(k, len(self) if rows is None else len(rows))
        if k <= 0:
            return np.zeros((len(query_QE), 0), np.float32), np.zeros((len(query_QE), 0), np.int64)
        best = [_Best(k) for _ in query_QE]
        if len(query_QE) < _PRODUCT:
            for own, query_E in zip(best, query_QE, strict=True):
                own.offer(self._scores(query_E, rows), 0)
        else:
            tile = max(_TILE // len(query_QE), 1)
            for at in range(0, len(self) if rows is None else len(rows), tile):
                part = slice(at, at + tile) if rows is None else rows[at : at + tile]
                for own, scores_T in zip(best, query_QE @ self.vectors_NE[part].T, strict=True):
                    own.offer(scores_T, at)
        places = np.stack([own.places for own in best])
        return np.stack([own.scores for own in best]), places if rows is None else rows[places]

    def _scores(self, query_E: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """Scores of all rows, or of some."""
        if rows is None:
            return np.vecdot(self.vectors_NE, query_E)
        if len(rows) > _FEW * len(self):
            return np.vecdot(self.vectors_NE, query_E)[rows]
        # One gather of all rows would be written to memory and read again.
        scores = np.empty(len(rows), np.float32)
        for at in range(0, len(rows), _GATHER):
            np.vecdot(self.vectors_NE[rows[at : at + _GATHER]], query_E, out=scores[at : at + _GATHER])
        return scores


class _Best:
    """The k best so far, best first, of scores in parts."""

    def __init__(self, k: int):
        self.k = k
        self.scores, self.places = np.empty(0, np.float32), np.empty(0, np.int64)

    def offer(self, scores_N: np.ndarray, at: int) -> None:
        """Adds the scores of the rows from `at` on. Equal scores keep the earlier row."""
        # Most tiles have no score above the k-th best: their maximum is a single pass.
        if len(self.scores) == self.k and not scores_N.max() > self.scores[-1]:
            return
        own = top(scores_N, self.k)
        scores, places = np.concatenate([self.scores, scores_N[own]]), np.concatenate([self.places, own + at])
        # Stable: the earlier rows stand first in `scores`.
        keep = np.argsort(-scores, kind="stable")[: self.k]
        self.scores, self.places = scores[keep], places[keep]


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
