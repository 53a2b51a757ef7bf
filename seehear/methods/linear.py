"""Closed forms: linear maps into one space found from covariances in seconds. The floor every trained method must beat,
the fallback for tiny data, and where a trained head may start.

    CCA           C_x^-1/2 C_xy C_y^-1/2 = U diag(rho) V',  W_x = C_x^-1/2 U_k,  W_y = C_y^-1/2 V_k
                  C = X'X/N + shrinkage * mean eigenvalue * I;  columns times sqrt(rho) (CSA, arXiv 2410.07610)
    generalised   C v = lambda D v over all modalities, D the block diagonal of C;  for two, lambda = 1 + rho
    Procrustes    X'Y = U S V',  R = U V'
    ridge         W = (C_x + shrinkage * mean eigenvalue * I)^-1 C_xy

All are functions of `Moments`, which are accumulated over chunks of rows: a million rows cost two passes. Rows
may lack modalities: each covariance is of the rows that have both its sides. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.statistics import Latents, Present, check, chunks, deviation, present_rows, statistics
from seehear.types import Modality, Tensor

Pairs = Sequence[tuple[Modality, Modality]]

SHRINKAGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclass(frozen=True)
class Moments:
    """Means and covariances of the latents of some rows."""

    mean: dict[Modality, Tensor]
    scale: dict[Modality, Tensor]
    """What each dimension is divided by before a closed form sees it; the maps undo it."""
    covariance: dict[tuple[Modality, Modality], Tensor]
    """(D_p, D_q) by pair, in the order of the modalities, and (p, p). A pair without common rows is missing."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.mean)

    def standardised(self) -> Moments:
        """Those of latents with unit variance in every dimension."""
        std = {m: deviation(self.covariance[m, m].diagonal()) for m in self.mean}
        covariance = {(p, q): c / torch.outer(std[p], std[q]) for (p, q), c in self.covariance.items()}
        return Moments(self.mean, {m: self.scale[m] * std[m] for m in self.mean}, covariance)

    def only(self, *modalities: Modality) -> Moments:
        """Those of some modalities, with the spectra that are known."""
        covariance = {pair: c for pair, c in self.covariance.items() if set(pair) <= set(modalities)}
        part = Moments({m: self.mean[m] for m in modalities}, {m: self.scale[m] for m in modalities}, covariance)
        part.__dict__["spectra"] = {m: self.spectra[m] for m in modalities}
        return part

    def cross(self, p: Modality, hub: Modality) -> Tensor:
        """(D_p, D_hub)"""
        if (p, hub) in self.covariance:
            return self.covariance[p, hub]
        if (hub, p) in self.covariance:
            return self.covariance[hub, p].T
        raise SeehearError(f"no training row has both {p} and {hub}: take another hub")

    def whitened_axes(self, modality: Modality, shrinkage: float) -> Tensor:
        """(D, R) eigenvectors of C over the roots of those of C + shrinkage * mean eigenvalue * I; directions without
        variance are left out, so that there are no more than there were rows."""
        values, vectors = self.spectra[modality]
        return (vectors * self.shrunk(modality, shrinkage).rsqrt())[:, values > values[-1] * 1e-12]

    def shrunk(self, modality: Modality, shrinkage: float) -> Tensor:
        """Eigenvalues of C + shrinkage * mean eigenvalue * I; infinite for directions without variance."""
        values = self.spectra[modality][0]
        shrunk = values + shrinkage * values.mean()
        return torch.where(shrunk > values[-1] * 1e-12, shrunk, torch.inf)

    @cached_property
    def spectra(self) -> dict[Modality, tuple[Tensor, Tensor]]:
        """Eigenvalues, ascending and not negative, and eigenvectors of each covariance: every shrinkage shares them."""
        found = {m: _eigh(self.covariance[m, m]) for m in self.mean}
        return {m: (values.clamp_min(0.0), vectors) for m, (values, vectors) in found.items()}


def moments(latents: Latents, present: Present | None = None, *, pairs: Pairs | None = None) -> Moments:
    """Covariances of every modality and of every pair, or only of the pairs that training may use."""
    check(latents, present)
    mean = {m: mean for m, (mean, _) in statistics(latents, present).items()}
    covariance = {(m, m): _covariance(latents, present, mean, m, m) for m in mean}
    allowed = None if pairs is None else {frozenset(pair) for pair in pairs}
    for p, q in combinations(mean, 2):
        if allowed is None or frozenset((p, q)) in allowed:
            found = _covariance(latents, present, mean, p, q)
            if found is not None:
                covariance[p, q] = found
    if len(mean) > 1 and len(covariance) == len(mean):
        raise SeehearError(f"no training row has two of {', '.join(mean)}: there are no pairs to learn from")
    return Moments(mean, {m: torch.ones_like(x) for m, x in mean.items()}, covariance)  # type: ignore[arg-type]


@dataclass(frozen=True)
class LinearMaps:
    """(z - mean) @ weight, made unit: stands where a trained method does, through `embed`."""

    name: str
    mean: dict[Modality, Tensor]
    weight: dict[Modality, Tensor]
    """(D, E), strongest column first."""
    strength: Tensor | None = None
    """(E,) the correlation each column reaches, where the method knows it."""
    settings: dict[str, float | int | str] = field(default_factory=dict)
    """What it was made with."""

    @property
    def spaces(self) -> dict[str, tuple[Modality, ...]]:
        return {"joint": tuple(self.weight)}

    def truncated(self, rank: int) -> LinearMaps:
        """The strongest columns only."""
        strength = None if self.strength is None else self.strength[:rank]
        weight = {m: w[:, :rank] for m, w in self.weight.items()}
        return replace(self, weight=weight, strength=strength, settings={**self.settings, "rank": rank})

    def embed(self, batch: Latents, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, E) unit vectors} for those modalities of the batch that have a map."""
        found = {}
        for m in self.weight:
            if m in batch:
                z = torch.as_tensor(batch[m])
                z = z if z.dtype == torch.float64 else z.float()
                found[m] = F.normalize((z - self.mean[m].to(z)) @ self.weight[m].to(z), dim=1)
        return found


def cca(m: Moments, *, shrinkage: float = 0.1, rank: int | None = None, root: bool = True) -> LinearMaps:
    """Canonical correlations of two modalities; `root` weighs each coordinate by the root of its correlation."""
    if len(m.modalities) != 2:
        raise ValueError(f"cca takes two modalities, gcca more; got {', '.join(m.modalities)}")
    p, q = m.modalities
    white_p, white_q = m.whitened_axes(p, shrinkage), m.whitened_axes(q, shrinkage)
    u, rho, vt = torch.linalg.svd(white_p.T @ m.covariance[p, q] @ white_q, full_matrices=False)
    return _correlated("cca", m, {p: white_p @ u, q: white_q @ vt.T}, rho, shrinkage, rank, root)


def gcca(m: Moments, *, shrinkage: float = 0.1, rank: int | None = None, root: bool = True) -> LinearMaps:
    """Generalised CCA of any number of modalities; pairs without covariance count as uncorrelated. `strength` is the
    mean correlation (lambda - 1) / (M - 1), which for two modalities is CCA's, as are the maps up to sign."""
    white = {p: m.whitened_axes(p, shrinkage) for p in m.modalities}
    sizes = [w.shape[1] for w in white.values()]
    starts = dict(zip(white, np.cumsum([0, *sizes]).tolist(), strict=False))
    k = torch.eye(sum(sizes), dtype=torch.float64)
    for (p, q), c in m.covariance.items():
        if p != q:
            block = white[p].T @ c @ white[q]
            k[starts[p] : starts[p] + len(block), starts[q] : starts[q] + block.shape[1]] = block
            k[starts[q] : starts[q] + block.shape[1], starts[p] : starts[p] + len(block)] = block.T
    values, vectors = _eigh(k)
    columns = min(sizes)
    values, vectors = values.flip(0)[:columns], vectors.flip(1)[:, :columns] * len(white) ** 0.5
    weight = {p: white[p] @ vectors[starts[p] : starts[p] + white[p].shape[1]] for p in white}
    # Blocks estimated from different rows may leave K indefinite: a negative strength is noise.
    strength = ((values - 1) / max(1, len(white) - 1)).clamp_min(0.0)
    return _correlated("gcca", m, weight, strength, shrinkage, rank, root)


def canonical(m: Moments, *, shrinkage: float = 0.1, rank: int | None = None, root: bool = True) -> LinearMaps:
    """`cca` for two modalities, `gcca` for more."""
    return (cca if len(m.modalities) == 2 else gcca)(m, shrinkage=shrinkage, rank=rank, root=root)


def procrustes(m: Moments, *, hub: Modality | None = None, rank: int | None = None) -> LinearMaps:
    """Every modality rotated onto the hub (the last one by default); with a rank, or unequal widths, after PCA."""
    hub = m.modalities[-1] if hub is None else hub
    widths = {p: len(mean) for p, mean in m.mean.items()}
    if rank is None and len(set(widths.values())) > 1:
        rank = min(widths.values())
    axes = {p: torch.eye(widths[p], dtype=torch.float64) for p in widths}
    if rank is not None:
        axes = {p: m.spectra[p][1].flip(1)[:, :rank] for p in widths}
    weight = {}
    for p in m.modalities:
        if p == hub:
            weight[p] = axes[p]
        else:
            u, _, vt = torch.linalg.svd(axes[p].T @ m.cross(p, hub) @ axes[hub])
            weight[p] = axes[p] @ (u @ vt)
    return _maps("procrustes", m, weight, None, {"hub": hub, "rank": rank or widths[hub]})


def ridge(m: Moments, *, shrinkage: float | Mapping[Modality, float] = 0.1, hub: Modality | None = None) -> LinearMaps:
    """Every modality regressed on the hub (the last one by default), whose own vectors are the space. The regressions
    are independent, so that each may have its own shrinkage."""
    hub = m.modalities[-1] if hub is None else hub
    weight, settings = {}, dict[str, float | int | str](hub=hub)
    for p in m.modalities:
        if p == hub:
            weight[p] = torch.eye(len(m.mean[p]), dtype=torch.float64)
        else:
            r = shrinkage if isinstance(shrinkage, float | int) else shrinkage[p]
            inverse, vectors = m.shrunk(p, r).reciprocal(), m.spectra[p][1]  # 1 / inf = 0
            weight[p] = vectors @ (inverse[:, None] * (vectors.T @ m.cross(p, hub)))
            settings[f"shrinkage of {p}"] = r
    return _maps("ridge", m, weight, None, settings)


def tuned(
    train: Moments,
    validation: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    shrinkages: Sequence[float] = SHRINKAGES,
    ranks: Sequence[int | None] = (None, 256, 64),
    pairs: Pairs | None = None,
) -> LinearMaps:
    """CCA, or generalised CCA, with the shrinkage and rank that retrieve best on validation rows; None is full rank."""
    return best(_family(train, shrinkages, ranks), validation, present, clip, pairs=pairs)


def tuned_ridge(
    train: Moments,
    validation: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    hub: Modality,
    shrinkages: Sequence[float] = SHRINKAGES,
) -> LinearMaps:
    """Ridge onto a hub; the shrinkage of each modality is the one that retrieves best between it and the hub."""
    chosen: dict[Modality, float] = {}
    for p in train.modalities:
        if p != hub:
            candidates = (ridge(train.only(p, hub), shrinkage=r, hub=hub) for r in shrinkages)
            found = best(candidates, validation, present, clip, pairs=((p, hub),))
            chosen[p] = float(found.settings[f"shrinkage of {p}"])
    return ridge(train, shrinkage=chosen, hub=hub)


def best(
    candidates: Iterable[LinearMaps],
    validation: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    pairs: Pairs | None = None,
) -> LinearMaps:
    """The candidate that retrieves best on validation rows; the first of equals. Over several pairs of modalities: the
    highest mean of its reciprocal ranks relative to the best in each pair, so that no easy pair outvotes a hard one."""
    check(validation, present)
    candidates = list(candidates)
    scores = np.array([list(reciprocal_ranks(c, validation, present, clip, pairs=pairs).values()) for c in candidates])
    return candidates[int((scores / scores.max(axis=0)).mean(axis=1).argmax())]


def reciprocal_ranks(
    maps: LinearMaps,
    latents: Latents,
    present: Present | None = None,
    clip: Tensor | None = None,
    *,
    pairs: Pairs | None = None,
) -> dict[tuple[Modality, Modality], float]:
    """By pair, over both directions, the mean reciprocal rank of each row's own clip among the clips of the first 4,096
    rows that have both modalities; ties share their ranks. `clip` is the clip number of each row, ascending (default:
    every row is a clip). A clip ranks by its best row, and every clip has the same weight. (Evaluation proper is
    elsewhere: this only ranks candidates.)"""
    scores = {}
    for p, q in pairs or list(combinations([m for m in maps.spaces["joint"] if m in latents], 2)):
        rows = (present_rows(latents, present, p) & present_rows(latents, present, q)).nonzero().squeeze(1)[:4096]
        if len(rows) > 1:
            vectors = maps.embed({m: torch.as_tensor(latents[m])[rows] for m in (p, q)})
            similar = vectors[p] @ vectors[q].T
            own = rows if clip is None else clip[rows]
            scores[p, q] = float(np.mean([_reciprocal_rank(s.numpy(), own.numpy()) for s in (similar, similar.T)]))
    if not scores:
        raise SeehearError("no two validation rows have the same two modalities: nothing to choose by")
    return scores


def _reciprocal_rank(similar_RR: np.ndarray, clip_R: np.ndarray) -> float:
    _, first_C, number_R, rows_C = np.unique(clip_R, return_index=True, return_inverse=True, return_counts=True)
    # Other captions of a row's clip are right answers, not competitors: rows compete as clips.
    best_RC = np.maximum.reduceat(similar_RR, first_C, axis=1)
    own_R1 = np.take_along_axis(best_RC, number_R[:, None], axis=1)
    rank_R = 1 + (best_RC > own_R1).sum(axis=1) + ((best_RC == own_R1).sum(axis=1) - 1) / 2
    return float(np.average(1 / rank_R, weights=1 / rows_C[number_R]))


def _eigh(c: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues and eigenvectors; numpy's LAPACK takes half the time of torch's."""
    values, vectors = np.linalg.eigh(c.numpy())
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _family(m: Moments, shrinkages: Sequence[float], ranks: Sequence[int | None]) -> Iterator[LinearMaps]:
    for shrinkage in shrinkages:
        full = canonical(m, shrinkage=shrinkage)
        width = next(iter(full.weight.values())).shape[1]
        for rank in sorted({width if r is None else min(r, width) for r in ranks}, reverse=True):
            yield full.truncated(rank)


def _correlated(
    name: str,
    m: Moments,
    weight: dict[Modality, Tensor],
    strength: Tensor,
    shrinkage: float,
    rank: int | None,
    root: bool,
) -> LinearMaps:
    if root:
        weight = {p: w * strength.sqrt() for p, w in weight.items()}
    rank = len(strength) if rank is None else min(rank, len(strength))
    return _maps(name, m, weight, strength, {"shrinkage": shrinkage}).truncated(rank)


def _maps(
    name: str,
    m: Moments,
    weight: dict[Modality, Tensor],
    strength: Tensor | None,
    settings: Mapping[str, float | int | str],
) -> LinearMaps:
    unscaled = {p: w / m.scale[p][:, None] for p, w in weight.items()}
    return LinearMaps(name, m.mean, unscaled, strength, dict(settings))


def _covariance(
    latents: Latents, present: Present | None, mean: dict[Modality, Tensor], p: Modality, q: Modality
) -> Tensor | None:
    """None when no row has both."""
    product, of_p, of_q, rows = torch.zeros(()), torch.zeros(()), torch.zeros(()), 0
    for x, y in chunks(latents, present, p, q):
        x, y = x - mean[p], y - mean[q]
        product, of_p, of_q, rows = product + x.T @ y, of_p + x.sum(dim=0), of_q + y.sum(dim=0), rows + len(x)
    return None if rows == 0 else product / rows - torch.outer(of_p / rows, of_q / rows)
