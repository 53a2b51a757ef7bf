"""Towers for text: BERT and its kind (BGE, E5, sentence-transformers), T5, and the text sides of CLIP, SigLIP, CLAP."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from seehear.encoders.frozen import padded_batches
from seehear.encoders.hub_towers import HubOptions, HubTower, pool_tokens
from seehear.encoders.prepare import ReadText
from seehear.errors import SeehearError, read_json, require
from seehear.types import Tensor


class TextTower(HubTower):
    modality = "text"
    uses = ("prefix", "query", "length", "clean")
    pools: ClassVar[tuple[str, ...]] = ("mean", "cls", "last")

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        self._tokenizer: Any = None

    def own_config(self, config: Any) -> Any:
        return getattr(config, "text_config", config)

    def default_pool(self) -> str:
        """What sentence-transformers says of the folder, else the first."""
        said = self.folder / "1_Pooling" / "config.json"
        modes = read_json(said, "download the folder again") if said.is_file() else {}
        if modes.get("pooling_mode_cls_token"):
            return "cls"
        return "last" if modes.get("pooling_mode_lasttoken") else self.pools[0]

    def preparation(self) -> ReadText:
        return ReadText(self.prompt(self.options.prefix, "document", "passage"), clean=self.options.clean)

    def query_preparation(self) -> ReadText:
        return ReadText(self.prompt(self.options.query or self.options.prefix, "query"), clean=self.options.clean)

    def prompt(self, given: str, *names: str) -> str:
        """The one given, else the first that sentence-transformers' settings in the folder have."""
        file = self.folder / "config_sentence_transformers.json"
        prompts = (read_json(file, "download the folder again") if file.is_file() else {}).get("prompts") or {}
        return f"{given} " if given else next((prompts[name] for name in names if prompts.get(name)), "")

    def has_prompt(self) -> bool:
        return bool(self.prompt("", "document", "passage"))

    @property
    def tokenizer(self) -> Any:
        if self._tokenizer is None:
            auto = require("transformers", "hub").AutoTokenizer
            try:
                self._tokenizer = auto.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
            except (OSError, ValueError) as error:
                raise SeehearError(f"{self.folder} has no tokenizer that can be read: {error}") from error
        return self._tokenizer

    def length(self) -> int:
        """The cut: asked for, or what the tokenizer or the model's positions allow."""
        positions = getattr(self.config, "max_position_embeddings", None) or self.options.length
        return min(self.options.length, self.tokenizer.model_max_length, positions)

    def steps(self, model: nn.Module, prepared: Sequence[str], device: str) -> list[Tensor]:
        rows = self.tokenizer(list(prepared), truncation=True, max_length=self.length())["input_ids"]
        pad = self.tokenizer.pad_token_id or 0
        vectors = padded_batches(
            [torch.tensor(row) for row in rows],
            lambda tokens, seen: self.read(model, tokens, seen),
            device=device,
            at_once=64,
            pad=pad,
        )
        return list(vectors[:, None])

    def read(self, model: Any, tokens_BL: Tensor, seen_BL: Tensor) -> Tensor:
        output = self.part(model)(input_ids=tokens_BL, attention_mask=seen_BL.long(), **self.wants)
        if self.pool == "projected":
            return self.project(model, output)
        return pool_tokens(self.states(output), self.pool, seen_NL=seen_BL)

    def part(self, model: Any) -> nn.Module:
        return getattr(model, "text_model", model)

    def project(self, model: Any, output: Any) -> Tensor:
        return model.text_projection(output.pooler_output)


class T5Text(TextTower):
    """The encoder alone."""

    pools = ("mean", "last")

    def width(self) -> int:
        return int(self.config.d_model)

    def part(self, model: Any) -> nn.Module:
        return model.get_encoder()


class ClipText(TextTower):
    """CLIP and CLAP."""

    pools = ("projected", "mean", "last")


class SiglipText(TextTower):
    """SigLIP was trained on texts filled up to its full length, without a mask: its vector needs the same."""

    pools = ("projected", "mean")

    def width(self) -> int:
        return int(getattr(self.config, "projection_size", 0) or self.config.hidden_size)

    def steps(self, model: Any, prepared: Sequence[str], device: str) -> list[Tensor]:
        length = self.config.max_position_embeddings
        texts = self.tokenizer(list(prepared), truncation=True, max_length=length, padding="max_length")
        tokens = torch.tensor(texts["input_ids"], device=device)
        vectors = [self.read_full(model, rows) for rows in tokens.split(64)]
        return list(torch.cat(vectors)[:, None])

    def read_full(self, model: Any, tokens_BL: Tensor) -> Tensor:
        output = model.text_model(input_ids=tokens_BL, **self.wants)
        return output.pooler_output if self.pool == "projected" else pool_tokens(self.states(output), self.pool)
