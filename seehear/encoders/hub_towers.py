"""One modality of a transformers model as an encoder; and the towers for text. Weights are read with the first batch.

The steps of a tower are frames, windows of sound, moments of speech, or one for a text. The option `pool` makes one
vector of the tokens of a step:

    projected   the model's own vector for comparing modalities, or of its attention head
    cls         its first token
    mean        the mean of its tokens, special ones and padding left out
    last        its last token
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from seehear.encoders.base import CaptionOptions, ReadText, SampleVectors, full_name
from seehear.encoders.frozen import SteppedEncoder, padded_batches, pooled_width
from seehear.encoders.weights import fingerprint, weights_hash
from seehear.errors import SeehearError, read_json, require
from seehear.types import Bool, Float, Tensor


@dataclass(frozen=True, kw_only=True)
class HubOptions(CaptionOptions):
    modality: str = ""
    """Modality to encode, for a model that has several."""
    layer: int = -1
    """Hidden layer to read: -1 is the last, 0 the embeddings."""
    pool: str = ""
    """Pooling over the tokens of a step; '' is the family's own."""
    time: str = "mean"
    """Pooling over steps: mean, mean+std or segments:K."""
    frames: int = 8
    """Frames of a clip, where the model does not fix how many."""
    prefix: str = ""
    """Prompt before every text, instead of the folder's own prompt for documents: E5 wants 'passage:'."""
    query: str = ""
    """Prompt before a search: E5 wants 'query:'."""
    length: int = 512
    """Most tokens of a text; fewer where the model has fewer positions."""


# Parts of the names of weights that may be missing from a folder: they are not used.
_MAY_MISS = ("pooler", "masked_spec_embed", "position_ids", "mask_token", "predictor", "decoder", "logit_scale")


class HubTower(SteppedEncoder):
    """One modality of a model."""

    no_graph = "it is a model of transformers, which the package optimum exports"
    uses: ClassVar[tuple[str, ...]]
    """Options that apply to this tower, besides layer, pool and modality."""
    pools: ClassVar[tuple[str, ...]]
    """Poolings; the first is the default."""
    config_part: ClassVar[str] = ""
    """Part of a joint configuration that is about this modality."""

    def __init__(self, base: str, folder: Path, config: Any, options: HubOptions):
        self.name, self.folder, self.options, self.pooling = full_name(base, options), folder, options, options.time
        self.whole, self.config = config, self.own_config(config)
        self.pool = options.pool or self.default_pool()
        if self.pool not in self.pools:
            raise SeehearError(f"pool must be one of {', '.join(self.pools)} for this model; got {options.pool!r}")
        # Models with a decoder count the layers of their encoder under another name.
        layers = int(getattr(self.config, "encoder_layers", 0) or getattr(self.config, "num_hidden_layers", 0))
        # Hidden states begin with the embeddings: there is one more than layers.
        if options.layer != -1 and (self.pool == "projected" or not -layers - 1 <= options.layer <= layers):
            reason = "pool=projected is of the last layer" if self.pool == "projected" else f"there are {layers}"
            raise SeehearError(f"layer={options.layer} cannot be: {reason}")
        self.width = pooled_width(options.time, self.step_width())
        settings = options.for_fingerprint() | {"pool": self.pool}
        # Latents are of documents.
        del settings["query"]
        # 2: the folder's prompt for documents is put before them. Fingerprints without one must stay.
        rules = 2 if self.has_prompt() else 1
        self.fingerprint = fingerprint(weights=weights_hash(folder), rules=rules, **settings)
        # Settings that are missing or wrong are refused before work starts.
        self.preparation()

    def own_config(self, config: Any) -> Any:
        return getattr(config, self.config_part, config)

    def default_pool(self) -> str:
        return self.pools[0]

    def step_width(self) -> int:
        """Numbers of a step."""
        projected = getattr(self.whole, "projection_dim", None) if self.pool == "projected" else None
        return int(projected or self.config.hidden_size)

    def has_prompt(self) -> bool:
        """Whether the folder has a prompt that is put before documents."""
        return False

    def states(self, output: Any) -> Float[Tensor, "n l d"]:
        return output.last_hidden_state if self.options.layer == -1 else output.hidden_states[self.options.layer]

    @property
    def wants(self) -> dict[str, bool]:
        """Keyword of a forward pass that keeps the hidden states, where they are needed."""
        return {"output_hidden_states": True} if self.options.layer != -1 else {}

    @cached_property
    def tokenizer(self) -> Any:
        auto = require("transformers", "hub").AutoTokenizer
        try:
            return auto.from_pretrained(self.folder, local_files_only=True, trust_remote_code=False)
        except (OSError, ValueError) as error:
            raise SeehearError(f"{self.folder} has no tokenizer that can be read: {error}") from error

    def load(self) -> nn.Module:
        transformers = require("transformers", "hub")
        with _quiet(transformers):
            try:
                model, info = transformers.AutoModel.from_pretrained(
                    self.folder,
                    local_files_only=True,
                    trust_remote_code=False,
                    # Whatever the folder was saved in: `_precision` decides when it runs.
                    dtype=torch.float32,
                    output_loading_info=True,
                )
            except (OSError, ValueError, RuntimeError, ImportError) as error:
                first = str(error).strip().splitlines()[0]
                raise SeehearError(f"{self.name!r}: the weights cannot be loaded: {first}") from error
        missing = sorted(name for name in info["missing_keys"] if not any(part in name for part in _MAY_MISS))
        if missing:
            raise SeehearError(f"{self.name!r}: {len(missing)} of the weights are missing, {missing[0]!r} the first")
        return model

    def embed(self, network: nn.Module, prepared: Sequence[Any]) -> Tensor:
        with _precision(self.device):
            return super().embed(network, prepared)

    def encode_parts(self, prepared: Sequence[Any]) -> list[SampleVectors]:
        with _precision(self.device):
            return super().encode_parts(prepared)


def _precision(device: str) -> Any:
    """Half precision on a GPU (bfloat16, else float16); float32 on a CPU."""
    if not device.startswith("cuda"):
        return torch.autocast("cpu", enabled=False)
    return torch.autocast("cuda", dtype=torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Suppresses transformers' bars and warnings while weights are read; missing weights are checked by `load`."""
    log = transformers.utils.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def pool_tokens(
    x_NLD: Float[Tensor, "n l d"], how: str, *, skip: int = 0, seen_NL: Bool[Tensor, "n l"] | None = None
) -> Float[Tensor, "n d"]:
    """`skip`: special tokens at the front that a mean leaves out. `seen_NL`: False for padding."""
    if how == "cls":
        return x_NLD[:, 0]
    if seen_NL is None:
        return x_NLD[:, -1] if how == "last" else x_NLD[:, skip:].mean(1)
    if how == "last":
        # Tokenizers may pad on either side.
        last = x_NLD.shape[1] - 1 - seen_NL.long().flip(1).argmax(1)
        return x_NLD[torch.arange(len(x_NLD), device=x_NLD.device), last]
    weight_NL1 = seen_NL[..., None].to(x_NLD.dtype)
    return (x_NLD * weight_NL1).sum(1) / weight_NL1.sum(1)


def read_settings(folder: Path, *kinds: str) -> dict[str, Any]:
    """Preprocessing that came with the weights: a part of processor_config.json, or a file of its own."""
    parts = optional_json(folder / "processor_config.json")
    for kind in kinds:
        if isinstance(parts.get(kind), dict):
            return parts[kind]
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if (folder / name).is_file():
            return optional_json(folder / name)
    raise SeehearError(f"{folder} has no preprocessor_config.json: it says how media are prepared for the model")


def optional_json(path: Path) -> dict[str, Any]:
    return read_json(path, "download the folder again") if path.is_file() else {}


# -- texts -------------------------------------------------------------------------------------------------------------


class TextTower(HubTower):
    """BERT and its kind: BGE, E5, sentence-transformers; base of the text sides of joint models."""

    modality = "text"
    uses = ("prefix", "query", "length", "clean")
    pools: ClassVar[tuple[str, ...]] = ("mean", "cls", "last")
    config_part = "text_config"

    def default_pool(self) -> str:
        """Pooling of sentence-transformers' settings in the folder, else the first of `pools`."""
        modes = optional_json(self.folder / "1_Pooling" / "config.json")
        if modes.get("pooling_mode_cls_token"):
            return "cls"
        return "last" if modes.get("pooling_mode_lasttoken") else self.pools[0]

    def preparation(self) -> ReadText:
        return ReadText(self.prompt(self.options.prefix, "document", "passage"), clean=self.options.clean)

    def query_preparation(self) -> ReadText:
        return ReadText(self.prompt(self.options.query or self.options.prefix, "query"), clean=self.options.clean)

    def prompt(self, given: str, *names: str) -> str:
        """`given`, else the first of these prompts in sentence-transformers' settings of the folder."""
        prompts = optional_json(self.folder / "config_sentence_transformers.json").get("prompts") or {}
        return f"{given} " if given else next((prompts[name] for name in names if prompts.get(name)), "")

    def has_prompt(self) -> bool:
        return bool(self.prompt("", "document", "passage"))

    def steps(self, model: nn.Module, prepared: Sequence[str]) -> list[Tensor]:
        positions = getattr(self.config, "max_position_embeddings", None) or self.options.length
        # A tokenizer without a limit claims 10^30 tokens.
        length = min(self.options.length, self.tokenizer.model_max_length, positions)
        ids = self.tokenizer(list(prepared), truncation=True, max_length=length)["input_ids"]
        # Padding is masked: where a model has no number for it, any will do.
        rows, pad = [torch.tensor(row) for row in ids], self.tokenizer.pad_token_id or 0
        read = lambda tokens, seen: self.read(model, tokens, seen)  # noqa: E731
        return list(padded_batches(rows, read, device=self.device, at_once=64, pad=pad)[:, None])

    def read(self, model: Any, tokens_BL: Tensor, seen_BL: Tensor) -> Tensor:
        output = self.part(model)(input_ids=tokens_BL, attention_mask=seen_BL.long(), **self.wants)
        if self.pool == "projected":
            return model.text_projection(output.pooler_output)
        return pool_tokens(self.states(output), self.pool, seen_NL=seen_BL)

    def part(self, model: Any) -> nn.Module:
        return getattr(model, "text_model", model)


class T5Text(TextTower):
    """The encoder of T5, without its decoder."""

    pools = ("mean", "last")

    def part(self, model: Any) -> nn.Module:
        return model.get_encoder()


class ClipText(TextTower):
    """CLIP and CLAP."""

    pools = ("projected", "mean", "last")


class SiglipText(TextTower):
    """SigLIP was trained on texts filled up to its full length, without a mask: its vector needs the same."""

    pools = ("projected", "mean")

    def step_width(self) -> int:
        return int(getattr(self.config, "projection_size", 0) or self.config.hidden_size)

    def steps(self, model: Any, prepared: Sequence[str]) -> list[Tensor]:
        length = self.config.max_position_embeddings
        texts = self.tokenizer(list(prepared), truncation=True, max_length=length, padding="max_length")
        tokens = torch.tensor(texts["input_ids"], device=self.device)
        steps: list[Tensor] = []
        for tokens_BL in tokens.split(64):
            output = model.text_model(input_ids=tokens_BL, **self.wants)
            projected = self.pool == "projected"
            steps += (output.pooler_output if projected else pool_tokens(self.states(output), self.pool))[:, None]
        return steps
