"""Trained methods as they are used: the shared space, its towers, and model folders read back."""

from seehear.space.saved import ModelGone, load_method, load_model, model_folder, model_of, read_config
from seehear.space.shared import SharedSpace

__all__ = ["ModelGone", "SharedSpace", "load_method", "load_model", "model_folder", "model_of", "read_config"]
