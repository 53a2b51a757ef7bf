"""The rows of a manifest by media file, in bounded memory: the rows lie in a temporary file, 32 bytes of each here."""

from __future__ import annotations

import hashlib
import pickle
import tempfile
from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from seehear.library.manifest import Row
from seehear.library.records import Reject


class GroupedRows:
    """Rows may come in any order. An id that two files claim stays with the first; the other rows are set aside."""

    def __init__(self, rows: Iterable[Row | Reject], *, name: str):
        self.rejects: list[Reject] = []
        self._name = name
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._sources: dict[str, int] = {"": 0}
        self._owner, self._at, self._line, self._id = (array("q") for _ in range(4))
        try:
            for row in rows:
                if isinstance(row, Reject):
                    self.rejects.append(row)
                else:
                    self._keep(row)
        except BaseException:
            self.close()
            raise
        self._set_aside_second_claims()

    def close(self) -> None:
        self._file.close()

    @property
    def sources(self) -> list[str]:
        """The media files, in order of first mention."""
        return list(self._sources)[1:]

    def __iter__(self) -> Iterator[tuple[str, list[Row]]]:
        """(media file, its rows) in order of first mention."""
        owners = np.asarray(self._owner)
        order = np.argsort(owners, kind="stable")
        bounds = np.searchsorted(owners[order], np.arange(len(self._sources) + 1))
        for number, source in enumerate(self._sources):
            if source:
                rows = [self._row(i) for i in order[bounds[number] : bounds[number + 1]].tolist()]
                if rows:
                    yield source, rows

    def texts(self) -> Iterator[Row]:
        """The rows without a media file, one at a time."""
        for i in np.flatnonzero(np.asarray(self._owner) == 0).tolist():
            yield self._row(i)

    def _keep(self, row: Row) -> None:
        self._owner.append(self._sources.setdefault(row.source, len(self._sources)))
        self._at.append(self._file.tell())
        self._line.append(row.line)
        self._id.append(_hash(row.id) if row.id else 0)
        pickle.dump(row, self._file, protocol=pickle.HIGHEST_PROTOCOL)

    def _row(self, i: int) -> Row:
        self._file.seek(self._at[i])
        return pickle.load(self._file)  # what `_keep` wrote, to a file without a name

    def _set_aside_second_claims(self) -> None:
        owners, ids = np.asarray(self._owner, dtype=np.int64), np.asarray(self._id, dtype=np.int64)
        named = np.flatnonzero(ids)
        # Rows of text alone are each a clip of their own, so each is another claimant.
        claimants = np.where(owners == 0, -np.arange(len(owners)) - 1, owners)
        _, first, which = np.unique(ids[named], return_index=True, return_inverse=True)
        owner_of_id = claimants[named][first][which]
        for i in named[claimants[named] != owner_of_id].tolist():
            row = self._row(i)
            reason = f"has the id {row.id!r} of an earlier row with another file"
            self.rejects.append(Reject(path=row.place(self._name), stage="manifest", reason=reason))
            self._owner[i] = -1
        self._file.flush()


def _hash(text: str) -> int:
    """63 bits, never 0."""
    hashed = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(hashed, "big") >> 1 | 1
