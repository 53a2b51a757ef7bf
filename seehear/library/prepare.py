"""Folders and manifests of media into a library: new and changed files are read, unreadable ones set aside, deleted
ones removed, all others left as they are.

Worker processes read the files; batches of them are written. The mark of a read file is written last, so a killed run
loses one batch at most, and the next run ends with the same library as an undisturbed one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

from seehear.errors import refusal
from seehear.library.clips import PrepareOptions, placed
from seehear.library.edits import edited, read_edits
from seehear.library.inputs import FolderInput, Input, ManifestInput, OrphanInput, check_input, settle_copies
from seehear.library.locking import writing
from seehear.library.reading import ReadResult, Unit, kept_rejects, read_unit, refused
from seehear.library.records import COARSE, TIME_UP, UNCUT, digest
from seehear.library.scan import MediaFile
from seehear.library.splits import begin, kept_note, settle_splits
from seehear.library.summary import PrepareReport, Tally, report
from seehear.library.tables import Clip, LibraryTables, Reject, Source, in_batches
from seehear.library.transcripts import read_transcripts, settle_edits, with_machine_texts
from seehear.library.workers import WorkerDied, map_in_processes
from seehear.progress import Progress, progress

__all__ = ["PrepareOptions", "PrepareReport", "Share", "Update", "prepare", "prepare_share"]

# Files, clips and age of a batch at which it is written.
BATCH_FILES, _BATCH_CLIPS, _BATCH_SECONDS = 256, 4096, 20.0


@dataclass(frozen=True, kw_only=True)
class Share:
    """Limits of one of many calls on a folder that is searchable long before all of it is read."""

    coarse: bool
    """Give long files a few short clips; scenes and pauses are left for a call without this."""
    clips: int
    """Number of new clips after which no further file is read."""
    rests: Callable[[MediaFile], bool] = lambda _: True
    """True for a complete file; one that is still being copied is left for a later call."""
    indexed: bool = False
    """All clips can be found: remove the short ones of files that have been cut."""


def prepare(
    inputs: str | Path | Sequence[str | Path], library_uri: str | Path, options: PrepareOptions | None = None
) -> PrepareReport:
    """Brings a library up to date with folders of media and manifests; makes a missing library.

    Raises `SeehearError` when one of them holds nothing to read. A file or row that cannot be used is set aside with
    its reason, and tried again when it has changed.
    """
    options = options or PrepareOptions()
    paths = [Path(p) for p in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    for path in paths:
        # Before anything is written: a mistyped path must not leave an empty library.
        check_input(path, options, skip=library_uri)
    with writing(library_uri):
        library = LibraryTables.create(library_uri)
        begin(library)
        tally = Tally()
        for path in paths:
            kind = FolderInput if path.is_dir() else ManifestInput
            with closing(kind(path, library, options)) as media:
                Update(library, media, options, tally).run()
        _settle(library, options, tally)
        return report(library, tally)


def prepare_share(folder: Path, library_uri: str, options: PrepareOptions, share: Share) -> Tally:
    """Brings a library nearer to a folder of media: removes deleted files and reads as many new or changed ones as the
    share allows. Calls until none is `left` do what `prepare` does."""
    check_input(folder, options, skip=library_uri)
    with writing(library_uri):
        library = LibraryTables.create(library_uri)
        begin(library)
        tally = Tally()
        with closing(FolderInput(folder, library, options, rests=share.rests)) as media:
            for source in library.sources().values() if share.indexed else ():
                if source.info.get(COARSE, UNCUT) != UNCUT:
                    ids = json.loads(source.info[COARSE])
                    library.remove_clips(ids)
                    tally.removed_clips += len(ids)
                    # The mark that names the short clips goes last: a killed run is repeated.
                    facts = {name: value for name, value in source.info.items() if name != COARSE}
                    library.put_sources([replace(source, info=facts)])
            Update(library, media, options, tally, share).run()
        marks = [source.info.get(COARSE, UNCUT) for source in library.sources().values()]
        tally.coarse = sum(mark != UNCUT for mark in marks)
        # A few clips of a long file say nothing of its share of the splits.
        _settle(library, options, tally, splits=not (share.coarse or tally.left or tally.coarse))
        return tally


def _settle(library: LibraryTables, options: PrepareOptions, tally: Tally, *, splits: bool = True) -> None:
    """Settles copies and splits, which depend on all files, and edits that the user made meanwhile."""
    if orphans := settle_copies(library, options):
        for origin in sorted({source.info["origin"] for source in orphans}):
            own = [source for source in orphans if source.info["origin"] == origin]
            Update(library, OrphanInput(library, own, options), options, tally).run()
        settle_copies(library, options)
    if splits:
        tally.notes += settle_splits(library, options, changed=tally.written)
    settle_edits(library)
    if tally.written:
        library.compact()


class Update:
    """Brings a library up to date with one input, as far as a `share` allows, and counts the work in `tally`."""

    def __init__(
        self, library: LibraryTables, media: Input, options: PrepareOptions, tally: Tally, share: Share | None = None
    ):
        self.library, self.media, self.options, self.tally = library, media, options, tally
        self.share, self.made = share, 0
        self.known = library.sources()
        self.refused = {reject.path: reject for reject in library.rejects()}
        # All rejects of this input, from this run or before.
        self.rejects: dict[str, Reject] = {}
        # All files of this input.
        self.seen: set[str] = set()
        self.batch: list[ReadResult] = []
        self.begun = time.monotonic()
        # Another input may have given the same id to another clip.
        self.shared = any(source.info.get("origin") != media.origin for source in self.known.values())

    def run(self) -> None:
        workers, limit = self.options.workers, self.options.time_limit
        with progress("reading media", len(self.media), "files") as bar:
            reader, units = partial(read_unit, options=self.options), self._to_read(bar)
            for unit, result in map_in_processes(reader, units, workers=workers, time_limit=limit):
                self._take(unit, result)
                bar.advance()
        self._write()
        self._write_texts()
        self._remove_gone()
        self._settle_rejects()
        self.tally.notes += self.media.notes

    # -- reading -----------------------------------------------------------------------------------------------------

    def _to_read(self, bar: Progress) -> Iterator[Unit]:
        """Units that are new or may have changed, as many as the share allows."""
        for unit in self.media.units():
            self.seen |= {file.source for file in unit.files}
            due = self._due(unit)
            if due is not None and (self.share is None or self.made < self.share.clips):
                yield due
                continue
            if due is not None:
                self.tally.left += 1
                known = self.known.get(unit.file.source)
                self.rejects |= {r.path: r for r in kept_rejects(unit, known)} if known else {}
            bar.advance()

    def _due(self, unit: Unit) -> Unit | None:
        """The unit as it is to be read; None for a current one."""
        coarse = self.share is not None and self.share.coarse
        known, before = self.known.get(unit.file.source), self.refused.get(unit.file.source)
        # A file that could not be opened is not opened again until it changes.
        if before is not None and before.stage == "probe" and self._looks_same(unit.file):
            self.rejects[before.path] = refused(unit, before.stage, before.reason)
            return None
        if known is None or known.info.get("recipe") != unit.recipe:
            return replace(unit, coarse=coarse)
        # A call for the whole folder wants no short clips, not even of files that were cut since.
        if COARSE in known.info and (self.share is None or (known.info[COARSE] == UNCUT and not coarse)):
            return unit
        if float(known.info.get(TIME_UP, "inf")) < self.options.time_limit:
            return unit
        if all(self._looks_same(file) for file in unit.files):
            self._leave(unit)
            return None
        # Another time and the same recipe: the worker compares the content first.
        prints = [(f.source, self.known[f.source].fingerprint) for f in unit.files if f.source in self.known]
        return replace(unit, coarse=coarse, known=tuple(prints))

    def _looks_same(self, file: MediaFile) -> bool:
        before = self.known.get(file.source) or self.refused.get(file.source)
        return before is not None and (before.size, before.mtime_ns) == (file.size, file.mtime_ns)

    def _leave(self, unit: Unit) -> None:
        self.tally.unchanged += 1
        self.rejects |= {reject.path: reject for reject in kept_rejects(unit, self.known[unit.file.source])}

    def _take(self, unit: Unit, result: ReadResult | Exception) -> None:
        if isinstance(result, Exception):
            why = str(result) if isinstance(result, WorkerDied) else None
            why = why or refusal(result) or f"{type(result).__name__}: {result}"
            result = ReadResult(unit=unit, rejects=(refused(unit, "probe", why),))
        if result.same:
            self._leave(unit)
        elif result.clips:
            self.made += len(result.clips)
            self.tally.changed += unit.file.source in self.known
            self.tally.new += unit.file.source not in self.known
        self.rejects |= {reject.path: reject for reject in result.rejects}
        self.batch.append(result)
        clips, age = sum(len(read.clips) for read in self.batch), time.monotonic() - self.begun
        if len(self.batch) >= BATCH_FILES or clips >= _BATCH_CLIPS or age >= _BATCH_SECONDS:
            self._write()

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """Writes the batch; a kill between any two steps leaves files that will be read again."""
        batch, self.batch, self.begun = self.batch, [], time.monotonic()
        touched = [read.unit.file.source for read in batch if not read.same]
        clips = self._with_own_ids([clip for read in batch for clip in read.clips])
        fresh = {source.source: source for read in batch for source in read.sources}
        # When only options or subtitles have changed, transcripts of the file still hold.
        edits = read_edits(self.library)
        clips = with_machine_texts(clips, read_transcripts(self.library, fresh), fresh, edits)
        stale = set(self.library.clip_ids(touched)) - {clip.id for clip in clips}
        kept = self._kept_coarse(batch, stale)
        stale -= {id for ids in kept.values() for id in ids}
        failed = [read.unit.file.source for read in batch if not read.same and not read.clips]
        # New clips come before stale ones go, so that a search finds the file; sources last, as they mark it as read.
        self.library.put_clips(clips)
        self._remove(stale)
        self.library.remove_sources(source for source in failed if source in self.known)
        self.library.remove_rejects(source for source in touched if source in self.refused)
        self.library.put_rejects([reject for read in batch for reject in read.rejects])
        sources = {source.source: source for read in batch for source in self._to_keep(read)}
        for name, ids in kept.items():
            sources[name] = replace(sources[name], info={**sources[name].info, COARSE: json.dumps(ids)})
        self.library.put_sources(list(sources.values()))

    def _kept_coarse(self, batch: list[ReadResult], stale: set[str]) -> dict[str, list[str]]:
        """Short clips of the files cut in this batch, by file: they stay until the new ones can be found."""
        cut = {
            name
            for read in batch
            if self.share is not None and not self.share.coarse and read.clips
            if (known := self.known.get(name := read.unit.file.source)) and known.info.get(COARSE) == UNCUT
        }
        kept: dict[str, list[str]] = {}
        for id, name in sorted(self.library.clip_sources(stale if cut else ()).items()):
            if name in cut:
                kept.setdefault(name, []).append(id)
        return kept

    def _to_keep(self, read: ReadResult) -> Iterator[Source]:
        """Rows of `sources` for the unit's files, but for a second file that has a unit of its own."""
        for source in read.sources:
            before = self.known.get(source.source)
            if source.source == read.unit.file.source or not self.media.is_primary(source.source):
                if read.same and before:
                    source = replace(source, duration=before.duration, info=before.info)
                yield kept_note(source, before)

    def _remove(self, ids: set[str]) -> None:
        self.library.remove_clips(ids)
        self.tally.removed_clips += len(ids)

    def _with_own_ids(self, clips: list[Clip]) -> list[Clip]:
        """The clips; an id that another input or another file of this batch uses gets the origin as a prefix."""
        origin = self.media.origin
        owners = self.library.clip_sources([clip.id for clip in clips]) if self.shared else {}
        origins = {name: self.known[name].info.get("origin") for name in owners.values() if name in self.known}
        elsewhere = {id: name for id, name in owners.items() if origins.get(name, origin) != origin}
        taken: dict[str, str] = {}
        own = []
        for clip in clips:
            source = elsewhere.get(clip.id, taken.setdefault(clip.id, clip.source))
            own.append(clip if source == clip.source else replace(clip, id=f"{origin}#{clip.id}"))
        return own

    def _write_texts(self) -> None:
        """Writes the rows without media, all of them when the manifest has changed: their ids begin with its name."""
        origin, rows = self.media.origin, self.media.texts()
        first = next(rows, None)
        before = self.known.get(origin)
        if first is None and before is None:
            return
        state = digest(self.options.recipe(), self.media.fingerprint())
        self.seen.add(origin)
        if before is not None and before.fingerprint == state:
            return
        old = {id for id in self.library.clip_ids([""]) if id.startswith(f"{origin}#")}
        edits = read_edits(self.library)
        rows = chain([first] if first else [], rows)
        # A manifest may have millions of rows of text.
        while batch := list(islice(rows, _BATCH_CLIPS)):
            clips = {}
            for row in batch:
                id = f"{origin}#{row.id or digest(*(text.text for text in row.texts))}"
                clip = Clip(id=id, texts=row.texts, labels=row.labels, meta=row.meta)
                clips[id] = placed(clip, row.group, row.split, self.options)
            self.library.put_clips(edited(list(clips.values()), edits, {}))
            old -= set(clips)
        self._remove(old)
        if first is None:
            self.library.remove_sources([origin])
        else:
            info = {"origin": origin, "kind": "manifest"}
            self.library.put_sources([Source(source=origin, size=0, mtime_ns=0, fingerprint=state, info=info)])
        self.tally.texts_changed = True

    # -- deleted files -----------------------------------------------------------------------------------------------

    def _remove_gone(self) -> None:
        origin = self.media.origin
        deleted = [name for name, source in self.known.items() if source.info.get("origin") == origin]
        deleted = [name for name in deleted if name not in self.seen and not self.media.is_hidden(name)]
        for batch in in_batches(deleted, BATCH_FILES):
            self._remove(set(self.library.clip_ids(batch)))
            self.library.remove_sources(batch)
        self.tally.gone += sum("recipe" in self.known[name].info for name in deleted)

    def _settle_rejects(self) -> None:
        """Replaces the library's rejects of this input by those of this run."""
        origin = self.media.origin
        self.rejects |= {reject.path: replace(reject, origin=origin) for reject in self.media.rejects}
        old = [path for path, reject in self.refused.items() if reject.origin == origin]
        self.library.remove_rejects(p for p in old if p not in self.rejects and not self.media.is_hidden(p))
        self.library.put_rejects([r for path, r in self.rejects.items() if self.refused.get(path) != r])
