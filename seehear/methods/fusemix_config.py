"""Settings of FuseMix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from seehear.errors import SeehearError, check_range, unknown
from seehear.methods.base import MethodConfig, config_from
from seehear.types import Modality


@dataclass(frozen=True, kw_only=True)
class FuseMixConfig(MethodConfig):
    name: ClassVar = "fusemix"
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
    """Where the learned tau starts; it stays in [0.001, 0.5]."""
    pairs: tuple[tuple[Modality, Modality], ...] = ()
    """Pairs of modalities to align; empty means all. With a hub, say text: (('video', 'text'), ('audio', 'text'))."""
    weighting: Literal["pairs", "rows"] = "pairs"
    """Whether every pair of modalities has an equal say, or every row."""
    mask_same_group: bool = False
    """Rows of one source recording are no negatives of each other."""
    mask_duplicates: bool = True
    """Rows with the same latent in a modality (one caption of many clips) are no negatives in its pairs."""
    matryoshka: tuple[int, ...] = ()
    """Widths of prefixes that must work on their own; empty means only the whole vector."""
    locked: tuple[Modality, ...] = ()
    """Modalities whose latents are the space as they are; `dim` is their width. A recipe leaves it empty: data fills it
    in."""
    linear_shrinkage: float = 0.1
    """Shrinkage of the CCA that a 'skip' or 'linear' head starts from, when `fit` is given none."""
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
    """Of the encoders, likewise."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", {m: tuple(b) for m, b in self.blocks.items()})
        object.__setattr__(self, "pairs", tuple((p, q) for p, q in self.pairs))
        object.__setattr__(self, "matryoshka", tuple(self.matryoshka))
        object.__setattr__(self, "locked", tuple(self.locked))
        object.__setattr__(self, "learned", {name: tuple(shape) for name, shape in self.learned.items()})
        if len(self.widths) == 1:
            raise SeehearError(f"FuseMix aligns two modalities at least; got {', '.join(self.widths)}")
        for m in [*self.blocks, *self.locked, *(m for pair in self.pairs for m in pair)] if self.widths else []:
            if m not in self.widths:
                raise unknown("modality", m, self.widths)
        for m, blocks in self.blocks.items() if self.widths else ():
            if sum(blocks) != self.widths[m] or not self.standardise:
                raise SeehearError(
                    f"blocks of {m} must add up to {self.widths[m]} and need standardise=True; got {blocks}"
                )
        if self.widths and self.locked:
            self._check_locked()
        check_range(self, "[1, inf)", "dim", "expansion")
        check_range(self, "[0, inf)", "depth", "linear_shrinkage", "linear_lr", "rank", "encoder_lr")
        check_range(self, "(0, inf)", "temperature")
        if not self.alpha > 0 or not 0 <= self.dropout < 1:
            raise SeehearError(f"alpha must be > 0 and dropout in [0, 1); got {self.alpha} and {self.dropout}")
        if any(not 0 < d <= self.dim for d in self.matryoshka):
            raise SeehearError(f"matryoshka widths must be in 1..{self.dim}; got {self.matryoshka}")

    def _check_locked(self) -> None:
        if set(self.locked) >= set(self.widths):
            raise SeehearError(f"all of {', '.join(self.widths)} are locked: no head is left to train")
        if wrong := [m for m in self.locked if self.widths[m] != self.dim]:
            raise SeehearError(
                f"locked latents are the space: {wrong[0]} is {self.widths[wrong[0]]} wide, dim is {self.dim}"
            )

        if self.pairs and all(set(pair) <= set(self.locked) for pair in self.pairs):
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

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FuseMixConfig:
        """What `dataclasses.asdict`, or JSON made from it, gave."""
        return config_from(cls, values, "FuseMix")
