"""Any transformers model as an encoder: 'hub:FOLDER' or 'hub:OWNER/NAME', with options after '#'.

A model is known by its type, or else by the input of its forward pass; `hub_towers` (texts), `hub_video`, `hub_audio`
and `hub_language` hold what is particular to a family. Weights are read with the first batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from seehear.encoders import hub_audio, hub_language, hub_towers, hub_video
from seehear.encoders.base import Sample, SampleVectors, full_name, read_options
from seehear.encoders.frozen import FrozenEncoder, like_runs, pool_time, pooled_width, stacked, with_frames
from seehear.encoders.hub_towers import HubOptions, HubTower
from seehear.encoders.weights import fingerprint, model_folder, refuse_custom_code, weights_hash
from seehear.errors import SeehearError, require, unknown
from seehear.types import Tensor

Towers = tuple[type[HubTower], ...]
_CLIP: Towers = (hub_video.ClipPictures, hub_towers.ClipText)
_PE_SOUNDS, _PE_FILMS, _PE_TEXT = hub_language.PeSounds, hub_language.PeFilms, hub_language.PeText
FAMILIES: dict[str, Towers] = {
    "clip": _CLIP,
    "metaclip_2": _CLIP,
    "siglip": (hub_video.SiglipPictures, hub_towers.SiglipText),
    "siglip2": (hub_video.NaflexPictures, hub_towers.SiglipText),
    "siglip_vision_model": (hub_video.SiglipPictures,),
    "videomae": (hub_video.FilmTower,),
    "vivit": (hub_video.Vivit,),
    "vjepa2": (hub_video.Vjepa2,),
    "clap": (hub_audio.ClapSounds, hub_towers.ClipText),
    "audio-spectrogram-transformer": (hub_audio.SpectrogramTower,),
    "whisper": (hub_audio.WhisperSounds,),
    "t5": (hub_towers.T5Text,),
    "mt5": (hub_towers.T5Text,),
    "umt5": (hub_towers.T5Text,),
    "embedding_gemma2": (hub_language.GemmaPictures, hub_language.GemmaSounds, hub_language.GemmaText),
    "qwen3_vl": (hub_language.QwenPictures, hub_language.QwenText),
    "pe_audio": (_PE_SOUNDS, _PE_TEXT),
    "pe_video": (_PE_FILMS, _PE_TEXT),
    "pe_audio_video": (_PE_SOUNDS, _PE_TEXT, _PE_FILMS),
}
"""Towers by `model_type`. All other models go by their input."""
BY_INPUT: dict[str, type[HubTower]] = {
    "pixel_values": hub_video.PictureTower,
    "input_values": hub_audio.WaveTower,
    "input_ids": hub_towers.TextTower,
}
# Parts of the names of weights that may be missing from a folder: they are not used.
_MAY_MISS = ("pooler", "masked_spec_embed", "position_ids", "mask_token", "predictor", "decoder", "logit_scale")


def load_hub_encoder(base: str, given: dict[str, str], *, modality: str | None = None) -> HubEncoder:
    options = read_options(HubOptions, base, given)
    folder = model_folder(base.removeprefix("hub:"))
    refuse_custom_code(folder)
    config = _config(folder)
    towers = _towers(config, base)
    chosen = options.modality or modality or (next(iter(towers)) if len(towers) == 1 else "")
    if chosen not in towers:
        kinds = ", ".join(f"#modality={m}" for m in towers)
        asked = f"not {chosen}" if chosen else "and the name must say which"
        raise SeehearError(f"{base!r} ({config.model_type}) encodes {' and '.join(towers)}, {asked}: add {kinds}")
    tower = towers[chosen]
    general = {"modality", "layer", "pool"}
    # A name that leaves the modality open has options for all of the model's towers; each takes its own.
    others = set().union(*(t.uses for t in towers.values())) if "modality" not in given else set()
    for name in given.keys() - general:
        if name in others - set(tower.uses):
            options = replace(options, **{name: getattr(HubOptions(), name)})
        elif name not in tower.uses:
            raise unknown(f"option of {chosen} encoder {base!r}:", name, general | set(tower.uses))
    # A modality that could be no other is no part of the name.
    options = replace(options, modality=chosen if len(towers) > 1 else "")
    return HubEncoder(base, tower(folder, config, options), options)


def hub_modalities(base: str) -> tuple[str, ...]:
    """Modalities that a model has towers for."""
    folder = model_folder(base.removeprefix("hub:"))
    refuse_custom_code(folder)
    return tuple(_towers(_config(folder), base))


def _config(folder: Path) -> Any:
    transformers = require("transformers", "hub")
    try:
        # Folders are whole by now, so the hub is not asked; code that comes with one is never run.
        return transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise SeehearError(f"{folder} is no model that transformers can read: {str(error).splitlines()[0]}") from error


def _towers(config: Any, base: str) -> dict[str, type[HubTower]]:
    if config.model_type in FAMILIES:
        # Each is None in folders that were made without that tower.
        parts = {"video": "vision_config", "audio": "audio_config"}
        family = FAMILIES[config.model_type]
        return {t.modality: t for t in family if getattr(config, parts.get(t.modality, ""), config) is not None}
    transformers = require("transformers", "hub")
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    # A type may have several models; without a hint AutoModel takes the first, too.
    kind = kind[0] if isinstance(kind, tuple) else kind
    takes = getattr(kind, "main_input_name", "")
    if takes not in BY_INPUT:
        raise SeehearError(f"{base!r} is a {config.model_type} model, which seehear does not know how to feed")
    return {BY_INPUT[takes].modality: BY_INPUT[takes]}


class HubEncoder(FrozenEncoder):
    no_graph = "it is a model of transformers, which the package optimum exports"

    def __init__(self, base: str, tower: HubTower, options: HubOptions):
        self.tower, self.options = tower, options
        self.name, self.modality = full_name(base, options), tower.modality
        self.width = pooled_width(options.time, tower.width())
        settings = options.for_fingerprint() | {"pool": tower.pool}
        # Latents are of documents.
        del settings["query"]
        # 2: the folder's prompt for documents is put before them. Fingerprints without one must stay.
        rules = 2 if tower.has_prompt() else 1
        self.fingerprint = fingerprint(weights=weights_hash(tower.folder), rules=rules, **settings)

    def preparation(self) -> Callable[[Sample], Any]:
        return self.tower.preparation()

    def query_preparation(self) -> Callable[[Sample], Any]:
        return self.tower.query_preparation()

    def load(self) -> nn.Module:
        transformers = require("transformers", "hub")
        with _quiet(transformers):
            try:
                model, info = transformers.AutoModel.from_pretrained(
                    self.tower.folder,
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
            steps = self.tower.steps(network, prepared, self.device)
        return stacked(pool_time(x_TD.float(), self.options.time) for x_TD in steps)

    def encode_parts(self, prepared: Sequence[Any]) -> list[SampleVectors]:
        # Pooled otherwise than by the mean, a clip is not comparable with one of its frames.
        if not self.tower.by_frame or self.width != self.tower.width():
            return super().encode_parts(prepared)
        with torch.inference_mode(), _precision(self.device):
            steps = [x_TD.float().cpu() for x_TD in self.tower.steps(self.network, prepared, self.device)]
        parts = []
        for frames_THWC, x_TD in zip(prepared, steps, strict=True):
            runs_T = like_runs(frames_THWC)
            firsts = np.unique(runs_T, return_index=True)[1]
            parts.append(with_frames(pool_time(x_TD, self.options.time), x_TD[firsts], runs_T))
        return parts


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
