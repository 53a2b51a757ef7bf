"""What a ranking is worth when tied items come in random order, as exact expectations.

A system that gives several items one score has not said which comes first. Any fixed rule (the code's order, the
optimist's, the pessimist's) makes numbers that cannot be compared, and counting only strictly better items lets a
constant model score 100 %. So every measure here is its mean over all orders of the tied items.

    above  number of items with a higher score
    block  number of items with the same score, the item itself included
    right  number of relevant items in that block

The chance level of a measure is the same expectation with everything tied: above = 0, block = gallery.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Counts = np.ndarray


def first_rank(above: Counts, block: Counts, right: Counts) -> np.ndarray:
    """Expected rank, from 1, of the first relevant item of a block: above + (block + 1) / (right + 1)."""
    return above + (block + 1) / (right + 1)


def recall(above: Counts, block: Counts, right: Counts, k: int) -> np.ndarray:
    """Probability that the first k hold a relevant item: 1 - C(block - seen, right) / C(block, right)."""
    return _once(lambda a, b, r: 1.0 - _all_missed(b, r, min(max(k - a, 0), b)), above, block, right)


def reciprocal_rank(above: Counts, block: Counts, right: Counts) -> np.ndarray:
    """Expected 1 / rank of the first relevant item."""
    return _once(_reciprocal_rank, above, block, right)


def _reciprocal_rank(above: int, block: int, right: int) -> float:
    if block == right:
        return 1.0 / (above + 1)
    # P(first at position j of the block) = P(first is not before j) * right / (items left)
    j = np.arange(1, block - right + 2)
    ratios = np.concatenate([[1.0], (block - right - j[:-1] + 1) / (block - j[:-1] + 1)])
    return float(np.sum(np.cumprod(ratios) * (right / (block - j + 1)) / (above + j)))


def precision_sum(above: Counts, block: Counts, right: Counts, right_above: Counts, harmonic: np.ndarray) -> np.ndarray:
    """Expected precision at the place of one relevant item of the block; averaged over all relevant items, it is the
    average precision. `harmonic[n]` is 1 + 1/2 + ... + 1/n."""
    inverse = harmonic[above + block] - harmonic[above]
    others = np.where(block > 1, (right - 1) / np.maximum(block - 1, 1), 0.0)
    return ((right_above + 1) * inverse + others * (block - (above + 1) * inverse)) / block


def discount_gain(above: Counts, block: Counts, discounts: np.ndarray) -> np.ndarray:
    """Expected discounted gain of one relevant item. `discounts[n]` is the sum over the first n places, constant after
    the cut."""
    last = len(discounts) - 1
    return (discounts[np.minimum(above + block, last)] - discounts[np.minimum(above, last)]) / block


def harmonic_numbers(n: int) -> np.ndarray:
    return np.concatenate([[0.0], np.cumsum(1.0 / np.arange(1, n + 1))])


def discount_sums(k: int) -> np.ndarray:
    """[0, 1/log2(2), 1/log2(2) + 1/log2(3), ...] up to k places."""
    return np.concatenate([[0.0], np.cumsum(1.0 / np.log2(np.arange(1, k + 1) + 1))])


def chance_median(gallery: int, positives: np.ndarray) -> float:
    """Median of the first relevant item's rank when every order is as likely, over queries with these many positives.

    The middle of the median's interval where it is one: (gallery + 1) / 2 for one positive each.
    """
    sizes, weights = np.unique(positives, return_counts=True)
    places = np.arange(1, gallery + 1)
    beyond = np.zeros(gallery)  # P(rank > r)
    for size, weight in zip(sizes, weights / weights.sum(), strict=True):
        left = np.maximum(gallery - size - places + 1, 0) / (gallery - places + 1)
        beyond += weight * np.cumprod(left)
    low = int(np.argmax(beyond <= 0.5 + 1e-12))
    high = int(np.argmax(beyond < 0.5 - 1e-12))
    return float(places[low] + places[high]) / 2


def _all_missed(block: int, right: int, seen: int) -> float:
    """C(block - seen, right) / C(block, right)"""
    if block - seen < right:
        return 0.0
    few, many = min(seen, right), max(seen, right)  # the ratio is the same with `seen` and `right` swapped
    i = np.arange(few)
    return float(np.prod((block - many - i) / (block - i)))


def _once(function: Callable[[int, int, int], float], above: Counts, block: Counts, right: Counts) -> np.ndarray:
    """Apply a scalar function to each distinct triple."""
    triples, back = np.unique(np.stack([above, block, right], axis=1), axis=0, return_inverse=True)
    return np.array([function(int(a), int(b), int(r)) for a, b, r in triples])[back.reshape(-1)]
