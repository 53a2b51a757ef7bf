"""Filters of a search: one SQL condition over the columns of `clips`, and words that a text must contain."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from seehear.errors import SeehearError, check_range, unknown
from seehear.library.tables import SPLITS, LibraryTables, one_of, quote
from seehear.search.fulltext import clips_that_say


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Conditions on clips, all of which must hold."""

    source: str = ""
    """Pattern of the file's path in the library: '*' for anything, '?' for one character ('talks/*.mp4')."""
    labels: tuple[str, ...] = ()
    """Labels of which the clip has one."""
    splits: tuple[str, ...] = ()
    """Splits of which the clip is in one."""
    min_seconds: float | None = None
    """Shortest clip, seconds."""
    max_seconds: float | None = None
    """Longest clip, seconds."""
    says: str = ""
    """Words that one of the clip's texts contains (full text)."""
    meta: Mapping[str, str] = field(default_factory=dict)
    """Values of the user's own columns."""
    where: str = ""
    """SQL condition over id, source, start, end, has_video, has_audio, texts, labels, group, split and meta."""

    def __post_init__(self) -> None:
        check_range(self, "[0, inf)", "min_seconds", "max_seconds")
        for split in self.splits:
            if split not in SPLITS:
                raise unknown("split", split, SPLITS)

    def sql(self) -> str | None:
        """SQL condition of all but `says`, which uses the full text; None for no condition."""
        parts = []
        if self.source:
            parts.append(_matches("source", self.source))
        if self.labels:
            parts.append("(" + " OR ".join(f"array_has(labels, {quote(name)})" for name in self.labels) + ")")
        if self.splits:
            parts.append(one_of("split", self.splits))
        # `!r` keeps every digit of a float.
        if self.min_seconds is not None:
            parts.append(f"`end` - start >= {self.min_seconds!r}")
        if self.max_seconds is not None:
            parts.append(f"`end` - start <= {self.max_seconds!r}")
        # `meta` is JSON with ': ' after a name. Quotes in its values are escaped, so no value looks like this.
        for name, value in self.meta.items():
            text = f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(value, ensure_ascii=False)}"
            parts.append(f"contains(meta, {quote(text)})")
        if self.where:
            # In brackets: an OR in it must not undo the other conditions.
            parts.append(f"({self.where})")
        return " AND ".join(parts) or None


def _matches(column: str, pattern: str) -> str:
    """SQL condition that a whole text matches a pattern with '*' and '?'."""
    if not set(pattern) & set("*?"):
        return f"{column} = {quote(pattern)}"  # the index over the column answers this, and no regular expression
    # A regular expression for the whole text: LIKE has other wildcards, and "%" and "_" occur in names.
    glob = "".join({"*": ".*", "?": "."}.get(c) or re.escape(c) for c in pattern)
    # `(?s)`: '.' also stands for a line break, which the name of a file may hold.
    return f"regexp_like({column}, {quote(f'(?s)^{glob}$')})"


ASKED = 4096
"""Largest number of clips that are filtered by their ids; for more, reading the whole table is as fast."""


class Allowed:
    """Clips that pass filters, read from the library late and for few clips where possible. `says`: clips whose texts
    contain the words of a filter; None without such a filter."""

    def __init__(self, library: LibraryTables, where: str | None, says: set[str] | None):
        self._library, self._where, self._says = library, where, says

    def of(self, clips: Collection[str]) -> set[str]:
        """Clips among these that pass the filter."""
        left = set(clips) if self._says is None else self._says.intersection(clips)
        if self._where is None or not left:
            return left
        if len(left) > ASKED or "all" in self.__dict__:
            return left & self.all
        return self._read(f"{one_of('id', sorted(left))} AND {self._where}")

    @cached_property
    def all(self) -> set[str]:
        """Ids of all clips that pass the filter."""
        if self._where is None:
            return self._says or set()
        found = self._read(self._where)
        return found if self._says is None else found & self._says

    def _read(self, where: str) -> set[str]:
        try:
            rows = self._library.table("clips").search().where(where).select(["id"]).limit(None).to_arrow()
        # LanceDB refuses a condition by any of these.
        except (RuntimeError, ValueError, OSError) as error:
            # Without the statement around the condition, which may hold thousands of ids, and lines of Rust.
            problem = re.sub(r": SELECT 1 FROM .*(?= \(sql)|, /\S+\.rs:[\d:]+", "", str(error).splitlines()[0])
            raise SeehearError(f"cannot filter by {self._where!r}: {problem}") from error
        return set(rows["id"].to_pylist())


def allowed_clips(library: LibraryTables, filters: Filters | None) -> Allowed | None:
    """Clips that pass the filters; None for no filter."""
    says = clips_that_say(library, filters.says) if filters and filters.says else None
    where = filters.sql() if filters else None
    return None if where is None and says is None else Allowed(library, where, says)
