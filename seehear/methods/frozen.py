"""Frozen: the space of a joint encoder, without training.

    z_m = x_m / |x_m|

x are latents of towers that were trained together (SigLIP, CLAP, PE-AV, a packaged word tower), so that their cosines
are comparable. A single encoder is a space with one modality. There is no parameter and no `fit`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from seehear.errors import SeehearError
from seehear.methods.base import Method, MethodConfig, config_from
from seehear.nn.random import Randomness
from seehear.types import Modality, Tensor


@dataclass(frozen=True, kw_only=True)
class FrozenConfig(MethodConfig):
    name: ClassVar[str] = "frozen"

    widths: Mapping[Modality, int]
    """Width of each tower's latents; all are equal."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> FrozenConfig:
        return config_from(cls, values, "frozen")

    def __post_init__(self) -> None:
        if len(set(self.widths.values())) != 1:
            widths = ", ".join(f"{m} {width}" for m, width in self.widths.items()) or "none"
            raise SeehearError(f"frozen: towers of one space have one width; got {widths}")

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.widths)


class Frozen(Method):
    """`features` and `place` are the identity, `embed` normalises."""

    name: ClassVar[str] = "frozen"
    config_type: ClassVar[type] = FrozenConfig
    config: FrozenConfig

    def __init__(self, config: FrozenConfig):
        super().__init__()
        self.config = config
        self.spaces = {"joint": config.modalities}

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        # Libraries store float16, in which a cosine over hundreds of numbers keeps too few digits.
        return x.float()
