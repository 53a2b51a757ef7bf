"""The library: data about a set of media in one LanceDB database. The media files stay where they are.

Tables   about      key, value: format version, media roots, the current fingerprint of each encoder
         sources    one row a media file: its place, and its size and time when it was read
         clips      one row a clip (`Clip`)
         transcripts  one row a media file and task: its text as a model read it (`transcripts.py`)
         own        one row an edit: the user's labels and corrected lines (`edits.py`)
         rejects    media and rows set aside, with stage and reason
         latents_*  one table an encoder, vectors_* one a run: append-only batches, so a kill loses one batch at most
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seehear.errors import SeehearError, near, require
from seehear.library.locking import alone_with
from seehear.library.records import (
    COPY_OF,
    SPLITS,
    Clip,
    Reject,
    Source,
    Text,
    clip_id,
    clip_of_row,
    content_key,
    digest,
    printable,
    row_of_clip,
    schemas,
    unprintable,
)
from seehear.library.vectors import Vectors, VectorTable, in_batches, one_of, quote, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SPLITS", "Clip", "LibraryTables", "Reject", "Source", "Text", "VectorTable", "Vectors"]
__all__ += ["clip_id", "content_key", "in_batches", "library_of", "one_of", "quote", "table_name"]

# 2: texts have `kind` and `by`. 3: and `confidence`. An older library is read as it is, and converted by the next
# writer of clips.
FORMAT, _READABLE = "3", ("1", "2", "3")
_KEYS = {"about": "key", "sources": "source", "clips": "id", "rejects": "path", "transcripts": "key", "own": "key"}


def table_name(kind: str, name: str) -> str:
    """Name of a table of vectors, valid in LanceDB on every file system."""
    return f"{kind}_" + re.sub(r"[^A-Za-z0-9_.-]+", "-", name).strip("-.")


class LibraryTables:
    """The tables at a path, or at an address on object storage (s3://, gs://, az://) with keys and endpoint from the
    environment. Opened with `open`, made with `create`."""

    def __init__(self, uri: str | Path):
        self.uri = str(uri)
        # A server of one's own that is named without encryption is meant so; LanceDB wants it said twice.
        plain = "://" in self.uri and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
        lancedb = require("lancedb")
        try:
            self._db = lancedb.connect(self.uri, storage_options={"allow_http": "true"} if plain else None)
        except (ValueError, OSError, RuntimeError) as error:
            if "://" not in self.uri:
                raise
            # The error is a page of XML or Rust; its message is one line of it.
            message = re.search(r'<Message>([^<]+)</Message>|message: "([^"]+)"', str(error))
            cause = next(filter(None, message.groups())) if message else str(error)[:200]
            raise SeehearError(f"cannot reach {uri}: {cause} (see docs/scaling.md)") from error
        self._open: dict[str, Any] = {}
        self._whole: set[str] = set()

    # -- the database ------------------------------------------------------------------------------------------------

    @classmethod
    def create(cls, uri: str | Path) -> LibraryTables:
        """Opens a library; makes an empty one if it is missing."""
        library = cls(uri)
        library.upgrade()
        return library

    def upgrade(self) -> None:
        """Creates missing tables and converts an older format. To be called by a writer of clips."""
        tables = schemas()
        for name in ("about", "sources", "clips", "rejects"):
            if not self.has(name):
                self._db.create_table(name, schema=tables[name])
        if self.about().get("format") != FORMAT:
            # First: an older seehear must refuse the library from here on.
            self.set_about("format", FORMAT)
        for name in ("clips", "transcripts"):
            if self.has(name) and self.table(name).schema != tables[name]:
                # What an older seehear did not write is null.
                parts = [tables[name].empty_table(), self.table(name).to_arrow()]
                rows = require("pyarrow").concat_tables(parts, promote_options="permissive")
                self.replace(name, rows.cast(tables[name]))

    @classmethod
    def open(cls, uri: str | Path) -> LibraryTables:
        if "://" not in str(uri) and not Path(uri).is_dir():
            raise SeehearError(
                f"no library at {uri}{near(uri)}: make one with 'seehear prepare FOLDER --library {uri}'"
            )
        library = cls(uri)
        if not library.has("clips"):
            raise SeehearError(
                f"{uri} is not a seehear library: make one with 'seehear prepare FOLDER --library {uri}'"
            )
        version = library.about().get("format", FORMAT)
        if version not in _READABLE:
            raise SeehearError(
                f"{uri} has library format {version}, this seehear reads {', '.join(_READABLE)}: use the seehear that "
                "made it"
            )
        return library

    def tables(self) -> list[str]:
        # LanceDB lists the tables in pages.
        names: list[str] = []
        token = None
        while True:
            page = self._db.list_tables(page_token=token)
            names += list(page.tables)
            token = page.page_token
            if not token:
                return [name for name in names if name in self._whole or self.has(name)]

    def has(self, name: str) -> bool:
        """True if there is a table; False for the remains of one whose creation was killed or met a full disk."""
        try:
            self._db.open_table(name)
        except ValueError:
            return False
        self._whole.add(name)
        return True

    def table(self, name: str) -> Any:
        # Opening a table reads its newest version from the disk, or from object storage.
        if name not in self._open:
            self._open[name] = self._db.open_table(name)
        return self._open[name]

    def rows(self, name: str, where: str | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """Rows of a table that meet an SQL condition."""
        return rows_of(self.table(name), where, columns)

    def drop(self, name: str) -> None:
        self._open.pop(name, None)
        self._whole.discard(name)
        self._db.drop_table(name)

    def put(self, name: str, rows: Sequence[dict[str, Any]]) -> None:
        """Inserts or replaces rows by the table's key, in one commit; makes a missing table."""
        if rows:
            schema = schemas()[name]
            data = require("pyarrow").Table.from_pylist(list(rows), schema=schema)
            # By key: a run that is repeated after a kill writes no row twice.
            merge = self.ensure(name, schema).merge_insert(_KEYS[name])
            merge.when_matched_update_all().when_not_matched_insert_all().execute(data)

    def _remove(self, name: str, keys: Iterable[str]) -> None:
        for batch in in_batches(list(keys), 1000):
            self.table(name).delete(one_of(_KEYS.get(name, "id"), batch))

    # -- about -------------------------------------------------------------------------------------------------------

    def about(self) -> dict[str, str]:
        return {row["key"]: row["value"] for row in self.table("about").to_arrow().to_pylist()}

    def set_about(self, key: str, value: str) -> None:
        # Writers of different tables share this one: a merge into an old version of it would insert a key twice if
        # another process has inserted it since.
        with alone_with(self.uri, "about"):
            self.table("about").checkout_latest()
            self.put("about", [{"key": key, "value": value}])

    def forget(self, key: str) -> None:
        """Deletes a key of `about`."""
        self._remove("about", [key])

    def encoders(self) -> dict[str, dict[str, Any]]:
        """{name: {modality, width, fingerprint, ...}}: the present version of each encoder of the library."""
        head = "encoder:"
        return {k.removeprefix(head): json.loads(v) for k, v in self.about().items() if k.startswith(head)}

    def roots(self) -> dict[str, str]:
        """Folder of each media root by prefix: '' for the first, '@name' for later ones. Sources of a later root begin
        with '@name/'; sources of the first whose path begins with '@' begin with './@'."""
        return json.loads(self.about().get("roots", "{}"))

    def add_root(self, folder: str | Path) -> str:
        """Prefix of a media root, which is added if it is new."""
        roots, folder = self.roots(), printable(str(Path(folder).resolve()))
        for prefix, known in roots.items():
            if known == folder:
                return prefix
        prefix = "" if not roots else f"@{Path(folder).name}"
        while prefix in roots:
            # Two roots may be folders of one name.
            prefix += "_"
        self.set_about("roots", json.dumps(roots | {prefix: folder}))
        return prefix

    def path_of(self, source: str, roots: dict[str, str] | None = None) -> Path:
        """Path of a media file. Callers with many sources pass `roots()`."""
        roots = self.roots() if roots is None else roots
        head, _, rest = source.partition("/")
        if head.startswith("@") and head in roots:
            return Path(unprintable(roots[head])) / unprintable(rest)
        if "" not in roots:
            raise SeehearError(f"{self.uri} has no media root: run 'seehear prepare FOLDER --library {self.uri}'")
        return Path(unprintable(roots[""])) / unprintable(source)

    # -- rows --------------------------------------------------------------------------------------------------------

    def put_clips(self, clips: Sequence[Clip]) -> None:
        self.put("clips", [row_of_clip(clip) for clip in clips])

    def remove_clips(self, ids: Iterable[str]) -> None:
        """Removes clips and all their vectors."""
        ids = list(ids)
        # Vectors first: a run that is killed in between still knows the clips, and repeats it.
        for name in [n for n in self.tables() if n.startswith(("latents_", "vectors_"))] if ids else []:
            self._remove(name, ids)
        self._remove("clips", ids)

    def clip_ids(self, sources: Iterable[str]) -> list[str]:
        """Ids of the clips of some media files; '' stands for clips of text alone."""
        return list(self._ids_and_sources("source", sources))

    def clip_sources(self, ids: Iterable[str]) -> dict[str, str]:
        """Source of each existing clip, by id."""
        return self._ids_and_sources("id", ids)

    def _ids_and_sources(self, column: str, values: Iterable[str]) -> dict[str, str]:
        sources: dict[str, str] = {}
        for batch in in_batches(sorted(values), 1000):
            rows = self.rows("clips", one_of(column, batch), ["id", "source"]).to_pydict()
            sources |= dict(zip(rows["id"], rows["source"], strict=True))
        return sources

    def count_clips(self) -> int:
        return int(self.table("clips").count_rows())

    def clips(self, where: str | None = None) -> list[Clip]:
        """Clips in order of their ids: all, or those that meet an SQL condition ("array_has(labels, 'dog')")."""
        try:
            rows = self.rows("clips", where)
        except (RuntimeError, ValueError, OSError) as error:
            if not where:
                raise
            raise SeehearError(f"cannot filter by {where!r}: {str(error).splitlines()[0]}") from error
        # A row as a dict takes several times what the clip takes.
        parts = rows.to_batches(max_chunksize=8192)
        # LanceDB returns rows in the order of its files, which every compaction changes.
        return sorted((clip_of_row(row) for part in parts for row in part.to_pylist()), key=lambda clip: clip.id)

    def put_sources(self, sources: Sequence[Source]) -> None:
        self.put("sources", [asdict(s) | {"info": json.dumps(s.info, sort_keys=True)} for s in sources])

    def remove_sources(self, sources: Iterable[str]) -> None:
        self._remove("sources", sources)

    def sources(self) -> dict[str, Source]:
        rows = self.table("sources").to_arrow().to_pylist()
        return {r["source"]: Source(**(r | {"info": json.loads(r["info"])})) for r in rows}

    def seconds_of(self, sources: Sequence[str]) -> dict[str, float]:
        """Duration in seconds of the known media files that have one."""
        wanted = ", ".join(map(quote, sources))
        if not wanted:
            return {}
        rows = self.rows("sources", f"duration > 0 AND source IN ({wanted})", ["source", "duration"]).to_pylist()
        return {row["source"]: row["duration"] for row in rows}

    def copies(self) -> dict[str, tuple[str, ...]]:
        """Other files with the content of a source, and no clips of their own, by source."""
        rows = self.rows("sources", f"info LIKE '%\"{COPY_OF}\"%'", ["source", "info"]).to_pylist()
        copies: dict[str, tuple[str, ...]] = {}
        for row in sorted(rows, key=lambda row: row["source"]):
            first = json.loads(row["info"]).get(COPY_OF, "")
            copies[first] = (*copies.get(first, ()), row["source"])
        return copies

    def compact(self) -> None:
        """Joins the small files of many commits, in the tables of rows that were used; safe at any time."""
        for name in _KEYS.keys() & self._open.keys():
            self.table(name).optimize()

    def put_rejects(self, rejects: Sequence[Reject]) -> None:
        self.put("rejects", [asdict(r) for r in {r.path: r for r in rejects}.values()])

    def remove_rejects(self, paths: Iterable[str]) -> None:
        self._remove("rejects", paths)

    def rejects(self) -> list[Reject]:
        return [Reject(**row) for row in self.table("rejects").to_arrow().to_pylist()]

    # -- vectors -----------------------------------------------------------------------------------------------------

    def vectors(
        self, kind: str, name: str, width: int | None = None, metadata: Mapping[str, str] | None = None
    ) -> VectorTable:
        """Table of the `latents` of an encoder or the `vectors` of a run. With a width, a missing table is made, with
        `metadata` in its schema."""
        name = table_name(kind, name)
        if not self.has(name):
            if width is None:
                raise SeehearError(f"{self.uri} has no table {name}")
            pa = require("pyarrow")
            columns = {"id": pa.string(), "item": pa.int32(), "modality": pa.string()}
            columns |= {"vector": pa.list_(pa.float16(), width), "maker": pa.string(), "content": pa.string()}
            self.ensure(name, pa.schema(columns, metadata=metadata))
        return VectorTable(self.table(name))

    def ensure(self, name: str, schema: pa.Schema) -> Any:
        """The LanceDB table of that name; made empty if it is missing."""
        if name not in self._open and not self.has(name):
            self._db.create_table(name, schema=schema)
        return self.table(name)

    def replace(self, name: str, rows: pa.Table) -> None:
        """Writes a LanceDB table in place of any other of that name."""
        self._open.pop(name, None)
        # An overwrite is one commit: readers see the old table or the new one.
        self._db.create_table(name, data=rows, mode="overwrite" if self.has(name) else "create")


def library_of(folder: str | Path) -> str:
    """Default path of the library of a folder: in the user's cache, so that nothing is written among the media."""
    folder = Path(folder).resolve()
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seehear" / "libraries"
    # With a digest of the path, as two folders may have one name.
    return str(base / f"{re.sub(r'[^A-Za-z0-9_.-]+', '-', folder.name)}-{digest(str(folder))[:8]}")
