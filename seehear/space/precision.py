"""Vectors of fewer bits, equal to `quantize_embeddings` of sentence-transformers."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from seehear.types import Float

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]
PRECISIONS = get_args(Precision)


def quantized(vectors_NE: Float[np.ndarray, "n e"], precision: Precision) -> np.ndarray:
    """float32: unchanged. int8, uint8: (N, E), 256 steps between the smallest and largest value of each dimension
    over these vectors. binary (int8), ubinary (uint8): (N, E / 8), the signs as bits."""
    if precision == "float32" or not len(vectors_NE):
        return vectors_NE
    if precision in ("binary", "ubinary"):
        bits = np.packbits(vectors_NE > 0, axis=-1)
        return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
    low_E, high_E = vectors_NE.min(axis=0), vectors_NE.max(axis=0)
    steps_E = (high_E - low_E) / 255
    levels = np.clip(np.floor((vectors_NE - low_E) / np.where(steps_E == 0, 1, steps_E)), 0, 255)
    return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)
