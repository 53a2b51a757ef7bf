"""Downloads of moments: cut out as files, or listed for a player or an editor."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, BinaryIO, Literal
from urllib.parse import quote
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse
from pydantic import Field

from seehear.errors import DecodeError
from seehear.folders.export import clip_name, safe_stem, unused_name
from seehear.library.workers import WorkerDied
from seehear.media.remux import cut, suffix_of_cut
from seehear.progress import counted
from seehear.search.lists import EditFacts, Listed, edit_facts, list_text
from seehear.serve import views
from seehear.serve.files import TYPES
from seehear.serve.problems import Problem
from seehear.serve.runs import broken
from seehear.serve.schema import Name, Responses, Second, StrictModel
from seehear.serve.state import ServerState, State

MOST_CLIPS, MOST_SECONDS = 100, 3600.0
"""Largest download: cut within minutes, and small enough for a browser."""
_CHUNK = 2**20
_LIST_TYPES = {"m3u": "audio/x-mpegurl", "csv": "text/csv", "edl": "text/plain", "otio": "application/json"}
_FILE: Responses = {200: {"content": {"*/*": {}}, "description": "a file to save"}}


class ExportHit(StrictModel):
    clip: Name
    start: Second | None = Field(default=None, description="seconds of the file; the clip's by default")
    end: Second | None = None
    kind: Annotated[Name, Field(max_length=20)] = Field(default="", description="kind of match, for a list")
    text: Name = Field(default="", description="text of the hit, for a list")


class ExportQuery(StrictModel):
    hits: list[ExportHit] = Field(min_length=1, max_length=1000)
    format: Literal["mp4", "m3u", "csv", "edl", "otio"] = Field(
        description=f"mp4: a file, or a ZIP of several; {MOST_CLIPS} clips and {MOST_SECONDS / 60:.0f} minutes at most"
    )
    title: Annotated[Name, Field(max_length=200)] = Field(default="", description="of the list and its file")


router = APIRouter()


@router.get("/api/cut", tags=["media"], responses=_FILE, response_class=StreamingResponse)
def cut_out(
    state: ServerState, clip: Name, start: Second | None = None, end: Second | None = None
) -> StreamingResponse:
    """A clip, or its file from `start` to `end`, as a file to save: films as MP4, without encoding again where
    possible, sounds and pictures in their own format."""
    return _download(state, _moment(state, ExportHit(clip=clip, start=start, end=end)))


@router.post("/api/export", tags=["media"], responses=_FILE, response_class=Response)
def export(state: ServerState, query: ExportQuery) -> Response:
    """Several moments: cut out, or in a list for a player (m3u), a table (csv) or an editor (edl, otio)."""
    moments = [_moment(state, hit) for hit in query.hits]
    name = safe_stem(query.title or "seehear")
    if query.format != "mp4":

        def facts(path: str) -> EditFacts:
            # An editor finds out the facts of an unreadable file itself.
            with suppress(DecodeError, WorkerDied, OSError):
                return state.quick(edit_facts, path)
            return EditFacts()

        text = list_text(f".{query.format}", moments, title=query.title or "seehear", facts=facts)
        headers = {"content-disposition": attachment(f"{name}.{query.format}")}
        return Response(text.encode(), media_type=_LIST_TYPES[query.format], headers=headers)
    if len(moments) == 1:
        return _download(state, moments[0])
    # Refused before the first clip is cut: once bytes are sent, an answer has no status to say so.
    _check_size(moments)
    taken: set[str] = set()
    # Numbered, so that the order of the selection survives in a folder.
    named = {unused_name(f"{n:02} {_name(state, m)}", taken): m for n, m in enumerate(moments, start=1)}
    headers = {"content-disposition": attachment(f"{name}.zip")}
    return StreamingResponse(_zipped(state, named), media_type="application/zip", headers=headers)


def _moment(state: State, hit: ExportHit) -> Listed:
    clip = state.clip(hit.clip)
    video, audio = (str(state.file(clip, m)) if clip.has(m) else "" for m in ("video", "audio"))
    start = clip.start if hit.start is None else hit.start
    end = clip.end if hit.end is None else hit.end
    if not (video or audio):
        raise Problem(404, "no_media", f"clip {clip.id!r} is of text alone")
    if views.is_still(clip):
        start = end = 0.0
    elif end <= start:
        raise Problem(422, "empty", f"nothing is from {start:g} to {end:g} s", "let the end be later than the start")
    return Listed(video=video, audio=audio, start=start, end=end, kind=hit.kind, text=hit.text)


def _name(state: State, moment: Listed) -> str:
    return clip_name(moment, state.quick(suffix_of_cut, moment.video, moment.audio))


def _check_size(moments: Sequence[Listed]) -> None:
    seconds = sum(moment.end - moment.start for moment in moments)
    if len(moments) > MOST_CLIPS or seconds > MOST_SECONDS:
        asked = f"{counted(len(moments), 'clip')} of {math.ceil(seconds / 60)} minutes"
        most = f"at most {MOST_CLIPS} clips and {MOST_SECONDS / 60:.0f} minutes"
        raise Problem(422, "too_much", f"{asked} in all: one download holds {most}", "select less")


def _cut(state: State, moment: Listed) -> BinaryIO:
    """The moment as an open file without a name, so that closing it, in whatever way, deletes it."""
    # A name of its own: two requests may cut the same moment at once.
    path = state.cache.folder / f"cut-{uuid.uuid4().hex}"
    try:
        # POSIX keeps the content of a deleted file until it is closed.
        state.slow(cut, moment.video, moment.audio, moment.start, moment.end, str(path))
        return path.open("rb")
    except (DecodeError, WorkerDied) as error:
        raise broken(error, moment.file, f"{moment.title} cannot be cut") from error
    finally:
        path.unlink(missing_ok=True)
        # The unfinished file of a killed process.
        path.with_name(f"{path.name}.part").unlink(missing_ok=True)


def _download(state: State, moment: Listed) -> StreamingResponse:
    _check_size([moment])
    name = _name(state, moment)
    file = _cut(state, moment)
    size = file.seek(0, 2)
    file.seek(0)
    headers = {"content-disposition": attachment(name), "content-length": str(size)}
    kind = TYPES.get(Path(name).suffix, "application/octet-stream")
    return StreamingResponse(_chunks(file), media_type=kind, headers=headers)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


class _Sink:
    """Output file of a ZIP archive that is sent while it is written: memory holds one chunk."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Does nothing: there is no buffer."""

    close = flush

    def take(self) -> bytes:
        sent, self._parts = b"".join(self._parts), []
        return sent


def _zipped(state: State, named: dict[str, Listed]) -> Iterator[bytes]:
    """Chunks of a ZIP of the clips, cut one by one. Clips that cannot be cut are listed in a text file at the end."""
    sink, failed = _Sink(), []
    # Stored, not deflated: films are compressed already.
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for name, moment in named.items():
            try:
                file = _cut(state, moment)
            except Problem as problem:
                # The status has been sent: what fails now can be told in the archive only.
                failed.append(f"{name}: {problem.message}\n")
                continue
            info = ZipInfo(name)
            # Known before writing: an entry above 2 GB has another header.
            info.file_size = file.seek(0, 2)
            file.seek(0)
            with archive.open(info, "w") as entry:
                for chunk in _chunks(file):
                    entry.write(chunk)
                    yield sink.take()
        if failed:
            archive.writestr("not saved.txt", "".join(failed))
    yield sink.take()


def attachment(name: str) -> str:
    """Content-Disposition header that saves a file under this name, in plain ASCII whatever the name contains."""
    # Old browsers read `filename`, all others prefer `filename*` (RFC 6266).
    plain = re.sub(r'[^ -~]|["\\%]', "_", name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
