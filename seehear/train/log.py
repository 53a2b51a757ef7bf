"""Log of a run: `metrics.jsonl`, `log.txt`, and experiment trackers by name."""

from __future__ import annotations

import importlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from seehear.errors import SeehearError
from seehear.progress import say
from seehear.train.files import write_text


class Tracker(Protocol):
    def log(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise SeehearError(f"tracker {name!r} needs a package that is not there: pip install {name}") from missing


class TensorBoard:
    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        _package("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"))

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class MLflow:
    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.mlflow = _package("mlflow")
        self.mlflow.start_run(run_name=folder.name)
        self.mlflow.log_dict(dict(settings), "config.json")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        self.mlflow.end_run()


class WandbLike:
    """Weights & Biases, and trackio, which has the same three calls."""

    def __init__(self, module: str, folder: Path, settings: Mapping[str, Any]):
        self.module = _package(module)
        self.module.init(project="seehear", name=folder.name, config=dict(settings))

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.module.log(dict(values), step=step)

    def close(self) -> None:
        self.module.finish()


TRACKERS: dict[str, Callable[[Path, Mapping[str, Any]], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": lambda folder, settings: WandbLike("wandb", folder, settings),
    "trackio": lambda folder, settings: WandbLike("trackio", folder, settings),
}


class RunLog:
    """Appends to the run's files. A resumed run first drops the metrics after `step`, its checkpoint (-1: none)."""

    def __init__(self, folder: Path, *, step: int, trackers: Sequence[str], settings: Mapping[str, Any]):
        self.text, self.metrics = folder / "log.txt", folder / "metrics.jsonl"
        if self.metrics.exists():
            kept = [entry for entry in read_metrics(self.metrics) if entry["step"] <= step]
            write_text(self.metrics, "".join(f"{json.dumps(entry)}\n" for entry in kept))
        self.trackers = [TRACKERS[name](folder, settings) for name in trackers]

    def say(self, message: str) -> None:
        say(message)
        self.note(message)

    def note(self, message: str) -> None:
        """Writes to log.txt only."""
        with self.text.open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {message}\n")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # JSON has no NaN and no infinity: both become null.
        entry = {k: v if math.isfinite(v) else None for k, v in values.items()}
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **entry}) + "\n")
        for tracker in self.trackers:
            tracker.log(values, step)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Entries of a metrics.jsonl; a line cut short by a kill is skipped."""
    entries = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries
