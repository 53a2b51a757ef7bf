"""Sounds with labels (ESC-50, ESC-10, Speech Commands, AudioSet, VGGSound, VGGSounder), with captions (AudioCaps,
Clotho) and with timed events (AVE, LLP)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import PurePosixPath

from seehear.datasets.base import DatasetItem, ImportOptions, Items, spaced, youtube_clip
from seehear.datasets.files import Files, Record, captions, given, number, span, with_header, without_header, words
from seehear.datasets.media import MediaIndex
from seehear.errors import SeehearError

# Official folds of ESC-50 and ESC-10.
_FOLDS = 5


def esc50(files: Files, options: ImportOptions, *, only_esc10: bool) -> Items:
    """Clips with fold `fold` as test and the next one as validation; the rest is train."""
    path = files.need("esc50.csv")

    def item(row: dict[str, str]) -> DatasetItem | None:
        if row["fold"] not in {str(fold) for fold in range(1, _FOLDS + 1)}:
            raise SeehearError(f"fold {row['fold']!r} is none of 1 to {_FOLDS}")
        if only_esc10 and row["esc10"].lower() != "true":
            return None
        name, test = given(row, "filename").rpartition(".")[0], options.fold
        splits = {test: "test", test % _FOLDS + 1: "val"} if test else {}
        return DatasetItem(
            keys=(name,),
            id=name,
            split=splits.get(int(row["fold"]), "train"),
            # Several clips come from one upload, and ESC-50 keeps these in one fold.
            group=given(row, "src_file"),
            start=0.0,
            labels=(spaced(given(row, "category")),),
            meta={"fold": row["fold"], "target": row["target"], "esc10": row["esc10"]},
        )

    columns = ("filename", "fold", "target", "category", "esc10", "src_file")
    yield from files.rows(path, with_header(path, columns), item)


def speech_commands(files: Files, options: ImportOptions) -> Items:
    """Clips of the validation and test lists; every other clip below a word's folder is train."""
    # There is no list of training clips, only of the held-out ones.
    listed: set[str] = set()
    for split, name in (("val", "validation_list.txt"), ("test", "testing_list.txt")):
        path = files.need(name)
        for line, name in words(path):
            clip = name.removesuffix(".wav")
            listed.add(clip)
            yield from files.rows(path, [(line, {"clip": clip})], partial(_of_speech, split=split))
    if not isinstance(files.media, MediaIndex):
        return
    for place, found in enumerate(files.media, start=1):
        clip = "/".join(PurePosixPath(found).with_suffix("").parts[-2:])
        # The folder of background noises has no word, and no such name in it.
        if "_nohash_" in clip and clip not in listed:
            yield replace(_of_speech({"clip": clip}, "train"), table="speech-commands", line=place)


def _of_speech(row: dict[str, str], split: str) -> DatasetItem:
    word, _, name = row["clip"].partition("/")
    # The speaker is the group: none is in two splits.
    speaker, marked, _ = name.partition("_nohash_")
    if not marked:
        raise SeehearError(f"{row['clip']!r} is no clip: expected WORD/SPEAKER_nohash_NUMBER.wav")
    return DatasetItem(keys=(row["clip"],), id=row["clip"], split=split, group=speaker, start=0.0, labels=(word,))


# Clips of AudioSet, and of AudioCaps and VGGSound, which are segments of it or like it.
_CLIP_SECONDS = 10.0
# Names of the splits in the names of the files of Clotho.
_CLOTHO = {"train": "development", "val": "validation", "test": "evaluation"}


def audiocaps(files: Files, options: ImportOptions, *, folder: str, version: str) -> Items:
    splits = ("train", "val", "test")
    names = {name: (f"{folder}/{name}.csv", f"audiocaps_{version}_{name}.csv", f"{name}.csv") for name in splits}
    columns = ("audiocap_id", "youtube_id", "start_time", "caption")

    def item(split: str, row: dict[str, str]) -> DatasetItem:
        video, start = given(row, "youtube_id"), number(row, "start_time")
        times, meta = (start, start + _CLIP_SECONDS), {"start_time": f"{start:g}"}
        # One id for the five rows that a clip of test has: their captions are joined by it.
        clip = youtube_clip(video, f"{video}_{start:g}", split, times, meta)
        return replace(clip, texts=captions(row["caption"]))

    yield from files.rows_of_splits(names, options, lambda path: with_header(path, columns), item)


def clotho(files: Files, options: ImportOptions) -> Items:
    names = {split: (f"clotho_captions_{name}.csv",) for split, name in _CLOTHO.items()}
    columns = tuple(f"caption_{n}" for n in range(1, 6))

    def item(split: str, row: dict[str, str]) -> DatasetItem:
        stem, texts = given(row, "file_name").rpartition(".")[0], captions(*(row[name] for name in columns))
        return DatasetItem(keys=(stem,), id=stem, split=split, start=0.0, texts=texts)

    yield from files.rows_of_splits(names, options, lambda path: with_header(path, ("file_name", *columns)), item)


def ave(files: Files, options: ImportOptions) -> Items:
    """Clips are whole files; the times of their events are in the meta."""
    names = {split: (f"{split}Set.txt",) for split in ("train", "val", "test")}
    columns = ("class", "video_id", "quality", "start", "end")

    def item(split: str, row: dict[str, str]) -> DatasetItem:
        video, start, end = given(row, "video_id"), number(row, "start"), number(row, "end")
        meta = {"youtube_id": video, "event_start": f"{start:g}", "event_end": f"{end:g}", "quality": row["quality"]}
        labels = (given(row, "class"),)
        return DatasetItem(keys=(video,), id=video, split=split, group=video, start=0.0, labels=labels, meta=meta)

    # Some copies of the lists begin with the names of the columns, others with the first clip.
    yield from files.rows_of_splits(
        names, options, lambda path: without_header(path, columns, delimiter="&", first=("category",)), item
    )


def llp(files: Files, options: ImportOptions) -> Items:
    """Clips of LLP (AVVP). Those of validation and test have timed events as JSON lists in the meta."""
    names = {"train": ("AVVP_train.csv",), "val": ("AVVP_val_pd.csv",), "test": ("AVVP_test_pd.csv",)}
    events = {f"events_{m}": _events(files, f"AVVP_eval_{name}.csv") for m, name in _EVENTS.items()}

    def item(split: str, row: dict[str, str]) -> DatasetItem:
        name = given(row, "filename")
        # '4YdbENYcIyE_23_33': seconds 23 to 33 of a video.
        # From the right: ids of YouTube may hold underscores.
        video, *times = name.rsplit("_", 2)
        if len(times) != 2:
            raise SeehearError(f"{name!r} is no clip: expected ID_START_END, as in 4YdbENYcIyE_23_33")
        start, end = (number({"filename": time}, "filename") for time in times)
        meta = {key: json.dumps(clips[name]) for key, clips in events.items() if name in clips}
        labels = tuple(label.strip().replace("_", " ") for label in given(row, "event_labels").split(","))
        return replace(youtube_clip(video, name, split, (start, end), meta), labels=labels)

    yield from files.rows_of_splits(
        names, options, lambda path: with_header(path, ("filename", "event_labels"), delimiter="\t"), item
    )


_EVENTS = {"heard": "audio", "seen": "visual"}


def _events(files: Files, name: str) -> dict[str, list[tuple[float, float, str]]]:
    """(onset, offset, label) of each event, by clip."""
    path = files.find(name)
    found: dict[str, list[tuple[float, float, str]]] = {}
    if path is None:
        return found
    for line, row in with_header(path, ("filename", "onset", "offset", "event_labels"), delimiter="\t"):
        try:
            if isinstance(row, SeehearError):
                raise row
            event = (number(row, "onset"), number(row, "offset"), given(row, "event_labels"))
            found.setdefault(row["filename"], []).append(event)
        except SeehearError as error:
            files.notes.append(f"left out: {files.table(path)}:{line}: {error}")
    return found


_SEGMENTS = ("youtube_id", "start_seconds", "end_seconds", "positive_labels")
_SUBSETS = {"balanced": "balanced_train", "unbalanced": "unbalanced_train", "eval": "eval"}
_VGGSOUND = re.compile(r"(.{11})_(\d{6})(\.\w+)?")


def audioset(files: Files, options: ImportOptions, *, subsets: tuple[str, ...]) -> Items:
    index = files.need("class_labels_indices.csv", "audioset_class_labels_indices.csv")
    named = with_header(index, ("index", "mid", "display_name"))
    classes = {row["mid"]: row["display_name"] for _, row in named if isinstance(row, dict)}
    segments = {subset: f"{_SUBSETS[subset]}_segments.csv" for subset in subsets}
    paths = {subset: files.find(name, f"audioset_{name}") for subset, name in segments.items()}
    if not any(paths.values()):
        raise files.expected()

    def item(split: str, subset: str, row: dict[str, str]) -> DatasetItem:
        video, (start, end) = given(row, "youtube_id"), span(row, "start_seconds", "end_seconds")
        mids = given(row, "positive_labels").replace(" ", "").split(",")
        if unknown := [mid for mid in mids if mid not in classes]:
            raise SeehearError(f"label {unknown[0]!r} is not in class_labels_indices.csv")
        clip = youtube_clip(video, f"{video}_{start:g}", split, (start, end), {"subset": subset})
        return replace(clip, labels=tuple(classes[mid] for mid in mids))

    for subset, path in paths.items():
        split = "test" if subset == "eval" else "train"
        if path is not None:
            # Copies of the lists have lost their comments, or only the # before the names of the columns.
            records = without_header(path, _SEGMENTS, first=("ytid",))
            yield from files.rows(path, records, partial(item, split, subset))
        elif options.wants(split):
            files.notes.append(f"not there, and so not imported: {segments[subset]} ({split})")


def vggsound(files: Files, options: ImportOptions) -> Items:
    """The one table of all clips, or the lists of the two splits."""

    def of_table(row: dict[str, str]) -> DatasetItem:
        if row["split"] not in ("train", "test"):
            raise SeehearError(f"split {row['split']!r} is neither train nor test")
        video, start, label = given(row, "youtube_id"), number(row, "start_seconds"), given(row, "label")
        return _ten_seconds((video, start), row["split"], (label,), {})

    def of_list(split: str, row: dict[str, str]) -> DatasetItem:
        return _ten_seconds(_clip_of(given(row, "file")), split, (given(row, "label"),), {})

    if (table := files.find("vggsound.csv")) is not None:
        records = without_header(table, ("youtube_id", "start_seconds", "label", "split"))
        yield from files.rows(table, records, of_table)
        return
    names = {split: (f"{split}.csv", f"vggsound_{split}.csv") for split in ("train", "test")}
    yield from files.rows_of_splits(names, options, lambda path: without_header(path, ("file", "label")), of_list)


def _clip_of(name: str) -> tuple[str, float]:
    """'glLQrEijrKg_000300.mp4' -> ('glLQrEijrKg', 300.0)"""
    found = _VGGSOUND.fullmatch(name)
    if found is None:
        raise SeehearError(f"{name!r} is no clip: expected ID_START, as in glLQrEijrKg_000300")
    return found[1], float(found[2])


def _ten_seconds(clip: tuple[str, float], split: str, labels: tuple[str, ...], meta: dict[str, str]) -> DatasetItem:
    """Item of the ten seconds of a video that begin at a time: (video, seconds)."""
    video, start = clip
    item = youtube_clip(video, f"{video}_{start:06.0f}", split, (start, start + _CLIP_SECONDS), meta)
    return replace(item, labels=labels)


def vggsounder(files: Files, options: ImportOptions) -> Items:
    """Clips with several labels, each audible (A), visible (V) or both (AV); consecutive rows are one clip."""
    path = files.need("vggsounder.csv")
    columns = ("video_id", "label", "modality", "background_music", "static_image", "voice_over")

    def item(row: dict[str, str]) -> DatasetItem:
        labels, modalities = row["label"].split("|"), row["modality"].split("|")
        if not set(modalities) <= {"A", "V", "AV"}:
            raise SeehearError(f"modality {row['modality']!r} is none of A, V and AV")
        heard = [label for label, kind in zip(labels, modalities, strict=True) if "A" in kind]
        seen = [label for label, kind in zip(labels, modalities, strict=True) if "V" in kind]
        meta = {name: row[name] for name in ("background_music", "static_image", "voice_over")}
        meta |= {"heard": "|".join(heard), "seen": "|".join(seen)}
        return _ten_seconds(_clip_of(given(row, "video_id")), "test", tuple(labels), meta)

    yield from files.rows(path, _clips(with_header(path, columns)), item)


def _clips(records: Iterable[Record]) -> Iterator[Record]:
    """Rows of each clip joined into one, with the line of the first."""
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
