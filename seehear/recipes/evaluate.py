"""Evaluate a run, or the closed forms alone, on a library: the report, in the run's folder.

Numbers come from the split that is asked for and no other. The training split fits the closed forms and the probes, the
validation split chooses their settings.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.data.latents import LatentData, load_latents
from seehear.data.library import SPLITS, Library
from seehear.errors import SeehearError, unknown
from seehear.evaluation.bootstrap import intervals
from seehear.evaluation.classify import PROMPTS, Classification, Labelled, class_vectors, knn, linear_probe, prompted
from seehear.evaluation.protocol import Classes, Embedded, embed_latents, evaluate_embeddings, group_warnings
from seehear.evaluation.report import Report, TaskResult, provenance
from seehear.recipes.closed_forms import closed_forms, settings
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.space import SharedSpace

_PROBES: dict[str, Callable[[Labelled, Labelled, Labelled], Classification]] = {"k-NN": knn, "linear": linear_probe}


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    split: str = "test"
    """Whose clips the numbers are of."""
    closed_forms: bool = True
    """Also the frozen encoders and the closed forms, fitted on the training clips."""
    probes: bool = True
    """Also k-NN and logistic regression on the vectors, where clips have labels."""
    prompts: tuple[str, ...] = ("plain",)
    """Prompt sets for classification by name: plain, picture, sound, video."""
    seed: int = 0
    """Of the bootstrap."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise unknown("split", self.split, SPLITS)
        for name in self.prompts:
            if name not in PROMPTS:
                raise unknown("prompt set", name, PROMPTS)


def evaluate_run(
    run: str | Path,
    library: Library | str | Path | None = None,
    options: EvaluateOptions | None = None,
    *,
    device: str = "auto",
    command: str = "",
) -> Report:
    """The report of a run, saved in its folder. Without a library, the one it was trained on."""
    from seehear.space import SharedSpace

    run, options = Path(run), options or EvaluateOptions()
    library = library if isinstance(library, Library) else Library.open(library or _trained_on(run))
    space = SharedSpace.from_pretrained(run, device=device)
    data = load_latents(library, encoders={m: [e["name"] for e in infos] for m, infos in space.encoders.items()})
    _same_encoders(data, space, library)
    bench = _Bench(data, _labels(library, data), options, space)
    about = _about(library, data, options, command or f"seehear evaluate {run}")
    about |= {"model_name": str(run), "model_revision": space.fingerprint}
    results = [*_model_results(bench), *(_baseline_results(bench) if options.closed_forms else [])]
    report = Report(split=options.split, results=tuple(results), warnings=tuple(_warnings(bench)), about=about)
    report.save(run)
    return report


def evaluate_closed_forms(
    library: Library | str | Path,
    options: EvaluateOptions | None = None,
    *,
    encoders: Mapping[Modality, Sequence[str]] | None = None,
    command: str = "",
) -> Report:
    """What the frozen encoders and the closed forms reach on a library, before anything is trained."""
    library = library if isinstance(library, Library) else Library.open(library)
    options = options or EvaluateOptions()
    data = load_latents(library, encoders=encoders)
    bench = _Bench(data, _labels(library, data), options, None)
    about = _about(library, data, options, command or f"seehear evaluate {library.uri}")
    results = tuple(_baseline_results(bench))
    return Report(split=options.split, results=results, warnings=tuple(_warnings(bench)), about=about)


@dataclass(frozen=True)
class _Bench:
    """What every model is measured on."""

    data: LatentData
    labels: list[tuple[str, ...]]
    """Of every clip of `data`, in its order."""
    options: EvaluateOptions
    space: SharedSpace | None

    @cached_property
    def test(self) -> LatentData:
        test = self.data.split(self.options.split)
        if not len(test):
            raise SeehearError(
                f"no clip of the split {self.options.split!r} has latents: there is nothing to evaluate on"
            )
        return test

    @cached_property
    def test_labels(self) -> list[tuple[str, ...]]:
        return [own for own, split in zip(self.labels, self.data.splits, strict=True) if split == self.options.split]

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Every label that any clip has: a test clip may have been any of them."""
        return tuple(sorted({label for own in self.labels for label in own}))

    @cached_property
    def prompt_latents(self) -> dict[str, np.ndarray]:
        """Text latents of the class names, by prompt set; none without labels or a text encoder."""
        if self.space is None or "text" not in self.space.encoders or len(self.class_names) < 2:
            return {}
        spoken = [name.replace("_", " ") for name in self.class_names]
        return {name: self.space.text_latents(prompted(spoken, PROMPTS[name])) for name in self.options.prompts}

    def report(self, name: str, vectors: dict[Modality, Embedded], classes: Sequence[Classes] = ()) -> Report:
        return evaluate_embeddings(
            vectors,
            self.test.ids.tolist(),
            self.test.groups.tolist(),
            labels=self.test_labels if classes else None,
            classes=classes,
            model=name,
            split=self.options.split,
            seed=self.options.seed,
        )

    def classes(self, model: Any, space: str | None = None) -> list[Classes]:
        """The class names in the space of a model that knows text."""
        import torch

        found = []
        for prompts, latents in self.prompt_latents.items():
            batch = {"text": torch.from_numpy(latents).float(), "has_text": torch.ones(len(latents), dtype=torch.bool)}
            vectors = model.embed(batch, space)
            if "text" in vectors:
                unit_CE = class_vectors(vectors["text"].cpu().numpy(), len(self.class_names))
                found.append(Classes(self.class_names, unit_CE, prompts))
        return found


def _model_results(bench: _Bench) -> Iterator[TaskResult]:
    """Of each space of the run's method; a method with several names them."""
    assert bench.space is not None
    method = bench.space.method
    for space in method.spaces:
        name = method.name if len(method.spaces) == 1 else f"{method.name}/{space}"
        yield from bench.report(
            name, embed_latents(method, bench.test, space=space), bench.classes(method, space)
        ).results
    if bench.options.probes:
        yield from _probes(bench, method.name, {m: e.one_each() for m, e in embed_latents(method, bench.data).items()})


def _baseline_results(bench: _Bench) -> Iterator[TaskResult]:
    for form in closed_forms(bench.data, seed=bench.options.seed):
        results = bench.report(form.name, embed_latents(form, bench.test), bench.classes(form)).results
        yield from (replace(r, details=r.details | settings(form)) for r in results)
    if bench.options.probes:
        every = {
            m: Embedded(bench.data.every(m).float().numpy(), bench.data.owner(m).numpy()).one_each()
            for m in bench.data.modalities
        }
        yield from _probes(bench, "frozen encoder", every)


# -- probes ------------------------------------------------------------------------------------------------------------


def _probes(bench: _Bench, model: str, vectors: dict[Modality, Embedded]) -> Iterator[TaskResult]:
    """k-NN and logistic regression for clips with one label, a modality other than text at a time."""
    label = np.array([own[0] if len(own) == 1 else "" for own in bench.labels], dtype=object)
    groups = np.asarray(bench.data.groups)
    for m, part in vectors.items():
        if m == "text":
            continue
        parts = {}
        for split in ("train", "val", bench.options.split):
            rows = np.flatnonzero((bench.data.splits[part.owner] == split) & (label[part.owner] != ""))
            parts[split] = rows, Labelled(part.vectors[rows], label[part.owner[rows]].tolist())
        train, val, (rows, test) = parts["train"][1], parts["val"][1], parts[bench.options.split]
        if not len(val) or not len(test) or len(set(train.labels)) < 2:
            continue
        owner = part.owner[rows]
        for name, probe in _PROBES.items():
            found = probe(train, val, test)
            yield TaskResult(
                task=f"{m} probe {name}",
                kind="classification",
                model=model,
                metrics=found.metrics,
                chance=found.chance,
                intervals=intervals(found.per_query, groups[owner], seed=bench.options.seed),
                counts={
                    "queries": len(test),
                    "classes": len(found.classes),
                    "groups": len(set(groups[owner].tolist())),
                },
                details={"chosen": found.chosen, "mistakes": found.mistakes()},
                per_query=found.per_query,
                keys=bench.data.ids[owner].astype(str),
                groups=groups[owner].astype(str),
            )


# -- where the numbers come from ---------------------------------------------------------------------------------------


def _trained_on(run: Path) -> str:
    path = run / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    if not config.get("library"):
        raise SeehearError(f"{run} does not say which library it was trained on: name one")
    return str(config["library"])


def _same_encoders(data: LatentData, space: SharedSpace, library: Library) -> None:
    for m, infos in space.encoders.items():
        now = {info["name"]: info["fingerprint"] for info in data.encoders[m]}
        for info in infos:
            if now[info["name"]] != info["fingerprint"]:
                raise SeehearError(
                    f"the latents of {info['name']} in {library.uri} are not of the encoder this run was trained on "
                    f"(fingerprint {now[info['name']]}, then {info['fingerprint']}): train again"
                )


def _labels(library: Library, data: LatentData) -> list[tuple[str, ...]]:
    labels = {clip.id: clip.labels for clip in library.clips("array_length(labels) > 0")}
    return [labels.get(i, ()) for i in data.ids.tolist()]


def _warnings(bench: _Bench) -> Iterator[str]:
    yield from group_warnings(bench.test.groups.tolist(), bench.options.split)
    train = set(bench.data.split("train").groups.tolist())
    shared = train & set(bench.test.groups.tolist()) if bench.options.split != "train" else set()
    if shared:
        yield f"{len(shared)} groups are in both train and {bench.options.split}: the numbers are too good"
    if not len(bench.data.split("val")):
        yield "there are no validation clips: closed forms have default settings, and there are no probes"
    if bench.options.split != "test":
        yield f"numbers on the split {bench.options.split!r} say nothing of new data: training has seen or chosen by it"


def _about(library: Library, data: LatentData, options: EvaluateOptions, command: str) -> dict[str, Any]:
    encoders = {
        m: [{k: e[k] for k in ("name", "fingerprint", "width")} for e in data.encoders[m]] for m in data.encoders
    }
    about = provenance(command) | {"code_revision": code_revision(), "seed": options.seed}
    about |= {"dataset_name": library.uri, "dataset_revision": data_revision(data.split(options.split))}
    return about | {"encoders": encoders, "clips": {s: int((data.splits == s).sum()) for s in SPLITS}}


def data_revision(data: LatentData) -> str:
    """16 hex digits over clips and latents: the same numbers can only come from the same data."""
    found = hashlib.blake2b("\n".join(data.ids.tolist()).encode(), digest_size=8)
    for m in data.modalities:
        found.update(m.encode() + data.every(m).numpy().tobytes() + data.owner(m).numpy().tobytes())
    return found.hexdigest()


def code_revision() -> str:
    """16 hex digits over this package's source."""
    folder = Path(__file__).parent.parent
    found = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.rglob("*.py")):
        found.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return found.hexdigest()
