"""Towers for sound: CLAP and AST over windows, the Whisper encoder and wav2vec 2.0, HuBERT, WavLM over moments.

A long sound is cut into windows of equal length, none longer than the model takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import ReadWaveform, Sample
from seehear.encoders.frozen import run_parts
from seehear.encoders.hub_towers import HubOptions, HubTower, pool_tokens, read_settings
from seehear.errors import require
from seehear.types import Tensor

Features = dict[str, np.ndarray]


def equal_windows(waveform_S: np.ndarray, longest: int) -> np.ndarray:
    """(W, S) with the smallest W for which no window is longer than `longest` samples; the last W - 1 may be lost."""
    # Equal windows, not full ones and a rest: each is a step, and a short rest would weigh as much in a mean.
    count = max(1, math.ceil(len(waveform_S) / longest))
    size = len(waveform_S) // count
    return waveform_S[: count * size].reshape(count, size)


@dataclass(frozen=True)
class ReadFeatures:
    """A window's sound through the model's own feature extractor (a spectrogram, in numpy)."""

    extractor: Any
    seconds: float
    """Longest window of sound that becomes one input."""

    @property
    def rate(self) -> int:
        return int(self.extractor.sampling_rate)

    def __call__(self, sample: Sample) -> Features:
        return self.of(ReadWaveform(rate=self.rate)(sample))

    def of(self, waveform_S: np.ndarray) -> Features:
        windows_WS = equal_windows(waveform_S, round(self.seconds * self.rate))
        features = dict(self.extractor(list(windows_WS), sampling_rate=self.rate, return_tensors="np"))
        return features | {"samples": np.full(len(windows_WS), windows_WS.shape[1])}


class SpectrogramTower(HubTower):
    """Windows of a spectrogram; the steps are windows. AST and its kind."""

    modality = "audio"
    uses: ClassVar[tuple[str, ...]] = ("time",)
    pools: ClassVar[tuple[str, ...]] = ("cls", "mean")
    extractor: ClassVar[str] = "ASTFeatureExtractor"
    key: ClassVar[str] = "input_values"
    """Name of the spectrogram among the features."""

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        kind = getattr(require("transformers", "hub"), self.extractor)
        # From the settings and not from the folder: they may be a part of processor_config.json.
        self.features = kind.from_dict(read_settings(folder, "feature_extractor"))

    def seconds(self) -> float:
        # Frames are 10 ms apart.
        return self.features.max_length * 0.01

    def preparation(self) -> ReadFeatures:
        return ReadFeatures(self.features, self.seconds())

    def steps(self, model: nn.Module, prepared: Sequence[Features], device: str) -> list[Tensor]:
        parts = [torch.from_numpy(np.asarray(f[self.key], np.float32)).to(device) for f in prepared]
        return list(run_parts(parts, lambda x: self.listen(model, x), at_once=32))

    def listen(self, model: Any, x: Tensor) -> Tensor:
        output = model(input_values=x, **self.wants)
        # The first two tokens stand for class and distillation.
        return pool_tokens(self.states(output), self.pool, skip=2)


class ClapSounds(SpectrogramTower):
    """`mean` is over the grid of the last layer, before the projection."""

    pools = ("projected", "mean")
    extractor = "ClapFeatureExtractor"
    key = "input_features"

    def own_config(self, config: Any) -> Any:
        return config.audio_config

    def seconds(self) -> float:
        return self.features.max_length_s

    def listen(self, model: Any, x: Tensor) -> Tensor:
        # No window is longer than the model takes.
        whole = torch.zeros(len(x), 1, dtype=torch.bool, device=x.device)
        output = model.audio_model(input_features=x, is_longer=whole)
        return model.audio_projection(output.pooler_output) if self.pool == "projected" else output.pooler_output


class WhisperSounds(SpectrogramTower):
    """The encoder over 30 s; the steps are its moments of 20 ms, without those of the silence filled in at the end."""

    pools = ("mean",)
    extractor = "WhisperFeatureExtractor"

    def width(self) -> int:
        return int(self.config.d_model)

    def seconds(self) -> float:
        return self.features.chunk_length

    def steps(self, model: nn.Module, prepared: Sequence[Features], device: str) -> list[Tensor]:
        parts = [torch.from_numpy(features["input_features"]).to(device) for features in prepared]
        encoder = model.get_encoder()  # type: ignore[operator]
        heard = run_parts(parts, lambda x: self.states(encoder(x, **self.wants)), at_once=16)
        per_step = self.features.n_samples / self.config.max_source_positions
        # The windows of a sound are of one length (`equal_windows`): the first stands for all.
        counts = [max(1, math.ceil(features["samples"][0] / per_step)) for features in prepared]
        return [x_WTD[:, :count].flatten(0, 1) for x_WTD, count in zip(heard, counts, strict=True)]


class WaveTower(HubTower):
    """Models that read the waveform: wav2vec 2.0, HuBERT, WavLM. The steps are moments of about 20 ms."""

    modality = "audio"
    uses = ("time",)
    pools = ("mean",)
    seconds = 30.0
    # Seconds; a shorter sound is followed by silence.
    shortest = 0.1

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        settings = read_settings(folder, "feature_extractor")
        self.rate, self.normalise = int(settings.get("sampling_rate", 16_000)), bool(settings.get("do_normalize", True))

    def preparation(self) -> ReadWaveform:
        return ReadWaveform(rate=self.rate)

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray], device: str) -> list[Tensor]:
        steps = []
        for waveform_S in prepared:
            missing = max(0, round(self.shortest * self.rate) - len(waveform_S))
            windows = equal_windows(np.pad(waveform_S, (0, missing)), round(self.seconds * self.rate))
            x_WS = torch.from_numpy(windows).to(device)
            if self.normalise:
                # The feature extractor's own normalisation, with the population's variance.
                x_WS = (x_WS - x_WS.mean(1, keepdim=True)) / (x_WS.var(1, correction=0, keepdim=True) + 1e-7).sqrt()
            steps.append(self.states(model(input_values=x_WS, **self.wants)).flatten(0, 1))
        return steps
