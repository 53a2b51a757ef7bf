"""Labelled sounds: ESC-50, ESC-10 and Speech Commands."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

from seehear.datasets.base import ImportOptions, Item, Items, spaced
from seehear.datasets.files import Files, given, with_header, words
from seehear.datasets.media import MediaIndex
from seehear.errors import SeehearError

_FOLDS = 5


def esc50(files: Files, options: ImportOptions, *, only_esc10: bool) -> Items:
    """`fold` is test and the next one validation; the rest is train."""
    path = files.need("esc50.csv")

    def item(row: dict[str, str]) -> Item | None:
        if row["fold"] not in {str(fold) for fold in range(1, _FOLDS + 1)}:
            raise SeehearError(f"fold {row['fold']!r} is none of 1 to {_FOLDS}")
        if only_esc10 and row["esc10"].lower() != "true":
            return None
        name = given(row, "filename").rpartition(".")[0]
        return Item(
            keys=(name,),
            id=name,
            split=_of_fold(int(row["fold"]), options.fold),
            group=given(row, "src_file"),
            start=0.0,
            labels=(spaced(given(row, "category")),),
            meta={"fold": row["fold"], "target": row["target"], "esc10": row["esc10"]},
        )

    columns = ("filename", "fold", "target", "category", "esc10", "src_file")
    yield from files.rows(path, with_header(path, columns), item)


def _of_fold(fold: int, test: int) -> str:
    if test == 0:
        return "train"
    return {test: "test", test % _FOLDS + 1: "val"}.get(fold, "train")


def speech_commands(files: Files, options: ImportOptions) -> Items:
    """The lists name the clips of validation and test; every other clip below a word's folder is train."""
    listed: set[str] = set()
    for split, name in (("val", "validation_list.txt"), ("test", "testing_list.txt")):
        path = files.need(name)
        for line, said in words(path):
            clip = said.removesuffix(".wav")
            listed.add(clip)
            yield from files.rows(path, [(line, {"clip": clip})], partial(_of_speech, split=split))
    if not isinstance(files.media, MediaIndex):
        return
    for place, found in enumerate(files.media, start=1):
        clip = "/".join(PurePosixPath(found).with_suffix("").parts[-2:])
        if "_nohash_" in clip and clip not in listed:
            yield replace(_of_speech({"clip": clip}, "train"), table="speech-commands", line=place)


def _of_speech(row: dict[str, str], split: str) -> Item:
    word, _, name = row["clip"].partition("/")
    speaker, marked, _ = name.partition("_nohash_")
    if not marked:
        raise SeehearError(f"{row['clip']!r} is no clip: expected WORD/SPEAKER_nohash_NUMBER.wav")
    return Item(keys=(row["clip"],), id=row["clip"], split=split, group=speaker, start=0.0, labels=(word,))
