"""Small films with labels, and a VATT that reads them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch

from seehear.library.tables import LibraryTables
from seehear.methods.vatt import VATT, VATTConfig
from seehear.nn.transformer import Size
from tests.inputs.raw_library import clip, library
from tests.library.makers import film

SIZE = Size(layers=2, width=16, hidden=32, heads=2)


def vatt(**changed) -> VATT:
    """For clips of `raw_library.TINY`: 4 frames of 16 pixels, 6,400 samples."""
    torch.manual_seed(0)
    given = {"video": SIZE, "audio": SIZE, "text": SIZE, "frames": (4, 16, 16), "patch": (2, 8, 8), "samples": 6400}
    given |= {"sound_patch": 640, "rate": 8000, "vocabulary": 40, "word_width": 8, "words": 4, "dim": 8, "dropout": 0.0}
    return VATT(VATTConfig(**(given | changed)))


def films(folder: Path, count: int, *, silent: tuple[int, ...] = (), splits: tuple[str, ...] = ()) -> LibraryTables:
    """Of 4 s each, in recordings of their own; of two kinds, by a column."""
    clips, one = [], film(folder / "clip0.mp4", gop=100)
    for n in range(count):
        if n:
            shutil.copy(one, folder / f"clip{n}.mp4")
        split = splits[n] if splits else "train"
        clips.append(clip(f"clip{n}", has_audio=n not in silent, split=split, meta={"kind": "ab"[n % 2]}))
    return library(folder, folder, clips)


def pictures(folder: Path, counts: dict[str, int], *, several: bool = False) -> LibraryTables:
    """Stills, half of them red and half blue, in recordings of their own; `counts` of each split. Labelled by a column,
    'colour', and among the labels by 'colour=red'; `several`: every second one is 'loud' as well."""
    from PIL import Image

    clips, draws = [], np.random.default_rng(0)
    for n, split in enumerate(name for name, count in counts.items() for _ in range(count)):
        picture = draws.integers(0, 60, (32, 32, 3)).astype(np.uint8)
        picture[..., 2 * (n % 2)] += 180
        Image.fromarray(picture).save(folder / f"still{n}.png")
        colour = "red" if n % 2 == 0 else "blue"
        labels = (f"colour={colour}", *(["loud"] if several and n % 4 < 2 else []))
        clips.append(
            clip(f"still{n}", source=f"still{n}.png", end=0.0, has_audio=False, split=split, labels=labels,
                 meta={"colour": colour, "fold": str(n // 2 % 3 + 1)})
        )  # fmt: skip
    return library(folder, folder, clips)
