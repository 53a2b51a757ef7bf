"""Tables of vectors, one an encoder or a run: append-only batches, each one atomic commit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seehear.errors import require


@dataclass(frozen=True)
class Vectors:
    """Rows of a vector table, in the order of (id, item)."""

    ids: list[str]
    items: np.ndarray
    """(N,) int32: number of the text in its clip; 0 for audio and video, 1 and more for frames (`current.py`)."""
    modalities: list[str]
    vectors: np.ndarray
    """(N, width) float16."""
    makers: list[str]
    """Fingerprint of the encoder or run that made each row."""
    contents: list[str]
    """Fingerprint of the media window or text each row was made from."""

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Vectors:
        """Some rows, by their numbers."""
        return Vectors(
            ids=[self.ids[i] for i in rows],
            items=self.items[rows],
            modalities=[self.modalities[i] for i in rows],
            vectors=self.vectors[rows],
            makers=[self.makers[i] for i in rows],
            contents=[self.contents[i] for i in rows],
        )


def side_by_side(tables: Sequence[Vectors]) -> Vectors:
    """Rows with an (id, item) in all tables, in the order of the first, with the vectors of all tables joined."""
    if len(tables) == 1:
        return tables[0]
    places = [{key: i for i, key in enumerate(zip(t.ids, t.items.tolist(), strict=True))} for t in tables]
    shared = [key for key in places[0] if all(key in place for place in places[1:])]
    parts = [t.take([place[key] for key in shared]) for t, place in zip(tables, places, strict=True)]
    return replace(parts[0], vectors=np.concatenate([part.vectors for part in parts], axis=1))


class VectorTable:
    """An append-only table of vectors. The key of a row is (id, item, modality)."""

    def __init__(self, table: Any):
        self._table = table

    @property
    def width(self) -> int:
        return int(self._table.schema.field("vector").type.list_size)

    def __len__(self) -> int:
        return int(self._table.count_rows())

    def keys(self, where: str | None = None) -> dict[tuple[str, int, str], tuple[str, str]]:
        """(maker, content) of every row by (id, item, modality)."""
        rows = rows_of(self._table, where, ["id", "item", "modality", "maker", "content"]).to_pydict()
        keys = zip(rows["id"], rows["item"], rows["modality"], strict=True)
        return dict(zip(keys, zip(rows["maker"], rows["content"], strict=True), strict=True))

    def append(self, rows: Vectors) -> None:
        """Adds rows in one commit: from its return on they survive a kill."""
        pa = require("pyarrow")
        # Arrow takes the numbers as they lie in memory.
        vectors = np.ascontiguousarray(rows.vectors, dtype=np.float16)
        if vectors.shape != (len(rows.ids), self.width):
            raise ValueError(f"vectors must be ({len(rows.ids)}, {self.width}); got {vectors.shape}")
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), self.width)
        data = [
            pa.array(rows.ids, pa.string()),
            pa.array(rows.items, pa.int32()),
            pa.array(rows.modalities, pa.string()),
        ]
        data += [column, pa.array(rows.makers, pa.string()), pa.array(rows.contents, pa.string())]
        self._table.add(pa.Table.from_arrays(data, schema=self._table.schema))

    def read(self, where: str | None = None) -> Vectors:
        # Rows lie in the order in which workers finished, which differs from run to run.
        return self._vectors(rows_of(self._table, where).sort_by([("id", "ascending"), ("item", "ascending")]))

    def columns(self, *names: str) -> Any:
        """Some columns of all rows as an Arrow table, in the table's own order."""
        return rows_of(self._table, columns=names)

    def scan(self, where: str | None = None, *, size: int = 8192) -> Iterator[Vectors]:
        """All rows in parts of bounded size, in the table's own order."""
        query = self._table.search()
        pa = require("pyarrow")
        for batch in (query.where(where) if where else query).limit(None).to_batches(size):
            if len(batch):
                yield self._vectors(pa.Table.from_batches([batch]))

    def _vectors(self, rows: Any) -> Vectors:
        vectors = rows["vector"].combine_chunks()
        # Arrow combines the chunks of a table into an array, or into a chunked array of one.
        vectors = vectors.chunk(0) if hasattr(vectors, "num_chunks") else vectors
        return Vectors(
            ids=rows["id"].to_pylist(),
            items=rows["item"].to_numpy(),
            modalities=rows["modality"].to_pylist(),
            vectors=vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), self.width),
            makers=rows["maker"].to_pylist(),
            contents=rows["content"].to_pylist(),
        )

    def remove(self, where: str) -> None:
        self._table.delete(where)

    def remove_keys(self, keys: Iterable[tuple[str, int, str]]) -> None:
        """Removes rows by (id, item, modality); a film with all its frames, which are made together."""
        ids: dict[tuple[str, str], dict[str, None]] = {}
        for id, item, modality in keys:
            items = f"item = {item}" if modality == "text" else "item >= 0"
            ids.setdefault((items, modality), {})[id] = None
        for (items, modality), own in ids.items():
            for batch in in_batches(list(own), 1000):
                self.remove(f"modality = {quote(modality)} AND {items} AND {one_of('id', batch)}")

    def compact(self) -> None:
        """Joins the small files of many commits; safe at any time."""
        self._table.optimize()


def rows_of(table: Any, where: str | None = None, columns: Sequence[str] | None = None) -> Any:
    """Rows of a LanceDB table that meet an SQL condition, as an Arrow table."""
    query = table.search()
    query = query.where(where) if where else query
    query = query.select(list(columns)) if columns else query
    # Without it, LanceDB returns ten rows.
    return query.limit(None).to_arrow()


def quote(text: str) -> str:
    """A string as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def one_of(column: str, values: Iterable[str]) -> str:
    """SQL condition that a column holds one of some values, a few thousand at most."""
    return f"{column} IN ({', '.join(map(quote, values))})"


def in_batches(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for at in range(0, len(rows), size):
        yield rows[at : at + size]
