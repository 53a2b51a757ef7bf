"""Files of weights: their folders, their hashes, and the check that they are the ones an encoder was made for."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from seehear.errors import SeehearError, read_json
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
        known = read_json(store, "it is made anew")
    except SeehearError:
        known = {}
    if key not in known:
        known[key] = file_hash(path)
        write_cache(store, json.dumps(known).encode())
    return known[key]


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "seehear"


def write_cache(path: Path, content: bytes | memoryview) -> None:
    """All or nothing. A cache that cannot be written is no reason to stop."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(content)
        os.replace(file.name, path)


def tensors_hash(tensors: Mapping[str, Tensor], *, about: str = "") -> str:
    """16 hex digits over the names and values of tensors, and over `about`."""
    found = hashlib.blake2b(about.encode(), digest_size=8)
    for name, tensor in sorted(tensors.items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def fingerprint(**parts: Any) -> str:
    """16 hex digits over hashes of weights and every setting that changes the vector."""
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
