"""Closed forms fitted on the training clips and tuned on the validation clips (`methods/tuning.py`): the baselines of
trained models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, Protocol

import torch
from torch.nn import functional as F

from seehear.inputs.latents import LatentData
from seehear.methods import linear, tuning
from seehear.methods.base import Frozen, FrozenConfig
from seehear.methods.tuning import DRAW, bound, training_moments, tuned_bound, tuning_rows
from seehear.types import Batch, Modality, Tensor

# Pairs that ASIF compares with: its vectors have as many dimensions.
_ANCHORS = 20_000
_RANKS = (None, 256, 64)
# The eigenproblem over all modalities at once is the costly one.
_FEW_SHRINKAGES = (0.1, 1.0, 10.0)


class _ClosedForm(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def spaces(self) -> dict[str, tuple[Modality, ...]]: ...
    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]: ...


def closed_forms(data: LatentData, *, locked: Sequence[Modality] = ()) -> Iterator[_ClosedForm]:
    """For each pair of modalities: the frozen space where the encoders share one, else ASIF; Procrustes, ridge, CCA.
    For three or more, generalised CCA over all of them. Of `data` the splits train and val are read, no other.
    Sequences (words, spectrograms) are no vectors that a closed form could map: their modalities have none. `locked`:
    modalities whose latents are a space that the others are bound to as well."""
    data = vectors_only(data)
    for p, q in combinations(data.modalities, 2):
        pair = _fit(data.only((p, q)).joined())
        if pair is not None:
            if share_a_space(data, p, q):
                yield Frozen(FrozenConfig(widths={m: data.encoders[m][0]["width"] for m in (p, q)}))
            else:
                yield pair["asif"]
            yield from (pair[name] for name in ("procrustes", "ridge", "cca"))
    train = data.split("train").joined()
    if len(train) > 1 and (len(data.modalities) > 2 or locked):
        moments = training_moments(train)
        held_out = tuning_rows(data, moments)
        if len(data.modalities) > 2:
            yield _canonical(moments, held_out)
        if locked:
            yield tuned_bound(moments, held_out, locked=locked) if held_out else bound(moments, locked=locked)


def vectors_only(data: LatentData) -> LatentData:
    """Without the modalities whose latents are sequences laid flat."""
    return data.only([m for m, r in data.rows.items() if not any(e.get("shape") for e in r.encoders)])


def share_a_space(data: LatentData, p: Modality, q: Modality) -> bool:
    """Two towers of one model: the same model by name, and vectors of one width."""
    one, other = data.encoders[p], data.encoders[q]
    if len(one) != 1 or len(other) != 1:
        return False
    names = [str(info[0].get("name", "")).split("#")[0] for info in (one, other)]
    return names[0] == names[1] != "" and one[0]["width"] == other[0]["width"]


def settings(form: Any) -> dict[str, Any]:
    """Settings of a closed form and the certainty of their choice, for a report."""
    sure: linear.Sureness | None = getattr(form, "sure", None)
    return dict(getattr(form, "settings", {})) | ({} if sure is None else asdict(sure))


def _fit(data: LatentData) -> dict[str, Any] | None:
    """Closed forms of clips with both modalities; None with fewer than two training clips."""
    train = data.split("train")
    if len(train) < 2:
        return None
    m = training_moments(train)
    held_out = tuning_rows(data, m)
    # One draw for all modalities: row i of each is the same clip.
    anchors, _ = train.sample(_ANCHORS, DRAW).aligned()
    # A rank is at most the width of the narrower modality.
    ranks = [rank and min(rank, *(len(mean) for mean in m.mean.values())) for rank in _RANKS]
    forms: dict[str, Callable[[linear.Moments], list[linear.LinearMaps]]] = {
        "procrustes": lambda m: [linear.procrustes(m, rank=rank) for rank in ranks],
        "ridge": lambda m: [linear.ridge(m, shrinkage=s, hub=h) for h in m.modalities for s in tuning.SHRINKAGES],
    }
    # The first of each is its default.
    found = {name: tuning.chosen(make, m, held_out) if held_out else make(m)[0] for name, make in forms.items()}
    return found | {"asif": Asif(anchors), "cca": _canonical(m, held_out)}


def _canonical(m: linear.Moments, held_out: list[tuning.TuningFold]) -> linear.LinearMaps:
    if not held_out:
        return linear.canonical(m)
    shrinkages = tuning.SHRINKAGES if len(m.modalities) == 2 else _FEW_SHRINKAGES
    return tuning.tuned(m, held_out, shrinkages=shrinkages)


# ----------------------------------------------------------------------------------------------------------------------
# ASIF, a space without training: similarities to anchors that are known to belong together (arXiv 2210.01738).


class Asif:
    """Similarities of a vector to anchors of its own modality, whose row numbers the modalities share: the `keep`
    largest, to a power, made unit. Fits nothing but the anchors' mean, which is taken out first."""

    name = "asif"

    def __init__(self, anchors: linear.Latents, *, keep: int = 800, power: float = 8.0):
        # The paper does not centre: its encoders were trained by cosine. Latents of sound have a large common part
        # (mean cosine 0.83 to 0.94 on ESC-10), all anchors are then about equally similar, and every query finds the
        # same few items.
        latents = {m: torch.as_tensor(x).float() for m, x in anchors.items()}
        self.mean = {m: x.mean(dim=0) for m, x in latents.items()}
        self.anchors = {m: F.normalize(x - self.mean[m], dim=1) for m, x in latents.items()}
        if len({len(x) for x in self.anchors.values()}) != 1:
            raise ValueError("anchors must be rows that have every modality: as many of each")
        self.keep, self.power = min(keep, len(next(iter(self.anchors.values())))), power
        self.spaces = {"joint": tuple(anchors)}

    def embed(self, batch: linear.Latents, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, number of anchors) unit vectors}."""
        found = {}
        for m, anchors in self.anchors.items():
            if m in batch:
                unit = F.normalize(torch.as_tensor(batch[m]).float() - self.mean[m], dim=1)
                similar = (unit @ anchors.T).clamp_min(0.0)
                top = similar.topk(self.keep, dim=1)
                sparse = torch.zeros_like(similar).scatter_(1, top.indices, top.values**self.power)
                found[m] = F.normalize(sparse, dim=1)
        return found
