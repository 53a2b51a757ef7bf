"""Confidence that means the same everywhere: the share of hits of that confidence that are right.

Cosines of different encoders cannot be compared: captions are nearer to words than pictures are, some queries are near
to everything, some rows too (hubs), and of many rows the best is near to a query that means nothing here. A fixed bank
of about 1,000 background queries says what is usual. With their mean m, a query q and the rows v of one channel,

    s = (q - OWN m) v - slope q m       hubs among rows and among queries taken out
    height = (s - middle) / spread      against the best s that background queries reach among all rows

The best of many is distributed by Gumbel's law: its middle and spread come from the quartiles of the bank's best, which
those background queries that do have an answer in a library do not move. exp(-height) of a high s is the share of
background queries that find something as good. A logistic curve makes it the confidence: one for pictures and sounds,
and a later one for texts, as no text is about something else than words are.

Sounds and pictures are set against pairs of the library's own clips: exp(-height) is the number of rows that are
expected to be as near by chance.
"""

from __future__ import annotations

from importlib.resources import files
from typing import NamedTuple

import numpy as np

from seehear.types import Float

OWN = 0.25
"""Share of a row's mean similarity to the bank that is taken out of it: all of it costs hits where rows with much in
them are near to much of the bank, nothing leaves hubs; between 0.25 and 0.5 nothing changes on half of the films of
`benchmarks/home.py`."""
_BLOCK = 1 << 24  # similarities held at once
_ROWS = 500  # rows that stand for all against clips; pairs below which clips say nothing about likeness
_SAME = 0.9995  # cosine of a clip with itself, in half precision
_LEAST = 1e-3  # of a spread
_SAMPLE = 20_000  # rows that all background queries are compared with
_EVERY = 10  # of the background queries, one in so many is compared with all rows
WORDS = ((0.8, "strong"), (0.5, "fair"), (0.2, "weak"))
"""Least confidence of each word; below the last there is nothing close."""


class ScoreCurve(NamedTuple):
    """The logistic curve from height to confidence."""

    steepness: float
    middle: float
    """Height at which half of the hits are right."""


PICTURES, TEXTS, LIKENESS = ScoreCurve(0.7, 4.5), ScoreCurve(0.7, 6.5), ScoreCurve(0.4, 1.0)
"""Words with pictures and sounds, words with texts, media with media. Fitted on the choosing half of
`benchmarks/home.py` with more queries written for it, also without an answer. The first is between what films ask for,
frame by frame (a middle of 3.7 for the first three hits of a query, 4.5 for ten), and photos, drawings and emoji with
their names (4 to 8). Likeness: clips of the choosing half, ESC-10 and emoji with their classes."""


class Scale(NamedTuple):
    """Distribution of the similarities of a channel."""

    slope: float
    """Rise of a query's similarities with its similarity to the mean of the bank."""
    middle: float
    spread: float


def background_phrases() -> list[str]:
    """The background queries for words, about 1,000 short phrases."""
    text = (files("seehear") / "assets" / "background" / "phrases.txt").read_text(encoding="utf-8")
    return text.split("\n")[:-1]


def fit_scale(vectors_NE: Float[np.ndarray, "n e"], bank_BE: Float[np.ndarray, "b e"]) -> Scale:
    """The scale of a channel from the best similarity of each background query to its rows.

    Of many rows a sample is compared with all queries. Among all rows the best is higher; by how much is measured on
    a tenth of the queries. Gumbel's law alone, spread log(N / n), says one to two spreads too much: the rows of a clip
    are alike, and the spread of the best over queries is more than that over rows.
    """
    mean_E = bank_BE.mean(axis=0)
    asked_BE = bank_BE - OWN * mean_E
    sample_NE = sample(vectors_NE)
    best_B = _best(sample_NE, asked_BE)
    if len(sample_NE) < len(vectors_NE):
        best_B += (_best(vectors_NE, asked_BE[::_EVERY]) - best_B[::_EVERY]).mean()
    near_B, usual_B = bank_BE @ mean_E, asked_BE @ sample_NE.mean(axis=0)
    away_B = near_B - near_B.mean()
    slope = float(away_B @ usual_B) / max(float(away_B @ away_B), 1e-9)
    low, half, high = np.quantile(best_B - slope * near_B, (0.25, 0.5, 0.75))
    # Gumbel: quantile(p) = middle - spread log(-log p)
    spread = max(float(high - low) / float(np.log(np.log(4) / np.log(4 / 3))), _LEAST)
    return Scale(slope, float(half) + spread * float(np.log(np.log(2))), spread)


def sample(vectors_NE: Float[np.ndarray, "n e"]) -> Float[np.ndarray, "m e"]:
    """Rows that stand for all: all of few, else drawn, the same ones every time."""
    if len(vectors_NE) <= _SAMPLE:
        return vectors_NE
    return vectors_NE[np.sort(np.random.default_rng(0).choice(len(vectors_NE), _SAMPLE, replace=False))]


def _best(vectors_NE: Float[np.ndarray, "n e"], asked_BE: Float[np.ndarray, "b e"]) -> Float[np.ndarray, " b"]:
    """The best similarity of each query, of rows read in blocks."""
    best_B = np.full(len(asked_BE), -np.inf, np.float32)
    at_once = max(1, _BLOCK // len(asked_BE))
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
    """Cosines of pairs of clips, as atanh: what is usual, and how fast a higher one becomes rarer."""

    middle: float
    spread: float


def fit_likeness(vectors_NE: Float[np.ndarray, "n e"], others_BE: Float[np.ndarray, "b e"]) -> Likeness:
    """The usual cosine of sounds or pictures (`others_BE`, clips of the library) with rows. It is of all rows: where a
    tenth of the clips are alike, a row's own would hold what it should find."""
    scores_MB = vectors_NE[np.linspace(0, len(vectors_NE) - 1, min(len(vectors_NE), _ROWS)).astype(int)] @ others_BE.T
    different = scores_MB[scores_MB < _SAME]
    if len(different) < _ROWS:
        return Likeness(0.3, 0.15)
    half, high = np.quantile(_stretched(different), (0.5, 0.75))
    return Likeness(float(half), max(float(high - half) / float(np.log(3)), _LEAST))  # logistic law


def _stretched(cosines: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Fisher's transform: between 0.9 and 0.99 is as much as between 0 and 0.8, and it keeps its spread."""
    return np.arctanh(np.clip(np.asarray(cosines, np.float64), -_SAME, _SAME))


def like_heights(scores_N: Float[np.ndarray, " n"], likeness: Likeness) -> Float[np.ndarray, " n"]:
    """Height of each of N rows for a sound or picture."""
    past_N = (_stretched(scores_N) - likeness.middle) / likeness.spread
    return np.logaddexp(0.0, past_N) - np.log(max(1, len(scores_N)))


def evidence(heights_N: Float[np.ndarray, "*n"], curve: ScoreCurve) -> Float[np.ndarray, "*n"]:
    """-log(1 - confidence): more than 0, never saturates, and can be added up over the parts of a query."""
    return np.logaddexp(0.0, curve.steepness * (np.asarray(heights_N, np.float64) - curve.middle))


def confidence(evidence_N: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Share of hits with this evidence that are right, in [0, 1]."""
    return -np.expm1(-np.asarray(evidence_N, np.float64))


def in_words(value: float) -> str:
    """strong, fair, weak or nothing close."""
    return next((word for least, word in WORDS if value >= least), "nothing close")
