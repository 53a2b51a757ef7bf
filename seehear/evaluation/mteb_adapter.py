"""A shared space as a model of MTEB (`pip install mteb`): its tasks over text, images, sounds and videos, our vectors.

    space = SharedSpace.from_pretrained("runs/fusemix")
    mteb.evaluate(MTEBModel(space, "me/my-space"), tasks)

MTEB hands over decoded media, our encoders read files: each batch is written into a temporary folder first
(`media/memory.py`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from seehear.errors import SeehearError, require
from seehear.media.memory import write_picture, write_sound, write_video
from seehear.types import Float

_THEIRS = {"text": "text", "image": "video", "audio": "audio", "video": "video"}
"""A column of a batch -> our modality."""


class EncodingSpace(Protocol):
    fingerprint: str
    dim: int

    @property
    def modalities(self) -> tuple[str, ...]: ...
    def encode(self, inputs: Sequence[Any], /) -> np.ndarray: ...
    def parameters(self) -> Iterable[Any]: ...


class MTEBModel:
    """A space as an encoder of MTEB."""

    def __init__(self, space: EncodingSpace, name: str = "seehear/space", *, licence: str | None = None):
        """`name`: 'user/name', as on a hub. `licence`: of the weights, as MTEB spells it ('apache-2.0')."""
        self.space, self.name, self.licence = space, name, licence

    def encode(self, inputs: Iterable[Mapping[str, Any]], **kwargs: Any) -> Float[np.ndarray, "n e"]:
        """(N, E) vectors; an item with several modalities has the mean of those that the space has. `kwargs`, about the
        task, are ignored: there are no instructions."""
        parts = [self._batch(batch) for batch in inputs]
        return np.concatenate(parts) if parts else np.zeros((0, self.space.dim), np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine of every row with every row, as a tensor, which MTEB works on."""
        a, b = _unit_tensor(embeddings1), _unit_tensor(embeddings2)
        return a @ b.T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        a, b = _unit_tensor(embeddings1), _unit_tensor(embeddings2)
        return (a * b).sum(dim=-1)

    @property
    def mteb_model_meta(self) -> Any:
        mteb = require("mteb", "mteb")
        theirs = [name for name, ours in _THEIRS.items() if ours in self.space.modalities]
        weights = [*self.space.parameters()]
        not_known = ("release_date", "languages", "max_tokens", "public_training_code", "training_datasets")
        return mteb.models.ModelMeta(
            loader=None,
            name=self.name,
            revision=self.space.fingerprint,
            n_parameters=sum(p.numel() for p in weights),  # of the space; its encoders are models of their own
            memory_usage_mb=sum(p.numel() * p.element_size() for p in weights) / 2**20,
            embed_dim=self.space.dim,
            license=self.licence,
            open_weights=True,
            public_training_data=False,
            framework=["PyTorch", "safetensors", "Sentence Transformers"],
            similarity_fn_name="cosine",
            use_instructions=False,
            modalities=theirs,
            extra_requirements_groups=["mteb"],
            **dict.fromkeys(not_known),
        )

    def _batch(self, batch: Mapping[str, Any]) -> np.ndarray:
        names = [name for name in batch if name in _THEIRS and _THEIRS[name] in self.space.modalities]
        if "image" in names and "video" in names:
            names.remove("image")
        if not names:
            asked = ", ".join(name for name in batch if name in _THEIRS)
            raise SeehearError(
                f"the task gives {asked or 'no media'}, the space has {', '.join(self.space.modalities)}"
            )
        with tempfile.TemporaryDirectory() as folder:
            items: list[dict[str, Any]] = [{} for _ in batch[names[0]]]
            for name in names:
                for number, (item, value) in enumerate(zip(items, batch[name], strict=True)):
                    item[name] = _stored(name, value, Path(folder) / f"{name}{number}")
            return self.space.encode(items)


def _stored(name: str, value: Any, path: Path) -> str:
    """A text as it is; of anything else the path of a file that holds it."""
    if name == "text" or isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping) and isinstance(value.get("path"), str) and Path(value["path"]).is_file():
        return str(value["path"])
    return {"image": write_picture, "audio": write_sound, "video": write_video}[name](value, path)


def _unit_tensor(x: Any) -> Any:
    import torch

    return torch.nn.functional.normalize(torch.as_tensor(np.asarray(x)).float(), dim=-1)
