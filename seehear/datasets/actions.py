"""What people do in videos: Kinetics, UCF101 and HMDB51."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from seehear.datasets.base import (
    ImportOptions,
    Item,
    Items,
    spaced,
)
from seehear.datasets.files import Files, given, span, with_header, words
from seehear.errors import SeehearError

_LISTS = 3


def kinetics(files: Files, options: ImportOptions, *, size: str) -> Items:
    said = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
    prefixes = (f"kinetics-{size}_", f"kinetics{size}_", f"kinetics_{size}_", f"k{size}_", "")
    names = {split: tuple(f"{p}{name}.csv" for p in prefixes for name in names) for split, names in said.items()}
    for split, path in files.of_splits(names, options).items():
        records = with_header(path, ("youtube_id", "time_start", "time_end"))
        yield from files.rows(path, records, partial(_of_kinetics, split=split))


def _of_kinetics(row: dict[str, str], split: str) -> Item:
    video, (start, end) = given(row, "youtube_id"), span(row, "time_start", "time_end")
    label = row.get("label", "")
    return Item(
        keys=(video,),
        id=f"{video}_{start:06.0f}_{end:06.0f}",
        split=split,
        group=video,
        start=start,
        end=end,
        labels=(label,) if label else (),
        meta={"youtube_id": video},
    )


def ucf101(files: Files, options: ImportOptions) -> Items:
    """`fold` says which of the three lists is used; what the others say is in the meta: split1, split2, split3."""
    index = files.need("classInd.txt", "ucfTrainTestlist/classInd.txt")
    classes = {name for _, said in words(index) for name in said.split()[1:]}
    names = {(n, split): f"{split}list{n:02d}.txt" for n in range(1, _LISTS + 1) for split in ("train", "test")}
    found = {key: files.find(name, f"ucfTrainTestlist/{name}") for key, name in names.items()}
    lists = {key: path for key, path in found.items() if path is not None}
    if not lists:
        raise files.expected()
    places: dict[str, dict[str, str]] = {}
    for (fold, split), path in lists.items():
        for _, said in words(path):
            places.setdefault(said.split()[0], {})[f"split{fold}"] = split
    fold = options.fold or 1
    if not any(listed == fold for listed, _ in lists):
        raise SeehearError(f"{files.root}: there is no trainlist{fold:02d}.txt or testlist{fold:02d}.txt")
    for (listed, split), path in lists.items():
        if listed == fold:
            make = partial(_of_ucf101, split=split if options.fold else "train", classes=classes, places=places)
            yield from files.rows(path, ((line, {"said": said}) for line, said in words(path)), make)


def _of_ucf101(row: dict[str, str], split: str, classes: set[str], places: dict[str, dict[str, str]]) -> Item:
    """'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1', without the number in a test list."""
    said = row["said"].split()[0]
    name, stem = PurePosixPath(said).parent.name, PurePosixPath(said).stem
    if name not in classes:
        raise SeehearError(f"{said!r} is of no class of classInd.txt")
    group = stem.rpartition("_c")[0] or stem
    labels, meta = (spaced(name),), {"class": name} | places[said]
    return Item(keys=(stem,), id=stem, split=split, group=group, start=0.0, labels=labels, meta=meta)


def hmdb51(files: Files, options: ImportOptions) -> Items:
    """A clip that list `fold` uses neither for training nor for test is left out."""
    table = files.find("hmdb51.csv", "hmdb51_splits.csv")
    make = partial(_of_hmdb51, fold=options.fold)
    if table is not None:
        columns = ("video_id", "label", *(f"split{n}" for n in range(1, _LISTS + 1)))
        yield from files.rows(table, with_header(table, columns), make)
        return
    lists = sorted(files.root.rglob("*_test_split1.txt"))
    if not lists:
        raise files.expected()
    for path in lists:
        yield from files.rows(path, _hmdb_rows(path), make)


def _hmdb_rows(path: Path) -> Iterator[tuple[int, dict[str, str] | SeehearError]]:
    """The rows of a class's first list, with what the two others say of the same clip; all three name the same."""
    label = path.name.removesuffix("_split1.txt")
    others = [path.with_name(f"{label}_split{n}.txt") for n in range(2, _LISTS + 1)]
    uses = [dict(_use(said) for _, said in words(other)) if other.is_file() else {} for other in others]
    for line, said in words(path):
        name, use = _use(said)
        row = {"video_id": name, "label": label, "split1": use}
        yield line, row | {f"split{n}": also.get(name, "") for n, also in enumerate(uses, start=2)}


def _use(said: str) -> tuple[str, str]:
    """'a clip.avi 1' -> ('a clip.avi', '1')"""
    name, _, use = said.rpartition(" ")
    return name.strip(), use


_USES = {"0": "", "1": "train", "2": "test", "": ""}


def _of_hmdb51(row: dict[str, str], fold: int) -> Item | None:
    name = given(row, "video_id")
    lists = {f"split{n}": row[f"split{n}"] for n in range(1, _LISTS + 1)}
    if not set(lists.values()) <= set(_USES):
        raise SeehearError(f"{name}: a list says 0 (unused), 1 (train) or 2 (test); got {', '.join(lists.values())}")
    split = _USES[lists[f"split{fold}"]] if fold else "train"
    if not split:
        return None
    label = row["label"].removesuffix("_test")
    stem = PurePosixPath(name).stem
    meta = {"class": label} | {key: _USES[said] for key, said in lists.items() if _USES[said]}
    # MOVIE_CLASS_BODY_CAMERA_PEOPLE_VIEW_QUALITY_NUMBER
    group = stem.rpartition(f"_{label}_")[0] or stem
    return Item(keys=(stem,), id=stem, split=split, group=group, start=0.0, labels=(spaced(label),), meta=meta)
