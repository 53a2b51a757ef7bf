"""Exact search: the k best of N unit vectors by inner product, as fast as the memory can be read.

One query is bound by reading N x E floats once, so nothing else may cost. The products are `np.vecdot`, one dot a row:
it reads at the speed of memory, where the matrix-vector product of OpenBLAS and MKL reaches a third of it
(`benchmarks/search.py`). The k best are found through the maxima of few scores each, one light pass over N numbers.
Many queries are bound by the matrix product; rows then come in tiles, and a tile's scores are only looked at where they
beat the k-th best so far.
"""

from __future__ import annotations

import numpy as np

from seehear.types import Bool, Float, Int

_TILE = 1 << 22  # scores of a tile of rows against all queries
_GATHER = 1 << 12  # rows copied at once when a mask keeps few
_FEW = 0.3  # share of rows kept below which only they are read
_PRODUCT = 6  # queries from which one matrix product beats as many passes
_ROWS = 32  # scores of a column, whose maximum stands for them


class ExactSearch:
    """Rows must be float32; for cosine, unit. They are kept as they are, a memory map too."""

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
        query_QE = np.ascontiguousarray(query_QE, np.float32)
        rows = None if mask_N is None else np.flatnonzero(mask_N)
        k = min(k, len(self) if rows is None else len(rows))
        if k <= 0:
            return np.zeros((len(query_QE), 0), np.float32), np.zeros((len(query_QE), 0), np.int64)
        if len(query_QE) >= _PRODUCT:
            return self._many(query_QE, k, rows)
        found = [self._one(query_E, k, rows) for query_E in query_QE]
        return np.stack([scores for scores, _ in found]), np.stack([places for _, places in found])

    def _one(self, query_E: np.ndarray, k: int, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        scores_N = self._scores(query_E, rows)
        best = top(scores_N, k)
        return scores_N[best], best if rows is None else rows[best]

    def _scores(self, query_E: np.ndarray, rows: np.ndarray | None) -> np.ndarray:
        """Of all rows, or of the rows a mask keeps: copied in parts that stay in the cache, or picked from all."""
        if rows is None:
            return np.vecdot(self.vectors_NE, query_E)
        if len(rows) > _FEW * len(self):
            return np.vecdot(self.vectors_NE, query_E)[rows]
        scores = np.empty(len(rows), np.float32)
        for at in range(0, len(rows), _GATHER):
            np.vecdot(self.vectors_NE[rows[at : at + _GATHER]], query_E, out=scores[at : at + _GATHER])
        return scores

    def _many(self, query_QE: np.ndarray, k: int, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        num = len(self) if rows is None else len(rows)
        tile = max(_TILE // len(query_QE), 1)
        best = [_Best(k) for _ in query_QE]
        for at in range(0, num, tile):
            here = slice(at, at + tile) if rows is None else rows[at : at + tile]
            for own, scores_T in zip(best, query_QE @ self.vectors_NE[here].T, strict=True):
                own.offer(scores_T, at)
        places = np.stack([own.places for own in best])
        return np.stack([own.scores for own in best]), places if rows is None else rows[places]


class _Best:
    """The k best so far, best first, of scores that come in parts."""

    def __init__(self, k: int):
        self.k = k
        self.scores, self.places = np.empty(0, np.float32), np.empty(0, np.int64)

    def offer(self, scores_N: np.ndarray, at: int) -> None:
        """Scores of the rows from place `at` on. Of equal scores the earlier row stays."""
        if len(self.scores) == self.k and not scores_N.max() > self.scores[-1]:
            return
        own = top(scores_N, self.k)
        scores, places = np.concatenate([self.scores, scores_N[own]]), np.concatenate([self.places, own + at])
        keep = np.argsort(-scores, kind="stable")[: self.k]
        self.scores, self.places = scores[keep], places[keep]


def top(scores_N: Float[np.ndarray, " n"], k: int) -> Int[np.ndarray, " k"]:
    """Places of the k largest (all, if there are fewer), largest first, equal ones in their order.

    Scores are laid out in rows of a grid. The k-th largest of its column maxima is a score that k places reach: only
    places that reach it, all of them in columns whose maximum does, are sorted.
    """
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
    if len(candidates) > 8 * k:
        partial = np.argpartition(scores_N[candidates], len(candidates) - k)
        bound = scores_N[candidates[partial[len(candidates) - k]]]
        candidates = candidates[scores_N[candidates] >= bound]
    return candidates[np.argsort(-scores_N[candidates], kind="stable")[:k]]
