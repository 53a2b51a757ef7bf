"""Words that texts hold, and the ranking by them joined with that by vectors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

_RANK = 60  # of reciprocal rank fusion
_SMALL = set(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has have he her his i in is it its my near of "
        "on or our she that the their they this to was we were what where who with you your",
    )
)


def telling_words(words: str) -> list[str]:
    """Words of a query, in lower case, without articles and the like."""
    return [word for word in re.findall(r"\w+", words.lower()) if word not in _SMALL]


def share_held(asked: Sequence[str], text: str) -> float:
    """Share of these words that a text holds."""
    has = {_stem(word) for word in re.findall(r"\w+", text.lower())}
    return sum(_stem(word) in has for word in asked) / len(asked)


def joined(
    surprises: Mapping[str, float], shares: Mapping[str, float], known: Sequence[str], allowed: set[str] | None
) -> list[str]:
    """Clips by reciprocal rank in both rankings; a text counts by the share of the words that it holds."""
    kept = {clip for clip in known if allowed is None or clip in allowed}
    by_vectors = sorted((c for c in kept if c in surprises), key=lambda c: (-surprises[c], c))
    by_words = [c for c in shares if c in kept]
    points = {clip: 1 / (_RANK + rank) for rank, clip in enumerate(by_vectors, start=1)}
    for rank, clip in enumerate(by_words, start=1):
        points[clip] = points.get(clip, 0.0) + shares[clip] / (_RANK + rank)
    place = {clip: n for n, clip in enumerate(by_vectors)}
    return sorted(points, key=lambda c: (-points[c], place.get(c, len(place))))


def _stem(word: str) -> str:
    """Enough of it that 'barks' and 'barking' are 'bark'; full text has its own stemmer, this only counts words."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
