"""Names every layer shares: the batch, what a method returns, and the alphabet of shapes.

Legend of shape letters (suffixes of tensor names, and the words in annotations)
    B clips   T frames   H W pixels   C channels   F mel bins   S samples or spectrogram frames
    K texts of a clip   L tokens   M kept tokens   D width of a latent   E width of a shared space   N rows of a table
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor
else:
    try:
        from jaxtyping import Bool, Float, Int
    except ModuleNotFoundError:
        # A bare training node: annotations then give the type and not the shape.

        class _Shapeless:
            def __class_getitem__(cls, item: tuple[Any, str]) -> Any:
                return item[0]

        Bool = Float = Int = _Shapeless

__all__ = ["MODALITIES", "Batch", "Bool", "Encoded", "Float", "Int", "Modality", "StepOutput", "Tensor"]

Modality = str
MODALITIES: tuple[Modality, ...] = ("video", "audio", "text")
"""A picture is a video of one frame."""

Batch = dict[str, "Tensor"]
"""One tensor a modality (raw media or cached latents, B first), `has_<modality>` (B,) bool, without which all rows have
it, and `group` (B,) int64: rows of one source recording share a number. An absent modality's rows hold any finite
value and are masked."""


def __getattr__(name: str) -> Any:
    """`Tensor`, imported on first use."""
    # Importing torch takes seconds, and worker processes that decode do without it.
    if name == "Tensor":
        from torch import Tensor

        return Tensor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@dataclass(frozen=True)
class Encoded:
    """Result of `Method.encode`, which looks at each sample alone. Every tensor has B rows."""

    features: dict[str, Tensor]
    """Tensors that carry gradient, by name: usually one a modality."""
    present: dict[str, Tensor]
    """(B,) bool by modality: True where the sample has it."""
    context: dict[str, Tensor] = field(default_factory=dict)
    """Tensors without gradient that `objective` needs: group numbers, masks, mixing weights."""


@dataclass(frozen=True)
class StepOutput:
    """Result of `Method.objective`."""

    loss: Tensor
    """Scalar, with gradient."""
    metrics: dict[str, Tensor] = field(default_factory=dict)
    """Detached scalars for the log. Every term of the loss is here under `loss/<term>`: a non-finite one is named."""
    carry: dict[str, Tensor] = field(default_factory=dict)
    """Detached tensors for `after_step`."""


def presence(batch: Batch, modalities: Collection[Modality]) -> dict[Modality, Tensor]:
    """{modality: (B,) bool} of the modalities that a method was made for. Raises `ValueError` where the batch lacks
    one as a whole: training would go on without it, unnoticed."""
    if missing := [m for m in modalities if m not in batch]:
        raise ValueError(f"the batch has no {', '.join(missing)}: the model aligns {', '.join(modalities)}")
    import torch

    every = {m: torch.ones(len(batch[m]), dtype=torch.bool, device=batch[m].device) for m in modalities}
    return {m: batch.get(f"has_{m}", all_B) for m, all_B in every.items()}


def group_numbers(batch: Batch) -> Tensor:
    """(B,) int64: rows of one recording share a number. Raises `ValueError` where the batch does not have them."""
    if "group" not in batch:
        raise ValueError("mask_same_group needs the rows' group numbers: the batch has no 'group'")
    return batch["group"]
