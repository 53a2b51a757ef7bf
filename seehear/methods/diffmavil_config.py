"""Settings of DiffMAViL: those of MAViL, and each of its ingredients by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, cast

from seehear.errors import SeehearError, unknown
from seehear.methods.base import AnyRun, config_from
from seehear.methods.mavil_config import SIDES, FastPaths, MAViLConfig
from seehear.methods.mavil_cost import activations, forward, shape_of
from seehear.nn.curriculum import Curriculum, rows_for
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
            raise ValueError(f"reference is between 0 and 1, multiple 1 at least; got {self}")


@dataclass(frozen=True, kw_only=True)
class DiffMAViLConfig(MAViLConfig):
    name: ClassVar = "diffmavil"
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

    def scheduled(self, run: AnyRun) -> AnyRun:
        """A ratio for each epoch, and the batch of each epoch where batches follow it. The rate then follows the batch,
        as (rows / optim.lr_rows) ^ optim.lr_power; `lr_rows` is the run's batch where it has none."""
        config, made = self, cast(Any, run)
        train, optim, sizes = made.train, made.optim, made.train.batch_size
        if config.curriculum.parts and train.steps is None:
            config = replace(config, curriculum=replace(config.curriculum, parts=train.epochs))
        if config.batches.follow != "nothing" and isinstance(sizes, int):
            if not config.curriculum.parts or train.steps is not None:
                raise SeehearError(
                    "batches that follow the masking ratio need one an epoch: curriculum.parts, and no steps"
                )
            optim, sizes = replace(optim, lr_rows=optim.lr_rows or sizes), config.batch_sizes(sizes)
        scheduled: AnyRun = replace(made, method=config, optim=optim, train=replace(train, batch_size=sizes))
        return scheduled

    def batch_sizes(self, reference: int) -> tuple[int, ...]:
        """Of each part of the curriculum, where `reference` is the batch at the reference ratio."""
        shape = shape_of(self)

        def cost(ratio: float) -> float:
            return activations(shape, ratio) if self.batches.follow == "memory" else sum(forward(shape, ratio).values())

        return rows_for(
            self.curriculum.ratios(),
            cost,
            reference=reference,
            reference_ratio=self.batches.reference,
            multiple=self.batches.multiple,
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> DiffMAViLConfig:
        """What `dataclasses.asdict`, or JSON made from it, gave."""
        nested = {"size": Size, "decoder": Size, "fast": FastPaths}
        own = {"noise": Schedule, "curriculum": Curriculum, "batches": Batches}
        return config_from(cls, values, "DiffMAViL", **nested, **own)
