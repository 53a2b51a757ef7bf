"""Waveforms changed at random, on their device."""

from __future__ import annotations

import torch

from seehear.nn.random import Randomness
from seehear.types import Float, Tensor


def rolled(sound_BN: Float[Tensor, "b n"], rng: Randomness, name: str) -> Float[Tensor, "b n"]:
    """Each turned round by a random offset and multiplied by 0.5 + Beta(10, 10) (Audio-MAE's "roll + magnitude")."""
    total = sound_BN.shape[1]
    offset_B1 = (rng.uniform(f"{name}/offset", 1) * total).long().clamp(max=total - 1).to(sound_BN.device)
    place_BN = (torch.arange(total, device=sound_BN.device) - offset_B1) % total
    beta_B1 = rng.uniform(f"{name}/gain", 19).median(dim=1, keepdim=True).values  # the tenth of 19: Beta(10, 10)
    return sound_BN.gather(1, place_BN) * (0.5 + beta_B1).to(sound_BN)
