"""Reconstruction of a masked clip by a masked autoencoder, as a picture and sounds.

MAViL predicts hidden patches in one pass. DiffMAViL denoises them step by step; the visible patches are encoded once.

A model of standardised patches (norm_pix) does not predict how bright or loud a patch is. Its output is given the mean
and deviation of the original patches, so pictures look better than the model is.
"""

from __future__ import annotations

import math
import wave
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from seehear.distributed import device as pick
from seehear.encoders.base import Sample
from seehear.errors import SeehearError, require
from seehear.inputs.raw import RawConfig
from seehear.inputs.raw.reading import views_of
from seehear.media.files import probe
from seehear.methods.base import Method
from seehear.methods.diffmavil import DiffusedPatches
from seehear.methods.mavil import SIDES, MaskedViews, MAViL
from seehear.nn.diffusion import sample
from seehear.nn.masked import Standard, patch_error, unstandardised
from seehear.nn.mel import EMPHASIS, QUIETEST, KaldiMel
from seehear.nn.random import Randomness
from seehear.nn.transformer import joined, take
from seehear.space import load_method
from seehear.types import Batch, Bool, Float, Modality, Tensor

_HIDDEN = "#b8b8b8"
# Columns of the picture.
_MOST_FRAMES = 8


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions:
    mask: float = 0.8
    """Share of patches that is masked."""
    steps: int = 50
    """Diffusion steps, from noise to patches; MAViL has none."""
    eta: float = 0.0
    """Noise added in each step: 0 none (DDIM), 1 as much as DDPM."""
    seed: int = 0
    """Seed of the mask and the noise."""

    def __post_init__(self) -> None:
        if not 0 < self.mask < 1 or not 0 <= self.eta <= 1 or self.steps < 1:
            raise SeehearError("--mask is between 0 and 1, --eta from 0 to 1, --steps 1 or more")


@dataclass(frozen=True, kw_only=True)
class _Shots:
    """One modality of a clip in several versions: frames (T, H, W, 3) from 0 to 1, or levels (S, F)."""

    original: np.ndarray
    restored: np.ndarray
    hidden: np.ndarray
    """1 = hidden, of the same shape without colours."""
    lent: np.ndarray | None
    """Version with every hidden patch constant at its mean, which the model is given; None if it predicts the mean."""
    error: float
    """Relative error of hidden patches, as `_Restored.error_B`."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    shots: dict[Modality, _Shots]
    """Versions by modality of the clip."""
    sounds: dict[str, np.ndarray]
    """Samples by name: Griffin-Lim inversions of the original and the restored spectrogram."""
    rate: int
    said: str
    """Description of the model, the mask and the steps."""


def reconstruct(run: str | Path, clip: Sample, options: ReconstructOptions, *, device: str = "auto") -> Reconstruction:
    """Reconstruction of a window of a file by a trained model."""
    method, _, shown = load_method(run)
    if shown is None:
        raise SeehearError(f"{method.name} reads the latents of encoders: it cannot reconstruct pictures or sounds")
    at = pick(device)
    return reconstruction(method.eval().to(at), _batch(clip, shown.raw, at), options)


def reconstruction(method: Method, batch: Batch, options: ReconstructOptions) -> Reconstruction:
    """Reconstruction of a batch of one clip."""
    method = _masked_autoencoder(method)
    found = restore(method, batch, options)
    shots = {m: _shots(method, m, batch[m], found[m]) for m in SIDES if bool(batch[f"has_{m}"])}
    sounds = {}
    if "audio" in shots:
        # Levels are padded to whole patches; only frames of the sound are inverted.
        frames = min(method.mel.frames(batch["audio"].shape[1]), len(shots["audio"].original))
        for name in ("original", "restored"):
            level = torch.from_numpy(getattr(shots["audio"], name)[:frames]).to(batch["audio"].device)
            sounds[name] = sound_of(level, method.mel, seed=options.seed).cpu().numpy()
    return Reconstruction(shots=shots, sounds=sounds, rate=method.config.rate, said=_said(method, options))


def _batch(clip: Sample, raw: RawConfig, device: torch.device) -> Batch:
    info = probe(clip.path)
    batch: Batch = {}
    # No end is the end of the file.
    if clip.end <= clip.start and not info.is_picture:
        clip = Sample(path=clip.path, start=clip.start, end=info.duration)
    empty = {"video": torch.zeros(1, raw.frames, raw.size, raw.size, 3, dtype=torch.uint8)}
    empty["audio"] = torch.zeros(1, raw.samples)
    for m, there in (("video", info.has_video), ("audio", info.has_audio)):
        batch[m] = torch.as_tensor(views_of(clip, m, raw) if there else empty[m]).to(device)
        batch[f"has_{m}"] = torch.tensor([there], device=device)
    return batch


def _shots(model: MAViL, m: Modality, x: Tensor, found: _Restored) -> _Shots:
    _, counts = model.patches(m, x)
    patch, standard = model.config.patch_of(m), model.standard[m]
    assert isinstance(standard, Standard)

    lent_BNP = torch.where(found.hidden_BN[..., None], _flat(found.original_BNP), found.original_BNP)

    def shape(x_BNP: Tensor) -> np.ndarray:
        made = joined(x_BNP, counts, patch)[0].float().cpu().numpy()
        return made if m == "video" else made[..., 0]

    original, restored = (shape(standard.inverse(x)) for x in (found.original_BNP, found.restored_BNP))
    hidden = shape(found.hidden_BN[..., None].expand_as(found.original_BNP).float()) > 0.5
    return _Shots(
        original=original,
        restored=restored.clip(0, 1) if m == "video" else restored,
        hidden=hidden[..., 0] if m == "video" else hidden,
        lent=shape(standard.inverse(lent_BNP)) if model.config.standardise else None,
        error=float(found.error_B),
    )


def _said(method: Method, options: ReconstructOptions) -> str:
    how = "one pass"
    if method.config.diffuse:
        how = f"{options.steps} steps from noise ({' and '.join(method.config.diffuse)})"
    lent = "; mean and contrast of hidden patches are the original's" if method.config.standardise else ""
    return f"{method.name}, {100 * options.mask:.0f} % hidden, {how}{lent}"


def save_reconstruction(made: Reconstruction, out: Path) -> list[Path]:
    """Writes the picture to `out`, the sounds to `<out>.original.wav` and `<out>.restored.wav`; returns the paths."""
    figures = require("matplotlib.figure", "studies")
    out.parent.mkdir(parents=True, exist_ok=True)
    rows = sum(len(_rows(shots)) for shots in made.shots.values())
    figure = figures.Figure(figsize=(10.0, 0.4 + 1.4 * rows), layout="constrained")
    parts = figure.subfigures(len(made.shots), 1)
    for m, part in zip(made.shots, np.atleast_1d(parts), strict=True):
        (_draw_frames if m == "video" else _draw_levels)(part, made.shots[m])
    figure.suptitle(made.said, fontsize=9)
    figure.savefig(out, dpi=150)
    paths = [out]
    for name, samples in made.sounds.items():
        paths.append(out.with_suffix(f".{name}.wav"))
        # Scaled down only where it would clip: the two sounds stay comparable in loudness.
        loudest = max(1.0, float(np.abs(samples).max(initial=0.0)))
        with wave.open(str(paths[-1]), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(made.rate)
            file.writeframes((samples / loudest * 32767).astype("<i2").tobytes())
    return paths


def _draw_frames(figure: Any, shots: _Shots) -> None:
    """Draws a row of frames for each version."""
    chosen = np.linspace(0, len(shots.original) - 1, min(_MOST_FRAMES, len(shots.original))).round().astype(int)
    rows = _rows(shots)
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for row, (name, frames) in zip(axes, rows.items(), strict=True):
        for axis, at in zip(row, chosen, strict=True):
            axis.set(xticks=[], yticks=[], facecolor=_HIDDEN)
            axis.imshow(frames[at], interpolation="nearest")
        row[0].set_ylabel(name, fontsize=9)
    figure.suptitle(f"frames: error of hidden patches {shots.error:.2f} (1 = flat at their mean)", fontsize=9)


def _draw_levels(figure: Any, shots: _Shots) -> None:
    """Draws a spectrogram for each version, with the same colours."""
    # One scale for all versions, without the few extreme levels.
    low, high = np.percentile(shots.original, [1, 99.5])
    rows = _rows(shots)
    axes = figure.subplots(len(rows), 1, sharex=True)
    for axis, (name, levels) in zip(axes, rows.items(), strict=True):
        axis.set_facecolor(_HIDDEN)
        axis.imshow(levels.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, interpolation="nearest")
        axis.set_ylabel(f"{name}\nmel band", fontsize=9)
    axes[-1].set_xlabel("time, 10 ms", fontsize=9)
    figure.suptitle(f"sound: error of hidden patches {shots.error:.2f} (1 = flat at their mean)", fontsize=9)


def _rows(shots: _Shots) -> dict[str, np.ndarray]:
    """Versions by name, from top to bottom. Hidden pixels are transparent, hidden levels masked."""
    if shots.original.ndim == 2:
        seen: np.ndarray = np.ma.masked_array(shots.original, shots.hidden)
    else:
        # The mask as an alpha channel: hidden pixels show the grey behind them.
        seen = np.concatenate([shots.original, ~shots.hidden[..., None]], axis=-1)
    rows = {"original": shots.original, "seen": seen}
    if shots.lent is not None:
        rows["seen and lent"] = shots.lent
    return rows | {"restored": shots.restored}


# Inversion of a Kaldi log-mel spectrogram:
#
#     power        P >= 0 with P M = E = exp(level), M the mel filters: non-negative least squares by multiplicative
#                  updates, P <- P (E M^T) / (P M M^T)
#     phases       Griffin and Lim: transform back and forth, keeping only the angles, with momentum
#     emphasis     y[n] = x[n] + 0.97 y[n - 1] undoes the pre-emphasis
#
# Bands are wider than the harmonics of a voice, so voices sound hoarse.

# Multiplicative updates.
_FITS = 200
_MOMENTUM = 0.99
_TINY = 1e-12


@torch.no_grad()
def sound_of(level_SF: Float[Tensor, "s f"], mel: KaldiMel, *, rounds: int = 60, seed: int = 0) -> Float[Tensor, " n"]:
    """A waveform whose spectrogram approximates `level_SF`."""
    energy_SF = (level_SF.float().exp() - QUIETEST).clamp(min=0)
    wanted_SK, square_KK = energy_SF @ mel.filters.T, mel.filters @ mel.filters.T
    power_SK = wanted_SK + _TINY
    for _ in range(_FITS):
        power_SK = power_SK * wanted_SK / (power_SK @ square_KK + _TINY)
    goal_SK = power_SK.sqrt()
    generator = torch.Generator(goal_SK.device).manual_seed(seed)
    # Random phases by a fixed seed: the original and the restored sound differ by their spectrograms alone.
    turn = torch.rand(goal_SK.shape, generator=generator, device=goal_SK.device)
    angle, before = torch.polar(torch.ones_like(turn), 2 * math.pi * turn), torch.zeros_like(turn, dtype=torch.cfloat)
    for _ in range(rounds):
        sound_N = _signal(goal_SK * angle, mel)
        now = torch.fft.rfft(sound_N.unfold(0, len(mel.window), mel.hop) * mel.window, mel.points)
        angle = now + _MOMENTUM * (now - before)
        angle, before = angle / angle.abs().clamp(min=_TINY), now
    sound_N = _signal(goal_SK * angle, mel)
    plain_N = require("scipy.signal").lfilter([1.0], [1.0, -EMPHASIS], sound_N.double().cpu())
    return torch.from_numpy(plain_N).to(sound_N)


def _signal(spectrum_SK: Tensor, mel: KaldiMel) -> Tensor:
    """The sound whose overlapping frames are nearest to these."""
    frames_SN = torch.fft.irfft(spectrum_SK, mel.points)[:, : len(mel.window)] * mel.window
    # The least-squares inverse: frames times the window, over the sum of its squares.
    weight_SN = mel.window.square().expand_as(frames_SN)
    # At both ends the sum of squares goes to 0.
    return _overlapped(frames_SN, mel) / _overlapped(weight_SN, mel).clamp(min=1e-3)


def _overlapped(frames_SN: Tensor, mel: KaldiMel) -> Tensor:
    length, window = (len(frames_SN) - 1) * mel.hop + len(mel.window), len(mel.window)
    return F.fold(frames_SN.T[None], (1, length), (1, window), stride=(1, mel.hop)).flatten()


@dataclass(frozen=True, kw_only=True)
class _Restored:
    """One modality of a batch, as patches in grid order and in units of the data set."""

    original_BNP: Float[Tensor, "b n p"]
    restored_BNP: Float[Tensor, "b n p"]
    """Predicted hidden patches between the original visible ones."""
    hidden_BN: Bool[Tensor, "b n"]
    """1 = hidden."""
    error_B: Float[Tensor, " b"]
    """Squared error of the hidden patches, relative to constant patches with the original means."""


@torch.no_grad()
def restore(method: Method, batch: Batch, options: ReconstructOptions) -> dict[Modality, _Restored]:
    """Prediction of a randomly masked share of each modality."""
    trained, rows = _masked_autoencoder(method), len(batch["video"])
    if trained.config.teacher:
        raise SeehearError(
            "a model of stage 2 predicts its teacher's tokens, not pictures or sounds: use one of stage 1"
        )
    # The same weights with one view, no augmentation of the sound, and all hidden patches decoded.
    config = replace(trained.config, roll=False, intra_weight=0.0, decoded=dict.fromkeys(SIDES, 1.0))
    model = type(trained).from_config(asdict(config)).to(next(trained.parameters()).device)
    model.load_state_dict(trained.own_state())
    rng = Randomness(options.seed, 0, 0, rows, rows, next(model.parameters()).device)
    model.masking = dict.fromkeys(SIDES, options.mask)
    found = {}
    for m, seen in model.see(batch, rng=rng).items():
        original_BNP = model.standard[m](seen.patches_BNP)
        hidden_BMP, at_BMP = take(original_BNP, seen.hidden_BM), seen.hidden_BM[:, :, None]
        told_BMP = _predict(model, m, seen, hidden_BMP, rng, options).to(original_BNP.dtype)
        found[m] = _Restored(
            original_BNP=original_BNP,
            restored_BNP=original_BNP.scatter(1, at_BMP.expand_as(told_BMP), told_BMP),
            hidden_BN=torch.zeros_like(original_BNP[..., 0], dtype=torch.bool).scatter(1, seen.hidden_BM, True),
            error_B=patch_error(told_BMP, hidden_BMP) / patch_error(_flat(hidden_BMP), hidden_BMP).clamp(min=_TINY),
        )
    return found


def _predict(
    model: MAViL, m: Modality, seen: MaskedViews, hidden_BMP: Tensor, rng: Randomness, options: ReconstructOptions
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

    x0_BMP = sample(denoise, draw, place.schedule, steps=options.steps, eta=options.eta)
    return back(x0_BMP) if place.standardise else x0_BMP


def _flat(x_BMP: Tensor) -> Tensor:
    """Patches that are constant at their mean."""
    return x_BMP.mean(dim=-1, keepdim=True).expand_as(x_BMP)


def _masked_autoencoder(method: Method) -> MAViL:
    """The method if it is a masked autoencoder; raises `SeehearError` otherwise."""
    if not isinstance(method, MAViL):
        raise SeehearError(f"{method.name} is no masked autoencoder: use a run of MAViL or DiffMAViL")
    return method
