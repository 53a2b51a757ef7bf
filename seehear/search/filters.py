"""Which clips a search may find: one SQL condition over the columns of `clips`, and words that a text must hold."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from seehear.errors import SeehearError, check_range, unknown
from seehear.library.tables import SPLITS, Library, one_of, quote
from seehear.search.fulltext import clips_that_say


@dataclass(frozen=True, kw_only=True)
class Filters:
    """All that are given must hold."""

    source: str = ""
    """Pattern of the file's path in the library: '*' for anything, '?' for one character ('talks/*.mp4')."""
    labels: tuple[str, ...] = ()
    """The clip has one of them."""
    splits: tuple[str, ...] = ()
    """The clip is in one of them."""
    min_seconds: float | None = None
    max_seconds: float | None = None
    says: str = ""
    """One of the clip's texts holds all these words (full text)."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """Columns of your own: name -> value."""
    where: str = ""
    """SQL over id, source, start, end, has_video, has_audio, texts, labels, group, split and meta."""

    def __post_init__(self) -> None:
        check_range(self, "[0, inf)", "min_seconds", "max_seconds")
        for split in self.splits:
            if split not in SPLITS:
                raise unknown("split", split, SPLITS)

    def sql(self) -> str | None:
        """None when every clip may be found; `says` is not in it, for it asks the full text."""
        parts = []
        if self.source:
            parts.append(f"regexp_like(source, {quote(_pattern(self.source))})")
        if self.labels:
            parts.append("(" + " OR ".join(f"array_has(labels, {quote(name)})" for name in self.labels) + ")")
        if self.splits:
            parts.append(one_of("split", self.splits))
        if self.min_seconds is not None:
            parts.append(f"`end` - start >= {self.min_seconds!r}")
        if self.max_seconds is not None:
            parts.append(f"`end` - start <= {self.max_seconds!r}")
        # `meta` is JSON with ': ' after a name. A value that holds this very text has its quotes escaped: no false hit.
        for name, value in self.meta.items():
            text = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            parts.append(f"contains(meta, {quote(text)})")
        if self.where:
            parts.append(f"({self.where})")
        return " AND ".join(parts) or None


def _pattern(glob: str) -> str:
    """A regular expression for the whole path."""
    parts = [{"*": ".*", "?": "."}.get(c) or re.escape(c) for c in glob]
    return f"(?s)^{''.join(parts)}$"


# ----------------------------------------------------------------------------------------------------------------------
# The clips that filters leave, asked of the library as late and of as few clips as will do.

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
