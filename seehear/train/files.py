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
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from seehear.errors import SeehearError
from seehear.methods.base import Method
from seehear.progress import say
from seehear.types import Tensor

ROUNDS = "rounds"
"""Subfolder of a run with its earlier rounds."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Writes atomically: to a temporary name, flushed to the disk, then renamed."""
    part = path.with_name(f".{path.name}.part")
    storages, whole = set(), {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        whole[name] = tensor.detach().cpu().contiguous()
        # Tied weights: the format forbids tensors that share memory.
        if storage in storages:
            whole[name] = whole[name].clone()
        storages.add(storage)
    try:
        save_file(whole, part, metadata=dict(metadata or {}) | {"format": "pt"})
        # Flushed before the rename: after a power cut the new name must not hold an empty file.
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise SeehearError(f"cannot write {path}: {error}") from error
    # The rename is an entry of the folder, which has to reach the disk as well.
    _flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Writes text atomically."""
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


def _flush_folder(folder: Path) -> None:
    # Elsewhere a folder cannot be opened.
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns (tensors, header)."""
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
        # The best weights first: a checkpoint never refers to a file that is not there yet.
        if best is not None and not (path := self.best_path(counters.best_step)).exists():
            write_tensors(path, best)
        tensors = {f"model/{k}": v for k, v in model.items()} | {f"optimizer/{k}": v for k, v in optimizer.items()}
        write_tensors(self.path(counters.step), tensors, {"counters": json.dumps(asdict(counters))})
        self._clean(counters.step)

    def load(self) -> tuple[Counters, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor] | None] | None:
        """(counters, model, optimiser state, best model) of the newest readable checkpoint; None: there is none."""
        # A disk that was full, or lost power, may have damaged the newest one.
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
        """Removes checkpoints beyond `keep`, damaged ones, unused best weights and partial files of a kill."""
        steps, kept = self.steps(), set()
        # Later checkpoints were damaged, and skipped when the run was resumed.
        last = [step for step in steps if step <= newest][-self.keep :]
        for step in steps:
            if step not in last:
                self.path(step).unlink()
                continue
            try:
                with safe_open(self.path(step), framework="pt") as file:
                    kept.add(int(json.loads(file.metadata()["counters"])["best_step"]))
            except (OSError, SafetensorError, KeyError, TypeError, ValueError):
                self.path(step).unlink()
        for path in self.folder.glob("best-*.safetensors"):
            if int(path.stem.removeprefix("best-")) not in kept:
                path.unlink()
        for path in self.folder.glob(".*.part"):
            path.unlink()


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


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
"""Files by which sentence-transformers loads the folder."""


def version() -> str:
    try:
        return metadata.version("seehear")
    except metadata.PackageNotFoundError:
        # Run from a copy of the source.
        return "source"


def has_model(folder: Path) -> bool:
    """Whether a folder holds a complete model: `save_model` writes config.json last."""
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
    """Saves a model folder atomically. `extra`: more of config.json: `encoders`, metrics, sizes of the data. `card`:
    replaces the model card of a space. `files`: text by file name, written beside the model."""
    folder = Path(folder)
    # Beside the target, so that the rename stays within one file system.
    part = folder / ".part" if folder.is_dir() else folder.with_name(f".{folder.name}.part")
    # A kill may have left a part.
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    write_tensors(part / "model.safetensors", method.state_dict())
    config = model_config(method, extra)
    write_text(part / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    texts = {"README.md": card or model_card(method, config), **(_SENTENCE_FILES if method.spaces else {})}
    for name, text in {**texts, **(files or {})}.items():
        write_text(part / name, text)
    _flush_folder(part)
    if part.parent != folder:
        # In one step: a reader sees no model or a whole one.
        os.replace(part, folder)
        _flush_folder(folder.parent)
        return
    # The folder may hold files of the user, so it is not replaced: its config.json goes first and comes back last.
    (folder / "config.json").unlink(missing_ok=True)
    for path in sorted(part.iterdir(), key=lambda path: path.name == "config.json"):
        os.replace(path, folder / path.name)
    part.rmdir()
    _flush_folder(folder)


# -- the model card ----------------------------------------------------------------------------------------------------


_LOADED = """```python
from seehear import SharedSpace

space = SharedSpace.from_pretrained("{where}")
space.similarity(space.encode_query("a dog barks"), space.encode([{{"video": "clip.mp4", "start": 3.0, "end": 8.0}}]))
```

With sentence-transformers: `SentenceTransformer("{where}", trust_remote_code=True)`; seehear must be installed.
"""


def model_card(
    method: Method,
    config: Mapping[str, Any],
    *,
    where: str = "path/to/this/folder",
    licence: str = "other",
    results: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Text of the model card (README.md) that model hubs show. `config`: contents of config.json. `where`: address of
    the model in its examples. `results`: of an evaluation, as in evaluation.json; those of the method are shown."""
    modalities = sorted({m for names in method.spaces.values() for m in names})
    encoders = [(m, e) for m, infos in config["encoders"].items() for e in infos]
    about = [[m, e["name"], str(e["width"]), f"`{e['fingerprint']}`"] for m, e in encoders]
    parts = [
        _front_matter(licence, [e["name"] for _, e in encoders]),
        f"# {method.name} over {', '.join(modalities)}",
        f"One space for {', '.join(modalities)}, trained with seehear {config['seehear']} by the method "
        f"`{method.name}`; {sum(p.numel() for p in method.parameters()):,} parameters beside its encoders.",
        _LOADED.format(where=where).strip(),
        "## Encoders\n\n" + _table(["modality", "encoder", "width", "fingerprint"], about),
    ]
    if training := config.get("training"):
        facts = ((name, training.get(name)) for name in ("recipe", "step", "seconds"))
        rows = [[name, str(value)] for name, value in facts if value is not None]
        # A number in runs, by split in studies.
        clips = training.get("clips") or {}
        clips = {"train": clips} if isinstance(clips, int) else clips
        rows += [[f"clips, {split}", f"{n:,}"] for split, n in clips.items()]
        parts.append("## Training\n\n" + _table(["", ""], rows))
    if words := (config.get("verdict") or {}).get("words"):
        parts.append(f"On validation clips: {words}")
    if metrics := config.get("metrics"):
        parts.append("## Validation\n\n" + _table(["metric", "value"], ([k, f"{v:.4f}"] for k, v in metrics.items())))
    if own := [r for r in results if r["model_name"] == method.name and r["task_type"] == "retrieval"]:
        shown = ("R@1", "R@5", "R@10", "median_rank")
        rows = [[r["task_name"], *(f"{r['metrics'][k]:.3g}" for k in shown), str(r["counts"]["queries"])] for r in own]
        parts.append(
            "## Test\n\nClips of recordings that training never saw.\n\n" + _table(["task", *shown, "queries"], rows)
        )
    return "\n\n".join(parts) + "\n"


def _front_matter(licence: str, encoders: Iterable[str]) -> str:
    """YAML head of a model card."""
    hubs = [name.removeprefix("hub:").split("#")[0] for name in encoders if name.startswith("hub:")]
    # ids on a model hub, not paths
    hub_ids = list(dict.fromkeys(name for name in hubs if name.count("/") == 1 and not name.startswith((".", "/"))))
    head = ["library_name: seehear", f"license: {licence}", "pipeline_tag: feature-extraction"]
    head += ["tags:", *(f"- {tag}" for tag in ("seehear", "sentence-transformers", "multimodal", "retrieval"))]
    head += ["base_model:", *(f"- {name}" for name in hub_ids)] if hub_ids else []
    return "---\n" + "\n".join(head) + "\n---"


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
