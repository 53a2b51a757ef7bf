"""Tiny transformers models with random weights, one of every family that seehear knows, saved as users have them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

MEAN, STD = [0.48, 0.45, 0.40], [0.26, 0.26, 0.27]
TEXT = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 3, "num_attention_heads": 4, "vocab_size": 40}
PICTURE = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 3, "num_attention_heads": 4}
WAVE = {
    **{"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 37},
    **{"conv_dim": (16, 16, 16), "conv_kernel": (10, 3, 3), "conv_stride": (5, 8, 8), "num_feat_extract_layers": 3},
    **{"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2},
}
CLAP_AUDIO = {
    **{"spec_size": 256, "num_mel_bins": 64, "hidden_size": 32, "patch_embeds_hidden_size": 16, "depths": [1, 1]},
    **{"num_attention_heads": [2, 2], "window_size": 8, "projection_dim": 24, "patch_size": 16, "num_hidden_layers": 2},
    **{"patch_stride": [16, 16]},
}
PE_PART = {"num_hidden_layers": 1, "num_attention_heads": 4, "head_dim": 8, "hidden_size": 32, "intermediate_size": 37}


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "a", "dog", "barks", "loudly", "in", "the", "rain", "query:"]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    marks = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **marks).save_pretrained(folder)


def write_pictures(folder: Path, size: dict[str, int] | int, crop: int | None = None) -> None:
    said = {"do_resize": True, "size": size, "resample": 3, "do_rescale": True, "rescale_factor": 1 / 255}
    said |= {"do_normalize": True, "image_mean": MEAN, "image_std": STD}
    if crop:
        said |= {"do_center_crop": True, "crop_size": {"height": crop, "width": crop}}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))


def _clip(folder: Path):
    from transformers import CLIPConfig, CLIPModel

    write_tokenizer(folder)
    write_pictures(folder, {"shortest_edge": 32}, crop=30)
    text = TEXT | {"max_position_embeddings": 20, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 1}
    vision = PICTURE | {"image_size": 30, "patch_size": 10}
    return CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))


def _siglip(folder: Path):
    from transformers import SiglipConfig, SiglipModel

    write_tokenizer(folder)
    write_pictures(folder, {"height": 30, "width": 30})
    text = TEXT | {"max_position_embeddings": 16, "projection_size": 32}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=PICTURE | {"image_size": 30, "patch_size": 10}))


def _siglip2(folder: Path):
    from transformers import Siglip2Config, Siglip2Model

    write_tokenizer(folder)
    write_pictures(folder, {"height": 32, "width": 32})
    text = TEXT | {"max_position_embeddings": 16, "projection_size": 32}
    return Siglip2Model(Siglip2Config(text_config=text, vision_config=PICTURE | {"patch_size": 8, "num_patches": 16}))


def _dinov2(folder: Path):
    from transformers import Dinov2WithRegistersConfig, Dinov2WithRegistersModel

    write_pictures(folder, {"shortest_edge": 32}, crop=28)
    return Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**PICTURE, image_size=28, patch_size=14))


def _dinov3(folder: Path):
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    write_pictures(folder, {"height": 32, "width": 32})
    return DINOv3ViTModel(DINOv3ViTConfig(**PICTURE, image_size=32, patch_size=16, num_register_tokens=2))


def _vit(folder: Path):
    from transformers import ViTConfig, ViTModel

    write_pictures(folder, 30)
    return ViTModel(ViTConfig(**PICTURE, image_size=30, patch_size=10))


def _videomae(folder: Path):
    from transformers import VideoMAEConfig, VideoMAEModel

    write_pictures(folder, {"shortest_edge": 30}, crop=30)
    return VideoMAEModel(VideoMAEConfig(**PICTURE, image_size=30, patch_size=10, num_frames=4, tubelet_size=2))


def _vivit(folder: Path):
    from transformers import VivitConfig, VivitModel

    write_pictures(folder, {"shortest_edge": 32}, crop=32)
    return VivitModel(VivitConfig(**PICTURE, image_size=32, num_frames=4, tubelet_size=[2, 16, 16]))


def _vjepa2(folder: Path):
    from transformers import VJEPA2Config, VJEPA2Model

    write_pictures(folder, {"shortest_edge": 36}, crop=32)
    sizes = {k: v for k, v in PICTURE.items() if k != "intermediate_size"}
    small = {"pred_hidden_size": 24, "pred_num_attention_heads": 4, "pred_num_hidden_layers": 1}
    return VJEPA2Model(VJEPA2Config(**sizes, **small, crop_size=32, patch_size=16, frames_per_clip=8))


def _clap(folder: Path):
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    write_tokenizer(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    text = TEXT | {"max_position_embeddings": 40}
    return ClapModel(ClapConfig(text_config=text, audio_config=CLAP_AUDIO, projection_dim=24))


def _ast(folder: Path):
    from transformers import ASTConfig, ASTFeatureExtractor, ASTModel

    ASTFeatureExtractor(num_mel_bins=32, max_length=128).save_pretrained(folder)
    return ASTModel(ASTConfig(**PICTURE, max_length=128, num_mel_bins=32))


def _whisper(folder: Path):
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    WhisperFeatureExtractor(chunk_length=2).save_pretrained(folder)
    sizes = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 37}
    sizes |= {"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 37, "max_source_positions": 100}
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return WhisperModel(WhisperConfig(**sizes, **marks, vocab_size=40))


def _wav2vec2(folder: Path):
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2Model

    Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return Wav2Vec2Model(Wav2Vec2Config(**WAVE))


def _hubert(folder: Path):
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(folder)
    return HubertModel(HubertConfig(**WAVE))


def _bert(folder: Path):
    from transformers import BertConfig, BertModel

    write_tokenizer(folder)
    return BertModel(BertConfig(**TEXT, max_position_embeddings=24))


def _t5(folder: Path):
    from transformers import T5Config, T5Model

    write_tokenizer(folder)
    sizes = {"d_model": 32, "d_kv": 8, "d_ff": 37, "num_layers": 3, "num_heads": 4, "vocab_size": 40}
    return T5Model(T5Config(**sizes, decoder_start_token_id=0))


def _pe_text() -> dict[str, Any]:
    from transformers import ModernBertConfig

    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}
    return ModernBertConfig(**TEXT, **marks).to_dict()


def _pe_audio(folder: Path):
    from transformers import PeAudioConfig, PeAudioModel

    write_tokenizer(folder)
    (folder / "processor_config.json").write_text(
        json.dumps({"feature_extractor": {"sampling_rate": 48_000, "hop_length": 64}})
    )
    dac = {"encoder_hidden_size": 8, "downsampling_ratios": [4, 4, 4], "codebook_dim": 16, "hidden_size": 64}
    audio = {**PE_PART, "dac_config": {"model_type": "dac", **dac}}
    return PeAudioModel(PeAudioConfig(text_config=_pe_text(), audio_config=audio))


def pe_video(folder: Path):
    """In memory only: saved, its picture part must be a timm model."""
    from transformers import PeVideoConfig, PeVideoModel, ViTConfig
    from transformers.models.pe_video import PeVideoEncoderConfig

    write_tokenizer(folder)
    picture = {"size": {"height": 30, "width": 30}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "processor_config.json").write_text(json.dumps({"video_processor": picture}))
    vision = ViTConfig(**PICTURE, image_size=30, patch_size=10, num_labels=16)
    config = PeVideoConfig(text_config=_pe_text(), video_config=PeVideoEncoderConfig(**PE_PART, vision_config=vision))
    return PeVideoModel(config)


def _qwen3_vl(folder: Path):
    from transformers import Qwen3VLConfig, Qwen3VLModel

    write_tokenizer(folder)
    picture = {"size": {"shortest_edge": 1024, "longest_edge": 4096}, "patch_size": 8, "temporal_patch_size": 2}
    picture |= {"merge_size": 2, "image_mean": MEAN, "image_std": STD}
    (folder / "preprocessor_config.json").write_text(json.dumps(picture))
    text = TEXT | {"num_key_value_heads": 2, "head_dim": 16, "pad_token_id": 0}
    text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10_000.0}}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 37, "num_heads": 4, "patch_size": 8}
    vision |= {"out_hidden_size": 32, "num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
    marks = {"image_token_id": 20, "video_token_id": 21, "vision_start_token_id": 22, "vision_end_token_id": 23}
    return Qwen3VLModel(Qwen3VLConfig(text_config=text, vision_config=vision, **marks))


def _embedding_gemma2(folder: Path):
    from transformers import EmbeddingGemma2Config, EmbeddingGemma2Model

    write_tokenizer(folder)
    sounds = {"feature_size": 128, "sampling_rate": 16_000}
    picture = {"patch_size": 4, "max_soft_tokens": 70, "pooling_kernel_size": 3}
    parts = {"feature_extractor": sounds, "image_processor": picture, "audio_seq_length": 25, "audio_ms_per_token": 40}
    (folder / "processor_config.json").write_text(json.dumps(parts))
    prompts = {"query": "query: ", "document": "the "}
    (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    text = TEXT | {"num_key_value_heads": 2, "head_dim": 8, "hidden_size_per_layer_input": 8, "embedding_dim": 24}
    text |= {"global_head_dim": 8, "num_global_key_value_heads": 1, "pad_token_id": 0, "bos_token_id": 1}
    vision = PICTURE | {"model_type": "gemma4_vision", "num_key_value_heads": 4, "head_dim": 8, "patch_size": 4}
    audio = {"model_type": "gemma4_audio", "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 4}
    audio |= {"subsampling_conv_channels": [128, 4], "output_proj_dims": 32}
    marks = {"image_token_id": 20, "video_token_id": 21, "boi_token_id": 22, "eoi_token_id": 23}
    marks |= {"audio_token_id": 24, "boa_token_id": 25, "eoa_token_index": 26}
    config = EmbeddingGemma2Config(text_config=text, vision_config=vision, audio_config=audio, **marks)
    return EmbeddingGemma2Model(config)


FAMILIES: dict[str, Callable[[Path], torch.nn.Module]] = {
    **{"clip": _clip, "siglip": _siglip, "siglip2": _siglip2, "dinov2": _dinov2, "dinov3": _dinov3, "vit": _vit},
    **{"videomae": _videomae, "vivit": _vivit, "vjepa2": _vjepa2, "clap": _clap, "ast": _ast, "whisper": _whisper},
    **{
        "wav2vec2": _wav2vec2,
        "hubert": _hubert,
        "bert": _bert,
        "t5": _t5,
        "pe_audio": _pe_audio,
        "qwen3_vl": _qwen3_vl,
        "embedding_gemma2": _embedding_gemma2,
    },
}


def make(family: str, folder: Path) -> Path:
    """A folder with weights (the same every time), configuration, preprocessing and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = FAMILIES[family](folder)
        with torch.no_grad():  # initial weights are so small that layers hardly differ
            for parameter in model.parameters():
                if parameter.dim() > 1:
                    parameter.normal_(std=0.15)
    model.save_pretrained(folder)
    return folder
