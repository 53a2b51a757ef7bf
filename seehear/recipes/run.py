"""From a library and a run to a trained model in a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seehear import distributed
from seehear.data.contexts import ContextData, contexts
from seehear.data.latents import LatentData, load_latents
from seehear.errors import SeehearError, unknown
from seehear.evaluation.embedded import embed_latents
from seehear.methods.base import Method
from seehear.methods.fusemix import FuseMixConfig
from seehear.methods.mcn import MCNConfig
from seehear.nn.random import seed_of
from seehear.progress import counted, say
from seehear.recipes import diffmavil, fusemix, mavil, mcn, vatt
from seehear.recipes.config import DataConfig, MediaRun, Run
from seehear.recipes.media import train_media
from seehear.recipes.scores import retrieval_scores
from seehear.recipes.start import Prepared, train_and_validation
from seehear.train.files import has_model, save_model
from seehear.train.loop import TrainResult, fit
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.data.library import Library

__all__ = [
    "RECIPES",
    "DataConfig",
    "Run",
    "latents_recipe",
    "recipe",
    "train_latents",
    "train_run",
    "validation_score",
]

RECIPES: dict[str, Callable[[], Run[Any] | MediaRun[Any]]] = {
    "fusemix": fusemix.base,
    "fusemix.base": fusemix.base,
    "fusemix.paper": fusemix.paper,
    "mcn": mcn.base,
    "mcn.base": mcn.base,
    "mcn.tiny": mcn.tiny,
    "mcn.paper": mcn.paper,
    "vatt": vatt.tiny,
    "vatt.tiny": vatt.tiny,
    "vatt.small": vatt.small,
    "vatt.paper": vatt.paper,
    "mavil": mavil.tiny,
    "mavil.tiny": mavil.tiny,
    "mavil.small": mavil.small,
    "mavil.base": mavil.base,
    "diffmavil": diffmavil.tiny,
    "diffmavil.tiny": diffmavil.tiny,
    "diffmavil.small": diffmavil.small,
    "diffmavil.base": diffmavil.base,
}


def recipe(name: str) -> Run[Any] | MediaRun[Any]:
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]()


def latents_recipe(name: str) -> Run[Any]:
    """One that trains on latents."""
    run = recipe(name)
    if isinstance(run, MediaRun):
        raise SeehearError(f"recipe {name!r} trains on media, and not on latents: choose fusemix or mcn")
    return run


def train_run(
    library: Library,
    run: Run[Any] | MediaRun[Any],
    folder: str | Path,
    *,
    resume: bool = False,
    command: str = "",
) -> TrainResult:
    """Train on the library's latents, or on its media; the model is in `folder/model`. `command` is noted there."""
    if isinstance(run, MediaRun):
        return train_media(library, run, folder, resume=resume, command=command)
    distributed.start()
    data, training = load(library, run)
    where = library.uri if "://" in library.uri else str(Path(library.uri).resolve())
    return train_latents(data, run, folder, resume=resume, library=where, training=training, command=command)


def load(library: Library, run: Run[Any]) -> tuple[LatentData, ContextData | None]:
    """A run's latents, and what is learned from where that is not the clips of the split 'train' themselves."""
    c = run.data
    sequences = isinstance(run.method, MCNConfig)
    data = load_latents(library, encoders=c.encoders or None, where=c.where, sequences=sequences)
    return data, contexts(library, data.split("train"), c.contexts) if c.contexts.clips_per_video else None


def train_latents(
    data: LatentData,
    run: Run[Any],
    folder: str | Path,
    *,
    resume: bool = False,
    library: str = "",
    training: ContextData | None = None,
    command: str = "",
) -> TrainResult:
    """The same for latents that are at hand: a shard, arrays. Splits 'train' and 'val' are used, 'test' never.
    `library` is noted in the run: evaluation and search find it there. `training`: as `load` gives it."""
    ready = prepare(data, run, training)
    if distributed.rank() == 0:
        made = "" if training is None else f"{len(training):,} training clips an epoch of "
        clips = f"{made}{counted(ready.clips, 'clip')} to train on, {ready.validation:,} to validate"
        say(f"{clips}; {_shape(ready.method)}")
        if ready.score is None:
            say("no validation clips: training runs to its end, and its last weights are kept")
    settings = {"recipe": run.recipe, "library": library, "data": asdict(run.data), "encoders": data.encoders}
    result = fit(
        ready.method,
        ready.data,
        config=run.train,
        optim=run.optim,
        folder=folder,
        validate=ready.score,
        settings=settings | {"command": command},
        resume=resume,
    )
    if distributed.rank() == 0:
        save_model(Path(folder) / "model", ready.method, _facts(data, run, result, clips=ready.clips))
        say(_summary(result))
    return result


def prepare(data: LatentData, run: Run[Any], training: ContextData | None = None) -> Prepared[LatentData | ContextData]:
    train, validation = train_and_validation(data)
    scored = None
    if len(validation) > 1:
        scored = validation.sample(run.data.validate_at_most, seed_of(run.train.seed, "validation"))
    learned = train if training is None else training
    return Prepared(
        method=build(run, train, validation if len(validation) > 1 else None),
        data=learned.to(distributed.device(run.train.device)) if run.data.resident else learned,
        clips=len(train),
        validation=len(validation),
        score=None if scored is None else partial(validation_score, data=scored, pairs=run.method.pairs),
    )


def finish(data: LatentData, run: Run[Any], folder: Path, *, library: str = "") -> None:
    """Train where the folder has no model yet; a run that was stopped goes on."""
    if not has_model(folder / "model"):
        train_latents(data, run, folder, resume=(folder / "config.json").exists(), library=library)


def build(run: Run[Any], train: LatentData, validation: LatentData | None) -> Method:
    """The run's model as training starts."""
    if isinstance(run.method, FuseMixConfig):
        return fusemix.build(run.method, train, validation, seed=run.train.seed)
    sizes = run.train.batch_size
    batch = sizes if isinstance(sizes, int) else min(sizes)
    return mcn.build(run.method, train, seed=run.train.seed, batch_size=batch)


def validation_score(
    model: Method, *, data: LatentData, pairs: tuple[tuple[Modality, Modality], ...] = ()
) -> dict[str, float]:
    """`retrieval_scores` of latents."""
    embedded = {space: embed_latents(model, data, space=space) for space in model.spaces}
    return retrieval_scores(model.spaces, embedded, pairs)


def _shape(model: Method) -> str:
    modalities = ", ".join(f"{m} {w}" for m, w in model.config.widths.items())
    spaces = "" if len(model.spaces) == 1 else f" in {len(model.spaces)} spaces ({', '.join(model.spaces)})"
    return f"{modalities} -> {model.config.dim}{spaces}, {sum(p.numel() for p in model.parameters()):,} parameters"


def _facts(data: LatentData, run: Run[Any], result: TrainResult, *, clips: int) -> dict[str, Any]:
    facts = {"recipe": run.recipe, "clips": clips, "step": result.best_step, "seconds": round(result.seconds, 1)}
    return {"encoders": data.encoders, "metrics": result.metrics, "training": facts}


def _summary(result: TrainResult) -> str:
    score = (
        "" if result.score is None else f", validation score {100 * result.score:.1f} % at step {result.best_step:,}"
    )
    return f"trained {counted(result.steps, 'step')} in {result.seconds:.0f} s{score}"
