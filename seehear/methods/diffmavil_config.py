"""Settings of DiffMAViL (arXiv 2310.03937): those of MAViL, and each of its ingredients by itself.

The masking ratio changes during training, and batches grow where there is less to compute:

    linear      r = start + (end - start) u
    cosine      r = end + (start - end) (1 + cos(pi u)) / 2
    constant    r = start

u runs from 0 to 1, both included: in `parts` equal steps, by part of the run, or with every step of training.

    rows        B(r) = floor_to_multiple(B_ref C(r_ref) / C(r)),   C the cost of one sample
so no batch costs more than the one at r_ref.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, cast

from seehear.errors import SeehearError, check_range, unknown
from seehear.methods.base import AnyRun, config_from
from seehear.methods.mavil_config import SIDES, FastPaths, MAViLConfig
from seehear.methods.mavil_cost import activations, forward, shape_of
from seehear.nn.diffusion import Schedule
from seehear.nn.masked import DecoderKind
from seehear.nn.transformer import Size
from seehear.types import Modality

_NEARLY = 1e-9  # 3 / 20 * 20 is a little less than 3


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """A masking ratio that changes during training."""

    start: float = 0.95
    """Part of the tokens that are hidden as training starts."""
    end: float = 0.80
    """And as it ends."""
    shape: Literal["linear", "cosine", "constant"] = "linear"
    """How it gets there; constant stays at `start`."""
    reverse: bool = False
    """From `end` to `start` instead: at the same cost, what the direction does."""
    parts: int = 20
    """Equal parts of the run with one ratio each, best its epochs; 0: another ratio at every step."""
    grain: float = 0.0
    """Ratios are rounded to multiples of it, so that there are few shapes to compile; 0: they are not."""

    def __post_init__(self) -> None:
        check_range(self, "[0, 1)", "start", "end")
        check_range(self, "[0, inf)", "parts", "grain")

    def ratio(self, progress: float) -> float:
        """At a moment of the run, in [0, 1]."""
        u = progress
        if self.parts:
            u = min(int(progress * self.parts + _NEARLY), self.parts - 1) / max(1, self.parts - 1)
        start, end = (self.end, self.start) if self.reverse else (self.start, self.end)
        if self.shape == "linear":
            ratio = start + (end - start) * u
        elif self.shape == "cosine":
            ratio = end + (start - end) * 0.5 * (1 + math.cos(math.pi * u))
        else:
            ratio = start
        return round(ratio / self.grain) * self.grain if self.grain else ratio

    def ratios(self) -> tuple[float, ...]:
        """Of each part."""
        return tuple(self.ratio(part / self.parts) for part in range(self.parts))


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


def rows_for(
    ratios: tuple[float, ...],
    cost: Callable[[float], float],
    *,
    reference: int,
    reference_ratio: float,
    multiple: int,
) -> tuple[int, ...]:
    """The batch at each ratio, a multiple of `multiple` and at least one: what costs no more than `reference` rows at
    `reference_ratio` do. `cost` is that of a row: products in a pass for constant time, kept numbers for constant
    memory."""
    budget = reference * cost(reference_ratio)
    return tuple(max(1, math.floor(budget / cost(r) / multiple + _NEARLY)) * multiple for r in ratios)
