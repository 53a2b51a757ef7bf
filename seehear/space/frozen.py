"""The frozen spaces of a library: one for each joint encoder, and one for each single encoder, where like finds like.

    SharedSpace.from_pretrained("frozen:lib")              the joint one of a library
    SharedSpace.from_pretrained("frozen:lib#minilm")       a certain one
    SharedSpace.from_pretrained("frozen:hub:openai/clip-vit-base-patch32")     of a model, without a library
    SharedSpace.from_pretrained("frozen:strong")           of the model for words and pictures of a preset

An encoder's towers bear its name with an option after '#' (`hub:clip#modality=text`), and have one width: then they are
one space. A tower that only queries need, as that of words in a library without any text, is asked from the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seehear.encoders.presets import PRESETS
from seehear.encoders.registry import load_encoder
from seehear.errors import SeehearError, unknown
from seehear.library.tables import Library
from seehear.methods.frozen import Frozen, FrozenConfig
from seehear.types import MODALITIES, Modality

FROZEN = "frozen:"
Towers = dict[Modality, list[dict[str, Any]]]


def load_frozen(address: str) -> tuple[Frozen, Towers]:
    """(the method, its encoders) of 'frozen:LIBRARY', 'frozen:LIBRARY#NAME' or 'frozen:ENCODER'. No model is loaded
    before something is encoded."""
    rest = address.removeprefix(FROZEN)
    uri, _, name = rest.partition("#")
    if "://" in uri or Path(uri).is_dir():
        found = frozen_towers(Library.open(uri).encoders())
        if not found:
            raise SeehearError(f"{uri} has no latents: run 'seehear encode {uri}'")
        name = name or next(iter(found))
        if name not in found:
            raise unknown("frozen space", name, found)
        towers = found[name]
    else:
        towers = _towers_of(_of_preset(rest))
    return frozen_method(towers), towers


def frozen_method(towers: Towers) -> Frozen:
    return Frozen(FrozenConfig(widths={m: infos[0]["width"] for m, infos in towers.items()}))


def frozen_towers(encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Towers]:
    """{name of a space: {modality: [encoder]}} of `Library.encoders`, joint ones first. Sequences (words, spectrograms)
    and the towers of trained runs are no frozen vectors."""
    usable = {n: about for n, about in encoders.items() if not about.get("shape") and not about.get("of_run")}
    bases: dict[tuple[str, int], Towers] = {}
    for name, about in sorted(usable.items()):
        info = {"name": name, "fingerprint": about["fingerprint"], "width": about["width"]}
        bases.setdefault((name.split("#")[0], about["width"]), {}).setdefault(about["modality"], []).append(info)
    joint: dict[str, Towers] = {}
    single: dict[str, Towers] = {}
    for (base, width), towers in bases.items():
        # Two versions of one tower are two encoders: they cannot both be compared with the other towers.
        own = {m: infos[:1] for m, infos in towers.items()}
        if "text" not in own and (words := _words_tower(base, width)):
            own["text"] = [words]
        rest = [(m, info) for m, infos in towers.items() for info in (infos if len(own) == 1 else infos[1:])]
        single |= {info["name"]: {m: [info]} for m, info in rest}
        if len(own) > 1:
            joint[base] = {m: own[m] for m in MODALITIES if m in own}
    return joint | single


def joint_towers(library: Library, name: str = "") -> Towers:
    """The towers of a joint encoder that the library has latents of: the one called `name`, or the first that leaves
    a modality of the library to others."""
    known = library.encoders()
    spaces = {n: towers for n, towers in frozen_towers(known).items() if len(towers) > 1}
    if name and name not in spaces:
        raise unknown("joint encoder", name, spaces)
    there = {info["modality"] for info in known.values()}
    found = [towers for n, towers in spaces.items() if name in ("", n) and not there <= set(towers)]
    if not found:
        has = ", ".join(m for m in MODALITIES if m in there)
        raise SeehearError(
            f"{library.uri} has latents of {has}, and no joint encoder that leaves one of them to be bound: "
            f"run 'seehear encode {library.uri}', or train fusemix"
        )
    return found[0]


def _words_tower(base: str, width: int) -> dict[str, Any] | None:
    """The tower for words of a model that has one: a library without text has no latents of it."""
    try:
        info = _tower(base, "text")
    except SeehearError:  # the encoder reads no text, or is not at hand here: then the space goes without words
        return None
    return info if info["width"] == width else None


def _of_preset(name: str) -> str:
    """The encoder that gives words and pictures one space in a preset; another name as it is."""
    return next((e.name for e in PRESETS.get(name, ()) if {"video", "text"} <= set(e.modalities)), name)


def _towers_of(name: str) -> Towers:
    towers: Towers = {}
    problem: SeehearError | None = None
    for m in MODALITIES:
        try:
            towers[m] = [_tower(name, m)]
        except SeehearError as error:
            problem = error
    if not towers and problem:
        raise problem
    return towers


def _tower(name: str, modality: Modality) -> dict[str, Any]:
    encoder = load_encoder(name, modality=modality)
    return {"name": encoder.name, "fingerprint": encoder.fingerprint, "width": encoder.width}
