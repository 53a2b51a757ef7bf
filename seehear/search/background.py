"""Indexes in memory with their calibration: the scale of each kind of row against the background queries
(`search/calibrate.py`), stored with the index so that a query costs one pass over the vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from seehear.errors import SeehearError
from seehear.library.clip_table import ClipTable
from seehear.library.locking import writing
from seehear.library.records import Text, digest
from seehear.library.tables import LibraryTables, table_name
from seehear.nn.unit import unit
from seehear.search.calibrate import (
    LIKENESS,
    OWN,
    PICTURES,
    TEXTS,
    Likeness,
    Scale,
    background_phrases,
    confidence,
    evidence,
    fit_likeness,
    fit_scale,
    heights,
    like_heights,
    sample,
)
from seehear.search.gallery import KIND_OF, KIND_OF_TEXT, KINDS, Gallery, IndexRows
from seehear.search.index import indexes, set_index
from seehear.search.query import Hit, Part, SearchSpace, weight_of
from seehear.types import Modality

if TYPE_CHECKING:
    pass

# Clips that calibrate the likeness of sounds and pictures.
_BANK = 500
# Rows compared with many words at once.
_AT_ONCE = 8192
SCENE = 0.3
"""Cosine of two centred rows above which they are of one scene, chosen on half of `benchmarks/home.py`."""


def kind_of_text(text: Text) -> str:
    """Kind of moment of a text."""
    return KIND_OF_TEXT[str(text.kind)]


def kind_of_hit(hit: Hit) -> str:
    """Kind of match of a hit of one index."""
    text = next((text for text in hit.clip.texts if text.text == hit.text), None)
    return KIND_OF.get(hit.modality, kind_of_text(text) if text else "text")


def calibrate_index(library: LibraryTables, space: SearchSpace, name: str) -> None:
    """Brings the calibration of an index up to date; does nothing for an unchanged index and unchanged phrases."""
    about = indexes(library)[name]
    phrases = background_phrases()
    # Everything that the scales depend on, the law included: calibrations of an earlier version are computed again.
    made = digest(about["maker"], str(library.table(table_name("vectors", name)).version), str(OWN), "gumbel", *phrases)
    if "text" not in space.modalities or about.get("background", {}).get("made") == made:
        return
    index = OpenIndex(library, space, name, ClipTable(library))
    bank_BE = _banks[space] if space in _banks else _banks.setdefault(space, space.encode_query(phrases))
    scales = {kind: fit_scale(index.vectors_NE[index.rows(kind)], bank_BE) for kind in KINDS if index.count(kind)}
    mean = [round(float(x), 6) for x in bank_BE.mean(axis=0)]
    with writing(library.uri, "vectors"):
        set_index(library, name, about | {"background": {"made": made, "mean": mean, "scales": scales}})


# Vectors of the background phrases, kept by space: a growing index is calibrated many times.
_banks: WeakKeyDictionary[SearchSpace, np.ndarray] = WeakKeyDictionary()


class Calibration:
    """Calibration of an index (from `indexes`), applied to words."""

    def __init__(self, about: Mapping[str, Any]):
        about = about.get("background", {})
        self.mean_E = np.array(about.get("mean", ()), np.float32)
        self.scales = {kind: Scale(*scale) for kind, scale in about.get("scales", {}).items()}

    def words(self, vectors_NE: np.ndarray, text_E: np.ndarray, kind: str) -> np.ndarray:
        """(N,) evidence that rows of a kind match words; (N, W) for (W, E) vectors of several words."""
        heights_N = heights(vectors_NE, text_E, self.mean_E, self.scales[kind])
        return evidence(heights_N, PICTURES if kind in KIND_OF.values() else TEXTS)

    def of_hit(self, hit: Hit, gallery: Gallery, text_E: np.ndarray | None) -> float | None:
        """Confidence of a hit for words; None for an uncalibrated kind."""
        kind = kind_of_hit(hit)
        if kind not in self.scales or text_E is None:
            return None
        rows_NE = gallery.vectors_of(hit.id)[hit.modality]
        return float(confidence(self.words(rows_NE, text_E, kind).max()))


class OpenIndex(IndexRows):
    """An index in memory, with its calibration."""

    def __init__(self, library: LibraryTables, space: SearchSpace, name: str, clips: ClipTable):
        super().__init__(library.vectors("vectors", name), clips)
        self.space, self.name = space, name
        about = indexes(library)[name]
        self.frozen = str(about.get("model", "")).startswith("frozen:")
        self.calibration = Calibration(about)
        self._likeness: dict[tuple[Modality, str], Likeness] = {}
        self._means: dict[str, np.ndarray] = {}

    def repeated_by(self, run: OpenIndex, kind: str) -> bool:
        """True if this is a frozen index with the same vectors of a kind as a run's index, which locked that
        modality."""
        modality = next((m for m, own in KIND_OF.items() if own == kind), None)
        if modality is None or not self.frozen or run.frozen or modality not in run.space.locked:
            return False
        # Other encoders of the same modality give other vectors.
        made = [[info["fingerprint"] for info in space.encoders.get(modality, ())] for space in (self.space, run.space)]
        return made[0] == made[1]

    def words(self, text_E: np.ndarray, kind: str) -> np.ndarray:
        """(rows of the kind,) evidence that they match words."""
        if kind not in self.calibration.scales:
            raise SeehearError(f"index {self.name} is out of date: run 'seehear index' again")
        return self.calibration.words(self.vectors_NE[self.rows(kind)], text_E, kind)

    def clips_found(self, texts_WE: np.ndarray, kind: str, least: float) -> list[int]:
        """Number of clips that each of W words finds among the rows of a kind, with at least this confidence."""
        pairs, rows = [np.empty((0, 2), np.int64)], self.rows(kind)
        for at in range(rows.start, rows.stop, _AT_ONCE):
            part = slice(at, min(at + _AT_ONCE, rows.stop))
            sure_NW = confidence(self.calibration.words(self.vectors_NE[part], texts_WE, kind)) >= least
            row, word = np.nonzero(sure_NW)
            # Pairs: a clip has several rows, and counts once for a word.
            pairs.append(np.stack([word, self.clips_N[part][row]], axis=1))
        words = np.unique(np.concatenate(pairs), axis=0)[:, 0]
        return np.bincount(words, minlength=len(texts_WE)).tolist()

    def media(self, query_E: np.ndarray, modality: Modality, kind: str) -> np.ndarray:
        """(rows of the kind,) evidence that they resemble a sound or picture, calibrated by pairs of the library's
        clips."""
        rows_NE = self.vectors_NE[self.rows(kind)]
        if (modality, kind) not in self._likeness:
            own_NE = self.vectors_NE[self.rows(KIND_OF[modality])]
            # Evenly spaced, so that the same library gives the same calibration.
            self._likeness[modality, kind] = fit_likeness(rows_NE, own_NE[:: max(1, -(-len(own_NE) // _BANK))])
        return evidence(like_heights(np.vecdot(rows_NE, query_E), self._likeness[modality, kind]), LIKENESS)

    def alike(self, row: int, other: int) -> bool:
        """True if two rows of one kind are of one scene: near each other after the mean of the kind is subtracted."""
        mean_E = self._mean(KINDS[self.kinds_N[row]])
        one_E, other_E = (unit(self.vectors_NE[n] - mean_E) for n in (row, other))
        return bool(one_E @ other_E > SCENE)

    def likeness(self, clip: str, kind: str) -> np.ndarray | None:
        """(clips of the library,) largest cosine of centred rows of a kind between this clip and each clip; None for a
        clip without such rows."""
        rows = self.rows(kind)
        clips_N, vectors_NE = self.clips_N[rows], self.vectors_NE[rows]
        own_KE = vectors_NE[clips_N == self.clips.place(clip)]
        if not len(own_KE):
            return None
        mean_E = self._mean(kind)
        own_KE = unit(own_KE - mean_E)
        # Computed from the rows as they are: centred rows of a large library would take its memory once more.
        # Never below 0, where rounding can take a row that lies at the mean.
        length_N = np.sqrt(np.maximum(1e-9, 1 - 2 * (vectors_NE @ mean_E) + mean_E @ mean_E))
        near_N = np.full(len(clips_N), -np.inf, np.float32)
        for own_E in own_KE:
            np.maximum(near_N, (vectors_NE @ own_E - mean_E @ own_E) / length_N, out=near_N)
        best_C = np.full(len(self.clips), -1.0, np.float32)
        np.maximum.at(best_C, clips_N, near_N)
        return best_C

    def _mean(self, kind: str) -> np.ndarray:
        """(E,) mean of the rows of a kind."""
        if kind not in self._means:
            self._means[kind] = sample(self.vectors_NE[self.rows(kind)]).mean(axis=0)
        return self._means[kind]

    def vector_of(self, clip: str, modality: Modality) -> np.ndarray | None:
        """Unit vector of a clip; None for a clip without the modality."""
        rows = self.rows(KIND_OF[modality])
        own_NE = self.vectors_NE[rows][self.clips_N[rows] == self.clips.place(clip)]
        return unit(own_NE.mean(axis=0)) if len(own_NE) else None


# ----------------------------------------------------------------------------------------------------------------------
# Clips left out of an answer as they resemble unwanted ones.

# Cosine of centred rows above which a clip is left out with one that is not wanted: a quarter of the drawings and emoji
# of `benchmarks/refine.py` have such a twin; at 0.8 answers lose right hits.
SAME = 0.9


def unwanted(indexes: Sequence[OpenIndex], parts: Sequence[Part], *, gap: float) -> set[str]:
    """Clips to leave out with clips of negative weight: the rest of their scene, up to `gap` seconds away, and clips
    that look nearly the same in every frozen index; for sounds without picture, clips that sound nearly the same."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, str) or "clip" not in part or weight_of(part) >= 0:
            continue
        clips = indexes[0].clips
        clip = clips[part["clip"]]
        kind = "seen" if clip.has_video else "heard"
        near = [near_C for i in indexes if i.frozen and (near_C := i.likeness(clip.id, kind)) is not None]
        if not near:
            continue
        least_C = np.minimum.reduce(near)
        for id in clips.ids(np.flatnonzero(least_C > SCENE)):
            other = clips[id]
            apart = max(other.start, clip.start) - min(other.end, clip.end)
            if least_C[clips.place(id)] > SAME or (other.source == clip.source and apart < gap):
                found.add(id)
    return found
