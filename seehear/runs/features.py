"""Features of clips in several views: windows along time, and squares along the longer side of the picture.

A tower is what one starts from: 'video', 'audio', or 'video+audio', their features side by side, or what a model that
fuses the two makes of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from seehear.errors import SeehearError, unknown
from seehear.inputs.loader import in_order
from seehear.inputs.raw.media import RawMedia
from seehear.methods.base import Method
from seehear.methods.classifier import TOWERS, modalities_of, tower_features
from seehear.progress import progress
from seehear.train.config import Precision, autocast
from seehear.types import Batch, Float, Modality, Tensor


def features_of(
    method: Method,
    media: RawMedia,
    *,
    towers: Sequence[str] = (),
    windows: int = 1,
    crops: int = 1,
    batch_size: int = 64,
    workers: int = 0,
    precision: Precision = "fp32",
) -> dict[str, Float[np.ndarray, "n w d"]]:
    """Of every clip, float32: W views of a tower that sees, window by window and in each crop by crop; W windows of
    audio. NaN where a clip has not what the tower reads, or it cannot be read. `towers`: the media's own when empty.
    About `batch_size` views at a time, all those of a clip together, on the device that the model is on."""
    towers = tuple(towers) or tuple(m for m in media.modalities if m != "text")
    check_towers(towers, media.modalities)
    views, device = windows * crops, next(method.parameters()).device
    rows = max(1, batch_size // views) * views
    parts: dict[str, list[np.ndarray]] = {}
    with progress("features", len(media.ids)) as bar:
        for batch in in_order(media.views(windows=windows, crops=crops), rows=rows, workers=workers, device=device):
            for tower in towers:
                part = batch if "video" in tower else {k: x[::crops] for k, x in batch.items()}  # crops sound alike
                with torch.no_grad(), autocast(precision, device):
                    x_BD = _where_present(tower_features(method, tower, part), part, tower)
                x_NWD = x_BD.unflatten(0, (-1, views if "video" in tower else windows))
                parts.setdefault(tower, []).append(x_NWD.float().cpu().numpy())
            bar.advance(len(batch["group"]) // views)
    return {tower: np.concatenate(found) for tower, found in parts.items()}


def check_towers(towers: Sequence[str], modalities: Sequence[Modality]) -> None:
    """Raises `SeehearError` for a tower that there is not, or that needs what a model or its data have not."""
    for tower in towers:
        if tower not in TOWERS:
            raise unknown("tower", tower, TOWERS)
        if missing := [m for m in modalities_of(tower) if m not in modalities]:
            raise SeehearError(f"tower {tower!r} needs {', '.join(missing)}; there is {', '.join(modalities)}")


def _where_present(x_BD: Tensor, batch: Batch, tower: str) -> Tensor:
    has_B = torch.stack([batch[f"has_{m}"] for m in modalities_of(tower)]).all(dim=0)
    return x_BD.masked_fill(~has_B[:, None], torch.nan)
