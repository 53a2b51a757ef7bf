"""Clips of a library without a current vector in an index: new, changed or never encoded."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from seehear.errors import require
from seehear.library.current import current_content
from seehear.library.tables import LibraryTables, Reject, table_name
from seehear.search.index import indexes, versions


def behind(library: LibraryTables, name: str) -> str:
    """Line with the number of clips that the index lacks and the commands that index them; '' for a complete index.

    Clips without any modality of the run, and clips that could not be encoded, are not counted."""
    about, pc = indexes(library)[name], require("pyarrow.compute")
    has = " OR ".join("array_length(texts) > 0" if m == "text" else f"has_{m}" for m in about["modalities"])
    ids, indexed = _ids(library.table("clips"), has), _ids(library.table(table_name("vectors", name)))
    # In Arrow: a million ids as Python objects would take seconds.
    missing = ids.filter(pc.invert(pc.is_in(ids, value_set=indexed))).to_pylist()
    count = len(set(missing) - not_encodable(library.rejects())) if missing else 0
    # Reading all clips takes seconds of a large library.
    if about.get("read") != versions(library):
        count += _changed(library, name)
    if not count:
        return ""
    return (
        f"{count:,} of {library.count_clips():,} clips {'is' if count == 1 else 'are'} not indexed yet: run "
        f"`seehear encode {shlex.quote(library.uri)}; seehear {shlex.join(index_command(library.uri, name, about))}`"
    )


def index_command(uri: str, name: str, about: Mapping[str, Any]) -> list[str]:
    """Words of the command that brings an index up to date with the latents. `about`: entry of `indexes`."""
    # One command indexes all frozen spaces.
    model = str(about.get("model", ""))
    if model.startswith("frozen:"):
        return ["index", uri]
    return ["index", uri, model or "RUN", *(["--name", name] if name != Path(model).name else [])]


def not_encodable(rejects: Iterable[Reject]) -> set[str]:
    """Ids of the clips that an encoder could not read."""
    return {reject.path.rpartition(" (")[0] for reject in rejects if reject.stage.startswith("encode:")}


def _ids(table: Any, where: str | None = None) -> Any:
    query = table.search().select(["id"]).limit(None)
    return (query.where(where) if where else query).to_arrow()["id"].combine_chunks()


def _changed(library: LibraryTables, name: str) -> int:
    """Number of clips with a vector of an earlier version of their text or file."""
    clips, sources = {clip.id: clip for clip in library.clips()}, library.sources()
    rows = library.vectors("vectors", name).keys().items()
    return len(
        {
            clip
            for (clip, item, modality), (_, content) in rows
            if clip in clips and content != current_content(clips[clip], modality, item, sources)
        }
    )
