"""Files of the library: films, photos and sounds by date or folder, with the steps that are still to be done."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from os.path import splitext
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple

from fastapi import FastAPI
from fastapi import Query as Param
from pydantic import BaseModel, Field

from seehear.library.records import COARSE, UNCUT, bare, digest
from seehear.library.tables import Library, Reject, Source
from seehear.library.transcripts import unread
from seehear.search.behind import not_encodable
from seehear.search.index import indexed_clips
from seehear.serve.files import TYPES, played_by_browsers
from seehear.serve.state import State

Step = Literal["scenes", "index", "speech", "screen"]
Order = Literal["date", "folder"]
FilmKind = Literal["video", "picture", "sound", "aside"]
_COLUMNS = ("id", "source", "audio_source", "start", "end", "has_video", "has_audio")
_PAUSE = 10.0
"""Least time between two readings of a library that changes, in multiples of the time the last one took."""


class FilmEntry(BaseModel):
    name: str = Field(description="path of the file in the library: `source` of its clips")
    kind: FilmKind = Field(description="aside: the file could not be used; see `problem`")
    seconds: float = Field(description="length; 0 for a picture")
    folder: str = Field(description="folder below the media folder; '' for the media folder itself")
    date: float | None = Field(description="when the file was last changed, in seconds since 1970; null if not known")
    clip: str = Field(description="id of its middle clip, for a poster or a preview; '' for a file set aside")
    start: float = Field(description="seconds in the file at which that clip begins")
    end: float
    clips: int
    found: int = Field(description="clips that can be searched")
    waiting: list[Step] = Field(
        description="steps to be done. scenes: cut it at scenes and pauses; index: make all clips searchable; "
        "speech, screen: read what is spoken, and written on screen"
    )
    played: bool = Field(description="browsers play files of this kind; else ask for /api/preview")
    problem: str = Field(description="why the file, or a part of it, could not be used; '' for none")
    also: list[str] = Field(description="other places of the same file")


class GroupView(BaseModel):
    key: str = Field(description="a month as 2026-11, '' if not known; or a folder")
    by: Literal["date", "folder", "aside"]
    count: int


class FilmList(BaseModel):
    version: str = Field(description="changes whenever the list does")
    root: str = Field(description="name of the media folder")
    total: int
    kinds: dict[FilmKind, int]
    waiting: dict[Step, int] = Field(description="files that wait for each step")
    groups: list[GroupView] = Field(description="all groups in the order of the list, files set aside last")
    films: list[FilmEntry] = Field(description="the requested part of the list")


@dataclass(frozen=True)
class Shelf:
    """Snapshot of all files of a library."""

    version: str
    root: str
    kinds: dict[FilmKind, int]
    waiting: dict[Step, int]
    orders: dict[Order, tuple[list[FilmEntry], list[GroupView]]]

    @classmethod
    def read(cls, library: Library, version: str) -> Shelf:
        films = list(_films(library))
        first = library.roots().get("", "")
        return cls(
            version=version,
            root=PurePosixPath(first.replace("\\", "/")).name,
            kinds=dict(Counter(film.kind for film in films)),
            waiting=dict(Counter(step for film in films for step in film.waiting)),
            orders={"date": _ordered(films, "date"), "folder": _ordered(films, "folder")},
        )

    def part(self, by: Order, offset: int, limit: int) -> FilmList:
        films, groups = self.orders[by]
        return FilmList(
            version=self.version,
            root=self.root,
            total=len(films),
            kinds=self.kinds,
            waiting=self.waiting,
            groups=groups,
            films=films[offset : offset + limit],
        )


class Shelves:
    """The current shelf of a server's library, read again when the library has changed."""

    def __init__(self, state: State):
        self._state = state
        self._lock = threading.Lock()
        self._library: Library | None = None
        self._shelf: Shelf | None = None
        self._due = 0.0

    def now(self) -> Shelf:
        library = self._state.runs.library
        with self._lock:
            if self._shelf is None or (library is not self._library and time.monotonic() >= self._due):
                version = _version(library)
                if self._shelf is None or self._shelf.version != version:
                    began = time.monotonic()
                    self._shelf = Shelf.read(library, version)
                    self._due = time.monotonic() + _PAUSE * (time.monotonic() - began)
                self._library = library
            return self._shelf


def routes(app: FastAPI) -> None:
    shelves = Shelves(app.state.seehear)

    @app.get("/api/films", tags=["library"])
    def films(
        by: Order = "date",
        offset: Annotated[int, Param(ge=0, le=10**9)] = 0,
        limit: Annotated[int, Param(ge=0, le=500)] = 100,
    ) -> FilmList:
        """Films, photos and sounds of the library, one entry a file: the newest first, or folder by folder."""
        return shelves.now().part(by, offset, limit)


# -- reading -----------------------------------------------------------------------------------------------------------


def _version(library: Library) -> str:
    """Hash of the versions of the tables that the list is made from."""
    read = ("clips", "sources", "rejects", "transcripts")
    names = [name for name in library.tables() if name in read or name.startswith("vectors_")]
    return digest(*(f"{name} {library.table(name).version}" for name in sorted(names)))


class _ClipRow(NamedTuple):
    """Columns of a clip that the list needs: a tuple, since there are 10^5."""

    id: str
    start: float
    end: float
    has_video: bool


def _films(library: Library) -> Iterable[FilmEntry]:
    sources, rejects = library.sources(), library.rejects()
    waiting = _Waiting(library, sources, rejects)
    also, files = library.copies(), _clips_by_file(library)
    file_of: dict[str, str] = {}
    for name, clips in files.items():
        file_of |= {clip.id: name for clip in clips} | {name: name}
    problems, aside = _problems(rejects, file_of)
    for name, clips in files.items():
        clips.sort(key=lambda clip: (clip.start, clip.end))
        middle, source = clips[len(clips) // 2], sources.get(name)
        kind = _kind(name, clips)
        seconds = (source.duration if source else 0.0) or max(clip.end for clip in clips)
        yield FilmEntry(
            name=name,
            kind=kind,
            seconds=0.0 if kind == "picture" else round(seconds, 3),
            folder=_folder(name),
            date=_date(source.mtime_ns if source else 0),
            clip=middle.id,
            start=middle.start,
            end=middle.end,
            clips=len(clips),
            found=sum(clip.id in waiting.indexed for clip in clips),
            waiting=waiting.steps(name, clips),
            played=played_by_browsers(name),
            problem=problems.get(name, ""),
            also=list(also.get(name, ())),
        )
    yield from map(_set_aside, aside)


def _clips_by_file(library: Library) -> dict[str, list[_ClipRow]]:
    rows = library.table("clips").search().select(list(_COLUMNS)).limit(None).to_arrow()
    files: dict[str, list[_ClipRow]] = {}
    columns = (rows[name].to_pylist() for name in _COLUMNS)
    for id, source, audio, start, end, seen, heard in zip(*columns, strict=True):
        if seen or heard:  # no row of text alone
            files.setdefault(source or audio, []).append(_ClipRow(id, start, end, seen))
    return files


class _Waiting:
    """Steps still to be done for each file, by the same rules as the work itself."""

    def __init__(self, library: Library, sources: Mapping[str, Source], rejects: Sequence[Reject]):
        self.sources, self.indexed = sources, indexed_clips(library)
        self._settled = self.indexed | not_encodable(rejects)
        self._unread: dict[Step, Mapping[str, float]] = {
            "speech": unread(library, "speech", sources),
            "screen": unread(library, "screen", sources),
        }

    def steps(self, name: str, clips: Sequence[_ClipRow]) -> list[Step]:
        source = self.sources.get(name)
        steps: list[Step] = ["scenes"] if source and source.info.get(COARSE) == UNCUT else []
        steps += ["index"] if any(clip.id not in self._settled for clip in clips) else []
        return steps + [step for step, files in self._unread.items() if name in files]


def _problems(rejects: Sequence[Reject], file_of: Mapping[str, str]) -> tuple[dict[str, str], list[Reject]]:
    """({file with clips: why a part of it could not be used}, rejects of other files). The reject of a part names the
    file or clip, with the part in brackets."""
    problems: dict[str, str] = {}
    aside = []
    for reject in sorted(rejects, key=lambda reject: reject.path):
        file = file_of.get(reject.path) or file_of.get(reject.path.rpartition(" (")[0])
        if file is None:
            aside.append(reject)
        else:
            problems.setdefault(file, reject.reason)
    return problems, aside


def _set_aside(reject: Reject) -> FilmEntry:
    facts: dict[str, Any] = {"clip": "", "start": 0.0, "end": 0.0, "clips": 0, "found": 0, "waiting": [], "also": []}
    return FilmEntry(
        name=reject.path,
        kind="aside",
        seconds=0.0,
        folder=_folder(reject.path),
        date=_date(reject.mtime_ns),
        played=False,
        problem=reject.reason,
        **facts,
    )


def _kind(name: str, clips: Sequence[_ClipRow]) -> FilmKind:
    """Kind of a file, by the rule of `views.is_still`."""
    seen = [clip for clip in clips if clip.has_video]
    if TYPES.get(splitext(name)[1].lower(), "").startswith("image/"):
        return "picture"
    if any(clip.start or clip.end for clip in seen):
        return "video"
    return "picture" if seen else "sound"


def _folder(name: str) -> str:
    return bare(name).rpartition("/")[0]


def _date(mtime_ns: int) -> float | None:
    return round(mtime_ns / 1e9, 3) if mtime_ns else None


# -- order -------------------------------------------------------------------------------------------------------------


def _ordered(films: Sequence[FilmEntry], by: Order) -> tuple[list[FilmEntry], list[GroupView]]:
    """Sorted files, those set aside last, and their groups in the same order."""

    def group(film: FilmEntry) -> tuple[str, Any]:
        if film.kind == "aside":
            return "", "aside"
        return (film.folder, "folder") if by == "folder" else (_month(film.date), "date")

    orders: dict[Order, Callable[[FilmEntry], Any]] = {
        "date": lambda film: (-(film.date or 0.0), _natural(film.name)),
        "folder": lambda film: (_natural(film.folder), film.folder, _natural(film.name)),
    }
    found = sorted(films, key=lambda film: (film.kind == "aside", *orders[by](film)))
    counts = Counter(map(group, found))  # in the order of the list
    return found, [GroupView(key=key, by=kind, count=count) for (key, kind), count in counts.items()]


def _month(date: float | None) -> str:
    return "" if date is None else datetime.fromtimestamp(date).strftime("%Y-%m")


def _natural(name: str) -> list[Any]:
    """Sort key by which film 2 comes before film 10: words and numbers alternate, so any two keys can be compared."""
    return [int(part) if n % 2 else part for n, part in enumerate(re.split(r"(\d{1,18})", name.casefold()))]
