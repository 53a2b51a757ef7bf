"""Retrieval measures by brute force: every order of tied items is tried, or many random ones are."""

import itertools
import math


def orders(scores):
    """Every ranking of the items in which a higher score comes first."""
    levels = sorted(set(scores), reverse=True)
    blocks = [[i for i, s in enumerate(scores) if s == level] for level in levels]
    for choice in itertools.product(*(itertools.permutations(b) for b in blocks)):
        yield [i for block in choice for i in block]


def measures(scores, relevant, ks):
    """Mean over all orders of R@K, first rank, reciprocal rank, average precision and nDCG@10 of one query."""
    totals, n = {}, 0
    for order in orders(scores):
        hits = [relevant[i] for i in order]
        first = hits.index(True) + 1
        one = {f"R@{k}": float(first <= k) for k in ks} | {"rank": first, "MRR": 1 / first}
        precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits)) if hits[i]]
        one["AP"] = sum(precisions) / len(precisions)
        gain = sum(1 / math.log2(i + 2) for i in range(min(10, len(hits))) if hits[i])
        one["nDCG@10"] = gain / sum(1 / math.log2(i + 2) for i in range(min(10, sum(hits))))
        for name, value in one.items():
            totals[name] = totals.get(name, 0.0) + value
        n += 1
    return {name: total / n for name, total in totals.items()}
