"""A shared space as a model of MTEB (`pip install mteb`): its tasks over text, images, sounds and videos, our vectors.

space = SharedSpace.from_pretrained("runs/fusemix")
mteb.evaluate(MTEBModel(space, "me/my-space"), tasks)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from seehear.errors import SeehearError, require
from seehear.types import Float


class MTEBModel:
    """A space as an encoder of MTEB."""

    def __init__(self, space: Any, name: str = "seehear/space", *, licence: str | None = None):
        """`space`: a `SharedSpace`. `name`: 'user/name', as on a hub. `licence`: licence of the weights in MTEB's
        spelling ('apache-2.0')."""
        self.space, self.name, self.licence = space, name, licence
        self.similarity, self.similarity_pairwise = space.similarity, space.similarity_pairwise

    def encode(self, inputs: Iterable[Mapping[str, Any]], **kwargs: Any) -> Float[np.ndarray, "n e"]:
        """(N, E) vectors; an item with several modalities has the mean of those that the space has. `kwargs`, about the
        task, are ignored: there are no instructions."""
        parts = [self.space.encode(self._items(batch)) for batch in inputs]
        return np.concatenate(parts) if parts else np.zeros((0, self.space.dim), np.float32)

    @property
    def mteb_model_meta(self) -> Any:
        mteb = require("mteb", "mteb")
        weights = [*self.space.parameters()]
        # MTEB wants every field; None is its word for unknown.
        unknown = ("release_date", "languages", "max_tokens", "public_training_code", "training_datasets")
        return mteb.models.ModelMeta(
            loader=None,
            name=self.name,
            revision=self.space.fingerprint,
            # Parameters of the space alone: its encoders are models of their own.
            n_parameters=sum(p.numel() for p in weights),
            memory_usage_mb=sum(p.numel() * p.element_size() for p in weights) / 2**20,
            embed_dim=self.space.dim,
            license=self.licence,
            open_weights=True,
            public_training_data=False,
            framework=["PyTorch", "safetensors", "Sentence Transformers"],
            similarity_fn_name="cosine",
            use_instructions=False,
            modalities=[name for name in ("text", "image", "audio", "video") if name in self.space.modalities],
            extra_requirements_groups=["mteb"],
            **dict.fromkeys(unknown),
        )

    def _items(self, batch: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Columns of a batch as items of `SharedSpace.encode`."""
        media = [name for name in batch if name in ("text", "image", "audio", "video")]
        names = [name for name in media if name in self.space.modalities]
        if "image" in names and "video" in names:
            # Both are of one modality of the space.
            names.remove("image")
        if not names:
            has = ", ".join(self.space.modalities)
            raise SeehearError(f"the task gives {', '.join(media) or 'no media'}, the space has {has}")
        # MTEB gives columns, `encode` takes items.
        columns = (batch[name] for name in names)
        return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
