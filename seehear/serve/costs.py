"""Cost of a training for people, from the output of `seehear plan` (`studies/estimate.py`)."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from seehear.runs.run import recipe

_KEPT_BYTES = 36  # per parameter on disk: two checkpoints with optimiser state and best weights, and the model
_VECTOR_BYTES = 8  # per dimension of a clip in the index, seen and heard


class CostView(BaseModel):
    seconds: float
    memory_bytes: float
    disk_bytes: float
    fits: bool
    line: str = Field(description="all of the above as one line for the user")


def cost_view(found: dict[str, Any], name: str) -> CostView:
    disk = found["parameters"] * _KEPT_BYTES
    disk += found["clips"] * getattr(recipe(name).method, "dim", 0) * _VECTOR_BYTES
    fits, memory = bool(found["fits"]), found["bytes"]
    line = f"{_minutes(found['seconds'])} at most, {_size(memory)} of memory and {_size(disk)} on disk"
    if not fits:
        line = f"it needs {_size(memory)} of memory, and {_size(found['free_bytes'])} are free: close other programs"
    return CostView(seconds=found["seconds"], memory_bytes=memory, disk_bytes=disk, fits=fits, line=line)


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return "about a minute"
    return f"about {seconds / 60:.0f} minutes" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1.0, size / 1e6):.0f} MB"
