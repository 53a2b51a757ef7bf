"""ASIF, a space without training: similarities to anchors that are known to belong together (arXiv 2210.01738)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from seehear.nn.statistics import Latents
from seehear.types import Modality, Tensor


class Asif:
    """Similarities of a vector to anchors of its own modality, whose row numbers the modalities share: the `keep`
    largest, to a power, made unit. Fits nothing but the anchors' mean, which is taken out first."""

    name = "asif"

    def __init__(self, anchors: Latents, *, keep: int = 800, power: float = 8.0):
        # The paper does not centre: its encoders were trained by cosine. Latents of sound have a large common part
        # (mean cosine 0.83 to 0.94 on ESC-10), all anchors are then about equally similar, and every query finds the
        # same few items.
        latents = {m: torch.as_tensor(x).float() for m, x in anchors.items()}
        self.mean = {m: x.mean(dim=0) for m, x in latents.items()}
        self.anchors = {m: F.normalize(x - self.mean[m], dim=1) for m, x in latents.items()}
        if len({len(x) for x in self.anchors.values()}) != 1:
            raise ValueError("anchors must be rows that have every modality: as many of each")
        self.keep, self.power = min(keep, len(next(iter(self.anchors.values())))), power
        self.spaces = {"joint": tuple(anchors)}

    def embed(self, batch: Latents, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, number of anchors) unit vectors}."""
        found = {}
        for m, anchors in self.anchors.items():
            if m in batch:
                unit = F.normalize(torch.as_tensor(batch[m]).float() - self.mean[m], dim=1)
                similar = (unit @ anchors.T).clamp_min(0.0)
                top = similar.topk(self.keep, dim=1)
                sparse = torch.zeros_like(similar).scatter_(1, top.indices, top.values**self.power)
                found[m] = F.normalize(sparse, dim=1)
        return found
