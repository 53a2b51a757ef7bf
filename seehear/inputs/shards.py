"""Shards: latents in one file, for a machine without the library. Reading one needs torch, numpy and safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.npz import open_npz
from seehear.types import MODALITIES


def save_shard(data: LatentData, path: str | Path) -> None:
    """Saves all data as one safetensors file."""
    from safetensors.torch import save_file

    tensors = {"groups": data.groups.cpu()}
    for m in data.modalities:
        tensors |= {m: data.every(m).cpu().contiguous(), f"owner_{m}": data.owner(m).cpu()}
        if (weights := data.rows[m].weights) is not None:
            tensors["confidence"] = weights.confidence_R[data.stored(m).cpu()]
    columns = {"ids": list(data.ids), "splits": list(data.splits), "encoders": data.encoders}
    save_file(tensors, path, metadata={k: json.dumps(v) for k, v in columns.items()})


def load_shard(path: str | Path) -> LatentData:
    """Loads a shard of `save_shard`, or any .npz or .safetensors with arguments of `LatentData.from_arrays` by name:
    `video`, `audio`, `text`, and optionally `owner_text`, `groups`, `ids`, `splits`, `confidence` of each text."""
    path = Path(path)
    if not path.is_file():
        raise SeehearError(f"no such file: {path}")
    columns: dict[str, Any] = {}
    try:
        if path.suffix == ".npz":
            with open_npz(path) as arrays:
                columns = {name: arrays[name] for name in arrays.files}
        else:
            from safetensors import safe_open

            with safe_open(path, framework="pt") as file:
                columns = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                columns |= {k: json.loads(v) for k, v in (file.metadata() or {}).items() if k != "format"}
    except Exception as error:  # each reader has its own
        raise SeehearError(f"{path} is not a shard of latents: {str(error).splitlines()[0]}") from error
    latents = {m: columns.pop(m) for m in MODALITIES if m in columns}
    owner = {m: columns.pop(f"owner_{m}") for m in latents if f"owner_{m}" in columns}
    if len(latents) < 2 or (extra := columns.keys() - {"groups", "ids", "splits", "encoders", "confidence"}):
        what = f"unknown {', '.join(sorted(extra))}" if len(latents) >= 2 else "fewer than two modalities"
        raise SeehearError(
            f"{path}: {what} (a shard holds {', '.join(MODALITIES)}, owner_*, groups, ids, splits, confidence)"
        )
    confidence = columns.pop("confidence", None)
    data = LatentData.from_arrays(latents, owner=owner, **columns)
    if confidence is None:
        return data
    sure_R = torch.as_tensor(confidence)
    return data.weighted(sure_R[torch.as_tensor(owner["text"]).argsort(stable=True)] if "text" in owner else sure_R)
