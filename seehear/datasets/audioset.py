"""AudioSet, VGGSound and VGGSounder: ten seconds of YouTube videos, with labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import groupby
from operator import itemgetter

from seehear.datasets.base import ImportOptions, Item, Items
from seehear.datasets.files import Files, Record, given, number, span, with_header, without_header
from seehear.errors import SeehearError

_SECONDS = 10.0
_SEGMENTS = ("youtube_id", "start_seconds", "end_seconds", "positive_labels")
_SUBSETS = {"balanced": "balanced_train", "unbalanced": "unbalanced_train", "eval": "eval"}
_VGGSOUND = re.compile(r"(.{11})_(\d{6})(\.\w+)?")


def audioset(files: Files, options: ImportOptions, *, subsets: tuple[str, ...]) -> Items:
    index = files.need("class_labels_indices.csv", "audioset_class_labels_indices.csv")
    named = with_header(index, ("index", "mid", "display_name"))
    classes = {row["mid"]: row["display_name"] for _, row in named if isinstance(row, dict)}
    segments = {subset: f"{_SUBSETS[subset]}_segments.csv" for subset in subsets}
    found = {subset: files.find(name, f"audioset_{name}") for subset, name in segments.items()}
    if not any(found.values()):
        raise files.expected()
    for subset, path in found.items():
        split = "test" if subset == "eval" else "train"
        if path is not None:
            records = without_header(path, _SEGMENTS, first=("ytid",))
            yield from files.rows(path, records, partial(_segment, split=split, subset=subset, classes=classes))
        elif options.wants(split):
            files.notes.append(f"not there, and so not imported: {segments[subset]} ({split})")


def _segment(row: dict[str, str], split: str, subset: str, classes: dict[str, str]) -> Item:
    video, (start, end) = given(row, "youtube_id"), span(row, "start_seconds", "end_seconds")
    mids = given(row, "positive_labels").replace(" ", "").split(",")
    if unknown := [mid for mid in mids if mid not in classes]:
        raise SeehearError(f"label {unknown[0]!r} is not in class_labels_indices.csv")
    return Item(
        keys=(video,),
        id=f"{video}_{start:g}",
        split=split,
        group=video,
        start=start,
        end=end,
        labels=tuple(classes[mid] for mid in mids),
        meta={"youtube_id": video, "subset": subset},
    )


def vggsound(files: Files, options: ImportOptions) -> Items:
    whole = files.find("vggsound.csv")
    if whole is not None:
        records = without_header(whole, ("youtube_id", "start_seconds", "label", "split"))
        yield from files.rows(whole, records, _of_vggsound)
        return
    names = {split: (f"{split}.csv", f"vggsound_{split}.csv") for split in ("train", "test")}
    for split, path in files.of_splits(names, options).items():
        yield from files.rows(path, without_header(path, ("file", "label")), partial(_of_list, split=split))


def _of_vggsound(row: dict[str, str]) -> Item:
    if row["split"] not in ("train", "test"):
        raise SeehearError(f"split {row['split']!r} is neither train nor test")
    video, start, label = given(row, "youtube_id"), number(row, "start_seconds"), given(row, "label")
    return _ten_seconds(video, start, row["split"], (label,), {})


def _of_list(row: dict[str, str], split: str) -> Item:
    video, start = _clip_of(given(row, "file"))
    return _ten_seconds(video, start, split, (given(row, "label"),), {})


def _clip_of(name: str) -> tuple[str, float]:
    """'glLQrEijrKg_000300.mp4' -> ('glLQrEijrKg', 300.0)"""
    found = _VGGSOUND.fullmatch(name)
    if found is None:
        raise SeehearError(f"{name!r} is no clip: expected ID_START, as in glLQrEijrKg_000300")
    return found[1], float(found[2])


def _ten_seconds(video: str, start: float, split: str, labels: tuple[str, ...], meta: dict[str, str]) -> Item:
    return Item(
        keys=(video,),
        id=f"{video}_{start:06.0f}",
        split=split,
        group=video,
        start=start,
        end=start + _SECONDS,
        labels=labels,
        meta={"youtube_id": video} | meta,
    )


_VGGSOUNDER = ("video_id", "label", "modality", "background_music", "static_image", "voice_over")


def vggsounder(files: Files, options: ImportOptions) -> Items:
    """Several rows a clip, one below the other: its labels, each heard (A), seen (V) or both (AV)."""
    path = files.need("vggsounder.csv")
    yield from files.rows(path, _clips(with_header(path, _VGGSOUNDER)), _of_vggsounder)


def _clips(records: Iterable[Record]) -> Iterator[tuple[int, dict[str, str] | SeehearError]]:
    """The rows of a clip as one, with the line of the first."""
    numbered = ((line, row, row if isinstance(row, SeehearError) else row["video_id"]) for line, row in records)
    for _, group in groupby(numbered, key=itemgetter(2)):
        rows = list(group)
        line, first, _ = rows[0]
        if isinstance(first, SeehearError):
            yield line, first
            continue
        good = [row for _, row, _ in rows if isinstance(row, dict)]
        joined = {name: "|".join(row[name] for row in good) for name in ("label", "modality")}
        yield line, first | joined


def _of_vggsounder(row: dict[str, str]) -> Item:
    video, start = _clip_of(given(row, "video_id"))
    labels, modalities = row["label"].split("|"), row["modality"].split("|")
    if not set(modalities) <= {"A", "V", "AV"}:
        raise SeehearError(f"modality {row['modality']!r} is none of A, V and AV")
    heard = [label for label, said in zip(labels, modalities, strict=True) if "A" in said]
    seen = [label for label, said in zip(labels, modalities, strict=True) if "V" in said]
    meta = {name: row[name] for name in ("background_music", "static_image", "voice_over")}
    meta |= {"heard": "|".join(heard), "seen": "|".join(seen)}
    return _ten_seconds(video, start, "test", tuple(labels), meta)
