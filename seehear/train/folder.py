"""The run folder: `config.json` says what is trained, and a folder that holds a run is never overwritten unasked.

config.json    every setting as it was resolved          metrics.jsonl  one line a logged step or evaluation
checkpoints/   to go on from (`checkpoint.py`)            log.txt        what was said
model/         the trained model (`model_folder.py`)           .lock    held by who trains it
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seehear.data.locking import writing
from seehear.errors import SeehearError, read_json
from seehear.train.checkpoint import write_text

FREE = frozenset(
    f"train.{name}"
    for name in (
        "workers",
        "device",
        "micro_batch",
        "keep",
        "save_minutes",
        "log_every",
        "trackers",
        "compile",
        "shard",
    )
) | {"seehear", "library", "command"}
"""Settings that may change when a run goes on: they do not change what is trained, but for rounding."""


@contextmanager
def open_run(folder: Path, settings: Mapping[str, Any], *, resume: bool) -> Iterator[None]:
    """Make the folder of a new run, or check that the run there is the one that is asked for; and be alone with it."""
    config = folder / "config.json"
    settings = json.loads(json.dumps(settings))  # tuples become lists, as they will be read back
    if not resume:
        if _holds_files(folder):
            raise SeehearError(f"{folder} is not empty: choose another folder, or go on with the run there by --resume")
    elif config.exists():
        _compare(read_json(config, "start in another folder"), settings, folder)
    elif _holds_files(folder):
        raise SeehearError(f"{folder} holds no run to resume (no config.json): choose another folder")
    with writing(folder):
        write_text(config, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")
        yield


def _holds_files(folder: Path) -> bool:
    """Anything but the lock, and what a kill left of the first file of a run."""
    return folder.is_dir() and any(path.name not in {".lock", ".config.json.part"} for path in folder.iterdir())


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    old, new = dict(flat(before)), dict(flat(now))
    for field in sorted(old.keys() | new.keys()):
        if field not in FREE and old.get(field) != new.get(field):
            raise SeehearError(
                f"{folder} was started with {field} = {json.dumps(old.get(field))}, now it is "
                f"{json.dumps(new.get(field))}: resume with the old value, or start in another folder"
            )


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings by their dotted names."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
