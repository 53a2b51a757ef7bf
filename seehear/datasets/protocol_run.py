"""Evaluation of a trained run by a named protocol, with the published numbers and the library's deviations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from seehear.datasets.protocols import Protocol, ProtocolCheck, PublishedNumber, check, protocol
from seehear.errors import SeehearError
from seehear.evaluation import tasks
from seehear.evaluation.bootstrap import group_warnings, statistic_intervals
from seehear.evaluation.embedded import Embedded, embed_latents, fuse
from seehear.evaluation.localisation import Located, chance, located, recall_by_video, recall_pooled
from seehear.evaluation.report import EvaluationReport, provenance
from seehear.evaluation.results import TaskResult
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import Clip, LibraryTables, quote
from seehear.progress import progress
from seehear.runs.bench import Bench, EvaluateOptions, model_results, part
from seehear.runs.evaluate import code_revision, data_revision, labels_of, same_encoders, trained_on
from seehear.space import SharedSpace
from seehear.types import Modality

# Fusion of video and sound: sum of the vectors that the method compares, or mean of unit vectors.
Fusion = Literal["sum", "unit"]
_FOLDER = "protocols"
# Primary tasks of CrossTask.
_TASKS = 18


@dataclass(frozen=True, kw_only=True)
class ProtocolReport:
    wanted: Protocol
    checked: ProtocolCheck
    report: EvaluationReport
    folder: Path
    """Folder of the numbers."""

    @property
    def published(self) -> tuple[PublishedNumber, ...]:
        return self.wanted.published

    def plain(self) -> dict[str, Any]:
        return {
            "protocol": self.wanted.name,
            "deviations": list(self.checked.deviations),
            **self.report.plain(),
            "published": [asdict(row) for row in self.published],
        }

    def summary(self) -> str:
        return self._text(self.report.summary())

    def __str__(self) -> str:
        return self._text(str(self.report))

    def _text(self, measured: str) -> str:
        lines = [measured, f"{self.wanted.title}: {self.checked}"]
        if self.published:
            lines += ["", "published, not measured here (per cent; sources: docs/protocols.md)"]
            width = max(len(row.method) for row in self.published)
            for row in self.published:
                values = "  ".join(f"{name} {value:g}" for name, value in row.values.items())
                lines.append(f"  {row.method.ljust(width)}  {values}  [{row.source}, {row.tag}] {row.note}".rstrip())
        return "\n".join([*lines, *(f"note: {note}" for note in self.wanted.notes)])


def evaluate_protocol(
    run: str | Path,
    name: str,
    library: LibraryTables | str | Path | None = None,
    *,
    fusion: Fusion = "sum",
    device: str = "auto",
    command: str = "",
) -> ProtocolReport:
    """The report, also saved in the run's folder under protocols/NAME. The default library is the one that the run was
    trained on."""
    run, wanted = Path(run), protocol(name)
    if wanted.folds:
        raise SeehearError(
            f"{wanted.name} is a mean over {wanted.folds} folds, each with its own training: train and evaluate a run "
            "for each (--fold of 'seehear import'), and take their mean"
        )
    library = library if isinstance(library, LibraryTables) else LibraryTables.open(library or trained_on(run))
    space = SharedSpace.from_pretrained(run, device=device)
    measure = _localise if wanted.kind == "localisation" else _on_clips
    measured = measure(space, library, wanted, fusion)
    about = provenance(command) | {"model_name": str(run), "model_revision": space.fingerprint, "fusion": fusion}
    about |= {"protocol": wanted.name, "dataset_name": library.uri, "code_revision": code_revision()}
    about |= {"dataset_revision": measured.revision}
    report = EvaluationReport(split=wanted.split, results=measured.results, warnings=measured.warnings, about=about)
    folder = run / _FOLDER / wanted.name
    folder.mkdir(parents=True, exist_ok=True)
    report.save(folder)
    return ProtocolReport(wanted=wanted, checked=check(wanted, library), report=report, folder=folder)


def encoders_here(space: SharedSpace, library: LibraryTables) -> dict[Modality, list[str]]:
    """Names of the run's encoders, for modalities that the library has latents of."""
    known = library.encoders()
    names = {m: [info["name"] for info in infos] for m, infos in space.encoders.items()}
    return {m: own for m, own in names.items() if known.keys() >= set(own)}


def protocol_vectors(space: SharedSpace, data: LatentData, fusion: Fusion) -> dict[str, Embedded]:
    """Embeddings of each modality, and of 'video+audio'."""
    vectors = _vectors(space, data, fusion)
    return vectors | _galleries(vectors, fusion)


def _vectors(space: SharedSpace, data: LatentData, fusion: Fusion) -> dict[Modality, Embedded]:
    return embed_latents(space, data, unit=fusion == "unit" or space.method.compares_unit)


def _galleries(vectors: Mapping[Modality, Embedded], fusion: Fusion) -> dict[str, Embedded]:
    """Galleries by name: video, audio, and both fused."""
    galleries: dict[str, Embedded] = {m: vectors[m] for m in ("video", "audio") if m in vectors}
    if len(galleries) == 2:
        galleries["video+audio"] = fuse(list(galleries.values()), made_unit=fusion == "unit")
    return galleries


@dataclass(frozen=True)
class _Measured:
    results: tuple[TaskResult, ...]
    warnings: tuple[str, ...]
    revision: str | None = None
    """Revision of the data; None if it is never in memory as a whole."""


def _on_clips(space: SharedSpace, library: LibraryTables, wanted: Protocol, fusion: Fusion) -> _Measured:
    # Latents of the run's own encoders: others of the library would widen the vectors.
    data = load_latents(library, encoders=encoders_here(space, library))
    same_encoders(data, space.encoders, library)
    options = EvaluateOptions(split=wanted.split, closed_forms=False)
    bench = Bench(data, labels_of(library, data), options, space)
    warnings = group_warnings(bench.test.groups.tolist(), wanted.split)
    if wanted.kind == "retrieval":
        vectors = part(data, _vectors(space, data, fusion), wanted.split)
        results = tuple(_retrieved(vectors, bench.clips(space.method.name), wanted, fusion))
    else:
        results = tuple(model_results(bench))
    return _Measured(results, warnings, data_revision(bench.test))


def _retrieved(
    vectors: Mapping[Modality, Embedded], clips: tasks.ScoredClips, wanted: Protocol, fusion: Fusion
) -> Iterator[TaskResult]:
    """Text against video, audio and both, and back; also with queries without an item counted as failures."""
    if "text" not in vectors:
        raise SeehearError(f"{wanted.name} asks by text, and this run has none")
    text = vectors["text"]
    for name, gallery in _galleries(vectors, fusion).items():
        for result in tasks.retrieve(f"text->{name}", text, gallery, clips):
            yield result
            asked = max(len(text.owner), wanted.texts)
            if result.counts["queries"] < asked:
                # Papers print both: clips without the modality left out, and counted as failures.
                yield counting_failures(result, asked)
        yield from tasks.retrieve(f"{name}->text", gallery, text, clips)


def counting_failures(result: TaskResult, asked: int) -> TaskResult:
    """The result over `asked` queries, where those without an item count as failures: shares are of all queries, ranks
    of those with an item. MCN evaluates clips of MSR-VTT without sound so."""
    share = result.counts["queries"] / asked

    def of_all(values: Mapping[str, float]) -> dict[str, float]:
        return {name: value if "rank" in name else share * value for name, value in values.items()}

    return replace(
        result,
        task=f"{result.task}, of all {asked:,}",
        metrics=of_all(result.metrics),
        chance=of_all(result.chance),
        intervals={
            name: bounds if "rank" in name else (share * bounds[0], share * bounds[1])
            for name, bounds in result.intervals.items()
        },
        counts=result.counts | {"queries": asked, "failures": asked - result.counts["queries"], "skipped": 0},
        per_query={},
        keys=np.array([], dtype=str),
        groups=np.array([], dtype=str),
    )


def _localise(space: SharedSpace, library: LibraryTables, wanted: Protocol, fusion: Fusion) -> _Measured:
    """Recall of steps in videos, with one task in memory at a time."""
    if "text" not in space.encoders:
        raise SeehearError(f"{wanted.name} asks by text, and this run has none")
    # Steps are texts without media.
    steps = library.clips("source = '' AND id LIKE 'crosstask/%'")
    numbers = sorted({clip.meta["task"] for clip in steps})
    if not numbers:
        raise SeehearError(f"{library.uri} has no steps: seehear import crosstask --root DIR --library {library.uri}")
    found: dict[str, list[tuple[Located, float]]] = {}
    with progress("locating steps", len(numbers), "tasks") as bar:
        for number in numbers:
            for name, video in _of_task(space, library, number, wanted.split, fusion):
                found.setdefault(name, []).append(video)
            bar.advance()
    if not found:
        raise SeehearError(f"{library.uri} has no annotated video of the split {wanted.split}")
    # The number is a mean over tasks.
    done = {video.task for video, _ in next(iter(found.values()))}
    warnings = () if len(done) == _TASKS else (f"{len(done)} tasks, expected {_TASKS}: another number",)
    results = tuple(_located_result(name, rows, space.method.name) for name, rows in found.items())
    return _Measured(results, warnings)


def _of_task(
    space: SharedSpace, library: LibraryTables, number: str, split: str, fusion: Fusion
) -> Iterator[tuple[str, tuple[Located, float]]]:
    """Yields (name of the task, (a video, its hits by chance))."""
    prefix = f"crosstask/{number}/"
    clips = {clip.id: clip for clip in library.clips(f"id LIKE '{prefix}%' AND split = {quote(split)}")}
    # A task whose videos are all missing has its steps only.
    if all(not clip.source for clip in clips.values()):
        return
    data = load_latents(library, encoders=encoders_here(space, library), prefix=prefix)
    same_encoders(data, space.encoders, library)
    vectors = _vectors(space, data, fusion)
    ids = data.ids.tolist()
    text = vectors["text"].one_each() if fusion == "unit" else vectors["text"]
    steps_KE = text.vectors[[clips[ids[n]].source == "" for n in text.owner]]
    videos: dict[str, list[Clip]] = {}
    for clip in clips.values():
        if clip.source:
            videos.setdefault(clip.meta["video"], []).append(clip)
    place = {name: n for n, name in enumerate(ids)}
    for name, gallery in _galleries(vectors, fusion).items():
        row = dict(zip(gallery.owner.tolist(), range(len(gallery.owner)), strict=True))
        for video, seconds in videos.items():
            scores_TK, truth_TK = np.zeros((len(seconds), len(steps_KE))), np.zeros((len(seconds), len(steps_KE)), bool)
            # In the order of time: steps are located in their order.
            for t, clip in enumerate(sorted(seconds, key=lambda c: c.start)):
                if (at := row.get(place[clip.id])) is not None:
                    scores_TK[t] = steps_KE @ gallery.vectors[at]
                # Seconds without features keep a score of 0.
                truth_TK[t, [int(k) for k in clip.meta["marked"].split()]] = True
            yield f"steps->{name}", (located(number, video, scores_TK, truth_TK), chance(truth_TK))


def _located_result(task: str, rows: list[tuple[Located, float]], model: str) -> TaskResult:
    videos = [video for video, _ in rows]
    by_chance = [replace(video, hits=hits) for video, hits in rows]
    # Resampled by video: the seconds of one video are not independent.
    names = np.array([f"{v.task}/{v.video}" for v in videos])
    measures = {"recall": recall_by_video, "recall (pooled)": recall_pooled}

    def resampled(at: np.ndarray) -> list[float]:
        return [of([videos[i] for i in at]) for of in measures.values()]

    return TaskResult(
        task=task,
        kind="localisation",
        model=model,
        metrics={name: of(videos) for name, of in measures.items()},
        chance={name: of(by_chance) for name, of in measures.items()},
        intervals=statistic_intervals(resampled, list(measures), names),
        counts={"videos": len(videos), "steps": sum(v.steps for v in videos), "tasks": len({v.task for v in videos})},
        per_query={"recall": np.array([v.hits / v.steps if v.steps else np.nan for v in videos])},
        keys=names,
        groups=np.array([v.video for v in videos]),
    )
