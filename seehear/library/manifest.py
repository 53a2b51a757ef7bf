"""Manifests: tables of clips as CSV, TSV, JSONL or Parquet, read into one `ManifestRow` a line. A bad line is set aside
with its number.

Columns, in any order and case: a media file (`file`, `path` or `source`; or `video`, `image`, `audio`, with a picture
and a sound in one row), `start`, `end` (seconds or h:m:s), `text`, `caption` or `texts`, `labels` or `label`, `group`,
`split`, `id`. Any other column is kept with the clip. In a cell, `texts` and `labels` are divided by "|" or are a JSON
list. `columns={"text": "title_en"}` gives a role to a column of another name.
"""

from __future__ import annotations

import csv
import json
import math
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError, require, unknown
from seehear.library.records import Reject, Text, printable, split_name
from seehear.library.subtitles import as_string, as_strings, as_texts, decode_text, seconds

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
ROLES = ("id", "file", "video", "image", "audio", "start", "end", "text", "texts", "labels", "group", "split")
_JSONL = (".jsonl", ".ndjson")
MEDIA_ROLES = ("file", "video", "image", "audio")
# Other names of roles, used if the column of that role is missing; else they are columns like any other.
_SYNONYMS = {"path": "file", "source": "file", "caption": "text", "label": "labels"}
# Largest number of columns without a role kept for messages: JSONL may have new ones in every line.
_OTHERS = 100


@dataclass(frozen=True, kw_only=True)
class ManifestRow:
    """One line of a manifest."""

    line: int
    """Line number in an editor: the header of a CSV is line 1. In Parquet the row number, from 1."""
    table: str = ""
    """File of the line, in an input of several files; '' for the manifest itself."""
    source: str = ""
    """The media file as written, with forward slashes; '' for a row of text alone."""
    audio_source: str = ""
    """A second file, for the sound."""
    sound_only: bool = False
    """True for a file in the column `audio`: its pictures are ignored."""
    start: float | None = None
    end: float | None = None
    cut_out: bool = False
    """True if the file may already be this part of its recording: a file no longer than the part is."""
    texts: tuple[Text, ...] = ()
    labels: tuple[str, ...] = ()
    id: str = ""
    group: str = ""
    split: str = ""
    meta: dict[str, str] = field(default_factory=dict)

    def place(self, origin: str) -> str:
        """Name of the row in rejects: 'manifest.csv:17'."""
        return f"{self.table or origin}:{self.line}"


# Line number, and the values by column or the error of the line.
Record = tuple[int, "dict[str, Any] | SeehearError"]


def read_manifest(
    path: str | Path, columns: Mapping[str, str] | None = None, *, name: str = ""
) -> Iterator[ManifestRow | Reject]:
    """Rows in order, read on demand. Raises `SeehearError` for a file that is no manifest. `name`: name of the manifest
    in rejects, by default its file name."""
    path = Path(path)
    name = name or printable(path.name)
    if path.suffix.lower() not in SUFFIXES:
        raise SeehearError(f"{path}: a manifest is a {', '.join(SUFFIXES)} file")
    names = _columns(path, columns or {})
    roles = _roles(path, names, columns or {}) if names else {}
    for line, values in _READERS[path.suffix.lower()](path):
        try:
            if isinstance(values, SeehearError):
                raise values
            yield _row(line, values, roles)
        except SeehearError as error:
            yield Reject(path=f"{name}:{line}", stage="manifest", reason=str(error))


# -- formats -----------------------------------------------------------------------------------------------------------


def _lines(path: Path) -> Iterator[str]:
    """Lines of text, each in UTF-8 or else in the western Windows encoding; UTF-16 by its mark."""
    try:
        with open(path, "rb") as file:
            marked = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
            file.seek(0)
            if not marked:
                # Line by line: one in another encoding spoils no other.
                yield from (decode_text(line) for line in file)
                return
        with open(path, encoding="utf-16", errors="replace", newline="") as text:
            yield from text
    except OSError as error:
        raise SeehearError(f"{path}: cannot be read ({error.strerror})") from error


def _csv(path: Path) -> Iterator[Record]:
    lines = _lines(path)
    first = next(lines, "")
    # The delimiter of a .csv file is the most frequent candidate in its header: spreadsheets write ";" or tabs, too.
    reader = csv.reader(
        chain([first], lines), delimiter=max("\t,;" if path.suffix.lower() == ".csv" else "\t", key=first.count)
    )
    names: list[str] = []
    while True:
        # Before reading, as a quoted field may span several lines.
        line = reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, SeehearError(f"is no line of CSV ({error})")
            continue
        if not names:
            names = [name.strip() for name in values]
        elif len(values) == len(names):
            yield line, dict(zip(names, values, strict=True))
        elif values:
            yield line, SeehearError(f"has {len(values)} fields, the header has {len(names)}")


def _jsonl(path: Path) -> Iterator[Record]:
    for line, text in enumerate(_lines(path), start=1):
        if not text.strip():
            continue
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield line, SeehearError(f"is no JSON ({error})")
            continue
        if isinstance(values, dict):
            yield line, values
        else:
            yield line, SeehearError(f"expected an object {{...}}; got {type(values).__name__}")


def _parquet(path: Path) -> Iterator[Record]:
    pa, parquet = require("pyarrow"), require("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path) as file:
            # In parts: a table may be larger than memory.
            rows = (row for batch in file.iter_batches(1024) for row in batch.to_pylist())
            yield from enumerate(rows, start=1)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise SeehearError(f"{path}: is no Parquet file that can be read ({str(error).splitlines()[0]})") from error


_READERS: dict[str, Callable[[Path], Iterator[Record]]] = dict(
    zip(SUFFIXES, (_csv, _csv, _jsonl, _jsonl, _parquet), strict=True)
)


def _columns(path: Path, columns: Mapping[str, str]) -> list[str]:
    """Names of the columns. JSONL is read to its end for them: a line may lack some, and a row would be misread without
    a column that first appears after it."""
    kept = {*ROLES, *_SYNONYMS}
    names: dict[str, None] = {}
    empty = True
    for _, values in _READERS[path.suffix.lower()](path):
        empty = False
        if isinstance(values, SeehearError):
            continue
        for name in values:
            if name not in names and (len(names) < _OTHERS or name.lower() in kept or name in columns.values()):
                names[name] = None
        # A row of any other table has all columns.
        if path.suffix.lower() not in _JSONL:
            break
    if empty:
        raise SeehearError(f"{path}: holds no rows")
    return list(names)


# -- rows --------------------------------------------------------------------------------------------------------------


def _roles(path: Path, names: list[str], columns: Mapping[str, str]) -> dict[str, str]:
    """{role: column}: given by the user, else by name, else by a synonym."""
    for role, column in columns.items():
        if role not in ROLES:
            raise unknown("role of a column", role, ROLES)
        if column not in names:
            raise unknown(f"column of {path}", column, names)
    roles = dict(columns)
    # Of two columns that differ in case only, the first counts.
    by_name = {name.lower(): name for name in reversed(names) if name not in columns.values()}
    for name, role in [(role, role) for role in ROLES] + list(_SYNONYMS.items()):
        if role not in roles and name in by_name:
            roles[role] = by_name[name]
    if not any(role in roles for role in MEDIA_ROLES):
        raise SeehearError(
            f"{path}: none of its columns ({', '.join(names)}) is a media file: name one of them "
            f"{', '.join(MEDIA_ROLES)} or say which it is, as in --columns file {names[0]}"
        )
    return roles


def _row(line: int, values: dict[str, Any], roles: Mapping[str, str]) -> ManifestRow:
    cells = {role: values.get(column) for role, column in roles.items()}
    files = {role: _file(cells.get(role)) for role in MEDIA_ROLES}
    pictures = [files[role] for role in ("file", "video", "image") if files[role]]
    if len(pictures) > 1:
        raise SeehearError(f"names two files to look at, {pictures[0]!r} and {pictures[1]!r}: one row is one clip")
    source = pictures[0] if pictures else files["audio"]
    start, end = _time(cells.get("start")), _time(cells.get("end"))
    if end is not None and end <= (start or 0.0):
        raise SeehearError(f"ends at {end:g} s, but starts at {start or 0.0:g} s")
    texts = [t for role in ("text", "texts") for t in as_texts(_items(cells.get(role), split=role == "texts"))]
    labels = as_strings(_items(cells.get("labels"), split=True))
    if not source and not texts:
        raise SeehearError("has neither a media file nor a text")
    used = set(roles.values())
    meta = {name: as_string(value) for name, value in values.items() if name not in used and not _absent(value)}
    return ManifestRow(
        line=line,
        source=source,
        audio_source="" if files["audio"] == source else files["audio"],
        sound_only=bool(source) and not pictures,
        start=start,
        end=end,
        texts=tuple(dict.fromkeys(texts)),
        labels=labels,
        id=_text(cells.get("id")),
        group=_text(cells.get("group")),
        split=split_name(_text(cells.get("split"))),
        meta=meta,
    )


def _file(value: Any) -> str:
    """A path inside the media folder, or an absolute one."""
    name = _text(value).replace("\\", "/")
    if not name:
        return ""
    if "://" in name:
        raise SeehearError(f"{name!r} is an address: download the file and name its place on disk")
    if "\0" in name:
        raise SeehearError(f"{name!r} is no file name")
    name = posixpath.normpath(name)
    if name.startswith("../") or name in ("..", "."):
        raise SeehearError(f"{name!r} is outside the media folder: say with --media which folder paths begin in")
    return name


def _time(value: Any) -> float | None:
    return None if _absent(value) else seconds(value.strip() if isinstance(value, str) else value)


def _text(value: Any) -> str:
    return "" if _absent(value) else as_string(value).strip()


def _absent(value: Any) -> bool:
    """True for an empty cell, or the not-a-number that tables write for it."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _items(value: Any, *, split: bool) -> Any:
    """A list from a cell with a JSON list or, if `split`, with "|" between items; other values unchanged."""
    if _absent(value):
        return None
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            listed = json.loads(value)
        except (ValueError, RecursionError):
            # A text that merely begins like a JSON list stays a text.
            listed = None
        if isinstance(listed, list):
            return listed
    return value.split("|") if split else value
