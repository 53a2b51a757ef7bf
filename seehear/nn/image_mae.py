"""The encoder of an image MAE (arXiv 2111.06377) from its published tensors: the names of Hugging Face's ViTMAE, or of
timm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from seehear.errors import SeehearError
from seehear.types import Tensor

_Names = Mapping[str, str | tuple[str, ...]]

_HUGGING_FACE: _Names = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "attention.into": ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    "attention.out": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
_TIMM: _Names = {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.into": "attn.qkv",
    "attention.out": "attn.proj",
    "up": "mlp.fc1",
    "down": "mlp.fc2",
}


@dataclass(frozen=True)
class ImageMAE:
    weight_DCHW: Tensor
    """Kernel of the patches."""
    bias: Tensor
    cls: Tensor
    blocks: list[dict[str, Tensor]]
    """State of a `transformer.Block` each."""

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> ImageMAE:
        tensors = {name.removeprefix("vit."): t.float() for name, t in tensors.items() if "decoder" not in name}
        if "embeddings.cls_token" in tensors:
            names, block = _HUGGING_FACE, "encoder.layer"
            patch, token = "embeddings.patch_embeddings.projection", "embeddings.cls_token"
        else:
            names, block = _TIMM, "blocks"
            patch, token = "patch_embed.proj", "cls_token"
        try:
            count = len({name.split(".")[block.count(".") + 1] for name in tensors if name.startswith(f"{block}.")})
            blocks = [_block(tensors, f"{block}.{i}", names) for i in range(count)]
            return cls(tensors[f"{patch}.weight"], tensors[f"{patch}.bias"], tensors[token].flatten(), blocks)
        except KeyError as missing:
            raise SeehearError(
                f"these are no weights of an image MAE or ViT: there is no {missing.args[0]!r}"
            ) from None

    def kernel(self, patch: Sequence[int], *, colours: bool) -> Tensor:
        """(D, P) for patches in the order of `patches.cut`. A patch of (time, height, width) has the kernel at every
        time; without colours it is summed over them."""
        if (found := tuple(self.weight_DCHW.shape[2:])) != tuple(patch[-2:]):
            raise SeehearError(f"the image MAE has patches of {found}, this model of {tuple(patch[-2:])}")
        weight_DCHW = self.weight_DCHW if colours else self.weight_DCHW.sum(dim=1, keepdim=True)
        kernel_DHWC = weight_DCHW.movedim(1, -1)
        times = patch[0] if len(patch) == 3 else 1
        return kernel_DHWC[:, None].expand(-1, times, -1, -1, -1).flatten(1)


def _block(tensors: Mapping[str, Tensor], at: str, names: _Names) -> dict[str, Tensor]:
    state = {}
    for own, theirs in names.items():
        for kind in ("weight", "bias"):
            parts = (theirs,) if isinstance(theirs, str) else theirs
            state[f"{own}.{kind}"] = torch.cat([tensors[f"{at}.{part}.{kind}"] for part in parts])
    return state
