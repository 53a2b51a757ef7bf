"""Rows of a manifest by media file, in bounded memory: they lie in a temporary database on disk."""

from __future__ import annotations

import pickle
import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby

from seehear.library.manifest import ManifestRow
from seehear.library.records import Reject

# Rows with the id of an earlier row of another file. Every row of text alone (owner 0) is a clip of its own, and so
# another claimant.
_SECOND_CLAIMS = """
    SELECT row.number, row.content FROM row
    JOIN (SELECT id, MIN(number) AS number FROM row WHERE id != x'' GROUP BY id HAVING COUNT(*) > 1) AS first USING (id)
    JOIN row AS owner ON owner.number = first.number
    WHERE row.number != first.number AND (row.owner != owner.owner OR row.owner = 0) ORDER BY row.number
"""


class GroupedRows:
    """Rows in any order, grouped by file. An id that two files claim stays with the first; other rows are set aside."""

    def __init__(self, rows: Iterable[ManifestRow | Reject], *, name: str):
        self.rejects: list[Reject] = []
        self._sources: dict[str, int] = {"": 0}
        self._db = sqlite3.connect("", check_same_thread=False)  # a file without a name, deleted when it is closed
        try:
            self._db.execute("CREATE TABLE row (number INTEGER PRIMARY KEY, owner INTEGER, id BLOB, content BLOB)")
            self._db.executemany("INSERT INTO row (owner, id, content) VALUES (?, ?, ?)", self._values(rows))
            self._db.execute("CREATE INDEX by_owner ON row (owner)")
            self._db.execute("CREATE INDEX by_id ON row (id) WHERE id != x''")
            for number, content in self._db.execute(_SECOND_CLAIMS).fetchall():
                row = pickle.loads(content)
                reason = f"has the id {row.id!r} of an earlier row with another file"
                self.rejects.append(Reject(path=row.place(name), stage="manifest", reason=reason))
                self._db.execute("DELETE FROM row WHERE number = ?", (number,))
        except BaseException:
            self.close()
            raise

    def _values(self, rows: Iterable[ManifestRow | Reject]) -> Iterator[tuple[int, bytes, bytes]]:
        for row in rows:
            if isinstance(row, Reject):
                self.rejects.append(row)
            else:
                owner = self._sources.setdefault(row.source, len(self._sources))
                yield owner, row.id.encode("utf-8", "surrogatepass"), pickle.dumps(row)

    def close(self) -> None:
        self._db.close()

    @property
    def sources(self) -> list[str]:
        """Media files in order of first mention."""
        return list(self._sources)[1:]

    def __iter__(self) -> Iterator[tuple[str, list[ManifestRow]]]:
        """(media file, its rows) in order of first mention."""
        names = list(self._sources)
        rows = self._db.execute("SELECT owner, content FROM row WHERE owner > 0 ORDER BY owner, number")
        for owner, own in groupby(rows, key=lambda row: row[0]):
            yield names[owner], [pickle.loads(content) for _, content in own]

    def texts(self) -> Iterator[ManifestRow]:
        """Rows without a media file."""
        for (content,) in self._db.execute("SELECT content FROM row WHERE owner = 0 ORDER BY number"):
            yield pickle.loads(content)
