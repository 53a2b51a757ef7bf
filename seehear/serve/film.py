"""One film, sound or photo: its scenes, all its texts, named sounds, and its loudness."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from seehear.library.records import COPY_OF
from seehear.library.tables import Clip, LibraryTables, in_batches, one_of, quote, table_name
from seehear.library.transcripts import as_edited
from seehear.search.calibrate import confidence, in_words
from seehear.search.index import indexes
from seehear.search.moments import MomentSearch
from seehear.serve import views
from seehear.serve.decoders import loudness
from seehear.serve.files import Folders, played_by_browsers
from seehear.serve.maps import SOUNDS
from seehear.serve.problems import CONVERT, Problem
from seehear.serve.schema import KEPT, MEDIA, NonEmpty, ProblemAnswer, Second, TextView
from seehear.serve.state import ServerState

_FACTS: dict[str, Any] = {"width": int, "height": int, "fps": float}
PART = 20.0
"""Seconds of a converted part of a film: converting one takes less time than playing the part before it."""
# Least confidence of a named sound: 'fair' or better, so that most of the names are right
_NAMED = 0.5


class Scene(BaseModel):
    id: str = Field(description="id of the clip")
    start: float
    end: float
    searchable: bool = Field(description="an index has it")
    labels: list[str]


class TimedText(TextView):
    confidence: float = Field(description="confidence of the machine, in [0, 1]")
    clip: str = Field(description="id of the first clip with this text")


class FilmDetail(BaseModel):
    file: str = Field(description="path of the file, as the library names it")
    name: str
    folder: str
    kind: Literal["video", "picture", "sound", "text"]
    seconds: float
    bytes: int | None
    width: int | None = Field(description="pixels; null if unknown, as `fps`")
    height: int | None
    fps: float | None = Field(description="frames a second on average")
    changed: str = Field(description="time of the file's last change, ISO 8601; '' if unknown")
    has_sound: bool
    separate_sound: bool = Field(description="the sound is in a separate file")
    played: bool = Field(description="browsers play files of this kind; else ask for /api/part, one after the other")
    problem: ProblemAnswer | None = Field(description="why the file cannot be played")
    also: list[str] = Field(description="other places of the same file")
    scenes: list[Scene] = Field(description="by start")
    texts: list[TimedText] = Field(description="by start; those of the whole file first")


class Loudness(BaseModel):
    seconds: float
    levels: list[float] = Field(description="loudness of equal parts, in [0, 1]: 0 at -60 dB or less, 1 at full scale")


class NamedSound(BaseModel):
    name: str
    start: float
    end: float
    words: Literal["strong", "fair"]


class Heard(BaseModel):
    sounds: list[NamedSound] = Field(description="by start; none if no index compares words with sounds")


router = APIRouter()


@router.get("/api/film", tags=["library"])
def film(state: ServerState, file: NonEmpty) -> FilmDetail:
    """A file of the library with its scenes and all its texts."""
    return film_detail(state.runs.library, state.runs.folders, file)


@router.get("/api/part", tags=["media"], responses=MEDIA, response_class=FileResponse)
def part(state: ServerState, file: NonEmpty, start: Second = 0.0) -> FileResponse:
    """20 seconds of a file from `start` on, as MP4 that begins at 0: for files that browsers do not play, and sound
    in a file of its own."""
    clips = _clips(state.runs.library, file)
    seen, heard = (any(clip.has(modality) for clip in clips) for modality in ("video", "audio"))
    end = _seconds(state.runs.library, clips)
    # `preview` plays inside of a clip: here one that is the whole file.
    whole = replace(clips[0], start=0.0, end=end, has_video=seen, has_audio=heard)
    converted = state.preview(whole, start, min(start + PART, whole.end))
    return FileResponse(converted, media_type="video/mp4", headers=KEPT)


@router.get("/api/loudness", tags=["media"])
def loud(state: ServerState, file: NonEmpty) -> Loudness:
    """Loudness of a file from its start to its end: measured once, which takes some seconds for a long film."""
    clips = _clips(state.runs.library, file)
    clip = next((clip for clip in clips if clip.has_audio), None)
    if clip is None:
        raise Problem(404, "no_media", f"there is no sound in {file}")
    seconds = _seconds(state.runs.library, clips)
    return Loudness(seconds=seconds, levels=state.measured(state.file(clip, "audio"), loudness, seconds))


@router.get("/api/heard", tags=["media"])
def heard(state: ServerState, file: NonEmpty) -> Heard:
    """Named sounds of a file that an index is confident of."""
    clips = _clips(state.runs.library, file)
    try:
        search = state.runs.together().search
    except Problem:
        # Nothing is indexed yet.
        return Heard(sounds=[])
    return Heard(sounds=named_sounds(search, clips))


# -- facts and texts ---------------------------------------------------------------------------------------------------


def film_detail(library: LibraryTables, folders: Folders, file: str) -> FilmDetail:
    clips = as_edited(library, _clips(library, file))
    first, entry = clips[0], _entry(library, file)
    files = {m: first.source_of(m) for m in ("video", "audio") if any(clip.has(m) for clip in clips)}
    problem = None
    for modality in files:
        try:
            folders.file(next(clip for clip in clips if clip.has(modality)), modality)
        except Problem as refusal:
            problem = refusal
    still, facts = views.is_still(first), json.loads(entry["info"]) if entry else {}
    path = PurePosixPath(file)
    changed = datetime.fromtimestamp(entry["mtime_ns"] / 1e9, UTC).isoformat(timespec="seconds") if entry else ""
    return FilmDetail(
        file=file,
        name=path.name,
        folder="" if str(path.parent) == "." else str(path.parent),
        kind=views.kind_of_clip(first),
        seconds=_seconds(library, clips),
        bytes=entry["size"] if entry else None,
        **{name: kind(facts[name]) if facts.get(name) else None for name, kind in _FACTS.items()},
        changed=changed,
        has_sound="audio" in files,
        separate_sound=len(set(files.values())) > 1,
        played=all(played_by_browsers(name) or (m == "video" and still) for m, name in files.items()),
        problem=problem and problem.plain(),  # type: ignore[arg-type]  # made a ProblemAnswer
        also=sorted({first.source, *library.copies().get(first.source, ())} - {file}),
        scenes=_scenes(library, clips),
        # Dicts, validated all at once: to make thousands of models one by one takes 0.1 s.
        texts=timed_texts(clips),  # type: ignore[arg-type]
    )


def _clips(library: LibraryTables, file: str) -> list[Clip]:
    """Clips of a file by start; of a copy, those of its original. Raises `Problem` if there are none."""
    entry = _entry(library, file)
    # A copy has no clips of its own.
    source = json.loads(entry["info"]).get(COPY_OF, file) if entry else file
    clips = library.clips(f"source = {quote(source)}")
    if clips:
        return sorted(clips, key=lambda clip: (clip.start, clip.end))
    if rejects := library.rows("rejects", f"path = {quote(file)}").to_pylist():
        raise Problem(422, "broken", f"{file} cannot be read: {rejects[0]['reason']}", CONVERT)
    raise Problem(404, "no_film", f"the library has no file {file!r}", "search again: the library has changed")


def _entry(library: LibraryTables, file: str) -> dict[str, Any] | None:
    """The row of a media file in `sources`."""
    rows = library.rows("sources", f"source = {quote(file)}").to_pylist()
    return rows[0] if rows else None


def _seconds(library: LibraryTables, clips: Sequence[Clip]) -> float:
    """Length of the file; 0 for a photo."""
    entry = _entry(library, clips[0].source)
    return max([clip.end for clip in clips] + [entry["duration"] if entry and not views.is_still(clips[0]) else 0.0])


def _scenes(library: LibraryTables, clips: Sequence[Clip]) -> list[Any]:
    searchable: set[str] = set()
    for name in indexes(library):
        # Read from the tables: opening an index may take seconds.
        for ids in in_batches([clip.id for clip in clips], 1000):
            rows = library.rows(table_name("vectors", name), one_of("id", ids), ["id"])
            searchable.update(rows["id"].to_pylist())
    return [vars(c) | {"searchable": c.id in searchable} for c in clips]


def timed_texts(clips: Sequence[Clip]) -> list[dict[str, Any]]:
    """Fields of `TimedText` for every text of the clips, without duplicates, by start. A text without a time gets that
    of its clip, unless other clips have it too."""
    shared = Counter((text.kind, text.text) for clip in clips for text in clip.texts if text.start is None)
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for clip in clips:
        for text in clip.texts:
            start, end = text.start, text.end
            if start is None and len(clips) > 1 and shared[text.kind, text.text] == 1:
                start, end = clip.start, clip.end
            line = views.text_fields(text) | {"start": start, "end": end, "clip": clip.id}
            lines.setdefault((text.kind, text.text, start, end), line)
    return sorted(lines.values(), key=lambda t: (-1.0 if t["start"] is None else t["start"], t["end"] or 0.0))


# -- sounds ------------------------------------------------------------------------------------------------------------


def named_sounds(search: MomentSearch, clips: Sequence[Clip]) -> list[NamedSound]:
    """The best name of each clip whose confidence suffices, by an index that compares words with sounds. Neighbours
    with the same name are joined."""
    best: dict[str, tuple[float, str]] = {}
    for index in search.indexes:
        if not (index.calibration.scales.get("heard") and index.count("heard") and "text" in index.space.modalities):
            continue
        rows = index.rows("heard")
        own_N = np.flatnonzero(index.clips.mask({clip.id for clip in clips})[index.clips_N[rows]])
        if not len(own_N):
            continue
        vectors_NE = index.vectors_NE[rows][own_N]
        words_SE = index.space.encode_query(list(SOUNDS))
        sure_SN = np.stack([confidence(index.calibration.words(vectors_NE, word_E, "heard")) for word_E in words_SE])
        sound_N = sure_SN.argmax(axis=0)
        for n, id in enumerate(index.clips.ids(index.clips_N[rows][own_N])):
            best[id] = max(best.get(id, (0.0, "")), (float(sure_SN[sound_N[n], n]), SOUNDS[sound_N[n]]))
    named: list[NamedSound] = []
    for clip in clips:
        sure, name = best.get(clip.id, (0.0, ""))
        if sure < _NAMED:
            continue
        words: Any = in_words(sure)
        # Half a second: scenes are cut on frames, and may not touch exactly.
        if named and named[-1].name == name and clip.start <= named[-1].end + 0.5:
            named[-1].end = max(named[-1].end, clip.end)
            named[-1].words = "strong" if "strong" in (words, named[-1].words) else "fair"
        else:
            named.append(NamedSound(name=name, start=clip.start, end=clip.end, words=words))
    return named
