"""One modality of a transformers model: what it is fed, and what is taken from it.

Every tower gives steps, (T, D) a sample: frames, windows of sound, moments of speech, or one for a text. What becomes
of the tokens of a step is the option `pool`:

    projected   the model's own vector for comparing modalities, or of its attention head
    cls         its first token
    mean        the mean of its tokens, special ones and padding left out
    last        its last token
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import nn

from seehear.encoders.base import Sample
from seehear.encoders.options import CaptionOptions
from seehear.errors import SeehearError, read_json
from seehear.types import Bool, Float, Tensor


@dataclass(frozen=True, kw_only=True)
class HubOptions(CaptionOptions):
    modality: str = ""
    """Which one, of a model that encodes several."""
    layer: int = -1
    """Of the hidden states: -1 the last, 0 the embeddings."""
    pool: str = ""
    """Over the tokens of a step; '' takes the family's own."""
    time: str = "mean"
    """Over steps: mean, mean+std or segments:K."""
    frames: int = 8
    """Frames of a clip, where the model does not fix how many."""
    prefix: str = ""
    """Put before every text, with a space, instead of the folder's own prompt for documents: E5 wants 'passage:'."""
    query: str = ""
    """The same for the words of a search: E5 wants 'query:'."""
    length: int = 512
    """Tokens; a longer text is cut there, or where the model ends."""


class HubTower(ABC):
    """Knows its width and its preprocessing before any weight is read."""

    modality: ClassVar[str]
    uses: ClassVar[tuple[str, ...]]
    """Options that mean something here, besides layer, pool and modality."""
    pools: ClassVar[tuple[str, ...]]
    """The first is the default."""
    by_frame: ClassVar[bool] = False
    """Whether each step is the vector of one frame, alone."""

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        self.folder, self.options = folder, options
        self.whole, self.config = config, self.own_config(config)
        self.pool = options.pool or self.default_pool()
        if self.pool not in self.pools:
            raise SeehearError(f"pool must be one of {', '.join(self.pools)} for this model; got {options.pool!r}")
        layers = int(getattr(self.config, "encoder_layers", 0) or getattr(self.config, "num_hidden_layers", 0))
        if options.layer != -1 and (self.pool == "projected" or not -layers - 1 <= options.layer <= layers):
            reason = "pool=projected is of the last layer" if self.pool == "projected" else f"there are {layers}"
            raise SeehearError(f"layer={options.layer} cannot be: {reason}")

    def own_config(self, config: Any) -> Any:
        """The part of a joint configuration that is about this modality."""
        return config

    def default_pool(self) -> str:
        return self.pools[0]

    def width(self) -> int:
        """Of a step."""
        return int(self.whole.projection_dim if self.pool == "projected" else self.config.hidden_size)

    @abstractmethod
    def preparation(self) -> Callable[[Sample], Any]: ...

    def query_preparation(self) -> Callable[[Sample], Any]:
        """`preparation` of a query."""
        return self.preparation()

    @abstractmethod
    def steps(self, model: nn.Module, prepared: Sequence[Any], device: str) -> list[Tensor]:
        """(T, width) of each sample. `model` is what AutoModel makes of the folder."""

    def has_prompt(self) -> bool:
        """Whether the folder has a prompt that is put before documents."""
        return False

    def states(self, output: Any) -> Float[Tensor, "n l d"]:
        return output.last_hidden_state if self.options.layer == -1 else output.hidden_states[self.options.layer]

    @property
    def wants(self) -> dict[str, bool]:
        """Keyword of a forward pass that keeps the hidden states, where they are needed."""
        return {"output_hidden_states": True} if self.options.layer != -1 else {}


def pool_tokens(
    x_NLD: Float[Tensor, "n l d"], how: str, *, skip: int = 0, seen_NL: Bool[Tensor, "n l"] | None = None
) -> Float[Tensor, "n d"]:
    """`skip`: special tokens at the front that a mean leaves out. `seen_NL`: False for padding."""
    if how == "cls":
        return x_NLD[:, 0]
    if seen_NL is None:
        return x_NLD[:, -1] if how == "last" else x_NLD[:, skip:].mean(1)
    if how == "last":
        last = x_NLD.shape[1] - 1 - seen_NL.long().flip(1).argmax(1)
        return x_NLD[torch.arange(len(x_NLD), device=x_NLD.device), last]
    weight_NL1 = seen_NL[..., None].to(x_NLD.dtype)
    return (x_NLD * weight_NL1).sum(1) / weight_NL1.sum(1)


def read_settings(folder: Path, *kinds: str) -> dict[str, Any]:
    """The preprocessing that came with the weights: its own file, or a part of processor_config.json."""
    joint = folder / "processor_config.json"
    parts = read_json(joint, "download the folder again") if joint.is_file() else {}
    for kind in kinds:
        if isinstance(parts.get(kind), dict):
            return parts[kind]
    for name in ("preprocessor_config.json", "video_preprocessor_config.json"):
        if (folder / name).is_file():
            return read_json(folder / name, "download the folder again")
    raise SeehearError(f"{folder} has no preprocessor_config.json: it says how media are prepared for the model")
