"""Vectors of clips in a shared space, by modality: the input of every evaluation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from seehear.nn.unit import unit
from seehear.types import Batch, Bool, Float, Int, Modality, Tensor

if TYPE_CHECKING:
    from seehear.inputs.latents import LatentData

# Latents of a batch.
_BATCH = 4096


class Embedder(Protocol):
    """Map from latents to unit vectors of one space: a method, a trained space or a closed form."""

    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]: ...


@dataclass(frozen=True)
class Embedded:
    """Vectors of one modality; several where a clip has several texts."""

    vectors: Float[np.ndarray, "r e"]
    owner: Int[np.ndarray, " r"]
    """Number of the clip of each vector, ascending."""

    def one_each(self) -> Embedded:
        """Mean direction of each clip's vectors."""
        # Owners ascend, so the vectors of a clip are neighbours.
        clips, first = np.unique(self.owner, return_index=True)
        return Embedded(unit(np.add.reduceat(self.vectors, first, axis=0)), clips)


@dataclass(frozen=True)
class Classes:
    names: tuple[str, ...]
    vectors: Float[np.ndarray, "c e"]
    prompts: str = "plain"
    """Name of the prompt set."""


def embed_latents(
    model: Embedder, data: LatentData, *, space: str | None = None, unit: bool = True
) -> dict[Modality, Embedded]:
    """Vectors of all latents of the data, by modality of the space. Without `unit` they are those of the model's `raw`,
    of any length."""
    device = device_of(model)
    # Raw vectors are for methods that compare by inner products, as MCN does.
    embed: Any = model.embed if unit else model.raw  # type: ignore[attr-defined]
    found = {}
    for m in data.modalities:
        latents = data.every(m)
        parts = []
        # Not inference_mode: a sharded method keeps the tensors that it gathers.
        with torch.no_grad():
            for at in range(0, len(latents), _BATCH):
                rows = latents[at : at + _BATCH].to(device).float()
                vectors = embed({m: rows, f"has_{m}": torch.ones(len(rows), dtype=torch.bool)}, space)
                # A space need not hold every modality of the data.
                if m in vectors:
                    # NumPy has no bfloat16.
                    parts.append(vectors[m].float().cpu().numpy())
        if parts:
            found[m] = Embedded(np.concatenate(parts), data.owner(m).cpu().numpy())
    return found


def device_of(model: Any) -> torch.device:
    """Device of a model's parameters; the CPU for one without."""
    parameter = next(iter(model.parameters()), None) if hasattr(model, "parameters") else None
    return torch.device("cpu") if parameter is None else parameter.device


def within(vectors: Mapping[Modality, Embedded], inside: Bool[np.ndarray, " n"]) -> dict[Modality, Embedded]:
    """Vectors of the clips that are `inside`, renumbered, by modality that any of them has."""
    number = np.cumsum(inside) - 1
    found = {}
    for m, own in vectors.items():
        rows = np.flatnonzero(inside[own.owner])
        if len(rows):
            found[m] = Embedded(own.vectors[rows], number[own.owner[rows]])
    return found


def smallest_space(spaces: Mapping[str, Collection[Modality]], *modalities: Modality) -> str | None:
    """Name of the space with the fewest modalities that holds all of these; None where none does."""
    holding = [space for space, own in spaces.items() if set(modalities) <= set(own)]
    return min(holding, key=lambda space: len(spaces[space])) if holding else None


def fuse(parts: Sequence[Embedded], weights: Sequence[float] | None = None, *, made_unit: bool = True) -> Embedded:
    """One vector for each clip that has all the parts: the weighted mean direction of unit vectors, or without
    `made_unit` the weighted sum of vectors of any length, one a clip."""
    single = [part.one_each() for part in parts] if made_unit else list(parts)
    shared = single[0].owner
    for part in single[1:]:
        shared = np.intersect1d(shared, part.owner)
    weights = [1.0] * len(parts) if weights is None else weights
    total = sum(w * part.vectors[np.searchsorted(part.owner, shared)] for w, part in zip(weights, single, strict=True))
    return Embedded(unit(np.asarray(total)) if made_unit else np.asarray(total), shared)
