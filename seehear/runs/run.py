"""From a library and a run to a trained model in a folder: one path, whatever the method reads. `choose` names the
default recipe of a library."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear import distributed
from seehear.errors import SeehearError
from seehear.inputs.loader import TrainingData
from seehear.library.locking import learning
from seehear.library.records import learned_texts
from seehear.library.transcripts import machine_made
from seehear.methods.base import Method
from seehear.nn.random import seed_of
from seehear.progress import counted, say
from seehear.runs.config import Inputs, Run, presets, recipes
from seehear.runs.scores import add_last_layer, clip_scores, retrieval_scores
from seehear.runs.verdict import (
    CLOSED_FORM,
    FROZEN_SPACE,
    Directions,
    Verdict,
    closed_form_scores,
    examples,
    frozen_scores,
    frozen_spaces,
    judge,
)
from seehear.space.frozen import frozen_method, frozen_towers
from seehear.train.config import RunFolder
from seehear.train.files import ROUNDS, has_model, save_model
from seehear.train.loop import TrainResult, Validate, fit
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.library.tables import Clip, LibraryTables


def train_run(
    library: LibraryTables,
    run: Run[Any, Any],
    folder: str | Path,
    *,
    resume: bool = False,
    command: str = "",
    keep_best: bool = False,
) -> TrainResult:
    """Trains on the library's latents or media; the model is in `folder/model`, compared on the validation clips with
    the closed form and the library's frozen spaces (`verdict.py`). `keep_best`: the folder holds a frozen space that is
    better. `command` is noted in config.json."""
    distributed.start()
    # Before clips are loaded, a start is chosen and earlier rounds are trained, which takes minutes to days.
    distributed.from_first(RunFolder(Path(folder), resume=resume).check)
    # Only a recipe that `seehear train` chose takes the lock: recipes named by users may train side by side.
    with learning(library.uri) if keep_best and distributed.rank() == 0 else nullcontext():
        inputs = run.data.load(library, run.method)
        texts = [text for clip in library.clips("split = 'train'") for text in learned_texts(clip)]
        made = machine_made(library, texts) if "text" in inputs.clips.modalities else ""
        if made and distributed.rank() == 0:
            say(f"learns from machine-made texts: {made}")
        rivals = Rivals(library, keep_best=keep_best)
        return train_on(inputs, run, folder, resume=resume, command=command, rivals=rivals)


def train_on(
    inputs: Inputs,
    run: Run[Any, Any],
    folder: str | Path,
    *,
    resume: bool = False,
    command: str = "",
    rivals: Rivals | None = None,
) -> TrainResult:
    """Trains on loaded clips, such as `LatentInputs` of a shard or of arrays; without `rivals` nothing is compared.

    All rounds are trained; most runs have one. Earlier rounds are runs in the subfolder `rounds`: a resumed run passes
    through finished ones, which checks their settings and trains nothing."""
    folder = Path(folder)
    for number in range(1, run.method.rounds):
        place = folder / ROUNDS / str(number)
        if distributed.rank() == 0:
            say(f"round {number} of {run.method.rounds}, in {place}")
        _train_round(inputs, run, place, resume=resume, command=command)
        # The first process has written the model that teaches the next round.
        distributed.barrier()
        run = replace(run, method=replace(run.method, teacher=str(place.resolve())))
    return _train_round(inputs, run, folder, resume=resume, command=command, rivals=rivals)


def _train_round(
    inputs: Inputs,
    run: Run[Any, Any],
    folder: Path,
    *,
    resume: bool,
    command: str,
    rivals: Rivals | None = None,
) -> TrainResult:
    ready = prepare(inputs, run)
    run, first = ready.run, distributed.rank() == 0
    if first:
        say(_about(ready, inputs))
        if ready.score is None:
            say("no validation clips: training runs to its end, and its last weights are kept")
    # The closed form that training starts from is its first rival: kept aside before `fit` changes it.
    start = deepcopy(ready.method) if rivals is not None and run.method.starts_closed else None
    settings = inputs.settings(run.data) | {"recipe": run.recipe, "library": inputs.library, "command": command}
    kept = RunFolder(folder, settings=settings, resume=resume)
    result = fit(ready.method, ready.data, config=run.train, optim=run.optim, folder=kept, validate=ready.score)
    return _save(ready, inputs, result, rivals, start) if first else result


def _save(
    ready: Prepared, inputs: Inputs, result: TrainResult, rivals: Rivals | None, start: Method | None
) -> TrainResult:
    """Adds the last layer, compares with the rivals and saves the model; returns the result of the saved one."""
    run, last = ready.run, dict[str, dict[str, Any]]()
    if ready.score is not None:
        last = add_last_layer(ready.method.eval(), inputs, ready.drawn, run.method.pairs, seed=run.train.seed)
    if last and ready.score is not None:
        # The metrics are those of the model that is saved.
        metrics = ready.score(ready.method)
        result = replace(result, metrics=metrics, score=metrics["score"])
        say("; ".join(f"{made['form']} as last layer of {space}" for space, made in last.items()))
    training: dict[str, Any] = {"recipe": run.recipe, "clips": ready.clips, "step": result.best_step}
    training |= {"seconds": round(result.seconds, 1)} | ({"last_layer": last} if last else {})
    facts = {"metrics": result.metrics, "training": training}
    at = "" if result.score is None else f", validation score {100 * result.score:.1f} % at {result.best_step:,}"
    say(f"trained {counted(result.steps, 'step')} in {result.seconds:.0f} s{at}{inputs.lost()}")
    method, own = ready.method.eval(), inputs.facts(ready.method)
    if rivals is not None and ready.score is not None:
        verdict, method, own = _compare(ready, inputs, rivals, start)
        facts |= {} if verdict is None else {"verdict": verdict.plain()}
    save_model(result.folder / "model", method, {**own, **facts}, files=inputs.files)
    return result


@dataclass(frozen=True)
class Rivals:
    """Models of a library that a trained one is compared with."""

    library: LibraryTables
    keep_best: bool = False
    """The run holds the best of them where training is no better."""


def _compare(
    ready: Prepared, inputs: Inputs, rivals: Rivals, start: Method | None
) -> tuple[Verdict | None, Method, dict[str, Any]]:
    """Returns (verdict, model that the run keeps, its record of encoders for config.json)."""
    library, keep_best = rivals.library, rivals.keep_best
    clips, pairs, trained = ready.drawn, ready.run.method.pairs, ready.method

    def scores(model: Method) -> Directions:
        return clip_scores(model.spaces, inputs.vectors(model, clips), pairs)

    if start is not None:
        # Kept on the CPU during training, where it takes no memory of the device.
        start.to(distributed.device(ready.run.train.device)).eval()
        closed = scores(start)
    else:
        closed = closed_form_scores(library, ready.run.data.where, clips.ids)
    spaces = {f"{FROZEN_SPACE} {name}": towers for name, towers in frozen_spaces(library).items()}
    others = {CLOSED_FORM: closed} | {name: frozen_scores(library, t, clips.ids) for name, t in spaces.items()}
    others, ours = {name: found for name, found in others.items() if found}, scores(trained)
    verdict = judge(ours, others, np.asarray(clips.groups))
    if verdict is None:
        return None, trained, inputs.facts(trained)
    learned = verdict.best == CLOSED_FORM and keep_best and start is not None
    # Without learning the library is searched by its frozen spaces, each direction by the best that knows it.
    before: Directions = {}
    for standing in verdict.standings:
        before = {**others[standing.name], **before} if standing.name in spaces else before
    better, worse = examples(before, closed if learned else ours, clips.ids.tolist())
    verdict = replace(verdict, better=better, worse=worse)
    if keep_best and verdict.best in spaces:
        towers = spaces[verdict.best]
        return replace(verdict, kept=verdict.best), frozen_method(towers), {"encoders": towers}
    if learned and start is not None:
        return replace(verdict, kept=CLOSED_FORM), start, inputs.facts(start)
    return verdict, trained, inputs.facts(trained)


def finish(inputs: Inputs, run: Run[Any, Any], folder: Path) -> None:
    """Trains or resumes unless the folder has a model."""
    if not has_model(folder / "model"):
        train_on(inputs, run, folder, resume=(folder / "config.json").exists())


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A run ready to start, for training and for an estimate of its cost (`estimate`)."""

    run: Run[Any, Any]
    """The run with derived settings filled in: batch sizes that follow from a masking ratio."""
    method: Method
    data: TrainingData
    """Training data."""
    clips: int
    """Clips of the split 'train'."""
    validation: int
    """Clips of the split 'val'."""
    scored: int
    """Number of validation clips that are scored."""
    drawn: Any
    """The validation clips that are scored."""
    score: Validate | None
    """Scores the model on `drawn`; None where there are too few clips."""


def prepare(inputs: Inputs, run: Run[Any, Any], *, scored: int | None = None) -> Prepared:
    """Model, data and validation of a run. `scored`: most validation clips to score; by default as the run sets it."""
    # First: batch sizes decide how many steps there are.
    run = run.method.scheduled(run)
    if (clips := len(inputs.train)) < 2:
        raise SeehearError(f"training needs two clips of the split 'train' with two modalities; there are {clips}")
    # By the seed of the run: every evaluation scores the same clips, after a resume too.
    drawn = inputs.validation.sample(scored or run.data.validate_at_most, seed_of(run.train.seed, "validation"))
    return Prepared(
        run=run,
        method=build(inputs, run),
        data=inputs.learned_from(run.data, distributed.device(run.train.device)),
        clips=clips,
        validation=len(inputs.validation),
        scored=len(drawn),
        drawn=drawn,
        score=partial(validation_score, inputs=inputs, clips=drawn, pairs=run.method.pairs) if len(drawn) > 1 else None,
    )


def build(inputs: Inputs, run: Run[Any, Any]) -> Method:
    """The run's model before training."""
    sizes, config = run.train.batch_size, run.method
    # MCN, whose clusters are limited by a batch, must get along with the smallest one.
    smallest = sizes if isinstance(sizes, int) else min(sizes)
    made: Method = presets(config.name).build(config, inputs, seed=run.train.seed, batch_size=smallest)
    return made


def validation_score(
    model: Method, *, inputs: Inputs, clips: Any, pairs: tuple[tuple[Modality, Modality], ...] = ()
) -> dict[str, float]:
    """`retrieval_scores` of clips of the inputs."""
    return retrieval_scores(model.spaces, inputs.vectors(model, clips), pairs)


def _about(ready: Prepared, inputs: Inputs) -> str:
    model, spaces = ready.method, []
    for name, held in ready.method.spaces.items():
        spaces.append(f"{name} ({', '.join(held)})")
    parameters = sum(p.numel() for p in model.parameters())
    # Contexts and rows by text make an epoch longer than its clips.
    rows = "" if len(ready.data) == ready.clips else f" ({len(ready.data):,} rows an epoch)"
    clips = f"{counted(ready.clips, 'clip')} to train on{rows}, {ready.validation:,} to validate"
    return f"{clips}; {inputs.about(model)}; {', '.join(spaces)}; {parameters:,} parameters"


# ----------------------------------------------------------------------------------------------------------------------
# Default recipe of a library: the user's words where there are enough, else pictures with sound, else none.

FEWEST_TRAINING, FEWEST_VALIDATION = 100, 10
"""Fewest clips with two modalities to learn from: with fewer validation clips everything is among the first ten."""
OWN_WORDS, BIND = "fusemix", "fusemix.bind"


@dataclass(frozen=True)
class Choice:
    recipe: str
    """Empty: there is too little to learn from."""
    why: str


def choose(library: LibraryTables) -> Choice:
    clips = library.clips()
    worded = [c for c in clips if any(not text.by for text in learned_texts(c)) and (c.has_video or c.has_audio)]
    sounding = [c for c in clips if c.has_video and c.has_audio]
    if _enough(worded):
        return Choice(OWN_WORDS, f"{counted(len(worded), 'clip')} with words of your own")
    if _enough(sounding):
        why = f"{counted(len(sounding), 'clip')} with picture and sound, without words of your own"
        # Bound is into a space that words reach; where none is frozen, pictures and sounds can still find each other.
        joint = any({"video", "text"} <= towers.keys() for towers in frozen_towers(library.encoders()).values())
        return Choice(BIND if joint and BIND in recipes() else OWN_WORDS, why)
    films = len({clip.source for clip in sounding})
    found = [f"{counted(films, 'film')} with sound"]
    found += [f"{counted(len(worded), 'clip')} with words of your own"] if worded else []
    return Choice("", f"{' and '.join(found)}: too few to learn from; searched as they are")


def _enough(clips: Sequence[Clip]) -> bool:
    splits = [clip.split for clip in clips]
    return splits.count("train") >= FEWEST_TRAINING and splits.count("val") >= FEWEST_VALIDATION
