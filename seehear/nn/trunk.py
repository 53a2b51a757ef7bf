"""What is kept of a masked audio-video model when its decoders are thrown away: tokens, encoders, fusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import nn

from seehear.errors import SeehearError
from seehear.nn.fusion import BottleneckFusion, JointFusion
from seehear.nn.image_mae import ImageMAE
from seehear.nn.maskedtokens import FixedTokens
from seehear.nn.random import Randomness
from seehear.nn.transformer import Block, Size, Transformer
from seehear.types import Modality, Tensor


class Trunk(nn.Module):
    """`counts`: patches along each axis, `values`: numbers of a patch, by modality. No norm stands at the end of the
    encoders, one at that of the fusion. `still`: modalities whose positions are those of a picture at all times."""

    def __init__(
        self,
        size: Size,
        counts: Mapping[Modality, Sequence[int]],
        values: Mapping[Modality, int],
        *,
        fusion: Literal["joint", "bottleneck"],
        fusion_layers: int,
        still: Sequence[Modality] = (),
        drop_path: float = 0.0,
    ):
        super().__init__()
        self.tokens, self.encoders = nn.ModuleDict(), nn.ModuleDict()
        for m, count in counts.items():
            self.tokens[m] = FixedTokens(count, values=values[m], width=size.width, still=m in still)
            self.encoders[m] = Transformer(size, drop_path=drop_path, final_norm=False)
        self.fusion: JointFusion | BottleneckFusion
        if fusion == "joint":
            self.fusion = JointFusion(size, layers=fusion_layers)
        else:
            self.fusion = BottleneckFusion(size, tuple(counts), layers=fusion_layers)

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
        """Of the modalities that `patches` names the size of: the kernel of pictures at every time of a tube, undivided
        (of a spectrogram: summed over colours); CLS; all blocks. Every block of the fusion is its last one."""
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
            for block, state in zip(blocks, mae.blocks, strict=True):
                block.load_state_dict(state)
        for block in self.fusion.modules():
            if isinstance(block, Block):
                block.load_state_dict(mae.blocks[-1])
