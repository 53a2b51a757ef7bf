"""The rows of the study of modalities: which modalities are trained on, which pairs are aligned, which terms of the
loss are there, and into how many spaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from seehear.errors import SeehearError
from seehear.methods.mcn_config import MCNConfig
from seehear.runs.config import Run, recipe
from seehear.runs.data import LatentsConfig
from seehear.types import MODALITIES, Modality

Pair = tuple[Modality, Modality]


@dataclass(frozen=True)
class Design:
    name: str
    modalities: tuple[Modality, ...]
    pairs: tuple[Pair, ...]
    """Those that are aligned."""
    clusters: bool = True
    reconstruction: bool = True
    spaces: Literal["joint", "disjoint", "fine_coarse"] = "joint"

    @property
    def plain(self) -> bool:
        """All pairs, all terms, one space: what the modalities alone decide."""
        everything = len(self.pairs) == len(tuple(combinations(self.modalities, 2)))
        return everything and self.clusters and self.reconstruction and self.spaces == "joint"


def designs(modalities: Sequence[Modality]) -> list[Design]:
    """Of two modalities, or of three."""
    given = tuple(m for m in MODALITIES if m in modalities)
    found = [
        Design(name_of(some), some, tuple(combinations(some, 2)))
        for size in range(2, len(given) + 1)
        for some in combinations(given, size)
    ]
    full = found[-1]
    if len(given) > 2:
        for pair in full.pairs:
            rest = tuple(p for p in full.pairs if p != pair)
            found.append(replace(full, name=f"{full.name}, no {name_of(pair, '-')}", pairs=rest))
    found += [
        replace(full, name=f"{full.name}, no clusters", clusters=False),
        replace(full, name=f"{full.name}, no reconstruction", reconstruction=False),
        replace(full, name=f"{full.name}, contrast only", clusters=False, reconstruction=False),
    ]
    if len(given) > 2:
        found.append(replace(full, name=f"{full.name}, disjoint spaces", spaces="disjoint"))
        found.append(replace(full, name=f"{full.name}, fine and coarse", spaces="fine_coarse"))
    return found


def latents_run(name: str) -> Run[LatentsConfig, Any]:
    """A recipe that trains on latents: only these are studied."""
    run = recipe(name)
    if not isinstance(run.data, LatentsConfig):
        raise SeehearError(f"recipe {name!r} trains on media, and not on latents: choose fusemix or mcn")
    if run.data.joint is not None:
        raise SeehearError(
            f"recipe {name!r} keeps a frozen space, which no row of the study does: choose fusemix or mcn"
        )
    return run


def possible(design: Design, run: Run[Any, Any]) -> bool:
    """Whether the run's method has what the design changes."""
    return isinstance(run.method, MCNConfig) or (design.clusters and design.reconstruction and design.spaces == "joint")


def run_of(design: Design, run: Run[Any, Any], *, of: int, seed: int) -> Run[Any, Any]:
    """The recipe as the design changes it. `of`: modalities that the library has. The terms of MCN's loss are weighted
    so that each has the same say with two modalities, or two pairs, as with all: else a row would also show what a
    lighter term does. No patience: every row takes the same steps."""
    train = replace(run.train, seed=seed, patience=None)
    terms = _terms(run.method, design, of) if isinstance(run.method, MCNConfig) else {}
    return replace(run, method=replace(run.method, pairs=design.pairs, **terms), train=train)


def _terms(method: MCNConfig, design: Design, of: int) -> dict[str, Any]:
    every_pair = of * (of - 1) // 2
    return {
        "spaces": design.spaces,
        "contrast_weight": method.contrast_weight * every_pair / len(design.pairs),
        "cluster_weight": method.cluster_weight if design.clusters else 0.0,
        "reconstruct_weight": method.reconstruct_weight * of / len(design.modalities) if design.reconstruction else 0.0,
    }


def name_of(modalities: Sequence[Modality], between: str = "+") -> str:
    """'V+T'"""
    return between.join(m[0].upper() for m in modalities)
