"""From a clip to the file it is in: only files inside the library's media folders, links resolved, are ever opened."""

from __future__ import annotations

import os
from pathlib import Path

from seehear.data.library import Clip, Library, quote
from seehear.data.records import unprintable
from seehear.errors import SeehearError
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
}
_PLAYED = {".mp4", ".m4v", ".mov", ".webm", ".mp3", ".m4a", ".aac", ".wav", ".ogg", ".oga", ".opus", ".flac"}


def clip_of(library: Library, name: str) -> Clip:
    found = library.clips(f"id = {quote(name)}")
    if not found:
        raise Problem(404, "no_clip", f"the library has no clip {name!r}", "search again: the library has changed")
    return found[0]


def file_of(library: Library, clip: Clip, modality: str, roots: dict[str, str]) -> Path:
    """The clip's file of pictures or of sound. Raises a `Problem` that says what to do when it cannot be served."""
    source = clip.source_of(modality)
    if not source:
        raise Problem(404, "no_media", f"clip {clip.id!r} is of text alone")
    try:
        path = library.path_of(source, roots)
    except SeehearError as error:
        raise Problem(404, "moved", str(error)) from error
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _moved(library, source, path) from error
    if not any(real.is_relative_to(os.path.realpath(unprintable(root))) for root in roots.values()):
        message = f"{source} is, or is linked to, a place outside of the library's media folders"
        raise Problem(403, "outside", message, f"seehear prepare THAT-FOLDER --library {library.uri}")
    if not real.is_file():
        raise _moved(library, source, path)
    return real


def is_there(library: Library, clip: Clip, modality: str, roots: dict[str, str]) -> bool:
    try:
        file_of(library, clip, modality, roots)
    except Problem:
        return False
    return True


def _moved(library: Library, source: str, path: Path) -> Problem:
    todo = f"put it back, or run 'seehear prepare FOLDER --library {library.uri}' for where the media are now"
    return Problem(404, "moved", f"{source} is no longer at {path}", todo)


def played_by_browsers(path: str) -> bool:
    """By the kind of file; a browser that cannot after all is offered a preview."""
    return Path(path).suffix.lower() in _PLAYED
