"""A saved space as a model of sentence-transformers: `SentenceTransformer(folder, trust_remote_code=True)` gives the
vectors of `SharedSpace.from_pretrained(folder)`. The option is needed for classes of other packages."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import torch
from sentence_transformers.base.modules import InputModule

from seehear.space.shared import SharedSpace


class SharedSpaceModule(InputModule):
    """Only module of such a model."""

    def __init__(self, space: SharedSpace):
        super().__init__()
        self.space = space
        # Registered as a part, so that it moves with the module.
        self.method = space.method

    @property
    def modalities(self) -> list[Any]:
        names = self.space.modalities
        return [*names, *(together for n in range(2, len(names) + 1) for together in combinations(sorted(names), n))]

    def get_embedding_dimension(self) -> int:
        return self.space.dim

    def preprocess(self, inputs: Any, prompt: str | None = None, task: str | None = None, **_: Any) -> dict[str, Any]:
        return {"inputs": list(inputs), "prompt": prompt, "task": task}

    def forward(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        # sentence-transformers moves the module alone; encoders must follow it.
        device = next((p.device for p in self.method.parameters()), self.space.device)
        if device != torch.device(self.space.device):
            self.space.to(device)
        task = features["task"] if features["task"] in self.space.prompts else None
        # In one batch, since sentence-transformers has divided the inputs already.
        vectors_NE: torch.Tensor = self.space.encode(
            features["inputs"], task, features["prompt"] or None, len(features["inputs"]), convert_to_tensor=True
        )
        return {"sentence_embedding": vectors_NE}

    def save(self, output_path: str, *_: Any, **__: Any) -> None:
        self.space.save_pretrained(output_path)

    @classmethod
    def load(cls, model_name_or_path: str, *_: Any, **options: Any) -> SharedSpaceModule:
        return cls(SharedSpace.from_pretrained(model_name_or_path, revision=options.get("revision")))
