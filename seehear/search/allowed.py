"""The clips that filters leave, asked of the library as late and of as few clips as will do."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

from seehear.errors import SeehearError
from seehear.library.tables import Library, one_of
from seehear.search.filters import Filters
from seehear.search.fulltext import clips_that_say

ASKED = 4096
"""Clips that are asked for by their ids; beyond that, reading the whole table is no dearer."""


class Allowed:
    """`says`: clips whose texts hold the words of a filter; None without such a filter."""

    def __init__(self, library: Library, where: str | None, says: set[str] | None):
        self._library, self._where, self._says = library, where, says

    def of(self, clips: Collection[str]) -> set[str]:
        """The clips among these that pass the filter."""
        left = set(clips) if self._says is None else self._says.intersection(clips)
        if self._where is None or not left:
            return left
        if len(left) > ASKED or "all" in self.__dict__:
            return left & self.all
        return self._read(f"{one_of('id', sorted(left))} AND {self._where}")

    @cached_property
    def all(self) -> set[str]:
        """Ids of all clips that may be found."""
        if self._where is None:
            return self._says or set()
        found = self._read(self._where)
        return found if self._says is None else found & self._says

    def _read(self, where: str) -> set[str]:
        try:
            rows = self._library.table("clips").search().where(where).select(["id"]).limit(None).to_arrow()
        except (RuntimeError, ValueError, OSError) as error:
            problem = str(error).splitlines()[0]
            raise SeehearError(f"cannot filter by {self._where!r}: {problem}") from error
        return set(rows["id"].to_pylist())


def allowed_clips(library: Library, filters: Filters | None) -> Allowed | None:
    """None where every clip may be found."""
    says = clips_that_say(library, filters.says) if filters and filters.says else None
    where = filters.sql() if filters else None
    return None if where is None and says is None else Allowed(library, where, says)
