"""Any transformers model as an encoder: 'hub:FOLDER' or 'hub:OWNER/NAME', with options after '#'.

A model is known by its type, or else by the input of its forward pass; `hub_towers` (texts), `hub_video`, `hub_audio`
and `hub_language` hold what is particular to a family.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from seehear.encoders import hub_audio, hub_language, hub_towers, hub_video
from seehear.encoders.base import read_options
from seehear.encoders.hub_towers import HubOptions, HubTower
from seehear.encoders.weights import model_folder, refuse_custom_code
from seehear.errors import SeehearError, require, unknown

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


def load_hub_encoder(base: str, given: dict[str, str], *, modality: str | None = None) -> HubTower:
    options = read_options(HubOptions, base, given)
    folder, config, towers = _known(base)
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
    return tower(base, folder, config, options)


def hub_modalities(base: str) -> tuple[str, ...]:
    """Modalities that a model has towers for."""
    return tuple(_known(base)[2])


def _known(base: str) -> tuple[Path, Any, dict[str, type[HubTower]]]:
    """(folder, configuration, towers by modality) of a model."""
    folder, transformers = model_folder(base.removeprefix("hub:")), require("transformers", "hub")
    refuse_custom_code(folder)
    try:
        # Folders are whole by now, so the hub is not asked; code that comes with one is never run.
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise SeehearError(f"{folder} is no model that transformers can read: {str(error).splitlines()[0]}") from error
    if config.model_type in FAMILIES:
        # Each is None in folders that were made without that tower.
        parts = {"video": "vision_config", "audio": "audio_config"}
        family = FAMILIES[config.model_type]
        towers = {t.modality: t for t in family if getattr(config, parts.get(t.modality, ""), config) is not None}
        return folder, config, towers
    kind = transformers.MODEL_MAPPING.get(type(config), None)
    # A type may have several models; without a hint AutoModel takes the first, too.
    kind = kind[0] if isinstance(kind, tuple) else kind
    takes = getattr(kind, "main_input_name", "")
    if takes not in BY_INPUT:
        raise SeehearError(f"{base!r} is a {config.model_type} model, which seehear does not know how to feed")
    return folder, config, {BY_INPUT[takes].modality: BY_INPUT[takes]}
