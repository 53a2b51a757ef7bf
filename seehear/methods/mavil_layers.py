"""The part of a masked audio-video model that outlives pretraining: tokens, encoders, fusion.

Tokens of two modalities meet in a fusion:

joint        one Transformer over the tokens of both
bottleneck   each modality attends to itself and a few tokens that both share; after every layer these are the mean of
             what either made of them (arXiv 2107.00135)

A clip that lacks a modality is fused as if there were no tokens of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from seehear.errors import SeehearError
from seehear.methods.mavil_config import SIDES, MAViLConfig
from seehear.nn.masked import FixedTokens
from seehear.nn.random import Randomness
from seehear.nn.transformer import Block, Size, Transformer
from seehear.types import Bool, Modality, Tensor

_EPS, _STD = 1e-6, 0.02
# Tokens of a bottleneck, as many as in its paper.
_SHARED = 4
Tokens = dict[Modality, Tensor]
"""(B, L, D) by modality, L its own."""


class Trunk(nn.Module):
    """Tokens, an encoder for each modality, and their fusion. No norm stands at the end of the encoders, one at that of
    the fusion."""

    def __init__(self, config: MAViLConfig):
        super().__init__()
        size = config.size
        self.tokens, self.encoders = nn.ModuleDict(), nn.ModuleDict()
        for m in SIDES:
            still = config.still and m == "video"
            self.tokens[m] = FixedTokens(config.counts(m), values=config.values(m), width=size.width, still=still)
            self.encoders[m] = Transformer(size, drop_path=config.drop_path, final_norm=False)
        self.fusion: JointFusion | BottleneckFusion
        if config.fusion == "joint":
            self.fusion = JointFusion(size, layers=config.fusion_layers)
        else:
            self.fusion = BottleneckFusion(size, SIDES, layers=config.fusion_layers)

    def encode(
        self,
        m: Modality,
        patches_BMP: Tensor,
        ids_BM: Tensor | None = None,
        *,
        counts: Sequence[int] | None = None,
        rng: Randomness | None = None,
    ) -> Tensor:
        """(B, 1 + M, D), CLS first, of patches in standard units: those with the numbers `ids_BM`, or all."""
        return self.encoders[m](self.tokens[m](patches_BMP, ids_BM, counts=counts), rng=rng, name=m)

    def forward(self, patches: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
        """Fused tokens of whole clips."""
        return self.fusion({m: self.encode(m, x_BNP) for m, x_BNP in patches.items()}, present)

    @torch.no_grad()
    def start_from(self, mae: ImageMAE, patches: Mapping[Modality, Sequence[int]]) -> None:
        """Copies an image MAE into the modalities whose patch sizes `patches` gives: kernel (at every time of a tube,
        undivided; summed over colours for a spectrogram), CLS and blocks. Blocks of the fusion begin as its last."""
        for m, patch in patches.items():
            tokens, encoder = self.tokens[m], self.encoders[m]
            assert isinstance(tokens, FixedTokens)
            assert isinstance(encoder, Transformer)
            blocks = encoder.blocks
            kernel_DP = mae.kernel(patch, colours=m == "video")
            sizes = [(len(kernel_DP), len(mae.blocks)), (tokens.project.out_features, len(blocks))]
            if sizes[0] != sizes[1]:
                theirs, own = (f"width {width} and {count} blocks" for width, count in sizes)
                raise SeehearError(f"the image MAE has {theirs}, this model {own}: choose its size")
            tokens.project.weight.copy_(kernel_DP)
            tokens.project.bias.copy_(mae.bias)
            tokens.cls.copy_(mae.cls)
            for i, (block, state) in enumerate(zip(blocks, mae.blocks, strict=True)):
                for name, own in block.state_dict().items():
                    if own.shape != state[name].shape:
                        there, here = tuple(state[name].shape), tuple(own.shape)
                        raise SeehearError(f"the image MAE's blocks.{i}.{name} is {there} there and {here} here")
                block.load_state_dict(state)
        for block in self.fusion.modules():
            if isinstance(block, Block):
                block.load_state_dict(mae.blocks[-1])


# -- fusion ------------------------------------------------------------------------------------------------------------


class JointFusion(nn.Module):
    def __init__(self, size: Size, *, layers: int):
        super().__init__()
        # With a norm at its end: decoders of MAE's family read normed tokens. The paper does not say.
        self.transformer = Transformer(replace(size, layers=layers))

    def forward(
        self, tokens: Tokens, present: Mapping[Modality, Bool[Tensor, " b"]], *, rng: Randomness | None = None
    ) -> Tokens:
        lengths = [x.shape[1] for x in tokens.values()]
        real = _real({m: present[m] for m in tokens})
        mask_BL = torch.cat([real[m][:, None].expand(-1, n) for m, n in zip(tokens, lengths, strict=True)], dim=1)
        fused_BLD = self.transformer(torch.cat(list(tokens.values()), dim=1), mask_BL, rng=rng, name="fusion")
        return dict(zip(tokens, fused_BLD.split(lengths, dim=1), strict=True))


class BottleneckFusion(nn.Module):
    """Fusion through a few tokens that the modalities share."""

    def __init__(self, size: Size, modalities: tuple[Modality, ...], *, layers: int):
        super().__init__()
        self.shared = _SharedTokens(_SHARED, size.width)
        self.layers = nn.ModuleList(_BottleneckLayer(size, modalities) for _ in range(layers))
        self.norm = nn.LayerNorm(size.width, eps=_EPS)

    def forward(
        self, tokens: Tokens, present: Mapping[Modality, Bool[Tensor, " b"]], *, rng: Randomness | None = None
    ) -> Tokens:
        real = _real({m: present[m] for m in tokens})
        shared_BLD = self.shared(len(next(iter(tokens.values()))))
        for i, layer in enumerate(self.layers):
            tokens, shared_BLD = layer(tokens, shared_BLD, real, rng=rng, name=f"fusion/{i}")
        return {m: self.norm(x_BLD) for m, x_BLD in tokens.items()}


class _BottleneckLayer(nn.Module):
    def __init__(self, size: Size, modalities: tuple[Modality, ...]):
        super().__init__()
        one = replace(size, layers=1)
        self.sides = nn.ModuleDict({m: Transformer(one, final_norm=False) for m in modalities})

    def forward(
        self, tokens: Tokens, shared_BLD: Tensor, real: Mapping[Modality, Tensor], *, rng: Randomness | None, name: str
    ) -> tuple[Tokens, Tensor]:
        count, weight_B1 = shared_BLD.shape[1], sum(has.to(shared_BLD.dtype) for has in real.values())
        out, total = {}, torch.zeros_like(shared_BLD)
        for m, x_BLD in tokens.items():
            both_BLD = torch.cat([shared_BLD, x_BLD.to(shared_BLD.dtype)], dim=1)
            made_BLD = self.sides[m](both_BLD, rng=rng, name=f"{name}/{m}")
            # Weighted by presence: a modality that a clip lacks has no say in the shared tokens.
            total = total + (real[m] / weight_B1)[:, None, None] * made_BLD[:, :count]
            out[m] = made_BLD[:, count:]
        return out, total


class _SharedTokens(nn.Module):
    def __init__(self, count: int, width: int):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(count, width) * _STD)

    def forward(self, rows: int) -> Tensor:
        return self.tokens.expand(rows, -1, -1)


def _real(present: Mapping[Modality, Tensor]) -> dict[Modality, Tensor]:
    """Modalities to attend to: the present ones, or all in a row without any, as a softmax over nothing is NaN."""
    nobody = ~torch.stack(list(present.values())).any(dim=0)
    return {m: has | nobody for m, has in present.items()}


# -- published weights -------------------------------------------------------------------------------------------------


# Layers of a block by our name -> theirs; several are stacked.
_HUGGING_FACE: dict[str, tuple[str, ...]] = {
    "norm1": ("layernorm_before",),
    "norm2": ("layernorm_after",),
    "attention.into": ("attention.attention.query", "attention.attention.key", "attention.attention.value"),
    "attention.out": ("attention.output.dense",),
    "up": ("intermediate.dense",),
    "down": ("output.dense",),
}
_TIMM: dict[str, tuple[str, ...]] = {
    "norm1": ("norm1",),
    "norm2": ("norm2",),
    "attention.into": ("attn.qkv",),
    "attention.out": ("attn.proj",),
    "up": ("mlp.fc1",),
    "down": ("mlp.fc2",),
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
        # A pre-trained MAE also carries its decoder, which is not used.
        # Hugging Face's model for pre-training holds its ViT under `vit.`.
        tensors = {name.removeprefix("vit."): t.float() for name, t in tensors.items() if "decoder" not in name}
        if "embeddings.cls_token" in tensors:
            names, block = _HUGGING_FACE, "encoder.layer"
            patch, token = "embeddings.patch_embeddings.projection", "embeddings.cls_token"
        else:
            names, block = _TIMM, "blocks"
            patch, token = "patch_embed.proj", "cls_token"
        count = len({name.split(".")[block.count(".") + 1] for name in tensors if name.startswith(f"{block}.")})
        layers = [patch, *(f"{block}.{i}.{part}" for i in range(count) for parts in names.values() for part in parts)]
        needed = {token, *(f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias"))}
        if missing := sorted(needed - tensors.keys()):
            more = f" and {len(missing) - 3} more" if missing[3:] else ""
            raise SeehearError(f"no weights of an image MAE or ViT: missing {', '.join(missing[:3])}{more}")
        blocks: list[dict[str, Tensor]] = []
        for i in range(count):
            state = {
                f"{own}.{kind}": torch.cat([tensors[f"{block}.{i}.{part}.{kind}"] for part in theirs])
                for own, theirs in names.items()
                for kind in ("weight", "bias")
            }
            blocks.append(state)
        return cls(tensors[f"{patch}.weight"], tensors[f"{patch}.bias"], tensors[token].flatten(), blocks)

    def kernel(self, patch: Sequence[int], *, colours: bool) -> Tensor:
        """(D, P) for patches in the order of `tokens.cut`. A patch of (time, height, width) has the kernel at every
        time; without colours it is summed over them."""
        if (found := tuple(self.weight_DCHW.shape[2:])) != tuple(patch[-2:]):
            raise SeehearError(f"the image MAE has patches of {found}, this model of {tuple(patch[-2:])}")
        # A grey spectrogram is a picture whose three colours are equal: their kernels add up.
        weight_DCHW = self.weight_DCHW if colours else self.weight_DCHW.sum(dim=1, keepdim=True)
        kernel_DHWC = weight_DCHW.movedim(1, -1)
        times = patch[0] if len(patch) == 3 else 1
        # Not divided by the number of times, as in av-superb's code.
        return kernel_DHWC[:, None].expand(-1, times, -1, -1, -1).flatten(1)
