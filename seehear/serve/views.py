"""Response bodies (`schema.py`) for clips, hits, films and indexes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from seehear.folders.standing import Standing
from seehear.library.records import TextKind as StoredKind
from seehear.library.records import printable
from seehear.library.tables import Clip, LibraryTables, Text
from seehear.search.answer import FilmHits, Moment
from seehear.search.background import kind_of_hit
from seehear.search.calibrate import in_words
from seehear.search.query import Hit
from seehear.serve import schema
from seehear.serve.files import TYPES, Folders, played_by_browsers
from seehear.space.frozen import FROZEN

_LABELS = 300
_WAYS = {"video": "what is seen", "audio": "what is heard", "text": "words"}
# The API and the page name kinds of text as users do, the library by their origin.
_KINDS: Mapping[StoredKind, schema.TextKind] = {
    "speech": "spoken",
    "screen": "screen",
    "subtitle": "subtitle",
    "caption": "caption",
}
_MODALITY_OF: Mapping[str, schema.Modality] = {"seen": "video", "heard": "audio"}


def clip_view(clip: Clip, folders: Folders) -> schema.ClipView:
    files = [m for m in ("video", "audio") if clip.has(m)]
    return schema.ClipView(
        # Fields that the view lacks are ignored.
        **vars(clip)
        | {
            "source": clip.source or clip.audio_source,
            "kind": kind_of_clip(clip),
            "has_sound": clip.has_audio,
            "separate_sound": bool(clip.has_audio and clip.audio_source and clip.audio_source != clip.source),
            "played": all(played_by_browsers(clip.source_of(m)) or (m == "video" and is_still(clip)) for m in files),
            "missing": not all(folders.has(clip, m) for m in files),
            "texts": list(map(text_fields, clip.texts)),
        }
    )


def text_fields(text: Text) -> dict[str, Any]:
    """Fields of a `TextView`, among others."""
    return vars(text) | {"kind": text_kind(text), "machine": bool(text.by)}


def text_kind(text: Text) -> schema.TextKind:
    return _KINDS[text.kind or "caption"]


def hit_view(hit: Hit, folders: Folders, confidence: float | None) -> schema.HitView:
    """Hit of one index, with its confidence if the index is calibrated for the query."""
    return schema.HitView(
        **vars(hit)
        | {
            "clip": clip_view(hit.clip, folders),
            "kind": kind_of_hit(hit),
            "confidence": confidence,
            "words": None if confidence is None else in_words(confidence),
            "still": (hit.start + hit.end) / 2,
            "file": printable(hit.path),
            "also": list(map(printable, hit.also)),
        }
    )


def moment_view(moment: Moment, clip: Clip, folders: Folders) -> schema.HitView:
    return schema.HitView(
        **vars(moment)
        | {
            "clip": clip_view(clip, folders),
            "words": moment.words,
            "modality": _MODALITY_OF.get(moment.kind, "text"),
            "file": printable(moment.file),
            "also": list(map(printable, moment.also)),
        }
    )


def film_view(film: FilmHits, clip: Clip, folders: Folders, seconds: float | None) -> schema.FilmAnswer:
    """Film with its moments. `clip`: that of the best moment. `seconds`: length of the film, if known."""
    return schema.FilmAnswer(
        source=film.source,
        seconds=0.0 if is_still(clip) else seconds or max(hit.end for hit in film.hits),
        clip=clip_view(clip, folders),
        hits=[schema.FilmMoment(**vars(hit) | {"words": hit.words}) for hit in film.hits],
        also=list(map(printable, film.hits[0].also)),
    )


def is_still(clip: Clip) -> bool:
    """Whether the clip shows a single picture."""
    pictured = TYPES.get(Path(clip.source).suffix.lower(), "").startswith("image/")
    return clip.has_video and (pictured or clip.start == clip.end == 0.0)


def kind_of_clip(clip: Clip) -> Literal["video", "picture", "sound", "text"]:
    if is_still(clip):
        return "picture"
    return "video" if clip.has_video else "sound" if clip.has_audio else "text"


def facets(library: LibraryTables) -> Mapping[str, Any]:
    """Labels, splits and folders to filter by."""
    # Three columns and no clip objects: texts are most of a large library.
    rows = library.rows("clips", None, ["labels", "split", "source"])
    labels = Counter(rows["labels"].combine_chunks().flatten().to_pylist())
    folders = Counter("/".join(source.split("/")[:-1]) for source in rows["source"].to_pylist())
    return {
        "labels": dict(labels.most_common(_LABELS)),
        "splits": dict(Counter(rows["split"].to_pylist())),
        "folders": sorted(name for name, _ in folders.most_common(_LABELS) if name),
    }


def titles(about: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Title of each index on the page; equal titles get the index's name appended."""
    named = {}
    for name, own in about.items():
        if str(own.get("model", "")).startswith(FROZEN):
            named[name] = f"As it came (frozen): {', '.join(_WAYS[m] for m in own['modalities'])}"
        else:
            named[name] = "Learned from your recordings"
            if own.get("made"):
                made = datetime.fromisoformat(own["made"]).astimezone()
                # Not %d, which pads with a zero.
                named[name] += f", {made.day} {made:%b %Y}"
    often = Counter(named.values())
    return {name: f"{title} ({name})" if often[title] > 1 else title for name, title in named.items()}


def progress_view(standing: Standing) -> schema.ProgressView:
    total = None if standing.left is None else standing.done + standing.left
    return schema.ProgressView(
        state=standing.state,
        step=standing.step,
        done=round(standing.done, 1),
        total=total and round(total, 1),
        seconds_left=standing.left and round(standing.left, 1),
        searchable=standing.found,
        line=str(standing),
    )
