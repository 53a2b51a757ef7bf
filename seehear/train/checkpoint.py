"""Checkpoints: one safetensors file each, written beside its name and then moved there, so that a kill at any moment
leaves the last one whole. Nothing is ever unpickled.

`step-00000120.safetensors` holds parameters, buffers and optimiser state, and in its header the counters (step, best
score, patience) as JSON. `best-00000090.safetensors` holds the parameters and buffers of the best score so far. It is
written with the checkpoint that speaks of it, before it, and removed only when none speaks of it any more.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from seehear.errors import SeehearError
from seehear.progress import say
from seehear.types import Tensor


@dataclass
class Counters:
    """Where a run stands, besides its tensors."""

    step: int = 0
    """Steps done."""
    best_step: int = 0
    best_score: float | None = None
    best_metrics: dict[str, float] = field(default_factory=dict)
    worse: int = 0
    """Evaluations since the best one."""
    evaluated: int = -1
    """The last step that was evaluated."""
    seconds: float = 0.0
    """Spent so far, in all sessions."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """All or nothing: a temporary name, flushed to the disk, then renamed."""
    part = path.with_name(f".{path.name}.part")
    storages, whole = set(), {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        tied = storage in storages  # the format wants tensors that share no memory
        storages.add(storage)
        whole[name] = (
            tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            if tied
            else tensor.detach().cpu().contiguous()
        )
    try:
        save_file(whole, part, metadata=dict(metadata or {}) | {"format": "pt"})
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise SeehearError(f"cannot write {path}: {error}") from error
    flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """As `write_tensors`, for text."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SeehearError(f"cannot write {path}: {error}") from error


def flush_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """(tensors, header)"""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise SeehearError(f"{path} is not a readable safetensors file: {error}") from error


class Checkpoints:
    """The checkpoints of one run: the last `keep`, and the best weights."""

    def __init__(self, folder: Path, keep: int = 2):
        self.folder, self.keep = folder, keep

    def steps(self) -> list[int]:
        return sorted(int(p.stem.removeprefix("step-")) for p in self.folder.glob("step-*.safetensors"))

    def path(self, step: int) -> Path:
        return self.folder / f"step-{step:08d}.safetensors"

    def best_path(self, step: int) -> Path:
        return self.folder / f"best-{step:08d}.safetensors"

    def save(
        self,
        counters: Counters,
        *,
        model: Mapping[str, Tensor],
        optimizer: Mapping[str, Tensor],
        best: Mapping[str, Tensor] | None,
    ) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if best is not None and not (path := self.best_path(counters.best_step)).exists():
            write_tensors(path, best)
        tensors = {f"model/{k}": v for k, v in model.items()} | {f"optimizer/{k}": v for k, v in optimizer.items()}
        write_tensors(self.path(counters.step), tensors, {"counters": json.dumps(asdict(counters))})
        self._clean(counters.step)

    def load(self) -> tuple[Counters, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor] | None] | None:
        """(counters, model, optimiser state, best model) of the newest readable checkpoint; None: there is none."""
        for step in reversed(self.steps()):
            try:
                tensors, header = read_tensors(self.path(step))
                counters = Counters(**json.loads(header["counters"]))
                best = None if counters.best_score is None else read_tensors(self.best_path(counters.best_step))[0]
            except (SeehearError, KeyError, TypeError, ValueError) as error:
                say(f"checkpoint of step {step} is damaged, looking for an older one ({error})")
                continue
            return counters, _under("model/", tensors), _under("optimizer/", tensors), best
        return None

    def _clean(self, newest: int) -> None:
        """Older ones, those that no run can go on from, and what kills left of files that were being written."""
        for step in self.steps():
            if step > newest:  # they were passed over as damaged when the run went on
                self.path(step).unlink()
        for step in self.steps()[: -self.keep]:
            self.path(step).unlink()
        kept = {self._best_of(step) for step in self.steps()}
        for path in self.folder.glob("best-*.safetensors"):
            if int(path.stem.removeprefix("best-")) not in kept:
                path.unlink()
        for path in self.folder.glob(".*.part"):
            path.unlink()

    def _best_of(self, step: int) -> int | None:
        """The best step that a checkpoint speaks of; a damaged one is removed."""
        try:
            with safe_open(self.path(step), framework="pt") as file:
                return int(json.loads(file.metadata()["counters"])["best_step"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            self.path(step).unlink()
            return None


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
