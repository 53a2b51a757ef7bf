"""Closed forms: linear maps into one space, computed from covariances in seconds. They are the baseline of every
trained method, the fallback for tiny data, and the start of trained heads.

    CCA           C_x^-1/2 C_xy C_y^-1/2 = U diag(rho) V',  W_x = C_x^-1/2 U_k,  W_y = C_y^-1/2 V_k
                  C = X'X/N + shrinkage * mean eigenvalue * I;  columns times sqrt(rho) (CSA, arXiv 2410.07610)
    generalised   C v = lambda D v over all modalities, D the block diagonal of C;  for two, lambda = 1 + rho
    Procrustes    X'Y = U S V',  R = U V'
    ridge         W = (C_x + shrinkage * mean eigenvalue * I)^-1 C_xy

All are functions of `Moments`, which are accumulated over chunks of rows: a million rows cost two passes. Rows
may lack modalities: each covariance is of the rows that have both its sides. Everything is float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations

import numpy as np
import torch
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.types import Modality, Tensor

Latents = Mapping[Modality, Tensor | np.ndarray]
"""(N, D) by modality; rows of one number belong together."""
Present = Mapping[Modality, Tensor | np.ndarray]
"""(N,) bool by modality; a modality that is not named is there in every row."""
Pairs = Sequence[tuple[Modality, Modality]]

# Rows in float64 at a time: four times the size in which they are stored.
CHUNK = 8192


def statistics(latents: Latents, present: Present | None = None) -> dict[Modality, tuple[Tensor, Tensor]]:
    """Mean and standard deviation of every dimension over the rows that have the modality, float64."""
    found = {}
    for m in latents:
        total, squares, rows = torch.zeros(()), torch.zeros(()), 0
        for (x,) in _chunks(latents, present, m):
            total, rows = total + x.sum(dim=0), rows + len(x)
        if rows < 2:
            raise SeehearError(f"{rows} training rows have {m}: at least 2 are needed to fit anything to it")
        # Two passes: in one, the mean of the squares less the square of the mean would cancel.
        mean = total / rows
        if not mean.isfinite().all():
            raise SeehearError(f"the latents of {m} hold NaN or infinite values: encode them again")
        for (x,) in _chunks(latents, present, m):
            squares = squares + (x - mean).square().sum(dim=0)
        found[m] = mean, _deviation(squares / rows)
    return found


def _deviation(variance_D: Tensor) -> Tensor:
    """Square root, and 1 for a dimension that does not vary."""
    # Relative to the mean variance: rounding leaves a constant dimension a little above zero.
    return torch.where(variance_D > 1e-12 * variance_D.mean(), variance_D, 1.0).sqrt()


def _chunks(latents: Latents, present: Present | None, *names: Modality) -> Iterator[tuple[Tensor, ...]]:
    """float64 rows that have all of these modalities, a chunk at a time."""
    keep = torch.stack([present_rows(latents, present, m) for m in names]).all(dim=0)
    for start in range(0, len(keep), CHUNK):
        rows = keep[start : start + CHUNK]
        if rows.any():
            chunk = [torch.as_tensor(latents[m][start : start + CHUNK]).double() for m in names]
            # A mask copies: spared where every row has all.
            yield tuple(chunk) if rows.all() else tuple(x[rows] for x in chunk)


def present_rows(latents: Latents, present: Present | None, m: Modality) -> Tensor:
    if present is None or m not in present:
        return torch.ones(len(latents[m]), dtype=torch.bool)
    return torch.as_tensor(present[m]).bool()


def check(latents: Latents, present: Present | None) -> None:
    shapes = {m: tuple(x.shape) for m, x in latents.items()}
    masks = {m: tuple(x.shape) for m, x in (present or {}).items()}
    if any(len(s) != 2 for s in shapes.values()) or len({s[0] for s in [*shapes.values(), *masks.values()]}) != 1:
        raise ValueError(f"latents must be (N, D) and presence (N,) with one N for all; got {shapes} and {masks}")


@dataclass(frozen=True)
class Moments:
    """Means and covariances of the latents of some rows."""

    mean: dict[Modality, Tensor]
    scale: dict[Modality, Tensor]
    """Divisor of each dimension before a closed form is fitted; the maps undo it."""
    covariance: dict[tuple[Modality, Modality], Tensor]
    """(D_p, D_q) by pair, in the order of the modalities, and by (p, p). A pair without common rows is missing."""

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.mean)

    def standardised(self) -> Moments:
        """The moments of latents with unit variance in every dimension."""
        std = {m: _deviation(self.covariance[m, m].diagonal()) for m in self.mean}
        covariance = {(p, q): c / torch.outer(std[p], std[q]) for (p, q), c in self.covariance.items()}
        # Scales multiply: what was standardised before is undone as well.
        return Moments(self.mean, {m: self.scale[m] * std[m] for m in self.mean}, covariance)

    def only(self, *modalities: Modality) -> Moments:
        """The moments of some modalities; they share the spectra that are computed."""
        covariance = {pair: c for pair, c in self.covariance.items() if set(pair) <= set(modalities)}
        part = Moments({m: self.mean[m] for m in modalities}, {m: self.scale[m] for m in modalities}, covariance)
        # The place of a cached property: it is not computed again.
        part.__dict__["spectra"] = self.spectra
        return part

    def cross(self, p: Modality, hub: Modality) -> Tensor:
        """The covariance (D_p, D_hub); raises `SeehearError` for a pair without common rows."""
        if (p, hub) in self.covariance:
            return self.covariance[p, hub]
        if (hub, p) in self.covariance:
            return self.covariance[hub, p].T
        raise SeehearError(f"no training row has both {p} and {hub}: take another hub")

    def whitened_axes(self, modality: Modality, shrinkage: float) -> Tensor:
        """(D, R) eigenvectors of C over the roots of the eigenvalues of C + shrinkage * mean eigenvalue * I, without
        directions of zero variance: R is at most the number of rows."""
        values, vectors = self.spectra[modality]
        # An eigenvalue of float64 sums below 1e-12 of the largest is rounding.
        return (vectors * self.shrunk(modality, shrinkage).rsqrt())[:, values > values[-1] * 1e-12]

    def shrunk(self, modality: Modality, shrinkage: float) -> Tensor:
        """Eigenvalues of C + shrinkage * mean eigenvalue * I; infinite for directions without variance."""
        values = self.spectra[modality][0]
        shrunk = values + shrinkage * values.mean()
        return torch.where(shrunk > values[-1] * 1e-12, shrunk, torch.inf)

    @cached_property
    def spectra(self) -> Mapping[Modality, tuple[Tensor, Tensor]]:
        """Eigenvalues, ascending and not negative, and eigenvectors of each covariance: every shrinkage shares them."""
        return _Spectra(self.covariance)


class _Spectra(dict[Modality, tuple[Tensor, Tensor]]):
    """Computed on use: a ridge does not need the spectrum of its target, which may be the widest modality."""

    def __init__(self, covariance: Mapping[tuple[Modality, Modality], Tensor]):
        self._covariance = covariance

    def __missing__(self, m: Modality) -> tuple[Tensor, Tensor]:
        values, vectors = _eigh(self._covariance[m, m])
        # Rounding leaves some eigenvalues just below zero, and their inverse root would be NaN.
        return self.setdefault(m, (values.clamp_min(0.0), vectors))


def moments(latents: Latents, present: Present | None = None, *, pairs: Pairs | None = None) -> Moments:
    """Covariances of every modality and of every pair, or only of `pairs`."""
    check(latents, present)
    mean = {m: mean for m, (mean, _) in statistics(latents, present).items()}
    covariance = {(m, m): _covariance(latents, present, mean, m, m) for m in mean}
    # Pairs are given in any order.
    allowed = {frozenset(pair) for pair in (combinations(mean, 2) if pairs is None else pairs)}
    for p, q in combinations(mean, 2):
        if frozenset((p, q)) in allowed and (c := _covariance(latents, present, mean, p, q)) is not None:
            covariance[p, q] = c
    if len(mean) > 1 and len(covariance) == len(mean):
        raise SeehearError(f"no training row has two of {', '.join(mean)}: there are no pairs to learn from")
    return Moments(mean, {m: torch.ones_like(x) for m, x in mean.items()}, covariance)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Sureness:
    """Uncertainty of a choice over folds."""

    folds: int
    clips: int
    """Clips that the settings were scored on, in all folds."""
    reciprocal_rank: float
    """Mean reciprocal rank over the folds."""
    error: float
    """Standard error of the mean over the folds."""
    others_as_good: int
    """Number of other settings at most one standard error of the difference behind."""

    def __str__(self) -> str:
        rank = f"{self.reciprocal_rank:.3f} ± {self.error:.3f}"
        return f"{self.folds} folds of {self.clips:,} clips, mean reciprocal rank {rank} (standard error)"


@dataclass(frozen=True)
class LinearMaps:
    """normalize((z - mean) @ weight); used like a trained method, through `embed`."""

    name: str
    mean: dict[Modality, Tensor]
    weight: dict[Modality, Tensor]
    """(D, E), strongest column first."""
    strength: Tensor | None = None
    """(E,) correlation of each column, in forms that compute it."""
    settings: dict[str, float | int | str] = field(default_factory=dict)
    """Settings that it was fitted with."""
    sure: Sureness | None = field(default=None, compare=False)
    """Uncertainty of settings that were chosen over folds (`tuning.chosen`)."""
    # Not compared: functions with the same settings are still two functions.
    again: Callable[[Moments], LinearMaps] | None = field(default=None, compare=False, repr=False)
    """Fits the same settings to other moments; for tuned forms."""

    @property
    def spaces(self) -> dict[str, tuple[Modality, ...]]:
        return {"joint": tuple(self.weight)}

    def truncated(self, rank: int | None) -> LinearMaps:
        """The strongest columns only; all of them for None."""
        columns = next(iter(self.weight.values())).shape[1]
        rank = columns if rank is None else min(rank, columns)
        strength = None if self.strength is None else self.strength[:rank]
        weight = {m: w[:, :rank] for m, w in self.weight.items()}
        return replace(self, weight=weight, strength=strength, settings={**self.settings, "rank": rank})

    def embed(self, batch: Latents, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, E) unit vectors} for those modalities of the batch that have a map."""
        vectors = {}
        for m in self.weight:
            if m in batch:
                z = torch.as_tensor(batch[m])
                # Libraries store float16, in which a product over hundreds of numbers keeps too few digits.
                z = z if z.dtype == torch.float64 else z.float()
                vectors[m] = F.normalize((z - self.mean[m].to(z)) @ self.weight[m].to(z), dim=1)
        return vectors


def cca(m: Moments, *, shrinkage: float = 0.1, rank: int | None = None, root: bool = True) -> LinearMaps:
    """Canonical correlations of two modalities; `root` weighs each coordinate by the root of its correlation."""
    if len(m.modalities) != 2:
        raise ValueError(f"cca takes two modalities, gcca more; got {', '.join(m.modalities)}")
    p, q = m.modalities
    white_p, white_q = m.whitened_axes(p, shrinkage), m.whitened_axes(q, shrinkage)
    u, rho, vt = torch.linalg.svd(white_p.T @ m.covariance[p, q] @ white_q, full_matrices=False)
    weight = {p: white_p @ u, q: white_q @ vt.T}
    return _maps("cca", m, weight, {"shrinkage": shrinkage}, strength=rho, root=root).truncated(rank)


def gcca(m: Moments, *, shrinkage: float = 0.1, rank: int | None = None, root: bool = True) -> LinearMaps:
    """Generalised CCA of any number of modalities; pairs without covariance count as uncorrelated. `strength` is the
    mean correlation (lambda - 1) / (M - 1), which for two modalities is CCA's, as are the maps up to sign."""
    white = {p: m.whitened_axes(p, shrinkage) for p in m.modalities}
    sizes = [w.shape[1] for w in white.values()]
    starts = dict(zip(white, np.cumsum([0, *sizes]).tolist(), strict=False))
    # On the diagonal stands each shrunk covariance whitened by itself: an identity.
    k = torch.eye(sum(sizes), dtype=torch.float64)
    for (p, q), c in m.covariance.items():
        if p != q:
            block = white[p].T @ c @ white[q]
            k[starts[p] : starts[p] + len(block), starts[q] : starts[q] + block.shape[1]] = block
            k[starts[q] : starts[q] + block.shape[1], starts[p] : starts[p] + len(block)] = block.T
    values, vectors = _eigh(k)
    columns = min(sizes)
    # At this length the maps of two modalities are those of CCA.
    values, vectors = values.flip(0)[:columns], vectors.flip(1)[:, :columns] * len(white) ** 0.5
    weight = {p: white[p] @ vectors[starts[p] : starts[p] + white[p].shape[1]] for p in white}
    # Blocks estimated from different rows may leave K indefinite: a negative strength is noise.
    strength = ((values - 1) / max(1, len(white) - 1)).clamp_min(0.0)
    return _maps("gcca", m, weight, {"shrinkage": shrinkage}, strength=strength, root=root).truncated(rank)


def canonical(m: Moments, *, shrinkage: float = 0.1, rank: int | None = None, root: bool = True) -> LinearMaps:
    """`cca` for two modalities, `gcca` for more."""
    return (cca if len(m.modalities) == 2 else gcca)(m, shrinkage=shrinkage, rank=rank, root=root)


def procrustes(m: Moments, *, hub: Modality | None = None, rank: int | None = None) -> LinearMaps:
    """Every modality rotated onto the hub (the last one by default); with a rank, or unequal widths, after PCA."""
    hub = m.modalities[-1] if hub is None else hub
    widths = {p: len(mean) for p, mean in m.mean.items()}
    if rank is None and len(set(widths.values())) > 1:
        # A rotation needs equal widths: principal components give them.
        rank = min(widths.values())
    axes = {p: torch.eye(widths[p], dtype=torch.float64) for p in widths}
    if rank is not None:
        # Flipped: `eigh` gives the weakest direction first.
        axes = {p: m.spectra[p][1].flip(1)[:, :rank] for p in widths}
    weight = {}
    for p in m.modalities:
        if p == hub:
            weight[p] = axes[p]
        else:
            u, _, vt = torch.linalg.svd(axes[p].T @ m.cross(p, hub) @ axes[hub])
            weight[p] = axes[p] @ (u @ vt)
    return _maps("procrustes", m, weight, {"hub": hub, "rank": rank or widths[hub]})


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
            # Directions without variance are infinite there and drop out: 1 / inf = 0.
            inverse, vectors = m.shrunk(p, r).reciprocal(), m.spectra[p][1]
            weight[p] = vectors @ (inverse[:, None] * (vectors.T @ m.cross(p, hub)))
            settings[f"shrinkage of {p}"] = r
    return _maps("ridge", m, weight, settings)


def _eigh(c: Tensor) -> tuple[Tensor, Tensor]:
    """Ascending eigenvalues, and eigenvectors."""
    # numpy's LAPACK takes half the time of torch's.
    values, vectors = np.linalg.eigh(c.numpy())
    return torch.from_numpy(values), torch.from_numpy(vectors)


def _maps(
    name: str,
    m: Moments,
    weight: dict[Modality, Tensor],
    settings: Mapping[str, float | int | str],
    *,
    strength: Tensor | None = None,
    root: bool = False,
) -> LinearMaps:
    """Maps of raw latents from those of scaled ones; `root`: each column times the root of its strength."""
    if root and strength is not None:
        weight = {p: w * strength.sqrt() for p, w in weight.items()}
    unscaled = {p: w / m.scale[p][:, None] for p, w in weight.items()}
    return LinearMaps(name, m.mean, unscaled, strength, dict(settings))


def _covariance(
    latents: Latents, present: Present | None, mean: dict[Modality, Tensor], p: Modality, q: Modality
) -> Tensor | None:
    """The covariance (D_p, D_q) of the rows that have both; None without any."""
    product, of_p, of_q, rows = torch.zeros(()), torch.zeros(()), torch.zeros(()), 0
    for x, y in _chunks(latents, present, p, q):
        # Uncentred, text latents have a mean cosine near 0.9, which would be all that a closed form sees.
        x, y = x - mean[p], y - mean[q]
        product, of_p, of_q, rows = product + x.T @ y, of_p + x.sum(dim=0), of_q + y.sum(dim=0), rows + len(x)
    # `mean` is over all rows of a modality, and these may have another one: what is left of it is taken off.
    return None if rows == 0 else product / rows - torch.outer(of_p / rows, of_q / rows)
