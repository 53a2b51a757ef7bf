"""The tables of vectors in a library: of encoders, of the towers of runs, of the indexes of runs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from seehear.errors import unknown
from seehear.library.locking import writing
from seehear.library.tables import Library, table_name

_KINDS = {"encoder:": "latents", "index:": "vectors"}  # what `about` calls them -> their tables


@dataclass(frozen=True, kw_only=True)
class Stored:
    table: str
    rows: int
    run: str = ""
    """Where the run lay when the table was made; empty: of no run, or not known."""

    @property
    def gone(self) -> bool:
        """Whether no run is there any more, as far as this machine can see."""
        return bool(self.run) and not self.run.startswith("frozen:") and not os.path.exists(self.run)


def stored(library: Library) -> list[Stored]:
    runs = _runs(library)
    return [
        Stored(table=name, rows=library.table(name).count_rows(), run=runs.get(name, ("", ""))[1])
        for name in _names(library)
    ]


def drop(library: Library, table: str) -> None:
    """Take a table out, and what is said of it. Its vectors can be made again from the media."""
    if table not in (tables := _names(library)):
        raise unknown("table", table, tables)
    with writing(library.uri):
        key = _runs(library).get(table, ("", ""))[0]
        library.drop(table)
        library.forget(key)


def _names(library: Library) -> list[str]:
    return [name for name in library.tables() if name.startswith(tuple(f"{kind}_" for kind in _KINDS.values()))]


def _runs(library: Library) -> dict[str, tuple[str, str]]:
    """{table: (its key in `about`, where its run lay)}"""
    found = {}
    for key, value in library.about().items():
        for prefix, kind in _KINDS.items():
            if key.startswith(prefix):
                found[table_name(kind, key.removeprefix(prefix))] = key, str(json.loads(value).get("model", ""))
    return found
