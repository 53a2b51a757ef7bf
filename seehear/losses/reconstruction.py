"""Reconstruction of hidden patches: the mean over patches of the mean squared difference, of each row by itself."""

from __future__ import annotations

import torch

from seehear.types import Float, Tensor

_EPS = 1e-6


def patch_error(predicted_BMP: Float[Tensor, "b m p"], target_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, " b"]:
    """Mean squared error of each row, in float32 at least. As rows hide equally many patches, the mean of these is the
    mean over all hidden patches."""
    dtype = torch.promote_types(predicted_BMP.dtype, torch.float32)
    return (predicted_BMP.to(dtype) - target_BMP.to(dtype)).square().mean(dim=(1, 2))


def standardised(patches_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """(x - mean) / sqrt(variance + 1e-6) of each patch, with the unbiased variance: constant patches are 0."""
    mean = patches_BMP.mean(dim=-1, keepdim=True)
    return (patches_BMP - mean) / (patches_BMP.var(dim=-1, keepdim=True) + _EPS).sqrt()


def unstandardised(told_BMP: Float[Tensor, "b m p"], like_BMP: Float[Tensor, "b m p"]) -> Float[Tensor, "b m p"]:
    """Inverse of `standardised`, with the mean and variance of the patches `like_BMP`."""
    mean = like_BMP.mean(dim=-1, keepdim=True)
    return told_BMP * (like_BMP.var(dim=-1, keepdim=True) + _EPS).sqrt() + mean
