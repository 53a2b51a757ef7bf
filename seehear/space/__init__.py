"""Methods as they are used: the shared space, its towers, frozen spaces, and model folders read back.
Imports: train, methods, encoders, inputs, library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seehear.space.saved import ModelGone, load_method, load_model, model_folder, model_of, read_config
    from seehear.space.shared import SharedSpace

__all__ = ["ModelGone", "SharedSpace", "load_method", "load_model", "model_folder", "model_of", "read_config"]


def __getattr__(name: str) -> Any:
    """Name imported on first use: `saved` imports torch, which takes seconds."""
    if name == "SharedSpace":
        from seehear.space.shared import SharedSpace

        return SharedSpace
    if name in __all__:
        from seehear.space import saved

        return getattr(saved, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
