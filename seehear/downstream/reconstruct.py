"""Reconstruction of a masked clip by a masked autoencoder: a picture to look at, sounds to listen to."""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.distributed import device as pick
from seehear.downstream.restore import Restored, masked_autoencoder, restore
from seehear.encoders.base import Sample
from seehear.errors import SeehearError, require
from seehear.inputs.raw import RawConfig
from seehear.inputs.raw.reading import views_of
from seehear.media.files import probe
from seehear.methods.base import Method
from seehear.methods.mavil import SIDES, MAViL
from seehear.nn.griffinlim import sound_of
from seehear.nn.masked import Standard
from seehear.nn.tokens import joined
from seehear.space import load_method
from seehear.types import Batch, Modality, Tensor

_HIDDEN = "#b8b8b8"
_MOST_FRAMES = 8  # of a picture's width


@dataclass(frozen=True, kw_only=True)
class ReconstructOptions:
    mask: float = 0.8
    """The part of the patches that is hidden."""
    steps: int = 50
    """Of diffusion, from noise to patches; MAViL has none."""
    eta: float = 0.0
    """New noise on the way: 0 none (DDIM), 1 as much as DDPM has."""
    seed: int = 0
    """Of the mask and the noise."""

    def __post_init__(self) -> None:
        if not 0 < self.mask < 1 or not 0 <= self.eta <= 1 or self.steps < 1:
            raise SeehearError("--mask is between 0 and 1, --eta from 0 to 1, --steps 1 or more")


@dataclass(frozen=True, kw_only=True)
class Shots:
    """One modality of a clip, thrice: frames (T, H, W, 3) from 0 to 1, or levels (S, F)."""

    original: np.ndarray
    restored: np.ndarray
    hidden: np.ndarray
    """1 = hidden, of the same shape but for colours."""
    lent: np.ndarray | None
    """With every hidden patch flat at its mean: what of the restored picture the model did not have to tell. None where
    it tells all."""
    error: float
    """As `Restored.error_B`."""


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    shots: dict[Modality, Shots]
    """Of what the clip has."""
    sounds: dict[str, np.ndarray]
    """Name -> samples: what Griffin and Lim's way makes of the original spectrogram, and of the restored one."""
    rate: int
    said: str
    """How it was made."""


def reconstruct(run: str | Path, clip: Sample, options: ReconstructOptions, *, device: str = "auto") -> Reconstruction:
    """Of a trained model and a window of a file."""
    method, _, shown = load_method(run)
    if shown is None:
        raise SeehearError(f"{method.name} reads the latents of encoders: it has no pictures or sounds to tell")
    method, at = masked_autoencoder(method), pick(device)
    return reconstruction(method.eval().to(at), _batch(clip, shown.raw, at), options)


def reconstruction(method: Method, batch: Batch, options: ReconstructOptions) -> Reconstruction:
    """Of a batch of one clip."""
    method = masked_autoencoder(method)
    found = restore(method, batch, mask=options.mask, steps=options.steps, eta=options.eta, seed=options.seed)
    shots = {m: _shots(method, m, batch[m], found[m]) for m in SIDES if bool(batch[f"has_{m}"])}
    sounds = {}
    if "audio" in shots:
        frames = min(method.mel.frames(batch["audio"].shape[1]), len(shots["audio"].original))
        for name in ("original", "restored"):
            level = torch.from_numpy(getattr(shots["audio"], name)[:frames]).to(batch["audio"].device)
            sounds[name] = sound_of(level, method.mel, seed=options.seed).cpu().numpy()
    return Reconstruction(shots=shots, sounds=sounds, rate=method.config.rate, said=_said(method, options))


def _batch(clip: Sample, raw: RawConfig, device: torch.device) -> Batch:
    info = probe(clip.path)
    batch: Batch = {}
    if clip.end <= clip.start and not info.is_picture:
        clip = Sample(path=clip.path, start=clip.start, end=info.duration)
    empty = {"video": torch.zeros(1, raw.frames, raw.size, raw.size, 3, dtype=torch.uint8)}
    empty["audio"] = torch.zeros(1, raw.samples)
    for m, there in (("video", info.has_video), ("audio", info.has_audio)):
        batch[m] = torch.as_tensor(views_of(clip, m, raw) if there else empty[m]).to(device)
        batch[f"has_{m}"] = torch.tensor([there], device=device)
    return batch


def _shots(model: MAViL, m: Modality, x: Tensor, found: Restored) -> Shots:
    _, counts = model.patches(m, x)
    patch, standard = model.config.patch_of(m), model.standard[m]
    assert isinstance(standard, Standard)

    flat_BNP = found.original_BNP.mean(dim=-1, keepdim=True).expand_as(found.original_BNP)
    lent_BNP = torch.where(found.hidden_BN[..., None], flat_BNP, found.original_BNP)

    def shape(x_BNP: Tensor) -> np.ndarray:
        made = joined(x_BNP, counts, patch)[0].float().cpu().numpy()
        return made if m == "video" else made[..., 0]

    original, restored = (shape(standard.inverse(x)) for x in (found.original_BNP, found.restored_BNP))
    hidden = shape(found.hidden_BN[..., None].expand_as(found.original_BNP).float()) > 0.5
    return Shots(
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
    lent = "; mean and contrast of every hidden patch are lent from the original" if method.config.standardise else ""
    return f"{method.name}, {100 * options.mask:.0f} % hidden, {how}{lent}"


# -- files -----------------------------------------------------------------------------------------------------------


def save_reconstruction(made: Reconstruction, out: Path) -> list[Path]:
    """The picture at `out`, and beside it sounds as `<out>.original.wav` and `<out>.restored.wav`."""
    figures = require("matplotlib.figure", "studies")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure = figures.Figure(figsize=_size(made), layout="constrained")
    parts = figure.subfigures(len(made.shots), 1)
    for m, part in zip(made.shots, np.atleast_1d(parts), strict=True):
        (_draw_frames if m == "video" else _draw_levels)(part, made.shots[m])
    figure.suptitle(made.said, fontsize=9)
    figure.savefig(out, dpi=150)
    paths = [out]
    for name, samples in made.sounds.items():
        paths.append(out.with_suffix(f".{name}.wav"))
        _write_sound(paths[-1], samples, made.rate)
    return paths


def _size(made: Reconstruction) -> tuple[float, float]:
    return 10.0, 0.4 + 1.4 * sum(len(_rows(shots)) for shots in made.shots.values())


def _draw_frames(figure: Any, shots: Shots) -> None:
    """A row of frames for each way to see them."""
    chosen = np.linspace(0, len(shots.original) - 1, min(_MOST_FRAMES, len(shots.original))).round().astype(int)
    rows = _rows(shots)
    axes = figure.subplots(len(rows), len(chosen), squeeze=False)
    for row, (name, frames) in zip(axes, rows.items(), strict=True):
        for axis, at in zip(row, chosen, strict=True):
            axis.set(xticks=[], yticks=[], facecolor=_HIDDEN)
            axis.imshow(frames[at], interpolation="nearest")
        row[0].set_ylabel(name, fontsize=9)
    figure.suptitle(f"frames: error of hidden patches {shots.error:.2f} (1 = flat at their mean)", fontsize=9)


def _draw_levels(figure: Any, shots: Shots) -> None:
    """Spectrograms one below the other, with the same colours."""
    low, high = np.percentile(shots.original, [1, 99.5])
    rows = _rows(shots)
    axes = figure.subplots(len(rows), 1, sharex=True)
    for axis, (name, levels) in zip(axes, rows.items(), strict=True):
        axis.set_facecolor(_HIDDEN)
        axis.imshow(levels.T, origin="lower", aspect="auto", cmap="magma", vmin=low, vmax=high, interpolation="nearest")
        axis.set_ylabel(f"{name}\nmel band", fontsize=9)
    axes[-1].set_xlabel("time, 10 ms", fontsize=9)
    figure.suptitle(f"sound: error of hidden patches {shots.error:.2f} (1 = flat at their mean)", fontsize=9)


def _rows(shots: Shots) -> dict[str, np.ndarray]:
    """What is shown, from top to bottom. Hidden pixels are transparent, hidden levels masked."""
    if shots.original.ndim == 2:
        seen: np.ndarray = np.ma.masked_array(shots.original, shots.hidden)
    else:
        seen = np.concatenate([shots.original, ~shots.hidden[..., None]], axis=-1)
    rows = {"original": shots.original, "seen": seen}
    if shots.lent is not None:
        rows["seen and lent"] = shots.lent
    return rows | {"restored": shots.restored}


def _write_sound(path: Path, samples: np.ndarray, rate: int) -> None:
    loudest = max(1.0, float(np.abs(samples).max(initial=0.0)))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples / loudest * 32767).astype("<i2").tobytes())
