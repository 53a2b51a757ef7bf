"""Search for moments in all indexes of a library: by words that are seen, heard, spoken or written, by sounds and by
pictures.

The rows of an index form channels by kind (seen, spoken, ...). A similarity is converted to the evidence of a right
match, which is comparable between channels (`search/calibrate.py`). The evidence of a clip is the sum over kinds of
that of its best row: "a man at a desk says hello" matches two kinds. The best row of all gives the kind and the
confidence. Texts that contain the words join by reciprocal rank.

A film has a row for each differing frame. Clips of one file are one moment if they overlap, or if they are within a few
seconds of each other and look, or sound, alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from heapq import nlargest
from typing import Any, Literal

import numpy as np

from seehear.errors import SeehearError, unknown
from seehear.library.clip_table import ClipTable
from seehear.library.current import frame_seconds, is_frame
from seehear.library.tables import Clip, LibraryTables
from seehear.search.answer import Answer, Moment
from seehear.search.background import KINDS, OpenIndex, kind_of_text, unwanted
from seehear.search.calibrate import WORDS, confidence
from seehear.search.filters import Filters, allowed_clips
from seehear.search.fulltext import joined, search_fulltext, share_held, telling_words
from seehear.search.gallery import top
from seehear.search.query import PART_MODALITY, Part, SearchSpace, item_of, parts_of, weight_of, words_of

# Best rows of a channel that are considered.
_ROWS = 2000
# Least number of clips of each ranking that are joined.
DEPTH = 200
# Best clips that a filter is applied to before it is applied to all.
FIRST = 1000
# Seconds of a moment around the matching frame of a longer clip.
_WINDOW = 10.0
# Seconds between clips of one file that are one moment. Chosen, as is the share, on half of `benchmarks/home.py`.
_GAP = 5.0
# Least evidence, in shares of the moment's, of a neighbour that makes it longer.
_SHARE = 0.1
# Seconds up to which neighbours make a moment longer.
_LONGEST = 30.0
# Most moments of a film, in a search for films.
_OF_FILM = 24
# Least confidence of a film's other moments, as a share of its best; number of moments that may be below *weak*.
_RELATED, _ANYHOW = 0.2, 3


class NothingToCompare(SeehearError):
    """No part of a query can be compared with any row of the library."""


@dataclass(frozen=True)
class _Match:
    """The best row of a clip in one channel."""

    evidence: float
    kind: str
    item: int
    others: float = 0.0
    """Sum of the evidence of the best rows of other kinds."""
    index: OpenIndex | None = None
    """Index of the row; None for a text that full text found."""
    row: int = -1

    def same_scene(self, other: _Match) -> bool:
        """True if two rows of one index look, or sound, alike."""
        return self.index is not None and self.index is other.index and self.index.alike(self.row, other.row)


Channel = tuple[OpenIndex, str, np.ndarray]
"""An index, a kind of its rows, and the evidence of each row of that kind."""


class MomentSearch:
    """Search in all indexes of a library together, ranked by calibrated confidence; `Searcher` searches one of them.

    `spaces`: space of each index by name."""

    def __init__(self, library: LibraryTables, spaces: Mapping[str, SearchSpace]):
        self.library = library
        self.clips = ClipTable(library)
        self.indexes = [OpenIndex(library, space, name, self.clips) for name, space in spaces.items()]
        # A clip in several indexes counts once.
        self.indexed = len(reduce(np.union1d, (index.clips_N for index in self.indexes), np.empty(0)))
        self._roots, self._copies = library.roots(), library.copies()

    def search(
        self,
        query: Part | Sequence[Part],
        *,
        k: int = 10,
        kinds: Sequence[str] = (),
        filters: Filters | None = None,
        fulltext: bool = True,
        by: Literal["moment", "film"] = "moment",
    ) -> Answer:
        """The k best moments, or those of the k best films, sounds and pictures. `kinds`: kinds of match; all by
        default. A part may also be {"vectors": {index: {modality: (E,)}}}, the vectors of one file."""
        parts = parts_of(query)
        for kind in kinds:
            if kind not in KINDS:
                raise unknown("kind", kind, KINDS)
        wanted = tuple(kinds or KINDS)
        asked = {part["clip"] for part in parts if not isinstance(part, str) and "clip" in part}
        channels = [list(self._channels(part, wanted)) for part in parts]
        found = self._by_vectors(parts, channels)
        # Unwanted words must not find the texts that contain them.
        words = " ".join(words_of(part) for part in parts if weight_of(part) > 0).strip()
        texts = self._by_words(words, wanted) if fulltext and words else {}
        allowed, fitting = None, allowed_clips(self.library, filters)
        if fitting is not None:
            # The best clips first, by their ids, which is fast; all clips of the library only if too few of these pass.
            best = nlargest(FIRST, found, key=lambda clip: found[clip].evidence + found[clip].others)
            allowed = fitting.of({*best, *texts})
            if len(allowed.intersection(best)) < max(DEPTH, 4 * k):
                allowed = fitting.all
                found = self._by_vectors(parts, channels, allowed)
        asked |= unwanted(self.indexes, parts, gap=_GAP)
        known = [c for c in found.keys() | texts.keys() if c in self.clips and c not in asked]
        # Two kinds that match are better than one: the sum orders the clips, the best kind alone gives the confidence.
        evidences = {clip: match.evidence + match.others for clip, match in found.items()}
        typed = sum(weight_of(part) for part in parts if words_of(part)) / _whole(parts)
        order = joined(evidences, {clip: typed * share for clip, (_, share) in texts.items()}, known, allowed)
        hits = self._moments(order, found, texts, k, by)
        asked_for = " + ".join(part if isinstance(part, str) else str(next(iter(part.values()))) for part in parts)
        return Answer(asked_for, hits, self.indexed, len(self.clips))

    def _by_vectors(
        self, parts: Sequence[Part], channels: Sequence[Sequence[Channel]], allowed: set[str] | None = None
    ) -> dict[str, _Match]:
        """Best match of each clip; its evidence is the weighted mean over the parts."""
        allowed_C = None if allowed is None else self.clips.mask(allowed)
        asked_for = _whole(parts)
        total: dict[str, float] = {}
        others: dict[str, float] = {}
        best: dict[str, _Match] = {}
        for own, part in zip(channels, parts, strict=True):
            share = weight_of(part) / asked_for
            for clip, match in self._part(own, allowed_C).items():
                total[clip] = total.get(clip, 0.0) + share * match.evidence
                others[clip] = others.get(clip, 0.0) + share * match.others
                if clip not in best or match.evidence > best[clip].evidence:
                    best[clip] = match
        if not total and not (self.clips.has_texts and any(words_of(part) for part in parts)):
            raise NothingToCompare(self._why_nothing(parts))
        return {clip: replace(best[clip], evidence=total[clip], others=others[clip]) for clip in total}

    def _part(self, channels: Sequence[Channel], allowed_C: np.ndarray | None) -> dict[str, _Match]:
        """Best match of each allowed clip over all channels of one part of a query."""
        found: dict[str, dict[str, _Match]] = {}
        for index, kind, evidences in channels:
            rows = index.rows(kind)
            if allowed_C is not None:
                evidences = np.where(allowed_C[index.clips_N[rows]], evidences, -1.0)
            near = top(evidences, _ROWS)
            # Excluded rows have negative evidence, and rows without any (exactly 0) are no match.
            near = near[evidences[near] > 0]
            values, numbers = evidences[near].tolist(), near + rows.start
            ids, items = self.clips.ids(index.clips_N[numbers]), index.items_N[numbers].tolist()
            for clip, item, value, row in zip(ids, items, values, numbers.tolist(), strict=True):
                own = found.setdefault(clip, {})
                # The best of several indexes: a run that is weak on a query must not hide the frozen space.
                if kind not in own or value > own[kind].evidence:
                    own[kind] = _Match(value, kind, item, index=index, row=row)
        best = {clip: max(own.values(), key=lambda match: match.evidence) for clip, own in found.items()}
        return {
            clip: replace(match, others=sum(own.evidence for own in found[clip].values()) - match.evidence)
            for clip, match in best.items()
        }

    def _channels(self, part: Part, kinds: Sequence[str]) -> Iterator[Channel]:
        """Every index and kind that a part can be compared with."""
        item, name = item_of(part, (*PART_MODALITY, "clip", "vectors"))
        if name != "text":
            yield from self._of_media(item, name, kinds)
            return
        # Texts are compared by an encoder of texts alone where there is one: spaces learned for other modalities are
        # weaker on words.
        of_texts = [i for i in self.indexes if tuple(i.space.modalities) == ("text",)] or self.indexes
        for index in self.indexes:
            scales = index.calibration.scales
            usable = [
                kind
                for kind in kinds
                # A kind that is new in a growing index is calibrated a moment later.
                if (kind in scales or not scales)
                and index.count(kind)
                and (kind in ("seen", "heard") or index in of_texts)
                # The frozen index has the same rows of a modality that the run locked.
                and not any(other.repeated_by(index, kind) for other in self.indexes)
            ]
            if "text" in index.space.modalities and usable:
                vector_E = index.space.encode_query([item])[0]
                for kind in usable:
                    yield index, kind, index.words(vector_E, kind)

    def _of_media(self, item: Mapping[str, Any], name: str, kinds: Sequence[str]) -> Iterator[Channel]:
        """Channels of a sound, picture, film or clip: frozen spaces find similar ones, any space with both modalities
        counterparts of the other modality."""
        if name == "clip" and item["clip"] not in self.clips:
            raise SeehearError(f"no clip {item['clip']!r} in {self.library.uri}")
        asked = (PART_MODALITY[name],) if name in PART_MODALITY else ("video", "audio")
        for modality, kind in ((m, k) for m in asked for k in kinds if k in ("seen", "heard")):
            like = (modality == "video") == (kind == "seen")
            frozen = [i for i in self.indexes if i.frozen and modality in i.space.modalities]
            for index in self.indexes:
                if modality not in index.space.modalities or not index.count(kind):
                    continue
                # Training makes likeness worse: the nearest sound is less often of the same class.
                if like and frozen and index not in frozen:
                    continue
                vector_E: np.ndarray | None
                if name == "clip":
                    vector_E = index.vector_of(item["clip"], modality)
                elif name == "vectors":
                    vector_E = item["vectors"].get(index.name, {}).get(modality)
                else:
                    vector_E = index.space.encode_query([item])[0]
                if vector_E is not None and (like or name != "clip"):
                    yield index, kind, index.media(vector_E, modality, kind)

    def _by_words(self, words: str, kinds: Sequence[str]) -> dict[str, tuple[int, float]]:
        """(best text, share of the words that it contains) by clip, by full text, best first."""
        asked = telling_words(words)
        found: dict[str, tuple[int, float]] = {}
        for clip, item, _ in search_fulltext(self.library, words, 4 * DEPTH) if asked else []:
            texts = self.clips[clip].texts if clip in self.clips else ()
            if item < len(texts) and kind_of_text(texts[item]) in kinds and clip not in found:
                share = share_held(asked, texts[item].text)
                if share >= 0.5:
                    found[clip] = item, share
        return found

    def _moments(
        self,
        order: Sequence[str],
        found: Mapping[str, _Match],
        texts: Mapping[str, tuple[int, float]],
        k: int,
        by: Literal["moment", "film"],
    ) -> list[Moment]:
        hits: list[Moment] = []
        matches: list[_Match] = []
        of_film: dict[str, list[int]] = {}  # indices into `hits`
        for clip in order:
            film = self.clips.film(clip)
            own = of_film.get(film, [])
            if by == "film" and (len(of_film) == k if not own else len(own) == _OF_FILM):
                continue
            match, sure = self._sure(clip, found.get(clip), *texts.get(clip, (0, 0.0)))
            if by == "film" and own:
                # Later moments need a share of the best confidence, and after the first few at least that of *weak*.
                least = 0.0 if len(own) < _ANYHOW else WORDS[-1][0]
                if sure < max(_RELATED * hits[own[0]].confidence, least):
                    continue
            hit = self._moment(self.clips[clip], match, sure)
            same = next((n for n in own if _one_moment(hit, match, hits[n], matches[n])), None)
            if same is None and by == "moment" and len(hits) == k:
                break
            if same is None:
                of_film.setdefault(film, []).append(len(hits))
                hits.append(hit)
                matches.append(match)
            elif match.same_scene(matches[same]) and match.evidence >= _SHARE * matches[same].evidence:
                start, end = min(hit.start, hits[same].start), max(hit.end, hits[same].end)
                if end - start <= _LONGEST:
                    hits[same] = replace(hits[same], start=start, end=end)
        # Ranks decide the order; a score that falls with the rank is the largest confidence from that rank on.
        best = 0.0
        for n in reversed(range(len(hits))):
            best = max(best, hits[n].confidence)
            hits[n] = replace(hits[n], score=best)
        return hits

    def _sure(self, clip: str, match: _Match | None, item: int, share: float) -> tuple[_Match, float]:
        """Best match of a clip, and its confidence. `item`, `share`: its text with words of the query, and the share of
        the words in it."""
        sure = float(confidence(np.array(max(0.0, match.evidence)))) if match else 0.0
        # A text with every word of the query is no weak answer, whatever the vectors say.
        if match is None or (share == 1.0 and sure < 0.9):
            match = _Match(0.0, kind_of_text(self.clips[clip].texts[item]), item)
            sure = max(sure, 0.9 * share)
        return match, sure

    def _moment(self, clip: Clip, match: _Match, sure: float) -> Moment:
        own = clip.texts[match.item] if match.kind in ("spoken", "screen", "text") else None
        text = own or (clip.texts[0] if clip.texts else None)
        start, end = clip.start, clip.end
        still = (start + end) / 2
        if own is not None and own.start is not None and own.end is not None:
            start, end = own.start, own.end
            still = (start + end) / 2
        elif match.kind == "seen" and is_frame("video", match.item):
            still = frame_seconds(clip, match.item)
            start = max(start, min(still - _WINDOW / 2, end - _WINDOW))
            end = min(end, start + _WINDOW)
        source = clip.source_of("audio" if match.kind == "heard" else "video")
        path = str(self.library.path_of(source, self._roots)) if source else ""
        words = text.text if text else ""
        also = tuple(str(self.library.path_of(name, self._roots)) for name in self._copies.get(source, ()))
        film = clip.source or clip.audio_source
        found = (path, start, end, match.kind, words, 0.0, round(sure, 4), clip.id, source, clip.labels)
        return Moment(*found, also, still, film)

    def _why_nothing(self, parts: Sequence[Part]) -> str:
        uri, has = self.library.uri, sorted({m for i in self.indexes for m in i.space.modalities} - {"image"})
        if all(words_of(part) for part in parts):
            # No packaged encoder compares words with sounds.
            preset = "light" if "video" in has else "strong"
            return (
                f"no words can be compared with {uri}: it has no text, and no encoder with a tower for words. Encode "
                f"it with one ('seehear encode {uri} --preset {preset}'), or search by --audio, --image, --video or "
                "--like"
            )
        return (
            f"nothing in {uri} can be compared with this query: it has vectors of {' and '.join(has)} only. Encode it "
            f"with an encoder of the query's kind, then run 'seehear index {uri}'"
        )


def _one_moment(one: Moment, match: _Match, other: Moment, its: _Match) -> bool:
    """True if two moments of one file overlap, or are one scene within a few seconds."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    if one.start == one.end or other.start == other.end:
        return shared >= 0
    near = _GAP if {one.kind, other.kind} <= {"seen", "heard"} else 0.0
    return shared > 0 or (shared > -near and match.same_scene(its))


def _whole(parts: Sequence[Part]) -> float:
    """Sum of the positive weights."""
    # Of unwanted parts alone the sum would be 0, and is a divisor.
    return sum(weight for weight in map(weight_of, parts) if weight > 0) or 1.0
