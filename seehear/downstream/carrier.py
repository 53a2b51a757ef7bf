"""Maps from a run's shared space to the conditioning space of a picture generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch

from seehear.errors import SeehearError, unknown
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import Clip, LibraryTables
from seehear.methods.linear import LinearMaps, moments, ridge
from seehear.methods.tuning import tuned_ridge
from seehear.nn.unit import unit
from seehear.runs.evaluate import latents_of
from seehear.space import SharedSpace
from seehear.types import Float, Modality, Tensor

_FROM, _TO = "shared space", "condition"


@dataclass(frozen=True)
class Placed:
    """A library's clips embedded by a run."""

    data: LatentData
    clips: list[Clip]
    vectors: dict[Modality, Embedded]
    """Embeddings of the modalities that both the run and the library have."""

    def part(self, m: Modality, split: str) -> Embedded:
        """One vector per clip of a split."""
        one = self.vectors[m].one_each()
        inside = self.data.splits[one.owner] == split
        return Embedded(one.vectors[inside], one.owner[inside])


def placed(space: SharedSpace, library: LibraryTables) -> Placed:
    space.encode_library(library)
    data = latents_of(library, space)
    clips = {clip.id: clip for clip in library.clips()}
    return Placed(data, [clips[name] for name in data.ids.tolist()], embed_latents(space, data))


@dataclass(frozen=True)
class Carrier:
    """Map of a vector of any modality to where one of `modality` would be: its modality's mean is replaced by that of
    `modality`. With `maps`, the result is mapped to an encoder's latents and scaled to their mean length."""

    modality: Modality
    means: Mapping[Modality, np.ndarray]
    """(E,) mean of the training clips' vectors, by modality."""
    maps: LinearMaps | None = None
    length: float = 1.0

    def __call__(self, parts: Mapping[Modality, Float[np.ndarray, "n e"]]) -> Float[Tensor, "n d"]:
        """Conditions of unit vectors; several modalities of the same rows are averaged."""
        # The means of modalities lie apart (the modality gap), which a generator of one modality never saw.
        moved = [unit(z_NE - self.means[m] + self.means[self.modality]) for m, z_NE in parts.items()]
        z_NE = torch.from_numpy(unit(np.mean(moved, axis=0)))
        if self.maps is None:
            return z_NE
        # In float64, as the map was fitted.
        y_ND = self.maps.mean[_TO] + (z_NE.double() - self.maps.mean[_FROM]) @ self.maps.weight[_FROM]
        return (self.length * torch.nn.functional.normalize(y_ND, dim=1)).float()


def to_pictures(known: Placed) -> Carrier:
    """Map to the pictures of the shared space."""
    return Carrier("video", _means(known, "video"))


def to_encoder(known: Placed, library: LibraryTables, name: str) -> Carrier:
    """Map to the latents of an encoder of the library: ridge regression on training clips, its strength chosen on
    validation clips."""
    infos = library.encoders()
    if name not in infos:
        raise unknown(f"encoder of {library.uri}", name, infos)
    modality = infos[name]["modality"]
    if modality not in known.vectors:
        raise SeehearError(f"{name} encodes {modality}, which the run's space does not hold: take another --condition")
    others = {m: [e["name"] for e in known.data.encoders[m]] for m in known.data.modalities}
    latents = load_latents(library, encoders={**others, modality: [name]})
    own = known.vectors[modality].one_each()
    clips = np.intersect1d(own.owner, latents.owner(modality).numpy())
    x_NE = own.vectors[np.searchsorted(own.owner, clips)]
    y_ND = latents.one_each(modality)[clips]
    splits = known.data.splits[clips]
    train, val = ({_FROM: x_NE[splits == s], _TO: y_ND[splits == s]} for s in ("train", "val"))
    found = moments(train)
    maps = tuned_ridge(found, val, hub=_TO) if len(val[_TO]) > 1 else ridge(found, hub=_TO)
    # Regression shrinks its predictions, and a generator was trained on latents of full length.
    length = float(np.linalg.norm(train[_TO], axis=1).mean())
    return replace(Carrier(modality, _means(known, modality)), maps=maps, length=length)


def _means(known: Placed, target: Modality) -> dict[Modality, np.ndarray]:
    found = {m: known.part(m, "train") for m in known.vectors}
    if not len(found[target].owner):
        raise SeehearError(f"no training clip of the library has {target}: there is nothing to carry a query to")
    # The mean of a modality without training clips is unknown: its vectors stay where they are.
    return {m: (one if len(one.owner) else found[target]).vectors.mean(axis=0) for m, one in found.items()}
