"""The calibration of an index, kept with what the library says of it: the scale of each kind of row against the
background queries (`search/calibrate.py`), made once so that a query costs one pass over the vectors; and an index
opened with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from seehear.data.clip_table import ClipTable
from seehear.data.library import Clip, Library, Vectors, table_name
from seehear.data.locking import writing
from seehear.data.records import Text, digest
from seehear.errors import SeehearError
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
)
from seehear.search.gallery import Gallery
from seehear.search.index import indexes, set_index
from seehear.search.query import Hit, SearchSpace
from seehear.types import Modality

_KIND_OF = {"video": "seen", "audio": "heard"}
_KIND_OF_TEXT = {"subtitle": "spoken", "speech": "spoken", "screen": "screen", "caption": "text"}
_BANK = 500  # clips that sounds and pictures are calibrated by
_SCENE = 0.3
"""Cosine of two centred rows above which they are of one scene, chosen on half of `benchmarks/home.py`."""
KINDS = ("seen", "heard", "spoken", "screen", "text")
"""How a moment can answer; `text` is a caption of the user's own."""


def kinds_of_rows(rows: Vectors, clips: ClipTable) -> np.ndarray:
    """(N,) number in `KINDS` of each row of an index; -1 where its text is gone."""
    kinds_N = np.full(len(rows), -1, np.int8)
    modalities_N = np.asarray(rows.modalities, dtype=object)
    for modality, kind in _KIND_OF.items():
        kinds_N[modalities_N == modality] = KINDS.index(kind)
    texts = np.flatnonzero(modalities_N == "text")
    number = {of: KINDS.index(kind) for of, kind in _KIND_OF_TEXT.items()} | {None: -1}
    said = clips.kinds_of_texts([rows.ids[n] for n in texts.tolist()], rows.items[texts])
    kinds_N[texts] = [number[kind] for kind in said]
    return kinds_N


def kind_of_text(text: Text) -> str:
    """The kind of moment that a text makes."""
    return _KIND_OF_TEXT[str(text.kind)]


def kind_of_hit(hit: Hit, clip: Clip) -> str:
    """How the hit of one index answers."""
    text = next((text for text in clip.texts if text.text == hit.text), None)
    return _KIND_OF.get(hit.modality, kind_of_text(text) if text else "text")


def calibrate_index(library: Library, space: SearchSpace, name: str) -> None:
    """Bring the calibration of an index up to date; nothing is done where the index and the phrases are the same."""
    about = indexes(library)[name]
    phrases = background_phrases()
    made = digest(about["maker"], str(library.table(table_name("vectors", name)).version), str(OWN), "gumbel", *phrases)
    if "text" not in space.modalities or about.get("background", {}).get("made") == made:
        return
    rows = library.vectors("vectors", name).read()
    kinds_N = kinds_of_rows(rows, ClipTable(library))
    vectors_NE, bank_BE = unit(rows.vectors), _bank(space, phrases)
    scales = {
        KINDS[kind]: fit_scale(vectors_NE[kinds_N == kind], bank_BE)
        for kind in np.unique(kinds_N[kinds_N >= 0]).tolist()
    }
    mean = [round(float(x), 6) for x in bank_BE.mean(axis=0)]
    with writing(library.uri, "vectors"):
        set_index(library, name, about | {"background": {"made": made, "mean": mean, "scales": scales}})


_banks: WeakKeyDictionary[SearchSpace, np.ndarray] = WeakKeyDictionary()


def _bank(space: SearchSpace, phrases: list[str]) -> np.ndarray:
    """Vectors of the background phrases: made once a space, for an index that grows is calibrated many times."""
    if space not in _banks:
        _banks[space] = space.encode_query(phrases)
    return _banks[space]


class Calibration:
    """What an index says of its calibration (`indexes`), asked for words."""

    def __init__(self, about: Mapping[str, Any]):
        about = about.get("background", {})
        self.mean_E = np.array(about.get("mean", ()), np.float32)
        self.scales = {kind: Scale(*scale) for kind, scale in about.get("scales", {}).items()}

    def words(self, vectors_NE: np.ndarray, text_E: np.ndarray, kind: str) -> np.ndarray:
        """(N,) evidence that words mean rows of a kind."""
        found_N = heights(vectors_NE, text_E, self.mean_E, self.scales[kind])
        return evidence(found_N, PICTURES if kind in _KIND_OF.values() else TEXTS)

    def of_hit(self, hit: Hit, clip: Clip, gallery: Gallery, text_E: np.ndarray | None) -> float | None:
        """Confidence of a hit for words; None where nothing of its kind is calibrated."""
        kind = kind_of_hit(hit, clip)
        if kind not in self.scales or text_E is None:
            return None
        rows_NE = gallery.vectors_of(hit.id)[hit.modality]
        return float(confidence(self.words(rows_NE, text_E, kind).max()))


class OpenIndex:
    """An index in memory, with its calibration."""

    def __init__(self, library: Library, space: SearchSpace, name: str, clips: ClipTable):
        rows = library.vectors("vectors", name).read()
        self.space, self.name = space, name
        self.vectors_NE = unit(rows.vectors)
        self.ids_N = np.asarray(rows.ids, dtype=object)
        self.items_N = rows.items
        self.modalities_N = np.asarray(rows.modalities, dtype=object)
        self.kinds_N = kinds_of_rows(rows, clips)
        self._rows = {kind: np.flatnonzero(self.kinds_N == n) for n, kind in enumerate(KINDS)}
        about = indexes(library)[name]
        self.frozen = str(about.get("model", "")).startswith("frozen:")
        self.calibration = Calibration(about)
        self._likeness: dict[tuple[Modality, str], Likeness] = {}
        self._means: dict[str, np.ndarray] = {}

    def rows(self, kind: str) -> np.ndarray:
        """Numbers of the rows of a kind."""
        return self._rows[kind]

    def words(self, text_E: np.ndarray, kind: str) -> np.ndarray:
        """(rows of the kind,) evidence that words mean them."""
        if kind not in self.calibration.scales:
            raise SeehearError(f"index {self.name} is out of date: run 'seehear index' again")
        return self.calibration.words(self.vectors_NE[self.rows(kind)], text_E, kind)

    def media(self, query_E: np.ndarray, modality: Modality, kind: str) -> np.ndarray:
        """(rows of the kind,) evidence that a sound or picture is like them, by pairs of the library's clips."""
        rows = self.rows(kind)
        if (modality, kind) not in self._likeness:
            own = np.flatnonzero(self.modalities_N == modality)
            bank_BE = self.vectors_NE[own[:: max(1, -(-len(own) // _BANK))]]
            self._likeness[modality, kind] = fit_likeness(self.vectors_NE[rows], bank_BE)
        found_N = like_heights(np.vecdot(self.vectors_NE[rows], query_E), self._likeness[modality, kind])
        return evidence(found_N, LIKENESS)

    def alike(self, row: int, other: int) -> bool:
        """Whether two rows of one kind are of one scene: without what all rows of the kind share, they are near."""
        kind = KINDS[self.kinds_N[row]]
        if kind not in self._means:
            self._means[kind] = self.vectors_NE[self.rows(kind)].mean(axis=0)
        one_E, other_E = (unit(self.vectors_NE[n] - self._means[kind]) for n in (row, other))
        return bool(one_E @ other_E > _SCENE)

    def vector_of(self, clip: str, modality: Modality) -> np.ndarray | None:
        own = (self.ids_N == clip) & (self.modalities_N == modality)
        return unit(self.vectors_NE[own].mean(axis=0)) if own.any() else None
