"""Folders that look like data sets: official files from `tests/datasets/formats` or made up in their format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np

from seehear.datasets import ImportOptions, ImportReport, import_dataset
from seehear.library.records import Clip
from seehear.library.tables import LibraryTables
from tests.library.makers import film, picture, sound

_FEATURES = {"_2d": (1.0, 6), "_3d": (1.5, 5)}
"""Rows a second, and columns."""
FORMATS = Path(__file__).parent / "formats"


def originals(folder: Path) -> dict[str, Path]:
    """Media of each kind, made once."""
    return {
        "film": film(folder / "film.mp4", seconds=1.0),
        "ten": film(folder / "ten.mp4", seconds=10.4, fps=2, rate=16_000),
        "recording": sound(folder / "recording.wav", seconds=45.0, rate=8000),
        "sound": sound(folder / "sound.wav", seconds=1.0, rate=8000),
        "picture": picture(folder / "picture.jpg"),
    }


def put(original: Path, root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(original, root / name)


def official(root: Path, *names: str, folder: str = "") -> None:
    """Files of `formats`, under another name where one is given as 'from=to'."""
    for name in names:
        source, _, to = name.partition("=")
        put(FORMATS / source, root, f"{folder}/{to or source}" if folder else to or source)


def write(path: Path, content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def imported(name: str, root: Path, **options: object) -> tuple[dict[str, Clip], ImportReport]:
    """{id: clip} of a fresh library, and the report."""
    library = root.parent / "library"
    report = import_dataset(name, root, library, ImportOptions(workers=0, **options))
    return {clip.id: clip for clip in LibraryTables.open(library).clips()}, report


def rejects(root: Path) -> dict[str, str]:
    return {r.path: r.reason for r in LibraryTables.open(root.parent / "library").rejects()}


def texts(clip: Clip) -> list[str]:
    return [text.text for text in clip.texts]


def features(
    root: Path,
    name: str,
    seconds: int = 20,
    *,
    suffix: str = ".npz",
    kinds: tuple[str, ...] = ("_2d", "_3d", "_spec"),
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Files of features in the layout of HowTo100M, and what is in them."""
    rng, made = np.random.default_rng(seed), {}
    for kind in kinds:
        if kind == "_spec":
            x = -80 * rng.random((40, 100 * seconds)).astype(np.float16)
        else:
            x = rng.random((int(seconds * _FEATURES[kind][0]), _FEATURES[kind][1])).astype(np.float32)
        made[kind] = x
        path = root / f"{name}{kind}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".npy":
            np.save(path, x)
        elif suffix == ".npz":
            np.savez(path, **{"arr_0" if kind == "_spec" else "features": x})
        else:
            with h5py.File(path, "w") as file:
                file["features"] = x
    return made
