"""Runs of DiffMAViL: those of MAViL with DiffMAViL's changes, and `lean`, our own savings. Ablations:
`benchmarks/mavil_arms.py`."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from seehear.methods.diffmavil import Batches, Curriculum, DiffMAViLConfig
from seehear.methods.mavil_config import SIDES, MAViLConfig
from seehear.nn.masked import DecoderKind
from seehear.recipes import mavil
from seehear.recipes.mavil import build
from seehear.runs.config import MediaConfig, Run
from seehear.types import Modality

# Hidden patches read the seen ones and not each other: cost grows with their number, not its square.
_CROSS: dict[Modality, DecoderKind] = dict.fromkeys(SIDES, "cross")
LEAN: dict[str, Any] = {
    "diffuse": (),
    "decoders": _CROSS,
    "decoded": dict.fromkeys(SIDES, 0.5),
    "curriculum": Curriculum(start=0.8, shape="constant"),
    "intra_weight": 0.0,
}
"""Our own savings in place of the published ones: cross decoders, half of the hidden patches decoded, a single view,
and MAViL's constant masking ratio. No diffusion."""


def base() -> Run[MediaConfig, DiffMAViLConfig]:
    """The published changes on MAViL-B, as far as they are known (docs/methods/diffmavil.md): for a corpus like
    AudioSet on many GPUs. Like `mavil.base` it starts from random weights, or from an image MAE.

    seehear train LIB diffmavil.base --method.image-mae facebook/vit-mae-base --data.cache CACHE
    """
    # Batches grow where much is hidden, so that a step always costs the same.
    return diffused(mavil.base(), "diffmavil.base", batches=Batches(follow="compute"))


def small() -> Run[MediaConfig, DiffMAViLConfig]:
    """`diffmavil.base` for one GPU, on `mavil.small`.

    seehear train LIB diffmavil.small --data.cache CACHE
    """
    return diffused(mavil.small(), "diffmavil.small", batches=Batches(follow="compute", multiple=16))


def tiny() -> Run[MediaConfig, DiffMAViLConfig]:
    """`diffmavil.base` on two cores, for a first try. With so few and small patches it saves little.

    seehear train LIB diffmavil.tiny --data.cache CACHE
    """
    return diffused(mavil.tiny(), "diffmavil.tiny", batches=Batches(multiple=8))


def lean() -> Run[MediaConfig, DiffMAViLConfig]:
    """MAViL-S at less than half of its cost, with our own savings (`LEAN`): one GPU.

    seehear train LIB diffmavil.lean --data.cache CACHE
    """
    return diffused(mavil.small(), "diffmavil.lean", **LEAN)


def diffused(run: Run[MediaConfig, MAViLConfig], name: str, **options: Any) -> Run[MediaConfig, DiffMAViLConfig]:
    """A run of MAViL with the published changes, and then `options` of DiffMAViL."""
    # Without the fields that DiffMAViL decides anew.
    plain = {f.name: getattr(run.method, f.name) for f in fields(run.method) if f.name not in ("decoders", "masking")}
    parts = {f.name: getattr(run, f.name) for f in fields(run)}
    return Run(**{**parts, "recipe": name, "method": DiffMAViLConfig(**(plain | options))})


PRESETS = {"tiny": tiny, "small": small, "base": base, "lean": lean}
__all__ = ["LEAN", "PRESETS", "base", "build", "diffused", "lean", "small", "tiny"]
