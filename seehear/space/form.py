"""Form of the vectors that `SharedSpace.encode` returns: options and results as in sentence-transformers."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, get_args

import numpy as np

from seehear.errors import unknown
from seehear.nn.unit import unit
from seehear.types import Float

Precision = Literal["float32", "int8", "uint8", "binary", "ubinary"]


class Form(TypedDict, total=False):
    """Options of `SharedSpace.encode` on the vectors' form."""

    precision: Precision
    """'float32' by default; the others give smaller vectors, as `quantize_embeddings` of sentence-transformers does,
    with ranges of the inputs."""
    convert_to_numpy: bool
    """True by default; False alone gives a list of tensors."""
    convert_to_tensor: bool
    """True gives a tensor on the device of the space."""
    device: str | None
    """Device that the space is moved to first."""
    normalize_embeddings: bool
    """Makes truncated vectors unit again; others are unit."""
    truncate_dim: int | None
    """Number of leading dimensions to keep."""


def check_form(form: Form) -> None:
    """Raises `SeehearError` for an unknown option or precision."""
    for name in form:
        if name not in Form.__annotations__:
            raise unknown("option of encode", name, Form.__annotations__)
    if (precision := form.get("precision", "float32")) not in get_args(Precision):
        raise unknown("precision", precision, get_args(Precision))


def formed(vectors_NE: Float[np.ndarray, "n e"], form: Form, device: str) -> Any:
    """Unit vectors in a checked form. `device`: device of the space."""
    truncate_dim = form.get("truncate_dim")
    vectors_NE = vectors_NE[:, :truncate_dim]
    if form.get("normalize_embeddings") and truncate_dim:
        vectors_NE = unit(vectors_NE)
    vectors_NE = _quantized(vectors_NE, form.get("precision", "float32"))
    if form.get("convert_to_numpy", True) and not form.get("convert_to_tensor"):
        return vectors_NE
    # Torch is imported only where a tensor is wanted.
    import torch

    vectors = torch.from_numpy(vectors_NE)
    return vectors.to(device) if form.get("convert_to_tensor") else list(vectors)


def _quantized(vectors_NE: Float[np.ndarray, "n e"], precision: Precision) -> np.ndarray:
    """float32: unchanged. int8, uint8: (N, E), 256 steps between the smallest and largest value of each dimension
    over these vectors. binary (int8), ubinary (uint8): (N, E / 8), the signs as bits."""
    if precision == "float32" or not len(vectors_NE):
        return vectors_NE
    if precision in ("binary", "ubinary"):
        bits = np.packbits(vectors_NE > 0, axis=-1)
        # In int16, as 0 - 128 would wrap around in uint8.
        return bits if precision == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
    low_E, high_E = vectors_NE.min(axis=0), vectors_NE.max(axis=0)
    steps_E = (high_E - low_E) / 255
    # A constant dimension has no steps: it is divided by 1 instead.
    levels = np.clip(np.floor((vectors_NE - low_E) / np.where(steps_E == 0, 1, steps_E)), 0, 255)
    return levels.astype(np.uint8) if precision == "uint8" else (levels - 128).astype(np.int8)
