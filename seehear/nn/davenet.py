"""DAVEnet, the residual network over log-mel spectrograms that MCN's audio branch is (ResDAVEnet of arXiv 1911.09602).

A convolution over all bands, then four stages of two residual blocks along time, each stage at half the rate of the one
before: S frames become ceil(S / 16). Clips of different length lie in one batch padded; the padding is kept at zero
after every layer, which is what convolutions see beyond the end of a clip anyway, and no statistic counts it. So a
clip's vector is that of the clip alone, however long the padding and whatever it holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

import torch
from torch import nn
from torch.nn import functional as F

from seehear.nn.mel import mel_filters
from seehear.types import Bool, Float, Int, Tensor

NormKind = Literal["group", "batch"]
_KERNEL = 9


class DaveNet(nn.Module):
    """(B, F, S) log-mel to (B, C): the mean over a clip's own frames. `width` is C, the last of `channels`."""

    def __init__(self, bands: int = 40, *, channels: tuple[int, ...] = (128, 256, 512, 1024), norm: NormKind = "group"):
        super().__init__()
        self.width, self.kind = channels[-1], norm
        self.first = nn.Conv1d(bands, channels[0], 1, bias=False)
        self.norm = _norm(norm, channels[0])
        blocks = []
        # Not strict: the list of inputs is longer by the last width, which leads nowhere.
        for before, after in zip(channels[:1] + channels, channels, strict=False):
            blocks += [_ConvBlock(before, after, stride=2, norm=norm), _ConvBlock(after, after, stride=1, norm=norm)]
        self.blocks = nn.ModuleList(blocks)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                # He's initialisation by the number of outputs, as in ResNet.
                nn.init.normal_(module.weight, std=math.sqrt(2 / (module.kernel_size[0] * module.out_channels)))

    def forward(
        self, mel_BFS: Float[Tensor, "b f s"], frames_B: Int[Tensor, " b"] | None = None, *, learning: bool = False
    ) -> Float[Tensor, "b c"]:
        """`frames_B`: how many frames of each row are its own; None: all. `learning`: normalise batch norm by the rows
        at hand, and move its running statistics where there is a gradient; else normalise by the running ones."""
        x_BCS = self.maps(mel_BFS, frames_B, learning=learning)
        if frames_B is None:
            return x_BCS.mean(dim=2)
        # Over a clip's own steps in training too, where MCN's code counts the padding; an absent row has none.
        count_B = self.frames_left(frames_B).clamp(min=1)
        return x_BCS.sum(dim=2) / count_B[:, None]

    def maps(
        self, mel_BFS: Float[Tensor, "b f s"], frames_B: Int[Tensor, " b"] | None, *, learning: bool
    ) -> Float[Tensor, "b c t"]:
        """Before pooling; zero beyond the end of each clip."""
        valid = None
        if frames_B is not None:
            valid = own(frames_B, mel_BFS.shape[2])[:, None]
            mel_BFS = mel_BFS.masked_fill(~valid, 0)
        x_BCS = self.norm(self.first(mel_BFS), valid, learning).relu()
        for block in self.blocks:
            if block.stride == 2 and frames_B is not None:
                # A stride of 2 keeps half of the frames, rounded up.
                frames_B = (frames_B + 1) // 2
                valid = own(frames_B, (x_BCS.shape[2] + 1) // 2)[:, None]
            x_BCS = block(x_BCS, valid, learning)
        return x_BCS

    def frames_left(self, frames: Tensor) -> Tensor:
        """Frames after all strides."""
        for _ in range(len(self.blocks) // 2):
            frames = (frames + 1) // 2
        return frames

    def running_statistics(self) -> Iterator[Tensor]:
        """Running means and variances of batch norm; none with group norm."""
        for module in self.modules():
            if isinstance(module, ValidBatchNorm):
                yield from (module.running_mean, module.running_var)


class GroupNorm(nn.Module):
    """Each clip by its own mean and variance over time and 16 channels: rows never see each other. (Channels alone, or
    few together, would lose what a clip holds throughout.)"""

    def __init__(self, channels: int):
        super().__init__()
        self.groups = max(1, channels // 16)
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCS: Tensor, valid_B1S: Tensor | None, learning: bool) -> Tensor:
        x_BCS = x_BCS.to(self.weight.dtype)
        if valid_B1S is None:
            return F.group_norm(x_BCS, self.groups, self.weight, self.bias)
        x_BGCS, valid = x_BCS.unflatten(1, (self.groups, -1)), valid_B1S[:, None]
        count = valid.sum(dim=(2, 3), keepdim=True).clamp(min=1) * x_BGCS.shape[2]
        # Centred first: a mean of squares less the square of the mean would cancel.
        centred = (x_BGCS - (x_BGCS * valid).sum(dim=(2, 3), keepdim=True) / count) * valid
        variance = centred.square().sum(dim=(2, 3), keepdim=True) / count
        y_BCS = (centred * (variance + 1e-5).rsqrt()).flatten(1, 2)
        return (y_BCS * self.weight[:, None] + self.bias[:, None]) * valid_B1S


class ValidBatchNorm(nn.Module):
    """Batch norm over what is valid of the rows at hand: a rank's rows, or a micro-batch of them."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x_BCS: Tensor, valid_B1S: Tensor | None, learning: bool) -> Tensor:
        x_BCS = x_BCS.to(self.weight.dtype)
        if valid_B1S is None:
            valid_B1S = torch.ones_like(x_BCS[:, :1], dtype=torch.bool)
        mean_C1, variance_C1 = self.running_mean[:, None], self.running_var[:, None]
        if learning:
            frames = valid_B1S.sum()
            count = frames.clamp(min=1)
            mean_C = (x_BCS * valid_B1S).sum(dim=(0, 2)) / count
            variance_C = ((x_BCS - mean_C[:, None]) * valid_B1S).square().sum(dim=(0, 2)) / count
            mean_C1, variance_C1 = mean_C[:, None], variance_C[:, None]
            # Gradient caching encodes every row once without a gradient: those passes would count twice.
            if torch.is_grad_enabled():
                with torch.no_grad():
                    # One frame has no variance: the statistics then stay.
                    momentum = (0.1 * (frames > 1)).to(mean_C)
                    self.running_mean.lerp_(mean_C, momentum)
                    # Unbiased, as torch's running variance is.
                    self.running_var.lerp_(variance_C * count / (count - 1).clamp(min=1), momentum)
        y_BCS = (x_BCS - mean_C1) * (variance_C1 + 1e-5).rsqrt()
        return (y_BCS * self.weight[:, None] + self.bias[:, None]) * valid_B1S


class _ConvBlock(nn.Module):
    def __init__(self, before: int, after: int, *, stride: int, norm: NormKind):
        super().__init__()
        # Kept for `maps`, which halves the lengths of clips with the frames.
        self.stride = stride
        self.conv1 = nn.Conv1d(before, after, _KERNEL, stride, _KERNEL // 2, bias=False)
        self.norm1 = _norm(norm, after)
        self.conv2 = nn.Conv1d(after, after, _KERNEL, 1, _KERNEL // 2, bias=False)
        self.norm2 = _norm(norm, after)
        if stride > 1:
            self.shortcut = nn.Conv1d(before, after, 1, stride, bias=False)
            self.shortcut_norm = _norm(norm, after)

    def forward(self, x_BCS: Tensor, valid: Tensor | None, learning: bool) -> Tensor:
        y_BCS = self.norm1(self.conv1(x_BCS), valid, learning).relu()
        y_BCS = self.norm2(self.conv2(y_BCS), valid, learning)
        if self.stride > 1:
            x_BCS = self.shortcut_norm(self.shortcut(x_BCS), valid, learning)
        return (x_BCS + y_BCS).relu()


def _norm(kind: NormKind, channels: int) -> nn.Module:
    return GroupNorm(channels) if kind == "group" else ValidBatchNorm(channels)


# -- its spectrogram ---------------------------------------------------------------------------------------------------


class DaveMel(nn.Module):
    """Spectrogram that DAVEnet was made for: 40 mel bands in decibels below the clip's loudest, down to -80.

    Mean taken off, pre-emphasis 0.97, Hamming windows of 25 ms every 10 ms, power, Slaney's bands from 20 Hz. A frame
    lies wholly inside its clip, so padding changes nothing. (MCN counts its decibels from the loudest of the file.)
    """

    window: Tensor
    filters: Tensor
    rate, size, hop = 16_000, 400, 160

    def __init__(self, bands: int = 40):
        super().__init__()
        bank_FK = mel_filters(self.rate, self.size, bands, low=20.0, high=self.rate / 2, scale="slaney")
        # Not saved: both follow from the settings.
        self.register_buffer("window", torch.hamming_window(self.size), persistent=False)
        self.register_buffer("filters", bank_FK.float(), persistent=False)

    def frames(self, samples: Tensor) -> Tensor:
        """Frames of a sound; at least one."""
        return ((samples - self.size) // self.hop + 1).clamp(min=1)

    @torch.no_grad()
    def forward(
        self, sound_BN: Float[Tensor, "b n"], samples_B: Int[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b f s"], Int[Tensor, " b"]]:
        """(spectrograms, how many frames of each are its own)"""
        with torch.autocast(sound_BN.device.type, enabled=False):
            sound_BN = sound_BN.to(self.window.dtype)
            # A sound shorter than a window is one frame.
            sound_BN = F.pad(sound_BN, (0, max(0, self.size - sound_BN.shape[1])))
            own_BN = own(samples_B, sound_BN.shape[1])
            mean_B1 = (sound_BN * own_BN).sum(dim=1, keepdim=True) / samples_B.clamp(min=1)[:, None]
            sound_BN = (sound_BN - mean_B1) * own_BN
            # Pre-emphasis reaches one sample into the padding, which is set to zero again.
            sound_BN = torch.cat([sound_BN[:, :1], sound_BN[:, 1:] - 0.97 * sound_BN[:, :-1]], dim=1) * own_BN
            spectrum = torch.stft(sound_BN, self.size, self.hop, window=self.window, center=False, return_complex=True)
            # 1e-10, and 80 dB below, are the defaults of librosa's `power_to_db`, which MCN's code calls.
            level_BFS = 10 * (self.filters @ spectrum.abs().square()).clamp(min=1e-10).log10()
            frames_B = self.frames(samples_B)
            # Padding must not be the loudest frame of a clip.
            level_BFS = level_BFS.where(own(frames_B, level_BFS.shape[2])[:, None], -torch.inf)
            return (level_BFS - level_BFS.amax(dim=(1, 2), keepdim=True)).clamp(min=-80), frames_B


# Not 0 as in MCN's code: zero decibels are a clip's loudest value.
PADDING_DB = -120.0
"""Padding of a spectrogram whose length is not stored: no real frame goes below -80 dB."""


def valid_frames(mel_BFS: Float[Tensor, "b f s"]) -> Int[Tensor, " b"]:
    """Frames up to the last one that is no padding."""
    real_BS = (mel_BFS > PADDING_DB + 1).any(dim=1)
    return (real_BS * torch.arange(1, real_BS.shape[1] + 1, device=mel_BFS.device)).amax(dim=1)


def own(length_B: Int[Tensor, " b"], total: int) -> Bool[Tensor, "b total"]:
    """1 up to the end of each clip, 0 in the padding behind it."""
    return torch.arange(total, device=length_B.device) < length_B[:, None]
