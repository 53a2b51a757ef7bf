"""From a library to a model trained on its media: pixels, samples and words as they are, no encoder before it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seehear import distributed
from seehear.data.raw import RawMedia, load_raw
from seehear.data.raw.text import library_vocabulary
from seehear.evaluation.embedded import Embedded, unit
from seehear.methods.base import Method
from seehear.methods.diffmavil import DiffMAViL
from seehear.methods.diffmavil_config import DiffMAViLConfig
from seehear.methods.mavil import MAViL, MAViLConfig
from seehear.methods.vatt import VATT
from seehear.nn.random import seed_of
from seehear.progress import counted, hushed, say
from seehear.recipes import diffmavil, mavil
from seehear.recipes.config import MediaRun
from seehear.recipes.features import features_of
from seehear.recipes.scores import retrieval_scores
from seehear.recipes.start import Prepared, train_and_validation
from seehear.recipes.towers import Shown, save_media_model
from seehear.train.loop import TrainResult, fit
from seehear.types import Float, Modality

if TYPE_CHECKING:
    from seehear.data.library import Library


def train_media(
    library: Library, run: MediaRun[Any], folder: str | Path, *, resume: bool = False, command: str = ""
) -> TrainResult:
    """Train on the clips of a library; the model is in `folder/model`, with the vocabulary it reads texts by."""
    distributed.start()
    run = scheduled(run)
    folder, shown = Path(folder), shown_of(library, run)
    ready = prepare(library, run, shown, scored=run.data.validate_at_most)
    if distributed.rank() == 0:
        say(_about(ready, shown))
    result = fit(
        ready.method,
        ready.data,
        config=run.train,
        optim=run.optim,
        folder=folder,
        validate=ready.score,
        settings=_settings(library, run, shown) | {"command": command},
        resume=resume,
    )
    if distributed.rank() == 0:
        _save(folder / "model", ready.method.eval(), run, shown, result, clips=ready.clips)
        lost = f"; {counted(ready.data.lost, 'time')} something of a clip could not be read" if ready.data.lost else ""
        score = "" if result.score is None else f", validation score {100 * result.score:.1f} % at {result.best_step:,}"
        say(f"trained {counted(result.steps, 'step')} in {result.seconds:.0f} s{score}{lost}")
    return result


def prepare(library: Library, run: MediaRun[Any], shown: Shown, *, scored: int) -> Prepared[RawMedia]:
    """`scored`: so many clips at most are scored."""
    data, words = run.data, shown.vocabulary
    media = load_raw(library, shown.raw, vocabulary=words, where=data.where, cache=data.cache, cache_gb=data.cache_gb)
    train, validation = train_and_validation(media)
    drawn = sample(validation, scored, run.train.seed)
    return Prepared(
        method=build(run, shown),
        data=train,
        clips=len(train),
        validation=len(validation),
        score=partial(validation_score, media=drawn, run=run) if len(validation) > 1 else None,
    )


def shown_of(library: Library, run: MediaRun[Any]) -> Shown:
    """What of the library's clips the run's method is shown: the modalities that there are, and the words of the
    training texts."""
    there = present(library, run)
    raw = replace(run.raw, modalities=there)
    words = library_vocabulary(library, run.vocabulary) if "text" in there else None
    return Shown(raw=raw, windows=run.data.windows, crops=run.data.crops, vocabulary=words)


def present(library: Library, run: MediaRun[Any]) -> tuple[Modality, ...]:
    clips = library.clips(run.data.where)
    asked = [m for m in run.raw.modalities if m in run.method.modalities]
    return tuple(m for m in asked if any(clip.has(m) for clip in clips))


def build(run: MediaRun[Any], shown: Shown) -> Method:
    """The run's model as training starts."""
    words = shown.vocabulary
    config = run.method.reading(shown.raw, vocabulary=len(words) if words else 2)
    table = torch.from_numpy(words.vectors(run.vocabulary.table)) if words and run.vocabulary.table else None
    if table is not None:
        config = replace(config, word_width=table.shape[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(run.train.seed, "weights"))
        model = method_of(config)
    if table is not None and isinstance(model, VATT):
        model.load_words(table)
    if isinstance(model, MAViL):
        mavil.started(model)
    return model


def method_of(config: Any) -> Method:
    """An untrained method by its configuration."""
    if isinstance(config, DiffMAViLConfig):  # which is a MAViLConfig too
        return DiffMAViL(config)
    return MAViL(config) if isinstance(config, MAViLConfig) else VATT(config)


def scheduled(run: MediaRun[Any]) -> MediaRun[Any]:
    """With what follows from its own settings filled in: batches that follow a masking ratio."""
    return diffmavil.scheduled(run) if isinstance(run.method, DiffMAViLConfig) else run


def sample(media: RawMedia, at_most: int, seed: int) -> RawMedia:
    """A fixed draw where there are more clips."""
    if len(media) <= at_most:
        return media
    drawn = torch.randperm(len(media), generator=torch.Generator().manual_seed(seed_of(seed, "validation")))
    return media.take(drawn[:at_most].sort().values)


def validation_score(model: Method, *, media: RawMedia, run: MediaRun[Any]) -> dict[str, float]:
    """`retrieval_scores` of clips by the mean of their windows."""
    with hushed():
        features = clip_features(model, media, windows=run.data.windows, crops=run.data.crops)
    embedded = {space: placed(model, features, space) for space in model.spaces}
    return retrieval_scores(model.spaces, embedded, run.method.pairs)


def clip_features(
    model: Method, media: RawMedia, *, windows: int = 1, crops: int = 1
) -> dict[Modality, Float[np.ndarray, "n w d"]]:
    """Of every clip's views, and of its first sentence; NaN for what it has not or cannot be read."""
    features = features_of(model, media, windows=windows, crops=crops)
    if "text" in media.modalities:
        numbers_NL = torch.from_numpy(media.first_sentences())
        with torch.no_grad():
            device = next(model.parameters()).device
            parts = [model.features("text", x[:, None].to(device)).float().cpu() for x in numbers_NL.split(256)]
        features["text"] = torch.cat(parts).masked_fill(~media.has("text")[:, None], torch.nan)[:, None].numpy()
    return features


@torch.no_grad()
def placed(model: Method, features: Mapping[Modality, np.ndarray], space: str) -> dict[Modality, Embedded]:
    """Where features (N, W, D) lie in a space: the mean of a clip's windows, made unit. Clips with NaN have none."""
    device, found = next(model.parameters()).device, {}
    for m in (m for m in model.spaces[space] if m in features):
        there = np.flatnonzero(~np.isnan(features[m]).any(axis=(1, 2)))
        x_NWD = torch.from_numpy(features[m][there]).to(device)
        if len(there):
            z_NE = model.place_windows(m, x_NWD, space)
            found[m] = Embedded(unit(z_NE.float().cpu().numpy()), there)
    return found


# -- what is kept ------------------------------------------------------------------------------------------------------


def _settings(library: Library, run: MediaRun[Any], shown: Shown) -> dict[str, Any]:
    """What of a run must not change when it goes on, beside what `fit` knows."""
    where = library.uri if "://" in library.uri else str(Path(library.uri).resolve())
    data = {k: v for k, v in asdict(run.data).items() if not k.startswith("cache")}
    return {"recipe": run.recipe, "library": where, "data": data, "shown": shown.plain()}


def _save(folder: Path, model: Method, run: MediaRun[Any], shown: Shown, result: TrainResult, *, clips: int) -> None:
    training = {"recipe": run.recipe, "clips": clips, "step": result.best_step, "seconds": round(result.seconds, 1)}
    save_media_model(folder, model, shown, {"metrics": result.metrics, "training": training})


def _about(ready: Prepared[RawMedia], shown: Shown) -> str:
    model = ready.method
    words = f", {counted(len(shown.vocabulary), 'word')}" if shown.vocabulary else ""
    spaces = ", ".join(f"{name} ({', '.join(held)})" for name, held in model.spaces.items())
    parameters = sum(p.numel() for p in model.parameters())
    raw, looked = shown.raw, ""
    if "video" in raw.modalities:
        part = "" if raw.region == (0.0, 0.0, 1.0, 1.0) else f" of the part {raw.region} (--raw.region) of each"
        looked = f"; {raw.frames} pictures of {raw.size} pixels{part}, {raw.fps:g} a second"
        looked += ", what moves in them (--raw.motion)" if raw.motion else ""
    clips = f"{counted(ready.clips, 'clip')} to train on, {ready.validation:,} to validate"
    return f"{clips}{words}{looked}; {spaces}; {parameters:,} parameters"
