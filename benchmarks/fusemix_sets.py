"""The data sets that FuseMix is shown on: read, encoded once, and split in memory by group and seed.

emoji      3D emoji with their names and tags: text <-> image
drawings   art4apps: English words and their drawings: text <-> image
words      art4apps: words spoken in English, Spanish, French, and as they are written: speech <-> text
three      art4apps: drawing, spoken word, English word: three modalities
esc10      sounds with the titles their authors gave them: sound <-> text; split by the official folds
grid-s1    one speaker's sentences: face, voice, words
"""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from seehear.inputs.latents import LatentData, load_latents
from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables

Row = dict[str, str]
COLUMNS = ("id", "video", "image", "audio", "texts", "labels", "group", "fold")
PICTURES, LARGE = "efficientnet-lite0", "efficientnet-lite0#size=224"
TEXT = "minilm"


@dataclass(frozen=True)
class DataSet:
    rows: Callable[[Path], Iterator[Row]]
    folder: str
    """Where its media are, in the folder of data."""
    encoders: dict[str, tuple[str, ...]]
    """By modality, those of every model."""
    more: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Those with other sizes, pools or encoders beside them, where that was tried: richer latents."""
    folds: int = 0
    """How many official folds its rows name: seed n then holds out fold n + 1."""


def table(path: Path) -> list[Row]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def emoji(folder: Path) -> Iterator[Row]:
    for r in table(folder / "metadata.csv"):
        texts = [r["text_en"], ", ".join([r["text_en"], *r["tags_en"].split("|")])]
        yield {"id": r["id"], "image": str(folder / r["image"]), "texts": json.dumps(texts), "group": r["id"]}


def drawings(folder: Path) -> Iterator[Row]:
    for r in table(folder / "metadata.csv"):
        words = {"texts": json.dumps([r["text_en"]]), "group": r["id"]}
        yield {"id": r["id"], "image": str(folder / r["image"])} | words


def words(folder: Path) -> Iterator[Row]:
    """A drawing's words in three languages are one group: they are never on both sides of a split."""
    for r in table(folder / "metadata.csv"):
        for language in ("en", "es", "fr"):
            if r[f"audio_{language}"] and r[f"text_{language}"]:
                said = {"audio": str(folder / r[f"audio_{language}"]), "texts": json.dumps([r[f"text_{language}"]])}
                yield {"id": f"{r['id']} {language}", "group": r["id"]} | said


def three(folder: Path) -> Iterator[Row]:
    for r in table(folder / "metadata.csv"):
        sound = r["audio_fr"] or r["audio_en"] or r["audio_es"]
        media = {"image": str(folder / r["image"]), "audio": str(folder / sound) if sound else ""}
        yield {"id": r["id"], "texts": json.dumps([r["text_en"]]), "group": r["id"]} | media


def esc10(folder: Path) -> Iterator[Row]:
    """The official folds 1 to 4, which keep a recording's clips together. A title without a word is left out."""
    for r in table(folder / "metadata.csv"):
        title = " ".join(re.findall(r"[a-z]+", Path(r["freesound_title"]).stem.lower().replace("_", " ")))
        sound = {"id": r["file"], "audio": str(folder / r["file"]), "group": r["freesound_url"], "fold": r["fold"]}
        yield sound | {"texts": json.dumps([title] if title else []), "labels": r["label"]}


def speech(folder: Path) -> Iterator[Row]:
    for r in table(folder / "metadata.csv"):
        yield {"id": r["id"], "video": str(folder / r["file"]), "texts": json.dumps([r["text"]]), "group": r["id"]}


_IMAGE = {"video": (PICTURES,), "text": (TEXT,)}
_LARGE = {"video": (PICTURES, LARGE)}
_SPOKEN, _SPOKEN_MORE = ("speech#pool=segments:4",), ("speech#pool=segments:4", "speech")
SETS: dict[str, DataSet] = {
    "emoji": DataSet(emoji, "emoji3d", _IMAGE),
    "drawings": DataSet(drawings, "art4apps", _IMAGE, _LARGE),
    "words": DataSet(words, "art4apps", {"audio": _SPOKEN, "text": (TEXT,)}),
    "three": DataSet(three, "art4apps", _IMAGE | {"audio": _SPOKEN}, _LARGE | {"audio": _SPOKEN_MORE}),
    "esc10": DataSet(esc10, "esc10", {"audio": ("aisfx",), "text": (TEXT,)}, folds=4),
    "grid-s1": DataSet(
        speech,
        "grid-s1",
        {"video": ("efficientnet-lite0#pool=segments:2",), "audio": ("speech#pool=segments:8",), "text": (TEXT,)},
    ),
}


def latents(name: str, data: Path, work: Path, *, more: bool = False) -> LatentData:
    """All of a set, encoded at the first call; later calls read a file."""
    own = SETS[name]
    path = work / f"{name}{'-more' if more else ''}.pt"
    if not path.exists():
        encoders = own.encoders | (own.more if more else {})
        torch.save(load_latents(library_of(name, data, work), encoders=encoders), path)
    # A file that this function wrote: the arrays of ids are Python objects, which the safe reader refuses.
    loaded: LatentData = torch.load(path, weights_only=False)
    return loaded


def library_of(name: str, data: Path, work: Path) -> LibraryTables:
    """The library of a set, made and encoded as far as it is not there."""
    own, folder = SETS[name], work / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(own.rows(data.resolve() / own.folder))
    prepare(folder / "manifest.csv", folder / "library", PrepareOptions(media=Path("/")))
    library = LibraryTables.open(folder / "library")
    encode_library(library, sorted({e for made in (own.encoders, own.more) for names in made.values() for e in names}))
    return library


def official_folds(name: str, data: Path) -> dict[str, str]:
    """Fold by clip id, of a set that has them."""
    return {row["id"]: row["fold"] for row in SETS[name].rows(data / SETS[name].folder)}


def split(data: LatentData, seed: int, *, folds: dict[str, str] | None = None) -> LatentData:
    """Train, val and test by group, 72 / 10 / 18; with official folds one is the test split, and of the rest an eighth
    of the groups validate. Validation and test clips have their first text alone."""
    drawn = {g: random.Random(f"{g} {seed}").random() for g in set(data.groups.tolist())}
    share = [drawn[g] for g in data.groups.tolist()]
    splits: list[str] | np.ndarray = split_of(data.groups.numpy(), seed)
    if folds is not None:
        held_out = str(seed + 1)
        splits = [
            "test" if folds[i] == held_out else "val" if s < 0.125 else "train"
            for i, s in zip(data.ids.tolist(), share, strict=True)
        ]
    rows = dict(data.rows)
    learned = torch.tensor([s == "train" for s in splits])
    texts = rows["text"]
    rows["text"] = replace(texts, count=torch.where(learned, texts.count, texts.count.clamp(max=1)))
    return LatentData(rows, ids=data.ids, splits=np.array(splits, dtype=object), groups=data.groups)


def split_of(groups: np.ndarray, seed: int) -> np.ndarray:
    """Of clips, by their group."""
    drawn = {g: random.Random(f"{g} {seed}").random() for g in set(groups.tolist())}
    share = [drawn[g] for g in groups.tolist()]
    return np.array(["train" if s < 0.72 else "val" if s < 0.82 else "test" for s in share], dtype=object)
