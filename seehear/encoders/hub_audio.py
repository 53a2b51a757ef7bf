"""Towers for sound: CLAP and AST over windows, the Whisper encoder and wav2vec 2.0, HuBERT, WavLM over moments.

A long sound is cut into windows of equal length, none longer than the model takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import ReadWaveform, Sample
from seehear.encoders.frozen import run_parts
from seehear.encoders.hub_towers import HubTower, pool_tokens, read_settings
from seehear.errors import require
from seehear.types import Tensor

Features = dict[str, np.ndarray]


def _equal_windows(waveform_S: np.ndarray, longest: int) -> np.ndarray:
    """(W, S) with the smallest W for which no window is longer than `longest` samples; the last W - 1 may be lost."""
    # Equal windows, not full ones and a rest: each is a step, and a short rest would weigh as much in a mean.
    count = max(1, math.ceil(len(waveform_S) / longest))
    size = len(waveform_S) // count
    return waveform_S[: count * size].reshape(count, size)


@dataclass(frozen=True)
class _ReadFeatures:
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
        windows_WS = _equal_windows(waveform_S, round(self.seconds * self.rate))
        features = dict(self.extractor(list(windows_WS), sampling_rate=self.rate, return_tensors="np"))
        return features | {"samples": np.full(len(windows_WS), windows_WS.shape[1])}


class FeatureInput(HubTower):
    """Windows of sound through a feature extractor of transformers."""

    modality = "audio"
    uses: ClassVar[tuple[str, ...]] = ("time",)
    extractor: ClassVar[str]
    """Class of transformers."""

    @cached_property
    def features(self) -> Any:
        kind = getattr(require("transformers", "hub"), self.extractor)
        # From the settings and not from the folder: they may be a part of processor_config.json.
        return kind.from_dict(read_settings(self.folder, "feature_extractor"))

    def seconds(self) -> float:
        """Longest window."""
        raise NotImplementedError

    def preparation(self) -> _ReadFeatures:
        return _ReadFeatures(self.features, self.seconds())


class SpectrogramTower(FeatureInput):
    """Windows of a spectrogram; the steps are windows. AST and its kind."""

    pools: ClassVar[tuple[str, ...]] = ("cls", "mean")
    extractor = "ASTFeatureExtractor"
    key: ClassVar[str] = "input_values"
    """Name of the spectrogram among the features."""

    def seconds(self) -> float:
        # Frames are 10 ms apart.
        return self.features.max_length * 0.01

    def steps(self, model: nn.Module, prepared: Sequence[Features]) -> Iterator[Tensor]:
        parts = [torch.from_numpy(np.asarray(f[self.key], np.float32)).to(self.device) for f in prepared]
        return run_parts(parts, lambda x: self.listen(model, x), at_once=32)

    def listen(self, model: Any, x: Tensor) -> Tensor:
        output = model(input_values=x, **self.wants)
        # The first two tokens stand for class and distillation.
        return pool_tokens(self.states(output), self.pool, skip=2)


class ClapSounds(SpectrogramTower):
    """`mean` is over the grid of the last layer, before the projection."""

    pools = ("projected", "mean")
    config_part = "audio_config"
    extractor = "ClapFeatureExtractor"
    key = "input_features"

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

    def seconds(self) -> float:
        return self.features.chunk_length

    def steps(self, model: nn.Module, prepared: Sequence[Features]) -> Iterator[Tensor]:
        parts = [torch.from_numpy(features["input_features"]).to(self.device) for features in prepared]
        encoder = model.get_encoder()  # type: ignore[operator]
        heard = run_parts(parts, lambda x: self.states(encoder(x, **self.wants)), at_once=16)
        per_step = self.features.n_samples / self.config.max_source_positions
        # The windows of a sound are of one length (`_equal_windows`): the first stands for all.
        counts = [max(1, math.ceil(features["samples"][0] / per_step)) for features in prepared]
        return (x_WTD[:, :count].flatten(0, 1) for x_WTD, count in zip(heard, counts, strict=True))


class WaveInput(HubTower):
    """Windows of the waveform, of up to 30 s."""

    modality = "audio"
    uses = ("time",)
    usual: ClassVar[int] = 16_000
    """Samples a second, where the folder does not say."""
    # Seconds; a shorter sound is followed by silence.
    shortest: ClassVar[float] = 0.0

    @cached_property
    def settings(self) -> dict[str, Any]:
        return read_settings(self.folder, "feature_extractor")

    def preparation(self) -> ReadWaveform:
        return ReadWaveform(rate=int(self.settings.get("sampling_rate", self.usual)))

    def cut(self, waveform_S: np.ndarray) -> np.ndarray:
        rate = self.preparation().rate
        missing = max(0, round(self.shortest * rate) - len(waveform_S))
        return _equal_windows(np.pad(waveform_S, (0, missing)), 30 * rate)


class WaveTower(WaveInput):
    """Models that read the waveform: wav2vec 2.0, HuBERT, WavLM. The steps are moments of about 20 ms."""

    pools = ("mean",)
    shortest = 0.1

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray]) -> Iterator[Tensor]:
        for waveform_S in prepared:
            x_WS = torch.from_numpy(self.cut(waveform_S)).to(self.device)
            if self.settings.get("do_normalize", True):
                # The feature extractor's own normalisation, with the population's variance.
                x_WS = (x_WS - x_WS.mean(1, keepdim=True)) / (x_WS.var(1, correction=0, keepdim=True) + 1e-7).sqrt()
            yield self.states(model(input_values=x_WS, **self.wants)).flatten(0, 1)
