"""Frozen encoders over a library: every clip once, resumable at any kill, nothing stale left in.

For each encoder: the rows that are there and current stay; rows of other weights, settings, files or texts are taken
out; the rest is decoded in worker processes, encoded in batches where the model is, and appended about a thousand rows
a commit. So a kill loses the last commit's worth at most, and a second run has nothing to do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seehear.encoders import Encoder, load_towers
from seehear.encoders.base import Encoded
from seehear.encoders.presets import describe, preset_encoders, strongest_at_hand
from seehear.errors import DecodeError, SeehearError, refusal
from seehear.library.backlog import Backlog, Job, Key, at_their_place
from seehear.library.current import frame_item, is_frame
from seehear.library.engines import Done, Engine, Local
from seehear.library.locking import writing
from seehear.library.records import Clip, Reject
from seehear.library.tables import Library, Vectors, in_batches, one_of, quote, table_name
from seehear.library.transcripts import main_language
from seehear.library.workers import WorkerDied
from seehear.progress import Interrupted, Progress, StopRequest, clock, counted, progress, say, stop_requests
from seehear.types import MODALITIES, Modality

COMMIT_ROWS, COMMIT_SECONDS = 1000, 30.0
EngineName = Literal["local", "ray"]
BATCH = {"video": 16, "audio": 16, "text": 256}
_CLIPS_READ = 256  # at once, where their latents are mapped
_LARGEST = float(np.finfo(np.float16).max)


@dataclass(frozen=True, kw_only=True)
class EncoderReport:
    """What one encoder did to the library."""

    name: str
    modality: str
    width: int
    fingerprint: str
    made: int
    """Rows added."""
    kept: int
    """Rows that were there, and are as they should be."""
    removed: dict[str, int]
    """Rows taken out, by the reason."""
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
    library: Library,
    names: Sequence[str | Encoder] | None = None,
    *,
    workers: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    where: str | None = None,
    engine: EngineName = "local",
    models: int = 1,
    preset: str = "",
) -> EncodeReport:
    """Bring the latents of some encoders up to date. A joint encoder without '#modality=' stands for its towers of all
    modalities that the library has. Without names the encoders are those of a preset: the one given, the one that the
    library was encoded with before, or the strongest on this machine.

    `workers`: processes that decode, one a core by default; 0 decodes in this one. `where`: an SQL condition over the
    clips. `engine` 'ray' works on a Ray cluster, with so many `models` there. Ctrl-C and SIGTERM save what is done and
    raise `Interrupted`.
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
    # Ray takes the signals when it starts: what is asked of a run must be asked of us.
    tables = [table_name("latents", encoder.name) for encoder in encoders]
    with writing(library.uri, *tables), started_engine(engine, workers, models) as started, stop_requests() as stop:
        done = [
            _Encoding(library, encoder, Backlog(library, encoder, clips, chosen), stop).run(
                started, batch_size or BATCH[encoder.modality]
            )
            for encoder in encoders
        ]
    return EncodeReport(encoders=tuple(done), library=library.uri)


def started_engine(name: EngineName, workers: int | None, models: int) -> AbstractContextManager[Engine]:
    if name == "local":
        return nullcontext(Local(workers))
    from seehear.library.ray_engine import on_ray

    return on_ray(workers=workers, models=models)


def modalities_of(clips: Sequence[Clip]) -> list[Modality]:
    """Modalities that at least one of the clips has."""
    return [modality for modality in MODALITIES if any(clip.has(modality) for clip in clips)]


def load_all(names: Sequence[str | Encoder], modalities: Sequence[str], device: str) -> list[Encoder]:
    """The encoders asked for, each with at least one clip to encode; those that map others' latents last."""
    encoders: list[Encoder] = []
    for name in names:
        encoders += load_towers(name, modalities, device=device) if isinstance(name, str) else [name]
    for encoder in encoders:
        if encoder.modality not in modalities:
            raise SeehearError(
                f"{encoder.name!r} encodes {encoder.modality}, and no clip of the library has any "
                f"(there is: {', '.join(modalities)})"
            )
    return sorted({encoder.name: encoder for encoder in encoders}.values(), key=lambda e: e.source is not None)


class _Encoding:
    """One encoder over one library."""

    def __init__(self, library: Library, encoder: Encoder, backlog: Backlog, stop: StopRequest):
        self.library, self.encoder, self.backlog, self.stop = library, encoder, backlog, stop
        self.began = self.flushed = time.monotonic()
        self.rejects: list[Reject] = []
        self.pending: list[tuple[Key, str, np.ndarray]] = []
        self.made = self.rejected = 0
        self.unit = "texts" if encoder.modality == "text" else "clips"

    # -- doing it ----------------------------------------------------------------------------------------------------

    def run(self, engine: Engine, batch_size: int) -> EncoderReport:
        name = self.encoder.name
        for why, count in self.backlog.removed.items():
            say(f"{name}: {counted(count, 'row')} removed: {why}")
        self._forget_rejects()
        if not self.backlog.jobs:
            say(f"{name}: all {self.backlog.kept:,} rows are there, nothing to encode")
            return self._report()
        self._derive()
        if not self.backlog.jobs:
            return self._finished()
        # On a cluster, the media need not be where this process is.
        jobs = self.backlog.jobs
        if isinstance(engine, Local):
            jobs = at_their_place(self.library, jobs, lambda job: job.sample.path, self._reject)
        with (
            progress(f"encoding with {name}", self.backlog.missing - self.made - self.rejected, self.unit) as bar,
            engine.vectors(self.encoder, jobs, batch_size) as batches,
        ):
            try:
                self._take_all(batches, bar)
            finally:
                self._flush()
        return self._finished()

    def _finished(self) -> EncoderReport:
        self.backlog.table.compact()
        return self._report()

    def _derive(self) -> None:
        """Rows that are functions of another encoder's current latents: no media are read for them."""
        source = self.encoder.source
        if source is None or table_name("latents", source.name) not in self.library.tables():
            return
        waiting = {job.keys[0]: job for job in self.backlog.jobs}
        with progress(f"{self.encoder.name} from {source.name}", self.backlog.missing, self.unit) as bar:
            try:
                self._take_all(self._derived(source, waiting), bar)
            finally:
                self._flush()
        self.backlog.jobs = list(waiting.values())

    def _derived(self, source: Encoder, waiting: dict[Key, Job]) -> Iterator[list[Done]]:
        """Takes what it gives out of `waiting`. Clips are read by their ids: a film's frames come with it."""
        table = self.library.vectors("latents", source.name)
        for some in in_batches(sorted({clip for clip, _ in waiting}), _CLIPS_READ):
            rows = table.read(f"maker = {quote(source.fingerprint)} AND {one_of('id', some)}")
            at: dict[Key, list[int]] = {}
            for n, (clip, item) in enumerate(zip(rows.ids, rows.items.tolist(), strict=True)):
                key = clip, 0 if is_frame(self.encoder.modality, item) else item
                if key in waiting and waiting[key].content == rows.contents[n]:
                    at.setdefault(key, []).append(n)
            mapped = self.encoder.derive(rows.vectors[[n for own in at.values() for n in own]]) if at else ()
            vectors = iter(mapped)
            done: list[Done] = []
            for key, own in at.items():
                job = waiting.pop(key)
                seconds = job.sample.end - job.sample.start
                places = [(int(rows.items[n]) - 1) / 1000 / seconds for n in own[1:]]
                done.append((job, Encoded(next(vectors), [next(vectors) for _ in places], places)))
            yield done

    def _take_all(self, batches: Iterator[list[Done]], bar: Progress) -> None:
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
                    f"{left:,} left; the same command goes on from there"
                )

    def _take(self, batch: Sequence[Done]) -> None:
        """Keep the vectors, set aside what has none or one that cannot be stored."""
        for job, made in batch:
            if isinstance(made, Exception):
                self._reject(job, _reason(made))
                continue
            vectors = np.stack([made.vector, *made.frames])
            if not np.isfinite(vectors).all():
                self._reject(job, "the encoder gave numbers that are not finite")
            elif np.abs(vectors).max() > _LARGEST:
                self._reject(job, f"the encoder gave numbers beyond float16 ({np.abs(vectors).max():.3g})")
            else:
                seconds = job.sample.end - job.sample.start
                frames = [frame_item(place * seconds) for place in made.places]
                for clip, item in job.keys:
                    keys = [(clip, own) for own in (item, *frames)]
                    self.pending += zip(keys, [job.content] * len(keys), vectors.astype(np.float16), strict=True)

    def _flush(self) -> None:
        """One commit of what is ready. The list is emptied first: whatever interrupts, no row is written twice."""
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

    # -- what cannot be encoded --------------------------------------------------------------------------------------

    @property
    def _stage(self) -> str:
        return f"encode:{self.encoder.name}"

    def _forget_rejects(self) -> None:
        """Those of this encoder: what is still wrong is found again."""
        self.library.remove_rejects([r.path for r in self.library.rejects() if r.stage == self._stage])

    def _reject(self, job: Job, reason: str) -> None:
        self.rejected += len(job.keys)
        for clip, item in job.keys:
            text = f", text {item}" if self.encoder.modality == "text" else ""
            self.rejects.append(Reject(path=f"{clip} ({self.encoder.name}{text})", stage=self._stage, reason=reason))

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


def _reason(error: Exception) -> str:
    """Why a clip is set aside. What is wrong with the machine and not with the clip ends the run."""
    if isinstance(error, DecodeError):
        return str(error)
    if isinstance(error, WorkerDied):
        return f"reading it {error}"
    if isinstance(error, SeehearError | ImportError):
        raise error
    return refusal(error) or f"{type(error).__name__}: {error}"
