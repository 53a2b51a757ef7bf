"""Which clips a search may find: one SQL condition over the columns of `clips`, and words that a text must hold."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from seehear.errors import check_range, unknown
from seehear.library.tables import SPLITS, one_of, quote


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
