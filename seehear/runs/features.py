"""Features of clips in several views: windows along time, and squares along the longer side of the picture.

A tower is 'video', 'audio', or 'video+audio': their concatenated features, or those of a model that fuses the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from seehear.errors import SeehearError, unknown
from seehear.evaluation.embedded import Embedded
from seehear.inputs.loader import in_order
from seehear.inputs.raw.media import RawMedia
from seehear.methods.base import TOWERS, Method, modalities_of, tower_features
from seehear.nn.unit import unit
from seehear.progress import progress
from seehear.train.config import Precision, autocast
from seehear.types import Float, Modality


def features_of(
    method: Method,
    media: RawMedia,
    *,
    towers: Sequence[str] = (),
    batch_size: int = 64,
    workers: int = 0,
    precision: Precision = "fp32",
) -> dict[str, Float[np.ndarray, "n w d"]]:
    """float32 features of every clip in the views of `media.views(...)`: a row a window and crop, for sound a row a
    window; NaN where the tower's input is absent or unreadable. `towers`: by default those of the media. About
    `batch_size` views at a time, those of a clip together, on the model's device."""
    # Texts have no views: `clip_features` encodes the middle sentence.
    towers = tuple(towers) or tuple(m for m in media.modalities if m != "text")
    check_towers(towers, media.modalities)
    windows, crops = media.windows, media.crops
    views, device = windows * crops, next(method.parameters()).device
    # Whole clips: the views of one are not split over batches.
    rows = max(1, batch_size // views) * views
    parts: dict[str, list[np.ndarray]] = {}
    with progress("features", len(media.ids)) as bar:
        for batch in in_order(media.views(windows=windows, crops=crops), rows=rows, workers=workers, device=device):
            for tower in towers:
                # Crops of a window have the same sound.
                part = batch if "video" in tower else {k: x[::crops] for k, x in batch.items()}
                with torch.no_grad(), autocast(precision, device):
                    has_B = torch.stack([part[f"has_{m}"] for m in modalities_of(tower)]).all(dim=0)
                    # NaN, not zeros: a probe must see that a clip was not read.
                    x_BD = tower_features(method, tower, part).masked_fill(~has_B[:, None], torch.nan)
                x_NWD = x_BD.unflatten(0, (-1, views if "video" in tower else windows))
                parts.setdefault(tower, []).append(x_NWD.float().cpu().numpy())
            bar.advance(len(batch["group"]) // views)
    return {tower: np.concatenate(found) for tower, found in parts.items()}


def check_towers(towers: Sequence[str], modalities: Sequence[Modality]) -> None:
    """Raises `SeehearError` for an unknown tower, or one whose modalities are missing."""
    for tower in towers:
        if tower not in TOWERS:
            raise unknown("tower", tower, TOWERS)
        if missing := [m for m in modalities_of(tower) if m not in modalities]:
            raise SeehearError(f"tower {tower!r} needs {', '.join(missing)}; there is {', '.join(modalities)}")


def clip_features(
    model: Method, media: RawMedia, *, windows: int = 1, crops: int = 1
) -> dict[Modality, Float[np.ndarray, "n w d"]]:
    """Features of every clip's views and of its middle sentence; NaN for absent or unreadable ones."""
    features = features_of(model, media.views(windows=windows, crops=crops))
    if "text" in media.modalities:
        numbers_NL = torch.from_numpy(media.first_sentences())
        with torch.no_grad():
            device = next(model.parameters()).device
            parts = [model.features("text", x[:, None].to(device)).float().cpu() for x in numbers_NL.split(256)]
        features["text"] = torch.cat(parts).masked_fill(~media.has("text")[:, None], torch.nan)[:, None].numpy()
    return features


@torch.no_grad()
def placed(model: Method, features: Mapping[Modality, np.ndarray], space: str) -> dict[Modality, Embedded]:
    """Unit vectors in a space of features (N, W, D): the mean of a clip's windows. Clips with NaN have none."""
    device, found = next(model.parameters()).device, {}
    for m in (m for m in model.spaces[space] if m in features):
        # One unreadable view leaves the clip out: the mean of the others would be of another part of it.
        there = np.flatnonzero(~np.isnan(features[m]).any(axis=(1, 2)))
        x_NWD = torch.from_numpy(features[m][there]).to(device)
        if len(there):
            z_NE = model.place_windows(m, x_NWD, space)
            found[m] = Embedded(unit(z_NE.float().cpu().numpy()), there)
    return found
