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

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from seehear.encoders.learning import LearningEncoder
from seehear.errors import SeehearError, check_range, unknown
from seehear.losses.contrastive import Overlap, info_nce, pairwise
from seehear.methods import linear
from seehear.methods.base import Method, MethodConfig
from seehear.nn.latents import (
    FusionAdapter,
    GatedSkip,
    Standardise,
    Temperature,
    halves,
    mix,
    permutation,
    row_numbers,
)
from seehear.nn.random import Randomness, seed_of
from seehear.types import Batch, Encoded, Modality, StepOutput, Tensor, group_numbers, presence


@dataclass(frozen=True, kw_only=True)
class FuseMixConfig(MethodConfig):
    name: ClassVar = "fusemix"
    removed: ClassVar = ("matryoshka", "weighting", "linear_shrinkage")
    widths: dict[Modality, int] = field(default_factory=dict)
    """Width of the cached latents, by modality; two modalities at least. A recipe leaves it empty: data fills it in."""
    blocks: dict[Modality, tuple[int, ...]] = field(default_factory=dict)
    """Widths of the concatenated encoders of a modality, where it has several: each then gets an equal say."""
    standardise: bool = True
    """Latents to zero mean and unit variance over the training rows before mixing. (The paper does not.)"""
    dim: int = 512
    """Width of the shared space."""
    head: Literal["adapter", "skip", "linear"] = "adapter"
    """'adapter' is the paper's; 'skip' a linear map from CCA with the adapter behind a gate that opens from zero;
    'linear' that map alone."""
    depth: int = 4
    """Residual blocks of an adapter."""
    expansion: int = 4
    """Hidden width of a block, in widths of the latent."""
    dropout: float = 0.6
    """Probability, in every block."""
    mix: Literal["halves", "permutation", "none"] = "halves"
    """'halves' turns B loaded rows into B/2, each source used once; 'permutation' keeps B rows, for small sets."""
    alpha: float = 1.0
    """lam ~ Beta(alpha, alpha): 1 is uniform, towards 0 hardly any mixing."""
    lambda_per: Literal["batch", "row"] = "batch"
    """One lam for the whole batch (the paper's code), or one a row; always the same for all modalities."""
    temperature: float = 0.07
    """Initial value of the learned tau, which stays in [0.001, 0.5]."""
    pairs: tuple[tuple[Modality, Modality], ...] = ()
    """Pairs of modalities to align; empty means all. With a hub, say text: (('video', 'text'), ('audio', 'text'))."""
    mask_same_group: bool = False
    """Rows of one source recording are no negatives of each other."""
    mask_duplicates: bool = True
    """Rows with the same latent in a modality (one caption of many clips) are no negatives in its pairs."""
    locked: tuple[Modality, ...] = ()
    """Modalities whose latents are the space as they are; `dim` is their width. A recipe leaves it empty: data fills it
    in."""
    linear_lr: float = 1.0
    """Learning rate of the linear map, relative to the rest."""
    encoders: dict[Modality, str] = field(default_factory=dict)
    """Encoders that learn with the heads, by modality. Empty: latents of frozen encoders are read."""
    rank: int = 8
    """Rank of the changes of a hub encoder that learns; a packaged encoder learns its last block whole."""
    encoder_lr: float = 0.1
    """Learning rate of the encoders, relative to the rest."""
    learned: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Shapes of the weights that learn, by 'modality/module'. A recipe leaves it empty: the encoders fill it in."""
    fingerprints: dict[Modality, str] = field(default_factory=dict)
    """Fingerprints of the encoders, filled in likewise."""

    def __post_init__(self) -> None:
        # JSON gives lists: as tuples, settings that were saved and loaded equal those before.
        object.__setattr__(self, "blocks", {m: tuple(b) for m, b in self.blocks.items()})
        object.__setattr__(self, "pairs", tuple((p, q) for p, q in self.pairs))
        object.__setattr__(self, "locked", tuple(self.locked))
        object.__setattr__(self, "learned", {name: tuple(shape) for name, shape in self.learned.items()})
        if self.widths:
            self._check_modalities()
        check_range(self, "[1, inf)", "dim", "expansion")
        check_range(self, "[0, inf)", "depth", "linear_lr", "rank", "encoder_lr")
        check_range(self, "(0, inf)", "temperature")
        if not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise SeehearError(f"alpha must be > 0 and dropout in [0, 1); got {self.alpha} and {self.dropout}")

    def _check_modalities(self) -> None:
        """Raises `SeehearError` where the options name modalities, or widths of them, that do not fit `widths`."""
        if len(self.widths) == 1:
            raise SeehearError(f"FuseMix aligns two modalities at least; got {', '.join(self.widths)}")
        for m in [*self.blocks, *self.locked, *(m for pair in self.pairs for m in pair)]:
            if m not in self.widths:
                raise unknown("modality", m, self.widths)
        for m, blocks in self.blocks.items():
            if sum(blocks) != self.widths[m] or not self.standardise:
                raise SeehearError(
                    f"blocks of {m} must add up to {self.widths[m]} and need standardise=True; got {blocks}"
                )
        if not self.trained:
            raise SeehearError(f"all of {', '.join(self.widths)} are locked: no head is left to train")
        if wrong := [m for m in self.locked if self.widths[m] != self.dim]:
            raise SeehearError(
                f"locked latents are the space: {wrong[0]} is {self.widths[wrong[0]]} wide, dim is {self.dim}"
            )
        if self.locked and self.pairs and all(set(pair) <= set(self.locked) for pair in self.pairs):
            raise SeehearError("no pair binds a modality to a locked one: leave out --method.pairs")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.encoders) or super().modalities

    @property
    def trained(self) -> tuple[Modality, ...]:
        """The modalities that have a head."""
        return tuple(m for m in self.widths if m not in self.locked)

    @property
    def starts_closed(self) -> bool:
        return self.head != "adapter"


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
        self.heads = nn.ModuleDict()
        make = partial(FusionAdapter, depth=config.depth, expansion=config.expansion, dropout=config.dropout)
        for m in config.trained:
            width, bare = config.widths[m], config.head == "adapter"
            adapter = None if config.head == "linear" else make(width, config.dim)
            self.heads[m] = adapter if adapter is not None and bare else GatedSkip(width, config.dim, adapter)
        self.logits = Temperature(config.temperature)
        self.encoders = nn.ModuleDict()
        for m, name in config.encoders.items():
            weights = {k.removeprefix(f"{m}/"): s for k, s in config.learned.items() if k.startswith(f"{m}/")}
            fingerprint = config.fingerprints.get(m, "")
            self.encoders[m] = LearningEncoder(name, m, weights, rank=config.rank, fingerprint=fingerprint)
        # Latents of encoders that learn are known only after `encode`: mixing is then part of the objective.
        self.assembles = not config.encoders  # type: ignore[misc]
        self.reads_media = bool(config.encoders)  # type: ignore[misc]

    @torch.no_grad()
    def fit(
        self, latents: linear.Latents, present: linear.Present | None = None, *, start: linear.LinearMaps | None = None
    ) -> FuseMix:
        """Take from the training latents what is set once: the standardisation, and the linear map of a head that has
        one. That is `start` (a closed form tuned on validation rows), or CCA with the default shrinkage: embeddings
        are then, before the first step, those of the closed form."""
        latents = {m: latents[m] for m in self._held(latents)}
        for m, z in latents.items():
            self._check_width(m, z.shape[1])
        if self.config.standardise:
            # Mixing adds vectors: unscaled, a latent of large norm would outvote its partner.
            for m, (mean, deviation) in linear.statistics(latents, present).items():
                if m in self.config.trained:
                    self._standardise(m).set(mean, deviation, self.config.blocks.get(m, ()))
        if self.config.head != "adapter":
            if start is None and self.config.locked:
                raise ValueError("a locked space is entered from a closed form: give `start` (methods/tuning.py)")
            if start is None:
                moments = linear.moments(latents, present, pairs=self.config.pairs or None)
                start = linear.canonical(moments.standardised())
            self._start_from(start)
        return self

    def _start_from(self, maps: linear.LinearMaps) -> None:
        dim, rank = self.config.dim, min(self.config.dim, next(iter(maps.weight.values())).shape[1])
        spread_EK = torch.eye(dim, dtype=torch.float64)
        if rank < dim:
            # A fixed rotation spreads the few coordinates over all dimensions. Padded with zeros, the rest would get
            # no gradient and stay zero.
            draws = torch.randn(dim, rank, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
            spread_EK = torch.linalg.qr(draws).Q
        for m, head in self.heads.items():
            assert isinstance(head, GatedSkip)
            # The maps act on raw latents, a head on standardised ones: the difference is folded into its weight.
            standardise = self._standardise(m)
            offset, scale = standardise.mean.double().cpu(), standardise.scale.double().cpu()
            weight_DE = (maps.weight[m][:, :rank] / scale[:, None]) @ spread_EK.T
            head.start_from((maps.mean[m] - offset) * scale, weight_DE)

    def lr_multiplier(self, parameter: str) -> float:
        if parameter.startswith("encoders."):
            return self.config.encoder_lr
        return self.config.linear_lr if ".linear." in parameter else 1.0

    # -- a step ------------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def assemble(self, batch: Batch, *, rng: Randomness) -> Batch:
        return self._mixed(batch, rng)

    def _mixed(self, batch: Batch, rng: Randomness) -> Batch:
        """The mixed rows, and of which sources each is made: `first` and `second` (B, N) int64 number a row's sources
        in N ways of being the same, `weight` (B,) is lam."""
        held = self._held(batch)
        present = presence(batch, held)
        device = next(iter(batch.values())).device
        present_BM = torch.stack([has_B.cpu() for has_B in present.values()], dim=1)
        if self.config.mix == "halves":
            partners = halves(present_BM)
        elif self.config.mix == "permutation":
            partners = permutation(present_BM, rng.shared("fusemix/partner"))
        else:
            partners = torch.arange(len(present_BM)), torch.arange(len(present_BM))
        first_R, second_R = (rows.to(device) for rows in partners)
        if len(first_R) < 2:
            raise SeehearError(f"{len(first_R)} row after mixing: a contrastive loss needs 2, take more training clips")
        lam_R = torch.ones(len(first_R), device=device)
        if self.config.mix != "none":
            # NumPy's generator: torch draws no Beta variable from a given one.
            draw = np.random.default_rng(seed_of(rng.seed, rng.step, "fusemix/weight"))
            lam = draw.beta(self.config.alpha, self.config.alpha, len(lam_R) if self.config.lambda_per == "row" else 1)
            lam_R = torch.from_numpy(lam).float().expand(len(lam_R)).clone().to(device)
        mixed: Batch = {}
        for m, has_B in present.items():
            # Libraries store float16: mixed in that type, rows would be rounded twice.
            z_BD = batch[m].to(self.logits.tau.dtype)
            mixed[m] = z_BD if self.config.mix == "none" else mix(z_BD, first_R, second_R, lam_R)
            mixed[f"has_{m}"] = has_B[first_R] & has_B[second_R]
        numbers = [group_numbers(batch)] if self.config.mask_same_group else []
        for m in held if self.config.mask_duplicates else []:
            numbers_B = row_numbers(batch.get(f"{m} bytes", batch[m]).detach())
            # Absent latents may be equal; their rows are not.
            numbers.append(torch.where(present[m], numbers_B, torch.arange(len(numbers_B), device=device)))
        if numbers:
            same_BN = torch.stack(numbers, dim=1)
            mixed |= {"first": same_BN[first_R], "second": same_BN[second_R], "weight": lam_R}
        return mixed

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        if not self.encoders:
            return self._headed(batch, rng)
        held = self._held(batch)
        context = {"group": group_numbers(batch)} if self.config.mask_same_group else {}
        # Equal texts get latents that are equal but for rounding: duplicates are told by their bytes.
        if "text" in held:
            context["text bytes"] = batch["text"].flatten(1)
        return Encoded({m: self.features(m, batch[m]) for m in held}, presence(batch, held), context)

    def _headed(self, batch: Batch, rng: Randomness | None) -> Encoded:
        held = self._held(batch)
        features = {m: F.normalize(self._project(m, batch[m], rng), dim=1) for m in held}
        context = {name: x for name, x in batch.items() if name in ("first", "second", "weight")}
        return Encoded(features, presence(batch, held), context)

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        if self.encoders:
            present = {f"has_{m}": has_B for m, has_B in encoded.present.items()}
            mixed = self._mixed({**encoded.features, **present, **encoded.context}, rng)
            rows = len(next(iter(mixed.values())))
            # Dropout is drawn for mixed rows, of which there may be half as many as were loaded.
            encoded = self._headed(mixed, rng.resized(0, rows, rows))
        held, locked, context = list(encoded.features), set(self.config.locked), encoded.context
        # A pair of two locked modalities has nothing to learn.
        pairs = [pair for pair in self.config.pairs or combinations(held, 2) if not locked.issuperset(pair)]
        # In the order in which `_mixed` stacks the numbers.
        ways = ["group"] * self.config.mask_same_group + held * self.config.mask_duplicates

        def overlap(p: Modality, q: Modality) -> Overlap | None:
            if "weight" not in context:
                return None
            at = [i for i, way in enumerate(ways) if way in ("group", p, q)]
            return Overlap(context["first"][:, at].T, context["second"][:, at].T, context["weight"])

        aligned = pairwise(
            encoded.features,
            encoded.present,
            partial(info_nce, temperature=self.logits()),
            pairs=[pair for pair in pairs if set(pair) <= set(held)],
            exclude=overlap,
        )
        metrics = {f"loss/{p}-{q}": term.detach() for (p, q), term in aligned.terms.items()}
        metrics["temperature"] = self.logits.tau.detach().clone()
        return StepOutput(aligned.total, metrics)

    # -- use ---------------------------------------------------------------------------------------------------------

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        z_BD: Tensor = self.encoders[m](x) if m in self.encoders else x
        return z_BD

    def place(self, features: Mapping[Modality, Tensor], space: str | None = None) -> dict[Modality, Tensor]:
        return {m: self._project(m, z_BD, None) for m, z_BD in features.items() if m in self.config.widths}

    def _held(self, batch: Mapping[str, Any]) -> list[Modality]:
        """The model's modalities, but for locked ones that only queries have: words where no clip has text."""
        return [m for m in self.config.widths if m in batch or m not in self.config.locked]

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
        if width != (own := self.config.widths[m]):
            raise SeehearError(f"latents of {m} are {width} wide, this model was made for {own}: another encoder?")
