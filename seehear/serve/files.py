"""Media files of clips, opened only inside the library's media folders, and the cache of files made from them."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError
from seehear.library.records import unprintable
from seehear.library.tables import Clip, LibraryTables, quote
from seehear.serve.problems import Problem

# Own table: that of the standard library depends on the system.
TYPES = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".ogv": "video/ogg", ".mp3": "audio/mpeg", ".m4a": "audio/mp4", ".aac": "audio/aac",
    ".wav": "audio/wav", ".ogg": "audio/ogg", ".oga": "audio/ogg", ".opus": "audio/ogg", ".flac": "audio/flac",
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".gif": "image/gif", ".webp": "image/webp",
    ".bmp": "image/bmp", ".avif": "image/avif", ".heic": "image/heic", ".heif": "image/heif", ".hif": "image/heif",
}  # fmt: skip
_CHECK_EVERY = 64  # new files between two checks of the cache's size
_PLAYED = {".mp4", ".m4v", ".mov", ".webm", ".mp3", ".m4a", ".aac", ".wav", ".ogg", ".oga", ".opus", ".flac"}


def clip_of(library: LibraryTables, name: str) -> Clip:
    clips = library.clips(f"id = {quote(name)}")
    if not clips:
        raise Problem(404, "no_clip", f"the library has no clip {name!r}", "search again: the library has changed")
    return clips[0]


@dataclass(frozen=True)
class Folders:
    """Media folders of a library, and further folders (`also`) that may be served."""

    library: LibraryTables
    roots: dict[str, str]
    also: tuple[Path, ...] = ()

    def file(self, clip: Clip, modality: str) -> Path:
        """The clip's file with pictures or with sound. Raises `Problem` if it cannot be served."""
        source = clip.source_of(modality)
        if not source:
            raise Problem(404, "no_media", f"clip {clip.id!r} is of text alone")
        try:
            path = self.library.path_of(source, self.roots)
        except SeehearError as error:
            raise Problem(404, "moved", str(error)) from error
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError, ValueError) as error:
            raise self._moved(source, path) from error
        # Links are resolved first: a link in a media folder may lead anywhere, and the folder may be a link itself.
        allowed: list[str | Path] = [*(unprintable(root) for root in self.roots.values()), *self.also]
        if not any(real.is_relative_to(os.path.realpath(folder)) for folder in allowed):
            message = f"{source} is, or is linked to, a place outside of the library's media folders"
            raise Problem(403, "outside", message, "allow its folder when you start the server, with --media")
        if not real.is_file():
            raise self._moved(source, path)
        return real

    def has(self, clip: Clip, modality: str) -> bool:
        try:
            self.file(clip, modality)
        except Problem:
            return False
        return True

    def _moved(self, source: str, path: Path) -> Problem:
        todo = f"put it back, or run 'seehear prepare FOLDER --library {self.library.uri}' for where the media are now"
        return Problem(404, "moved", f"{source} is no longer at {path}", todo)


def played_by_browsers(path: str) -> bool:
    """Whether browsers play files of this kind. Where one fails, the page offers a preview."""
    return Path(path).suffix.lower() in _PLAYED


class DiskCache:
    """Posters, waveforms and previews on disk, keyed by what they were made from: about `megabytes` at most. The least
    recently used are deleted first."""

    def __init__(self, folder: Path, megabytes: float):
        self.folder, self.limit = folder, megabytes * 1e6
        folder.mkdir(parents=True, exist_ok=True)
        self._made = 0
        self._making: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, *key: object, make: Callable[[Path], None]) -> Path:
        """The file of a key, written by `make` if missing, only once even for concurrent calls."""
        # Names of files may hold bytes that are no UTF-8, which Python keeps as surrogates.
        name = hashlib.blake2b("\x1f".join(map(repr, key)).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
        path = self.folder / name
        # A lock for each key: makers of other files do not wait.
        with self._lock:
            own = self._making.setdefault(name, threading.Lock())
        try:
            with own:
                if path.exists():
                    # Files are deleted by modification time: access times are often off.
                    os.utime(path)
                else:
                    make(path)
                    self._trim()
        finally:
            with self._lock:
                # A call that comes later makes a new lock, and finds the file if it was made.
                self._making.pop(name, None)
        return path

    def value(self, *key: object, make: Callable[[], Any]) -> Any:
        """The JSON value of a key, computed by `make` if missing."""
        path = self.get(*key, make=lambda out: write(out, json.dumps(make()).encode()))
        return json.loads(path.read_text(encoding="utf-8"))

    def _trim(self) -> None:
        with self._lock:
            self._made += 1
            # Listing a large folder takes longer than making a file.
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
    """Writes a file atomically."""
    # Named by process and thread: two that write the same file at once must not write into one.
    part = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    part.write_bytes(content)
    part.replace(path)
