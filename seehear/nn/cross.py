"""Pre-norm Transformer blocks whose queries read a memory that stays as it is (decoders of DiffMAE).

cross        q' = q + CA(norm(q), norm(m));  q'' = q' + MLP(norm(q'))          queries never see each other
cross-self   before it q <- q + SA(norm(q)):                                   they do
"""

from __future__ import annotations

from torch import nn
from torch.nn import functional as F

from seehear.nn.transformer import Attention, Size, glorot
from seehear.types import Float, Tensor

_EPS = 1e-6


class CrossTransformer(nn.Module):
    """`talk`: queries also attend to each other."""

    def __init__(self, size: Size, *, talk: bool = False):
        super().__init__()
        self.size = size
        self.blocks = nn.ModuleList(CrossBlock(size, talk=talk) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.width, eps=_EPS)

    def forward(self, q_BMD: Float[Tensor, "b m d"], memory_BKD: Float[Tensor, "b k d"]) -> Float[Tensor, "b m d"]:
        dtype = next(self.parameters()).dtype  # sums over many layers, under autocast too
        q_BMD, memory_BKD = q_BMD.to(dtype), memory_BKD.to(dtype)
        for block in self.blocks:
            q_BMD = block(q_BMD, memory_BKD)
        return self.norm(q_BMD)


class CrossBlock(nn.Module):
    def __init__(self, size: Size, *, talk: bool):
        super().__init__()
        self.norm_self = nn.LayerNorm(size.width, eps=_EPS) if talk else None
        self.talk = Attention(size.width, size.heads, bias=True, scaled=True) if talk else None
        self.norm1, self.norm2, self.norm_memory = (nn.LayerNorm(size.width, eps=_EPS) for _ in range(3))
        self.attention = CrossAttention(size.width, size.heads)
        self.up, self.down = glorot(nn.Linear(size.width, size.hidden)), glorot(nn.Linear(size.hidden, size.width))

    def forward(self, q_BMD: Tensor, memory_BKD: Tensor) -> Tensor:
        if self.talk is not None and self.norm_self is not None:
            q_BMD = q_BMD + self.talk(self.norm_self(q_BMD))
        q_BMD = q_BMD + self.attention(self.norm1(q_BMD), self.norm_memory(memory_BKD))
        return q_BMD + self.down(F.gelu(self.up(self.norm2(q_BMD))))


class CrossAttention(nn.Module):
    """Of a sequence to another one."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.ask = glorot(nn.Linear(width, width))
        self.read = glorot(nn.Linear(width, 2 * width), parts=2)
        self.out = glorot(nn.Linear(width, width))

    def forward(self, q_BMD: Float[Tensor, "b m d"], memory_BKD: Float[Tensor, "b k d"]) -> Float[Tensor, "b m d"]:
        q = self.ask(q_BMD).unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, H, M, d)
        k, v = self.read(memory_BKD).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, H, K, d)
        return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
