"""Reconstruction of hidden patches: the mean over patches of the mean squared difference, of each row by itself."""

from __future__ import annotations

import torch

from seehear.types import Float, Tensor

_EPS = 1e-6


def patch_error(predicted_BMP: Float[Tensor, "b m p"], target_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, " b"]:
    """In single precision at least. Rows hide equally many patches: their mean is that over all hidden ones."""
    dtype = torch.promote_types(predicted_BMP.dtype, torch.float32)
    return (predicted_BMP.to(dtype) - target_BMP.to(dtype)).square().mean(dim=(1, 2))


def standardised(patches_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """Each patch less its mean, over the root of its unbiased variance and a millionth: constant patches are 0."""
    mean = patches_BMP.mean(dim=-1, keepdim=True)
    return (patches_BMP - mean) / (patches_BMP.var(dim=-1, keepdim=True) + _EPS).sqrt()


def unstandardised(told_BMP: Float[Tensor, "b m p"], like_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """The way back, with the mean and variance of the patches `like_BMP`."""
    mean = like_BMP.mean(dim=-1, keepdim=True)
    return told_BMP * (like_BMP.var(dim=-1, keepdim=True) + _EPS).sqrt() + mean
