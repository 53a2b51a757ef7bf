"""Frozen encoders over a library: every clip once, resumable at any kill, without stale rows.

For each encoder, current rows stay and rows of other weights, settings, files or texts are removed. Missing rows are
decoded in worker processes, encoded in batches, and appended about a thousand rows a commit, so a kill loses one commit
at most.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from seehear.encoders import Encoder, load_towers
from seehear.encoders.base import Sample, SampleVectors
from seehear.encoders.registry import describe, preset_encoders, strongest_at_hand
from seehear.errors import SeehearError
from seehear.library.current import NO_FRAMES, OTHER_MAKER, frame_item, is_frame, why_stale
from seehear.library.engines import (
    LOCAL,
    Done,
    Engine,
    EngineOptions,
    Job,
    Key,
    Local,
    at_their_place,
    set_aside_reason,
)
from seehear.library.locking import writing
from seehear.library.records import Clip, Reject, content_key
from seehear.library.tables import LibraryTables, Vectors, VectorTable, in_batches, one_of, quote, table_name
from seehear.library.transcripts import main_language
from seehear.progress import Interrupted, Progress, StopRequest, clock, counted, progress, say, stop_requests
from seehear.types import MODALITIES, Modality

# A kill loses what is not committed; a commit is a version of the table, with files of its own.
COMMIT_ROWS, COMMIT_SECONDS = 1000, 30.0
BATCH = {"video": 16, "audio": 16, "text": 256}
# Clips whose latents are read at once to be mapped.
_CLIPS_READ = 256
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True)
class EncoderReport:
    """Changes of the library by one encoder."""

    name: str
    modality: str
    width: int
    fingerprint: str
    made: int
    """Rows added."""
    kept: int
    """Rows made before, and current."""
    removed: dict[str, int]
    """Removed rows by reason."""
    rejected: int
    """Rows that could not be made; the library's rejects say why."""
    seconds: float

    def __str__(self) -> str:
        removed = "".join(f", {n:,} removed ({why})" for why, n in self.removed.items())
        kept = f", {self.kept:,} made before" if self.kept else ""
        rejected = f", {self.rejected:,} set aside" if self.rejected else ""
        return (
            f"{self.name} ({self.modality}, {self.width} numbers): {self.made:,} made in {clock(self.seconds)}"
            f"{kept}{removed}{rejected}"
        )


@dataclass(frozen=True, kw_only=True)
class EncodeReport:
    encoders: tuple[EncoderReport, ...]
    library: str

    def __str__(self) -> str:
        lines = [str(encoder) for encoder in self.encoders]
        return "\n".join([*lines, f"next: seehear index {self.library}; seehear train {self.library}"])


def encode_library(
    library: LibraryTables,
    names: Sequence[str | Encoder] | None = None,
    options: EngineOptions = LOCAL,
    *,
    preset: str = "",
    where: str | None = None,
    device: str = "auto",
) -> EncodeReport:
    """Brings the latents of encoders up to date. A joint encoder without '#modality=' stands for its towers of all
    modalities in the library. Without names the encoders are those of a preset: `preset`, else the one that the library
    was encoded with before, else the strongest on this machine.

    `where`: an SQL condition over the clips. Ctrl-C and SIGTERM save the finished rows and raise `Interrupted`.
    """
    clips = library.clips()
    if not clips:
        raise SeehearError(f"{library.uri} has no clips: run 'seehear prepare FOLDER --library {library.uri}'")
    modalities = modalities_of(clips)
    if names is None:
        preset = preset or library.about().get("preset", "") or strongest_at_hand(modalities)
        language = main_language(library)
        names = [encoder.name for encoder in preset_encoders(preset, modalities, language)]
        say(describe(preset, modalities, f"seehear encode {library.uri}", language))
    encoders = load_all(names, modalities, device)
    if preset:
        library.set_about("preset", preset)
    chosen = None if where is None else {clip.id for clip in library.clips(where)}
    # Ray installs its signal handlers when it starts, so ours come after it.
    tables = [table_name("latents", encoder.name) for encoder in encoders]
    with writing(library.uri, *tables), options.started() as engine, stop_requests() as stop:
        reports = []
        for encoder in encoders:
            run = _Encoding(library, encoder, Backlog(library, encoder, clips, chosen), stop)
            reports.append(run.run(engine, options.batch_size or BATCH[encoder.modality]))
    return EncodeReport(encoders=tuple(reports), library=library.uri)


def modalities_of(clips: Sequence[Clip]) -> list[Modality]:
    """Modalities that at least one of the clips has."""
    return [modality for modality in MODALITIES if any(clip.has(modality) for clip in clips)]


def load_all(names: Sequence[str | Encoder], modalities: Sequence[str], device: str) -> list[Encoder]:
    """The encoders by name; those that map the latents of others last. Raises `SeehearError` for one without clips."""
    encoders: list[Encoder] = []
    for name in names:
        encoders += load_towers(name, modalities, device=device) if isinstance(name, str) else [name]
    for encoder in encoders:
        if encoder.modality not in modalities:
            raise SeehearError(
                f"{encoder.name!r} encodes {encoder.modality}, and no clip of the library has any "
                f"(there is: {', '.join(modalities)})"
            )
    # Encoders that map the latents of others come last, when those are stored.
    return sorted({encoder.name: encoder for encoder in encoders}.values(), key=lambda e: e.source is not None)


class Backlog:
    """Rows that an encoder has to make. Its creation removes stale rows and writes the encoder to `about`."""

    def __init__(self, library: LibraryTables, encoder: Encoder, clips: Sequence[Clip], chosen: set[str] | None):
        sources = library.sources()
        if encoder.modality != "text" and any(source.info.get("kind") == "features" for source in sources.values()):
            raise SeehearError(
                f"{library.uri} holds features of videos, and no media: {encoder.name!r} has nothing to encode there; "
                f"encode its texts: seehear encode {library.uri} --encoders minilm"
            )
        # Removed rows by reason.
        self.removed: Counter[str] = Counter()
        self.table = self._table(library, encoder)
        roots = library.roots()
        paths = cache(lambda name: str(library.path_of(name, roots)))
        wanted: dict[Key, tuple[Sample, str]] = {}
        for clip in clips:
            for item in range(clip.count(encoder.modality)):
                if encoder.modality == "text":
                    sample = Sample(text=clip.texts[item].text)
                else:
                    path = paths(clip.source_of(encoder.modality))
                    sample = Sample(path=path, start=clip.start, end=clip.end)
                wanted[clip.id, item] = sample, content_key(clip, encoder.modality, item, sources)
        current, stale = set(), []
        for row, made in self.table.keys(NO_FRAMES).items():
            # Frames of a film are kept and removed with it.
            key = row[:2]
            if why := why_stale(made, encoder.fingerprint, wanted[key][1] if key in wanted else None):
                self.removed[why] += 1
                stale.append(row)
            else:
                current.add(key)
        # Before new rows are made: no reader finds two rows of one key.
        self.table.remove_keys(stale)
        jobs: dict[tuple[str, str], Job] = {}
        for key, (sample, content) in wanted.items():
            if key not in current and (chosen is None or key[0] in chosen):
                # Texts that many clips share are encoded once.
                jobs.setdefault((content, sample.path), Job(sample, content)).keys.append(key)
        self.jobs = list(jobs.values())
        self.kept, self.missing = len(current), sum(len(job.keys) for job in self.jobs)

    def _table(self, library: LibraryTables, encoder: Encoder) -> VectorTable:
        """The encoder's table. `about` names its present version, so that readers skip rows of others from here on."""
        about = {"modality": encoder.modality, "width": encoder.width, "fingerprint": encoder.fingerprint}
        about |= {"shape": encoder.shape} if encoder.shape else {}
        about |= {"of_run": True, "model": encoder.model} if encoder.of_run else {}
        about |= {"source": encoder.source.name} if encoder.source else {}
        library.set_about(f"encoder:{encoder.name}", json.dumps(about, sort_keys=True))
        name = table_name("latents", encoder.name)
        if library.has(name):
            table = library.vectors("latents", encoder.name)
            # The vectors of a table have one width for ever: a table of another width is dropped.
            if table.width == encoder.width:
                return table
            self.removed[OTHER_MAKER] += len(table)
            library.drop(name)
        return library.vectors("latents", encoder.name, width=encoder.width)


class _Encoding:
    """One encoder over one library."""

    def __init__(self, library: LibraryTables, encoder: Encoder, backlog: Backlog, stop: StopRequest):
        self.library, self.encoder, self.backlog, self.stop = library, encoder, backlog, stop
        self.began = self.flushed = time.monotonic()
        self.rejects: list[Reject] = []
        self.pending: list[tuple[Key, str, np.ndarray]] = []
        self.made = self.rejected = 0
        self.unit = "texts" if encoder.modality == "text" else "clips"
        self.stage = f"encode:{encoder.name}"

    def run(self, engine: Engine, batch_size: int) -> EncoderReport:
        name = self.encoder.name
        for why, count in self.backlog.removed.items():
            say(f"{name}: {counted(count, 'row')} removed: {why}")
        # Rejects of an earlier run are tried again.
        self.library.remove_rejects([r.path for r in self.library.rejects() if r.stage == self.stage])
        if not self.backlog.jobs:
            say(f"{name}: all {self.backlog.kept:,} rows are current, nothing to encode")
            return self._report()
        source, jobs = self.encoder.source, self.backlog.jobs
        if source is not None and self.library.has(table_name("latents", source.name)):
            waiting = {job.keys[0]: job for job in jobs}
            with progress(f"{name} from {source.name}", self.backlog.missing, self.unit) as bar:
                self._take_all(self._derived(source, waiting), bar)
            jobs = list(waiting.values())
        # On a cluster the media need not be visible from here, so that their absence says nothing.
        if jobs and isinstance(engine, Local):
            jobs = at_their_place(self.library, jobs, lambda job: job.sample.path, self._reject)
        if jobs or self.rejects:
            with (
                progress(f"encoding with {name}", self.backlog.missing - self.made - self.rejected, self.unit) as bar,
                engine.vectors(self.encoder, jobs, batch_size) as batches,
            ):
                self._take_all(batches, bar)
        self.backlog.table.compact()
        return self._report()

    def _derived(self, source: Encoder, waiting: dict[Key, Job]) -> Iterator[list[Done]]:
        """Vectors mapped from another encoder's current latents, without reading media. Their jobs leave `waiting`."""
        table = self.library.vectors("latents", source.name)
        for ids in in_batches(sorted({clip for clip, _ in waiting}), _CLIPS_READ):
            rows = table.read(f"maker = {quote(source.fingerprint)} AND {one_of('id', ids)}")
            at: dict[Key, list[int]] = {}
            for n, (clip, item) in enumerate(zip(rows.ids, rows.items.tolist(), strict=True)):
                key = clip, 0 if is_frame(self.encoder.modality, item) else item
                if key in waiting and waiting[key].content == rows.contents[n]:
                    at.setdefault(key, []).append(n)
            mapped = self.encoder.derive(rows.vectors[[n for own in at.values() for n in own]]) if at else ()
            vectors = iter(mapped)
            batch: list[Done] = []
            for key, own in at.items():
                job = waiting.pop(key)
                seconds = job.sample.end - job.sample.start
                places = [(int(rows.items[n]) - 1) / 1000 / seconds for n in own[1:]]
                batch.append((job, SampleVectors(next(vectors), [next(vectors) for _ in places], places)))
            yield batch

    def _take_all(self, batches: Iterator[list[Done]], bar: Progress) -> None:
        try:
            for batch in batches:
                if batch:
                    self._take(batch)
                    bar.advance(sum(len(job.keys) for job, _ in batch))
                if self.stop or len(self.pending) >= COMMIT_ROWS or time.monotonic() - self.flushed > COMMIT_SECONDS:
                    self._flush()
                if self.stop:
                    left = self.backlog.missing - self.made - self.rejected
                    saved = self.backlog.kept + self.made
                    raise Interrupted(
                        f"{self.stop.name} while encoding with {self.encoder.name}: {counted(saved, 'row')} saved, "
                        f"{left:,} left: run the same command again to continue"
                    )
        finally:
            self._flush()

    def _take(self, batch: Sequence[Done]) -> None:
        """Keeps the vectors; a job without one, or with one that cannot be stored, is set aside."""
        for job, made in batch:
            if isinstance(made, Exception):
                self._reject(job, set_aside_reason(made))
                continue
            vectors = np.stack([made.vector, *made.frames])
            if not np.isfinite(vectors).all():
                self._reject(job, "the encoder gave numbers that are not finite")
            elif np.abs(vectors).max() > _LARGEST:
                # float16 would store infinity, and training on it gives no finite loss.
                self._reject(job, f"the encoder gave numbers beyond float16 ({np.abs(vectors).max():.3g})")
            else:
                seconds = job.sample.end - job.sample.start
                frames = [frame_item(place * seconds) for place in made.places]
                for clip, item in job.keys:
                    keys = [(clip, own) for own in (item, *frames)]
                    self.pending += zip(keys, [job.content] * len(keys), vectors.astype(np.float16), strict=True)

    def _flush(self) -> None:
        """Commits the finished rows. The list is emptied first, so that an interruption writes no row twice."""
        self.flushed = time.monotonic()
        rejects, self.rejects = self.rejects, []
        self.library.put_rejects(rejects)
        ready, self.pending = self.pending, []
        if not ready:
            return
        keys, contents, vectors = zip(*ready, strict=True)
        rows = Vectors(
            ids=[clip for clip, _ in keys],
            items=np.array([item for _, item in keys], dtype=np.int32),
            modalities=[self.encoder.modality] * len(keys),
            vectors=np.stack(vectors),
            makers=[self.encoder.fingerprint] * len(keys),
            contents=list(contents),
        )
        self.backlog.table.append(rows)
        self.made += sum(not is_frame(self.encoder.modality, item) for _, item in keys)

    def _reject(self, job: Job, reason: str) -> None:
        self.rejected += len(job.keys)
        for clip, item in job.keys:
            text = f", text {item}" if self.encoder.modality == "text" else ""
            self.rejects.append(Reject(path=f"{clip} ({self.encoder.name}{text})", stage=self.stage, reason=reason))

    def _report(self) -> EncoderReport:
        encoder = self.encoder
        if self.rejected:
            say(
                f"{encoder.name}: {self.rejected:,} {self.unit} could not be encoded: seehear info --rejects lists them"
            )
        return EncoderReport(
            name=encoder.name,
            modality=encoder.modality,
            width=encoder.width,
            fingerprint=encoder.fingerprint,
            made=self.made,
            kept=self.backlog.kept,
            removed=dict(self.backlog.removed),
            rejected=self.rejected,
            seconds=time.monotonic() - self.began,
        )
