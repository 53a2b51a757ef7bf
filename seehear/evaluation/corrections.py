"""Corrections of similarities at test time, fitted on training clips without training.

    gap removal  z <- unit(z - mean of its modality)                     (GR-CLIP, arXiv 2507.19054)
    NNN          score - alpha * mean of an item's k largest scores over a bank of training queries   (2410.24114)
    QB-Norm      exp(beta score) / sum over the bank of exp(beta score), for queries whose best item is one that the
                 bank finds too                                                                       (2112.12777)

The last two lower the scores of hubs, items that are near to everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.retrieval import RetrievalResult, rank_blocks
from seehear.nn.unit import unit
from seehear.types import Float, Modality

Correction = Callable[[Float[np.ndarray, "q g"]], Float[np.ndarray, "q g"]]
"""From the scores of some queries to corrected ones; only their order within a query is meaningful."""

# Scores held at once.
BLOCK = 1 << 24
# Training queries of a bank at most: more change nothing.
_BANK = 10_000
_NNN = [{"alpha": alpha, "k": k} for k in (16, 64, 128) for alpha in (0.0, 0.25, 0.5, 0.75, 1.0)]
_QUERY_BANK_NORM = [{"beta": beta} for beta in (5.0, 10.0, 20.0, 40.0)]


def without_gap(train: Mapping[Modality, Embedded], vectors: Mapping[Modality, Embedded]) -> dict[Modality, Embedded]:
    """Vectors less the mean of the training vectors of their modality."""
    # Unit again, so that inner products stay cosines.
    return {m: Embedded(unit(part.vectors - train[m].vectors.mean(axis=0)), part.owner) for m, part in vectors.items()}


def nnn(gallery_GE: np.ndarray, bank_BE: np.ndarray, *, alpha: float, k: int) -> Correction:
    """`bank_BE`: vectors of training queries in the modality of the test queries."""
    k, bias = min(k, len(bank_BE)), []
    for _, scores in _blocks(gallery_GE, bank_BE):
        # A partition, not a sort: only the k largest matter.
        bias.append(alpha * np.partition(scores, len(bank_BE) - k, axis=1)[:, len(bank_BE) - k :].mean(axis=1))
    bias_G = np.concatenate(bias)
    return lambda scores: scores - bias_G


def query_bank_norm(gallery_GE: np.ndarray, bank_BE: np.ndarray, *, beta: float) -> Correction:
    """`bank_BE`: as for `nnn`."""
    from scipy.special import logsumexp

    totals = []
    best_B, item_B = np.full(len(bank_BE), -np.inf), np.zeros(len(bank_BE), np.int64)
    for start, scores in _blocks(gallery_GE, bank_BE):
        # In float64 logarithms: exp of a large beta overflows float32.
        totals.append(logsumexp(beta * scores.astype(np.float64), axis=1))
        highest_B = scores.max(axis=0)
        item_B = np.where(highest_B > best_B, start + scores.argmax(axis=0), item_B)
        best_B = np.maximum(highest_B, best_B)
    log_total_G = np.concatenate(totals)
    # Items that are the best of some query of the bank.
    hub_G = np.isin(np.arange(len(gallery_GE)), item_B)

    def corrected(scores: np.ndarray) -> np.ndarray:
        # Only queries whose best item is a hub: the rest keep their order.
        return np.where(hub_G[scores.argmax(axis=1)][:, None], beta * scores - log_total_G, scores)

    return corrected


def corrected_retrieval(correction: Correction, query: Embedded, gallery: Embedded) -> RetrievalResult:
    """`retrieval` with corrected scores."""
    query_QE, gallery_GE = (np.asarray(part.vectors, np.float32) for part in (query, gallery))
    return rank_blocks(lambda start, stop: correction(query_QE[start:stop] @ gallery_GE.T), query.owner, gallery.owner)


def tuned_corrections(
    train_query: Embedded, val_query: Embedded, val_gallery: Embedded, test_gallery: Embedded
) -> dict[str, tuple[dict[str, Any], Correction]]:
    """NNN and QB-Norm, each (settings, correction), for one direction and the test gallery; settings are chosen by MRR
    on validation clips.

    Fitting on the test gallery uses the popularity of its items among training queries, and no test query or pairing.
    """
    bank_BE = train_query.vectors
    if len(bank_BE) > _BANK:
        # By a fixed seed: the same library gives the same numbers.
        bank_BE = bank_BE[np.random.default_rng(0).choice(len(bank_BE), _BANK, replace=False)]

    def tuned(fit: Callable[..., Correction], grid: list[dict[str, Any]]) -> tuple[dict[str, Any], Correction]:
        def score(settings: dict[str, Any]) -> float:
            correction = fit(val_gallery.vectors, bank_BE, **settings)
            return corrected_retrieval(correction, val_query, val_gallery).metrics["MRR"]

        best = max(grid, key=score)
        return best, fit(test_gallery.vectors, bank_BE, **best)

    return {"NNN": tuned(nnn, _NNN), "QB-Norm": tuned(query_bank_norm, _QUERY_BANK_NORM)}


def _blocks(gallery_GE: np.ndarray, bank_BE: np.ndarray) -> Iterator[tuple[int, Float[np.ndarray, "g b"]]]:
    """(first item, scores of a block of items over the bank)"""
    gallery_GE, bank_BE = np.asarray(gallery_GE, np.float32), np.asarray(bank_BE, np.float32)
    size = max(1, BLOCK // len(bank_BE))
    for at in range(0, len(gallery_GE), size):
        yield at, gallery_GE[at : at + size] @ bank_BE.T
