"""Towers of joint models: language models that read pictures and sounds as tokens (EmbeddingGemma 2,
Qwen3-VL-Embedding), and PE-AV.

For a language model every frame and every window of sound is one input, and one step. Pictures go through the model's
own processor, in its form without torchvision; the tokens around them are put together here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from seehear.encoders.base import ReadFrames, ReadText, Sample
from seehear.encoders.hub_audio import FeatureInput, Features, WaveInput
from seehear.encoders.hub_towers import HubTower, TextTower, optional_json, pool_tokens, read_settings
from seehear.encoders.hub_video import PictureInput
from seehear.errors import require
from seehear.media.files import VideoSpec
from seehear.types import Float, Int, Tensor

# Pixels of a frame's shorter side: of longer ones only the time grows, by its square.
_SIDE = 384
_INSTRUCTION = "Represent the user's input."
_QUERY = "Retrieve images or text relevant to the user's query."


@dataclass(frozen=True)
class _ReadPatches:
    """The window's frames through the model's own picture processor: patches in numpy."""

    reader: ReadFrames
    processor: Any

    def __call__(self, sample: Sample) -> Features:
        frames_THWC = self.reader(sample)
        return dict(self.processor(list(frames_THWC), return_tensors="np", input_data_format="channels_last"))


class _LanguageText(TextTower):
    """Texts of a language model that gives token vectors."""

    def part(self, model: Any) -> nn.Module:
        return model.language_model


class _LanguageMedia(HubTower):
    """A step is one input: tokens that stand for media, between those of the prompt, which are put around by hand."""

    config_part = "text_config"

    def vectors(
        self, model: nn.Module, tokens_L: Int[Tensor, " l"], count: int, **media: Tensor
    ) -> Float[Tensor, "n d"]:
        """`count` inputs of the same tokens with different media."""
        tokens_NL = tokens_L.expand(count, -1)
        output = model(input_ids=tokens_NL, attention_mask=torch.ones_like(tokens_NL), **media, **self.wants)
        return pool_tokens(self.states(output), self.pool)

    def around(self, body: Sequence[int]) -> Int[Tensor, " l"]:
        """A body of tokens between the special ones that the tokenizer puts around any text."""
        special = self.tokenizer("")["input_ids"]
        return torch.tensor([*special[:1], *body, *special[1:]], device=self.device)


class _LanguagePictures(_LanguageMedia):
    modality = "video"
    uses = ("frames", "time")
    processor: ClassVar[str]
    """Class of transformers."""

    def picture_settings(self) -> dict[str, Any]:
        return read_settings(self.folder, "image_processor")

    def preparation(self) -> _ReadPatches:
        spec = VideoSpec(num_frames=self.options.frames, size=_SIDE, fit="short", interpolation="bicubic")
        kind = getattr(require("transformers", "hub"), self.processor)
        return _ReadPatches(ReadFrames(spec=spec), kind.from_dict(self.picture_settings()))

    def steps(self, model: nn.Module, prepared: Sequence[Features]) -> Iterator[Tensor]:
        for patches in prepared:
            yield self.look(model, {name: torch.as_tensor(x, device=self.device) for name, x in patches.items()})

    def look(self, model: nn.Module, patches: dict[str, Tensor]) -> Float[Tensor, "t d"]:
        raise NotImplementedError


# -- EmbeddingGemma 2: the mean over all tokens ------------------------------------------------------------------------


class _Gemma(HubTower):
    pools: ClassVar[tuple[str, ...]] = ("mean",)

    def step_width(self) -> int:
        return int(self.config.embedding_dim if self.options.layer == -1 else self.config.hidden_size)


class GemmaText(_Gemma, _LanguageText):
    """Texts, with the folder's prompts."""


class GemmaPictures(_Gemma, _LanguagePictures):
    processor = "Gemma4ImageProcessorPil"

    def picture_settings(self) -> dict[str, Any]:
        """Frames have the budget of tokens that the folder gives to films."""
        film = read_settings(self.folder, "video_processor", "image_processor")
        return super().picture_settings() | {"max_soft_tokens": film.get("max_soft_tokens", 70)}

    def look(self, model: nn.Module, patches: dict[str, Tensor]) -> Float[Tensor, "t d"]:
        marks, count = self.whole, int(patches["num_soft_tokens_per_image"][0])
        body = [marks.boi_token_id, *[marks.image_token_id] * count, marks.eoi_token_id]
        pixels = patches["pixel_values"].float()
        tokens_L = self.around(body)
        media = {"pixel_values": pixels, "image_position_ids": patches["image_position_ids"]}
        return self.vectors(model, tokens_L, len(pixels), **media)


class GemmaSounds(_Gemma, _LanguageMedia, FeatureInput):
    """Windows as long as the model takes, 11 s in the published one."""

    extractor = "Gemma4AudioFeatureExtractor"

    def seconds(self) -> float:
        joint = optional_json(self.folder / "processor_config.json")
        # As many tokens as the processor allows, of so many milliseconds each: 11.2 s by default.
        return joint.get("audio_seq_length", 280) * joint.get("audio_ms_per_token", 40) / 1000

    def steps(self, model: nn.Module, prepared: Sequence[Features]) -> Iterator[Tensor]:
        marks = self.whole
        for features in prepared:
            heard_WF = torch.as_tensor(np.asarray(features["input_features_mask"]), device=self.device).bool()
            # Windows of one sound are of one length.
            count = int(heard_WF[0].sum())
            # The encoder has two convolutions of stride 2.
            for _ in range(2):
                count = math.ceil(count / 2)
            body = [marks.boa_token_id, *[marks.audio_token_id] * count, marks.eoa_token_index]
            tokens_L = self.around(body)
            mel_WFB = torch.as_tensor(np.asarray(features["input_features"]), device=self.device).float()
            media = {"input_features": mel_WFB, "input_features_mask": heard_WF}
            yield self.vectors(model, tokens_L, len(heard_WF), **media)


# -- Qwen3-VL-Embedding: the last token of a chat ----------------------------------------------------------------------


def _chat(instruction: str) -> tuple[str, str]:
    """Text before and after the input, as the model was trained."""
    before = f"<|im_start|>system\n{instruction}<|im_end|>\n<|im_start|>user\n"
    return before, "<|im_end|>\n<|im_start|>assistant\n"


class QwenText(_LanguageText):
    """`prefix` and `query` are the instructions for documents and queries."""

    pools = ("last",)

    def default_pool(self) -> str:
        return "last"

    def preparation(self) -> ReadText:
        return ReadText(*_chat(self.options.prefix or _INSTRUCTION), clean=self.options.clean)

    def query_preparation(self) -> ReadText:
        return ReadText(*_chat(self.options.query or _QUERY), clean=self.options.clean)


class QwenPictures(_LanguagePictures):
    pools = ("last",)
    processor = "Qwen2VLImageProcessorPil"

    def look(self, model: nn.Module, patches: dict[str, Tensor]) -> Float[Tensor, "t d"]:
        grid_T3 = patches["image_grid_thw"]
        merge, marks = int(self.whole.vision_config.spatial_merge_size), self.whole
        # The vision tower merges squares of patches into one token each.
        count = int(grid_T3[0].prod()) // merge**2
        before, after = (self.tokenizer(t, add_special_tokens=False)["input_ids"] for t in _chat(_INSTRUCTION))
        body = [marks.vision_start_token_id, *[marks.image_token_id] * count, marks.vision_end_token_id]
        tokens_L = self.around([*before, *body, *after])
        # Tokens of a picture have positions in two dimensions: the model must know which they are.
        kinds_TL = (tokens_L == marks.image_token_id).int().expand(len(grid_T3), -1)
        media = {"pixel_values": patches["pixel_values"].float(), "image_grid_thw": grid_T3}
        return self.vectors(model, tokens_L, len(grid_T3), mm_token_type_ids=kinds_TL, **media)


# -- PE-AV: Meta's Perception Encoder for sound, film and text in one space --------------------------------------------


class _PeMedia(HubTower):
    """Sound or film; `projected` is the vector in the space shared with text."""

    pools = ("projected", "mean")

    def own_config(self, config: Any) -> Any:
        return getattr(getattr(config, "audio_video_config", config), f"{self.modality}_config")

    def step_width(self) -> int:
        return int(self.whole.text_config.hidden_size if self.pool == "projected" else self.config.hidden_size)

    def step(self, model: nn.Module, **inputs: Tensor) -> Tensor:
        side: Any = getattr(model, f"{self.modality}_model", model)
        output = getattr(side, f"{self.modality}_encoder")(**inputs, **self.wants)
        if self.pool == "projected":
            return getattr(side, f"{self.modality}_head")(output.pooler_output)
        return self.states(output).mean(1)


class PeSounds(_PeMedia, WaveInput):
    """Windows of sound, one step each."""

    usual = 48_000

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray]) -> Iterator[Tensor]:
        for waveform_S in prepared:
            windows_WS = self.cut(waveform_S)
            short = -windows_WS.shape[1] % int(self.settings.get("hop_length", 1920))
            padded = np.pad(windows_WS, ((0, 0), (0, short)), "reflect" if windows_WS.shape[1] > short else "constant")
            yield self.step(model, input_values=torch.from_numpy(padded).to(self.device)[:, None])


class PeFilms(_PeMedia, PictureInput):
    """A film, one step. The published weights hold a timm model: timm must be installed."""

    uses = ("frames",)

    def steps(self, model: nn.Module, prepared: Sequence[np.ndarray]) -> Iterator[Tensor]:
        for frames_THWC in prepared:
            pixels_TCHW = self.settings.normalised(torch.from_numpy(frames_THWC).to(self.device))
            yield self.step(model, pixel_values_videos=pixels_TCHW[None])


class PeText(TextTower):
    """`projected` lies in the space of sound and film together, or of the one that the model has."""

    pools = ("projected", "mean", "cls")

    def read(self, model: Any, tokens_BL: Tensor, seen_BL: Tensor) -> Tensor:
        if self.pool != "projected":
            return super().read(model, tokens_BL, seen_BL)
        output = model.text_model(input_ids=tokens_BL, attention_mask=seen_BL.long(), output_hidden_states=True)
        heads = ("text_audio_video_head", "text_audio_head", "text_video_head")
        head = next(getattr(model, name) for name in heads if hasattr(model, name))
        return head(output.hidden_states[-1][:, 0])
