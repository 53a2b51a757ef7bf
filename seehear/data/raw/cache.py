"""Small decoded clips on disk, shared by workers, runs and users: what is decoded once is afterwards only copied.

One file an array, named by all that it depends on: the media file as it is now, the stretch, sizes and rates. Files
appear whole or not at all. When the folder holds as much as it may, nothing more is stored; nothing is ever taken out.
"""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np

from seehear.encoders.weights import write_cache
from seehear.errors import SeehearError, refusal


class ClipCache:
    def __init__(self, folder: str | Path, *, most_bytes: int):
        self.folder, self.most_bytes = Path(folder), most_bytes
        self._count = self.folder / ".bytes"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._reserve(0)
        except OSError as error:
            raise SeehearError(
                f"{folder}: no clips can be cached there: {refusal(error) or error}: choose another --cache folder"
            ) from error

    def get(self, key: str) -> np.ndarray | None:
        """In memory only where it is read. A file that is damaged counts as none, and is written again."""
        try:
            return np.load(self._path(key), mmap_mode="r", allow_pickle=False)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, EOFError):
            with suppress(OSError):
                self._path(key).unlink()
            return None

    def put(self, key: str, array: np.ndarray) -> None:
        """Nothing happens where the folder is full, or the disk."""
        content = io.BytesIO()
        np.save(content, array)
        with suppress(OSError):
            if self._reserve(content.getbuffer().nbytes):
                write_cache(self._path(key), content.getbuffer())

    def bytes(self) -> int:
        """Counted as used, by all processes together."""
        self._reserve(0)
        return int(self._count.read_text())

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key[2:]}.npy"

    def _reserve(self, size: int) -> bool:
        """Whether there is room; then it is taken, before anything is written: a kill leaves the count too high, never
        too low."""
        import fcntl

        with open(self._count, "a+") as file:
            with suppress(OSError):  # a file system without locks: the count may then miss some
                fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            said = file.read()
            used = int(said) if said.isdecimal() else self._measured()
            fits = used + size <= self.most_bytes
            if fits or not said:
                file.truncate(0)
                file.write(str(used + size if fits else used))
            return fits

    def _measured(self) -> int:
        return sum(path.stat().st_size for path in self.folder.glob("*/*"))
