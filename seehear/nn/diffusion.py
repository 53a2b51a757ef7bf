"""Diffusion of patches (DDPM; DiffMAE, arXiv 2304.03283): a model predicts the clean x_0 from its mixture with noise at
step t; reverse diffusion turns pure noise into a sample in a few such steps.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps,   eps ~ N(0, I),   abar_t = prod_{s <= t} (1 - beta_s)
    beta_t = (line from first to last)_t ^ rho       all beta < 1, so rho < 1 makes them larger: more noise
    back     x_s = sqrt(abar_s) x^_0 + sqrt(1 - abar_s - sigma^2) eps^ + sigma z,   s < t
             eps^ = (x_t - sqrt(abar_t) x^_0) / sqrt(1 - abar_t)
             sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)

eta = 1 and s = t - 1 is the posterior of DDPM, eta = 0 is DDIM. Steps count from 0; abar before step 0 is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.nn.random import Randomness
from seehear.nn.transformer import glorot
from seehear.types import Float, Int, Tensor

# Numbers that embed a step, and their longest wave over 2 pi.
_SINUSOIDS, _SLOWEST = 256, 10_000.0
# Of the cosine schedule (arXiv 2102.09672): the offset keeps the first betas from vanishing, the bound keeps the last
# ones from 1.
_OFFSET, _LARGEST = 0.008, 0.999


@dataclass(frozen=True, kw_only=True)
class Schedule:
    steps: int = 1000
    """T; t runs from 0 to T - 1."""
    shape: Literal["linear", "cosine"] = "linear"
    """How noise grows: beta on a line, or abar on a squared cosine."""
    first: float = 1e-4
    """beta_0 of the line, before the exponent."""
    last: float = 0.02
    """beta_{T-1} of the line, before the exponent."""
    rho: float = 0.8
    """Exponent of beta: below 1 there is more noise."""

    def __post_init__(self) -> None:
        if self.steps < 2 or not 0 < self.first <= self.last < 1 or not self.rho > 0:
            raise SeehearError(f"two steps at least, 0 < first <= last < 1, rho above 0; got {self}")


def alpha_bars(schedule: Schedule) -> Float[Tensor, " t"]:
    """abar_t, float64: single precision is too coarse for 1 - abar where t is small."""
    if schedule.shape == "linear":
        beta = torch.linspace(schedule.first, schedule.last, schedule.steps, dtype=torch.float64)
    else:
        along = torch.arange(schedule.steps + 1, dtype=torch.float64) / schedule.steps
        height = torch.cos((along + _OFFSET) / (1 + _OFFSET) * math.pi / 2) ** 2
        beta = (1 - height[1:] / height[:-1]).clamp(max=_LARGEST)
    # A power, as in DiffMAE; one re-implementation says 'multiplied', which is a factor of 160 in the middle of the
    # schedule.
    return (1 - beta**schedule.rho).cumprod(0)


class Diffusion(nn.Module):
    """The forward process."""

    keeps: Tensor
    noises: Tensor

    def __init__(self, schedule: Schedule):
        super().__init__()
        self.steps = schedule.steps
        abar = alpha_bars(schedule)
        # The difference is taken in float64, roots of both fit float32. Not saved: they follow from the schedule.
        self.register_buffer("keeps", abar.sqrt().float(), persistent=False)
        self.register_buffer("noises", (1 - abar).sqrt().float(), persistent=False)

    def draw(self, rng: Randomness, name: str) -> Int[Tensor, " b"]:
        """t of each row, all steps alike likely."""
        # In float32 the product may round up to T.
        return (rng.uniform(name) * self.steps).long().clamp(max=self.steps - 1).to(self.keeps.device)

    def forward(
        self, x0_BMP: Float[Tensor, "b m p"], t_B: Int[Tensor, " b"], noise_BMP: Float[Tensor, "b m p"]
    ) -> Float[Tensor, "b m p"]:
        """x_t, one t for each row."""
        keep_B11, noise_B11 = self.keeps[t_B][:, None, None], self.noises[t_B][:, None, None]
        return keep_B11.to(x0_BMP) * x0_BMP + noise_B11.to(x0_BMP) * noise_BMP.to(x0_BMP)


class TimeEmbedding(nn.Module):
    """W SiLU(W [cos, sin](t)), added to every noised token."""

    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = glorot(nn.Linear(_SINUSOIDS, width)), glorot(nn.Linear(width, width))

    def forward(self, t_B: Int[Tensor, " b"]) -> Float[Tensor, "b d"]:
        return self.down(F.silu(self.up(sinusoid(t_B, _SINUSOIDS).to(self.up.weight.dtype))))


def sinusoid(t_B: Int[Tensor, " b"], width: int) -> Float[Tensor, "b d"]:
    """[cos(t w_k), sin(t w_k)], w_k = 10000^(-k / (width / 2)), float32."""
    half = width // 2
    wave = _SLOWEST ** (-torch.arange(half, dtype=torch.float32, device=t_B.device) / half)
    angle_BK = t_B[:, None].float() * wave
    return torch.cat([angle_BK.cos(), angle_BK.sin()], dim=1)


Denoise = Callable[[Tensor, Int[Tensor, " b"]], Tensor]
"""(x_t, t) -> x^_0, all in one space."""
Draw = Callable[[int], Tensor]
"""Step -> standard normal numbers in the shape of x."""


@torch.no_grad()
def sample(denoise: Denoise, draw: Draw, schedule: Schedule, *, steps: int, eta: float = 0.0) -> Tensor:
    """x_0 from noise in `steps` steps evenly over the schedule. `draw(T)` is where it starts."""
    # Python numbers: double precision on any device.
    abar = alpha_bars(schedule).tolist()
    x = draw(schedule.steps)
    times = visited(schedule.steps, steps)
    for t, s in zip(times, [*times[1:], -1], strict=True):
        clean = denoise(x, torch.full((len(x),), t, device=x.device))
        now, then = abar[t], abar[s] if s >= 0 else 1.0
        sigma = eta * math.sqrt((1 - then) / (1 - now) * (1 - now / then))
        noise = (x - math.sqrt(now) * clean) / math.sqrt(1 - now)
        # With eta = 1 the difference may round below zero.
        x = math.sqrt(then) * clean + math.sqrt(max(0.0, 1 - then - sigma**2)) * noise
        if sigma > 0:
            x = x + sigma * draw(t)
    return x


def visited(total: int, steps: int) -> list[int]:
    """Steps of a sampler, from T - 1 down to 0; one step is T - 1 alone."""
    if not 1 <= steps <= total:
        raise ValueError(f"between 1 and {total} sampling steps; got {steps}")
    if steps == 1:
        return [total - 1]
    return [round(i * (total - 1) / (steps - 1)) for i in range(steps - 1, -1, -1)]
