"""Files of the library: films, photos and sounds by date or folder, with the steps that are still to be done."""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi import Query as Param
from pydantic import BaseModel, Field

from seehear.library.records import COARSE, UNCUT, bare, digest
from seehear.library.tables import Clip, LibraryTables, Reject
from seehear.library.transcripts import unread
from seehear.search.behind import not_encodable
from seehear.search.index import indexed_clips
from seehear.serve.files import played_by_browsers
from seehear.serve.state import State
from seehear.serve.views import kind_of_clip

Step = Literal["scenes", "index", "speech", "screen"]
Order = Literal["date", "folder"]
FilmKind = Literal["video", "picture", "sound", "aside"]
_COLUMNS = ("id", "source", "audio_source", "start", "end", "has_video", "has_audio")
# Pause between two readings of a library that changes, in multiples of the last reading's duration
PAUSE = 10.0


class FilmEntry(BaseModel):
    name: str = Field(description="path of the file in the library: `source` of its clips")
    kind: FilmKind = Field(description="aside: the file could not be used; see `problem`")
    seconds: float = Field(description="length; 0 for a picture")
    folder: str = Field(description="folder below the media folder; '' for the media folder itself")
    date: float | None = Field(description="time of the file's last change, in seconds since 1970; null if unknown")
    clip: str = Field(
        default="", description="id of its middle clip, for a poster or a preview; '' for a file set aside"
    )
    start: float = Field(description="seconds in the file at which that clip begins")
    end: float
    clips: int
    found: int = Field(description="clips that can be searched")
    waiting: list[Step] = Field(
        description="steps to be done. scenes: cut it at scenes and pauses; index: make all clips searchable; "
        "speech, screen: read what is spoken, and written on screen",
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


class Shelves:
    """Complete list of a server's library in each order, read again when the library has changed."""

    def __init__(self, state: State):
        self._state = state
        self._lock = threading.Lock()
        self._library: LibraryTables | None = None
        self._lists: dict[Order, FilmList] = {}
        self._due = 0.0

    def now(self, by: Order) -> FilmList:
        library = self._state.runs.library
        with self._lock:
            # While a folder is indexed the library changes every second, and reading a large one takes seconds.
            if not self._lists or (library is not self._library and time.monotonic() >= self._due):
                read = ("clips", "sources", "rejects", "transcripts")
                names = [name for name in library.tables() if name in read or name.startswith("vectors_")]
                version = digest(*(f"{name} {library.table(name).version}" for name in sorted(names)))
                if not self._lists or self._lists[by].version != version:
                    began = time.monotonic()
                    films = list(_films(library))
                    self._lists = {order: _film_list(library, version, films, order) for order in ("date", "folder")}
                    self._due = time.monotonic() + PAUSE * (time.monotonic() - began)
                # The same object is the same snapshot: comparing objects is enough to see that nothing changed.
                self._library = library
            return self._lists[by]


router = APIRouter()


@router.get("/api/films", tags=["library"])
def films(
    request: Request,
    by: Order = "date",
    offset: Annotated[int, Param(ge=0, le=10**9)] = 0,
    limit: Annotated[int, Param(ge=0, le=500)] = 100,
) -> FilmList:
    """Films, photos and sounds of the library, one entry a file: the newest first, or folder by folder."""
    shelves: Shelves = request.app.state.shelves
    whole = shelves.now(by)
    return whole.model_copy(update={"films": whole.films[offset : offset + limit]})


# -- reading -----------------------------------------------------------------------------------------------------------


def _films(library: LibraryTables) -> Iterable[FilmEntry]:
    sources, rejects, also = library.sources(), library.rejects(), library.copies()
    indexed = indexed_clips(library)
    settled = indexed | not_encodable(rejects)
    speech, screen = unread(library, "speech", sources), unread(library, "screen", sources)
    files: dict[str, list[Clip]] = {}
    # Without the texts, which are most of a library; a row of text alone has no file.
    for clip in (Clip(**row) for row in library.rows("clips", "has_video OR has_audio", _COLUMNS).to_pylist()):
        files.setdefault(clip.source or clip.audio_source, []).append(clip)
    problems, aside = _problems(rejects, files)
    for name, clips in files.items():
        clips.sort(key=lambda clip: (clip.start, clip.end))
        middle, source = clips[len(clips) // 2], sources.get(name)
        kind: Any = kind_of_clip(max(clips, key=lambda clip: (clip.has_video, clip.start, clip.end)))
        seconds = (source.duration if source else 0.0) or max(clip.end for clip in clips)
        # The same rules by which the work itself finds what to do.
        waiting: list[Step] = ["scenes"] if source and source.info.get(COARSE) == UNCUT else []
        waiting += ["index"] if any(clip.id not in settled for clip in clips) else []
        waiting += ["speech"] if name in speech else []
        waiting += ["screen"] if name in screen else []
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
            found=sum(clip.id in indexed for clip in clips),
            waiting=waiting,
            played=played_by_browsers(name),
            problem=problems.get(name, ""),
            also=list(also.get(name, ())),
        )
    for reject in aside:
        facts: dict[str, Any] = {"clip": "", "start": 0, "end": 0, "clips": 0, "found": 0, "waiting": [], "also": []}
        facts |= {"seconds": 0, "played": False, "folder": _folder(reject.path), "date": _date(reject.mtime_ns)}
        yield FilmEntry(name=reject.path, kind="aside", problem=reject.reason, **facts)


def _problems(rejects: Sequence[Reject], files: Mapping[str, Sequence[Clip]]) -> tuple[dict[str, str], list[Reject]]:
    """({file with clips: why a part of it could not be used}, rejects of other files)."""
    file_of = {clip.id: name for name, clips in files.items() for clip in clips} | {name: name for name in files}
    problems: dict[str, str] = {}
    aside = []
    for reject in sorted(rejects, key=lambda reject: reject.path):
        # The reject of a part names the file or clip, with the part in brackets.
        file = file_of.get(reject.path) or file_of.get(reject.path.rpartition(" (")[0])
        if file is None:
            aside.append(reject)
        else:
            problems.setdefault(file, reject.reason)
    return problems, aside


def _folder(name: str) -> str:
    return bare(name).rpartition("/")[0]


def _date(mtime_ns: int) -> float | None:
    return round(mtime_ns / 1e9, 3) if mtime_ns else None


# -- order -------------------------------------------------------------------------------------------------------------


def _film_list(library: LibraryTables, version: str, films: Sequence[FilmEntry], by: Order) -> FilmList:
    """All files in an order, those set aside last, with their groups in the same order."""

    def place(film: FilmEntry) -> tuple[Any, ...]:
        last, name = film.kind == "aside", _natural(film.name)
        # The folder as it is spelled too: two that differ in case alone would mix.
        return (last, -(film.date or 0.0), name) if by == "date" else (last, _natural(film.folder), film.folder, name)

    def group(film: FilmEntry) -> tuple[str, Any]:
        if film.kind == "aside":
            return "", "aside"
        month = "" if film.date is None else datetime.fromtimestamp(film.date).strftime("%Y-%m")
        return (film.folder if by == "folder" else month), by

    found = sorted(films, key=place)
    # A Counter keeps the order in which the list names its groups.
    counts = Counter(map(group, found))
    return FilmList(
        version=version,
        root=PurePosixPath(library.roots().get("", "").replace("\\", "/")).name,
        total=len(films),
        kinds=dict(Counter(film.kind for film in films)),
        waiting=dict(Counter(step for film in films for step in film.waiting)),
        groups=[GroupView(key=key, by=kind, count=count) for (key, kind), count in counts.items()],
        films=found,
    )


def _natural(name: str) -> list[Any]:
    """Sort key that puts film 2 before film 10: words and numbers alternate, so any two keys can be compared."""
    # Digits in groups of 18: Python refuses to read a number of thousands of them.
    return [int(part) if n % 2 else part for n, part in enumerate(re.split(r"(\d{1,18})", name.casefold()))]
