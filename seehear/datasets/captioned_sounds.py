"""Sounds with captions: AudioCaps and Clotho."""

from __future__ import annotations

from functools import partial

from seehear.datasets.base import ImportOptions, Item, Items
from seehear.datasets.files import Files, captions, given, number, with_header

_SECONDS = 10.0
"""Of an AudioCaps clip, as of the AudioSet segment it is."""
_CLOTHO = {"train": "development", "val": "validation", "test": "evaluation"}


def audiocaps(files: Files, options: ImportOptions, *, folder: str, version: str) -> Items:
    names = {
        split: (f"{folder}/{split}.csv", f"audiocaps_{version}_{split}.csv", f"{split}.csv")
        for split in ("train", "val", "test")
    }
    for split, path in files.of_splits(names, options).items():
        records = with_header(path, ("audiocap_id", "youtube_id", "start_time", "caption"))
        yield from files.rows(path, records, partial(_of_audiocaps, split=split))


def _of_audiocaps(row: dict[str, str], split: str) -> Item:
    video, start = given(row, "youtube_id"), number(row, "start_time")
    return Item(
        keys=(video,),
        id=f"{video}_{start:g}",
        split=split,
        group=video,
        start=start,
        end=start + _SECONDS,
        texts=captions(row["caption"]),
        meta={"youtube_id": video, "start_time": f"{start:g}"},
    )


def clotho(files: Files, options: ImportOptions) -> Items:
    names = {split: (f"clotho_captions_{said}.csv",) for split, said in _CLOTHO.items()}
    for split, path in files.of_splits(names, options).items():
        records = with_header(path, ("file_name", *(f"caption_{n}" for n in range(1, 6))))
        yield from files.rows(path, records, partial(_of_clotho, split=split))


def _of_clotho(row: dict[str, str], split: str) -> Item:
    stem = given(row, "file_name").rpartition(".")[0]
    texts = captions(*(row[f"caption_{n}"] for n in range(1, 6)))
    return Item(keys=(stem,), id=stem, split=split, start=0.0, texts=texts)
