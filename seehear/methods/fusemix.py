"""FuseMix: Data-Efficient Multimodal Fusion on a Single GPU (arXiv 2312.10144).

Frozen encoders give one latent z a modality; small heads h, one a modality, map the latents into one space.
    mix    z~_i = lam z_i + (1 - lam) z_j,   lam ~ Beta(alpha, alpha)
    loss   symmetric InfoNCE(h_x(x~), h_y(y~)) over the batch, temperature tau; averaged over pairs of modalities
One lam and one partner j serve every modality of a sample: a mixed pair stays a pair. The mixed rows replace the loaded
ones, and their negatives are each other. A mixed row has a modality only if both its sources do.

Bind: the latents of `locked` modalities, towers of one joint encoder, are the space: h is the identity there, without
parameters. Heads lead the other modalities into it, learned from clips that have one of each.

Tuned: `encoders` read raw media, and some of their weights learn with the heads (`encoders/learning.py`). z depends on
them, so mixing is part of the objective: gradient caching then holds one micro-batch of the encoders' graph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from seehear.encoders.learning import LearningEncoder
from seehear.errors import SeehearError
from seehear.losses.contrastive import Overlap, PairLoss, info_nce, matryoshka, pairwise
from seehear.methods import linear
from seehear.methods.base import Method
from seehear.methods.fusemix_config import FuseMixConfig
from seehear.nn.adapter import FusionAdapter, GatedSkip, Standardise, Temperature
from seehear.nn.mixing import halves, mix, permutation, row_numbers
from seehear.nn.random import Randomness, seed_of
from seehear.nn.statistics import Latents, Present, statistics
from seehear.types import Batch, Encoded, Modality, StepOutput, Tensor, group_numbers, presence

__all__ = ["FuseMix", "FuseMixConfig"]

_SOURCES: tuple[str, ...] = ("first", "second", "weight")
"""What `assemble` says of each mixed row: its sources, (B, N) int64 for N ways of being the same, and how much of the
first it holds."""


class FuseMix(Method):
    name = "fusemix"
    assembles = True
    config_type = FuseMixConfig
    config: FuseMixConfig

    def __init__(self, config: FuseMixConfig):
        super().__init__()
        if not config.widths:
            raise ValueError("widths must say how wide the latents of each modality are")
        self.config = config
        self.spaces = {"joint": tuple(config.widths)}
        self.standardise = nn.ModuleDict({m: Standardise(config.widths[m]) for m in config.trained})
        self.heads = nn.ModuleDict({m: _head(config, config.widths[m]) for m in config.trained})
        self.logits = Temperature(config.temperature)
        self.encoders = nn.ModuleDict({m: _encoder(config, m) for m in config.encoders})
        self.assembles = not config.encoders  # type: ignore[misc]
        self.reads_media = bool(config.encoders)  # type: ignore[misc]

    @torch.no_grad()
    def fit(
        self, latents: Latents, present: Present | None = None, *, start: linear.LinearMaps | None = None
    ) -> FuseMix:
        """Take from the training latents what is set once: the standardisation, and the linear map of a head that has
        one. That is `start` (a closed form tuned on validation rows), or CCA with the configured shrinkage: embeddings
        are then, before the first step, those of the closed form."""
        latents = {m: latents[m] for m in self._held(latents)}
        for m, z in latents.items():
            self._check_width(m, z.shape[1])
        if self.config.standardise:
            for m, (mean, deviation) in statistics(latents, present).items():
                if m in self.config.trained:
                    self._standardise(m).set(mean, deviation, self.config.blocks.get(m, ()))
        if self.config.head != "adapter":
            if start is None and self.config.locked:
                raise ValueError("a locked space is entered from a closed form: give `start` (methods/tuning.py)")
            if start is None:
                moments = linear.moments(latents, present, pairs=self.config.pairs or None).standardised()
                start = linear.canonical(moments, shrinkage=self.config.linear_shrinkage)
            self._start_from(start)
        return self

    def lr_multiplier(self, parameter: str) -> float:
        if parameter.startswith("encoders."):
            return self.config.encoder_lr
        return self.config.linear_lr if ".linear." in parameter else 1.0

    @torch.no_grad()
    def assemble(self, batch: Batch, *, rng: Randomness) -> Batch:
        return self._mixed(batch, rng)

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        z_BD: Tensor = self.encoders[m](x) if m in self.encoders else x
        return z_BD

    def _mixed(self, batch: Batch, rng: Randomness) -> Batch:
        """The mixed rows, and of which sources each is made."""
        held = self._held(batch)
        present = presence(batch, held)
        device = next(iter(batch.values())).device
        first_R, second_R = (rows.to(device) for rows in self._partners(present, rng))
        if len(first_R) < 2:
            raise SeehearError(f"{len(first_R)} row after mixing: a contrastive loss needs 2, take more training clips")
        weight_R = self._weights(len(first_R), rng).to(device)
        mixed: Batch = {}
        for m, has_B in present.items():
            z_BD = batch[m].to(self.logits.tau.dtype)
            mixed[m] = z_BD if self.config.mix == "none" else mix(z_BD, first_R, second_R, weight_R)
            mixed[f"has_{m}"] = has_B[first_R] & has_B[second_R]
        if ways := self._ways(held):
            same_BN = torch.stack([self._numbers(batch, present, way) for way in ways], dim=1)
            mixed |= zip(_SOURCES, (same_BN[first_R], same_BN[second_R], weight_R), strict=True)
        return mixed

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        if not self.encoders:
            return self._headed(batch, rng)
        held = self._held(batch)
        context = {"group": group_numbers(batch)} if self.config.mask_same_group else {}
        if "text" in held:  # equal texts get latents that are equal but for rounding
            context["text bytes"] = batch["text"].flatten(1)
        return Encoded({m: self.features(m, batch[m]) for m in held}, presence(batch, held), context)

    def _headed(self, batch: Batch, rng: Randomness | None) -> Encoded:
        held = self._held(batch)
        features = {m: F.normalize(self._project(m, batch[m], rng), dim=1) for m in held}
        context = {name: batch[name] for name in _SOURCES if name in batch}
        return Encoded(features, presence(batch, held), context)

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        if self.encoders:
            present = {f"has_{m}": has_B for m, has_B in encoded.present.items()}
            mixed = self._mixed({**encoded.features, **present, **encoded.context}, rng)
            rows = len(next(iter(mixed.values())))
            encoded = self._headed(mixed, rng.resized(0, rows, rows))
        held, locked = list(encoded.features), set(self.config.locked)
        pairs = [pair for pair in self.config.pairs or combinations(held, 2) if not locked.issuperset(pair)]
        aligned = pairwise(
            encoded.features,
            encoded.present,
            self._pair_loss(),
            pairs=[pair for pair in pairs if set(pair) <= set(held)],
            weighting=self.config.weighting,
            exclude=partial(self._overlap, encoded.context, self._ways(held)),
        )
        metrics = {f"loss/{p}-{q}": term.detach() for (p, q), term in aligned.terms.items()}
        metrics["temperature"] = self.logits.tau.detach().clone()
        return StepOutput(aligned.total, metrics)

    def place(self, features: Mapping[Modality, Tensor], space: str | None = None) -> dict[Modality, Tensor]:
        return {m: self._project(m, z_BD, None) for m, z_BD in features.items() if m in self.config.widths}

    def _partners(self, present: Mapping[Modality, Tensor], rng: Randomness) -> tuple[Tensor, Tensor]:
        present_BM = torch.stack([has_B.cpu() for has_B in present.values()], dim=1)
        if self.config.mix == "permutation":
            return permutation(present_BM, rng.shared("fusemix/partner"))
        if self.config.mix == "none":
            return torch.arange(len(present_BM)), torch.arange(len(present_BM))
        if len(present_BM) % 2:
            raise SeehearError(
                f"mixing halves needs an even number of loaded rows; got {len(present_BM)}: "
                "take an even batch size, or mix='permutation'"
            )
        return halves(present_BM)

    def _weights(self, rows: int, rng: Randomness) -> Tensor:
        if self.config.mix == "none":
            return torch.ones(rows)
        draw = np.random.default_rng(seed_of(rng.seed, rng.step, "fusemix/weight"))
        each = draw.beta(self.config.alpha, self.config.alpha, rows if self.config.lambda_per == "row" else 1)
        return torch.from_numpy(each).float().expand(rows).clone()

    def _held(self, batch: Mapping[str, Any]) -> list[Modality]:
        """The model's modalities, but for locked ones that only queries have: words where no clip has text."""
        return [m for m in self.config.widths if m in batch or m not in self.config.locked]

    def _ways(self, held: Sequence[Modality]) -> list[str]:
        duplicates = list(held) if self.config.mask_duplicates else []
        return (["group"] if self.config.mask_same_group else []) + duplicates

    def _numbers(self, batch: Batch, present: Mapping[Modality, Tensor], way: str) -> Tensor:
        """(B,) int64: rows with equal numbers are the same in this way."""
        if way == "group":
            return group_numbers(batch)
        numbers_B = row_numbers(batch.get(f"{way} bytes", batch[way]).detach())
        return torch.where(present[way], numbers_B, torch.arange(len(numbers_B), device=numbers_B.device))

    def _overlap(self, context: dict[str, Tensor], ways: list[str], p: Modality, q: Modality) -> Overlap | None:
        if "weight" not in context:
            return None
        at = [i for i, way in enumerate(ways) if way in ("group", p, q)]
        return Overlap(context["first"][:, at].T, context["second"][:, at].T, context["weight"])

    def _pair_loss(self) -> PairLoss:
        loss: PairLoss = partial(info_nce, temperature=self.logits())
        if not self.config.matryoshka:
            return loss
        return lambda x, y, exclude: matryoshka(partial(loss, exclude=exclude), x, y, self.config.matryoshka)

    def _project(self, m: Modality, x_BD: Tensor, rng: Randomness | None) -> Tensor:
        """The head's vectors of latents, of any length."""
        self._check_width(m, x_BD.shape[1])
        if m in self.config.locked:
            return x_BD.to(self.logits.tau.dtype)
        standardise = self._standardise(m)
        z_BD = standardise(x_BD.to(standardise.mean.dtype))
        return self.heads[m](z_BD, rng=rng, name=f"fusemix/{m}").to(z_BD.dtype)

    def _standardise(self, m: Modality) -> Standardise:
        module = self.standardise[m]
        assert isinstance(module, Standardise)
        return module

    def _check_width(self, m: Modality, width: int) -> None:
        if width != self.config.widths[m]:
            raise SeehearError(
                f"latents of {m} are {width} wide, this model was made for {self.config.widths[m]}: another encoder?"
            )

    def _start_from(self, maps: linear.LinearMaps) -> None:
        """The maps act on raw latents, a head on standardised ones: fold the difference into its weight."""
        rank = min(self.config.dim, next(iter(maps.weight.values())).shape[1])
        spread_EK = _isometry(self.config.dim, rank)
        for m, head in self.heads.items():
            assert isinstance(head, GatedSkip)
            standardise = self._standardise(m)
            offset, scale = standardise.mean.double().cpu(), standardise.scale.double().cpu()
            weight_DE = (maps.weight[m][:, :rank] / scale[:, None]) @ spread_EK.T
            head.start_from((maps.mean[m] - offset) * scale, weight_DE)


def _encoder(config: FuseMixConfig, m: Modality) -> LearningEncoder:
    weights = {name.removeprefix(f"{m}/"): s for name, s in config.learned.items() if name.startswith(f"{m}/")}
    return LearningEncoder(config.encoders[m], m, weights, rank=config.rank, fingerprint=config.fingerprints.get(m, ""))


def _head(config: FuseMixConfig, width: int) -> nn.Module:
    if config.head == "linear":
        return GatedSkip(width, config.dim)
    adapter = FusionAdapter(width, config.dim, depth=config.depth, expansion=config.expansion, dropout=config.dropout)
    return adapter if config.head == "adapter" else GatedSkip(width, config.dim, adapter)


def _isometry(dim: int, rank: int) -> Tensor:
    """(dim, rank) with orthonormal columns: the identity when square, else a fixed rotation that spreads the few
    coordinates over all dimensions. Padded with zeros, the rest would get no gradient and stay zero."""
    if dim == rank:
        return torch.eye(dim, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    return torch.linalg.qr(torch.randn(dim, rank, generator=generator, dtype=torch.float64)).Q
