"""Runs of DiffMAViL: those of MAViL with its ingredients, and the arms that tell what each of them does."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from seehear.errors import unknown
from seehear.methods.diffmavil_config import Batches, Curriculum, DiffMAViLConfig
from seehear.methods.mavil_config import SIDES, MAViLConfig
from seehear.nn.diffusion import Schedule
from seehear.recipes import mavil
from seehear.recipes.mavil import build
from seehear.runs.config import Run
from seehear.runs.data import MediaConfig

_CONSTANT = Curriculum(start=0.8, shape="constant")
_JOINT, _CROSS = dict.fromkeys(SIDES, "joint"), dict.fromkeys(SIDES, "cross")
_LEAN = {"diffuse": (), "decoders": _CROSS, "decoded": dict.fromkeys(SIDES, 0.5), "curriculum": _CONSTANT}

ARMS: dict[str, dict[str, Any]] = {
    "diffmavil": {},
    "diffused": {"decoders": _JOINT, "curriculum": _CONSTANT},
    "cross": {"diffuse": (), "curriculum": _CONSTANT},
    "diffused, cross": {"curriculum": _CONSTANT},
    "curriculum": {"diffuse": (), "decoders": _JOINT},
    "without diffusion": {"diffuse": ()},
    "constant 0.9": {"diffuse": (), "decoders": _JOINT, "curriculum": replace(_CONSTANT, start=0.9)},
    "reversed": {"curriculum": Curriculum(reverse=True)},
    "from 0.9": {"curriculum": Curriculum(start=0.9)},
    "cosine": {"curriculum": Curriculum(shape="cosine")},
    "every step": {"curriculum": Curriculum(parts=0, grain=0.01)},
    "constant compute": {"batches": Batches(follow="compute")},
    "constant memory": {"batches": Batches(follow="memory")},
    "video only": {"diffuse": ("video",)},
    "cross both": {"decoders": _CROSS},
    "lean": _LEAN | {"intra_weight": 0.0},
    "lean, two views": _LEAN,
    "lean, more hidden": _LEAN | {"intra_weight": 0.0, "curriculum": Curriculum()},
    "rho 1": {"noise": Schedule(rho=1.0)},
    "rho 0.6": {"noise": Schedule(rho=0.6)},
}
"""What each arm changes in the published ingredients: diffused patches, the cross decoder of video and the curriculum,
with batches of constant size. The names `diffused`, `cross` and `curriculum` have these ingredients only; that of
`constant 0.9` is MAViL with more hidden, and `lean` is ours: as much hidden as in MAViL, and what costs most left out,
the second view with its term as well; `lean, more hidden` is that with the curriculum. MAViL for fewer epochs is a
control too, and needs no settings."""


def base() -> Run[MediaConfig, DiffMAViLConfig]:
    """The published ingredients on MAViL-B, as far as they are known (docs/methods/diffmavil.md): for a corpus like
    AudioSet on many GPUs. As `mavil.base` it starts from random weights, or from an image MAE.

    seehear train LIB diffmavil.base --method.image-mae facebook/vit-mae-base --data.cache CACHE
    """
    return diffused(mavil.base(), "diffmavil.base", batches=Batches(follow="compute"))


def small() -> Run[MediaConfig, DiffMAViLConfig]:
    """The same for one GPU.

    seehear train LIB diffmavil.small --data.cache CACHE
    """
    return diffused(mavil.small(), "diffmavil.small", batches=Batches(follow="compute", multiple=16))


def tiny() -> Run[MediaConfig, DiffMAViLConfig]:
    """The same on two cores: the method to be looked at. With so few and small patches it saves little.

    seehear train LIB diffmavil.tiny --data.cache CACHE
    """
    return diffused(mavil.tiny(), "diffmavil.tiny", batches=Batches(multiple=8))


def diffused(run: Run[MediaConfig, MAViLConfig], name: str, **options: Any) -> Run[MediaConfig, DiffMAViLConfig]:
    """A run of MAViL with the ingredients; `options` of DiffMAViL on top."""
    plain = {f.name: getattr(run.method, f.name) for f in fields(run.method) if f.name not in ("decoders", "masking")}
    made = {f.name: getattr(run, f.name) for f in fields(run)}
    return Run(**{**made, "recipe": name, "method": DiffMAViLConfig(**(plain | options))})


def arm(run: Run[MediaConfig, DiffMAViLConfig], name: str) -> Run[MediaConfig, DiffMAViLConfig]:
    """One of `ARMS`. What it does not change is as the run has it."""
    if name not in ARMS:
        raise unknown("arm", name, ARMS)
    changes = dict(ARMS[name])
    if "batches" in changes:
        changes["batches"] = replace(run.method.batches, follow=changes["batches"].follow)
    return replace(run, method=replace(run.method, **changes))


PRESETS = {"tiny": tiny, "small": small, "base": base}
__all__ = ["ARMS", "PRESETS", "arm", "base", "build", "diffused", "small", "tiny"]
