"""Files of a run: its settings, checkpoints and the trained model. A kill at any moment leaves no half of a file.

config.json    every setting as it was resolved          metrics.jsonl  one line a logged step or evaluation
checkpoints/   to go on from                             log.txt        messages of the run
model/         what is needed to use the trained model   .lock          held by who trains it

checkpoints/step-00000120.safetensors   parameters, buffers and optimiser state; in its header the counters as JSON
checkpoints/best-00000090.safetensors   parameters and buffers of the best score: written before the checkpoint that
                                        refers to it, removed when no checkpoint refers to it any more
model/model.safetensors                 parameters and buffers
model/config.json                       {"method", "config", "encoders": {modality: [{"name", "fingerprint", ...}]}}
model/README.md                         a model card

Nothing is ever unpickled, and a folder that holds a run is never overwritten unasked.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from seehear.errors import SeehearError, read_json
from seehear.library.locking import writing
from seehear.methods.base import Method
from seehear.progress import say
from seehear.train.card import model_card
from seehear.types import Tensor

ROUNDS = "rounds"
"""Folder in that of a run: the runs of its rounds before the last."""
REMOVED = {"method.matryoshka": [], "method.weighting": "pairs", "method.linear_shrinkage": 0.1}
"""Settings that only older runs have, and the values at which training is the same without them."""
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
    """`write_tensors` for text."""
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


# -- checkpoints -------------------------------------------------------------------------------------------------------


@dataclass
class Counters:
    """Training progress that is not a tensor: step, best score, patience."""

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


# -- the run folder ----------------------------------------------------------------------------------------------------


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
    """Anything but the lock, what a kill left of the first file of a run, and rounds before this one."""
    known = {".lock", ".config.json.part", ROUNDS}
    return folder.is_dir() and any(path.name not in known for path in folder.iterdir())


def _compare(before: Mapping[str, Any], now: Mapping[str, Any], folder: Path) -> None:
    old, new = dict(flat(before)), dict(flat(now))
    for name in sorted(old.keys() | new.keys()):
        came_later = name not in old and not new[name]  # a setting that an older seehear did not have, and that is off
        removed = name not in new and old[name] == REMOVED.get(name, object())
        if name not in FREE and not came_later and not removed and old.get(name) != new.get(name):
            raise SeehearError(
                f"{folder} was started with {name} = {json.dumps(old.get(name))}, now it is "
                f"{json.dumps(new.get(name))}: resume with the old value, or start in another folder"
            )


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested settings by their dotted names."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


# -- the trained model -------------------------------------------------------------------------------------------------


_SENTENCE_CONFIG = {
    "model_type": "SentenceTransformer",
    "prompts": {"query": "", "document": ""},
    "similarity_fn_name": "cosine",
}
_SENTENCE_MODULES = [{"idx": 0, "name": "0", "path": "", "type": "seehear.space.sentence.SharedSpaceModule"}]
_SENTENCE_FILES = {
    "config_sentence_transformers.json": json.dumps(_SENTENCE_CONFIG, indent=2) + "\n",
    "modules.json": json.dumps(_SENTENCE_MODULES, indent=2) + "\n",
}
"""Files that make the folder a model of sentence-transformers, too."""


def version() -> str:
    try:
        return metadata.version("seehear")
    except metadata.PackageNotFoundError:  # run from a copy of the source
        return "source"


def has_model(folder: Path) -> bool:
    """Whether a folder holds a whole model. `config.json` is what `save_model` completes a folder with."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


def model_config(method: Method, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Contents of config.json of a model folder. `extra`: as in `save_model`."""
    config = {"method": method.name, "config": asdict(method.config), "spaces": method.spaces}
    config |= {"encoders": {}, "seehear": version()} | dict(extra)
    return config | ({"last_layer": method.last_sizes} if method.last_layer else {})


def save_model(
    folder: str | Path,
    method: Method,
    extra: Mapping[str, Any],
    *,
    card: str = "",
    files: Mapping[str, str] | None = None,
) -> None:
    """`extra` goes into config.json: `encoders`, and what else is known of the model (metrics, sizes of the data).
    `card`: in place of that of a space. `files`: text by the name of a file, written beside the model."""
    folder = Path(folder)
    part = folder / ".part" if folder.is_dir() else folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a kill left
    part.mkdir(parents=True)
    write_tensors(part / "model.safetensors", method.state_dict())
    config = model_config(method, extra)
    write_text(part / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    texts = {"README.md": card or model_card(method, config), **(_SENTENCE_FILES if method.spaces else {})}
    for name, text in {**texts, **(files or {})}.items():
        write_text(part / name, text)
    flush_folder(part)
    if part.parent != folder:
        os.replace(part, folder)
        flush_folder(folder.parent)
        return
    # The folder may hold files of the user, so it is not replaced: its config.json goes first and comes back last.
    (folder / "config.json").unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, folder / path.name)
    part.rmdir()
    flush_folder(folder)
