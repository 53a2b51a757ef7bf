"""A classifier from a tower of a trained run: for clips of other sizes, without the parts that it does not need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.methods.base import Method
from seehear.methods.classifier import (
    Classifier,
    ClassifierConfig,
    Learning,
    modalities_of,
    tower_features,
    unneeded,
)
from seehear.methods.vatt_layers import Positions, resampled
from seehear.nn.random import seed_of
from seehear.types import Batch, Modality, Tensor


@dataclass(frozen=True)
class Pretrained:
    """A trained model of raw media."""

    method: Method
    raw: RawConfig
    """Input specification of its training."""
    run: str
    """Run that it was loaded from."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """Modalities that a tower can have."""
        return tuple(m for m in self.raw.modalities if m != "text")

    @classmethod
    def load(cls, run: str | Path) -> Pretrained:
        from seehear.space import load_method

        method, _, shown = load_method(run)
        if isinstance(method, Classifier):
            raise SeehearError(f"{run} is a classifier already: name the run that it was made from")
        if shown is None:
            raise SeehearError(f"{run}: {method.name} reads latents, not media: 'seehear evaluate' has its probes")
        return cls(method, shown.raw, str(run))


def classifier(
    model: Pretrained,
    raw: RawConfig,
    classes: Sequence[str],
    *,
    tower: str,
    several: bool,
    learning: Learning,
    settings: dict[str, Any] | None = None,
    scratch: bool = False,
    seed: int = 0,
) -> Classifier:
    """A classifier of clips read by `raw`. `settings`: changed settings of the model; `scratch`: random weights instead
    of the trained ones."""
    from seehear.methods.base import make_method

    config = _settings(model, raw, learning, settings or {})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(seed, "weights"))
        made = make_method(model.method.name, asdict(config))
        if not scratch:
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
            learning=learning,
        )
        return Classifier(described, made)


def _settings(model: Pretrained, raw: RawConfig, learning: Learning, settings: dict[str, Any]) -> Any:
    """The model's configuration for clips read by `raw`, with changed settings."""
    config = model.method.config
    names = {f.name for f in fields(config)}
    changed = dict(settings)
    if "keep" in names:
        changed["keep"] = dict.fromkeys(("video", "audio"), learning.keep)
    elif learning.keep < 1:
        raise SeehearError(f"{model.method.name} drops no tokens by learning.keep: leave it at 1")
    if learning.drop_path:
        changed["drop_path"] = learning.drop_path
    for name in changed:
        if name not in names:
            raise SeehearError(f"{model.method.name} has no {name}: leave that option out")
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
