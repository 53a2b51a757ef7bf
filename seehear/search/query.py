"""Search a library: by words, a sound, a picture, a stretch of video, a clip that is there, or several of them at
once.

A query is a list of parts. Each part has a unit vector; the query is their weighted mean. Every clip counts once, by
the row of it that matches best, whatever that row's modality. With `hybrid`, the ranking by vectors and the one by the
words themselves (BM25) are joined by reciprocal rank: 1 / (60 + rank) of each, summed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import numpy as np

from seehear.errors import SeehearError, unknown
from seehear.library.tables import Clip, Library, one_of
from seehear.nn.unit import unit
from seehear.search.filters import Allowed, Filters, allowed_clips
from seehear.search.fulltext import search_fulltext
from seehear.search.gallery import ApproximateGallery, ExactGallery, Found, Gallery, nearest_clips
from seehear.search.index import Indexer, indexes
from seehear.types import MODALITIES, Modality

Part = str | Mapping[str, Any]
"""Words, or {"text"}, {"audio"}, {"image"}, {"video"}, {"clip"} with optional "start", "end" (seconds) and "weight".
With a "vector" (E,) beside them, or alone, nothing is encoded: it stands for the part."""

PART_MODALITY = {"text": "text", "audio": "audio", "image": "video", "video": "video"}
_FUSION = 60  # of reciprocal rank fusion
_DEPTH = 100  # clips of each ranking that are joined, at least


class SearchSpace(Indexer, Protocol):
    @property
    def modalities(self) -> tuple[str, ...]: ...

    @property
    def locked(self) -> tuple[Modality, ...]:
        """Modalities whose vectors are those of their encoders, which the space keeps as they are."""
        ...

    def encode_query(self, inputs: Sequence[Any], /) -> np.ndarray:
        """(N, E) float32 unit vectors of what is searched with."""
        ...


@dataclass(frozen=True)
class Hit:
    id: str
    source: str
    """Name of the file in the library."""
    path: str
    """Path of the file; '' for a clip of text alone."""
    start: float
    """Seconds, of the matching text where that has times of its own."""
    end: float
    score: float
    """Cosine; of a hybrid search the sum of reciprocal ranks."""
    modality: str
    """Modality of the clip that matched."""
    text: str
    """The text that matched, else the clip's first."""
    labels: tuple[str, ...]
    also: tuple[str, ...] = ()
    """Other places of the same file."""

    def plain(self) -> dict[str, Any]:
        return asdict(self) | {"labels": list(self.labels), "also": list(self.also)}


class Searcher:
    """An index opened for searching; vectors are loaded once."""

    def __init__(self, library: Library, space: SearchSpace, name: str, *, remove_gap: bool = False):
        found = indexes(library)
        if name not in found:
            if not found:
                raise SeehearError(f"{library.uri} has no index: run 'seehear index {library.uri} RUN'")
            raise unknown("index", name, found)
        about = found[name]
        if about["maker"] != space.fingerprint:
            raise SeehearError(f"index {name} was made by another model: run 'seehear index {library.uri} RUN' again")
        if about["recall"] is not None and remove_gap:
            raise SeehearError(f"gap removal needs exact search, and index {name} is approximate")
        self.space, self.name, self.remove_gap = space, name, remove_gap
        self.renew(library)
        self.gallery: Gallery
        if about["recall"] is None:
            exact = ExactGallery(library, name, gap=remove_gap)
            self.gallery, self.means = exact, exact.means
        else:
            self.gallery, self.means = (
                ApproximateGallery(library, name, probes=about["probes"], kinds=about["modalities"]),
                {},
            )

    def renew(self, library: Library) -> None:
        """The library opened again: what others have written of its clips since is seen from here on."""
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
        """The k best clips. `modalities`: what of a clip may match; all by default."""
        found = self.search_clips(query, k=k, modalities=modalities, filters=filters, hybrid=hybrid)
        return [hit for hit, _ in found]

    def search_clips(
        self,
        query: Part | Sequence[Part],
        *,
        k: int = 10,
        modalities: Sequence[Modality] = (),
        filters: Filters | None = None,
        hybrid: bool = False,
    ) -> list[tuple[Hit, Clip]]:
        """`search`, each hit with all that the library knows of its clip."""
        parts = [query] if isinstance(query, str | Mapping) else list(query)
        if not parts:
            raise SeehearError("nothing to search for: give words, a sound, a picture, a video or a clip")
        for m in modalities:
            if m not in self.space.modalities:
                raise unknown("modality", m, self.space.modalities)
        asked = {part["clip"] for part in parts if not isinstance(part, str) and "clip" in part}
        allowed = allowed_clips(self.library, filters)
        wanted = modalities or [m for m in MODALITIES if m in self.space.modalities]
        depth = (max(_DEPTH, 4 * k) if hybrid else k) + len(asked)
        found = nearest_clips(self.gallery, self.vector(parts), depth, wanted, allowed)
        if hybrid:
            words = " ".join(t for t in (words_of(part) for part in parts) if t)
            found = _fused(found, self._by_words(words, depth, allowed))
        return self._hits([f for f in found if f[0] not in asked][:k])

    def vector(self, parts: Sequence[Part]) -> np.ndarray:
        """(E,) the query: the weighted mean of the parts' unit vectors, made unit."""
        total = np.zeros(self.space.dim, np.float32)
        for part in parts:
            total += weight_of(part) * self._part(part)
        if not np.linalg.norm(total) > 1e-6:
            raise SeehearError("the parts of the query cancel out: change their weights")
        return unit(total)

    def _part(self, part: Part) -> np.ndarray:
        if not isinstance(part, str) and "vector" in part:
            return unit(part["vector"])
        if not isinstance(part, str) and "clip" in part:
            own = self.gallery.vectors_of(part["clip"])
            if not own:
                raise SeehearError(f"no clip {part['clip']!r} in index {self.name}")
            return unit(np.mean([unit(rows.mean(axis=0)) for rows in own.values()], axis=0))
        item = {"text": part} if isinstance(part, str) else {n: v for n, v in part.items() if n != "weight"}
        kinds = [kind for kind in PART_MODALITY if kind in item]
        if len(kinds) != 1:
            raise SeehearError(
                f"a part of a query is one of {', '.join(PART_MODALITY)} or clip; got {', '.join(item) or 'none'}"
            )
        vector_E = self.space.encode_query([item])[0]
        mean_E = self.means.get(PART_MODALITY[kinds[0]])
        return vector_E if mean_E is None else unit(vector_E - mean_E)

    def _by_words(self, words: str, k: int, allowed: Allowed | None) -> list[Found]:
        """Best text of each of the k best clips; more rows are asked for while filters leave too few."""
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

    def _hits(self, found: Sequence[Found]) -> list[tuple[Hit, Clip]]:
        if not found:
            return []
        clips = {clip.id: clip for clip in self.library.clips(one_of("id", (f[0] for f in found)))}
        known = [(clips[f[0]], f) for f in found if f[0] in clips]
        return [(self._with_places(_hit(clip, f, self.library, self._roots)), clip) for clip, f in known]

    def _with_places(self, hit: Hit) -> Hit:
        others = self._copies.get(hit.source, ())
        return replace(hit, also=tuple(str(self.library.path_of(name, self._roots)) for name in others))


def _hit(clip: Clip, found: Found, library: Library, roots: dict[str, str]) -> Hit:
    _, item, modality, score = found
    matched = clip.texts[item] if modality == "text" and item < len(clip.texts) else None
    text = matched or (clip.texts[0] if clip.texts else None)
    source = clip.source_of(modality)
    start, end = clip.start, clip.end
    if matched is not None and matched.start is not None and matched.end is not None:
        start, end = matched.start, matched.end
    path = str(library.path_of(source, roots)) if source else ""
    return Hit(clip.id, source, path, start, end, score, modality, text.text if text else "", clip.labels)


def weight_of(part: Part) -> float:
    return 1.0 if isinstance(part, str) else float(part.get("weight", 1.0))


def words_of(part: Part) -> str:
    """'' where it is a file or a clip."""
    return part if isinstance(part, str) else str(part.get("text", ""))


def _fused(*rankings: Sequence[Found]) -> list[Found]:
    """Reciprocal rank fusion; the first ranking that has a clip says what of it matched."""
    scores: dict[str, float] = {}
    best: dict[str, Found] = {}
    for ranking in rankings:
        for rank, found in enumerate(ranking, start=1):
            scores[found[0]] = scores.get(found[0], 0.0) + 1 / (_FUSION + rank)
            best.setdefault(found[0], found)
    order = sorted(scores, key=lambda clip: -scores[clip])
    return [(*best[clip][:3], scores[clip]) for clip in order]
