"""Corrections at test time that train nothing, fitted on training clips only.

    gap removal  z <- unit(z - mean of its modality)                     (GR-CLIP, arXiv 2507.19054)
    NNN          score - alpha * mean of an item's k largest scores over a bank of training queries   (2410.24114)
    QB-Norm      exp(beta score) / sum over the bank of exp(beta score), for queries whose best item is one that the
                 bank finds too                                                                       (2112.12777)

The last two change how items compete, so they matter where a few items are near everything (hubs).
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
"""`scores(start, stop)`: the rows of these queries, (rows, G)."""

_BLOCK = 1 << 24  # scores held at once
_BANK = 10_000  # training queries that are plenty
NNN_ALPHAS, NNN_KS, BETAS = (0.0, 0.25, 0.5, 0.75, 1.0), (16, 64, 128), (5.0, 10.0, 20.0, 40.0)


@dataclass(frozen=True)
class GapRemoval:
    means: Mapping[Modality, np.ndarray]

    @classmethod
    def fit(cls, train: Mapping[Modality, Embedded]) -> GapRemoval:
        """The mean unit vector of each modality."""
        return cls({m: part.vectors.mean(axis=0) for m, part in train.items()})

    def __call__(self, vectors: Mapping[Modality, Embedded]) -> dict[Modality, Embedded]:
        return {m: Embedded(unit(part.vectors - self.means[m]), part.owner) for m, part in vectors.items()}


@dataclass(frozen=True)
class NNN:
    alpha: float
    k: int
    bias_G: np.ndarray
    """What is taken off every score of an item, alpha included."""

    @classmethod
    def fit(cls, gallery_GE: np.ndarray, bank_BE: np.ndarray, *, alpha: float = 0.75, k: int = 16) -> NNN:
        """`bank_BE`: vectors of training queries, of the modality that will ask."""
        return cls(alpha, k, alpha * nearest_mean(_transposed(gallery_GE, bank_BE), len(gallery_GE), k))

    def __call__(self, scores: Scores) -> Scores:
        return lambda start, stop: scores(start, stop) - self.bias_G


@dataclass(frozen=True)
class QueryBankNorm:
    beta: float
    log_total_G: np.ndarray
    """Log of the sum over the bank of exp(beta * score) of each item."""
    active_G: np.ndarray
    """Whether the item is the best of some query of the bank."""

    @classmethod
    def fit(cls, gallery_GE: np.ndarray, bank_BE: np.ndarray, *, beta: float = 20.0) -> QueryBankNorm:
        transposed, num_g = _transposed(gallery_GE, bank_BE), len(gallery_GE)
        total = np.empty(num_g)
        for start, stop in _blocks(num_g, len(bank_BE)):
            scaled = beta * transposed(start, stop).astype(np.float64)
            most = scaled.max(axis=1)
            total[start:stop] = most + np.log(np.exp(scaled - most[:, None]).sum(axis=1))
        active = np.zeros(num_g, bool)
        for start, stop in _blocks(len(bank_BE), num_g):
            active[np.argmax(_product(bank_BE[start:stop], gallery_GE), axis=1)] = True
        return cls(beta, total, active)

    def __call__(self, scores: Scores) -> Scores:
        """Only the order within a query has a meaning afterwards."""

        def corrected(start: int, stop: int) -> np.ndarray:
            plain = scores(start, stop)
            chosen = self.active_G[plain.argmax(axis=1)]
            return np.where(chosen[:, None], self.beta * plain - self.log_total_G, plain)

        return corrected


def nearest_mean(scores_of_items: Scores, num_items: int, k: int) -> Float[np.ndarray, " g"]:
    """Mean of the k largest scores of each item over the bank (of all, where the bank is smaller)."""
    means = []
    size = scores_of_items(0, 1).shape[1]
    k = min(k, size)
    for start, stop in _blocks(num_items, size):
        scores = scores_of_items(start, stop)
        means.append(np.partition(scores, size - k, axis=1)[:, size - k :].mean(axis=1))
    return np.concatenate(means)


def corrected_retrieval(correction: NNN | QueryBankNorm | None, query: Embedded, gallery: Embedded) -> RetrievalResult:
    scores: Scores = lambda start, stop: _product(query.vectors[start:stop], gallery.vectors)  # noqa: E731
    return rank_blocks(scores if correction is None else correction(scores), query.owner, gallery.owner)


def tuned_corrections(
    train_query: Embedded, val_query: Embedded, val_gallery: Embedded, test_gallery: Embedded
) -> dict[str, NNN | QueryBankNorm]:
    """NNN and QB-Norm for one direction, their settings chosen by MRR on validation clips, ready for the test gallery.

    The bank is training queries. What is fitted on the test gallery is the popularity of its items among them: no test
    query and no pairing is seen.
    """
    bank_BE = train_query.vectors
    if len(bank_BE) > _BANK:
        bank_BE = bank_BE[np.random.default_rng(0).choice(len(bank_BE), _BANK, replace=False)]

    def score(correction: NNN | QueryBankNorm) -> float:
        return corrected_retrieval(correction, val_query, val_gallery).metrics["MRR"]

    nnn = max(
        (NNN.fit(val_gallery.vectors, bank_BE, alpha=a, k=k) for k in NNN_KS for a in NNN_ALPHAS),
        key=score,
    )
    norm = max((QueryBankNorm.fit(val_gallery.vectors, bank_BE, beta=b) for b in BETAS), key=score)
    return {
        "NNN": NNN.fit(test_gallery.vectors, bank_BE, alpha=nnn.alpha, k=nnn.k),
        "QB-Norm": QueryBankNorm.fit(test_gallery.vectors, bank_BE, beta=norm.beta),
    }


def _transposed(gallery_GE: np.ndarray, bank_BE: np.ndarray) -> Scores:
    """Scores of gallery rows against the bank."""
    return lambda start, stop: _product(gallery_GE[start:stop], bank_BE)


def _product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray(a, np.float32) @ np.asarray(b, np.float32).T


def _blocks(rows: int, columns: int) -> list[tuple[int, int]]:
    size = max(1, _BLOCK // max(columns, 1))
    return [(at, min(at + size, rows)) for at in range(0, rows, size)]
