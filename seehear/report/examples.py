"""Example queries: the query, the right answer with its rank, and the first answers.

They are not hand-picked. Queries of a direction are sorted by rank, ties in a pseudo-random order by name. The page
shows the best, the worst, and some between, more of them towards the worst, since failures are more informative.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from markupsafe import Markup

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.results import TaskResult
from seehear.library.records import digest
from seehear.library.tables import Clip
from seehear.report.media import Excerpts, Key
from seehear.report.page import render

FOUND = 10
"""Rank up to which an answer counts as found."""
FIRST = 3
"""Number of first answers to show."""
_LETTERS = 220
_SHOWN = {"video": "Still", "audio": "Sound"}


@dataclass(frozen=True)
class _GalleryItem:
    """Row of a gallery, or query."""

    clip: str
    modality: str
    """'video+audio' for a row of two modalities."""
    number: int
    """Index of the text in its clip."""
    score: float = 1.0
    """Similarity to the query."""
    right: bool = False

    @property
    def media(self) -> list[Key]:
        return [(self.clip, m) for m in self.modality.split("+") if m != "text"]


@dataclass(frozen=True)
class Example:
    direction: str
    rank: float
    """Rank of the first right answer, from 1; fractional for ties."""
    gallery: int
    query: _GalleryItem
    right: _GalleryItem
    """The right answer with the best rank."""
    first: tuple[_GalleryItem, ...]

    @property
    def found(self) -> bool:
        return self.rank <= FOUND

    @property
    def media(self) -> list[Key]:
        """Pictures and sounds to show."""
        return [key for item in (self.query, self.right, *self.first) for key in item.media]


def spread(ranks: np.ndarray, names: Sequence[str], count: int) -> np.ndarray:
    """Places of at most `count` queries from the best rank to the worst, more of them among the worse."""
    # Ties are ordered by a hash of their names: by the order of the library, most would be of one recording.
    order = sorted(range(len(ranks)), key=lambda i: (ranks[i], digest("example", names[i])))
    if count >= len(order):
        return np.array(order)
    # Quadratic spacing: small steps at the worst end.
    along = 1 - (1 - np.arange(count) / max(1, count - 1)) ** 2
    # `unique`: rounding may give the same place twice.
    return np.array(order)[np.unique(np.round(along * (len(order) - 1)).astype(int))]


def examples(
    result: TaskResult, query: Embedded, gallery: Embedded, ids: Sequence[str], *, count: int
) -> list[Example]:
    """Examples of one direction between two modalities. Queries of clips missing from the library are skipped."""
    asks, answers = result.task.split("->")
    # The evaluation names a query by its clip, and by its number where a clip has several.
    # Rows of a clip follow each other, so `searchsorted` finds its first.
    within = np.arange(len(query.owner)) - np.searchsorted(query.owner, query.owner)
    owners = zip(query.owner, within, strict=True)
    row = {f"{ids[o]}|{n}" if n else str(ids[o]): i for i, (o, n) in enumerate(owners)}
    known = [i for i, name in enumerate(result.keys.tolist()) if name in row]
    if not known or not count:
        return []
    ranks, names = result.per_query["rank"][known], result.keys[known].tolist()
    chosen = []
    for at in spread(ranks, names, count):
        q = row[names[at]]
        # Query by query: the whole matrix would be computed for a handful of its rows.
        scores = gallery.vectors @ query.vectors[q]
        right = np.flatnonzero(gallery.owner == query.owner[q])
        if not len(right):
            continue
        best = int(right[scores[right].argmax()])
        # Stable: ties keep the order of the gallery on every machine.
        places = np.argsort(-scores, kind="stable")[:FIRST]
        first, *others = (
            replace(_item(gallery, int(g), answers, ids), score=float(scores[g]), right=g in right)
            for g in (best, *places)
        )
        asked = _item(query, q, asks, ids)
        chosen.append(Example(result.task, float(ranks[at]), len(scores), asked, first, tuple(others)))
    return chosen


def example_card(example: Example, clips: Mapping[str, Clip], media: Excerpts, *, scored: str = "cosine") -> Markup:
    """HTML of an example. `scored`: name of the score."""
    rank = f"{example.rank:,.0f}" if example.rank == int(example.rank) else f"{example.rank:,.1f}, tied"
    items = [_shown(i, clips, media, f"{n}.", scored=scored) for n, i in enumerate(example.first, start=1)]
    if not any(item.right for item in example.first):
        right = _shown(example.right, clips, media, f"Right answer, rank {rank}:", scored=scored)
        # Its heading says already that it is right.
        items.insert(0, right | {"marked": False})
    return render(
        "example.html",
        found=example.found,
        rank=rank,
        gallery=f"{example.gallery:,}",
        asked=_shown(example.query, clips, media, "Asked for"),
        items=items,
    )


def _item(rows: Embedded, row: int, modality: str, ids: Sequence[str]) -> _GalleryItem:
    first = int(np.searchsorted(rows.owner, rows.owner[row]))
    return _GalleryItem(str(ids[rows.owner[row]]), modality, row - first)


def _shown(
    item: _GalleryItem, clips: Mapping[str, Clip], media: Excerpts, head: str, *, scored: str = ""
) -> dict[str, Any]:
    clip = clips[item.clip]
    # The library may have lost texts since the evaluation.
    single = item.modality == "text" and item.number < len(clip.texts)
    said = clip.texts[item.number].text if single else " / ".join(t.text for t in clip.texts)
    said = said if len(said) <= _LETTERS else f"{said[:_LETTERS].rstrip()}\N{HORIZONTAL ELLIPSIS}"
    right = item.right and bool(scored)
    return {
        "head": f"{head} {scored} {item.score:.2f}" if scored else head,
        "right": right,
        "marked": right,
        "words": said,
        "clip": clip.id,
        "labels": ", ".join(clip.labels),
        "media": [media.show(key, f"{_SHOWN[key[1]]} of {said or clip.id}") for key in item.media],
    }
