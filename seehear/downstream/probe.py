"""Probes on the frozen features of a trained run, compared with the same network untrained.

A probe is fitted on the middle view of each training clip; its scores of a test clip are means over views. Official
folds are each the test split once; without them the library's splits are used.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from seehear import distributed
from seehear.downstream.finetune import Pretrained
from seehear.downstream.labels import LabelledClips, labelled
from seehear.downstream.measure import STEPS, lrc_probe, lrc_scores, result_of, scored_clips
from seehear.errors import SeehearError, check_range, unknown
from seehear.evaluation.bootstrap import compare, intervals
from seehear.evaluation.classify import Labelled as Vectors
from seehear.evaluation.classify import knn, linear_probe, svm_probe
from seehear.evaluation.folds import FoldedProbe, Probe, official_folds, probe_folds
from seehear.evaluation.multilabel import Marked, linear_scores
from seehear.evaluation.report import EvaluationReport, provenance
from seehear.evaluation.results import TaskResult
from seehear.evaluation.tasks import classification_result
from seehear.inputs.raw import RawMedia, load_raw
from seehear.library.tables import SPLITS, LibraryTables
from seehear.methods.base import Method, seeded
from seehear.progress import say
from seehear.runs.evaluate import code_revision
from seehear.runs.features import check_towers, features_of
from seehear.train.files import write_text

PROBES: dict[str, Probe] = {"linear": linear_probe, "knn": knn, "svm": svm_probe, "lrc": lrc_probe}
_OF_SEVERAL = ("linear", "lrc")


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    probe: tuple[str, ...] = ("linear",)
    """linear: logistic regression; knn; svm; lrc: VATT's low-rank classifier."""
    tower: tuple[str, ...] = ()
    """video, audio, video+audio; by default all that the model and the clips have."""
    windows: int = 1
    """Windows of a test clip, evenly spaced; 4 in VATT's paper."""
    crops: int = 1
    """Crops of each window, squares along the longer side of the frame."""
    folds: bool = False
    """Test on every official fold of the set, and average."""
    untrained: bool = True
    """Also probe the same network with random weights; --no-untrained leaves it out."""
    steps: int = STEPS[-1]
    """Largest number of training steps of lrc; 50,000 in the paper."""
    where: str | None = None
    """SQL condition over the library's columns that clips must meet."""
    cache: Path | None = None
    """Folder for decoded clips, shared by all runs."""
    batch_size: int = 64
    """Views per batch."""
    workers: int = 0
    """Processes that decode clips."""
    seed: int = 0
    """Seed of the untrained network and of lrc."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "windows", "crops", "steps", "batch_size")
        check_range(self, "[0, inf)", "workers")
        for name in self.probe:
            if name not in PROBES:
                raise unknown("probe", name, PROBES)


@dataclass(frozen=True)
class _Seen:
    """Features of readable labelled clips."""

    clips: LabelledClips
    one_ND: np.ndarray
    """Features of the middle view."""
    views_NWD: np.ndarray

    def part(self, split: str) -> _Seen:
        rows = [i for i, clip in enumerate(self.clips.clips) if clip.split == split]
        return _Seen(self.clips.take(rows), self.one_ND[rows], self.views_NWD[rows])


def probe(
    model: Pretrained,
    library: LibraryTables,
    label: str,
    options: ProbeOptions,
    *,
    device: str = "auto",
    command: str = "",
) -> EvaluationReport:
    """The report with a result for each tower, probe and network."""
    modalities = model.modalities_in(library, options.where)
    towers = options.tower or tuple(modalities)
    check_towers(towers, modalities)
    raw = replace(model.raw, modalities=tuple(modalities))
    media = load_raw(library, raw, where=options.where, cache=options.cache)
    clips = labelled(library, media, label)
    _check(clips, options, library)
    networks = {model.method.name: model.method}
    if options.untrained:
        # Random weights are a strong baseline for sounds and pictures: what a probe learns is not all pre-training.
        networks[f"{model.method.name} untrained"] = seeded(type(model.method), model.method.config, options.seed)
    results: list[TaskResult] = []
    for name, method in networks.items():
        seen = _features(method.eval().to(distributed.device(device)), clips, towers, options)
        for tower, one in seen.items():
            results += _probed(one, tower, name, options)
    about = provenance(command) | {"code_revision": code_revision(), "dataset_name": library.uri}
    # JSON has no paths.
    plain = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(options).items()}
    about |= {"model_name": model.run, "options": plain}
    return EvaluationReport(split="test", results=tuple(_compared(results, model.method.name)), about=about)


def save(report: EvaluationReport, folder: str | Path, label: str) -> Path:
    """Writes the report to probe-LABEL.json in the run's folder; returns the path."""
    # A label may have signs that no file name can have.
    safe = "".join(sign if sign.isalnum() or sign in "-_" else "-" for sign in label)
    path = Path(folder) / f"probe-{safe}.json"
    write_text(path, json.dumps(report.plain(), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    return path


def _check(clips: LabelledClips, options: ProbeOptions, library: LibraryTables) -> None:
    if clips.several and (wrong := [name for name in options.probe if name not in _OF_SEVERAL]):
        raise SeehearError(
            f"{library.uri}: clips have several labels {clips.name!r} each, which {', '.join(wrong)} cannot learn: "
            f"use {' or '.join(_OF_SEVERAL)}"
        )
    if options.folds:
        if clips.several:
            raise SeehearError(f"{library.uri}: folds are for one label a clip, and clips have several {clips.name!r}")
        # Before features are computed: a library without folds is refused at once.
        official_folds(clips.clips)
        return
    if empty := [name for name, part in clips.parts().items() if not len(part)]:
        raise SeehearError(
            f"{library.uri}: a probe needs clips in train, val and test; no clip with a label {clips.name!r} is in "
            f"{', '.join(empty)}"
        )
    if len(classes := clips.split("train").classes()) < 2:
        raise SeehearError(f"{library.uri}: all training clips are {classes[0]!r}: there is nothing to tell apart")


def _features(method: Method, clips: LabelledClips, towers: tuple[str, ...], options: ProbeOptions) -> dict[str, _Seen]:
    """Features by tower, without clips of which a view cannot be read."""

    def of(media: RawMedia) -> dict[str, np.ndarray]:
        return features_of(method, media, towers=towers, batch_size=options.batch_size, workers=options.workers)

    one = of(clips.media)
    # With one view the middle one serves both.
    many = one
    if options.windows * options.crops > 1:
        many = of(clips.media.views(windows=options.windows, crops=options.crops))
    found = {}
    for tower in towers:
        # The same clips for the middle view and for all views.
        here = np.flatnonzero(np.isfinite(one[tower]).all((1, 2)) & np.isfinite(many[tower]).all((1, 2)))
        if lost := len(clips) - len(here):
            say(f"{lost:,} of {len(clips):,} clips have no {tower.replace('+', ' and ')}, or it cannot be read")
        found[tower] = _Seen(clips.take(here), one[tower][here, 0], many[tower][here])
    return found


def _probed(seen: _Seen, tower: str, model: str, options: ProbeOptions) -> Iterator[TaskResult]:
    parts = {} if options.folds else {name: seen.part(name) for name in SPLITS}
    if empty := [name for name, part in parts.items() if not len(part.clips)]:
        raise SeehearError(f"no labelled clip of {', '.join(empty)} has {tower.replace('+', ' and ')} that can be read")
    count = min(len(STEPS), options.steps)
    steps = tuple(options.steps * n // count for n in range(1, count + 1))
    for name in options.probe:
        task = f"{tower} probe {name} ({seen.clips.name})"
        # The other probes have no seed and choose among fixed strengths.
        of = partial(lrc_probe, steps=steps, seed=options.seed) if name == "lrc" else PROBES[name]
        if options.folds:
            found = _folded(seen, of, task, model)
        elif seen.clips.several:
            lrc = partial(lrc_scores, steps=steps, seed=options.seed) if name == "lrc" else None
            found = _several(parts, lrc, task, model)
        else:
            train = Vectors(parts["train"].one_ND, parts["train"].clips.firsts)
            val, test = (Vectors(parts[n].views_NWD, parts[n].clips.firsts) for n in ("val", "test"))
            found = classification_result(task, of(train, val, test), scored_clips(parts["test"].clips, model))
        yield replace(found, details={"windows": options.windows, "crops": options.crops} | found.details)


def _several(parts: dict[str, _Seen], lrc: Callable[..., Any] | None, task: str, model: str) -> TaskResult:
    """Result of clips with several labels each, by `lrc` or by logistic regressions."""
    classes, tested = parts["train"].clips.classes(), parts["test"].views_NWD
    truth = {name: part.clips.truth(classes) for name, part in parts.items()}
    train = Marked(parts["train"].one_ND, truth["train"])
    if lrc is not None:
        val = Marked(parts["val"].views_NWD, truth["val"])
        scores_NC, chosen = lrc(train, val, tested, several=True)
    else:
        # One view is enough to choose a C; the steps of lrc are chosen by all views, as its scores are means of
        # probabilities.
        val = Marked(parts["val"].one_ND, truth["val"])
        logits_NC, chosen = linear_scores(train, val, tested.reshape(-1, tested.shape[2]))
        scores_NC = (1 / (1 + np.exp(-logits_NC))).reshape(*tested.shape[:2], -1).mean(axis=1)
    found = result_of(scores_NC, parts["test"].clips, classes, several=True, task=task, model=model)
    return replace(found, details={"chosen": chosen} | found.details)


def _folded(seen: _Seen, of: Probe, task: str, model: str) -> TaskResult:
    """Result over official folds: metrics are means over folds, intervals are of all test clips together."""
    folds = official_folds(seen.clips.clips)
    found: FoldedProbe = probe_folds(seen.one_ND, seen.clips.firsts, folds, probe=of, views=seen.views_NWD)
    # Each clip is tested once over all folds.
    tested = seen.clips.take(np.concatenate([fold.test for fold in folds]))
    each = list(found.folds.values())
    per_query = {name: np.concatenate([one.per_query[name] for one in each]) for name in each[0].per_query}
    shown = {fold: one.metrics["top1"] for fold, one in found.folds.items()}
    return TaskResult(
        task=task,
        kind="classification",
        model=model,
        metrics=found.mean,
        chance=each[0].chance,
        intervals=intervals(per_query, tested.groups),
        counts={"queries": len(tested), "classes": len(each[0].classes), "groups": len(set(tested.groups.tolist()))},
        details={"folds": shown, "deviation": found.deviation, "chosen": [one.chosen for one in each]},
        per_query=per_query,
        keys=tested.ids,
        groups=tested.groups,
    )


def _compared(results: list[TaskResult], trained: str) -> Iterator[TaskResult]:
    """The results, those of the trained network with their gain over the untrained one."""
    for result in results:
        other = [r for r in results if r.task == result.task and r.model != trained and "top1" in r.per_query]
        # Paired by clip, so both must have read the same ones.
        if result.model == trained and other and len(other[0].keys) == len(result.keys):
            gain = compare(other[0].per_query["top1"], result.per_query["top1"], result.groups)
            result = replace(result, details={**result.details, "top1 over untrained": str(gain)})
        yield result
