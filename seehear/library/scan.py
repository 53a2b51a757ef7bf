"""Media files of a folder, and the text files beside them."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from stat import S_ISREG

from seehear.library.records import Reject, digest, printable
from seehear.library.subtitles import SUFFIXES as SUBTITLES

VIDEO = "mp4 m4v mov mkv webm avi mpg mpeg mpe m2v vob ts mts m2ts wmv asf flv f4v 3gp 3g2 ogv mxf gif y4m h264 hevc"
AUDIO = "wav flac mp3 m4a aac ogg oga opus wma aif aiff au mka ac3 amr caf wv"
PICTURES = "jpg jpeg jpe jfif png webp bmp tif tiff avif heic heif hif"
# Suffixes of media that no reader supports.
UNREAD = "cr2 cr3 nef arw dng raf orf rw2 psd svg jxl jp2 heics avifs mid midi rm swf braw r3d"
MEDIA = frozenset(f".{suffix}" for suffix in f"{VIDEO} {AUDIO} {PICTURES}".split())
# Suffixes without information about the content: these files are opened.
_UNNAMED = frozenset(("", ".part", ".partial", ".crdownload", ".tmp", ".bak", ".bin"))
# Number of files of any other suffix that are opened: to open all would take minutes.
_TRIES = 20
# First bytes of JPEG, PNG, GIF, WAV and AVI, Ogg, FLAC, MP3 and Matroska; MP4 has its mark further on.
_MAGIC = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3")
_TEXTS = (*SUBTITLES, ".txt", ".json")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{2,8})*(-orig)?")


@dataclass(frozen=True, kw_only=True)
class Sidecars:
    """Paths of the text files of a media file; '' for a missing one."""

    subtitles: str = ""
    captions: str = ""
    facts: str = ""

    def state(self) -> str:
        """Digest of their names, sizes and times."""
        parts = []
        for path in (self.subtitles, self.captions, self.facts):
            stat = os.stat(path) if path else None
            parts += [printable(path), f"{stat.st_size} {stat.st_mtime_ns}" if stat else ""]
        return digest(*parts)


@dataclass(frozen=True, kw_only=True)
class MediaFile:
    """A media file as the file system shows it."""

    source: str
    """Name in the library; from `Folder` the path inside the folder, with forward slashes."""
    path: str
    size: int
    mtime_ns: int
    sidecars: Sidecars = Sidecars()

    @classmethod
    def at(cls, path: str, source: str) -> MediaFile | None:
        """The file at a path; None if that is no regular file, such as a pipe, whose reader would wait for ever. Raises
        `OSError` if there is none."""
        stat = os.stat(path)
        if not S_ISREG(stat.st_mode):
            return None
        return cls(source=source, path=path, size=stat.st_size, mtime_ns=stat.st_mtime_ns)


class Folder:
    """Media files of a folder. `unreadable` lists the entries that cannot be read."""

    def __init__(self, folder: str | Path, *, language: str, skip: str | Path = ""):
        self.folder = str(Path(folder).resolve())
        self.language = language
        self.skip = str(Path(skip).resolve()) if skip else ""
        self.unreadable: list[Reject] = []
        # Opened files that are no media, by suffix.
        self._opened: Counter[str] = Counter()

    def __iter__(self) -> Iterator[MediaFile]:
        """Media files in order of their names, without hidden ones. Links are followed, loops of links once."""
        visited: set[tuple[int, int]] = set()
        for here, folders, files in os.walk(self.folder, followlinks=True, onerror=self._unreadable):
            # Device and inode tell a folder that a link leads to a second time.
            stat = os.stat(here)
            if (stat.st_dev, stat.st_ino) in visited or here == self.skip:
                folders.clear()
                continue
            visited.add((stat.st_dev, stat.st_ino))
            # In place, as `os.walk` goes on with this list; its order is that of the clips.
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            listing = Listing(here, [name for name in files if not name.startswith(".")], language=self.language)
            for name in listing.media:
                path = os.path.join(here, name)
                try:
                    file = MediaFile.at(path, self._name(path))
                except OSError as error:
                    # A link to nowhere, or gone since it was listed.
                    self._unreadable(error)
                    continue
                if file is None:
                    self._reject(path, "is no regular file")
                else:
                    yield replace(file, sidecars=listing.sidecars(name))
            for name in sorted(files):
                self._look(os.path.join(here, name))

    def _look(self, path: str) -> None:
        """Lists a file that looks like media but is not read, with the reason."""
        suffix, reason = os.path.splitext(path)[1].lower(), ""
        if os.path.basename(path).startswith(".") or suffix in MEDIA:
            return
        if suffix[1:] in UNREAD.split():
            reason = f"{suffix[1:]} files are not read: convert it to JPEG, MP4 or WAV"
        elif (suffix in _UNNAMED or self._opened[suffix] < _TRIES) and os.path.isfile(path):
            # Not a pipe, whose reader would wait for ever.
            head = b""
            with suppress(OSError), open(path, "rb") as file:
                head = file.read(16)
            if head.startswith(_MAGIC) or head[4:8] == b"ftyp":
                reason = "looks like a media file that is not named as one: rename it, to .mp4, .wav or .jpg"
            else:
                self._opened[suffix] += 1
        if reason:
            self._reject(path, reason)

    def _unreadable(self, error: OSError) -> None:
        self._reject(os.fsdecode(error.filename), error.strerror or str(error))

    def _reject(self, path: str, reason: str) -> None:
        self.unreadable.append(Reject(path=printable(self._name(path)), stage="scan", reason=reason))

    def _name(self, path: str) -> str:
        return PurePath(os.path.relpath(path, self.folder)).as_posix()


class Listing:
    """Media files of one directory, each with its text files."""

    def __init__(self, directory: str, names: list[str], *, language: str):
        self.directory, self.language = directory, language
        self.media = sorted(name for name in names if os.path.splitext(name)[1].lower() in MEDIA)
        stems = {os.path.splitext(name)[0] for name in self.media}
        self._texts: dict[str, list[tuple[str, str]]] = {}
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in _TEXTS:
                continue
            base, dot, tag = stem.rpartition(".")
            # a.en.srt belongs to a.mp4, unless there is a film a.en.mp4.
            tagged = dot and stem not in stems and _LANGUAGE.fullmatch(tag) and f".{tag.lower()}" not in MEDIA
            self._texts.setdefault(base if tagged else stem, []).append((tag if tagged else "", name))

    def sidecars(self, name: str) -> Sidecars:
        """Text files of a.mp4: a.srt, a.mp4.srt or a.en.srt (or .vtt, .ass, .ssa), a.txt, a.json."""
        texts = self._texts.get(os.path.splitext(name)[0], []) + self._texts.get(name, [])
        suffixes = [(tag, os.path.splitext(text)[1].lower(), text) for tag, text in texts]
        subtitles = [(self._rank(tag), SUBTITLES.index(end), text) for tag, end, text in suffixes if end in SUBTITLES]
        plain = {end: os.path.join(self.directory, text) for tag, end, text in suffixes if not tag}
        return Sidecars(
            subtitles=os.path.join(self.directory, min(subtitles)[2]) if subtitles else "",
            captions=plain.get(".txt", ""),
            facts=plain.get(".json", ""),
        )

    def _rank(self, tag: str) -> tuple[int, str]:
        """Order of languages: the preferred one, none, English, others."""
        language = re.split("[-_]", tag.lower())[0]
        wanted = self.language.lower()
        if wanted and wanted in (tag.lower(), language):
            return 0, tag
        return (1 if not tag else 2 if language in ("en", "eng") else 3), tag
