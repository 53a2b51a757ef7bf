"""A small picture generator: diffusion (DDPM, arXiv 2006.11239) of pictures, conditioned on a vector.

    z = P'(x - mean),   P the first K principal components of the pictures, lambda_k their variances, 1 on average
    z_t = a_t z + s_t eps,   a_t^2 + s_t^2 = 1,   eps ~ N(0, I),   c a unit vector of the picture in a space
    z^ = a lambda / (a^2 lambda + s^2) z_t + s (lambda / (a^2 lambda + s^2))^1/2 f(z_t, t, c)
    L = |z - z^|^2 / max(s_t^2, 0.1)
    guidance   c is left out for some rows; then z^ = z^(nothing) + w (z^(c) - z^(nothing))    (arXiv 2207.12598)

With f = 0, z^ is the optimal estimate for Gaussian pictures: f, a perceptron with residuals, learns the rest (arXiv
2206.00364 for each component). It is trained on pictures and their vectors, as decoders of image embeddings are
(unCLIP, arXiv 2204.06125), and paints any vector of that space.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

import torch
from torch import nn
from torch.nn import functional as F

from seehear.methods.base import Method
from seehear.nn.diffusion import Diffusion, Schedule, TimeEmbedding, sample
from seehear.nn.random import Randomness, seed_of
from seehear.nn.transformer import glorot
from seehear.types import Batch, Encoded, Float, Int, StepOutput, Tensor

# Smallest s_t^2 in the loss: it bounds the weight of steps with hardly any noise.
_LEAST = 0.1
# Pictures for the principal components.
_ENOUGH = 10_000
# Pictures painted in one batch.
_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class PainterConfig:
    width: int
    """Width of the vectors, which have unit length."""
    size: int = 32
    """Side of a picture, in pixels."""
    components: int = 256
    """K: number of principal components."""
    hidden: int = 512
    """Width of the network."""
    blocks: int = 4
    """Residual blocks of the network."""
    schedule: Schedule = field(default_factory=lambda: Schedule(shape="cosine", rho=1.0))
    drop: float = 0.1
    """Probability of training on a picture without its vector."""
    jitter: float = 1.0
    """Largest noise on the vectors in training, relative to their length: vectors of sounds and words are farther from
    any picture's than those of pictures from each other."""


class Painter(Method):
    name = "painter"
    config_type = PainterConfig
    config: PainterConfig
    mean: Tensor
    axes: Tensor
    variance: Tensor
    centre: Tensor
    reach: Tensor

    def __init__(self, config: PainterConfig):
        super().__init__()
        self.config, self.spaces = config, {}
        pixels, k, hidden = 3 * config.size**2, config.components, config.hidden
        self.diffusion = Diffusion(config.schedule)
        self.time, self.told = TimeEmbedding(hidden), glorot(nn.Linear(config.width, hidden))
        self.into = glorot(nn.Linear(k, hidden))
        self.blocks = nn.ModuleList(_PainterBlock(hidden) for _ in range(config.blocks))
        self.norm, self.out = nn.LayerNorm(hidden), nn.Linear(hidden, k)
        # f = 0 at first: training starts from the optimal estimate for Gaussian pictures.
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.register_buffer("mean", torch.zeros(pixels))
        self.register_buffer("axes", torch.zeros(pixels, k))
        self.register_buffer("variance", torch.ones(k))
        self.register_buffer("centre", torch.zeros(config.width))
        self.register_buffer("reach", torch.ones(()))

    @torch.no_grad()
    def fit(self, pictures: Int[Tensor, "n h w c"], vectors_NE: Float[Tensor, "n e"], *, seed: int = 0) -> Self:
        """Compute the pictures' components, and mean and spread of the vectors; before training. `axes` map z to pixels
        from -1 to 1, with the scale that makes the variances 1 on average."""
        k = self.config.components
        # Every n-th picture: a set lies in some order, and its first part may not stand for all.
        x_NP = _flat(pictures[:: -(-len(pictures) // _ENOUGH)])
        if k >= len(x_NP):
            raise ValueError(f"{len(x_NP)} pictures have at most {len(x_NP) - 1} components; got {k}")
        self.mean.copy_(x_NP.mean(0))
        # `svd_lowrank` draws from torch's global generator, and takes no other.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            _, spread_K, axes_PK = torch.svd_lowrank(x_NP - self.mean, q=k, niter=4)
        variance_K = spread_K.square() / len(x_NP)
        scale = variance_K.mean().sqrt()
        self.axes.copy_(axes_PK * scale)
        self.variance.copy_(variance_K / scale.square())
        self.centre.copy_(vectors_NE.mean(0))
        self.reach.copy_((vectors_NE - self.centre).square().mean().sqrt())
        return self

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        """'error' (B,): the loss L of `picture` (B, H, W, 3) uint8 with `vector` (B, E)."""
        if rng is None:
            raise ValueError("diffusion draws its noise: encode needs rng")
        centred_BP = _flat(batch["picture"]).to(self.axes) - self.mean
        # Before `fit` all axes are zero.
        z_BK = centred_BP @ self.axes / self.axes.square().sum(0).clamp(min=1e-12)
        eps_BK, t_B = rng.normal("noise", self.config.components).to(z_BK), self.diffusion.draw(rng, "time")
        a_B1, s_B1 = self._levels(t_B)
        kept_B1 = rng.uniform("told", 1) >= self.config.drop
        # At the largest noise the cosine of vector and noisy vector is about 1 / (1 + jitter^2)^1/2.
        far_B1, noise_BE = self.config.jitter * rng.uniform("far", 1), rng.normal("aside", self.config.width)
        noisy_BE = F.normalize(batch["vector"] + far_B1 * noise_BE / self.config.width**0.5, dim=1)
        c_BE = self._standard(noisy_BE) * kept_B1
        clean_BK = self.clean(a_B1 * z_BK + s_B1 * eps_BK, t_B, c_BE)
        error_BK = F.mse_loss(clean_BK, z_BK, reduction="none") / s_B1.square().clamp(min=_LEAST)
        return Encoded({"error": error_BK.mean(1)}, {"error": torch.ones_like(kept_B1[:, 0])})

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        loss = encoded.features["error"].mean()
        return StepOutput(loss, {"loss/picture": loss.detach()})

    def clean(
        self, z_BK: Float[Tensor, "b k"], t_B: Int[Tensor, " b"], c_BE: Float[Tensor, "b e"]
    ) -> Float[Tensor, "b k"]:
        """z^ (B, K) of z_t, for standardised vectors c; zeros stand for no vector."""
        a_B1, s_B1 = self._levels(t_B)
        total_BK = a_B1.square() * self.variance + s_B1.square()
        condition_BH = self.time(t_B) + self.told(c_BE.to(self.told.weight))
        # Divided by its deviation: the network reads unit variance at every step.
        h_BH = self.into(z_BK / total_BK.sqrt())
        for block in self.blocks:
            h_BH = block(h_BH, condition_BH)
        f_BK = self.out(self.norm(h_BH))
        return a_B1 * self.variance / total_BK * z_BK + s_B1 * (self.variance / total_BK).sqrt() * f_BK

    @torch.no_grad()
    def paint(
        self, c_BE: Float[Tensor, "b e"], *, steps: int = 50, guidance: float = 3.0, seed: int = 0
    ) -> Int[Tensor, "b h w c"]:
        """Pictures (B, H, W, 3) uint8 of unit vectors, by DDIM. The initial noise of row i is a function of seed, i."""
        size, pictures = self.config.size, []
        for at, c_NE in zip(range(0, len(c_BE), _AT_ONCE), self._standard(c_BE).split(_AT_ONCE), strict=True):
            # Drawn on the CPU: pictures start from the same noise on every device.
            draws = [torch.Generator().manual_seed(seed_of(seed, at + i)) for i in range(len(c_NE))]
            start_NK = torch.stack([torch.randn(self.config.components, generator=draw) for draw in draws])

            def start(_: int, drawn_NK: Tensor = start_NK) -> Tensor:
                return drawn_NK.to(self.mean)

            def denoise(z_NK: Tensor, t_N: Tensor, c_NE: Tensor = c_NE) -> Tensor:
                both = torch.cat([torch.zeros_like(c_NE), c_NE])
                free_NK, guided_NK = self.clean(z_NK.repeat(2, 1), t_N.repeat(2), both).chunk(2)
                return free_NK + guidance * (guided_NK - free_NK)

            z_NK = sample(denoise, start, self.config.schedule, steps=steps)
            x_NP = (self.mean + z_NK @ self.axes.T).clamp(-1, 1)
            pictures.append(((x_NP + 1) * 127.5).round().to(torch.uint8).cpu().view(-1, size, size, 3))
        return torch.cat(pictures)

    def _standard(self, c_BE: Tensor) -> Tensor:
        return (c_BE.to(self.centre) - self.centre) / self.reach

    def _levels(self, t_B: Tensor) -> tuple[Tensor, Tensor]:
        """a_t and s_t, (B, 1)."""
        return self.diffusion.keeps[t_B][:, None], self.diffusion.noises[t_B][:, None]


class _PainterBlock(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up, self.down = glorot(nn.Linear(width, width)), glorot(nn.Linear(width, width))

    def forward(self, h_BH: Tensor, condition_BH: Tensor) -> Tensor:
        added: Tensor = self.down(F.silu(self.up(self.norm(h_BH) + condition_BH)))
        return h_BH + added


def _flat(pictures_NHWC: Tensor) -> Tensor:
    """Pixels (N, P), from -1 to 1."""
    return pictures_NHWC.flatten(1).float() / 127.5 - 1
