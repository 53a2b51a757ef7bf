"""Events that are seen and heard, with their times: AVE and LLP (AVVP)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial

from seehear.datasets.base import ImportOptions, Item, Items
from seehear.datasets.files import Files, given, number, with_header, without_header
from seehear.errors import SeehearError

_AVE = ("class", "video_id", "quality", "start", "end")


def ave(files: Files, options: ImportOptions) -> Items:
    """The clip is all of the file; when its event begins and ends is in the meta."""
    names = {split: (f"{split}Set.txt",) for split in ("train", "val", "test")}
    for split, path in files.of_splits(names, options).items():
        records = without_header(path, _AVE, delimiter="&", first=("category",))
        yield from files.rows(path, records, partial(_of_ave, split=split))


def _of_ave(row: dict[str, str], split: str) -> Item:
    video, start, end = given(row, "video_id"), number(row, "start"), number(row, "end")
    meta = {"youtube_id": video, "event_start": f"{start:g}", "event_end": f"{end:g}", "quality": row["quality"]}
    labels = (given(row, "class"),)
    return Item(keys=(video,), id=video, split=split, group=video, start=0.0, labels=labels, meta=meta)


def llp(files: Files, options: ImportOptions) -> Items:
    """What is heard and what is seen, second by second, is known of validation and test: a JSON list in the meta."""
    names = {"train": ("AVVP_train.csv",), "val": ("AVVP_val_pd.csv",), "test": ("AVVP_test_pd.csv",)}
    events = {f"events_{m}": _events(files, f"AVVP_eval_{said}.csv") for m, said in _EVENTS.items()}
    for split, path in files.of_splits(names, options).items():
        records = with_header(path, ("filename", "event_labels"), delimiter="\t")
        yield from files.rows(path, records, partial(_of_llp, split=split, events=events))


_EVENTS = {"heard": "audio", "seen": "visual"}


def _events(files: Files, name: str) -> dict[str, list[tuple[float, float, str]]]:
    """Clip -> (onset, offset, label) of each event."""
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


def _of_llp(
    row: dict[str, str], split: str, events: Mapping[str, Mapping[str, list[tuple[float, float, str]]]]
) -> Item:
    """'4YdbENYcIyE_23_33' -> seconds 23 to 33 of a video."""
    name = given(row, "filename")
    video, *times = name.rsplit("_", 2)
    if len(times) != 2:
        raise SeehearError(f"{name!r} is no clip: expected ID_START_END, as in 4YdbENYcIyE_23_33")
    start, end = (number({"filename": time}, "filename") for time in times)
    meta = {"youtube_id": video} | {key: json.dumps(clips[name]) for key, clips in events.items() if name in clips}
    labels = tuple(label.strip().replace("_", " ") for label in given(row, "event_labels").split(","))
    return Item(keys=(video,), id=name, split=split, group=video, start=start, end=end, labels=labels, meta=meta)
