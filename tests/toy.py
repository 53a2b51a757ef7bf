"""The smallest methods that use every call of the protocol, and data for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F

from seehear.methods.base import Method
from seehear.nn.random import Randomness, dropout
from seehear.types import Batch, Encoded, StepOutput, Tensor, presence


@dataclass(frozen=True, kw_only=True)
class ToyConfig:
    width: int = 12
    dim: int = 8
    dropout: float = 0.2


class Toy(Method):
    """Two towers with dropout, a head in the objective, InfoNCE, and a buffer that follows the loss."""

    name: ClassVar[str] = "toy"

    def __init__(self, config: ToyConfig | None = None, seed: int = 0):
        super().__init__()
        self.config = config or ToyConfig()
        self.spaces = {"joint": ("video", "text")}
        d, e = self.config.width, self.config.dim
        self.tower = nn.ModuleDict({m: nn.Sequential(nn.Linear(d, 4 * d), nn.GELU()) for m in ("video", "text")})
        self.out = nn.ModuleDict({m: nn.Linear(4 * d, e) for m in ("video", "text")})
        self.head = nn.Linear(e, e)
        self.log_scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("followed", torch.zeros(()))
        generator = torch.Generator().manual_seed(seed)
        for p in self.parameters():
            if p.ndim:
                nn.init.normal_(p, std=p.shape[-1] ** -0.5, generator=generator)

    def lr_multiplier(self, parameter: str) -> float:
        return 0.5 if parameter.startswith("head") else 1.0

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        x = {m: batch[m].to(self.head.weight.dtype) for m in ("video", "text")}
        hidden = {m: dropout(self.tower[m](x[m]), self.config.dropout, rng, m) for m in x}
        return Encoded(
            {m: self.out[m](h) for m, h in hidden.items()}, presence(batch, hidden), {"group": batch["group"]}
        )

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        z = {m: F.normalize(self.head(x), dim=-1) for m, x in encoded.features.items()}
        both = encoded.present["video"] & encoded.present["text"]
        logits_BB = z["video"][both] @ z["text"][both].T * self.log_scale.exp()
        target = torch.arange(len(logits_BB), device=logits_BB.device)
        rows, columns = F.cross_entropy(logits_BB, target), F.cross_entropy(logits_BB.T, target)
        metrics = {"loss/rows": rows.detach(), "loss/columns": columns.detach()}
        return StepOutput((rows + columns) / 2, metrics, {"rows": rows.detach()})

    def embed(self, batch: Batch, space: str | None = None) -> dict[str, Tensor]:
        z = self.encode(batch, rng=None).features
        return {m: F.normalize(self.head(x), dim=-1) for m, x in z.items()}

    def after_step(self, out: StepOutput, progress: float) -> None:
        self.followed.lerp_(out.carry["rows"], 0.1)


class Mixing(Toy):
    """Rows of the whole batch combined before encoding: half as many come out."""

    name: ClassVar[str] = "mixing"
    assembles: ClassVar[bool] = True

    def assemble(self, batch: Batch, *, rng: Randomness) -> Batch:
        half = len(batch["group"]) // 2
        weight = torch.rand((), generator=rng.shared("weight")).to(batch["video"])
        mixed = {m: torch.lerp(batch[m][:half], batch[m][half : 2 * half], weight) for m in ("video", "text")}
        return mixed | {k: v[:half] for k, v in batch.items() if k not in mixed}


class Data:
    """Pairs of noisy views of one hidden vector. `augment` adds noise that depends on (seed, epoch, sample)."""

    heavy = False
    together = 1

    def __init__(self, n: int = 40, *, width: int = 12, augment: float = 0.1, per_group: int = 1, seed: int = 0):
        generator = torch.Generator().manual_seed(seed)
        hidden = torch.randn(n, width, generator=generator)
        maps = {m: torch.randn(width, width, generator=generator) / width**0.5 for m in ("video", "text")}
        self.views = {m: hidden @ maps[m] for m in maps}
        self.augment, self.groups = augment, torch.arange(n) // per_group

    def __len__(self) -> int:
        return len(self.groups)

    def batch(self, indices: Tensor, *, seed: int, epoch: int) -> Batch:
        def noise(i: int) -> Tensor:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch * 1_009 + i)
            return torch.randn(self.views["video"].shape[1], generator=generator)

        extra = torch.stack([noise(int(i)) for i in indices])
        batch: Batch = {m: v[indices] + self.augment * extra for m, v in self.views.items()}
        present = torch.ones(len(indices), dtype=torch.bool)
        return batch | {"has_video": present, "has_text": present.clone(), "group": self.groups[indices]}


class HeavyData(Data):
    heavy = True


def recall_at_1(method: Method, data: Data) -> float:
    """Of text by video, or of sound where the method reads no text, over all samples that have both."""
    batch = data.batch(torch.arange(len(data)), seed=0, epoch=0)
    z = method.embed(batch)
    other = "text" if "text" in z else "audio"
    rows = batch["has_video"] & batch[f"has_{other}"]
    nearest = (z["video"][rows] @ z[other][rows].T).argmax(1)
    return float(nearest.eq(torch.arange(len(nearest))).float().mean())
