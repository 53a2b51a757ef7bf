"""From a clip to the file it is in: only files inside the library's media folders, links resolved, are ever opened."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from seehear.errors import SeehearError
from seehear.library.records import unprintable
from seehear.library.tables import Clip, Library, quote
from seehear.serve.problems import Problem

TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".ogv": "video/ogg",
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".wav": "audio/wav",
    ".ogg": "audio/ogg",
    ".oga": "audio/ogg",
    ".opus": "audio/ogg",
    ".flac": "audio/flac",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".hif": "image/heif",
}
_PLAYED = {".mp4", ".m4v", ".mov", ".webm", ".mp3", ".m4a", ".aac", ".wav", ".ogg", ".oga", ".opus", ".flac"}


def clip_of(library: Library, name: str) -> Clip:
    found = library.clips(f"id = {quote(name)}")
    if not found:
        raise Problem(404, "no_clip", f"the library has no clip {name!r}", "search again: the library has changed")
    return found[0]


@dataclass(frozen=True)
class Folders:
    """Where a library's media are, and the other folders that may be served from."""

    library: Library
    roots: dict[str, str]
    also: tuple[Path, ...] = ()

    def file(self, clip: Clip, modality: str) -> Path:
        """The clip's file of pictures or of sound. Raises a `Problem` that says what to do when it cannot be served."""
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
    """By the kind of file; a browser that cannot after all is offered a preview."""
    return Path(path).suffix.lower() in _PLAYED
