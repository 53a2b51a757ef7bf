"""A tiny library of real media, the four commands that make a searchable space of it, and all that they leave behind as
digests: two folders are the same when these are."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from seehear.library.tables import LibraryTables
from seehear.train.config import read_metrics
from seehear.train.files import Checkpoints, read_tensors
from tests.faults.outcome import must
from tests.library.makers import film, picture, sound, srt

STAGES = ("prepare", "encode", "train", "index")
_FLEETING = {"seconds", "rows_per_second", "seconds_left", "made", "changed"}
"""Fields that hold a time."""


def make_media(folder: Path, *, files: int = 24) -> Path:
    """Films, sounds and pictures by turns, each with its words; every eighth is no media file."""
    folder.mkdir(parents=True)
    for n in range(files):
        stem = folder / f"{n:02d} {'énuméré' if n % 5 == 0 else 'plain'}"
        if n % 8 == 7:
            stem.with_suffix(".mp4").write_bytes(b"no film at all" * n)
        elif n % 3 == 0:
            film(stem.with_suffix(".mp4"), seconds=0.4 + 0.1 * (n % 4), fps=10, rate=16_000)
            srt(stem.with_suffix(".srt"), [(0.0, 0.3, f"film number {n}"), (0.2, 0.4, f"it ends with {n}")])
        elif n % 3 == 1:
            sound(stem.with_suffix(".wav"), seconds=0.2 + 0.05 * n, rate=16_000)
        else:
            picture(stem.with_suffix(".png"), colour=(9 * n % 256, 31 * n % 256, 200 - 5 * n))
        if n % 3:
            stem.with_suffix(".txt").write_text(f"what is number {n}\n{'abcdefghijklmnopqrstuvwxyz'[n % 26 :]}\n")
    return folder


class Work:
    """A folder with a library and a run, over media that stay the same."""

    def __init__(self, folder: Path, media: Path):
        self.folder, self.media = folder, media
        self.library, self.run = folder / "lib", folder / "run"

    def words(self, stage: str, *, again: bool = False) -> list[str]:
        """The command; `again` is how a user goes on after it was ended."""
        lib, out = str(self.library), str(self.run)
        train = ["train", lib, "fusemix", "--out", out, "--train.steps", "30", "--train.batch-size", "8"]
        train += ["--train.evaluations", "6", "--train.save-minutes", "0", "--train.log-every", "5"]
        train += ["--method.dim", "8", "--train.device", "cpu"]
        return {
            "prepare": ["prepare", str(self.media), "--library", lib, "--workers", "1"],
            "encode": ["encode", lib, "--encoders", "grey", "logmel", "letters", "--workers", "1"],
            "train": [*train, "--resume"] if again else train,
            "index": ["index", lib, out, "--device", "cpu"],
        }[stage]

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)

    def copy_of(self, other: Path) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(other, self.folder)


class Reference:
    """Results of an undisturbed run of `stages`, the first few of all: a copy of the folder before each stage,
    the digests after it, and how long it took. All later work happens at the same place, so that paths agree."""

    def __init__(self, folder: Path, *, files: int = 32, place: Path | None = None, stages: tuple[str, ...] = STAGES):
        self.folder = folder
        self.media = make_media(folder / "media", files=files)
        self.work = Work(place or folder / "work", self.media)
        self.work.clear()
        self.before: dict[str, Path] = {}
        self.after: dict[str, dict[str, str]] = {}
        self.seconds: dict[str, float] = {}
        self.writes: dict[str, int] = {}
        for stage in stages:
            self.before[stage] = folder / f"before {stage}"
            shutil.copytree(self.work.folder, self.before[stage])
            counted = folder / "writes"
            self.seconds[stage] = must(self.work.words(stage), {"FAULTS_WRITES": str(counted)}).seconds
            self.writes[stage] = int(counted.read_text())
            self.after[stage] = digests(self.work)
        shutil.copytree(self.work.folder, folder / "finished")

    def after_folder(self, stage: str) -> Path:
        following = STAGES[STAGES.index(stage) + 1 :]
        return self.before[following[0]] if following else self.folder / "finished"

    def differences(self, stage: str) -> list[str]:
        """Names of the parts of the work folder that differ from the undisturbed stage."""
        now, then = digests(self.work), self.after[stage]
        return sorted(name for name in now.keys() | then.keys() if now.get(name) != then.get(name))


def digests(work: Work) -> dict[str, str]:
    """Every table's rows, without their order; of a run its model, last checkpoint and metrics, without the times."""
    found: dict[str, str] = {}
    if (work.library / "clips.lance").exists():
        library = LibraryTables.open(work.library)
        found |= {name: _digest(_rows(library, name)) for name in library.tables()}
    if (work.run / "model" / "config.json").exists():
        found |= run_digests(work.run)
    parts = [p.name for p in work.folder.rglob("*.part")]
    return found | ({"left behind": ", ".join(sorted(parts))} if parts else {})


def _rows(library: LibraryTables, name: str) -> list[str]:
    rows = library.table(name).to_arrow().to_pylist()
    return sorted(json.dumps(_timeless(row), sort_keys=True) for row in rows)


def run_digests(run: Path) -> dict[str, str]:
    checkpoints = Checkpoints(run / "checkpoints")
    last = read_tensors(checkpoints.path(checkpoints.steps()[-1]))[0]
    weights = {name: tensor.numpy().tobytes().hex() for name, tensor in sorted(last.items())}
    return {
        "model.safetensors": hashlib.sha256((run / "model" / "model.safetensors").read_bytes()).hexdigest(),
        "config.json": _digest(_timeless(json.loads((run / "model" / "config.json").read_text()))),
        "metrics.jsonl": _digest([_timeless(entry) for entry in read_metrics(run / "metrics.jsonl")]),
        "checkpoint": _digest(weights),
    }


def _timeless(value: Any) -> Any:
    """The value without times, in JSON inside JSON too."""
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _FLEETING}
    if isinstance(value, list):
        return [_timeless(v) for v in value]
    if isinstance(value, str) and value.startswith("{"):
        return _timeless(json.loads(value))
    return value


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
