"""Towers of Meta's Perception Encoder for audio and video (PE-AV): sound, film and text in one space.

Its picture part is a timm model in the published weights, so the film tower needs timm installed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import Sample
from seehear.encoders.hub_audio import equal_windows
from seehear.encoders.hub_text import TextTower
from seehear.encoders.hub_towers import HubOptions, HubTower, read_settings
from seehear.encoders.hub_video import PictureSettings
from seehear.encoders.prepare import ReadWaveform
from seehear.types import Tensor


class PeSounds(HubTower):
    """Windows of up to 30 s, one step each."""

    modality = "audio"
    uses = ("time",)
    pools = ("projected", "mean")
    seconds = 30.0

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        said = read_settings(folder, "feature_extractor")
        self.rate, self.hop = int(said.get("sampling_rate", 48_000)), int(said.get("hop_length", 1920))

    def own_config(self, config: Any) -> Any:
        return getattr(config, "audio_video_config", config).audio_config

    def width(self) -> int:
        return int(self.whole.text_config.hidden_size if self.pool == "projected" else self.config.hidden_size)

    def preparation(self) -> Callable[[Sample], Any]:
        return ReadWaveform(rate=self.rate)

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray], device: str) -> list[Tensor]:
        return [self.listen(getattr(model, "audio_model", model), waveform, device) for waveform in prepared]

    def listen(self, model: Any, waveform_S: np.ndarray, device: str) -> Tensor:
        windows_WS = equal_windows(waveform_S, round(self.seconds * self.rate))
        short = -windows_WS.shape[1] % self.hop
        padded = np.pad(windows_WS, ((0, 0), (0, short)), "reflect" if windows_WS.shape[1] > short else "constant")
        output = model.audio_encoder(input_values=torch.from_numpy(padded).to(device)[:, None], **self.wants)
        if self.pool == "projected":
            return model.audio_head(output.pooler_output)
        return self.states(output).mean(1)


class PeFilms(HubTower):
    modality = "video"
    uses = ("frames",)
    pools = ("projected", "mean")

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        self.settings = PictureSettings.read(folder)

    def own_config(self, config: Any) -> Any:
        return getattr(config, "audio_video_config", config).video_config

    def width(self) -> int:
        return int(self.whole.text_config.hidden_size if self.pool == "projected" else self.config.hidden_size)

    def preparation(self) -> Callable[[Sample], Any]:
        return self.settings.reader(self.options.frames)

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray], device: str) -> list[Tensor]:
        return [self.watch(getattr(model, "video_model", model), frames, device) for frames in prepared]

    def watch(self, model: Any, frames_THWC: np.ndarray, device: str) -> Tensor:
        pixels_TCHW = self.settings.normalised(torch.from_numpy(frames_THWC).to(device))
        output = model.video_encoder(pixel_values_videos=pixels_TCHW[None], **self.wants)
        if self.pool == "projected":
            return model.video_head(output.pooler_output)
        return self.states(output).mean(1)


class PeText(TextTower):
    """`projected` lies in the space of sound and film together, or of the one that the model has."""

    pools = ("projected", "mean", "cls")

    def width(self) -> int:
        return int(self.config.hidden_size)

    def read(self, model: Any, tokens_BL: Tensor, seen_BL: Tensor) -> Tensor:
        if self.pool != "projected":
            return super().read(model, tokens_BL, seen_BL)
        output = model.text_model(input_ids=tokens_BL, attention_mask=seen_BL.long(), output_hidden_states=True)
        heads = ("text_audio_video_head", "text_audio_head", "text_video_head")
        head = next(getattr(model, name) for name in heads if hasattr(model, name))
        return head(output.hidden_states[-1][:, 0])
