"""One clip as the model is shown it: by chance in training, by the rules of a view in evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from seehear.data.raw.config import RawConfig
from seehear.data.raw.pictures import Box, cut, draw_colours, moving, random_box, recoloured, squared, view_box
from seehear.data.raw.windows import Span, Starts, spaced, starts
from seehear.nn.random import seed_of
from seehear.types import Float, Int, Tensor


@dataclass(frozen=True)
class Drawn:
    """Training: every choice a function of (seed, epoch, index), and that of one modality of nothing in another."""

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
        """Cut, mirrored and recoloured: all frames alike."""
        draws = self.draws("video")
        colours, mirrored = draw_colours(config, draws), draws.random() < config.flip
        _, height, width, _ = frames_THWC.shape
        x = cut(frames_THWC, random_box(height, width, config, draws))
        enlarged = x.shape[1] * x.shape[2] < config.size**2
        x = x if enlarged else squared(x, config.size)  # what is left to do is done where there are fewer pixels
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
    """Evaluation: one of so many windows, one of so many crops; one of either is the middle."""

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
