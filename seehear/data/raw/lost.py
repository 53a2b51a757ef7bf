"""What could not be read, over all processes of a run: each file is said and listed once, each sample counted."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

from seehear.progress import say


class Lost:
    """A small folder that worker processes write to as well; it goes when the object that made it does."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="seehear-lost-"))
        self._known: set[str] = set()
        weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    def __getstate__(self) -> dict[str, Any]:
        return {"_folder": self._folder, "_known": set()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ |= state

    def add(self, path: str, why: str, *, samples: int = 1) -> None:
        """A file of which something cannot be read. Says so if no process has."""
        with suppress(OSError):
            with open(self._folder / "samples", "ab") as file:
                file.write(b"." * samples)
            if path not in self._known and self._is_first(path):
                with open(self._folder / "files.jsonl", "a", encoding="utf-8") as file:
                    file.write(json.dumps([path, why]) + "\n")
                say(f"{path}: {why}; the run goes on without what cannot be read")
        self._known.add(path)

    def _is_first(self, path: str) -> bool:
        import fcntl

        with open(self._folder / "known", "a+", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            if json.dumps(path) in file.read().splitlines():
                return False
            file.write(json.dumps(path) + "\n")
            return True

    @property
    def samples(self) -> int:
        """Times that a clip's pictures or sound were to be read and could not be."""
        with suppress(FileNotFoundError):
            return os.path.getsize(self._folder / "samples")
        return 0

    def files(self) -> dict[str, str]:
        """Path -> what is wrong with it."""
        with suppress(FileNotFoundError):
            lines = (self._folder / "files.jsonl").read_text(encoding="utf-8").splitlines()
            return dict(json.loads(line) for line in lines)
        return {}
