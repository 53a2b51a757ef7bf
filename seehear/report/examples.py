"""Queries to look at and listen to: what was asked, the right answer with its rank, and what came before it.

Nobody picks them. The queries of a direction are put in order by their rank, those of one rank in an order drawn from
their names; shown are the first, the last, and some between, nearer together towards the worst: what goes wrong tells
more than what goes right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.results import TaskResult
from seehear.library.records import digest
from seehear.library.tables import Clip
from seehear.report.media import Key, Media
from seehear.report.page import render

FOUND = 10
"""Rank up to which an answer counts as found."""
FIRST = 3
"""Of the ranking, shown beside the right answer."""
_LETTERS = 220
_SHOWN = {"video": "Still", "audio": "Sound"}


@dataclass(frozen=True)
class Item:
    """A row of a gallery, or a query."""

    clip: str
    modality: str
    """Or two of them, 'video+audio', where a row is of both."""
    number: int
    """Which text of its clip; 0 where there is one."""
    score: float = 1.0
    """With the query."""
    right: bool = False

    @property
    def media(self) -> list[Key]:
        return [(self.clip, m) for m in self.modality.split("+") if m != "text"]


@dataclass(frozen=True)
class Example:
    direction: str
    rank: float
    """Of the first right answer, from 1; between two where items tie."""
    gallery: int
    query: Item
    right: Item
    """The right answer that came first."""
    first: tuple[Item, ...]

    @property
    def found(self) -> bool:
        return self.rank <= FOUND

    @property
    def media(self) -> list[Key]:
        """The pictures and sounds it shows."""
        return [key for item in (self.query, self.right, *self.first) for key in item.media]


def spread(ranks: np.ndarray, names: Sequence[str], count: int) -> np.ndarray:
    """Places of at most `count` queries from the best rank to the worst, more of them among the worse."""
    order = sorted(range(len(ranks)), key=lambda i: (ranks[i], digest("example", names[i])))
    if count >= len(order):
        return np.array(order)
    along = 1 - (1 - np.arange(count) / max(1, count - 1)) ** 2
    return np.array(order)[np.unique(np.round(along * (len(order) - 1)).astype(int))]


def examples(
    result: TaskResult, query: Embedded, gallery: Embedded, ids: Sequence[str], *, count: int
) -> list[Example]:
    """Of one direction between two modalities. Queries of clips that the library no longer has are passed over."""
    asks, answers = result.task.split("->")
    row = {name: i for i, name in enumerate(_names(query, ids))}
    known = [i for i, name in enumerate(result.keys.tolist()) if name in row]
    if not known or not count:
        return []
    ranks, names = result.per_query["rank"][known], result.keys[known].tolist()
    found = []
    for at in spread(ranks, names, count):
        q = row[names[at]]
        scores = gallery.vectors @ query.vectors[q]
        right = np.flatnonzero(gallery.owner == query.owner[q])
        if not len(right):
            continue
        best = int(right[scores[right].argmax()])
        places = np.argsort(-scores, kind="stable")[:FIRST]
        made = [_item(gallery, int(g), answers, ids, float(scores[g]), g in right) for g in (best, *places)]
        asked = _item(query, q, asks, ids, 1.0, False)
        found.append(Example(result.task, float(ranks[at]), len(scores), asked, made[0], tuple(made[1:])))
    return found


def example_card(example: Example, clips: Mapping[str, Clip], media: Media, *, scored: str = "cosine") -> Markup:
    """`scored`: what a score is."""
    rank = f"{example.rank:,.0f}" if example.rank == int(example.rank) else f"{example.rank:,.1f}, tied"
    items = [_shown(i, clips, media, f"{n}.", scored=scored) for n, i in enumerate(example.first, start=1)]
    if not any(item.right for item in example.first):
        right = _shown(example.right, clips, media, f"Right answer, rank {rank}:", scored=scored)
        items.insert(0, right | {"marked": False})
    return render(
        "example.html",
        found=example.found,
        rank=rank,
        gallery=f"{example.gallery:,}",
        asked=_shown(example.query, clips, media, "Asked for"),
        items=items,
    )


def _item(rows: Embedded, row: int, modality: str, ids: Sequence[str], score: float, right: bool) -> Item:
    first = int(np.searchsorted(rows.owner, rows.owner[row]))
    return Item(str(ids[rows.owner[row]]), modality, row - first, score, right)


def _names(rows: Embedded, ids: Sequence[str]) -> list[str]:
    """As the evaluation names its queries: the clip, and which of its rows where it has several."""
    within = np.arange(len(rows.owner)) - np.searchsorted(rows.owner, rows.owner)
    return [f"{ids[o]}|{n}" if n else str(ids[o]) for o, n in zip(rows.owner, within, strict=True)]


def _shown(item: Item, clips: Mapping[str, Clip], media: Media, head: str, *, scored: str = "") -> dict[str, Any]:
    clip = clips[item.clip]
    said = texts_of(clip, item.number if item.modality == "text" else None)
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


def texts_of(clip: Clip, number: int | None) -> str:
    """One text of a clip, or all of them."""
    if number is not None and number < len(clip.texts):
        said = clip.texts[number].text
    else:
        said = " / ".join(t.text for t in clip.texts)
    return said if len(said) <= _LETTERS else f"{said[:_LETTERS].rstrip()}\N{HORIZONTAL ELLIPSIS}"
