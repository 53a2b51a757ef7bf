"""aiSFX: sounds of every kind, 512 numbers. Weights ship with seehear (CC BY 4.0, see assets/encoders/ATTRIBUTION.md).

Ma and Lerch, Representation Learning for the Automatic Indexing of Sound Effects Libraries (ISMIR 2022). The sound is
cut into windows of 2.3 s every 1.2 s; each gives one vector, and the vectors are pooled over time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from seehear.encoders.base import Graph, ReadWaveform, full_name
from seehear.encoders.frozen import PooledParts, PoolOptions, SteppedEncoder, pooled_width, run_parts
from seehear.encoders.mel import MelSettings
from seehear.encoders.weights import ASSETS, fingerprint, pinned
from seehear.types import Float, Tensor

SHA256 = "0b119ba8d6c7baf7fee3688deddc2968cc04dda71b2b78411aa35d47dd4745be"
WIDTH = 512
MEL = MelSettings(rate=44_100, n_fft=2048, hop=1024, bands=96, high=22_050.0, unit_area=True)
# Of a window, and from one window to the next.
FRAMES, STEP = 100, 50
# log10(10000 x + 1) of the training set reached this.
LOUDEST = 9.457798957824707


class _AisfxBlock(nn.Module):
    def __init__(self, inside: int, outside: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outside)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class _AisfxNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_block1 = _AisfxBlock(1, 64)
        self.conv_block2 = _AisfxBlock(64, 128)
        self.conv_block3 = _AisfxBlock(128, 256)
        self.conv_block4 = _AisfxBlock(256, WIDTH)
        # Half the time where the CPU multiplies bfloat16; the vectors' cosine with those of float32 is above 0.9997.
        self.fast = torch.cpu._is_avx512_bf16_supported()

    def folded(self) -> _AisfxNetwork:
        """The same function in a quarter less time: norms become part of convolutions, channels lie side by side."""
        blocks: list[Any] = list(self.children())
        for block in blocks:
            block.conv1, block.bn1 = fuse_conv_bn_eval(block.conv1, block.bn1), nn.Identity()
            block.conv2, block.bn2 = fuse_conv_bn_eval(block.conv2, block.bn2), nn.Identity()
        for conv in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            conv.weight.data = conv.weight.data.contiguous(memory_format=torch.channels_last)
        return self

    def forward(self, windows_NSF: Float[Tensor, "n 100 96"]) -> Float[Tensor, "n 512"]:
        x = windows_NSF[:, None]
        with torch.autocast("cpu", torch.bfloat16, enabled=self.fast and x.device.type == "cpu"):
            for block in (self.conv_block1, self.conv_block2, self.conv_block3):
                x = F.max_pool2d(block(x), 2)
            x = self.conv_block4(x)
        # Pooled in float32, whatever the convolutions ran in.
        return x.float().mean(3).amax(2)


def _windows_of(waveform_S: Float[Tensor, "*b s"]) -> Float[Tensor, "*b n 100 96"]:
    """Windows of the scaled log-mel spectrogram, the loudest sample being 1; silence follows a sound below 2.3 s."""
    # Clamped: digital silence has no loudest sample to be divided by.
    waveform_S = waveform_S / waveform_S.abs().amax(-1, keepdim=True).clamp(min=1e-9)
    mel_TF = torch.log10(10_000.0 * MEL(waveform_S) + 1.0) / LOUDEST
    mel_TF = F.pad(mel_TF, (0, 0, 0, max(0, FRAMES - mel_TF.shape[-2])))
    last = mel_TF.shape[-2] - FRAMES
    # Spread evenly, at most STEP apart, so that all of the sound is in a window. (last + STEP - 1) // STEP, not
    # -(-last // STEP): an exported graph computes this, too, and rounds quotients below zero the other way.
    count = (last + STEP - 1) // STEP + 1
    steps_N = torch.arange(count, device=mel_TF.device, dtype=torch.float64)
    starts_N = (last * steps_N / max(count - 1, 1)).round().long()
    return mel_TF[..., starts_N[:, None] + torch.arange(FRAMES, device=mel_TF.device), :]


class Aisfx(SteppedEncoder):
    """Vectors of windows of a sound, pooled over time."""

    modality = "audio"
    last = ("conv_block4",)

    def __init__(self, options: PoolOptions):
        self.pooling = options.pool
        self.name = full_name("aisfx", options)
        self.width = pooled_width(options.pool, WIDTH)
        self.fingerprint = fingerprint(weights=SHA256, mel=asdict(MEL), **asdict(options))

    def preparation(self) -> ReadWaveform:
        return ReadWaveform(rate=MEL.rate)

    def load(self) -> nn.Module:
        from safetensors.torch import load_file

        state = load_file(pinned(ASSETS / "aisfx-embedding.safetensors", SHA256))
        network = _AisfxNetwork()
        # The file is float16, to a half of the size.
        network.load_state_dict({name: x.float() if x.is_floating_point() else x for name, x in state.items()})
        return network.eval().folded()

    def graph(self) -> Graph:
        exact: Any = copy(self.network)
        # An exported graph runs on any machine: float32 throughout.
        exact.fast = False
        takes = f"mono sounds of one length, {MEL.rate} samples a second in [-1, 1]; shorter ones followed by zeros"
        return Graph(
            PooledParts(exact, _windows_of, self.pooling),
            {"waveform": torch.sin(torch.arange(2 * 3 * MEL.rate) / 7).view(2, -1)},
            {"waveform": {0: "batch", 1: "samples"}},
            takes,
            least={"samples": FRAMES * MEL.hop},
        )

    def steps(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> Iterator[Tensor]:
        sounds = [_windows_of(torch.from_numpy(waveform).to(self.device)) for waveform in prepared]
        return run_parts(sounds, network, at_once=64)
