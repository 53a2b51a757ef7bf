"""Unit vectors in numpy, for what is searched and measured without torch; in torch `F.normalize` gives them."""

from __future__ import annotations

import numpy as np

from seehear.types import Float


def unit(x: np.ndarray) -> Float[np.ndarray, "*n e"]:
    """float32, of length 1 along the last axis; zeros stay zeros."""
    x = np.asarray(x, np.float32)
    return x / np.linalg.norm(x, axis=-1, keepdims=True).clip(1e-12)
