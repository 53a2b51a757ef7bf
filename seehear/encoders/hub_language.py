"""Towers of language models that read pictures and sounds as tokens: EmbeddingGemma 2, Qwen3-VL-Embedding.

Every frame and every window of sound is one input, and one step. Pictures go through the model's own processor, in its
form without torchvision; the tokens around them are put together here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import Sample
from seehear.encoders.hub_audio import Features, ReadFeatures
from seehear.encoders.hub_text import TextTower
from seehear.encoders.hub_towers import HubOptions, HubTower, pool_tokens, read_settings
from seehear.encoders.prepare import ReadFrames, ReadText
from seehear.errors import read_json, require
from seehear.media.files import VideoSpec
from seehear.types import Float, Int, Tensor

_SIDE = 384  # pixels of a frame's shorter side: of longer ones only the time grows, by its square
_INSTRUCTION = "Represent the user's input."
_QUERY = "Retrieve images or text relevant to the user's query."


@dataclass(frozen=True)
class ReadPatches:
    """The window's frames through the model's own picture processor: patches in numpy."""

    reader: ReadFrames
    processor: Any

    def __call__(self, sample: Sample) -> Features:
        frames_THWC = self.reader(sample)
        return dict(self.processor(list(frames_THWC), return_tensors="np", input_data_format="channels_last"))


class LanguageText(TextTower):
    """`read` and `pools` of a language model that gives token vectors."""

    def part(self, model: Any) -> nn.Module:
        return model.language_model


class LanguageMedia(HubTower):
    """A step is one input: `before`, tokens that stand for media, `after`."""

    processor: ClassVar[str]

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        self.text = self.text_tower(folder, config, HubOptions(layer=options.layer))

    text_tower: ClassVar[type[TextTower]]

    def own_config(self, config: Any) -> Any:
        return config.text_config

    def width(self) -> int:
        return self.text.width()

    def vectors(
        self, model: nn.Module, tokens_L: Int[Tensor, " l"], count: int, **media: Tensor
    ) -> Float[Tensor, "n d"]:
        """`count` inputs of the same tokens with different media."""
        tokens_NL = tokens_L.expand(count, -1)
        output = model(input_ids=tokens_NL, attention_mask=torch.ones_like(tokens_NL), **media, **self.wants)
        return pool_tokens(self.states(output), self.pool)

    def around(self, body: Sequence[int]) -> list[int]:
        """A body of tokens between the special ones that the tokenizer puts around any text."""
        special = self.text.tokenizer("")["input_ids"]
        return [*special[:1], *body, *special[1:]]


class LanguagePictures(LanguageMedia):
    modality = "video"
    uses: ClassVar[tuple[str, ...]] = ("frames", "time")

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        kind = getattr(require("transformers", "hub"), self.processor)
        self.pictures = kind.from_dict(self.picture_settings(folder))

    def picture_settings(self, folder: Path) -> dict[str, Any]:
        return read_settings(folder, "image_processor")

    def preparation(self) -> Callable[[Sample], Any]:
        spec = VideoSpec(num_frames=self.options.frames, size=_SIDE, fit="short", interpolation="bicubic")
        return ReadPatches(ReadFrames(spec=spec), self.pictures)

    def steps(self, model: nn.Module, prepared: Sequence[Features], device: str) -> list[Tensor]:
        return [self.look(model, {k: torch.as_tensor(v, device=device) for k, v in one.items()}) for one in prepared]

    def look(self, model: nn.Module, patches: dict[str, Tensor]) -> Float[Tensor, "t d"]:
        raise NotImplementedError


# -- EmbeddingGemma 2: the mean over all tokens ------------------------------------------------------------------------


class GemmaText(LanguageText):
    pools = ("mean",)

    def width(self) -> int:
        return int(self.config.embedding_dim if self.options.layer == -1 else self.config.hidden_size)


class GemmaPictures(LanguagePictures):
    pools = ("mean",)
    processor = "Gemma4ImageProcessorPil"
    text_tower = GemmaText

    def picture_settings(self, folder: Path) -> dict[str, Any]:
        """Frames have the budget of tokens that the folder gives to films."""
        film = read_settings(folder, "video_processor", "image_processor")
        return read_settings(folder, "image_processor") | {"max_soft_tokens": film.get("max_soft_tokens", 70)}

    def look(self, model: nn.Module, patches: dict[str, Tensor]) -> Float[Tensor, "t d"]:
        marks, count = self.whole, int(patches["num_soft_tokens_per_image"][0])
        body = [marks.boi_token_id, *[marks.image_token_id] * count, marks.eoi_token_id]
        pixels = patches["pixel_values"].float()
        tokens_L = torch.tensor(self.around(body), device=pixels.device)
        media = {"pixel_values": pixels, "image_position_ids": patches["image_position_ids"]}
        return self.vectors(model, tokens_L, len(pixels), **media)


class GemmaSounds(LanguageMedia):
    """Windows as long as the model takes, 11 s in the published one."""

    modality = "audio"
    uses: ClassVar[tuple[str, ...]] = ("time",)
    pools = ("mean",)
    processor = "Gemma4AudioFeatureExtractor"
    text_tower = GemmaText

    def __init__(self, folder: Path, config: Any, options: HubOptions):
        super().__init__(folder, config, options)
        kind = getattr(require("transformers", "hub"), self.processor)
        self.features = kind.from_dict(read_settings(folder, "feature_extractor"))
        file = folder / "processor_config.json"
        joint = read_json(file, "download the folder again") if file.is_file() else {}
        self.seconds = joint.get("audio_seq_length", 280) * joint.get("audio_ms_per_token", 40) / 1000

    def preparation(self) -> ReadFeatures:
        return ReadFeatures(self.features, self.seconds)

    def steps(self, model: nn.Module, prepared: Sequence[Features], device: str) -> list[Tensor]:
        return [self.listen(model, features, device) for features in prepared]

    def listen(self, model: nn.Module, features: Features, device: str) -> Float[Tensor, "w d"]:
        heard_WF = torch.as_tensor(np.asarray(features["input_features_mask"]), device=device).bool()
        marks, count = self.whole, int(heard_WF[0].sum())  # windows of one sound are of one length
        for _ in range(2):  # the encoder's two convolutions, of stride 2
            count = math.ceil(count / 2)
        body = [marks.boa_token_id, *[marks.audio_token_id] * count, marks.eoa_token_index]
        tokens_L = torch.tensor(self.around(body), device=device)
        mel_WFB = torch.as_tensor(np.asarray(features["input_features"]), device=device).float()
        media = {"input_features": mel_WFB, "input_features_mask": heard_WF}
        return self.vectors(model, tokens_L, len(heard_WF), **media)


# -- Qwen3-VL-Embedding: the last token of a chat ----------------------------------------------------------------------


def _chat(instruction: str) -> tuple[str, str]:
    """Text before and after the input, as the model was trained."""
    before = f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n"
    return before, "<|im_end|>\n<|im_start|>assistant\n"


class QwenText(LanguageText):
    """`prefix` and `query` are the instructions for documents and queries."""

    pools = ("last",)

    def default_pool(self) -> str:
        return "last"

    def preparation(self) -> ReadText:
        return ReadText(*_chat(self.options.prefix or _INSTRUCTION), clean=self.options.clean)

    def query_preparation(self) -> ReadText:
        return ReadText(*_chat(self.options.query or _QUERY), clean=self.options.clean)


class QwenPictures(LanguagePictures):
    pools = ("last",)
    processor = "Qwen2VLImageProcessorPil"
    text_tower = QwenText

    def look(self, model: nn.Module, patches: dict[str, Tensor]) -> Float[Tensor, "t d"]:
        grid_T3 = patches["image_grid_thw"]
        merge, marks = int(self.whole.vision_config.spatial_merge_size), self.whole
        count = int(grid_T3[0].prod()) // merge**2
        before, after = (self.text.tokenizer(t, add_special_tokens=False)["input_ids"] for t in _chat(_INSTRUCTION))
        body = [marks.vision_start_token_id, *[marks.image_token_id] * count, marks.vision_end_token_id]
        tokens_L = torch.tensor(self.around([*before, *body, *after]), device=grid_T3.device)
        kinds_TL = (tokens_L == marks.image_token_id).int().expand(len(grid_T3), -1)
        media = {"pixel_values": patches["pixel_values"].float(), "image_grid_thw": grid_T3}
        return self.vectors(model, tokens_L, len(grid_T3), mm_token_type_ids=kinds_TL, **media)
