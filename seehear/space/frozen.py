"""Frozen spaces of a library: one for each joint encoder, and one of a single modality for each other encoder.

    SharedSpace.from_pretrained("frozen:lib")              the joint space of a library
    SharedSpace.from_pretrained("frozen:lib#minilm")       a named one
    SharedSpace.from_pretrained("frozen:hub:openai/clip-vit-base-patch32")     of a model, without a library
    SharedSpace.from_pretrained("frozen:strong")           of the model for words and pictures of a preset

Encoders of one name (before '#', as in `hub:clip#modality=text`) and one width are towers of one space. A tower that
only queries need, such as that of words in a library without text, is loaded from the encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from seehear.encoders.registry import PRESETS, load_encoder, towers_of
from seehear.errors import SeehearError, near, unknown
from seehear.library.tables import LibraryTables
from seehear.methods.base import Frozen, FrozenConfig
from seehear.types import MODALITIES, Modality

FROZEN = "frozen:"
Towers = dict[Modality, list[dict[str, Any]]]


def load_frozen(address: str) -> tuple[Frozen, Towers]:
    """(method, its encoders) of 'frozen:LIBRARY', 'frozen:LIBRARY#NAME' or 'frozen:ENCODER'. Models are loaded when
    something is encoded."""
    rest = address.removeprefix(FROZEN)
    uri, _, name = rest.partition("#")
    if "://" in uri or Path(uri).is_dir():
        spaces = frozen_towers(LibraryTables.open(uri).encoders())
        if not spaces:
            raise SeehearError(f"{uri} has no latents: run 'seehear encode {uri}'")
        name = name or next(iter(spaces))
        if name not in spaces:
            raise unknown("frozen space", name, spaces)
        return frozen_method(spaces[name]), spaces[name]
    # In a preset, the encoder of both words and pictures.
    encoder = next((e.name for e in PRESETS.get(rest, ()) if {"video", "text"} <= set(e.modalities)), rest)
    towers: Towers = {}
    problem: SeehearError | None = None
    # An encoder need not have a tower for every modality: only none at all is an error.
    for m in MODALITIES:
        try:
            towers[m] = [_tower(encoder, m)]
        except SeehearError as error:
            problem = error
    if not towers and problem:
        if str(problem).startswith("unknown encoder"):
            raise SeehearError(f"no library at {rest}{near(uri)}, and {problem}") from problem
        raise problem
    return frozen_method(towers), towers


def frozen_method(towers: Towers) -> Frozen:
    """Method that keeps latents as they are."""
    return Frozen(FrozenConfig(widths={m: infos[0]["width"] for m, infos in towers.items()}))


def frozen_towers(encoders: Mapping[str, Mapping[str, Any]]) -> dict[str, Towers]:
    """Towers of each frozen space by its name, joint spaces first. `encoders`: those of `Library.encoders`."""
    # Sequences (words, spectrograms) and towers of trained runs are no frozen vectors.
    usable = {n: about for n, about in encoders.items() if not about.get("shape") and not about.get("of_run")}
    bases: dict[tuple[str, int], Towers] = {}
    # Sorted, so that of two versions of a tower the same one is taken in every process.
    for name, about in sorted(usable.items()):
        info = {"name": name, "fingerprint": about["fingerprint"], "width": about["width"]}
        bases.setdefault((name.split("#")[0], about["width"]), {}).setdefault(about["modality"], []).append(info)
    joint: dict[str, Towers] = {}
    single: dict[str, Towers] = {}
    for (base, width), towers in bases.items():
        # Of two versions of one tower, only one can be compared with the other towers.
        own = {m: infos[:1] for m, infos in towers.items()}
        if "text" not in own:
            # A library without text has no latents of the tower for words.
            try:
                # Asked first: loading an encoder only to learn that it reads no text takes time.
                words = [_tower(base, "text")] if "text" in towers_of(base) else []
                own |= {"text": words} if words and words[0]["width"] == width else {}
            except SeehearError:
                # The encoder is not installed, or not at hand: a space without words.
                pass
        rest = [(m, info) for m, infos in towers.items() for info in (infos if len(own) == 1 else infos[1:])]
        single |= {info["name"]: {m: [info]} for m, info in rest}
        if len(own) > 1:
            joint[base] = {m: own[m] for m in MODALITIES if m in own}
    return joint | single


def joint_towers(library: LibraryTables, name: str = "") -> Towers:
    """Towers of a joint encoder that lacks a modality of the library: the one called `name`, or the first."""
    known = library.encoders()
    spaces = {n: towers for n, towers in frozen_towers(known).items() if len(towers) > 1}
    if name and name not in spaces:
        raise unknown("joint encoder", name, spaces)
    # A joint encoder of all modalities leaves nothing to be bound.
    present = {info["modality"] for info in known.values()}
    partial = [towers for n, towers in spaces.items() if name in ("", n) and not present <= set(towers)]
    if not partial:
        has = ", ".join(m for m in MODALITIES if m in present)
        raise SeehearError(
            f"{library.uri} has latents of {has}, and no joint encoder that leaves one of them to be bound: "
            f"run 'seehear encode {library.uri}', or train fusemix"
        )
    return partial[0]


def _tower(name: str, modality: Modality) -> dict[str, Any]:
    encoder = load_encoder(name, modality=modality)
    return {"name": encoder.name, "fingerprint": encoder.fingerprint, "width": encoder.width}
