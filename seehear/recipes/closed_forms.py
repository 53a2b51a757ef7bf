"""The models that need no training, fitted on the training clips and tuned on the validation clips: the baselines of
every trained model, and where a run of FuseMix starts.

Both are fitted by `training_moments` and tuned on `validation_rows`, so that a trained model is never ahead of a
baseline only because the baseline was tuned in another way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any, Protocol

from seehear.data.latents import LatentData
from seehear.methods import linear
from seehear.methods.asif import Asif
from seehear.methods.bound import bound, tuned_bound
from seehear.methods.frozen import Frozen, FrozenConfig
from seehear.nn.random import seed_of
from seehear.types import Batch, Modality, Tensor

_CLIPS = 200_000  # training clips that are plenty for covariances
_VALIDATION_ROWS = 4096  # rows that are plenty to choose a setting by
_ANCHORS = 20_000  # pairs that ASIF compares with
_RANKS = (None, 256, 64)
_DRAW = seed_of(0, "rows of the closed forms")
_FEW_SHRINKAGES = (0.1, 1.0, 10.0)  # for the eigenproblem over all modalities at once, which is the costly one


class ClosedForm(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def spaces(self) -> dict[str, tuple[Modality, ...]]: ...
    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]: ...


def closed_forms(data: LatentData, *, locked: Sequence[Modality] = ()) -> Iterator[ClosedForm]:
    """For each pair of modalities: the frozen space where the encoders share one, else ASIF; Procrustes, ridge, CCA.
    For three or more, generalised CCA over all of them. Of `data` the splits train and val are read, no other.
    Sequences (words, spectrograms) are no vectors that a closed form could map: their modalities have none. `locked`:
    modalities whose latents are a space that the others are bound to as well."""
    data = vectors_only(data)
    train, val = data.split("train"), data.split("val")
    for p, q in combinations(data.modalities, 2):
        pair = _fit(_only(train, (p, q)), _only(val, (p, q)))
        if pair is not None:
            yield frozen_pair(data, p, q) if share_a_space(data, p, q) else pair.pop("asif")
            yield from (pair[name] for name in ("procrustes", "ridge", "cca"))
    if len(data.modalities) > 2:
        whole = _canonical(train.joined(), val.joined())
        if whole is not None:
            yield whole
    if locked and len(train) > 1:
        moments, val = training_moments(train.joined()), val.joined()
        tune = len(val) > 1
        yield tuned_bound(moments, *validation_rows(val), locked=locked) if tune else bound(moments, locked=locked)


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


def frozen_pair(data: LatentData, p: Modality, q: Modality) -> Frozen:
    """The latents of two towers as they are."""
    return Frozen(FrozenConfig(widths={m: data.encoders[m][0]["width"] for m in (p, q)}))


def settings(form: Any) -> dict[str, Any]:
    """What it was made with, for a report."""
    return dict(getattr(form, "settings", {}))


def training_moments(train: LatentData, *, pairs: linear.Pairs | None = None) -> linear.Moments:
    """Moments of the standardised rows of training clips; of a draw that is always the same where there are many."""
    return linear.moments(*train.sample(_CLIPS, _DRAW).aligned(), pairs=pairs).standardised()


def validation_rows(val: LatentData) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor], Tensor]:
    """(latents, present, clip) to tune a closed form on: all texts of a clip are its right answers. Of many clips a
    draw that is always the same."""
    clips = val.sample(max(2, _VALIDATION_ROWS * len(val) // max(1, len(val.aligned_owner()))), _DRAW)
    return *clips.aligned(), clips.aligned_owner()


def _fit(train: LatentData, val: LatentData) -> dict[str, Any] | None:
    """None when no training clip has both modalities."""
    if len(train) < 2:
        return None
    m = training_moments(train)
    anchors, _ = train.sample(_ANCHORS, _DRAW).aligned()
    forms: dict[str, list[Any]] = {
        "asif": [Asif(anchors)],
        "procrustes": [linear.procrustes(m, rank=_at_most(m, r)) for r in _RANKS],
        "ridge": [linear.ridge(m, shrinkage=s, hub=h) for h in m.modalities for s in linear.SHRINKAGES],
    }
    found: dict[str, Any] = {name: _best(candidates, val) for name, candidates in forms.items()}
    return found | {"cca": _canonical(train, val, m)}


def _canonical(train: LatentData, val: LatentData, m: linear.Moments | None = None) -> Any:
    if len(train) < 2:
        return None
    m = m or training_moments(train)
    if len(val) < 2:
        return linear.canonical(m)
    shrinkages = linear.SHRINKAGES if len(m.modalities) == 2 else _FEW_SHRINKAGES
    return linear.tuned(m, *validation_rows(val), shrinkages=shrinkages)


def _best(candidates: list[Any], val: LatentData) -> Any:
    """Without validation clips the first: its own default."""
    return linear.best(candidates, *validation_rows(val)) if len(val) > 1 and len(candidates) > 1 else candidates[0]


def _at_most(m: linear.Moments, rank: int | None) -> int | None:
    return None if rank is None else min(rank, *(len(mean) for mean in m.mean.values()))


def _only(data: LatentData, modalities: tuple[Modality, ...]) -> LatentData:
    """The clips that have all of some modalities, and nothing else of them."""
    return data.only(modalities).joined(at_least=len(modalities))
