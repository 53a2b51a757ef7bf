"""Hidden patches of clips, restored by a masked autoencoder.

MAViL predicts them in one pass. DiffMAViL denoises them step by step; the visible patches are encoded once.

A model of standardised patches (norm_pix) does not predict how bright or loud a patch is. Its output is given the mean
and deviation of the original patches, so pictures look better than the model is.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import torch

from seehear.errors import SeehearError
from seehear.losses.reconstruction import patch_error, unstandardised
from seehear.methods.base import Method
from seehear.methods.diffmavil import DiffusedPatches
from seehear.methods.mavil import SIDES, MaskedViews, MAViL
from seehear.nn.diffusion import sample
from seehear.nn.random import Randomness
from seehear.nn.tokens import take
from seehear.types import Batch, Bool, Float, Modality, Tensor

_EPS = 1e-12


@dataclass(frozen=True, kw_only=True)
class Restored:
    """One modality of a batch, as patches in grid order and in units of the data set."""

    original_BNP: Float[Tensor, "b n p"]
    restored_BNP: Float[Tensor, "b n p"]
    """Predicted hidden patches between the original visible ones."""
    hidden_BN: Bool[Tensor, "b n"]
    """1 = hidden."""
    error_B: Float[Tensor, " b"]
    """Squared error of the hidden patches, relative to constant patches with the original means."""


@torch.no_grad()
def restore(
    method: Method, batch: Batch, *, mask: float, steps: int = 50, eta: float = 0.0, seed: int = 0
) -> dict[Modality, Restored]:
    """Prediction of a random share `mask` of each modality. `steps` and `eta` are of diffusion: eta 0 is DDIM, 1 with
    all steps DDPM."""
    trained, rows = masked_autoencoder(method), len(batch["video"])
    if trained.config.teacher:
        raise SeehearError(
            "a model of stage 2 predicts its teacher's tokens, not pictures or sounds: use one of stage 1"
        )
    # The same weights with one view, no augmentation of the sound, and all hidden patches decoded.
    config = replace(trained.config, roll=False, intra_weight=0.0, decoded=dict.fromkeys(SIDES, 1.0))
    model = type(trained).from_config(asdict(config)).to(next(trained.parameters()).device)
    model.load_state_dict(trained.own_state())
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
    model: MAViL, m: Modality, seen: MaskedViews, hidden_BMP: Tensor, *, rng: Randomness, steps: int, eta: float
) -> Tensor:
    """(B, M, P) predicted hidden patches in units of the data set."""
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
    """The method if it is a masked autoencoder; raises `SeehearError` otherwise."""
    if not isinstance(method, MAViL):
        raise SeehearError(f"{method.name} is no masked autoencoder: use a run of MAViL or DiffMAViL")
    return method
