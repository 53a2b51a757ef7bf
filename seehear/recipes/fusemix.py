"""Runs of FuseMix, and its model before training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from seehear.inputs.latents import LatentData
from seehear.inputs.raw import RawConfig
from seehear.methods import linear, tuning
from seehear.methods.base import seeded
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.methods.tuning import TuningFold, bound, tuned_blocks, tuned_bound
from seehear.nn.random import seed_of
from seehear.progress import say
from seehear.recipes.tuned import TunedConfig, frozen_start
from seehear.runs.closed_forms import folds, training_moments, validation_rows
from seehear.runs.config import Run
from seehear.runs.data import LatentInputs, LatentsConfig, MediaInputs
from seehear.space.frozen import Towers
from seehear.train.loop import TrainConfig
from seehear.train.optim import OptimConfig
from seehear.types import Modality

_ROWS_TO_FIT = 200_000  # enough clips for means, deviations and covariances


def paper() -> Run[LatentsConfig, FuseMixConfig]:
    """FuseMix as its authors released it: section 5.1 of arXiv 2312.10144's code. For millions of pairs, one for each
    text; latents stay in the memory of the machine and not of the device, a card of 32 GB. Captions are encoded as the
    authors cleaned them by an encoder with the option `clean=captions`.

    seehear train LIB fusemix.paper
    """
    return Run(
        recipe="fusemix.paper",
        data=LatentsConfig(per_text=True, resident=False),
        method=FuseMixConfig(standardise=False, mask_duplicates=False),
        optim=OptimConfig(
            lr=1e-3, floor=1e-6, schedule="epoch_cosine", warmup_steps=100, warmup_from=1e-6, weight_decay=0.1
        ),
        train=TrainConfig(epochs=500, batch_size=40_960, evaluations=500, seed=42),
    )


def base() -> Run[LatentsConfig, FuseMixConfig]:
    """FuseMix on a head that starts as the closed form best on validation, with a low learning rate: for hundreds to a
    million pairs. Reasons and results: docs/methods/fusemix.md.

    seehear train LIB fusemix
    """
    return Run(
        recipe="fusemix.base",
        data=LatentsConfig(),
        method=FuseMixConfig(head="skip", depth=1, expansion=2, linear_lr=0.03, mix="permutation", lambda_per="row"),
        optim=OptimConfig(lr=1e-3, floor=1e-6, weight_decay=0.1, warmup=0.05),
        train=TrainConfig(epochs=150, batch_size=1024, evaluations=30, patience=8, fast_matmul=True),
    )


def bind() -> Run[LatentsConfig, FuseMixConfig]:
    """Sounds bound to the space of pictures and words of a joint encoder, from pictures and sounds that occur together
    in the library; no text is needed. That space is frozen, so words find sounds without descriptions. Results:
    docs/methods/fusemix.md.

    seehear train LIB fusemix.bind
    """
    run = base()
    return replace(run, recipe="fusemix.bind", data=replace(run.data, joint=""))


def tuned() -> Run[TunedConfig, FuseMixConfig]:
    """`fusemix.base` whose encoders learn too, from the media themselves: linear maps of hub models at low rank, the
    last block of packaged encoders. Slow: every step decodes and encodes. Its gain is not measured
    yet (docs/methods/fusemix.md).

    seehear train LIB fusemix.tuned --data.cache CACHE
    """
    run = base()
    encoders: dict[Modality, str] = {"video": "efficientnet-lite0", "audio": "aisfx", "text": "minilm"}
    still = RawConfig(
        frames=4, fps=2.0, crop=(0.7, 1.0), aspect=(0.85, 1.18), jitter=0.0, noise=0.0, contexts=1, words=256
    )
    return Run(
        recipe="fusemix.tuned",
        data=TunedConfig(raw=still, windows=2),
        method=replace(run.method, encoders=encoders),
        optim=replace(run.optim, clip=1.0),
        train=replace(run.train, epochs=20, batch_size=256, micro_batch=32, evaluations=20, patience=6),
    )


PRESETS = {"base": base, "bind": bind, "paper": paper, "tuned": tuned}


def build(config: FuseMixConfig, inputs: LatentInputs | MediaInputs, *, seed: int, batch_size: int = 0) -> FuseMix:
    """The model as training starts: widths, standardisation and closed-form start from the training clips; the closed
    form's shrinkage and rank from the validation clips, where there are any."""
    if config.encoders:
        config, inputs = frozen_start(config, inputs, seed)
    assert isinstance(inputs, LatentInputs)
    train, validation = inputs.train, inputs.validation
    blocks = {m: w for m, w in train.widths.items() if len(w) > 1} if config.standardise else {}
    config = replace(config, widths=_widths(inputs), blocks=blocks, **_locked(inputs))
    model = seeded(FuseMix, config, seed)
    latents, present = train.sample(_ROWS_TO_FIT, seed_of(seed, "rows to fit")).aligned()
    start = None
    if config.locked and len(validation) < 2:
        start = bound(training_moments(train, pairs=config.pairs or None), locked=config.locked)
    elif config.head != "adapter" and len(validation) > 1:
        start = _closed_start(config, inputs)
        settings = ", ".join(f"{k} {v}" for k, v in start.settings.items())
        say(f"starts from {start.name}, {settings}: best on validation{f', {start.sure}' if start.sure else ''}")
    return model.fit(latents, present, start=start)


def start_of(config: FuseMixConfig, data: LatentData, *, locked: Towers | None = None) -> linear.LinearMaps:
    """The closed form that a run on this data starts from: the baseline of its training. `locked`: towers of a frozen
    joint space."""
    inputs = LatentInputs(data, locked=locked or {})
    config = replace(config, widths=_widths(inputs), **_locked(inputs))
    return _closed_start(config, inputs)


def _widths(inputs: LatentInputs) -> dict[Modality, int]:
    return {m: sum(int(e["width"]) for e in infos) for m, infos in inputs.encoders.items()}


def _locked(inputs: LatentInputs) -> dict[str, Any]:
    """Options that a frozen joint space decides."""
    if not inputs.locked:
        return {}
    return {"locked": tuple(inputs.locked), "dim": int(next(iter(inputs.locked.values()))[0]["width"])}


def _closed_start(config: FuseMixConfig, inputs: LatentInputs) -> linear.LinearMaps:
    """The closed form that retrieves best on the validation clips, or in folds where these are few: CCA (for three
    modalities a block of coordinates a pair, so that none pays for another) or ridge onto the hub, each with its own
    tuned shrinkage. Where pairs are given and have a hub it is ridge: the hub's own vectors are then the space, so that
    modalities which were never paired meet in it, and no validation pair can measure that. Into a frozen joint space it
    is ridge."""
    pairs = config.pairs or None
    moments = training_moments(inputs.train, pairs=pairs)
    held_out = folds(inputs.clips, pairs=pairs) or [TuningFold(moments, *validation_rows(inputs.validation))]
    if config.locked:
        return tuned_bound(moments, held_out, locked=config.locked)
    ridge = tuning.tuned_ridge(moments, held_out, hub=hub(config))
    if config.pairs and len(config.widths) > 2 and set(config.widths).intersection(*config.pairs):
        return ridge
    if len(config.widths) > 2:
        canonical = tuned_blocks(moments, held_out, dim=config.dim)
    else:
        canonical = tuning.tuned(moments, held_out, pairs=pairs)
    both = [form.again for form in (canonical, ridge) if form.again is not None]

    def family(m: linear.Moments) -> list[linear.LinearMaps]:
        return [fitted(m) for fitted in both]

    return tuning.chosen(family, moments, held_out, pairs=pairs)


def hub(config: FuseMixConfig) -> Modality:
    """The modality that every pair has; where all pairs are aligned text, or the last."""
    common = set(config.widths).intersection(*config.pairs)
    return "text" if "text" in common or not common else sorted(common)[-1]
