"""Building the indexes of a library: of its frozen spaces and of trained runs, each with its calibration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables
from seehear.progress import say
from seehear.search.background import calibrate_index
from seehear.search.behind import behind
from seehear.search.index import IndexReport, build_index, indexes
from seehear.space import SharedSpace, model_of
from seehear.space.frozen import FROZEN, frozen_towers
from seehear.space.lance import embedding_metadata
from seehear.space.saved import verdict_of


@dataclass(frozen=True)
class IndexReports:
    indexes: tuple[IndexReport, ...]

    def __str__(self) -> str:
        return "\n".join(str(report) for report in self.indexes)


def asked_together(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the indexes that are searched together: all frozen ones and the newest of a run. `found`: result of
    `indexes`."""
    frozen = [name for name in found if found[name].get("model", "").startswith(FROZEN)]
    runs = sorted(found.keys() - set(frozen), key=lambda n: found[n].get("made", ""))
    return [*frozen, *runs[-1:]]


def index_run(library: LibraryTables, run: str | Path, *, name: str = "", device: str = "auto") -> IndexReport:
    """Indexes the library in the space of a trained run."""
    folder = Path(run).resolve()
    space = SharedSpace.from_pretrained(folder, device=device)
    space.encode_library(library)
    name = name or folder.name
    if verdict := verdict_of(folder):
        say(f"{folder.name}: {verdict['words']}")
    metadata = embedding_metadata(library.uri, str(folder))
    report = build_index(library, space, name=name, model=str(folder), metadata=metadata)
    calibrate_index(library, space, name)
    return report


def index_learned(library: LibraryTables, *, device: str = "auto") -> bool:
    """Brings the index of the newest run up to date; returns False for a current index, or none."""
    found = indexes(library)
    for name in asked_together(found):
        if not found[name].get("model", "").startswith(FROZEN) and behind(library, name):
            index_run(library, model_of(library.uri, name, found[name]), name=name, device=device)
            return True
    return False


# Loaded frozen spaces, by name and JSON of their encoders.
Spaces = dict[tuple[str, str], SharedSpace]


def index_frozen(library: LibraryTables, *, device: str = "auto", spaces: Spaces | None = None) -> IndexReports:
    """Indexes the library in every frozen space. `spaces`: loaded spaces to use and to extend, for repeated calls."""
    spaces = {} if spaces is None else spaces
    if not library.count_clips():
        raise SeehearError(f"{library.uri} has no clips: run 'seehear prepare FOLDER --library {library.uri}'")
    reports = []
    towers = frozen_towers(library.encoders())
    first = datetime.now(UTC)
    # Joint spaces come first: words can be searched from the first index on.
    for n, name in enumerate(towers):
        key = name, json.dumps(towers[name], sort_keys=True)
        if key not in spaces:
            spaces[key] = SharedSpace.from_pretrained(f"{FROZEN}{library.uri}#{name}", device=device)
        space = spaces[key]
        index = f"frozen-{name}"
        before = indexes(library).get(index, {})
        # The newest index opens first: the others are dated before the joint one, which keeps its date.
        if n == 0 and before.get("maker") == space.fingerprint and before.get("made"):
            first = datetime.fromisoformat(before["made"])
        try:
            made = (first - timedelta(microseconds=n)).isoformat(timespec="microseconds")
            model = f"{FROZEN}#{name}"
            metadata = embedding_metadata(library.uri, model)
            report = build_index(library, space, name=index, model=model, made=made, metadata=metadata)
        except SeehearError as error:
            say(str(error))
            continue
        calibrate_index(library, space, report.name)
        reports.append(report)
    if not reports:
        raise SeehearError(f"{library.uri} has no latents: run 'seehear encode {library.uri}'")
    return IndexReports(tuple(reports))
