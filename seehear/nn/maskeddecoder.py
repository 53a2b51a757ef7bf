"""From what is seen of a clip to what is hidden: the decoder of masked autoencoders, narrower than the encoder.

joint        seen and hidden tokens attend to all of them
cross        hidden tokens read the seen ones, not each other
cross-self   hidden tokens read the seen ones and each other

Tokens stand in the order of their mask, seen before hidden, each with its position: attention does not care, and
nothing has to be put back in place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from seehear.nn.cross import CrossTransformer
from seehear.nn.maskedtokens import Places
from seehear.nn.transformer import Size, Transformer, glorot
from seehear.types import Float, Int, Tensor

DecoderKind = Literal["joint", "cross", "cross-self"]


class MaskedDecoder(nn.Module):
    """Reads tokens of width `source`, gives `values` numbers a patch. `needed_only`: a joint decoder computes nothing
    of seen tokens that no hidden one reads."""

    def __init__(
        self,
        size: Size,
        counts: Sequence[int],
        *,
        source: int,
        values: int,
        kind: DecoderKind = "joint",
        needed_only: bool = True,
    ):
        super().__init__()
        self.kind, self.needed_only = kind, needed_only
        self.embed = glorot(nn.Linear(source, size.width))
        self.places = Places(counts, size.width)
        self.transformer = Transformer(size) if kind == "joint" else CrossTransformer(size, talk=kind == "cross-self")
        self.head = glorot(nn.Linear(size.width, values))

    def forward(
        self,
        seen_BLD: Float[Tensor, "b l d"],
        kept_BM: Int[Tensor, "b k"],
        hidden_BM: Int[Tensor, "b m"],
        place_BMD: Float[Tensor, "b m e"],
    ) -> Float[Tensor, "b m p"]:
        """`seen_BLD`: CLS, then the tokens with the numbers `kept_BM`. `place_BMD`: what stands at the hidden places,
        of the decoder's width, without position."""
        seen_BLD = self.embed(seen_BLD)
        seen_BLD = torch.cat([seen_BLD[:, :1], seen_BLD[:, 1:] + self.places(kept_BM)], dim=1)
        query_BMD = place_BMD + self.places(hidden_BM)
        if isinstance(self.transformer, CrossTransformer):
            return self.head(self.transformer(query_BMD, seen_BLD))
        count, x_BLD = query_BMD.shape[1], torch.cat([seen_BLD.to(query_BMD.dtype), query_BMD], dim=1)
        if self.needed_only:
            return self.head(self.transformer(x_BLD, asked=slice(-count, None)))
        return self.head(self.transformer(x_BLD))[:, -count:]
