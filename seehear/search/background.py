"""The calibration of an index, kept beside it: the levels of each row, and of the best row of each kind, against the
background queries (`search/calibrate.py`), made once so that a query costs one pass over the vectors; and an index
opened with it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from seehear.data.library import Clip, Library, Vectors, table_name
from seehear.data.locking import writing
from seehear.data.records import Text, digest
from seehear.errors import SeehearError, require
from seehear.nn.unit import unit
from seehear.search.calibrate import OWN, background_phrases, calibrated, pair_levels, surprise
from seehear.search.index import indexes, set_index
from seehear.search.query import SearchSpace
from seehear.types import Float, Modality

_KIND_OF = {"video": "seen", "audio": "heard"}
_KIND_OF_TEXT = {"subtitle": "spoken", "speech": "spoken", "screen": "screen", "caption": "text"}
_DOUBT = 2.0
"""Surprise that a text has to have more than a picture, as no text is about something else than words are; chosen on
half of `benchmarks/home.py`: what is said in passing came before what is seen."""
_BANK = 500  # clips that sounds and pictures are calibrated by
_SCENE = 0.3
"""Cosine of two centred rows above which they are of one scene, chosen on half of `benchmarks/home.py`."""
KINDS = ("seen", "heard", "spoken", "screen", "text")
"""How a moment can answer; `text` is a caption of the user's own."""


def kinds_of_rows(rows: Vectors, clips: Mapping[str, Clip]) -> np.ndarray:
    """(N,) number in `KINDS` of each row of an index; -1 where its clip is gone."""
    names = []
    for clip, item, modality in zip(rows.ids, rows.items.tolist(), rows.modalities, strict=True):
        texts = clips[clip].texts if clip in clips else ()
        if modality != "text":
            names.append(KINDS.index(_KIND_OF[modality]))
        else:
            names.append(KINDS.index(kind_of_text(texts[item])) if item < len(texts) else -1)
    return np.array(names, np.int8)


def kind_of_text(text: Text) -> str:
    """The kind of moment that a text makes."""
    return _KIND_OF_TEXT[str(text.kind)]


def calibrate_index(library: Library, space: SearchSpace, name: str) -> None:
    """Bring the calibration of an index up to date; nothing is done where the index and the phrases are the same."""
    about = indexes(library)[name]
    phrases = background_phrases()
    made = digest(about["maker"], str(library.table(table_name("vectors", name)).version), str(OWN), *phrases)
    if "text" not in space.modalities or about.get("background", {}).get("made") == made:
        return
    rows = library.vectors("vectors", name).read()
    kinds_N = kinds_of_rows(rows, {clip.id: clip for clip in library.clips()})
    vectors_NE, bank_BE = unit(rows.vectors), space.encode_query(phrases)
    levels_N3 = np.zeros((len(rows), 3), np.float32)
    best = {}
    for kind in np.unique(kinds_N[kinds_N >= 0]).tolist():
        own = np.flatnonzero(kinds_N == kind)
        levels_N3[own], best_3 = calibrated(vectors_NE[own], bank_BE)
        best[KINDS[kind]] = best_3.tolist()
    with writing(library.uri, "vectors"):
        _write(library, name, rows, levels_N3)
        set_index(library, name, about | {"background": {"made": made, "best": best}})


def read_levels(library: Library, name: str, rows: Vectors) -> Float[np.ndarray, "n 3"] | None:
    """Levels of the rows of an index, in their order; None where it has none of just these rows."""
    table = table_name("background", name)
    if table not in library.tables():
        return None
    have = library.table(table).to_arrow().to_pydict()
    keys = zip(have["id"], have["item"], have["modality"], strict=True)
    levels = dict(zip(keys, zip(have["middle"], have["high"], have["excess"], strict=True), strict=True))
    wanted = list(zip(rows.ids, rows.items.tolist(), rows.modalities, strict=True))
    if any(key not in levels for key in wanted):
        return None
    return np.array([levels[key] for key in wanted], np.float32).reshape(len(wanted), 3)


def _write(library: Library, name: str, rows: Vectors, levels_N3: np.ndarray) -> None:
    pa = require("pyarrow")
    columns = {"id": pa.array(rows.ids, pa.string()), "item": pa.array(rows.items, pa.int32())}
    columns |= {"modality": pa.array(rows.modalities, pa.string())}
    columns |= {c: pa.array(levels_N3[:, n]) for n, c in enumerate(("middle", "high", "excess"))}
    library.replace(table_name("background", name), pa.table(columns))


class OpenIndex:
    """An index in memory, with its calibration."""

    def __init__(self, library: Library, space: SearchSpace, name: str, clips: Mapping[str, Clip]):
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
        about = about.get("background", {})
        self.best = {kind: np.array(own, np.float32) for kind, own in about.get("best", {}).items()}
        self.levels_N3 = read_levels(library, name, rows) if self.best else None
        self._means: dict[str, np.ndarray] = {}
        self._of_media: dict[tuple[Modality, str], np.ndarray] = {}

    def rows(self, kind: str) -> np.ndarray:
        """Numbers of the rows of a kind."""
        return self._rows[kind]

    def words(self, text_E: np.ndarray, kind: str) -> np.ndarray:
        """(rows of the kind,) surprise of words."""
        rows = self.rows(kind)
        if self.levels_N3 is None or kind not in self.best:
            raise SeehearError(f"index {self.name} is out of date: run 'seehear index' again")
        own_N = surprise(self.levels_N3[rows], np.vecdot(self.vectors_NE[rows], text_E))
        found_N = surprise(self.best[kind], own_N)
        return found_N if kind in ("seen", "heard") else np.maximum(found_N - _DOUBT, 0.1 * found_N)

    def media(self, query_E: np.ndarray, modality: Modality, kind: str) -> np.ndarray:
        """(rows of the kind,) surprise of a sound or picture, against clips of the library."""
        rows = self.rows(kind)
        if (modality, kind) not in self._of_media:
            own = np.flatnonzero(self.modalities_N == modality)
            bank_BE = self.vectors_NE[own[:: max(1, -(-len(own) // _BANK))]]
            self._of_media[modality, kind] = pair_levels(self.vectors_NE[rows], bank_BE)
        return surprise(self._of_media[modality, kind], np.vecdot(self.vectors_NE[rows], query_E))

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
