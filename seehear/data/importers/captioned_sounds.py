"""Sounds with captions: AudioCaps and Clotho."""

from __future__ import annotations

from functools import partial

from seehear.data.importers.base import Files, Importer, ImportOptions, Item, Items, by_stem, by_youtube_id
from seehear.data.importers.files import captions, given, number, with_header

_SECONDS = 10.0
"""Of an AudioCaps clip, as of the AudioSet segment it is."""
_CLOTHO = {"train": "development", "val": "validation", "test": "evaluation"}


def _audiocaps(files: Files, options: ImportOptions, *, folder: str, version: str) -> Items:
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


def _clotho(files: Files, options: ImportOptions) -> Items:
    names = {split: (f"clotho_captions_{said}.csv",) for split, said in _CLOTHO.items()}
    for split, path in files.of_splits(names, options).items():
        records = with_header(path, ("file_name", *(f"caption_{n}" for n in range(1, 6))))
        yield from files.rows(path, records, partial(_of_clotho, split=split))


def _of_clotho(row: dict[str, str], split: str) -> Item:
    stem = given(row, "file_name").rpartition(".")[0]
    texts = captions(*(row[f"caption_{n}"] for n in range(1, 6)))
    return Item(keys=(stem,), id=stem, split=split, start=0.0, texts=texts)


AUDIOCAPS = Importer(
    name="audiocaps",
    title="AudioCaps (first version)",
    read=partial(_audiocaps, folder="dataset", version="v1"),
    annotations=("train.csv, val.csv, test.csv (or those in dataset/)",),
    media="the YouTube id, alone or with the start: 7fmOlUlwoNg.wav, Y7fmOlUlwoNg.wav, 7fmOlUlwoNg_20.wav, "
    "7fmOlUlwoNg_20000_30000.flac; whole videos too",
    kinds=("audio", "video"),
    keys=by_youtube_id,
)
AUDIOCAPS_V2 = Importer(
    name="audiocaps-v2",
    title="AudioCaps 2.0",
    read=partial(_audiocaps, folder="dataset2.0", version="v2"),
    annotations=("train.csv, val.csv, test.csv (or those in dataset2.0/)",),
    media=AUDIOCAPS.media,
    kinds=AUDIOCAPS.kinds,
    keys=by_youtube_id,
)
CLOTHO = Importer(
    name="clotho",
    title="Clotho",
    read=_clotho,
    annotations=("clotho_captions_development.csv, clotho_captions_validation.csv, clotho_captions_evaluation.csv",),
    media="the file names of the tables, in any folder (development/, validation/, evaluation/)",
    kinds=("audio",),
    keys=by_stem,
)
