"""Settings of DiffMAViL: those of MAViL, and each of its ingredients by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from seehear.errors import SeehearError, unknown
from seehear.methods.base import config_from
from seehear.methods.mavil_config import SIDES, FastPaths, MAViLConfig
from seehear.nn.curriculum import Curriculum
from seehear.nn.diffusion import Schedule
from seehear.nn.maskeddecoder import DecoderKind
from seehear.nn.transformer import Size
from seehear.types import Modality


@dataclass(frozen=True, kw_only=True)
class Batches:
    """How many clips a step has while the masking ratio changes."""

    follow: Literal["nothing", "compute", "memory"] = "nothing"
    """`nothing`: always equally many. Otherwise as many more as their products (`compute`) or kept numbers (`memory`)
    are fewer; memory is the one that cannot run out of it."""
    reference: float = 0.8
    """The ratio at which a step has the run's `batch_size`."""
    multiple: int = 64
    """Batches are rounded down to multiples of it."""

    def __post_init__(self) -> None:
        if not 0 < self.reference < 1 or self.multiple < 1:
            raise SeehearError(f"reference is between 0 and 1, multiple 1 at least; got {self}")


@dataclass(frozen=True, kw_only=True)
class DiffMAViLConfig(MAViLConfig):
    decoders: dict[Modality, DecoderKind] = field(default_factory=lambda: {"video": "cross", "audio": "joint"})
    """How hidden patches see the seen ones, and each other."""
    diffuse: tuple[Modality, ...] = SIDES
    """Where hidden patches are given diffused. Elsewhere one learned token stands for each of them, as in MAViL."""
    noise: Schedule = Schedule()
    """How much of a patch is left at each diffusion step."""
    noise_space: Literal["dataset", "patch"] = "dataset"
    """What noise is added to: patches in units of the data set, or each standardised by itself."""
    shared_step: bool = False
    """Sound and pictures of a clip are at the same diffusion step."""
    curriculum: Curriculum = Curriculum()
    """The part of the patches that is hidden, over the run. It takes the place of `masking`."""
    batches: Batches = Batches()
    """Whether batches grow where much is hidden."""

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "diffuse", tuple(self.diffuse))
        for m in self.diffuse:
            if m not in SIDES:
                raise unknown("modality", m, SIDES)
        if self.noise_space == "patch" and not self.standardise:
            raise SeehearError("noise_space patch needs standardise: what is diffused must be what is told")
        if set(self.masking.values()) != {0.8}:
            raise SeehearError(
                "the curriculum says what is hidden: set curriculum.start and curriculum.end, not masking"
            )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DiffMAViLConfig:
        """What `dataclasses.asdict`, or JSON made from it, gave."""
        nested = {"size": Size, "decoder": Size, "fast": FastPaths}
        own = {"noise": Schedule, "curriculum": Curriculum, "batches": Batches}
        return config_from(cls, values, "DiffMAViL", **nested, **own)
