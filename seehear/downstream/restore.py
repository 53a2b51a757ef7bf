"""The hidden patches of clips as a masked autoencoder tells them.

MAViL tells them in one pass. DiffMAViL starts from noise at their places and goes back step by step; what is seen is
encoded once.

A model that tells standardised patches (norm_pix) does not say how bright or loud a patch is. What it tells is then
given the mean and deviation of the original patches: pictures flatter it by that much.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from seehear.errors import SeehearError
from seehear.losses.reconstruction import patch_error, unstandardised
from seehear.methods.base import Method
from seehear.methods.diffmavil import DiffusedPatches
from seehear.methods.mavil import SIDES, MAViL, Seen
from seehear.nn.diffusion import sample
from seehear.nn.random import Randomness
from seehear.nn.tokens import take
from seehear.types import Batch, Bool, Float, Modality, Tensor

_EPS = 1e-12


@dataclass(frozen=True, kw_only=True)
class Restored:
    """One modality of a batch, in patches of the grid's order and in units of the data set."""

    original_BNP: Float[Tensor, "b n p"]
    restored_BNP: Float[Tensor, "b n p"]
    """The seen patches as they were."""
    hidden_BN: Bool[Tensor, "b n"]
    """1 = hidden."""
    error_B: Float[Tensor, " b"]
    """Squared error of the hidden patches, over that of patches that are flat at the mean of the original ones."""


@torch.no_grad()
def restore(
    method: Method, batch: Batch, *, mask: float, steps: int = 50, eta: float = 0.0, seed: int = 0
) -> dict[Modality, Restored]:
    """Hide a random part `mask` of each modality, and let the model tell it. `steps` and `eta` are of diffusion: eta 0
    is DDIM, 1 with all steps DDPM."""
    model, rows = _without_chance(masked_autoencoder(method)), len(batch["video"])
    rng = Randomness(seed, 0, 0, rows, rows, next(model.parameters()).device)
    model.masking = dict.fromkeys(SIDES, mask)
    found = {}
    for m, seen in model.see(batch, rng=rng).items():
        original_BNP = model.standard[m](seen.patches_BNP)
        hidden_BMP, at_BMP = take(original_BNP, seen.hidden_BM), seen.hidden_BM[:, :, None]
        told_BMP = _told(model, m, seen, hidden_BMP, rng=rng, steps=steps, eta=eta).to(original_BNP.dtype)
        found[m] = Restored(
            original_BNP=original_BNP,
            restored_BNP=original_BNP.scatter(1, at_BMP.expand_as(told_BMP), told_BMP),
            hidden_BN=torch.zeros_like(original_BNP[..., 0], dtype=torch.bool).scatter(1, seen.hidden_BM, True),
            error_B=patch_error(told_BMP, hidden_BMP) / patch_error(_flat(hidden_BMP), hidden_BMP).clamp(min=_EPS),
        )
    return found


def _told(
    model: MAViL, m: Modality, seen: Seen, hidden_BMP: Tensor, *, rng: Randomness, steps: int, eta: float
) -> Tensor:
    """(B, M, P) in units of the data set."""
    place, config = model.places[m], model.config
    back = partial(unstandardised, like_BMP=hidden_BMP) if config.standardise else torch.Tensor.clone
    if not isinstance(place, DiffusedPatches):
        return back(model.decode(m, seen, rng=rng))

    def denoise(x_BMP: Tensor, t_B: Tensor) -> Tensor:
        told_BMP = model.decoders[m](seen.fused_BLD, seen.kept_BM, seen.hidden_BM, place.tokens(x_BMP, t_B))
        return told_BMP if place.standardise else back(told_BMP)

    def draw(step: int) -> Tensor:
        return rng.normal(f"{m}/back/{step}", *hidden_BMP.shape[1:])

    x0_BMP = sample(denoise, draw, place.schedule, steps=steps, eta=eta)
    return back(x0_BMP) if place.standardise else x0_BMP


def _flat(x_BMP: Tensor) -> Tensor:
    return x_BMP.mean(dim=-1, keepdim=True).expand_as(x_BMP)


def masked_autoencoder(method: Method) -> MAViL:
    """The method as what it must be. Raises `SeehearError` for any other."""
    if not isinstance(method, MAViL):
        raise SeehearError(f"{method.name} hides nothing and tells nothing: MAViL and DiffMAViL do")
    return method


def _without_chance(method: MAViL) -> MAViL:
    """The same weights with one view, no change of the sound, and all hidden patches decoded."""
    if method.config.teacher:
        raise SeehearError(
            "a model of stage 2 tells its teacher's tokens, and no pictures or sounds: take one of stage 1"
        )
    config = replace(method.config, roll=False, intra_weight=0.0, decoded=dict.fromkeys(SIDES, 1.0))
    plain = type(method).from_config(asdict(config)).to(next(method.parameters()).device)
    plain.load_state_dict(method.own_state())
    return plain
