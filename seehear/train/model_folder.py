"""`model/` of a run: what is needed to use the trained model, and nothing of its training.

model.safetensors   parameters and buffers
config.json         {"method", "config", "encoders": {modality: [{"name", "fingerprint", "width"}]}, "seehear", ...}
README.md           a model card

The folder is written under a temporary name and renamed when it is whole, so a kill leaves no half of a model.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from seehear.methods.base import Method
from seehear.train.checkpoint import flush_folder, write_tensors, write_text


def version() -> str:
    try:
        return metadata.version("seehear")
    except metadata.PackageNotFoundError:  # run from a copy of the source
        return "source"


def has_model(folder: Path) -> bool:
    """Whether a folder holds a whole model. `config.json` is what `save_model` completes a folder with."""
    return (folder / "config.json").is_file() and (folder / "model.safetensors").is_file()


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
    config = {"method": method.name, "config": asdict(method.config), "spaces": method.spaces}
    config |= {"encoders": {}, "seehear": version()} | dict(extra)
    write_text(part / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    for name, text in {"README.md": card or _card(method, config), **(files or {})}.items():
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


def _card(method: Method, config: Mapping[str, Any]) -> str:
    modalities = sorted({m for names in method.spaces.values() for m in names})
    encoders = "".join(
        f"| {m} | {e['name']} | {e['width']} | `{e['fingerprint']}` |\n"
        for m, infos in config["encoders"].items()
        for e in infos
    )
    metrics = "".join(f"| {k} | {v:.4f} |\n" for k, v in config.get("metrics", {}).items())
    parameters = sum(p.numel() for p in method.parameters())
    return (
        "---\nlibrary_name: seehear\ntags: [multimodal, retrieval]\n---\n\n"
        f"# {method.name} over {', '.join(modalities)}\n\n"
        f"One space for {', '.join(modalities)}, trained with seehear {config['seehear']} by the method "
        f"`{method.name}`; {parameters:,} parameters beside its encoders.\n\n"
        "```python\nfrom seehear import SharedSpace\n\n"
        'space = SharedSpace.from_pretrained("path/to/this/folder")\nspace.encode(["a dog barks"])\n```\n\n'
        "## Encoders\n\n| modality | encoder | width | fingerprint |\n|---|---|---|---|\n" + encoders + "\n"
        "## Validation\n\n| metric | value |\n|---|---|\n" + metrics
    )
