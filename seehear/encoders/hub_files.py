"""The folder of a transformers model: given, in the hub's cache, or downloaded; and the hash of all that is in it."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from seehear.encoders.weights import file_hash, remembered_hash
from seehear.errors import SeehearError, require

_SETTINGS = ("*.json", "*.txt", "*.model", "1_Pooling/*.json")
_MAY_NAME_CODE = ("config", "tokenizer_config", "preprocessor_config", "video_preprocessor_config", "processor_config")
_SECONDS = 5.0  # for the hub to answer


def model_folder(source: str) -> Path:
    """A folder that exists is taken as it is, else the name is one of the hub's, asked for only if not in its cache."""
    if not source:
        raise SeehearError("'hub:' needs a folder or a hub id after it, as in hub:facebook/dinov2-base")
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise SeehearError(f"{folder} holds no transformers model: there is no config.json in it")
        return folder
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise SeehearError(f"no such folder: {source}")
    hub = require("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(source, local_files_only=True, allow_patterns=_patterns(safe=True)))
    except (OSError, ValueError):  # not in the cache
        return _download(hub, source)


def _patterns(*, safe: bool) -> list[str]:
    return [*_SETTINGS, "*.safetensors" if safe else "pytorch_model*.bin"]


def _download(hub: Any, source: str) -> Path:
    try:
        about = hub.model_info(source, timeout=_SECONDS)
    except hub.errors.RepositoryNotFoundError as error:
        raise SeehearError(f"{source!r} is neither a folder here nor a public model of the hub") from error
    except Exception as error:  # whatever its network library raises, which changes with its version
        raise SeehearError(
            f"{source!r} is no folder here, and the hub cannot be asked for it ({type(error).__name__}): "
            "give the folder of a downloaded model, or try again with a network"
        ) from error
    safe = any(file.rfilename.endswith(".safetensors") for file in about.siblings or ())
    return Path(hub.snapshot_download(source, revision=about.sha, allow_patterns=_patterns(safe=safe)))


def refuse_custom_code(folder: Path) -> None:
    """Raises `SeehearError` for a folder whose settings name Python code to load it with (`auto_map`): transformers
    would ask on the terminal and run it, or pass over it in silence and give vectors of another model."""
    for path in (folder / f"{name}.json" for name in _MAY_NAME_CODE):
        try:
            settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise SeehearError(f"{path} is not JSON ({error}): download the model again") from error
        if isinstance(settings, dict) and settings.get("auto_map"):
            raise SeehearError(
                f"{folder} wants custom code to be run (auto_map in {path.name}), which seehear never does: choose a "
                "model of a type that transformers itself knows"
            )


def weights_hash(folder: Path) -> str:
    """Over the content of the weights and settings of a folder; the same wherever it lies."""
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not weights:
        raise SeehearError(f"{folder} holds no weights (*.safetensors)")
    settings = sorted({path for pattern in _SETTINGS for path in folder.glob(pattern)})
    parts = [f"{path.relative_to(folder)} {_remembered(path)}" for path in weights]
    parts += [f"{path.relative_to(folder)} {file_hash(path)}" for path in settings if path.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _remembered(path: Path) -> str:
    """The hub's cache names files by their hash."""
    blob = path.resolve()
    return blob.name if re.fullmatch(r"[0-9a-f]{64}", blob.name) else remembered_hash(blob)
