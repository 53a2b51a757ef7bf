"""Evaluation set shared by all models of a comparison: a split's clips, their labels, the names of the classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.errors import SeehearError, unknown
from seehear.evaluation import tasks
from seehear.evaluation.classify import (
    PROMPTS,
    Classification,
    Labelled,
    class_vectors,
    knn,
    linear_probe,
    prompted,
    svm_probe,
)
from seehear.evaluation.corrections import corrected_retrieval, tuned_corrections, without_gap
from seehear.evaluation.embedded import Classes, Embedded, device_of, embed_latents, within
from seehear.evaluation.multilabel import Marked, linear_scores, truth_of, usable_classes
from seehear.evaluation.results import TaskResult
from seehear.inputs.latents import LatentData
from seehear.library.tables import SPLITS
from seehear.methods.base import Method
from seehear.runs.closed_forms import closed_forms, settings, vectors_only
from seehear.runs.scores import directions
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.space import SharedSpace

_PROBES: dict[str, Callable[[Labelled, Labelled, Labelled], Classification]] = {
    "k-NN": knn,
    "linear": linear_probe,
    "SVM": svm_probe,
}


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    split: str = "test"
    """Split that is evaluated."""
    closed_forms: bool = True
    """Also the frozen encoders and the closed forms, fitted on the training clips; --no-closed-forms leaves them
    out."""
    probes: bool = True
    """Also k-NN, logistic regression and linear SVM on the vectors, where clips have labels; --no-probes leaves them
    out."""
    corrections: bool = False
    """Also the model with gap removal, NNN and QB-Norm, fitted on training and tuned on validation clips."""
    prompts: tuple[str, ...] = ("plain",)
    """Prompt sets for classification by name: plain, picture, sound, video."""
    seed: int = 0
    """Seed of the bootstrap."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        for name in self.prompts:
            if name not in PROMPTS:
                raise unknown("prompt set", name, PROMPTS)


@dataclass(frozen=True)
class Bench:
    data: LatentData
    labels: list[tuple[str, ...]]
    """Labels of every clip of `data`."""
    options: EvaluateOptions
    space: SharedSpace | None
    """Space of the run, which encodes the class names; None for closed forms alone."""

    @cached_property
    def test(self) -> LatentData:
        test = self.data.split(self.options.split)
        if not len(test):
            raise SeehearError(f"no clip of the split {self.options.split!r} has latents: nothing to evaluate on")
        return test

    @cached_property
    def test_labels(self) -> list[tuple[str, ...]]:
        return [own for own, split in zip(self.labels, self.data.splits, strict=True) if split == self.options.split]

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Labels of all clips: a test clip may have any of them."""
        return tuple(sorted({label for own in self.labels for label in own}))

    @cached_property
    def prompt_latents(self) -> dict[str, np.ndarray]:
        """Text latents of the class names, by prompt set; none without labels or a text encoder."""
        if self.space is None or "text" not in self.space.encoders or len(self.class_names) < 2:
            return {}
        # Text encoders were trained on words, not on names with underscores.
        names = [name.replace("_", " ") for name in self.class_names]
        return {name: self.space.text_latents(prompted(names, PROMPTS[name])) for name in self.options.prompts}

    def results(
        self, name: str, vectors: Mapping[Modality, Embedded], classes: Sequence[Classes] = ()
    ) -> list[TaskResult]:
        return tasks.all_results(vectors, self.clips(name), classes)

    def clips(self, name: str, *, whole: bool = False) -> tasks.ScoredClips:
        """Clips of a task's result; `whole`: rows are clips of all splits."""
        data, labels = (self.data, self.labels) if whole else (self.test, self.test_labels)
        return tasks.ScoredClips(data.ids.astype(str), data.groups.numpy().astype(str), labels, name, self.options.seed)

    def classes(self, model: Any, space: str | None = None) -> list[Classes]:
        """The class names in the space of a model that knows text."""
        import torch

        found = []
        for prompts, latents in self.prompt_latents.items():
            text = torch.from_numpy(latents).float().to(device_of(model))
            with torch.inference_mode():
                vectors = model.embed({"text": text, "has_text": torch.ones(len(text), dtype=torch.bool)}, space)
            if "text" in vectors:
                unit_CE = class_vectors(vectors["text"].cpu().numpy(), len(self.class_names))
                found.append(Classes(self.class_names, unit_CE, prompts))
        return found


def model_results(bench: Bench) -> Iterator[TaskResult]:
    """Results of each space of the run's method."""
    assert bench.space is not None
    method = bench.space.method
    for space, name in space_names(method).items():
        vectors = embed_latents(bench.space, bench.data, space=space)
        # Embedded once for all splits: corrections and probes read training and validation clips, too.
        test = part(bench.data, vectors, bench.options.split)
        yield from bench.results(name, test, bench.classes(bench.space, space))
        chosen_on = part(bench.data, vectors, "val")
        # Beside the plain mean, which a weak modality spoils.
        yield from tasks.weighted(test, chosen_on, bench.clips(f"{name}, weighted"))
        if bench.options.corrections:
            yield from _corrected(bench, name, vectors)
        if bench.options.probes:
            yield from _probes(bench, name, vectors)


def space_names(method: Method) -> dict[str, str]:
    """Name of each space of a method in a report: the method alone, where it has only one."""
    return {s: method.name if len(method.spaces) == 1 else f"{method.name}/{s}" for s in method.spaces}


def baseline_results(bench: Bench) -> Iterator[TaskResult]:
    test = vectors_only(bench.test)
    locked = bench.space.locked if bench.space else ()
    for form in closed_forms(bench.data, locked=locked):
        results = bench.results(form.name, embed_latents(form, test), bench.classes(form))
        # The settings were chosen on validation clips: a reader should see which.
        yield from (replace(r, details=r.details | settings(form)) for r in results)
    if bench.options.probes:
        # A sequence laid flat is no vector that a probe could read.
        data = vectors_only(bench.data)
        every = {m: Embedded(data.every(m).float().numpy(), data.owner(m).numpy()) for m in data.modalities}
        yield from _probes(bench, "frozen encoder", every)


def part(data: LatentData, vectors: Mapping[Modality, Embedded], split: str) -> dict[Modality, Embedded]:
    """One split's vectors; owners are then row numbers of that split."""
    return within(vectors, data.splits == split)


def _corrected(bench: Bench, name: str, vectors: Mapping[Modality, Embedded]) -> Iterator[TaskResult]:
    """Results with corrections: a direction needs training queries and validation pairs."""
    train, val, test = (part(bench.data, vectors, split) for split in ("train", "val", bench.options.split))
    yield from bench.results(f"{name} + gap removal", without_gap(train, test))
    # Fitted on training queries, tuned on validation pairs: without either there is no correction.
    known = {(query, gallery) for query, gallery, _, _ in directions({"": val}, {"": val}) if query in train}
    for query, gallery, q, g in directions({"": test}, {"": test}):
        if (query, gallery) in known:
            found = tuned_corrections(train[query], val[query], val[gallery], g)
            for kind, (details, correction) in found.items():
                result = corrected_retrieval(correction, q, g)
                clips = bench.clips(f"{name} + {kind}")
                yield tasks.retrieval_result(f"{query}->{gallery}", result, q, clips, details=details)


# -- probes ----------------------------------------------------------------------------------------------------------


def _probes(bench: Bench, model: str, vectors: Mapping[Modality, Embedded]) -> Iterator[TaskResult]:
    """Probes on a vector a clip of every modality but text: clips with one label, and all if some have several."""
    count = np.array([len(own) for own in bench.labels])
    for m, several in vectors.items():
        own = several.one_each()
        if m == "text":
            continue
        splits = ("train", "val", bench.options.split)
        rows = [np.flatnonzero((bench.data.splits[own.owner] == s) & (count[own.owner] == 1)) for s in splits]
        train, val, test = (Labelled(own.vectors[r], [bench.labels[c][0] for c in own.owner[r]]) for r in rows)
        if all(map(len, rows)) and len(set(train.labels)) > 1:
            clips = bench.clips(model, whole=True).take(own.owner[rows[-1]])
            for name, probe in _PROBES.items():
                yield tasks.classification_result(f"{m} probe {name}", probe(train, val, test), clips)
        if (count[own.owner] > 1).any():
            yield from _many_labels(bench, model, m, own, count)


def _many_labels(bench: Bench, model: str, m: Modality, own: Embedded, count: np.ndarray) -> Iterator[TaskResult]:
    """Logistic regression a label; none where a split has no label both present and absent."""
    marked, owner = [], np.empty(0, np.int64)
    for split in ("train", "val", bench.options.split):
        rows = np.flatnonzero((bench.data.splits[own.owner] == split) & (count[own.owner] > 0))
        owner = own.owner[rows]
        truth_NC = truth_of([bench.labels[clip] for clip in owner], bench.class_names)
        if not len(usable_classes(truth_NC)):
            return
        marked.append(Marked(own.vectors[rows], truth_NC))
    train, val, test = marked
    scores_NC, chosen = linear_scores(train, val, test.vectors)
    # Of the last split, the evaluated one.
    clips, task = bench.clips(model, whole=True).take(owner), f"{m} probe linear, labels"
    yield tasks.multilabel_result(task, scores_NC, test.truth, bench.class_names, clips, details={"chosen": chosen})
