"""Retrieval measures of ranked galleries.

The positives of a query are the gallery rows with its id, one or many (five captions of an image, all pictures of a
class).

    R@K        share of queries with a positive among the first K     (0 to 1)
    rank       rank of the first positive, from 1; median and mean over queries
    MRR        mean of 1 / rank                 mAP   mean over queries of the average precision
    nDCG@10    discounted gain of the first 10 places over the best possible one

Tied items have no order. Any fixed rule for them gives numbers that cannot be compared, and counting only strictly
better items lets a constant model score 100 %. So every measure is its exact expectation over all orders of the tied
items, given

    above  number of items with a higher score
    block  number of items with the same score, the item itself included
    right  number of relevant items in that block

The chance level is the same expectation with everything tied: above = 0, block = gallery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from seehear.types import Float, Tensor

# Scores held at once: 100,000 queries against 100,000 items need a few hundred MB.
BLOCK = 1 << 25
# Positives of a query up to which counting beats sorting the row.
FEW = 48
# Places that nDCG counts.
_DEPTH = 10
Array = np.ndarray | Tensor
Ids = Sequence[str | int] | np.ndarray


@dataclass(frozen=True)
class RetrievalResult:
    metrics: dict[str, float]
    """R@K, median_rank, mean_rank, MRR, mAP, nDCG@10."""
    chance: dict[str, float]
    """Metrics of a random ranking of the same gallery: exact expectations (median: of the rank's distribution)."""
    queries: int
    """Queries with a positive; only these count."""
    gallery: int
    skipped: int
    """Queries without a positive in the gallery."""
    rows: np.ndarray
    """(queries,) int64 number of the query of each per-query value."""
    per_query: dict[str, np.ndarray]
    """(queries,) float64 by name: R@K, rank, MRR, AP, nDCG@10."""

    @property
    def ranks(self) -> np.ndarray:
        """Expected rank of each query's first positive, from 1."""
        return self.per_query["rank"]

    def __str__(self) -> str:
        def shown(name: str) -> str:
            scale = 1 if "rank" in name else 100
            return f"{name} {scale * self.metrics[name]:.1f} (chance {scale * self.chance[name]:.1f})"

        return f"{self.queries:,} queries, {self.gallery:,} items: " + ", ".join(shown(n) for n in self.metrics)


def retrieval(
    query_QE: Float[Array, "q e"],
    gallery_GE: Float[Array, "g e"],
    query_ids: Ids,
    gallery_ids: Ids,
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> RetrievalResult:
    """Ranks the gallery for every query by inner product (cosine, for the unit vectors of a shared space)."""
    # float32, as the vectors are: in float16 many scores would tie.
    query_QE, gallery_GE = (
        x.detach().float() if isinstance(x, Tensor) else np.asarray(x, np.float32) for x in (query_QE, gallery_GE)
    )
    if query_QE.ndim != 2 or gallery_GE.ndim != 2 or query_QE.shape[1] != gallery_GE.shape[1]:
        shapes = f"{tuple(query_QE.shape)} and {tuple(gallery_GE.shape)}"
        raise ValueError(f"queries and gallery must be (Q, E) and (G, E); got {shapes}")
    # A BLAS may give equal rows scores that differ in the last bit: score each distinct row once, so that they tie.
    plain = gallery_GE.cpu().numpy() if isinstance(gallery_GE, Tensor) else gallery_GE
    number: dict[bytes, int] = {}
    copies = np.array([number.setdefault(r.tobytes(), len(number)) for r in np.ascontiguousarray(plain)], np.int64)
    if repeated := len(number) < len(copies):
        first = np.unique(copies, return_index=True)[1]
        gallery_GE = gallery_GE[first]
    transposed = gallery_GE.T

    def scores(start: int, stop: int) -> np.ndarray:
        product = query_QE[start:stop] @ transposed
        product = product.cpu().numpy() if isinstance(product, Tensor) else product
        return product[:, copies] if repeated else product

    return rank_blocks(scores, query_ids, gallery_ids, ks=ks)


def rank_blocks(
    scores: Callable[[int, int], np.ndarray],
    query_ids: Ids,
    gallery_ids: Ids,
    *,
    ks: Sequence[int] = (1, 5, 10),
) -> RetrievalResult:
    """`retrieval` with scores computed on demand: `scores(start, stop)` returns the (rows, G) of these queries."""
    num_q, num_g = len(query_ids), len(gallery_ids)
    first, columns = _positives(query_ids, gallery_ids)
    counts = np.diff(first)
    rows = np.flatnonzero(counts)
    if len(rows) == 0:
        raise ValueError("no query has a positive in the gallery: query_ids and gallery_ids share no id")
    # [0, 1, 1 + 1/2, ...] and [0, 1/log2(2), 1/log2(2) + 1/log2(3), ...]
    tables = tuple(
        np.concatenate([[0.0], np.cumsum(terms)])
        for terms in (1.0 / np.arange(1, num_g + 1), 1.0 / np.log2(np.arange(1, min(_DEPTH, num_g) + 1) + 1))
    )
    block = max(1, BLOCK // num_g)
    parts = []
    for start in range(0, num_q, block):
        stop = min(start + block, num_q)
        here = rows[(rows >= start) & (rows < stop)]
        if len(here):
            places = [columns[first[q] : first[q + 1]] for q in here]
            parts.append(_measure(scores(start, stop), here - start, places, ks, *tables))
    per_query = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    means = {name: float(values.mean()) for name, values in per_query.items()}
    metrics = {name: value for name, value in means.items() if name.startswith("R@")}
    metrics |= {"median_rank": float(np.median(per_query["rank"])), "mean_rank": means["rank"]}
    metrics |= {"MRR": means["MRR"], "mAP": means["AP"], "nDCG@10": means["nDCG@10"]}
    chance = _chance(num_g, counts[rows], ks, *tables)
    return RetrievalResult(metrics, chance, len(rows), num_g, num_q - len(rows), rows, per_query)


def _measure(
    scores: np.ndarray,
    rows: np.ndarray,
    places: list[np.ndarray],
    ks: Sequence[int],
    harmonic: np.ndarray,
    discounts: np.ndarray,
) -> dict[str, np.ndarray]:
    """Every measure of some rows of a block of scores. The positives of a row are padded to the longest row."""
    width = max(len(p) for p in places)
    above, block = np.zeros((len(rows), width), np.int64), np.ones((len(rows), width), np.int64)
    right_above, right = np.zeros_like(above), np.ones_like(above)
    real = np.arange(width) < np.array([len(p) for p in places])[:, None]
    for i, (row, at) in enumerate(zip(rows, places, strict=True)):
        own = np.sort(scores[row, at])[::-1]
        above[i, : len(own)], block[i, : len(own)] = _higher_and_equal(scores[row], own)
        if len(own) > 1:
            right_above[i, : len(own)], right[i, : len(own)] = _higher_and_equal(own, own)
    count = real.sum(axis=1)
    # Positives are sorted by score: the first column is the best one.
    best = above[:, 0], block[:, 0], right[:, 0]
    gain = np.where(real, _discount_gain(above, block, discounts), 0.0).sum(axis=1)
    precision = np.where(real, _precision_sum(above, block, right, right_above, harmonic), 0.0).sum(axis=1)
    measures = {f"R@{k}": recall(*best, k) for k in ks}
    measures |= {"rank": _first_rank(*best), "MRR": reciprocal_rank(*best)}
    measures["AP"] = precision / count
    measures["nDCG@10"] = gain / discounts[np.minimum(count, len(discounts) - 1)]
    return measures


def _higher_and_equal(row: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of values of the row that are higher than, and equal to, each of `own` (values of the row)."""
    # Few positives: counting is faster than sorting the row.
    if len(own) <= FEW:
        higher = np.array([np.count_nonzero(row > score) for score in own])
        return higher, np.array([np.count_nonzero(row == score) for score in own])
    ordered = np.sort(row)
    right = np.searchsorted(ordered, own, side="right")
    return len(row) - right, right - np.searchsorted(ordered, own, side="left")


def _chance(
    gallery: int, counts: np.ndarray, ks: Sequence[int], harmonic: np.ndarray, discounts: np.ndarray
) -> dict[str, float]:
    """Metrics with everything tied: one block that holds the whole gallery."""
    above, block = np.zeros_like(counts), np.full_like(counts, gallery)
    chance = {f"R@{k}": float(recall(above, block, counts, k).mean()) for k in ks}
    chance["median_rank"] = chance_median(gallery, counts)
    chance["mean_rank"] = float(_first_rank(above, block, counts).mean())
    chance["MRR"] = float(reciprocal_rank(above, block, counts).mean())
    chance["mAP"] = float(_precision_sum(above, block, counts, above, harmonic).mean())
    gain = counts * _discount_gain(above, block, discounts)
    chance["nDCG@10"] = float((gain / discounts[np.minimum(counts, len(discounts) - 1)]).mean())
    return chance


def _positives(query_ids: Ids, gallery_ids: Ids) -> tuple[np.ndarray, np.ndarray]:
    """(first, columns) as in compressed rows: the positives of query q are `columns[first[q] : first[q + 1]]`."""
    queries, gallery = (i.tolist() if isinstance(i, np.ndarray | Tensor) else i for i in (query_ids, gallery_ids))
    number: dict[str | int, int] = {}
    # By id alone: another clip with the very same caption is no positive, though it ties.
    of_gallery = np.array([number.setdefault(i, len(number)) for i in gallery], np.int64)
    of_query = np.array([number.get(i, -1) for i in queries], np.int64)
    order = np.argsort(of_gallery, kind="stable")
    starts = np.searchsorted(of_gallery[order], np.arange(len(number) + 1))
    # A query without positives has number -1, which would read the size of another.
    sizes = np.where(of_query >= 0, np.diff(starts)[of_query] if len(number) else 0, 0)
    first = np.concatenate([[0], np.cumsum(sizes)])
    # Position within the positives of a query, without a loop over queries.
    within = np.arange(first[-1]) - np.repeat(first[:-1], sizes)
    return first, order[np.repeat(starts[of_query], sizes) + within]


Counts = np.ndarray


def _first_rank(above: Counts, block: Counts, right: Counts) -> np.ndarray:
    """Expected rank, from 1, of the first relevant item of a block: above + (block + 1) / (right + 1)."""
    return above + (block + 1) / (right + 1)


def recall(above: Counts, block: Counts, right: Counts, k: int) -> np.ndarray:
    """Probability that the first k hold a relevant item: 1 - C(block - seen, right) / C(block, right)."""

    def found(above: int, block: int, right: int) -> float:
        seen = min(max(k - above, 0), block)
        if block - seen < right:
            return 1.0
        # The ratio is the same with `seen` and `right` swapped, and the shorter product is faster.
        few, many = min(seen, right), max(seen, right)
        i = np.arange(few)
        return 1.0 - float(np.prod((block - many - i) / (block - i)))

    return _once(found, above, block, right)


def reciprocal_rank(above: Counts, block: Counts, right: Counts) -> np.ndarray:
    """Expected 1 / rank of the first relevant item."""

    def expected(above: int, block: int, right: int) -> float:
        # P(first at position j of the block) = P(first is not before j) * right / (items left)
        j = np.arange(1, block - right + 2)
        ratios = np.concatenate([[1.0], (block - right - j[:-1] + 1) / (block - j[:-1] + 1)])
        return float(np.sum(np.cumprod(ratios) * (right / (block - j + 1)) / (above + j)))

    return _once(expected, above, block, right)


def _precision_sum(
    above: Counts, block: Counts, right: Counts, right_above: Counts, harmonic: np.ndarray
) -> np.ndarray:
    """Expected precision at the place of one relevant item of the block; averaged over all relevant items, it is the
    average precision. `harmonic[n]` is 1 + 1/2 + ... + 1/n."""
    inverse = harmonic[above + block] - harmonic[above]
    others = np.where(block > 1, (right - 1) / np.maximum(block - 1, 1), 0.0)
    return ((right_above + 1) * inverse + others * (block - (above + 1) * inverse)) / block


def _discount_gain(above: Counts, block: Counts, discounts: np.ndarray) -> np.ndarray:
    """Expected discounted gain of one relevant item. `discounts[n]` is the sum over the first n places, constant after
    the cut."""
    last = len(discounts) - 1
    return (discounts[np.minimum(above + block, last)] - discounts[np.minimum(above, last)]) / block


def chance_median(gallery: int, positives: np.ndarray) -> float:
    """Median rank of the first relevant item when all orders are equally likely. `positives`: number of relevant items
    of each query. The middle where the median is an interval: (gallery + 1) / 2 for one positive each."""
    sizes, weights = np.unique(positives, return_counts=True)
    places = np.arange(1, gallery + 1)
    # P(rank > r).
    beyond = np.zeros(gallery)
    for size, weight in zip(sizes, weights / weights.sum(), strict=True):
        left = np.maximum(gallery - size - places + 1, 0) / (gallery - places + 1)
        beyond += weight * np.cumprod(left)
    # The tolerance covers the rounding of a product over the whole gallery.
    low = int(np.argmax(beyond <= 0.5 + 1e-12))
    high = int(np.argmax(beyond < 0.5 - 1e-12))
    return float(places[low] + places[high]) / 2


def _once(function: Callable[[int, int, int], float], above: Counts, block: Counts, right: Counts) -> np.ndarray:
    """A scalar function of each triple, computed once for equal ones."""
    triples, back = np.unique(np.stack([above, block, right], axis=1), axis=0, return_inverse=True)
    return np.array([function(int(a), int(b), int(r)) for a, b, r in triples])[back.reshape(-1)]
