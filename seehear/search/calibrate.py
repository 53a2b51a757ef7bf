"""Calibrated confidence: the share of hits with that confidence that are right.

Cosines of different encoders cannot be compared: captions are nearer to words than pictures are, some queries and some
rows (hubs) are near to everything, and the best of many rows is near to any query. A fixed bank of about 1,000
background queries gives the usual values. With their mean m, a query q and the rows v of one channel,

    s = (q - OWN m) v - slope q m       hubs among rows and among queries removed
    height = (s - middle) / spread      relative to the best s that background queries reach among all rows

The best of many follows Gumbel's law: its middle and spread come from the quartiles of the bank's best, which the few
background queries with an answer in the library do not move. exp(-height) of a high s is the share of background
queries with as good a match. A logistic curve maps height to confidence: one for pictures and sounds, and one with a
larger middle for texts.

Sounds and pictures are compared with pairs of the library's own clips: exp(-height) is the expected number of rows that
are as near by chance.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np

from seehear.types import Float

OWN = 0.25
"""Share of a row's mean similarity to the bank that is subtracted: 1 loses hits on rich rows that are near to much of
the bank, 0 keeps hubs; 0.25 to 0.5 are equal on half of the films of `benchmarks/home.py`."""
# Similarities held at once.
BLOCK = 1 << 24
# Rows sampled against clips, and least number of pairs that likeness is fitted on.
_ROWS = 500
# Cosine of a clip with itself, in half precision.
_SAME = 0.9995
# Least spread.
_LEAST = 1e-3
# Rows compared with all background queries; only one in `_EVERY` queries is compared with all rows.
SAMPLE, _EVERY = 20_000, 10
WORDS = ((0.8, "strong"), (0.5, "fair"), (0.2, "weak"))
"""Least confidence of each word; 'nothing close' below the last."""


class _ScoreCurve(NamedTuple):
    """Logistic curve from height to confidence."""

    steepness: float
    middle: float
    """Height at which half of the hits are right."""


PICTURES, TEXTS, LIKENESS = _ScoreCurve(0.7, 4.5), _ScoreCurve(0.7, 6.5), _ScoreCurve(0.4, 1.0)
"""Curves of words with pictures and sounds, words with texts, and media with media. Fitted on the choosing half of
`benchmarks/home.py` with additional queries, some without an answer. The first is a compromise between frames of films
(middle 3.7 for the first three hits of a query, 4.5 for ten) and photos, drawings and emoji with their names (4 to 8).
Likeness: clips of the choosing half, ESC-10 and emoji with their classes."""


class Scale(NamedTuple):
    """Distribution of the similarities of a channel."""

    slope: float
    """Slope of a query's similarities over its similarity to the mean of the bank."""
    middle: float
    spread: float


def background_phrases() -> list[str]:
    """Background queries for words, about 1,000 short phrases."""
    text = (files("seehear") / "assets" / "background" / "phrases.txt").read_text(encoding="utf-8")
    return text.split("\n")[:-1]


def fit_scale(vectors_NE: Float[np.ndarray, "n e"], bank_BE: Float[np.ndarray, "b e"]) -> Scale:
    """Scale of a channel from the best similarity of each background query to its rows."""
    mean_E = bank_BE.mean(axis=0)
    asked_BE = bank_BE - OWN * mean_E
    sample_NE = sample(vectors_NE)
    best_B = _best(sample_NE, asked_BE)
    # A large channel is sampled. Its best is higher than the sample's; the difference is measured on a tenth of the
    # queries: Gumbel's law alone, spread log(N / n), overestimates it by one to two spreads, as the rows of a clip are
    # alike, and the spread of the best over queries is more than that over rows.
    if len(sample_NE) < len(vectors_NE):
        best_B += (_best(vectors_NE, asked_BE[::_EVERY]) - best_B[::_EVERY]).mean()
    near_B, usual_B = bank_BE @ mean_E, asked_BE @ sample_NE.mean(axis=0)
    # Least squares; the floor is for a bank whose queries are all equally near to their mean.
    away_B = near_B - near_B.mean()
    slope = float(away_B @ usual_B) / max(float(away_B @ away_B), 1e-9)
    low, half, high = np.quantile(best_B - slope * near_B, (0.25, 0.5, 0.75))
    # Gumbel: quantile(p) = middle - spread log(-log p)
    spread = max(float(high - low) / float(np.log(np.log(4) / np.log(4 / 3))), _LEAST)
    return Scale(slope, float(half) + spread * float(np.log(np.log(2))), spread)


def sample(vectors_NE: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "m e"]:
    """All rows, or a fixed random sample of many."""
    if len(vectors_NE) <= SAMPLE:
        return vectors_NE
    return vectors_NE[np.sort(np.random.default_rng(0).choice(len(vectors_NE), SAMPLE, replace=False))]


def _best(vectors_NE: Float[np.ndarray, "n e"], asked_BE: Float[np.ndarray, "b e"]) -> Float[np.ndarray, " b"]:
    """Best similarity of each query, with rows read in blocks."""
    best_B = np.full(len(asked_BE), -np.inf, np.float32)
    at_once = max(1, BLOCK // len(asked_BE))
    for at in range(0, len(vectors_NE), at_once):
        np.maximum(best_B, (vectors_NE[at : at + at_once] @ asked_BE.T).max(axis=0), out=best_B)
    return best_B


def heights(
    vectors_NE: Float[np.ndarray, "n e"],
    query_E: Float[np.ndarray, "*w e"],
    mean_E: Float[np.ndarray, " e"],
    scale: Scale,
) -> Float[np.ndarray, n * w]:
    """Height of each row for words, or for each of several."""
    usual, asked_E = scale.slope * (query_E @ mean_E) + scale.middle, query_E - OWN * mean_E
    near = np.vecdot(vectors_NE, asked_E) if query_E.ndim == 1 else vectors_NE @ asked_E.T
    return (near - usual) / scale.spread


class Likeness(NamedTuple):
    """Logistic distribution of the atanh of cosines of pairs of clips."""

    middle: float
    spread: float


def fit_likeness(vectors_NE: Float[np.ndarray, "n e"], others_BE: Float[np.ndarray, "b e"]) -> Likeness:
    """Distribution of the cosines of sounds or pictures (`others_BE`, clips of the library) with all rows."""
    # One for all rows: a row's own distribution would include its matches where a tenth of the clips are alike.
    scores_MB = vectors_NE[np.linspace(0, len(vectors_NE) - 1, min(len(vectors_NE), _ROWS)).astype(int)] @ others_BE.T
    different = scores_MB[scores_MB < _SAME]
    if len(different) < _ROWS:
        return Likeness(0.3, 0.15)
    half, high = np.quantile(_stretched(different), (0.5, 0.75))
    return Likeness(float(half), max(float(high - half) / float(np.log(3)), _LEAST))  # logistic law


def _stretched(cosines: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Fisher's transform, which gives cosines a constant spread: 0.9 to 0.99 is as wide as 0 to 0.8."""
    return np.arctanh(np.clip(np.asarray(cosines, np.float64), -_SAME, _SAME))


def like_heights(scores_N: Float[np.ndarray, " n"], likeness: Likeness) -> Float[np.ndarray, " n"]:
    """Height of each of N rows for a sound or picture."""
    # log(1 + exp(past)) is -log of the logistic law's share of pairs above; with N rows, N times as many are expected.
    past_N = (_stretched(scores_N) - likeness.middle) / likeness.spread
    return np.logaddexp(0.0, past_N) - np.log(max(1, len(scores_N)))


def evidence(heights_N: Float[np.ndarray, "*n"], curve: _ScoreCurve) -> Float[np.ndarray, "*n"]:
    """-log(1 - confidence): positive, unbounded and additive over the parts of a query."""
    # Of log(1 + exp(x)), `logaddexp` neither overflows for a clear match nor rounds to 0 for none.
    return np.logaddexp(0.0, curve.steepness * (np.asarray(heights_N, np.float64) - curve.middle))


def confidence(evidence_N: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Share of right hits among hits with this evidence, in [0, 1]."""
    # 1 - exp(-evidence) without cancellation for small evidence.
    return -np.expm1(-np.asarray(evidence_N, np.float64))


def in_words(value: float) -> str:
    """strong, fair, weak or nothing close."""
    return next((word for least, word in WORDS if value >= least), "nothing close")
