"""Clips, hits and indexes as the API answers them (`schema.py`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from seehear.folders.standing import Standing
from seehear.library.records import TextKind as StoredKind
from seehear.library.records import printable
from seehear.library.tables import Clip, Library, Text
from seehear.search.answer import FilmHits, Moment
from seehear.search.background import kind_of_hit
from seehear.search.calibrate import in_words
from seehear.search.query import Hit
from seehear.serve.files import TYPES, Folders, played_by_browsers
from seehear.serve.schema import (
    ClipView,
    FilmAnswer,
    FilmMoment,
    HitView,
    Modality,
    ProgressView,
    TextKind,
    TextView,
)
from seehear.space.frozen import FROZEN

_LABELS = 300
_WAYS = {"video": "what is seen", "audio": "what is heard", "text": "words"}
_KINDS: Mapping[StoredKind, TextKind] = {
    "speech": "spoken",
    "screen": "screen",
    "subtitle": "subtitle",
    "caption": "caption",
}
_MODALITY_OF: Mapping[str, Modality] = {"seen": "video", "heard": "audio"}


def clip_view(clip: Clip, folders: Folders) -> ClipView:
    separate = bool(clip.has_audio and clip.audio_source and clip.audio_source != clip.source)
    files = [m for m in ("video", "audio") if clip.has(m)]
    return ClipView(
        id=clip.id,
        source=clip.source or clip.audio_source,
        kind=kind_of_clip(clip),
        start=clip.start,
        end=clip.end,
        has_sound=clip.has_audio,
        separate_sound=separate,
        played=all(played_by_browsers(clip.source_of(m)) or (m == "video" and is_still(clip)) for m in files),
        missing=not all(folders.has(clip, m) for m in files),
        texts=[
            TextView(text=t.text, kind=text_kind(t), start=t.start, end=t.end, machine=bool(t.by)) for t in clip.texts
        ],
        labels=list(clip.labels),
        group=clip.group,
        split=clip.split,
    )


def text_kind(text: Text) -> TextKind:
    return _KINDS[text.kind or "caption"]


def hit_view(hit: Hit, clip: Clip, folders: Folders, sure: float | None) -> HitView:
    """Hit of one index. `sure`: its confidence, where it has one."""
    return HitView(
        clip=clip_view(clip, folders),
        kind=kind_of_hit(hit, clip),  # type: ignore[arg-type]  # one of the five
        score=hit.score,
        confidence=sure,
        words=None if sure is None else in_words(sure),  # type: ignore[arg-type]  # one of the four
        modality=hit.modality,  # type: ignore[arg-type]  # of the library's three
        start=hit.start,
        end=hit.end,
        still=(hit.start + hit.end) / 2,
        text=hit.text,
        file=printable(hit.path),
        also=[printable(place) for place in hit.also],
    )


def moment_view(moment: Moment, clip: Clip, folders: Folders) -> HitView:
    return HitView(
        clip=clip_view(clip, folders),
        kind=moment.kind,  # type: ignore[arg-type]  # one of the five
        score=moment.score,
        confidence=moment.confidence,
        words=moment.words,  # type: ignore[arg-type]  # one of the four
        modality=_MODALITY_OF.get(moment.kind, "text"),
        start=moment.start,
        end=moment.end,
        still=moment.still,
        text=moment.text,
        file=printable(moment.file),
        also=[printable(place) for place in moment.also],
    )


def film_view(film: FilmHits, clip: Clip, folders: Folders, seconds: float | None) -> FilmAnswer:
    """Film with its moments. `clip`: that of the best moment. `seconds`: length of the film, where it is known."""
    return FilmAnswer(
        source=film.source,
        seconds=0.0 if is_still(clip) else seconds or max(hit.end for hit in film.hits),
        clip=clip_view(clip, folders),
        hits=[
            FilmMoment(
                clip=hit.clip,
                kind=hit.kind,  # type: ignore[arg-type]  # one of the five
                start=hit.start,
                end=hit.end,
                still=hit.still,
                text=hit.text,
                confidence=hit.confidence,
                words=hit.words,  # type: ignore[arg-type]  # one of the four
            )
            for hit in film.hits
        ],
        also=[printable(place) for place in film.hits[0].also],
    )


def is_still(clip: Clip) -> bool:
    """Whether the clip shows a single picture."""
    pictured = TYPES.get(Path(clip.source).suffix.lower(), "").startswith("image/")
    return clip.has_video and (pictured or clip.start == clip.end == 0.0)


def kind_of_clip(clip: Clip) -> Literal["video", "picture", "sound", "text"]:
    if is_still(clip):
        return "picture"
    return "video" if clip.has_video else "sound" if clip.has_audio else "text"


def facets(library: Library) -> Mapping[str, Any]:
    """Labels, splits and folders to filter by, without reading the clips' texts."""
    rows = library.table("clips").search().select(["labels", "split", "source"]).limit(None).to_arrow()
    labels = Counter(rows["labels"].combine_chunks().flatten().to_pylist())
    folders = Counter("/".join(source.split("/")[:-1]) for source in rows["source"].to_pylist())
    return {
        "labels": dict(labels.most_common(_LABELS)),
        "splits": dict(Counter(rows["split"].to_pylist())),
        "folders": sorted(name for name, _ in folders.most_common(_LABELS) if name),
    }


def titles(about: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Titles of indexes for people, by name; equal titles are followed by the name."""
    found = {}
    for name, own in about.items():
        if str(own.get("model", "")).startswith(FROZEN):
            what = ", ".join(_WAYS[m] for m in own["modalities"])
            found[name] = f"As it came (frozen): {what}"
        else:
            found[name] = "Learned from your recordings"
            if own.get("made"):
                made = datetime.fromisoformat(own["made"]).astimezone()
                found[name] += f", {made.day} {made:%b %Y}"
    often = Counter(found.values())
    return {name: f"{title} ({name})" if often[title] > 1 else title for name, title in found.items()}


def progress_view(standing: Standing) -> ProgressView:
    total = None if standing.left is None else standing.done + standing.left
    return ProgressView(
        state=standing.state,
        step=standing.step,
        done=round(standing.done, 1),
        total=total and round(total, 1),
        seconds_left=standing.left and round(standing.left, 1),
        searchable=standing.found,
        line=str(standing),
    )
