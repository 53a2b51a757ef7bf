"""DiffMAViL: Diffusion Models as Masked Audio-Video Learners (arXiv 2310.03937).

MAViL with another decoder and another mask schedule; its body is not public, so this is a re-derivation:
    diffused     x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps stands at a hidden patch's place, not a learned token;
                 t uniform for each clip and modality;   token = W x_t + MLP(sinusoid(t)) + position
    L_diff       mean over hidden patches of (x_0 - d(x_t, t, g(f(visible))))^2, in place of L_raw: the decoder predicts
                 the clean patch, not the noise
    decoders     video: hidden patches read the visible ones and not each other;  audio: joint, as in MAViL
    curriculum   the masking ratio r falls during the run, u from 0 to 1, both included:
                 linear  r = start + (end - start) u,   cosine  r = end + (start - end) (1 + cos(pi u)) / 2
    batches      grow where much is hidden: B(r) = floor_to_multiple(B_ref C(r_ref) / C(r)), C the cost of a sample,
                 so that no batch costs more than the one at r_ref

Encoders, fusion and contrasts read clean patches only: neither t nor eps reaches them, and the model in use is MAViL's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, cast

from torch import nn

from seehear.errors import SeehearError, check_range, unknown
from seehear.methods.base import AnyRun
from seehear.methods.mavil import MAViL
from seehear.methods.mavil_config import SIDES, MAViLConfig
from seehear.methods.mavil_cost import activations, forward
from seehear.nn.diffusion import Diffusion, Schedule, TimeEmbedding
from seehear.nn.masked import DecoderKind, MaskToken, standardised
from seehear.nn.random import Randomness
from seehear.types import Float, Int, Modality, Tensor

# Added before rounding down: 3 / 20 * 20 is a little less than 3.
_NEARLY = 1e-9


@dataclass(frozen=True, kw_only=True)
class Curriculum:
    """A masking ratio that changes during training."""

    start: float = 0.95
    """Share of the tokens hidden at the start of training."""
    end: float = 0.80
    """Share of the tokens hidden at its end."""
    shape: Literal["linear", "cosine", "constant"] = "linear"
    """Curve from `start` to `end`; constant stays at `start`."""
    reverse: bool = False
    """From `end` to `start` instead: the same cost in the other order."""
    parts: int = 20
    """Equal parts of the run with one ratio each, usually its epochs; 0: another ratio at every step."""
    grain: float = 0.0
    """Ratios are rounded to multiples of it, for fewer shapes to compile; 0: no rounding."""

    def __post_init__(self) -> None:
        check_range(self, "[0, 1)", "start", "end")
        check_range(self, "[0, inf)", "parts", "grain")

    def ratio(self, progress: float) -> float:
        """The masking ratio at `progress` of the run, in [0, 1]."""
        u = progress
        if self.parts:
            # Over parts - 1, so that the last part has exactly `end`; progress 1 is of the last part.
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
        """The masking ratio of each part."""
        return tuple(self.ratio(part / self.parts) for part in range(self.parts))


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batch sizes while the masking ratio changes."""

    follow: Literal["nothing", "compute", "memory"] = "nothing"
    """Cost of a step that stays constant: its multiply-adds (`compute`) or stored activations (`memory`, which cannot
    run out of memory); `nothing`: the batch size is constant."""
    reference: float = 0.8
    """The ratio at which a step has the run's `batch_size`."""
    multiple: int = 64
    """Batches are rounded down to multiples of it, but hold one multiple at least."""

    def __post_init__(self) -> None:
        if not 0 < self.reference < 1 or self.multiple < 1:
            raise SeehearError(f"reference is between 0 and 1, multiple 1 at least; got {self}")

    def rows(self, ratios: Sequence[float], cost: Callable[[float], float], batch_size: int) -> tuple[int, ...]:
        """The batch size at each ratio, for a `cost` of one clip by ratio."""
        budget = batch_size * cost(self.reference)
        return tuple(max(1, math.floor(budget / cost(r) / self.multiple + _NEARLY)) * self.multiple for r in ratios)


@dataclass(frozen=True, kw_only=True)
class DiffMAViLConfig(MAViLConfig):
    name: ClassVar = "diffmavil"
    decoders: dict[Modality, DecoderKind] = field(default_factory=lambda: {"video": "cross", "audio": "joint"})
    """Attention of hidden patches: to the visible ones only (cross), or to all (joint)."""
    diffuse: tuple[Modality, ...] = SIDES
    """Modalities whose hidden patches enter the decoder diffused. Elsewhere a learned token stands for each of them, as
    in MAViL."""
    noise: Schedule = Schedule()
    """Share of a patch that is left at each diffusion step."""
    noise_space: Literal["dataset", "patch"] = "dataset"
    """Units of the patches that noise is added to: those of the data set, or each patch standardised by itself."""
    shared_step: bool = False
    """Sound and pictures of a clip are at the same diffusion step."""
    curriculum: Curriculum = Curriculum()
    """Share of the patches that is hidden, over the run. It takes the place of `masking`."""
    batches: Batches = Batches()
    """Batch sizes that follow the masking ratio."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # JSON gives a list.
        object.__setattr__(self, "diffuse", tuple(self.diffuse))
        for m in self.diffuse:
            if m not in SIDES:
                raise unknown("modality", m, SIDES)
        if self.noise_space == "patch" and not self.standardise:
            raise SeehearError("noise_space patch needs standardise: the diffused patch must be the target")
        # 0.8 is the default: any other value was asked for, and would be ignored.
        if set(self.masking.values()) != {0.8}:
            raise SeehearError(
                "the curriculum decides the masking ratio: set curriculum.start and curriculum.end, not masking"
            )

    def scheduled(self, run: AnyRun) -> AnyRun:
        """The run with a masking ratio for each epoch, and a batch size for each where batches follow it. The learning
        rate then follows the batch, as (rows / optim.lr_rows) ^ optim.lr_power; `lr_rows` is the run's batch size where
        it has none."""
        config, made = self, cast(Any, run)
        train, optim, sizes = made.train, made.optim, made.train.batch_size
        if config.curriculum.parts and train.steps is None:
            # One ratio for each epoch of this run, whatever the default of 20 says.
            config = replace(config, curriculum=replace(config.curriculum, parts=train.epochs))
        # A tuple of sizes has one for each epoch already.
        if config.batches.follow != "nothing" and isinstance(sizes, int):
            if not config.curriculum.parts or train.steps is not None:
                raise SeehearError(
                    "batches that follow the masking ratio need one an epoch: curriculum.parts, and no steps"
                )
            optim, sizes = replace(optim, lr_rows=optim.lr_rows or sizes), config.batch_sizes(sizes)
        scheduled: AnyRun = replace(made, method=config, optim=optim, train=replace(train, batch_size=sizes))
        return scheduled

    def batch_sizes(self, reference: int) -> tuple[int, ...]:
        """The batch size of each part of the curriculum; `reference` is the one at the reference ratio."""

        # The forward pass alone: the backward one is about twice as much at every ratio, and drops out of the quotient.
        def cost(ratio: float) -> float:
            return activations(self, ratio) if self.batches.follow == "memory" else sum(forward(self, ratio).values())

        return self.batches.rows(self.curriculum.ratios(), cost, reference)


class DiffMAViL(MAViL):
    name = "diffmavil"
    config_type = DiffMAViLConfig
    config: DiffMAViLConfig

    def __init__(self, config: DiffMAViLConfig):
        width = config.decoder.width
        places = {m: DiffusedPatches(config, m) if m in config.diffuse else MaskToken(width) for m in SIDES}
        super().__init__(config, places=places)
        # A model that has taken no step yet has the ratio of the start.
        self.before_step(0.0)

    def current_name(self, saved: str) -> str:
        # Models of versions in which DiffMAViL held a MAViL, and was none itself, have all names under `mavil.`.
        return saved.removeprefix("mavil.")

    def before_step(self, progress: float) -> None:
        self.masking = dict.fromkeys(SIDES, self.config.curriculum.ratio(progress))


class DiffusedPatches(nn.Module):
    """Decoder inputs at hidden places: the diffused patches through a linear map, plus an embedding of the step."""

    def __init__(self, config: DiffMAViLConfig, m: Modality):
        super().__init__()
        width = config.decoder.width
        self.schedule, self.shared = config.noise, config.shared_step
        self.standardise = config.noise_space == "patch"
        self.diffusion = Diffusion(config.noise)
        self.project = nn.Linear(config.values(m), width)
        self.time = TimeEmbedding(width)
        # Both maps start at zero, as a mask token nearly does: noise would drown the positions, and the decoder would
        # need long to learn where a patch belongs.
        for parameter in (*self.project.parameters(), *self.time.down.parameters()):
            nn.init.zeros_(parameter)

    def forward(
        self, patches_BMP: Float[Tensor, "b m p"], *, rng: Randomness | None, name: str
    ) -> Float[Tensor, "b m d"]:
        """Tokens of patches (B, M, P) in units of the data set, at a random step."""
        if rng is None:
            raise ValueError("noise is drawn at random: diffused patches need rng")
        x0_BMP = standardised(patches_BMP) if self.standardise else patches_BMP
        # One t a clip, not one a batch.
        t_B = self.diffusion.draw(rng, "t" if self.shared else f"{name}/t")
        noise_BMP = rng.normal(f"{name}/noise", *x0_BMP.shape[1:]).to(x0_BMP.device)
        return self.tokens(self.diffusion(x0_BMP, t_B, noise_BMP), t_B)

    def tokens(self, x_BMP: Float[Tensor, "b m p"], t_B: Int[Tensor, " b"]) -> Float[Tensor, "b m d"]:
        return self.project(x_BMP) + self.time(t_B)[:, None]
