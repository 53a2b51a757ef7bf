"""`model/` of a run: what is needed to use the trained model, and nothing of its training.

model.safetensors   parameters and buffers
config.json         {"method", "config", "encoders": {modality: [{"name", "fingerprint", "width"}]}, "seehear", ...}
README.md           a model card
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from seehear.methods.base import Method
from seehear.train.checkpoint import write_tensors, write_text


def version() -> str:
    try:
        return metadata.version("seehear")
    except metadata.PackageNotFoundError:  # run from a copy of the source
        return "source"


def save_model(folder: str | Path, method: Method, extra: Mapping[str, Any], *, card: str = "") -> None:
    """`extra` goes into config.json: `encoders`, and what else is known of the model (metrics, sizes of the data).
    `card`: in place of that of a space."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / "model.safetensors", method.state_dict())
    config = {"method": method.name, "config": asdict(method.config), "spaces": method.spaces}
    config |= {"encoders": {}, "seehear": version()} | dict(extra)
    write_text(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    write_text(folder / "README.md", card or _card(method, config))


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
