"""Made-up pictures, each with a vector of its own, and a painter that is asked to find its pictures again."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from seehear.downstream.painting import Pictures
from seehear.methods.painter import Painter, PainterConfig
from seehear.types import Batch, Tensor

SIZE, WIDTH = 8, 12


class Drawn(Pictures):
    def batch(self, indices: Tensor, *, seed: int = 0, epoch: int = 0) -> Batch:
        here = torch.ones(len(indices), dtype=torch.bool)
        return super().batch(indices, seed=seed, epoch=epoch) | {"has_video": here, "has_text": here}


def pictures(n: int = 40) -> Drawn:
    """Two flat colours, one above the other."""
    g = torch.Generator().manual_seed(0)
    halves = torch.randint(0, 256, (n, 2, 1, 3), generator=g, dtype=torch.uint8)
    drawn = halves.repeat_interleave(SIZE // 2, dim=1).expand(n, SIZE, SIZE, 3).contiguous()
    return Drawn(drawn, F.normalize(torch.randn(n, WIDTH, generator=g), dim=1), torch.arange(n) // 2)


class Painting(Painter):
    """A picture lies where it is, a vector where its painted picture is."""

    def embed(self, batch: Batch, space: str | None = None) -> dict[str, Tensor]:
        painted = self.paint(batch["vector"], steps=8, guidance=1.0)
        both = {"video": batch["picture"], "text": painted}
        return {m: F.normalize(x.flatten(1).float() - 127.5, dim=1) for m, x in both.items()}


def painting() -> Painting:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = PainterConfig(width=WIDTH, size=SIZE, components=6, hidden=32, blocks=2)
        return Painting(config).fit(pictures().pictures, pictures().vectors)
