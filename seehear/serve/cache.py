"""Made pictures, waveforms and previews on disk, by what they were made from; the least used go when there are many."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

_CHECK_EVERY = 64  # things made


class DiskCache:
    def __init__(self, folder: Path, megabytes: float):
        self.folder, self.limit = folder, megabytes * 1e6
        folder.mkdir(parents=True, exist_ok=True)
        self._made = 0
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, *key: object, make: Callable[[Path], None]) -> Path:
        """The file of that key; `make` writes it when it is not there, once however many ask."""
        name = hashlib.blake2b("\x1f".join(map(repr, key)).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        path = self.folder / name
        with self._lock:
            own = self._making.setdefault(name, threading.Lock())
        try:
            with own:
                if path.exists():
                    os.utime(path)
                else:
                    make(path)
                    self._trim()
        finally:
            with self._lock:
                self._making.pop(name, None)
        return path

    def _trim(self) -> None:
        with self._lock:
            self._made += 1
            if self._made % _CHECK_EVERY:
                return
            files = sorted((f for f in self.folder.iterdir() if f.is_file()), key=lambda f: f.stat().st_mtime)
            size = sum(f.stat().st_size for f in files)
            for file in files:
                if size <= self.limit:
                    return
                size -= file.stat().st_size
                file.unlink()


def write(path: Path, content: bytes) -> None:
    """All of it or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(content)
    part.replace(path)
