"""Rows of the study of modalities: modalities to train on, pairs to align, terms of the loss, shared spaces."""

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
    """Aligned pairs."""
    clusters: bool = True
    reconstruction: bool = True
    spaces: Literal["joint", "disjoint", "fine_coarse"] = "joint"

    @property
    def plain(self) -> bool:
        """True with all pairs, all terms and one space: the row depends on its modalities alone."""
        all_pairs = len(self.pairs) == len(tuple(combinations(self.modalities, 2)))
        return all_pairs and self.clusters and self.reconstruction and self.spaces == "joint"


def designs(modalities: Sequence[Modality]) -> list[Design]:
    """Rows for two or three modalities: subsets, then the full set without a pair, a term, or one joint space."""
    ordered = tuple(m for m in MODALITIES if m in modalities)
    rows = [
        Design(name_of(some), some, tuple(combinations(some, 2)))
        for size in range(2, len(ordered) + 1)
        for some in combinations(ordered, size)
    ]
    full = rows[-1]
    if len(ordered) > 2:
        for pair in full.pairs:
            rest = tuple(p for p in full.pairs if p != pair)
            rows.append(replace(full, name=f"{full.name}, no {name_of(pair, '-')}", pairs=rest))
    rows += [
        replace(full, name=f"{full.name}, no clusters", clusters=False),
        replace(full, name=f"{full.name}, no reconstruction", reconstruction=False),
        replace(full, name=f"{full.name}, contrast only", clusters=False, reconstruction=False),
    ]
    if len(ordered) > 2:
        rows.append(replace(full, name=f"{full.name}, disjoint spaces", spaces="disjoint"))
        rows.append(replace(full, name=f"{full.name}, fine and coarse", spaces="fine_coarse"))
    return rows


def latents_run(name: str) -> Run[LatentsConfig, Any]:
    """The run of a recipe that trains on latents; others raise `SeehearError`."""
    run = recipe(name)
    if not isinstance(run.data, LatentsConfig):
        raise SeehearError(f"recipe {name!r} trains on media, not on latents: choose fusemix or mcn")
    if run.data.joint is not None:
        raise SeehearError(f"recipe {name!r} extends a frozen space, which the study cannot: choose fusemix or mcn")
    return run


def possible(design: Design, run: Run[Any, Any]) -> bool:
    """True if the run's method has the terms and spaces that the design changes."""
    return isinstance(run.method, MCNConfig) or (design.clusters and design.reconstruction and design.spaces == "joint")


def run_of(design: Design, run: Run[Any, Any], *, of: int, seed: int) -> Run[Any, Any]:
    """The recipe with the changes of the design, for a library of `of` modalities, without early stopping."""
    method, terms = run.method, {}
    if isinstance(method, MCNConfig):
        # MCN sums over pairs and modalities. A term keeps its share of the loss when there are fewer of them, or a row
        # would also measure a smaller weight.
        reconstruct = method.reconstruct_weight * of / len(design.modalities)
        terms = {
            "spaces": design.spaces,
            "contrast_weight": method.contrast_weight * (of * (of - 1) // 2) / len(design.pairs),
            "cluster_weight": method.cluster_weight if design.clusters else 0.0,
            "reconstruct_weight": reconstruct if design.reconstruction else 0.0,
        }
    train = replace(run.train, seed=seed, patience=None)  # every row takes the same steps
    return replace(run, method=replace(method, pairs=design.pairs, **terms), train=train)


def name_of(modalities: Sequence[Modality], between: str = "+") -> str:
    """Initials: 'V+T'."""
    return between.join(m[0].upper() for m in modalities)
