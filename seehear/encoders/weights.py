"""Files of weights: their folders, their hashes, and the check that they are the ones an encoder was made for."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seehear.errors import SeehearError, hub_unreachable, read_json, require

if TYPE_CHECKING:
    from seehear.types import Tensor

ASSETS = Path(__file__).parent.parent / "assets" / "encoders"


def package_folder(package: str, install: str) -> Path:
    """Folder of an installed package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SeehearError(f"this encoder needs the package {package!r}: {install}")
    return Path(next(iter(spec.submodule_search_locations)))


def pinned(path: Path, sha256: str) -> Path:
    """The path, once its content is what this version of seehear was tested with."""
    if not path.is_file():
        raise SeehearError(f"weights missing: {path}; reinstall the package that brings them")
    # Other weights would give other vectors under the same fingerprint.
    found = file_hash(path)
    if found != sha256:
        raise SeehearError(
            f"{path} is not the file this encoder was made for: SHA-256 {found[:16]}..., expected {sha256[:16]}...; "
            "reinstall the package that brings it, in the version seehear asks for"
        )
    return path


def file_hash(path: Path) -> str:
    """SHA-256 of a file, remembered in this process while its size and time stay the same."""
    stat = path.stat()
    return _hash(str(path), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _hash(path: str, size: int, mtime_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def remembered_hash(path: Path) -> str:
    """`file_hash`, kept on disk by path, size and time: gigabytes are read once."""
    path = path.resolve()
    stat = path.stat()
    key = f"{path} {stat.st_size} {stat.st_mtime_ns}"
    store = cache_folder() / "hashes.json"
    try:
        # A cache that is missing or damaged costs time only.
        known = read_json(store, "it is made anew")
    except SeehearError:
        known = {}
    if key not in known:
        known[key] = file_hash(path)
        # Of two processes that write at once one loses its entry: that file is hashed once more.
        write_cache(store, json.dumps(known).encode())
    return known[key]


def cache_folder() -> Path:
    # Set but empty counts as not set, as the XDG rules have it.
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seehear"


def write_cache(path: Path, content: bytes | memoryview) -> None:
    """All or nothing. A cache that cannot be written is no reason to stop."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Written beside it and then moved: nobody reads half of it.
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        # A file written in place was unreadable in most trials in which its writer was killed.
        os.replace(file.name, path)


def tensors_hash(tensors: Mapping[str, Tensor], *, about: str = "") -> str:
    """16 hex digits over the names and values of tensors, and over `about`."""
    # Not at the head of the file: workers do without torch.
    import torch

    found = hashlib.blake2b(about.encode(), digest_size=8)
    # Sorted: the order of a state dict is no part of a model.
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        # As bytes: numpy has no bfloat16.
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def joint_hash(parts: Iterable[str]) -> str:
    """SHA-256 over several lines."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def fingerprint(**parts: Any) -> str:
    """16 hex digits over hashes of weights and every setting that changes the vector."""
    # Sorted: the order of arguments is no part of a fingerprint.
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# -- the folder of a transformers model: given, in the hub's cache, or downloaded --------------------------------------

_SETTINGS = ("*.json", "*.txt", "*.model", "1_Pooling/*.json")
# Settings files that may name Python classes, and their keys that do.
_NAMING = ("config", "tokenizer_config", "preprocessor_config", "video_preprocessor_config", "processor_config")
_CLASSES: tuple[str, ...] = ("tokenizer_class", "image_processor_type", "feature_extractor_type")
_CLASSES += ("video_processor_type", "processor_class")
# For the hub to answer.
_SECONDS = 5.0


def model_folder(source: str) -> Path:
    """Folder of a model: `source` itself if it is one, else that of the hub's cache, downloaded only if not there."""
    if not source:
        raise SeehearError("'hub:' needs a folder or a hub id after it, as in hub:facebook/dinov2-base")
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise SeehearError(f"{folder} holds no transformers model: there is no config.json in it")
        return folder
    # A path that does not exist is not asked of the hub.
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", source):
        raise SeehearError(f"no such folder: {source}")
    return cached_folder(source) or _download(require("huggingface_hub", "hub"), source)


def cached_folder(source: str) -> Path | None:
    """Folder of a model in the hub's cache; None where it is not there, or only its settings are."""
    hub = require("huggingface_hub", "hub")
    try:
        folder = Path(hub.snapshot_download(source, local_files_only=True, allow_patterns=_patterns(safe=True)))
    except (OSError, ValueError):
        return None
    return folder if _weights(folder) else None


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _patterns(*, safe: bool) -> list[str]:
    # Safetensors where there are any: pickled weights can run code.
    return [*_SETTINGS, "*.safetensors" if safe else "pytorch_model*.bin"]


def _download(hub: Any, source: str) -> Path:
    try:
        about = hub.model_info(source, timeout=_SECONDS)
    except hub.errors.RepositoryNotFoundError as error:
        raise SeehearError(f"{source!r} is neither a folder here nor a public model of the hub") from error
    # Whatever the hub's network library raises, which changes with its version.
    except Exception as error:
        todo = "give the folder of a downloaded model, try again with a network, or take what is packaged"
        raise hub_unreachable(repr(source), error, f"{todo} (--preset light)") from error
    safe = any(file.rfilename.endswith(".safetensors") for file in about.siblings or ())
    # The commit that was looked at: a push in between changes nothing.
    return Path(hub.snapshot_download(source, revision=about.sha, allow_patterns=_patterns(safe=safe)))


def refuse_custom_code(folder: Path) -> None:
    """Raises `SeehearError` for a folder that needs Python code of its own to be loaded: transformers would ask on the
    terminal and run it, or ignore it silently and give vectors of another model."""
    all_settings = {}
    for path in (folder / f"{name}.json" for name in _NAMING):
        try:
            settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        except ValueError as error:
            raise SeehearError(f"{path} is not JSON ({error}): download the model again") from error
        all_settings[path.name] = settings if isinstance(settings, dict) else {}
    model_type = all_settings["config.json"].get("model_type")
    # `auto_map` alone is no sign of custom code: models that transformers has adopted since still carry it, and are
    # loaded with transformers' own classes.
    for name, settings in all_settings.items():
        if settings.get("auto_map") and (missing := _unknown_class(settings, model_type)):
            raise SeehearError(
                f"{folder} wants custom code to be run (auto_map in {name}; transformers has no {missing}), which "
                "seehear never does: choose a model of a type that transformers itself knows"
            )


def _unknown_class(settings: dict[str, Any], model_type: Any) -> str:
    """First class named in a settings file that transformers does not have; '' if it has all of them."""
    transformers = require("transformers", "hub")
    if str(model_type) not in transformers.CONFIG_MAPPING:
        return f"model type {model_type!r}"
    architectures = settings.get("architectures") or []
    named = architectures if isinstance(architectures, list) else [architectures]
    named = [str(name) for name in [*named, *(settings[key] for key in _CLASSES if settings.get(key))]]
    # `getattr` would import each of them, and torchvision with some.
    own = set(dir(transformers))
    return next((name for name in named if not {name, name.removesuffix("Fast")} & own), "")


def weights_hash(folder: Path) -> str:
    """SHA-256 over the content of the weights and settings of a folder; the same wherever it lies."""
    weights = _weights(folder)
    if not weights:
        raise SeehearError(f"{folder} holds no weights (*.safetensors)")
    parts = []
    for path in weights:
        # The hub's cache names files by their hash.
        blob = path.resolve()
        known = re.fullmatch(r"[0-9a-f]{64}", blob.name)
        parts.append(f"{path.relative_to(folder).as_posix()} {blob.name if known else remembered_hash(blob)}")
    settings = sorted({path for pattern in _SETTINGS for path in folder.glob(pattern)})
    parts += [f"{path.relative_to(folder).as_posix()} {file_hash(path)}" for path in settings if path.is_file()]
    return joint_hash(parts)
