"""Search in one index: by words, a sound, a picture, a part of a video, a clip of the library, or several of them.

Each part of a query has a unit vector; the query is their weighted mean. A clip has the score of its best row, of any
modality. With `hybrid`, the ranking by vectors and the one by words (BM25) are joined by reciprocal rank: the sum of
1 / (60 + rank).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from seehear.errors import SeehearError, unknown
from seehear.library.tables import Clip, LibraryTables, one_of
from seehear.nn.unit import unit
from seehear.search.filters import Allowed, Filters, allowed_clips
from seehear.search.fulltext import RANK, search_fulltext
from seehear.search.gallery import ApproximateGallery, ExactGallery, Found, Gallery, nearest_clips
from seehear.search.index import Indexer, indexes
from seehear.types import MODALITIES, Modality

Part = str | Mapping[str, Any]
"""Words, or {"text"}, {"audio"}, {"image"}, {"video"}, {"clip"} with optional "start", "end" (seconds) and "weight".
A "vector" (E,) is used in place of encoding the part."""

PART_MODALITY = {"text": "text", "audio": "audio", "image": "video", "video": "video"}
# Least number of clips of each ranking that are joined.
_DEPTH = 100


class SearchSpace(Indexer, Protocol):
    """Space that encodes queries."""

    @property
    def modalities(self) -> tuple[str, ...]: ...

    @property
    def locked(self) -> tuple[Modality, ...]:
        """Modalities whose vectors are those of their encoders, unchanged by training."""
        ...

    def encode_query(self, inputs: Sequence[Any], /) -> np.ndarray:
        """(N, E) float32 unit vectors of queries."""
        ...


@dataclass(frozen=True)
class Hit:
    id: str
    source: str
    """Name of the file in the library."""
    path: str
    """Path of the file; '' for a clip of text alone."""
    start: float
    """Seconds; of the matching text if it has times."""
    end: float
    score: float
    """Cosine, or the sum of reciprocal ranks in a hybrid search."""
    modality: str
    """Matching modality."""
    text: str
    """Matching text, else the clip's first."""
    labels: tuple[str, ...]
    also: tuple[str, ...] = ()
    """Other places of the same file."""
    clip: Clip = field(kw_only=True, repr=False)

    def plain(self) -> dict[str, Any]:
        values = {name: value for name, value in vars(self).items() if name != "clip"}
        return values | {"labels": list(self.labels), "also": list(self.also)}


class Searcher:
    """Search in one index, ranked by the cosines of its space; `MomentSearch` searches all of a library together."""

    def __init__(self, library: LibraryTables, space: SearchSpace, name: str, *, remove_gap: bool = False):
        known = indexes(library)
        if not known:
            raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri} RUN'")
        if name not in known:
            raise unknown("index", name, known)
        about = known[name]
        if about["maker"] != space.fingerprint:
            raise SeehearError(f"index {name} was made by another model: run 'seehear index {library.uri} RUN' again")
        if about["recall"] is not None and remove_gap:
            raise SeehearError(f"gap removal needs exact search, and index {name} is approximate")
        self.space, self.name, self.remove_gap = space, name, remove_gap
        self.renew(library)
        self.gallery: Gallery = (
            ExactGallery(library, name, gap=remove_gap)
            if about["recall"] is None
            else ApproximateGallery(library, name, probes=about["probes"], kinds=about["modalities"])
        )

    def renew(self, library: LibraryTables) -> None:
        """Replaces the library by a newer version of it."""
        self.library, self._roots, self._copies = library, library.roots(), library.copies()

    def search(
        self,
        query: Part | Sequence[Part],
        *,
        k: int = 10,
        modalities: Sequence[Modality] = (),
        filters: Filters | None = None,
        hybrid: bool = False,
    ) -> list[Hit]:
        """The k best clips. `modalities`: modalities that may match; all by default."""
        parts = parts_of(query)
        for m in modalities:
            if m not in self.space.modalities:
                raise unknown("modality", m, self.space.modalities)
        asked = {part["clip"] for part in parts if not isinstance(part, str) and "clip" in part}
        allowed = allowed_clips(self.library, filters)
        wanted = modalities or [m for m in MODALITIES if m in self.space.modalities]
        # Clips of the query are the nearest to it and are left out below: as many more are read.
        depth = (max(_DEPTH, 4 * k) if hybrid else k) + len(asked)
        found = nearest_clips(self.gallery, self.vector(parts), depth, wanted, allowed)
        if hybrid:
            words = " ".join(t for t in (words_of(part) for part in parts) if t)
            found = _fused(found, self._by_words(words, depth, allowed))
        return self._hits([f for f in found if f[0] not in asked][:k])

    def vector(self, parts: Sequence[Part]) -> np.ndarray:
        """(E,) weighted mean of the parts' unit vectors, made unit."""
        total = np.zeros(self.space.dim, np.float32)
        for part in parts:
            total += weight_of(part) * self._vector(part)
        # Parts of opposite weights may sum to rounding errors, whose direction means nothing.
        if not np.linalg.norm(total) > 1e-6:
            raise SeehearError("the parts of the query cancel out: change their weights")
        return unit(total)

    def _vector(self, part: Part) -> np.ndarray:
        if not isinstance(part, str) and "vector" in part:
            return unit(part["vector"])
        if not isinstance(part, str) and "clip" in part:
            own = self.gallery.vectors_of(part["clip"])
            if not own:
                raise SeehearError(f"no clip {part['clip']!r} in index {self.name}")
            # Each modality counts once, however many frames or texts the clip has.
            return unit(np.mean([unit(rows.mean(axis=0)) for rows in own.values()], axis=0))
        item, kind = item_of(part, (*PART_MODALITY,))
        vector_E = self.space.encode_query([item])[0]
        mean_E = self.gallery.means.get(PART_MODALITY[kind])
        return vector_E if mean_E is None else unit(vector_E - mean_E)

    def _by_words(self, words: str, k: int, allowed: Allowed | None) -> list[Found]:
        """Best text of each of the k best clips; more rows are read while filters leave too few."""
        want = 4 * k
        while True:
            rows = search_fulltext(self.library, words, want)
            found: dict[str, Found] = {}
            fitting = None if allowed is None else allowed.of({clip for clip, _, _ in rows})
            for clip, item, score in rows:
                if fitting is None or clip in fitting:
                    found.setdefault(clip, (clip, item, "text", score))
            if len(found) >= k or len(rows) < want:
                return list(found.values())[:k]
            want *= 4

    def _hits(self, rows: Sequence[Found]) -> list[Hit]:
        """Hits; rows of deleted clips are left out."""
        clips = {clip.id: clip for clip in self.library.clips(one_of("id", (row[0] for row in rows)))} if rows else {}
        hits = []
        for id, item, modality, score in rows:
            if (clip := clips.get(id)) is None:
                continue
            # A text may have been removed since the index was made.
            matched = clip.texts[item] if modality == "text" and item < len(clip.texts) else None
            text = matched or (clip.texts[0] if clip.texts else None)
            start, end = clip.start, clip.end
            if matched is not None and matched.start is not None and matched.end is not None:
                start, end = matched.start, matched.end
            source = clip.source_of(modality)
            places = (source, *self._copies.get(source, ())) if source else ()
            path, *also = [str(self.library.path_of(place, self._roots)) for place in places] or [""]
            words = text.text if text else ""
            own = (id, source, path, start, end, score, modality, words, clip.labels, tuple(also))
            hits.append(Hit(*own, clip=clip))
        return hits


def parts_of(query: Part | Sequence[Part]) -> list[Part]:
    """Parts of a query; raises `SeehearError` for none."""
    parts = [query] if isinstance(query, str | Mapping) else list(query)
    if not parts:
        raise SeehearError("nothing to search for: give words, a sound, a picture, a video or a clip")
    return parts


def item_of(part: Part, kinds: Sequence[str]) -> tuple[dict[str, Any], str]:
    """(part without its weight, its only key among `kinds`)."""
    item = {"text": part} if isinstance(part, str) else {n: v for n, v in part.items() if n != "weight"}
    own = [kind for kind in kinds if kind in item]
    if len(own) != 1:
        listed, given = ", ".join(PART_MODALITY), ", ".join(item) or "none"
        raise SeehearError(f"a part of a query is one of {listed} or clip; got {given}")
    return item, own[0]


def weight_of(part: Part) -> float:
    """Weight of a part, 1 by default; negative for unwanted ones."""
    return 1.0 if isinstance(part, str) else float(part.get("weight", 1.0))


def words_of(part: Part) -> str:
    """Words of a part; '' for a file or a clip."""
    return part if isinstance(part, str) else str(part.get("text", ""))


def _fused(*rankings: Sequence[Found]) -> list[Found]:
    """Reciprocal rank fusion; the matching row of a clip is that of the first ranking with the clip."""
    scores: dict[str, float] = {}
    best: dict[str, Found] = {}
    for ranking in rankings:
        for rank, found in enumerate(ranking, start=1):
            scores[found[0]] = scores.get(found[0], 0.0) + 1 / (RANK + rank)
            best.setdefault(found[0], found)
    # The sort is stable: clips of equal sums keep the order of the first ranking.
    order = sorted(scores, key=lambda clip: -scores[clip])
    return [(*best[clip][:3], scores[clip]) for clip in order]
