"""Fine-tuning of a tower of a trained run to labels, and its evaluation on held-out clips.

Validation clips, if any, choose the weights; test clips are evaluated once, in several views.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from seehear import distributed
from seehear.downstream.labels import LabelledClips, LabelledMedia, labelled
from seehear.downstream.measure import logits_of, result_of, scores
from seehear.downstream.presets import FineTune
from seehear.errors import SeehearError
from seehear.evaluation.multilabel import usable_classes
from seehear.evaluation.report import EvaluationReport, provenance
from seehear.evaluation.results import TaskResult
from seehear.inputs.raw import RawConfig, load_raw
from seehear.library.tables import LibraryTables
from seehear.methods.base import Method, make_method, modalities_of, tower_features
from seehear.methods.classifier import Classifier, ClassifierConfig, unneeded
from seehear.methods.vatt_layers import Positions, resampled
from seehear.nn.random import seed_of
from seehear.progress import hushed, say
from seehear.runs.config import library_place
from seehear.runs.evaluate import code_revision
from seehear.runs.features import check_towers
from seehear.space.saved import InputSpec
from seehear.train.config import RunFolder
from seehear.train.files import save_model
from seehear.train.loop import TrainResult, fit
from seehear.types import Batch, Modality, Tensor

# Clips above which decoding processes are worth their start.
_MANY = 500


def finetune(
    model: Pretrained,
    library: LibraryTables,
    label: str,
    settings: FineTune,
    folder: str | Path | RunFolder,
    *,
    command: str = "",
) -> EvaluationReport | None:
    """The report on the test clips; None without any, and in other processes than the first. Saves the classifier in
    `folder/model` and the report in `folder`: a path for a new run, a `RunFolder` for one to resume."""
    distributed.start()
    opened = folder if isinstance(folder, RunFolder) else RunFolder(Path(folder))
    tower, parts, several = _data(model, library, label, settings)
    train, classes = parts["train"], parts["train"].classes()
    made = classifier(model, settings, classes, tower=tower, several=several)
    scored, tested = (_measurable(parts[name], classes, several) for name in ("val", "test"))
    if distributed.rank() == 0:
        _announce(made, parts, label, tested)
    result = fit(
        made,
        LabelledMedia(train, classes, drawn=(settings.drawn or len(train)) if settings.balanced else 0),
        config=settings.train,
        optim=settings.optim,
        folder=replace(opened, settings=_noted(model, library, label, settings)),
        # Audio-MAE keeps the weights that are best on the test set: here validation clips choose.
        validate=partial(_validate, labelled=scored, settings=settings) if scored is not None else None,
    )
    # Only one process evaluates and writes.
    if distributed.rank() != 0:
        return None
    # Before the test: whatever happens there, the trained classifier is saved.
    _save(made.eval(), opened.path / "model", model.raw, settings, label, result)
    if tested is None:
        return None
    about = provenance(command) | {"code_revision": code_revision(), "dataset_name": library.uri}
    about |= {"model_name": str(opened.path)}
    report = EvaluationReport(split="test", results=(_measured(made, tested, settings, label),), about=about)
    report.save(opened.path)
    return report


def _measurable(part: LabelledClips, classes: Sequence[str], several: bool) -> LabelledClips | None:
    # With several labels a clip, a class is measurable only if some clips have it and others have not.
    return part if (len(usable_classes(part.truth(classes))) if several else len(part)) else None


def _measured(made: Classifier, tested: LabelledClips, settings: FineTune, label: str) -> TaskResult:
    logits_NC = logits_of(
        made,
        tested,
        windows=settings.windows,
        crops=settings.crops,
        workers=settings.train.workers,
        precision=settings.train.precision,
    )
    model = f"{made.config.method} {'from scratch' if settings.scratch else 'fine-tuned'}"
    task, classes, several = f"{made.config.tower}->{label}", made.config.classes, made.config.several
    found = result_of(logits_NC, tested, classes, several=several, task=task, model=model)
    details = {"preset": settings.preset, "windows": settings.windows, "crops": settings.crops}
    return replace(found, details=details | found.details)


def _data(
    model: Pretrained, library: LibraryTables, label: str, settings: FineTune
) -> tuple[str, dict[str, LabelledClips], bool]:
    """(tower, labelled clips with its modalities by split, whether some clip has several labels)"""
    there = model.modalities_in(library, settings.where)
    tower = settings.tower or "+".join(there)
    check_towers((tower,), there)
    raw = replace(settings.clips.of(model.raw), modalities=modalities_of(tower))
    media = load_raw(library, raw, where=settings.where, cache=settings.cache)
    data = labelled(library, media, label, tower=tower)
    parts = data.parts(settings.fold)
    train, classes = parts["train"], parts["train"].classes()
    if len(classes) < 2:
        found = f"all are {classes[0]!r}" if classes else "there are none"
        raise SeehearError(f"{library.uri}: the training clips have no two classes of {label!r}: {found}")
    if len(train) < 2:
        raise SeehearError(f"{library.uri}: training needs two clips with a label {label!r}; there is {len(train)}")
    return tower, parts, data.several


def _validate(method: Any, *, labelled: LabelledClips, settings: FineTune) -> dict[str, float]:
    """Validation metrics from one view, the middle of a clip."""
    with hushed():
        # Scored often, of few clips: starting processes would take longer than decoding.
        workers = settings.train.workers if len(labelled) > _MANY else 0
        logits_NC = logits_of(method, labelled, workers=workers, precision=settings.train.precision)
    return scores(logits_NC, labelled, method.config.classes, several=method.config.several)


def _noted(model: Pretrained, library: LibraryTables, label: str, settings: FineTune) -> dict[str, Any]:
    """Settings that must not change when a run is resumed, besides those that `fit` checks."""
    names = ("preset", "balanced", "drawn", "scratch", "fold", "where")
    return {
        "recipe": f"finetune {settings.preset}",
        "library": library_place(library),
        "from": model.run,
        "label": label,
        "shown": asdict(settings.clips.of(model.raw)),
        "finetune": {name: getattr(settings, name) for name in names},
    }


def _save(made: Classifier, folder: Path, raw: RawConfig, settings: FineTune, label: str, result: TrainResult) -> None:
    inputs = InputSpec(raw=settings.clips.of(raw), windows=settings.windows, crops=settings.crops)
    training = {"step": result.best_step, "seconds": round(result.seconds, 1)}
    facts = {"shown": inputs.plain(), "label": label, "metrics": result.metrics, "training": training}
    metrics = "".join(f"| {name} | {value:.4f} |\n" for name, value in result.metrics.items())
    card = (
        "---\nlibrary_name: seehear\ntags: [classification]\n---\n\n"
        f"# {label} from {made.config.tower}\n\nA tower of {made.config.method} with a map to "
        f"{len(made.config.classes)} classes: {', '.join(made.config.classes)}.\n\n"
        "```python\nfrom seehear.space import load_method\n\n"
        'classifier, config, inputs = load_method("path/to/this/folder")\n```\n\n'
        "## Validation\n\n| metric | value |\n|---|---|\n" + metrics
    )
    save_model(folder, made, facts, card=card)


def _announce(made: Classifier, parts: dict[str, LabelledClips], label: str, tested: LabelledClips | None) -> None:
    counts = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    learning = sum(p.numel() for p in made.parameters() if p.requires_grad)
    kind = "labels, several a clip" if made.config.several else "classes"
    say(f"{label}: {len(made.config.classes):,} {kind}, clips {counts}; {made.config.tower}, {learning:,} parameters")
    if tested is None:
        say("no test clips with these labels: the classifier is trained, and nothing is measured")


# ----------------------------------------------------------------------------------------------------------------------
# A classifier from a tower of a trained run: for clips of other sizes, without the parts that it does not need.


@dataclass(frozen=True)
class Pretrained:
    """A trained model of raw media."""

    method: Method
    raw: RawConfig
    """Input specification of its training."""
    run: str
    """Run that it was loaded from."""

    def modalities_in(self, library: LibraryTables, where: str | None) -> list[Modality]:
        """Modalities that a tower can have, and some clip of the library."""
        clips = library.clips(where)
        return [m for m in self.raw.modalities if m != "text" and any(clip.has(m) for clip in clips)]

    @classmethod
    def load(cls, run: str | Path) -> Pretrained:
        from seehear.space import load_method

        method, _, shown = load_method(run)
        # A classifier has dropped what another tower would need.
        if isinstance(method, Classifier):
            raise SeehearError(f"{run} is a classifier already: name the run that it was made from")
        if shown is None:
            raise SeehearError(f"{run}: {method.name} reads latents, not media: 'seehear evaluate' has its probes")
        return cls(method, shown.raw, str(run))


def classifier(
    model: Pretrained, settings: FineTune, classes: Sequence[str], *, tower: str, several: bool
) -> Classifier:
    """A classifier before its training: the tower with the model's weights, or random ones with `settings.scratch`."""
    raw = settings.clips.of(model.raw)
    config = _settings(model, raw, settings)
    # The caller's generator stays as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(settings.train.seed, "weights"))
        made = make_method(model.method.name, asdict(config))
        if not settings.scratch:
            adopt(made, model.method)
        clip = nothing(raw, modalities_of(tower))
        # The width of the features follows from a dry run: towers do not state it.
        with torch.no_grad():
            width = tower_features(made, tower, clip).shape[1]
        described = ClassifierConfig(
            classes=tuple(classes),
            width=width,
            several=several,
            tower=tower,
            method=made.name,
            model=asdict(config),
            left_out=unneeded(made, tower, clip),
            learning=settings.learning,
        )
        return Classifier(described, made)


def _settings(model: Pretrained, raw: RawConfig, settings: FineTune) -> Any:
    """The model's configuration for clips read by `raw`, with changed settings."""
    config, learning = model.method.config, settings.learning
    names = {f.name for f in fields(config)}
    changed = settings.clips.of_model()
    if "keep" in names:
        # DropToken of pre-training is off unless asked for, as in VATT's paper; its code leaves it on.
        changed["keep"] = dict.fromkeys(("video", "audio"), learning.keep)
    elif learning.keep < 1:
        raise SeehearError(f"{model.method.name} drops no tokens by learning.keep: leave it at 1")
    if learning.drop_path:
        changed["drop_path"] = learning.drop_path
    for name in changed:
        if name not in names:
            raise SeehearError(f"{model.method.name} has no {name}: leave that option out")
    # The tower of words is left out, but the model is made whole to take the trained weights.
    words = getattr(config, "vocabulary", 2)
    return replace(config.reading(replace(raw, modalities=model.raw.modalities), vocabulary=words), **changed)


@torch.no_grad()
def adopt(model: Method, trained: Method) -> None:
    """Copies the weights of the same model with other sizes; positions are interpolated to its own grid."""
    state = trained.own_state()
    old = dict(trained.named_modules())
    for name, module in model.named_modules():
        before = old.get(name)
        if isinstance(module, Positions) and isinstance(before, Positions) and module.counts != before.counts:
            tables = before.table.split(before.counts)
            # Positions of another resolution or length: interpolated once, and learned on from there.
            parts = [resampled(table, count) for table, count in zip(tables, module.counts, strict=True)]
            state[f"{name}.table"] = torch.cat(parts)
    model.load_state_dict(state)


def nothing(raw: RawConfig, modalities: Sequence[Modality]) -> Batch:
    """A batch of one clip of zeros."""
    found: dict[Modality, Tensor] = {
        "video": torch.zeros(1, raw.frames, raw.size, raw.size, 3, dtype=torch.uint8),
        "audio": torch.zeros(1, raw.samples),
    }
    here = {f"has_{m}": torch.ones(1, dtype=torch.bool) for m in modalities}
    return {m: found[m] for m in modalities} | here
