"""Scores that mean the same everywhere: how many of about 1,000 background queries a row answers less well.

Cosines of different encoders, and of different rows of one encoder, cannot be compared: some rows are near to
everything (hubs), and captions are nearer to words than pictures are. So each similarity is set against those that a
fixed bank of background queries has with the same row and with all. The share of the bank that is beaten is written as
a surprise,

    u = -log P(a background query is at least as near),

which does not saturate: up to the 90th percentile P is read off a line through it and the median, above it an
exponential tail goes on (the mean excess over that percentile; the usual form of tails in extreme value theory).

The best of N rows is surprising even for a query that means nothing here. So the best u that each background query
reaches among all rows of a channel is kept as well, and a channel's surprise c is u set against those, in the same way.
c can be compared between channels, and 1 - exp(-c) is the confidence: the share of background queries that find
nothing as good.
"""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from seehear.types import Float

OWN = 0.25
"""Share of a row's own levels beside those of all rows, chosen on half of the films of `benchmarks/home.py`: a row with
much in it is near to much of the background, and levels of its own alone take that from it (R@1 27 instead of 39)."""
_TAIL = 0.1  # share of the background above the percentile from which the tail is exponential
_BLOCK = 1 << 24  # similarities held at once
_ROWS = 500  # rows that stand for all against clips
_SAME = 0.9995  # cosine of a clip with itself, in half precision
WORDS = ((0.9, "strong"), (0.65, "fair"), (0.35, "weak"))
"""Least confidence of each word; below the last there is nothing close."""


def background_phrases() -> list[str]:
    """The background queries for words, about 1,000 short phrases."""
    text = (files("seehear") / "assets" / "background" / "phrases.txt").read_text(encoding="utf-8")
    return text.split("\n")[:-1]


def levels(scores_NB: Float[np.ndarray, "n b"]) -> Float[np.ndarray, "n 3"]:
    """Median, 90th percentile and mean excess over it, of each row of background scores."""
    count = scores_NB.shape[1]
    tail = max(1, round(_TAIL * count))
    parted = np.partition(scores_NB, (count // 2, count - tail - 1 if count > tail else 0), axis=1)
    high_N = parted[:, count - tail - 1] if count > tail else parted[:, 0]
    excess_N = (parted[:, count - tail :] - high_N[:, None]).mean(axis=1)
    return np.stack([parted[:, count // 2], high_N, excess_N.clip(1e-6)], axis=1).astype(np.float32)


def surprise(levels_N3: Float[np.ndarray, "*n 3"], scores_N: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """-log of the share of the background that scores at least as high: more than 0, natural logarithm."""
    scores_N = np.asarray(scores_N, np.float64)
    middle, high, excess = levels_N3[..., 0], levels_N3[..., 1], levels_N3[..., 2]
    past = (scores_N - middle) / (high - middle).clip(1e-6)
    # Below the median the share shrinks and never ends: what finds nothing close is in order, too.
    share = np.where(past < 0, 0.5 * np.exp(1.6 * past.clip(-80.0, 0.0)), (0.5 + 0.4 * past).clip(0.5, 1 - _TAIL))
    beyond = ((scores_N - high) / excess).clip(0.0)
    return beyond - np.log1p(-share)


def confidence(surprises: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """Share of background queries that find nothing as good, in [0, 1]."""
    return 1.0 - np.exp(-np.asarray(surprises, np.float64))


def in_words(value: float) -> str:
    """strong, fair, weak or nothing close."""
    return next((word for least, word in WORDS if value >= least), "nothing close")


def calibrated(
    vectors_NE: Float[np.ndarray, "n e"], bank_BE: Float[np.ndarray, "b e"]
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, " 3"]]:
    """(levels of each row, those of the best surprise that a background query reaches among all rows), in blocks of
    rows. A row's levels are in part its own, against hubs, in part the mean of all."""
    at_once = max(1, _BLOCK // max(1, len(bank_BE)))
    blocks = [slice(at, at + at_once) for at in range(0, len(vectors_NE), at_once)]
    own_N3 = np.concatenate([levels(vectors_NE[block] @ bank_BE.T) for block in blocks])
    rows_N3 = OWN * own_N3 + (1 - OWN) * own_N3.mean(axis=0)
    best_B = np.zeros(len(bank_BE))
    for block in blocks:
        own = surprise(rows_N3[block, None], vectors_NE[block] @ bank_BE.T)
        np.maximum(best_B, own.max(axis=0), out=best_B)
    return rows_N3, levels(best_B[None])[0]


def pair_levels(vectors_NE: Float[np.ndarray, "n e"], others_BE: Float[np.ndarray, "b e"]) -> Float[np.ndarray, " 3"]:
    """Levels that hold for all rows, where the background are some of the library's own clips, for sounds and pictures.
    A row's own would be wrong here: where a tenth of the clips are alike, its tail is what it should find."""
    scores_MB = vectors_NE[np.linspace(0, len(vectors_NE) - 1, min(len(vectors_NE), _ROWS)).astype(int)] @ others_BE.T
    different = scores_MB[scores_MB < _SAME]
    # Too few say nothing.
    return levels(different[None])[0] if len(different) >= _ROWS else np.array([0.3, 0.6, 0.1], np.float32)
