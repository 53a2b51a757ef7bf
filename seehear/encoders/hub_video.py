"""Towers for pictures and films: CLIP, SigLIP, DINOv2 and v3, ViT over frames; VideoMAE, ViViT, V-JEPA 2 over films.

Resizing and normalising follow the model's preprocessor_config.json; nothing imports torchvision.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import ReadFrames
from seehear.encoders.frozen import run_parts
from seehear.encoders.hub_towers import HubTower, pool_tokens, read_settings
from seehear.errors import SeehearError
from seehear.media.files import VideoSpec
from seehear.types import Float, Tensor

# Pillow's numbers, which preprocessor settings use.
_FILTERS: dict[int, Any] = {1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class _PictureSettings:
    """Settings of a preprocessor_config.json."""

    spec: VideoSpec
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def read(cls, folder: Path) -> _PictureSettings:
        settings = read_settings(folder, "image_processor", "video_processor")
        size = settings.get("size", 224)
        crop = _pair(settings.get("crop_size", size)) if settings.get("do_center_crop") else None
        if isinstance(size, dict):
            size = size.get("shortest_edge") or _pair(size)
        # One number is the shorter side. Without a crop it is both: frames of one batch must have one shape.
        fit: Any = "short" if isinstance(size, int) and crop is not None else "squash"
        interpolation = _FILTERS.get(settings.get("resample", 2), "bilinear")
        normalise = settings.get("do_normalize", True)
        return cls(
            VideoSpec(size=size, fit=fit, crop=crop, interpolation=interpolation),
            scale=settings.get("rescale_factor", 1 / 255) if settings.get("do_rescale", True) else 1.0,
            mean=tuple(settings["image_mean"]) if normalise else (0.0, 0.0, 0.0),
            std=tuple(settings["image_std"]) if normalise else (1.0, 1.0, 1.0),
        )

    def normalised(self, frames_THWC: Tensor) -> Float[Tensor, "t 3 h w"]:
        mean, std = (torch.tensor(v, device=frames_THWC.device) for v in (self.mean, self.std))
        return ((frames_THWC.float() * self.scale - mean) / std).permute(0, 3, 1, 2)


def _pair(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        size = [size["height"], size["width"]] if "height" in size else size["shortest_edge"]
    return (size, size) if isinstance(size, int) else (size[0], size[1])


class PictureInput(HubTower):
    """Frames as the folder's settings want them."""

    modality = "video"
    config_part = "vision_config"

    @cached_property
    def settings(self) -> _PictureSettings:
        return _PictureSettings.read(self.folder)

    def frames(self) -> int:
        """Number of frames of a clip."""
        return self.options.frames

    def preparation(self) -> ReadFrames:
        return ReadFrames(spec=replace(self.settings.spec, num_frames=self.frames()))


class PictureTower(PictureInput):
    """One picture at a time, one step a frame: ViT, DINOv2, DINOv3 and any other model with `pixel_values`."""

    uses = ("frames", "time")
    pools: ClassVar[tuple[str, ...]] = ("cls", "mean", "last")
    by_frame = True
    # Tokens before the patches, besides registers.
    special = 1

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray]) -> Iterator[Tensor]:
        clips = [torch.from_numpy(frames).to(self.device) for frames in prepared]
        return run_parts(clips, lambda frames: self.look(model, self.settings.normalised(frames)), at_once=128)

    def look(self, model: Any, pixels_TCHW: Tensor) -> Tensor:
        # A joint model holds its tower, another model is one.
        output = getattr(model, "vision_model", model)(pixel_values=pixels_TCHW, **self.wants)
        return self.pooled(model, output)

    def pooled(self, model: Any, output: Any) -> Tensor:
        if self.pool == "projected":
            return self.project(model, output)
        # Some configurations hold None for a model without registers.
        special = self.special and self.special + (getattr(self.config, "num_register_tokens", 0) or 0)
        return pool_tokens(self.states(output), self.pool, skip=special)

    def project(self, model: Any, output: Any) -> Tensor:
        raise NotImplementedError


class ClipPictures(PictureTower):
    pools = ("projected", "cls", "mean")

    def project(self, model: Any, output: Any) -> Tensor:
        return model.visual_projection(output.pooler_output)


class SiglipPictures(PictureTower):
    """`projected` is the attention head, which is SigLIP's picture vector."""

    pools = ("projected", "mean")
    special = 0

    def project(self, model: Any, output: Any) -> Tensor:
        return output.pooler_output


class NaflexPictures(SiglipPictures):
    """SigLIP 2 with a flexible grid: pictures go in as patches of a square grid."""

    @cached_property
    def patch(self) -> int:
        return int(read_settings(self.folder, "image_processor").get("patch_size", self.config.patch_size))

    @cached_property
    def settings(self) -> _PictureSettings:
        most = read_settings(self.folder, "image_processor").get("max_num_patches", self.config.num_patches)
        plain, size = _PictureSettings.read(self.folder), int(most**0.5) * self.patch
        return replace(plain, spec=replace(plain.spec, size=size, fit="squash", crop=None))

    def look(self, model: Any, pixels_TCHW: Tensor) -> Tensor:
        x = pixels_TCHW.unfold(2, self.patch, self.patch).unfold(3, self.patch, self.patch)
        # A patch row by row, colours fastest: the layout of SigLIP 2's own processor.
        patches_TLP = x.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
        count, length = patches_TLP.shape[:2]
        grid = pixels_TCHW.shape[2] // self.patch
        output = model.vision_model(
            patches_TLP,
            torch.ones(count, length, dtype=torch.long, device=x.device),
            torch.tensor([[grid, grid]] * count, device=x.device),
            **self.wants,
        )
        return self.pooled(model, output)


class FilmTower(PictureInput):
    """All frames at once; the steps are the moments of the film that tokens stand for. A picture is a still film."""

    uses: ClassVar[tuple[str, ...]] = ("time",)
    pools: ClassVar[tuple[str, ...]] = ("mean", "last")
    special = 0
    argument = "pixel_values"
    extra: ClassVar[dict[str, Any]] = {}

    def frames(self) -> int:
        return int(self.config.num_frames)

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray]) -> list[Tensor]:
        films = [torch.from_numpy(frames).to(self.device) for frames in prepared]
        # Expanded, not repeated: it takes no memory.
        films = [film.expand(self.frames(), -1, -1, -1) if len(film) == 1 else film for film in films]
        parts = [self.settings.normalised(film)[None] for film in films]
        return [steps[0] for steps in run_parts(parts, lambda pixels: self.watch(model, pixels), at_once=16)]

    def watch(self, model: Any, pixels_NTCHW: Tensor) -> Float[Tensor, "n t d"]:
        output = model(**{self.argument: pixels_NTCHW}, **self.wants, **self.extra)
        x_NLD = self.states(output)
        if self.pool != "mean":
            return pool_tokens(x_NLD, self.pool)[:, None]
        tubelet = self.config.tubelet_size
        moments = self.frames() // (tubelet if isinstance(tubelet, int) else tubelet[0])
        # Tokens go through all places of a moment before the next.
        return x_NLD[:, self.special :].unflatten(1, (moments, -1)).mean(2)


class Vivit(FilmTower):
    pools = ("cls", "mean")
    special = 1


class Vjepa2(FilmTower):
    """V-JEPA 2 without its predictor; any even number of frames."""

    uses = ("frames", "time")
    argument = "pixel_values_videos"
    extra: ClassVar[dict[str, Any]] = {"skip_predictor": True}

    def frames(self) -> int:
        tubelet = int(self.config.tubelet_size)
        if self.options.frames % tubelet:
            raise SeehearError(f"frames must be a multiple of {tubelet} for this model; got {self.options.frames}")
        return self.options.frames
