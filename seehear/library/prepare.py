"""Folders and manifests of media into a library: read what is new or changed, set aside what cannot be read, take out
what is gone, leave the rest as it is.

Files are read by worker processes and written in batches. What marks a file as read is written last: a run ended at any
moment loses one batch, and the next run ends with the library that an undisturbed one makes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path

from seehear.errors import refusal
from seehear.library.clips import PrepareOptions, placed
from seehear.library.copies import OrphanInput, settle_copies
from seehear.library.edits import edited, read_edits
from seehear.library.inputs import FolderInput, ManifestInput, RowsInput, check_input
from seehear.library.locking import writing
from seehear.library.manifest import Row
from seehear.library.own import settle_edits
from seehear.library.reading import File, Read, Reader, Unit, kept_rejects, refused
from seehear.library.records import COARSE, TIME_UP, UNCUT, digest
from seehear.library.renaming import settle_names
from seehear.library.scan import Found
from seehear.library.splits import begin, kept_note, settle_splits
from seehear.library.summary import PrepareReport, Tally, report
from seehear.library.tables import Clip, Library, Reject, Source, in_batches
from seehear.library.transcripts import read_transcripts, with_machine_texts
from seehear.library.workers import WorkerDied, map_in_processes
from seehear.progress import Progress, progress

__all__ = ["PrepareOptions", "PrepareReport", "Share", "prepare", "prepare_share"]

_BATCH_FILES, _BATCH_CLIPS, _BATCH_SECONDS = 256, 4096, 20.0
"""A batch is written when it has so many files or clips, or is so old."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """Limits of one of many calls on a folder that is searchable long before all of it is read."""

    coarse: bool
    """Long files get a few short clips, and their scenes and pauses are left for a call without this."""
    clips: int
    """Number of new clips after which no further file is read."""
    rests: Callable[[Found], bool] = lambda _: True
    """Whether a file is complete; one that is still being copied is left for a later call."""
    indexed: bool = False
    """Whether all clips can be found: then the short ones of files that have been cut go."""


def prepare(
    inputs: str | Path | Sequence[str | Path], library_uri: str | Path, options: PrepareOptions | None = None
) -> PrepareReport:
    """Bring a library up to date with folders of media and with manifests, making it where there is none.

    Raises `SeehearError` when one of them holds nothing to read; a file or row that cannot be used is set aside
    instead, with the reason, and tried again when it has changed.
    """
    options = options or PrepareOptions()
    paths = [Path(p) for p in ([inputs] if isinstance(inputs, str | Path) else inputs)]
    for path in paths:
        check_input(path, options, skip=library_uri)
    with writing(library_uri):
        library = Library.create(library_uri)
        begin(library)
        tally = Tally(notes=settle_names(library))
        for path in paths:
            kind = FolderInput if path.is_dir() else ManifestInput
            with closing(kind(path, library, options)) as given:
                update(library, given, options, tally)
        _settle(library, options, tally)
        return report(library, tally)


def prepare_share(folder: Path, library_uri: str, options: PrepareOptions, share: Share) -> Tally:
    """Brings a library nearer to a folder of media: files that are gone leave it, and as many as the share allows of
    those that are new or changed are read. Calls until none is `left` do what `prepare` does."""
    check_input(folder, options, skip=library_uri)
    with writing(library_uri):
        library = Library.create(library_uri)
        begin(library)
        tally = Tally(notes=settle_names(library))
        with closing(FolderInput(folder, library, options, rests=share.rests)) as given:
            if share.indexed:
                _remove_coarse(library, tally)
            update(library, given, options, tally, share)
        marks = [source.info.get(COARSE, UNCUT) for source in library.sources().values()]
        tally.coarse = sum(mark != UNCUT for mark in marks)
        # A few clips of a long file say nothing of its share of the splits.
        _settle(library, options, tally, splits=not (share.coarse or tally.left or tally.coarse))
        return tally


def _remove_coarse(library: Library, tally: Tally) -> None:
    """Short clips of files that have been cut since. The mark that names them goes last: a killed run is repeated."""
    for source in library.sources().values():
        if source.info.get(COARSE, UNCUT) != UNCUT:
            ids = json.loads(source.info[COARSE])
            library.remove_clips(ids)
            tally.removed_clips += len(ids)
            facts = {name: value for name, value in source.info.items() if name != COARSE}
            library.put_sources([replace(source, info=facts)])


def _settle(library: Library, options: PrepareOptions, tally: Tally, *, splits: bool = True) -> None:
    """Copies and splits, which follow from all files together; and edits that the user made meanwhile."""
    if orphans := settle_copies(library, options):
        for origin in sorted({source.info["origin"] for source in orphans}):
            own = [source for source in orphans if source.info["origin"] == origin]
            update(library, OrphanInput(library, own, options), options, tally)
        settle_copies(library, options)
    if splits:
        tally.notes += settle_splits(library, options, changed=tally.written)
    settle_edits(library)
    if tally.written:
        library.compact()


def update(
    library: Library,
    given: FolderInput | RowsInput | OrphanInput,
    options: PrepareOptions,
    tally: Tally,
    share: Share | None = None,
) -> None:
    """Bring a library up to date with one input, as far as a `share` allows, and count what was done in `tally`."""
    _Update(library, given, options, tally, share).run()


class _Update:
    """One input brought into the library."""

    def __init__(
        self,
        library: Library,
        given: FolderInput | RowsInput | OrphanInput,
        options: PrepareOptions,
        tally: Tally,
        share: Share | None = None,
    ):
        self.library, self.given, self.options, self.tally = library, given, options, tally
        self.share, self.made = share, 0
        self.known = library.sources()
        self.refused = {reject.path: reject for reject in library.rejects()}
        self.rejects: dict[str, Reject] = {}
        """All that is set aside of this input, found in this run or before."""
        self.seen: set[str] = set()
        """All files of this input."""
        self.batch: list[Read] = []
        self.begun = time.monotonic()
        # Another input may have given the same id to another clip.
        self.shared = any(source.info.get("origin") != given.origin for source in self.known.values())

    def run(self) -> None:
        workers, limit = self.options.workers, self.options.time_limit
        with progress("reading media", len(self.given), "files") as bar:
            todo = self._to_read(bar)
            for unit, result in map_in_processes(Reader(options=self.options), todo, workers=workers, time_limit=limit):
                self._take(unit, result)
                bar.advance()
        self._write()
        self._write_texts()
        self._remove_gone()
        self._settle_rejects()
        self.tally.notes += self.given.notes

    # -- reading -----------------------------------------------------------------------------------------------------

    def _to_read(self, bar: Progress) -> Iterator[Unit]:
        """The units that are new or may have changed, as many as the share allows."""
        for unit in self.given.units():
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
        """The unit as it is to be read; None where that is not needed."""
        coarse = self.share is not None and self.share.coarse
        known, before = self.known.get(unit.file.source), self.refused.get(unit.file.source)
        if before is not None and before.stage == "probe" and self._looks_same(unit.file):
            self.rejects[before.path] = refused(unit, before.stage, before.reason)
            return None
        if known is None or known.info.get("recipe") != unit.recipe:
            return replace(unit, coarse=coarse)
        # Who asks for the whole folder wants no short clips, also of files that were cut since.
        if COARSE in known.info and (self.share is None or (known.info[COARSE] == UNCUT and not coarse)):
            return unit
        if float(known.info.get(TIME_UP, "inf")) < self.options.time_limit:
            return unit
        if all(self._looks_same(file) for file in unit.files):
            self._leave(unit)
            return None
        prints = [(f.source, self.known[f.source].fingerprint) for f in unit.files if f.source in self.known]
        return replace(unit, coarse=coarse, known=tuple(prints))

    def _looks_same(self, file: File) -> bool:
        before = self.known.get(file.source) or self.refused.get(file.source)
        return before is not None and (before.size, before.mtime_ns) == (file.size, file.mtime_ns)

    def _leave(self, unit: Unit) -> None:
        self.tally.unchanged += 1
        self.rejects |= {reject.path: reject for reject in kept_rejects(unit, self.known[unit.file.source])}

    def _take(self, unit: Unit, result: Read | Exception) -> None:
        if isinstance(result, Exception):
            why = str(result) if isinstance(result, WorkerDied) else None
            why = why or refusal(result) or f"{type(result).__name__}: {result}"
            result = Read(unit=unit, rejects=(refused(unit, "probe", why),))
        if result.same:
            self._leave(unit)
        elif result.clips:
            self.made += len(result.clips)
            self.tally.changed += unit.file.source in self.known
            self.tally.new += unit.file.source not in self.known
        self.rejects |= {reject.path: reject for reject in result.rejects}
        self.batch.append(result)
        clips, age = sum(len(read.clips) for read in self.batch), time.monotonic() - self.begun
        if len(self.batch) >= _BATCH_FILES or clips >= _BATCH_CLIPS or age >= _BATCH_SECONDS:
            self._write()

    # -- writing -----------------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """The batch, in an order in which a kill between any two steps leaves files that will be read again."""
        batch, self.batch, self.begun = self.batch, [], time.monotonic()
        touched = [read.unit.file.source for read in batch if not read.same]
        clips = self._with_own_ids([clip for read in batch for clip in read.clips])
        fresh = {source.source: source for read in batch for source in read.sources}
        # Options or subtitles have changed, and not the file: what machines read out of it still holds.
        edits = read_edits(self.library)
        clips = with_machine_texts(clips, read_transcripts(self.library, fresh), fresh, edits)
        stale = set(self.library.clip_ids(touched)) - {clip.id for clip in clips}
        kept = self._kept_coarse(batch, stale)
        stale -= {id for ids in kept.values() for id in ids}
        failed = [read.unit.file.source for read in batch if not read.same and not read.clips]
        self.library.put_clips(clips)
        self._remove(stale)
        self.library.remove_sources(source for source in failed if source in self.known)
        self.library.remove_rejects(source for source in touched if source in self.refused)
        self.library.put_rejects([reject for read in batch for reject in read.rejects])
        sources = {source.source: source for read in batch for source in self._to_keep(read)}
        for name, ids in kept.items():
            sources[name] = replace(sources[name], info={**sources[name].info, COARSE: json.dumps(ids)})
        self.library.put_sources(list(sources.values()))

    def _kept_coarse(self, batch: list[Read], stale: set[str]) -> dict[str, list[str]]:
        """Short clips of the files that were cut now, which stay until the new ones can be found."""
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

    def _to_keep(self, read: Read) -> Iterator[Source]:
        """What the library shall know of the unit's files. A second file may be the first of another unit, which then
        says what is known of it."""
        for source in read.sources:
            before = self.known.get(source.source)
            if source.source == read.unit.file.source or not self.given.is_primary(source.source):
                if read.same and before:
                    source = replace(source, duration=before.duration, info=before.info)
                yield kept_note(source, before)

    def _remove(self, ids: set[str]) -> None:
        self.library.remove_clips(ids)
        self.tally.removed_clips += len(ids)

    def _with_own_ids(self, clips: list[Clip]) -> list[Clip]:
        """Clips whose id belongs to another input, or to another file of this batch, get one that says where from."""
        owners = self.library.clip_sources([clip.id for clip in clips]) if self.shared else {}
        elsewhere = {id: source for id, source in owners.items() if self._is_foreign(source)}
        taken: dict[str, str] = {}
        own = []
        for clip in clips:
            source = elsewhere.get(clip.id, taken.setdefault(clip.id, clip.source))
            own.append(clip if source == clip.source else replace(clip, id=f"{self.given.origin}#{clip.id}"))
        return own

    def _is_foreign(self, source: str) -> bool:
        known = self.known.get(source)
        return known is not None and known.info.get("origin") != self.given.origin

    def _write_texts(self) -> None:
        """Rows without media, all of them when the manifest has changed: their ids begin with its name."""
        origin, rows = self.given.origin, self.given.texts()
        first = next(rows, None)
        before = self.known.get(origin)
        if first is None and before is None:
            return
        state = digest(self.options.recipe(), self.given.fingerprint())
        self.seen.add(origin)
        if before is not None and before.fingerprint == state:
            return
        old = {id for id in self.library.clip_ids([""]) if id.startswith(f"{origin}#")}
        edits = read_edits(self.library)
        rows = chain([first] if first else [], rows)
        while some := list(islice(rows, _BATCH_CLIPS)):
            clips = {clip.id: clip for clip in (self._of_text(row) for row in some)}
            self.library.put_clips(edited(list(clips.values()), edits, {}))
            old -= set(clips)
        self._remove(old)
        if first is None:
            self.library.remove_sources([origin])
        else:
            info = {"origin": origin, "kind": "manifest"}
            self.library.put_sources([Source(source=origin, size=0, mtime_ns=0, fingerprint=state, info=info)])
        self.tally.texts_changed = True

    def _of_text(self, row: Row) -> Clip:
        name = row.id or digest(*(text.text for text in row.texts))
        clip = Clip(id=f"{self.given.origin}#{name}", texts=row.texts, labels=row.labels, meta=row.meta)
        return placed(clip, row.group, row.split, self.options)

    # -- what is gone ------------------------------------------------------------------------------------------------

    def _remove_gone(self) -> None:
        origin = self.given.origin
        gone = [name for name, source in self.known.items() if source.info.get("origin") == origin]
        gone = [name for name in gone if name not in self.seen and not self.given.is_hidden(name)]
        for some in in_batches(gone, _BATCH_FILES):
            self._remove(set(self.library.clip_ids(some)))
            self.library.remove_sources(some)
        self.tally.gone += sum("recipe" in self.known[name].info for name in gone)

    def _settle_rejects(self) -> None:
        """The library's rejects of this input become those found: new ones in, those that no longer hold out."""
        origin = self.given.origin
        self.rejects |= {reject.path: replace(reject, origin=origin) for reject in self.given.rejects}
        old = [path for path, reject in self.refused.items() if reject.origin == origin]
        self.library.remove_rejects(p for p in old if p not in self.rejects and not self.given.is_hidden(p))
        self.library.put_rejects([r for path, r in self.rejects.items() if self.refused.get(path) != r])
