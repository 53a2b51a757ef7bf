"""Import of a data set from disk into a library, by its own files and splits. Nothing is downloaded.

Rows are prepared like those of a manifest (`prepare`): probed, cut, or set aside with their line. Rows without media on
disk are set aside too, the first thousand one by one and the rest as a count, so that a table of millions of rows with
few media costs little memory.
"""

from __future__ import annotations

import tomllib
from array import array
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np

from seehear.datasets.base import Importer, ImportOptions, Items, MediaIndex, bad_row
from seehear.datasets.feature_run import Features, features_of, update_features
from seehear.datasets.files import Files
from seehear.errors import SeehearError, unknown
from seehear.library.clips import PrepareOptions, split_of
from seehear.library.inputs import GroupedRows, RowsInput
from seehear.library.locking import writing
from seehear.library.manifest import ManifestRow
from seehear.library.prepare import Update
from seehear.library.records import Reject
from seehear.library.summary import PrepareReport, Tally, report
from seehear.library.tables import LibraryTables
from seehear.progress import counted, say

# Rows of each kind that are set aside one by one; the rest are counted: a table may have millions without media.
_LISTED = 1000
# Names of missing files in a report.
_SHOWN = 5
_TABLE = Path(__file__).parents[1] / "assets" / "datasets.toml"


def _read(name: str, fields: dict[str, Any]) -> Importer:
    own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    reader, key = (resolve_name(f"seehear.datasets.{own.pop(field)}") for field in ("reader", "key"))
    return Importer(name=name, read=partial(reader, **own.pop("arguments", {})), key=key, **own)


IMPORTERS = {name: _read(name, fields) for name, fields in tomllib.loads(_TABLE.read_text("utf-8")).items()}


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    name: str
    rows: int
    """Rows of the wanted splits."""
    bad_rows: int
    media: int
    """Media files of the rows that are on disk."""
    missing: int
    """Media files of the rows that are not."""
    missing_first: tuple[str, ...]
    """Names of the first missing files."""
    prepared: PrepareReport
    """Outcome of `prepare`, and the content of the library."""
    what: str = "media files"
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [
            f"{self.name}: {counted(self.rows, 'row')}, {self.media:,} {self.what} on disk, {self.missing:,} missing"
        ]
        if self.missing:
            lines.append(f"  missing: {', '.join(self.missing_first)}{', ...' if self.missing > _SHOWN else ''}")
        if self.bad_rows:
            lines.append(
                f"  {counted(self.bad_rows, 'row')} cannot be used: 'seehear info {self.prepared.library} --rejects'"
            )
        lines += [f"  note: {note}" for note in self.notes]
        prepared, command = str(self.prepared), f"encode {self.prepared.library}"
        # Features are latents already: only texts remain to be encoded.
        if self.what != "media files":
            prepared = prepared.replace(command, f"{command} --encoders minilm")
        return "\n".join([*lines, prepared])


def import_dataset(
    name: str, root: str | Path, library_uri: str | Path, options: ImportOptions | None = None
) -> ImportReport:
    """Updates a library from a data set below `root`; creates the library if needed.

    Raises `SeehearError` for an unknown name, and for a root without the set's files or without any of its media.
    """
    if name not in IMPORTERS:
        raise unknown("data set", name, IMPORTERS)
    wanted, options, root = IMPORTERS[name], options or ImportOptions(), Path(root).resolve()
    for path in (root, options.media or root):
        if not path.is_dir():
            raise SeehearError(f"{path}: there is no such folder")
    if wanted.folds and not 0 <= options.fold <= wanted.folds:
        raise SeehearError(f"{wanted.title} has folds 1 to {wanted.folds}, 0 for all; got {options.fold}")
    # A library below the root is no part of the set; one in a cloud is in no folder that is walked.
    skip = "" if "://" in str(library_uri) else library_uri
    features = wanted.only_features or options.features is not None
    with closing(
        features_of(wanted, options.features or root, options, skip=skip)
        if features
        else MediaIndex((options.media or root).resolve(), wanted, skip=skip)
    ) as index:
        say(f"{name}: {counted(len(index), 'feature file' if features else 'media file')} below {index.folder}")
        rows = _Rows(Files(root, index, options), what="features" if features else "media")
        with closing(GroupedRows(rows, name=name)) as grouped:
            # Before the library is made: a wrong root leaves none behind.
            rows.check_any(grouped)
            with writing(library_uri):
                library = LibraryTables.create(library_uri)
                if isinstance(index, Features):
                    tally = update_features(library, index, grouped, options)
                else:
                    tally = _update_media(library, grouped, options, root=index.folder, origin=name)
                if tally.written:
                    library.compact()
                return rows.report(grouped, report(library, tally))


def _update_media(
    library: LibraryTables, grouped: GroupedRows, options: ImportOptions, *, root: Path, origin: str
) -> Tally:
    # The set's own rows are its clips: nothing is cut further.
    cutting = PrepareOptions(clips="whole", workers=options.workers, time_limit=options.time_limit)
    tally = Tally()
    media = RowsInput(grouped, library, cutting, root=root, origin=origin)
    held = (s.info.get("origin") for source, s in library.sources().items() if media.is_primary(source))
    if others := set(held) - {origin}:
        raise SeehearError(
            f"{library.uri} already holds media of {origin} through {', '.join(sorted(map(str, others)))}: "
            "import into another library"
        )
    Update(library, media, cutting, tally).run()
    return tally


class _Rows:
    """Rows of a set: those with media on disk, and a `Reject` for every other."""

    def __init__(self, files: Files, *, what: str = "media"):
        self.files, self.wanted, self.options, self.what = files, files.importer, files.options, what
        self.rows = self.bad = 0
        self.missing_rows = 0
        self.missing = array("q")
        self.missing_first: dict[str, None] = {}
        self.first_bad = ""

    def __iter__(self) -> Iterator[ManifestRow | Reject]:
        for item in self._items():
            self.rows += 1
            if isinstance(item, Reject):
                self.bad += 1
                self.first_bad = self.first_bad or f"{item.path}: {item.reason}"
                if self.bad <= _LISTED:
                    yield item
            elif (row := self._with_media(item)) is not None:
                yield row
            else:
                self.missing_rows += 1
                # 8 bytes a row: several rows may miss the same file.
                # Python's hash has another seed in every run, and is used within one only.
                self.missing.append(hash(item.source))
                if len(self.missing_first) < _SHOWN:
                    self.missing_first[item.source] = None
                if self.missing_rows <= _LISTED:
                    lost = "media file is" if self.what == "media" else "features are"
                    yield bad_row(item.table, item.line, f"its {lost} not on disk (rows of {item.source})")
        for count, what in (
            (self.bad, "that cannot be used"),
            (self.missing_rows, f"whose {self.what} are not on disk"),
        ):
            if count > _LISTED:
                reason = f"{count - _LISTED:,} more rows {what}"
                yield Reject(path=f"{self.wanted.name}: rows {what}", stage="import", reason=reason)

    def _items(self) -> Items:
        """Rows of the wanted splits, with a share of the training recordings as validation if requested."""
        share = 0.0 if self.wanted.has_val else self.options.val
        splits = (1 - share, share, 0.0)
        for item in self.wanted.read(self.files):
            if not isinstance(item, Reject):
                # By a hash of the recording: its clips are on one side, and stay there when rows are added.
                if item.split == "train" and share and split_of(item.group or item.id, splits, 0) == "val":
                    item = replace(item, split="val")
                if not self.options.wants(item.split):
                    continue
            yield item

    def _with_media(self, row: ManifestRow) -> ManifestRow | None:
        """The row with its media file in place of the file's key; None for a missing file."""
        if not row.source:
            return row
        if (found := self.files.media.locate(row)) is None:
            return None
        # A file that is cut to the row begins with it.
        whole = replace(row, source=found.name, start=0.0, end=None)
        return whole if found.cut_out else replace(row, source=found.name, cut_out=row.end is not None)

    def check_any(self, grouped: GroupedRows) -> None:
        """Raises `SeehearError` if no row can be used."""
        if grouped.sources:
            return
        if self.rows and self.bad == self.rows:
            raise SeehearError(f"no row of {self.wanted.title} can be used: {self.first_bad}")
        if not self.rows:
            raise SeehearError(f"{self.files.root}: the files of {self.wanted.title} have no rows of these splits")
        folder, first = self.files.media.folder, ", ".join(self.missing_first)
        own = self.what == "media" or self.wanted.only_features
        expected = self.wanted.media if own else "X_2d.npy, X_3d.npy, X_spec.npy"
        raise SeehearError(
            f"none of the {self._num_missing():,} {self._files} of {self.wanted.title} is below {folder} "
            f"(first: {first}): expected {expected}; --{self.what} says where they are"
        )

    @property
    def _files(self) -> str:
        return "media files" if self.what == "media" else "files of features"

    def _num_missing(self) -> int:
        return int(np.unique(np.asarray(self.missing)).size) if self.missing else 0

    def report(self, grouped: GroupedRows, prepared: PrepareReport) -> ImportReport:
        notes = list(self.files.notes)
        if not self.wanted.has_val and not self.options.val and self.options.wants("val"):
            notes.append(f"{self.wanted.title} has no validation split: --val 0.1 makes one of training recordings")
        return ImportReport(
            name=self.wanted.name,
            rows=self.rows,
            bad_rows=self.bad,
            media=len(grouped.sources),
            missing=self._num_missing(),
            missing_first=tuple(self.missing_first),
            what=self._files,
            # `prepare` advises to give splits, which a data set has.
            prepared=replace(prepared, notes=tuple(n for n in prepared.notes if not n.startswith("no clip fell"))),
            notes=tuple(notes),
        )
