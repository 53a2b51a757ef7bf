"""Clips of a library as columns: a million clips as objects take gigabytes and half a minute, and a query reads a few
hundred of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from seehear.errors import require
from seehear.library.records import Clip, clip_of_row
from seehear.library.tables import LibraryTables

if TYPE_CHECKING:
    import pyarrow as pa


class ClipTable(Mapping[str, Clip]):
    """Snapshot of the clips by id; a clip is built when it is read."""

    def __init__(self, library: LibraryTables):
        # In one chunk, where a row is found without a search through chunks.
        self._rows = library.rows("clips").combine_chunks()
        self._place = {id: n for n, id in enumerate(self._rows["id"].to_pylist())}
        texts = self._rows["texts"].combine_chunks()
        # Number, among all texts, of the first of each clip; the last entry stands for deleted clips (place -1).
        self._first = np.append(texts.offsets.to_numpy()[: len(texts)], 0)
        self._counts = np.append(texts.value_lengths().fill_null(0).to_numpy(zero_copy_only=False), 0)
        self._kinds = texts.values.field("kind")

    def __getitem__(self, id: str) -> Clip:
        return clip_of_row(self._rows.slice(self._place[id], 1).to_pylist()[0])

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)

    def __contains__(self, id: object) -> bool:
        return id in self._place

    def film(self, id: str) -> str:
        """File of a clip; the clip's id for a clip of text alone."""
        columns, place = self._rows, self._place[id]
        return columns["source"][place].as_py() or columns["audio_source"][place].as_py() or id

    @property
    def has_texts(self) -> bool:
        """True if any clip has text."""
        return bool(self._counts.any())

    def place(self, id: str) -> int:
        """Number of a clip."""
        return self._place[id]

    def places(self, ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """(N,) int32 number of each of N clips, -1 for deleted ones."""
        places = require("pyarrow.compute").index_in(ids, value_set=self._rows["id"])
        return np.asarray(places.fill_null(-1).to_numpy())

    def mask(self, ids: Collection[str]) -> np.ndarray:
        """(C,) mask of these clips."""
        mask_C = np.zeros(len(self), bool)
        mask_C[[self._place[id] for id in ids if id in self._place]] = True
        return mask_C

    def ids(self, places: np.ndarray) -> list[str]:
        """Ids of clips by their numbers."""
        ids: list[str] = self._rows["id"].take(require("pyarrow").array(places)).to_pylist()
        return ids

    def kinds_of_texts(self, places: np.ndarray, items: np.ndarray) -> pa.Array:
        """Kinds of texts by the numbers of their clips; null for deleted clips and texts."""
        numbers = require("pyarrow").array(self._first[places] + items, mask=items >= self._counts[places])
        return self._kinds.take(numbers)
