"""Annotation files below a set's root: their usual places, and their rows one at a time."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from seehear.datasets.base import ImportOptions, Items, SetIndex, bad_row
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow
from seehear.library.records import Text, printable
from seehear.library.subtitles import decode_text

# Folders below the root that are searched for a file: where the sets' own archives and their mirrors put it.
_FOLDERS = ("", "annotations", "annotation", "meta", "metadata", "csv", "data", "splits", "labels")

# Line number, and the fields by column or the error in the line.
Record = tuple[int, "dict[str, str] | SeehearError"]


class Files:
    """The annotation files of a set. `notes` collects remarks for the user."""

    def __init__(self, root: Path, media: SetIndex, options: ImportOptions):
        self.importer, self.root, self.media, self.options = media.importer, root, media, options
        self.notes: list[str] = []
        self._folders = [root / name for name in _FOLDERS if (root / name).is_dir()]

    def find(self, *names: str) -> Path | None:
        """The first of these names that exists in the root or one of its usual folders."""
        # By name first: the usual spelling wins, in whichever folder it is.
        places = (folder / name for name in names for folder in self._folders)
        return next((path for path in places if path.is_file()), None)

    def need(self, *names: str) -> Path:
        """The same; raises `SeehearError` without one."""
        if (path := self.find(*names)) is None:
            raise self.expected()
        return path

    def of_splits(self, names: Mapping[str, Sequence[str]]) -> dict[str, Path]:
        """Files of the wanted splits, with a note on missing ones. Raises `SeehearError` without any."""
        paths = {split: self.find(*files) for split, files in names.items() if self.options.wants(split)}
        found = {split: path for split, path in paths.items() if path is not None}
        if not found:
            raise self.expected()
        if missing := [f"{names[split][0]} ({split})" for split in paths if split not in found]:
            self.notes.append(f"not there, and so not imported: {', '.join(missing)}")
        return found

    def expected(self) -> SeehearError:
        """The error for a root without the set's files."""
        wanted = "; ".join(self.importer.annotations)
        folders = ", ".join(name for name in _FOLDERS if name)
        return SeehearError(
            f"{self.root} does not look like {self.importer.title}: expected {wanted} (in it, or in its {folders})"
        )

    def rows(
        self, path: Path, records: Iterable[Record], make: Callable[[dict[str, str]], ManifestRow | None]
    ) -> Items:
        """Rows that `make` returns for every line: None skips a line, a `SeehearError` sets it aside."""
        table = self.table(path)
        for line, values in records:
            try:
                if isinstance(values, SeehearError):
                    raise values
                row = make(values)
                if row is not None:
                    yield replace(row, table=table, line=line)
            except SeehearError as error:
                yield bad_row(table, line, error)

    def rows_of_splits(
        self,
        names: Mapping[str, Sequence[str]],
        columns: Sequence[str],
        make: Callable[[str, dict[str, str]], ManifestRow | None],
        **form: Any,
    ) -> Items:
        """Rows of the wanted splits, a table of the `form` of `read_table` for each: `make` gets the split and every
        line."""
        for split, path in self.of_splits(names).items():
            yield from self.rows(path, read_table(path, columns, **form), partial(make, split))

    def table(self, path: Path) -> str:
        """Name of a file in messages: 'audiocaps/dataset/test.csv'."""
        return f"{self.importer.name}/{printable(path.relative_to(self.root).as_posix())}"


def lines(path: Path) -> Iterator[str]:
    """Lines in UTF-8 or, for those that are not, in the western Windows encoding (Clotho's metadata)."""
    try:
        with open(path, "rb") as file:
            yield from (decode_text(line) for line in file)
    except OSError as error:
        raise SeehearError(f"{path}: cannot be read ({error.strerror})") from error


def read_table(
    path: Path, columns: Sequence[str], *, delimiter: str = ",", first: Sequence[str] | None = None
) -> Iterator[Record]:
    """Lines of a table, after "#" comments. The first line names the columns, `columns` among them. With `first` they
    are `columns` alone, and a header that begins with one of `first` is skipped."""
    plain = lines(path)
    begin, text = 1, next(plain, "")
    while text.startswith("#"):
        begin, text = begin + 1, next(plain, "")
    records, names = _split(chain([text], plain), delimiter, begin), list(columns)
    if first is None:
        _, head = next(records, (0, []))
        names = head if isinstance(head, list) else []
        if missing := [name for name in columns if name not in names]:
            has = ", ".join(names) or "empty"
            raise SeehearError(f"{path}: has no column {', '.join(missing)} (its first line is {has})")
    for line, values in records:
        if isinstance(values, SeehearError):
            yield line, values
        elif line == begin and first and values[0].lower() in first:
            continue
        elif len(values) != len(names):
            yield line, SeehearError(f"has {len(values)} fields, expected {len(names)} ({', '.join(names)})")
        else:
            yield line, dict(zip(names, values, strict=True))


def _split(plain: Iterable[str], delimiter: str, start: int) -> Iterator[tuple[int, list[str] | SeehearError]]:
    # The tables of AudioSet have a space after each comma.
    reader = csv.reader(plain, delimiter=delimiter, skipinitialspace=True)
    while True:
        # Taken before the record is read: a quoted field may run over several lines.
        line = reader.line_num + start
        try:
            values = [value.strip() for value in next(reader)]
        except StopIteration:
            return
        # One bad line must not end the table.
        except csv.Error as error:
            yield line, SeehearError(f"is no line of CSV ({error})")
            continue
        if any(values):
            yield line, values


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Non-empty lines of a list, with their numbers."""
    for number, line in enumerate(lines(path), start=1):
        if line.strip():
            yield number, line.strip()


def read_json(path: Path, needed: str, kind: type = list) -> dict[str, Any]:
    """A JSON object with a value of type `kind` under `needed`."""

    def without_tokens(values: dict[str, Any]) -> dict[str, Any]:
        # Captions cut into words would take half of the memory of such a file.
        values.pop("tokens", None)
        return values

    try:
        # A file saved on Windows may begin with a mark of its encoding.
        with open(path, encoding="utf-8-sig") as file:
            found = json.load(file, object_hook=without_tokens)
    except OSError as error:
        raise SeehearError(f"{path}: cannot be read ({error.strerror})") from error
    # JSON that is nested too deeply raises RecursionError.
    except (ValueError, RecursionError) as error:
        raise SeehearError(f"{path}: is no JSON ({error})") from error
    if not isinstance(found, dict) or not isinstance(found.get(needed), kind):
        raise SeehearError(f"{path}: expected an object with {needed!r}")
    return found


def objects(found: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Objects in the list `name`; other entries are left out."""
    listed = found.get(name)
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(listed, list) else []


def number(values: Mapping[str, str], column: str) -> float:
    """A time in seconds, at least 0, from a column."""
    try:
        value = float(values[column])
    except ValueError:
        value = -1.0
    # NaN and infinity fail this as well.
    if not 0 <= value < 1e7:
        raise SeehearError(f"{column} {values[column]!r} is no time in seconds")
    return value


def span(values: Mapping[str, str], first: str, last: str) -> tuple[float, float]:
    """Start and end in seconds, from two columns."""
    start, end = number(values, first), number(values, last)
    if end <= start:
        raise SeehearError(f"ends at {end:g} s, but starts at {start:g} s")
    return start, end


def given(values: Mapping[str, str], column: str) -> str:
    if not values[column]:
        raise SeehearError(f"has no {column}")
    return values[column]


def captions(*said: Any) -> tuple[Text, ...]:
    """Non-empty texts; raises `SeehearError` without any."""
    texts = tuple(Text(text.strip()) for text in said if isinstance(text, str) and text.strip())
    if not texts:
        raise SeehearError("has no caption")
    return texts
