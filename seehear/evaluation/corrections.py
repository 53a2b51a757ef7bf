"""Corrections of similarities at test time, fitted on training clips without training.

    gap removal  z <- unit(z - mean of its modality)                     (GR-CLIP, arXiv 2507.19054)
    NNN          score - alpha * mean of an item's k largest scores over a bank of training queries   (2410.24114)
    QB-Norm      exp(beta score) / sum over the bank of exp(beta score), for queries whose best item is one that the
                 bank finds too                                                                       (2112.12777)

The last two lower the scores of hubs, items that are near to everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.retrieval import RetrievalResult, rank_blocks
from seehear.nn.unit import unit
from seehear.types import Float, Modality

Scores = Callable[[int, int], np.ndarray]
"""`scores(start, stop)` returns the (rows, G) scores of these queries."""

# Scores held at once.
_BLOCK = 1 << 24
# Training queries of a bank at most: more change nothing.
_BANK = 10_000
NNN_ALPHAS, NNN_KS, BETAS = (0.0, 0.25, 0.5, 0.75, 1.0), (16, 64, 128), (5.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True)
class GapRemoval:
    means: Mapping[Modality, np.ndarray]

    @classmethod
    def fit(cls, train: Mapping[Modality, Embedded]) -> GapRemoval:
        """Correction by the mean unit vector of each modality."""
        return cls({m: part.vectors.mean(axis=0) for m, part in train.items()})

    def __call__(self, vectors: Mapping[Modality, Embedded]) -> dict[Modality, Embedded]:
        # Unit again, so that inner products stay cosines.
        return {m: Embedded(unit(part.vectors - self.means[m]), part.owner) for m, part in vectors.items()}


@dataclass(frozen=True)
class NNN:
    alpha: float
    k: int
    bias_G: np.ndarray
    """Amount subtracted from every score of an item, `alpha` included."""

    @classmethod
    def fit(cls, gallery_GE: np.ndarray, bank_BE: np.ndarray, *, alpha: float = 0.75, k: int = 16) -> NNN:
        """`bank_BE`: vectors of training queries in the modality of the test queries."""
        return cls(alpha, k, alpha * nearest_mean(_similarity(gallery_GE, bank_BE), len(gallery_GE), k))

    def __call__(self, scores: Scores) -> Scores:
        return lambda start, stop: scores(start, stop) - self.bias_G


@dataclass(frozen=True)
class QueryBankNorm:
    beta: float
    log_total_G: np.ndarray
    """Log of the sum of exp(beta * score) over the bank."""
    active_G: np.ndarray
    """True for items that are the best of some query of the bank."""

    @classmethod
    def fit(cls, gallery_GE: np.ndarray, bank_BE: np.ndarray, *, beta: float = 20.0) -> QueryBankNorm:
        of_items, of_queries = _similarity(gallery_GE, bank_BE), _similarity(bank_BE, gallery_GE)
        num_g = len(gallery_GE)
        total, active = np.empty(num_g), np.zeros(num_g, bool)
        for start, stop in _blocks(num_g, len(bank_BE)):
            # In float64, and less the largest: exp of a large beta overflows float32.
            scaled = beta * of_items(start, stop).astype(np.float64)
            most = scaled.max(axis=1)
            total[start:stop] = most + np.log(np.exp(scaled - most[:, None]).sum(axis=1))
        for start, stop in _blocks(len(bank_BE), num_g):
            active[np.argmax(of_queries(start, stop), axis=1)] = True
        return cls(beta, total, active)

    def __call__(self, scores: Scores) -> Scores:
        """Corrected scores; only their order within a query is meaningful."""

        def corrected(start: int, stop: int) -> np.ndarray:
            plain = scores(start, stop)
            # Only queries whose best item is a hub: the rest keep their order.
            chosen = self.active_G[plain.argmax(axis=1)]
            return np.where(chosen[:, None], self.beta * plain - self.log_total_G, plain)

        return corrected


def nearest_mean(scores_of_items: Scores, num_items: int, k: int) -> Float[np.ndarray, " g"]:
    """Mean of the k largest scores of each item over the bank (of all in a smaller bank)."""
    means = []
    size = scores_of_items(0, 1).shape[1]
    k = min(k, size)
    for start, stop in _blocks(num_items, size):
        scores = scores_of_items(start, stop)
        # A partition, not a sort: only the k largest matter.
        means.append(np.partition(scores, size - k, axis=1)[:, size - k :].mean(axis=1))
    return np.concatenate(means)


def corrected_retrieval(correction: NNN | QueryBankNorm | None, query: Embedded, gallery: Embedded) -> RetrievalResult:
    """`retrieval` with corrected scores."""
    scores = _similarity(query.vectors, gallery.vectors)
    return rank_blocks(scores if correction is None else correction(scores), query.owner, gallery.owner)


def tuned_corrections(
    train_query: Embedded, val_query: Embedded, val_gallery: Embedded, test_gallery: Embedded
) -> dict[str, NNN | QueryBankNorm]:
    """NNN and QB-Norm for one direction and the test gallery; their settings are chosen by MRR on validation clips.

    Fitting on the test gallery uses the popularity of its items among training queries, and no test query or pairing.
    """
    bank_BE = train_query.vectors
    if len(bank_BE) > _BANK:
        # By a fixed seed: the same library gives the same numbers.
        bank_BE = bank_BE[np.random.default_rng(0).choice(len(bank_BE), _BANK, replace=False)]

    def score(correction: NNN | QueryBankNorm) -> float:
        return corrected_retrieval(correction, val_query, val_gallery).metrics["MRR"]

    grid = [(alpha, k) for k in NNN_KS for alpha in NNN_ALPHAS]
    nnn = max((NNN.fit(val_gallery.vectors, bank_BE, alpha=alpha, k=k) for alpha, k in grid), key=score)
    norm = max((QueryBankNorm.fit(val_gallery.vectors, bank_BE, beta=b) for b in BETAS), key=score)
    return {
        "NNN": NNN.fit(test_gallery.vectors, bank_BE, alpha=nnn.alpha, k=nnn.k),
        "QB-Norm": QueryBankNorm.fit(test_gallery.vectors, bank_BE, beta=norm.beta),
    }


def _similarity(a_NE: np.ndarray, b_ME: np.ndarray) -> Scores:
    """Inner products of rows of one with all rows of the other."""
    a_NE, b_ME = np.asarray(a_NE, np.float32), np.asarray(b_ME, np.float32)
    return lambda start, stop: a_NE[start:stop] @ b_ME.T


def _blocks(rows: int, columns: int) -> list[tuple[int, int]]:
    size = max(1, _BLOCK // max(columns, 1))
    return [(at, min(at + size, rows)) for at in range(0, rows, size)]
