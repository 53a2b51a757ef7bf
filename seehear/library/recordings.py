"""Speech and text on screen, read from recordings by models: every recording once, resumable at any kill.

A reader turns one media file into transcripts, a long one part by part (`transcribe.py`, `ocr.py`). Here it is decided
for all readers which recordings are missing and set aside, and when transcripts are written. The clips' texts are
written after them, and every run first completes those that a killed run left out, so a kill costs only the parts that
were being read.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

from seehear.errors import SeehearError
from seehear.library.edits import edits_by_file, read_edits, settled
from seehear.library.engines import LOCAL, EngineOptions, Results, at_their_place, set_aside_reason
from seehear.library.locking import writing
from seehear.library.records import Reject
from seehear.library.tables import LibraryTables
from seehear.library.transcripts import (
    KINDS,
    Task,
    TimedLine,
    Transcript,
    file_of,
    note_reader,
    read_transcripts,
    remove_transcripts,
    with_machine_texts,
    write_transcripts,
)
from seehear.progress import Interrupted, Progress, StopRequest, clock, counted, length, progress, say, stop_requests

# Shortest time between two commits.
COMMIT_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Recording:
    """A media file to read, with the tasks of its missing transcripts."""

    source: str
    path: str
    duration: float
    """Seconds; 0 for a picture."""
    content: str
    """Fingerprint of the file."""
    tasks: tuple[Task, ...]
    language: str = ""
    """Language from an earlier transcript or part; '' if unknown."""
    start: float = 0.0
    """Seconds of the file read before."""


def _seconds_of(recording: Recording, until: float | None = None) -> int:
    """Seconds of a recording in the progress bar; a picture counts as one."""
    return max(1, round(recording.duration if until is None else until) - round(recording.start))


@dataclass(kw_only=True)
class Portion:
    """Share of the recordings that one of several calls reads, so that other work can be done in between."""

    seconds: float
    """Approximate seconds of media: the shortest recordings first, at least one."""
    tried: set[tuple[str, str]] = field(default_factory=set)
    """(source, fingerprint) of the recordings of earlier calls: none is tried twice."""
    taken: float = 0.0
    """Seconds of media of the last call."""
    left: float = 0.0
    """Seconds of media left after it."""

    def of(self, jobs: list[Recording]) -> list[Recording]:
        """The recordings of the next call."""
        todo = sorted((j for j in jobs if (j.source, j.content) not in self.tried), key=lambda job: job.duration)
        total, count = 0.0, 0
        while count < len(todo) and total < self.seconds:
            total += _seconds_of(todo[count])
            count += 1
        self.tried |= {(job.source, job.content) for job in todo[:count]}
        self.taken, self.left = total, float(sum(map(_seconds_of, todo[count:])))
        return todo[:count]


class TextReader(Protocol):
    """Reader of one recording at a time. It is pickled to worker processes, and loads its model at the first call."""

    command: str
    """Name of the command, and stage of its rejects."""
    name: str
    """Name of the model, for the user."""
    tasks: tuple[Task, ...]
    """Tasks of the reader, all of the same modality."""
    by: str
    """Fingerprint of the model and its options."""

    def time_limit(self, recording: Recording) -> float:
        """Seconds after which a recording is set aside."""
        ...

    def __call__(self, recording: Recording) -> list[Transcript]:
        """Transcripts of the part that begins at `recording.start`, the same wherever a run was stopped. Raises
        `DecodeError` for a file that cannot be read."""
        ...

    def joined(self, before: Transcript, part: Transcript, duration: float) -> tuple[TimedLine, ...]:
        """Lines of two successive parts of a recording of `duration` seconds."""
        ...


@dataclass(frozen=True, kw_only=True)
class TextsReport:
    """Outcome of a run of `transcribe` or `ocr`, and contents of the library after it."""

    library: str
    command: str
    model: str
    made: int
    """Recordings read in this run."""
    kept: int
    """Recordings that had been read before, by the same model with the same options."""
    without: int
    """Files without sound, or without a picture."""
    rejected: int
    """Recordings that could not be read; the library's rejects say why."""
    hours: float
    """Duration of the recordings read in this run."""
    seconds: float
    """Time that the run took."""
    lines: int
    """Lines in all transcripts of the library."""
    clips_with: int
    """Clips that have such texts."""
    clips: int

    def __str__(self) -> str:
        what = "speech" if self.command == "transcribe" else "text on screen"
        lacking = "sound" if self.command == "transcribe" else "a picture"
        before = f", {self.kept:,} read before" if self.kept else ""
        without = f", {self.without:,} without {lacking}" if self.without else ""
        rejected = f", {self.rejected:,} set aside (seehear info {self.library} --rejects)" if self.rejected else ""
        read = f"{counted(self.made, 'file')} ({length(3600 * self.hours)}) in {clock(self.seconds)}"
        return (
            f"{what} read by {self.model}: {read if self.made else 'nothing new'}{before}{without}{rejected}\n"
            f"{counted(self.lines, 'line')}; {self.clips_with:,} of {counted(self.clips, 'clip')} have {what}\n"
            f"next: seehear encode {self.library}"
        )


def read_recordings(
    library: LibraryTables, reader: TextReader, options: EngineOptions = LOCAL, portion: Portion | None = None
) -> TextsReport:
    """Brings the transcripts of all recordings, or of a `portion`, up to date, and the texts of clips with them. Ctrl-C
    and SIGTERM save the finished parts and raise `Interrupted`."""
    engine = replace(options, models=0).started()
    with writing(library.uri, "texts"), engine as started, stop_requests() as stop:
        # The texts have columns that the clips of an older library lack.
        library.upgrade()
        note_reader(library, reader.by, reader.name)
        run = _Reading(library, reader, stop)
        # Every portion is a call: only the first tries again what was set aside.
        run.settle(forget=portion is None or not portion.tried)
        jobs = run.jobs() if portion is None else portion.of(run.jobs())
        name, command = reader.name, reader.command
        if not jobs:
            say(f"{command}: all {counted(run.kept, 'recording')} have been read, nothing to do")
            return run.report()
        seconds = sum(map(_seconds_of, jobs))
        with (
            progress(f"{command} with {name}", seconds, "seconds of media") as bar,
            started.results(reader, jobs, _rest_of) as results,
        ):
            try:
                run.take_all(results, bar)
            finally:
                run.flush()
        # Many small commits leave many small files, which slow down every later reading.
        library.compact()
        return run.report()


def _rest_of(recording: Recording, result: list[Transcript] | Exception) -> Recording | None:
    """Rest of a recording after a part; None when it is finished or cannot be read."""
    if isinstance(result, Exception) or result[0].until is None:
        return None
    languages = [part.language for part in result if part.task == "speech"]
    return replace(recording, start=result[0].until, language=next(iter(languages), recording.language))


class _Reading:
    """One reader over one library."""

    def __init__(self, library: LibraryTables, reader: TextReader, stop: StopRequest):
        self.library, self.reader, self.stop = library, reader, stop
        self.sources = library.sources()
        self.clips = {clip.id: clip for clip in library.clips()}
        if not self.clips:
            raise SeehearError(f"{library.uri} has no clips: run 'seehear prepare FOLDER --library {library.uri}'")
        self.transcripts = {(t.source, t.task): t for t in read_transcripts(library)}
        # Ids of the clips whose texts depend on a file, by file.
        self.by_file: dict[str, list[str]] = {}
        for clip in self.clips.values():
            for file in {clip.source, clip.audio_source}:
                self.by_file.setdefault(file, []).append(clip.id)
        self.began = self.flushed = time.monotonic()
        # Transcripts to write, each of all parts read so far.
        self.pending: dict[tuple[str, Task], Transcript] = {}
        # Seconds read of the recordings that this run reads part by part.
        self.read_until: dict[str, float] = {}
        self.rejects: list[Reject] = []
        self.made = self.kept = self.rejected = self.without = self.total = 0
        self.media_seconds = 0.0

    def settle(self, *, forget: bool) -> None:
        """Removes transcripts of deleted files and, with `forget`, the rejects, which are then tried again. Completes
        the texts of all clips, as a killed run may have left some without."""
        deleted = {source for source, _ in self.transcripts if source not in self.sources}
        remove_transcripts(self.library, deleted)
        self.transcripts = {key: t for key, t in self.transcripts.items() if key[0] not in deleted}
        stage = self.reader.command
        if forget:
            self.library.remove_rejects([r.path for r in self.library.rejects() if r.stage == stage])
        self._give_texts(self.clips)

    def jobs(self) -> list[Recording]:
        """Recordings without a current transcript, the longest first: the last worker then ends soon after the rest."""
        tasks, roots = self.reader.tasks, self.library.roots()
        files = {file_of(clip, tasks[0]) for clip in self.clips.values()} - {""}
        files = {file for file in files if file in self.sources and self.sources[file].info.get("kind") != "features"}
        media = {s for s, source in self.sources.items() if source.info.get("kind") in ("video", "audio", "picture")}
        self.without = len(media - files)
        jobs = []
        for file in sorted(files):
            source = self.sources[file]
            known = {task: self.transcripts[file, task] for task in tasks if (file, task) in self.transcripts}
            until = {t: k.until for t, k in known.items() if (k.by, k.content) == (self.reader.by, source.fingerprint)}
            missing = tuple(task for task in tasks if until.get(task, 0.0) is not None)
            if not missing:
                continue
            starts = {until.get(task) or 0.0 for task in missing}
            # A task asked for later begins anew, with the rest.
            start = starts.pop() if len(starts) == 1 else 0.0
            spoken = self.transcripts.get((file, "speech")) if "speech" not in missing or start else None
            job = Recording(
                source=file,
                path=str(self.library.path_of(file, roots)),
                duration=source.duration,
                content=source.fingerprint,
                tasks=missing,
                language=spoken.language if spoken else "",
                start=start,
            )
            jobs.append(job)
        self.kept, self.total = len(files) - len(jobs), len(files)
        jobs = at_their_place(self.library, jobs, lambda job: job.path, self._reject)
        return sorted(jobs, key=lambda job: -job.duration)

    def take_all(self, results: Iterator[Results], bar: Progress) -> None:
        for batch in results:
            for job, result in batch:
                bar.advance(self._take(job, result))
            if self.stop or time.monotonic() - self.flushed >= COMMIT_SECONDS:
                self.flush()
            if self.stop:
                saved, left = self.kept + self.made, self.total - self.kept - self.made - self.rejected
                raise Interrupted(
                    f"{self.stop.name} during {self.reader.command}: {counted(saved, 'recording')} saved, {left:,} "
                    "left: run the same command again to continue"
                )

    def _take(self, job: Recording, result: list[Transcript] | Exception) -> int:
        """Keeps a result, and returns the seconds of media that it finishes."""
        # Ray names the recording as it was at first.
        start = self.read_until.pop(job.source, job.start)
        job = replace(job, start=start)
        if isinstance(result, Exception):
            self._reject(job, set_aside_reason(result, job.path))
            return _seconds_of(job)
        until = result[0].until
        if start:
            before = self.transcripts
            result = [
                replace(part, lines=self.reader.joined(before[part.source, part.task], part, job.duration))
                for part in result
            ]
        if until is None:
            self.made += 1
        else:
            self.read_until[job.source] = until
        self.media_seconds += (job.duration if until is None else until) - start
        self.transcripts |= {(t.source, t.task): t for t in result}
        self.pending |= {(t.source, t.task): t for t in result}
        return _seconds_of(job, until)

    def flush(self) -> None:
        """Writes the finished transcripts, then the texts of the clips that depend on them."""
        self.flushed = time.monotonic()
        self.library.put_rejects(self.rejects)
        self.rejects = []
        ready = list(self.pending.values())
        write_transcripts(self.library, ready)
        # Not before: after a full disk, the last flush of the run tries again.
        self.pending = {}
        self._give_texts({id for t in ready for id in self.by_file.get(t.source, ())})

    def _give_texts(self, ids: Iterable[str]) -> None:
        """Brings the texts of some clips up to date, and of clips that the user has edited meanwhile."""
        edits = read_edits(self.library)
        due = [edit for edit in edits if edit.pending]
        files = edits_by_file(due, self.sources)
        own = {id for file in files for id in self.by_file.get(file, ())} | {edit.clip for edit in due}
        clips = [self.clips[id] for id in {*ids, *own} if id in self.clips]
        read = {file for clip in clips for file in (clip.source, clip.audio_source)}
        transcripts = [t for f in read for task in KINDS if (t := self.transcripts.get((f, task))) is not None]
        texts = with_machine_texts(clips, transcripts, self.sources, edits)
        changed = [new for old, new in zip(clips, texts, strict=True) if new != old]
        self.library.put_clips(changed)
        self.clips |= {clip.id: clip for clip in changed}
        settled(self.library, due)

    def _reject(self, job: Recording, reason: str) -> None:
        self.rejected += 1
        stage = self.reader.command
        self.rejects.append(Reject(path=f"{job.source} ({stage})", stage=stage, reason=reason))

    def report(self) -> TextsReport:
        self.flush()
        tasks, kind = self.reader.tasks, KINDS[self.reader.tasks[0]]
        return TextsReport(
            library=self.library.uri,
            command=self.reader.command,
            model=self.reader.name,
            made=self.made,
            kept=self.kept,
            without=self.without,
            rejected=self.rejected,
            hours=self.media_seconds / 3600,
            seconds=time.monotonic() - self.began,
            lines=sum(len(t.lines) for t in self.transcripts.values() if t.task in tasks),
            clips_with=sum(any(text.kind == kind and text.by for text in c.texts) for c in self.clips.values()),
            clips=len(self.clips),
        )
