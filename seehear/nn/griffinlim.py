"""From a Kaldi log-mel spectrogram back to sound: to listen to what a model made of it.

    power        P >= 0 with P M = exp(level), M the mel filters: a few steps of non-negative least squares, each of
                 which multiplies P by (E M^T) / (P M M^T)
    phases       Griffin and Lim's: transform and back again, keeping the angles only, with momentum
    emphasis     y[n] = x[n] + 0.97 y[n - 1] takes back what the spectrogram had done first

Bands are wider than the harmonics of a voice, so it sounds hoarse; what it sounds of is to be heard.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

from seehear.nn.kaldi import EMPHASIS, QUIETEST, KaldiMel
from seehear.types import Float, Tensor

_FITS = 200  # steps of non-negative least squares
_MOMENTUM = 0.99
_TINY = 1e-12


@torch.no_grad()
def sound_of(level_SF: Float[Tensor, "s f"], mel: KaldiMel, *, rounds: int = 60, seed: int = 0) -> Float[Tensor, " n"]:
    """A waveform whose spectrogram is near `level_SF`."""
    goal_SK = _power((level_SF.float().exp() - QUIETEST).clamp(min=0), mel.filters).sqrt()
    generator = torch.Generator(goal_SK.device).manual_seed(seed)
    turn = torch.rand(goal_SK.shape, generator=generator, device=goal_SK.device)
    angle, before = torch.polar(torch.ones_like(turn), 2 * math.pi * turn), torch.zeros_like(turn, dtype=torch.cfloat)
    for _ in range(rounds):
        now = _spectrum(_signal(goal_SK * angle, mel), mel)
        angle = now + _MOMENTUM * (now - before)
        angle, before = angle / angle.abs().clamp(min=_TINY), now
    return _without_emphasis(_signal(goal_SK * angle, mel))


def _power(energy_SF: Tensor, filters_KF: Tensor) -> Tensor:
    """P >= 0, (S, K): of bins that are in no band nothing."""
    power_SK = energy_SF @ filters_KF.T + _TINY
    wanted_SK, square_KK = energy_SF @ filters_KF.T, filters_KF @ filters_KF.T
    for _ in range(_FITS):
        power_SK = power_SK * wanted_SK / (power_SK @ square_KK + _TINY)
    return power_SK


def _spectrum(sound_N: Tensor, mel: KaldiMel) -> Tensor:
    return torch.fft.rfft(sound_N.unfold(0, len(mel.window), mel.hop) * mel.window, mel.points)


def _signal(spectrum_SK: Tensor, mel: KaldiMel) -> Tensor:
    """The sound whose frames are nearest to these, overlapping."""
    frames_SN = torch.fft.irfft(spectrum_SK, mel.points)[:, : len(mel.window)] * mel.window
    weight_SN = mel.window.square().expand_as(frames_SN)
    return _overlapped(frames_SN, mel) / _overlapped(weight_SN, mel).clamp(min=1e-3)


def _overlapped(frames_SN: Tensor, mel: KaldiMel) -> Tensor:
    length, window = (len(frames_SN) - 1) * mel.hop + len(mel.window), len(mel.window)
    return F.fold(frames_SN.T[None], (1, length), (1, window), stride=(1, mel.hop)).flatten()


def _without_emphasis(sound_N: Tensor) -> Tensor:
    """Divided in the frequency domain, long enough that what comes round has died away."""
    length = len(sound_N) + 1024
    turns = torch.arange(length // 2 + 1, device=sound_N.device, dtype=torch.float64) * (2 * math.pi / length)
    filtered = torch.fft.rfft(sound_N.double(), length) / (1 - EMPHASIS * torch.exp(-1j * turns))
    return torch.fft.irfft(filtered, length)[: len(sound_N)].float()
