"""Views of one clip: random ones for training, fixed ones for evaluation.

All frames of a clip get the same crop and the same colours. Colours change by one matrix for all pixels: saturation and
hue are a stretch and a turn of the colour plane of YIQ. (VATT's code turns each pixel in HSV, which costs twenty times
as much and does nearly the same.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch.nn import functional as F

from seehear.inputs.raw.config import RawConfig, Span, Starts, spaced, starts
from seehear.nn.random import seed_of
from seehear.types import Float, Int, Tensor

_ATTEMPTS = 10
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])
# Inverted in float64: its rounding would be in every pixel.
_RGB = torch.linalg.inv(_YIQ.double()).float()
# Multiplied at once: a product of 24 x 24 takes a fifth of the time of eight of 3 x 3.
_PIXELS = 8


@dataclass(frozen=True)
class Drawn:
    """Training view: every draw is a function of (seed, epoch, index), and independent for each modality."""

    seed: int
    epoch: int
    index: int

    def draws(self, name: str) -> np.random.Generator:
        return np.random.default_rng(seed_of(self.seed, "raw", self.epoch, self.index, name))

    def starts(self, span: Span, config: RawConfig) -> Starts:
        draws = self.draws("window")

        def place(last: int) -> int:
            return int(draws.integers(0, last, endpoint=True))

        return starts(span, *config.lengths, window=place, inside=place)

    def seen(self, frames_THWC: Int[np.ndarray, "t h w c"], config: RawConfig) -> Int[Tensor, "t s s c"]:
        """Crop, mirror image and colours, the same for all frames."""
        draws = self.draws("video")
        # Before the box, which takes a varying number of draws: they do not depend on it.
        colours, mirrored = draw_colours(config, draws), draws.random() < config.flip
        _, height, width, _ = frames_THWC.shape
        x = cut(frames_THWC, random_box(height, width, config, draws))
        enlarged = x.shape[1] * x.shape[2] < config.size**2
        # The rest is done at whichever size has fewer pixels.
        x = x if enlarged else squared(x, config.size)
        x = x.flip(2) if mirrored else x
        x = recoloured(x, colours) if colours is not None else x
        x = squared(x, config.size) if enlarged else x
        return moving(x, config.motion) if config.motion else x

    def heard(self, waveform: Float[np.ndarray, " s"], config: RawConfig) -> Float[Tensor, " s"]:
        if not config.noise:
            return torch.from_numpy(waveform)
        noise = self.draws("audio").standard_normal(len(waveform), dtype=np.float32)
        return torch.from_numpy(waveform + config.noise * np.abs(waveform).max() * noise)


@dataclass(frozen=True)
class Viewed:
    """Evaluation view: one of evenly spaced windows and crops; a single one is the middle."""

    window: int
    windows: int
    crop: int
    crops: int

    def draws(self, name: str) -> None:
        return None

    def starts(self, span: Span, config: RawConfig) -> Starts:
        window, inside = partial(spaced, self.window, self.windows), partial(spaced, 0, 1)
        return starts(span, *config.lengths, window=window, inside=inside)

    def seen(self, frames_THWC: Int[np.ndarray, "t h w c"], config: RawConfig) -> Int[Tensor, "t s s c"]:
        _, height, width, _ = frames_THWC.shape
        whole = config.squash and self.crops == 1
        box = Box(0, 0, height, width) if whole else view_box(height, width, self.crop, self.crops)
        x = squared(cut(frames_THWC, box), config.size)
        return moving(x, config.motion) if config.motion else x

    def heard(self, waveform: Float[np.ndarray, " s"], config: RawConfig) -> Float[Tensor, " s"]:
        return torch.from_numpy(waveform)


# -- pictures ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Box:
    """A rectangle of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class ColourJitter:
    """Change of the colours of a clip."""

    brightness: float = 0.0
    """Added, white being 255."""
    saturation: float = 1.0
    contrast: float = 1.0
    hue: float = 0.0
    """Turns of the colour circle."""


def region_of(height: int, width: int, region: tuple[float, float, float, float]) -> Box:
    """Region of a picture in pixels: one at least."""
    top, left = min(round(region[0] * height), height - 1), min(round(region[1] * width), width - 1)
    return Box(top, left, max(round(region[2] * height) - top, 1), max(round(region[3] * width) - left, 1))


def random_box(height: int, width: int, config: RawConfig, draws: np.random.Generator) -> Box:
    """Crop of random area, shape and place; the centre square where none fits."""
    low, high = math.log(config.aspect[0]), math.log(config.aspect[1])
    for _ in range(_ATTEMPTS):
        area = height * width * draws.uniform(*config.crop)
        shape = math.exp(draws.uniform(low, high))
        tall, wide = round(math.sqrt(area / shape)), round(math.sqrt(area * shape))
        if 0 < tall <= height and 0 < wide <= width:
            top, left = draws.integers(0, height - tall, endpoint=True), draws.integers(0, width - wide, endpoint=True)
            return Box(int(top), int(left), tall, wide)
    return view_box(height, width, 0, 1)


def view_box(height: int, width: int, number: int, count: int) -> Box:
    """Square `number` of `count`, evenly spaced along the longer side of the picture; a single one is the centre."""
    side = min(height, width)
    down, across = height - side, width - side
    where = 0.5 if count == 1 else number / (count - 1)
    return Box(round(down * where), round(across * where), side, side)


def cut(frames_THWC: Int[np.ndarray, "t h w c"], box: Box) -> Int[Tensor, "t h w c"]:
    """The box of every frame, as a view."""
    return torch.from_numpy(frames_THWC)[:, box.top : box.top + box.height, box.left : box.left + box.width]


def squared(x_THWC: Int[Tensor, "t h w c"], size: int) -> Int[Tensor, "t s s c"]:
    """uint8: pictures resized to squares of `size` pixels."""
    if x_THWC.shape[1:3] == (size, size):
        return x_THWC
    x = F.interpolate(x_THWC.permute(0, 3, 1, 2), (size, size), mode="bilinear", antialias=True)
    return x.permute(0, 2, 3, 1)


def moving(x_THWC: Int[Tensor, "t h w c"], gain: float) -> Int[Tensor, "t h w c"]:
    """uint8: difference of every pixel from its mean over the clip, `gain` times, around middle grey."""
    x = x_THWC.float()
    # 128 is middle grey; the half rounds, as uint8 truncates.
    return (gain * (x - x.mean(dim=0)) + 128.5).clamp_(0, 255).to(torch.uint8)


def draw_colours(config: RawConfig, draws: np.random.Generator) -> ColourJitter | None:
    """Random change of colours; None: none."""
    changed = draws.random() < config.jitter
    # Drawn in any case: later draws must not depend on the outcome of this one.
    b, s, c, h = draws.uniform(-1.0, 1.0, 4)
    if not changed:
        return None
    return ColourJitter(
        brightness=255 * b * config.brightness,
        saturation=1 + s * config.saturation,
        contrast=1 + c * config.contrast,
        hue=h * config.hue,
    )


def recoloured(frames_THWC: Int[Tensor, "t h w c"], colours: ColourJitter) -> Int[Tensor, "t h w c"]:
    """Frames after brightness, saturation, contrast around the clip's mean colour and hue, clipped to 0..255."""
    turn, added = 2 * math.pi * colours.hue, torch.full((3,), float(colours.brightness))
    stretched = _plane(colours.saturation, 0.0)
    turned = _plane(1.0, turn)
    # Brightness, saturation, contrast, hue: the order of VATT's code, in one matrix.
    matrix = colours.contrast * turned @ stretched
    # The mean of some pixels is close to that of all.
    every = max(1, frames_THWC.shape[1] // 32)
    mean = frames_THWC[:, ::every, ::every].double().mean(dim=(0, 1, 2)).float()
    middle = stretched @ (mean + added)
    offset = matrix @ added + (1 - colours.contrast) * (turned @ middle)
    together = math.gcd(frames_THWC[0].numel() // 3, _PIXELS)
    # 0.5: uint8 truncates.
    blocks, offsets = torch.block_diag(*[matrix.T] * together), (offset + 0.5).repeat(together)
    out = torch.empty(frames_THWC.shape, dtype=torch.uint8)
    # Frame by frame: float32 of a whole clip is large.
    for frame, changed in zip(frames_THWC, out, strict=True):
        values = torch.addmm(offsets, frame.reshape(-1, 3 * together).float(), blocks)
        changed.view(-1, 3 * together).copy_(values.clamp_(0, 255))
    return out


def _plane(stretch: float, turn: float) -> Float[Tensor, "3 3"]:
    """RGB matrix that keeps brightness, and stretches and turns the colour plane."""
    plane = torch.eye(3)
    c, s = stretch * math.cos(turn), stretch * math.sin(turn)
    plane[1:, 1:] = torch.tensor([[c, -s], [s, c]])
    return _RGB @ plane @ _YIQ
