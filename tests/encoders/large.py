"""Random models of the size that the hub's have: only the tower that is measured, the rest as small as it may be."""

from __future__ import annotations

from pathlib import Path

from tests.encoders.tiny import TEXT, write_pictures, write_tokenizer


def _siglip(folder: Path):
    """So400m at 384 pixels: 428 million parameters."""
    from transformers import SiglipConfig, SiglipModel

    write_tokenizer(folder)
    write_pictures(folder, {"height": 384, "width": 384})
    vision = {"hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16}
    vision |= {"image_size": 384, "patch_size": 14}
    text = TEXT | {"max_position_embeddings": 16, "projection_size": 1152}
    return SiglipModel(SiglipConfig(text_config=text, vision_config=vision))


def _clap(folder: Path):
    """HTS-AT as in clap-htsat-unfused."""
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    write_tokenizer(folder)
    ClapFeatureExtractor(truncation="rand_trunc").save_pretrained(folder)
    return ClapModel(ClapConfig(text_config=TEXT | {"max_position_embeddings": 40}, audio_config={}))


def _whisper(folder: Path):
    """The encoder of large-v3: 637 million parameters, 30 s at a time."""
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperModel

    WhisperFeatureExtractor(feature_size=128).save_pretrained(folder)
    sizes = {"d_model": 1280, "encoder_layers": 32, "encoder_attention_heads": 20, "encoder_ffn_dim": 5120}
    sizes |= {"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 40, "num_mel_bins": 128}
    marks = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    return WhisperModel(WhisperConfig(**sizes, **marks, vocab_size=40))


def make(family: str, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    {"siglip": _siglip, "clap": _clap, "whisper": _whisper}[family](folder).save_pretrained(folder)
    return folder
