"""Videos with captions (MSR-VTT, YouCook2), of actions (Kinetics, UCF101, HMDB51) and of talking faces (GRID)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from seehear.datasets.base import DatasetItem, ImportOptions, Items, spaced, youtube_clip
from seehear.datasets.files import Files, Record, captions, given, objects, read_json, span, with_header, words
from seehear.datasets.media import MediaIndex
from seehear.errors import SeehearError

_MSRVTT = ("train_val_videodatainfo.json", "test_videodatainfo.json")
_BOTH = ("MSRVTT_data.json", "videodatainfo_2017.json")
_TEST_1KA = ("MSRVTT_JSFUSION_test.csv", "msrvtt_1ka_test.csv", "msrvtt_test.csv")
_TRAIN_9K = ("MSRVTT_train.9k.csv", "msrvtt_train.9k.csv")
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def msrvtt(files: Files, options: ImportOptions) -> Items:
    def item(row: dict[str, Any]) -> DatasetItem:
        if row["split"] not in _SPLITS:
            raise SeehearError(f"split {row['split']!r} is none of {', '.join(_SPLITS)}")
        return _msrvtt_item(row["video"], _SPLITS[row["split"]], row["texts"], row["youtube_id"])

    for path in _videodatainfo(files) or [files.need(*_MSRVTT)]:
        yield from files.rows(path, _videos(path), item)


def _msrvtt_item(video: str, split: str, texts: Any, youtube_id: str) -> DatasetItem:
    # Clips are cut from fewer videos than there are clips: the video is the group.
    meta = {"youtube_id": youtube_id} if youtube_id else {}
    return DatasetItem(
        keys=(video,), id=video, split=split, group=youtube_id, start=0.0, texts=captions(*texts), meta=meta
    )


def msrvtt_1ka(files: Files, options: ImportOptions) -> Items:
    """Test: a caption per clip. Train: the other clips with all their captions, if their JSON exists."""
    test = files.need(*_TEST_1KA)
    infos = _videodatainfo(files)
    recordings = {row["video"]: row["youtube_id"] for path in infos for _, row in _videos(path)}
    # Filled while the test list is read, which `of_train` relies on.
    tested: set[str] = set()

    def of_test(row: dict[str, str]) -> DatasetItem:
        video = given(row, "video_id")
        tested.add(video)
        return _msrvtt_item(video, "test", [row["sentence"]], recordings.get(video, ""))

    yield from files.rows(test, with_header(test, ("video_id", "sentence")), of_test)
    train_list = files.find(*_TRAIN_9K)
    listed = with_header(train_list, ("video_id",)) if train_list else ()
    train = {row["video_id"] for _, row in listed if isinstance(row, dict)}

    def of_train(row: dict[str, Any]) -> DatasetItem | None:
        if row["video"] in tested or (train_list is not None and row["video"] not in train):
            return None
        return _msrvtt_item(row["video"], "train", row["texts"], row["youtube_id"])

    for info in infos:
        yield from files.rows(info, _videos(info), of_train)
    if not infos and options.wants("train"):
        files.notes.append(f"no {_MSRVTT[0]} or {_BOTH[0]}: no training split, and clips without their recordings")


def _videodatainfo(files: Files) -> list[Path]:
    """The one file with all videos, or the two by split."""
    both = files.find(*_BOTH)
    return [both] if both else [path for path in map(files.find, _MSRVTT) if path is not None]


def _videos(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Videos of {"videos": [{"video_id", "url", "split"}], "sentences": [{"video_id", "caption"}]}, numbered."""
    found = read_json(path, "videos")
    texts: dict[str, list[str]] = {}
    for sentence in objects(found, "sentences"):
        texts.setdefault(str(sentence.get("video_id")), []).append(sentence.get("caption", ""))
    for place, video in enumerate(found["videos"], start=1):
        # An entry of another type has no split, and so becomes a bad row: it does not end the import.
        video = video if isinstance(video, dict) else {}
        name = str(video.get("video_id", ""))
        youtube_id = parse_qs(urlsplit(str(video.get("url", ""))).query).get("v", [""])[0]
        yield (
            place,
            {"video": name, "split": video.get("split"), "texts": texts.get(name, []), "youtube_id": youtube_id},
        )


def youcook2(files: Files, options: ImportOptions) -> Items:
    """Test: the validation clips that papers report on. Train: the training clips of the JSON, if it exists."""
    test = files.find("validation_youcook.csv", "youcook2_validation_milnce.csv", "youcook_val.csv")
    trainval = files.find("youcookii_annotations_trainval.json")
    if test is None and trainval is None:
        raise files.expected()
    if test is not None:
        records = with_header(test, ("video_id", "start", "end", "text", "task"))
        yield from files.rows(test, records, _of_youcook2)
    if trainval is not None:
        # The official test split has no public captions: what papers call test is the validation split.
        wanted = {"training": "train"} | ({} if test else {"validation": "test"})
        yield from files.rows(trainval, _segments(trainval, wanted), _of_youcook2)
    elif options.wants("train"):
        files.notes.append("no youcookii_annotations_trainval.json: there is no training split")


def _of_youcook2(row: dict[str, str]) -> DatasetItem:
    video, (start, end) = given(row, "video_id"), span(row, "start", "end")
    name, split = f"{video}_{start:g}_{end:g}", row.get("split", "test")
    clip = youtube_clip(video, name, split, (start, end), {"recipe": row["task"]})
    return replace(clip, texts=captions(row["text"]))


def _segments(path: Path, wanted: dict[str, str]) -> Iterator[Record]:
    """Segments of {"database": {video: {"subset", "recipe_type", "annotations": [{"segment": [41, 54], "sentence"}]}}},
    numbered."""
    database = read_json(path, "database", dict)["database"]
    place = 0
    for video, facts in database.items():
        facts = facts if isinstance(facts, dict) else {}
        split = wanted.get(str(facts.get("subset")))
        for annotation in objects(facts, "annotations") if split else []:
            place += 1
            try:
                start, end = annotation["segment"]
                row = {"start": str(start), "end": str(end), "text": annotation["sentence"], "split": str(split)}
                yield place, row | {"video_id": video, "task": str(facts.get("recipe_type", ""))}
            except (KeyError, TypeError, ValueError) as error:
                yield place, SeehearError(f"{video}: is no segment with a sentence ({error!r})")


# Official splits of UCF101 and HMDB51.
_LISTS = 3


def kinetics(files: Files, options: ImportOptions, *, size: str) -> Items:
    spellings = {"train": ("train",), "val": ("val", "validate"), "test": ("test",)}
    heads = (f"kinetics-{size}_", f"kinetics{size}_", f"kinetics_{size}_", f"k{size}_", "")
    names = {split: tuple(f"{h}{name}.csv" for h in heads for name in own) for split, own in spellings.items()}
    columns = ("youtube_id", "time_start", "time_end")

    def item(split: str, row: dict[str, str]) -> DatasetItem:
        video, (start, end) = given(row, "youtube_id"), span(row, "time_start", "time_end")
        # Test lists have none.
        label = row.get("label", "")
        # How downloaders of Kinetics name a file: ID_000417_000427.
        clip = youtube_clip(video, f"{video}_{start:06.0f}_{end:06.0f}", split, (start, end), {})
        return replace(clip, labels=(label,) if label else ())

    yield from files.rows_of_splits(names, options, lambda path: with_header(path, columns), item)


def ucf101(files: Files, options: ImportOptions) -> Items:
    """Clips of list `fold`; their use in all three lists is in the meta: split1, split2, split3."""
    index = files.need("classInd.txt", "ucfTrainTestlist/classInd.txt")
    # Lines are '1 ApplyEyeMakeup'.
    classes = {name for _, line in words(index) for name in line.split()[1:]}
    names = {(n, split): f"{split}list{n:02d}.txt" for n in range(1, _LISTS + 1) for split in ("train", "test")}
    paths = {key: files.find(name, f"ucfTrainTestlist/{name}") for key, name in names.items()}
    lists = {key: path for key, path in paths.items() if path is not None}
    if not lists:
        raise files.expected()
    uses: dict[str, dict[str, str]] = {}
    for (fold, split), path in lists.items():
        for _, line in words(path):
            uses.setdefault(line.split()[0], {})[f"split{fold}"] = split
    # Fold 0 reads the first list: each of the three has all clips, by training and test together.
    fold = options.fold or 1
    if not any(listed == fold for listed, _ in lists):
        raise SeehearError(f"{files.root}: neither trainlist{fold:02d}.txt nor testlist{fold:02d}.txt exists")

    def item(split: str, row: dict[str, str]) -> DatasetItem:
        # 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1'; test lists have no number.
        clip = row["line"].split()[0]
        name, stem = PurePosixPath(clip).parent.name, PurePosixPath(clip).stem
        if name not in classes:
            raise SeehearError(f"{clip!r} is of no class of classInd.txt")
        # Clips c01, c02, ... of a group are cut from one recording.
        group = stem.rpartition("_c")[0] or stem
        labels, meta = (spaced(name),), {"class": name} | uses[clip]
        return DatasetItem(keys=(stem,), id=stem, split=split, group=group, start=0.0, labels=labels, meta=meta)

    for (listed, split), path in lists.items():
        if listed == fold:
            records = ((number, {"line": line}) for number, line in words(path))
            yield from files.rows(path, records, partial(item, split if options.fold else "train"))


# Use of a clip in a list of HMDB51: 0 unused, 1 train, 2 test.
_USES = {"0": "", "1": "train", "2": "test", "": ""}


def hmdb51(files: Files, options: ImportOptions) -> Items:
    """Clips that list `fold` uses for training or test; the others are left out."""
    columns = tuple(f"split{n}" for n in range(1, _LISTS + 1))

    def item(row: dict[str, str]) -> DatasetItem | None:
        name = given(row, "video_id")
        uses = {key: row[key] for key in columns}
        if not set(uses.values()) <= set(_USES):
            raise SeehearError(f"{name}: a list says 0 (unused), 1 (train) or 2 (test); got {', '.join(uses.values())}")
        split = _USES[uses[f"split{options.fold}"]] if options.fold else "train"
        if not split:
            return None
        # MIL-NCE's table has labels as in the names of the official lists: 'brush_hair_test'.
        label, stem = row["label"].removesuffix("_test"), PurePosixPath(name).stem
        meta = {"class": label} | {key: _USES[use] for key, use in uses.items() if _USES[use]}
        # Names are MOVIE_CLASS_BODY_CAMERA_PEOPLE_VIEW_QUALITY_NUMBER: clips of one movie are one recording.
        group = stem.rpartition(f"_{label}_")[0] or stem
        labels = (spaced(label),)
        return DatasetItem(keys=(stem,), id=stem, split=split, group=group, start=0.0, labels=labels, meta=meta)

    if (table := files.find("hmdb51.csv", "hmdb51_splits.csv")) is not None:
        yield from files.rows(table, with_header(table, ("video_id", "label", *columns)), item)
        return
    lists = sorted(files.root.rglob("*_test_split1.txt"))
    if not lists:
        raise files.expected()
    for path in lists:
        yield from files.rows(path, _hmdb_rows(path), item)


def _hmdb_rows(path: Path) -> Iterator[Record]:
    """Rows of a class's first list with the clip's use in the other two; all three list the same clips."""
    label = path.name.removesuffix("_split1.txt")
    uses: list[dict[str, str]] = []
    for n in range(1, _LISTS + 1):
        own = path.with_name(f"{label}_split{n}.txt")
        lines = (line.rpartition(" ") for _, line in words(own)) if own.is_file() else ()
        # 'a clip.avi 1': names have spaces.
        uses.append({name.strip(): use for name, _, use in lines})
    for number, line in words(path):
        name = line.rpartition(" ")[0].strip()
        splits = {f"split{n}": use.get(name, "") for n, use in enumerate(uses, start=1)}
        yield number, {"video_id": name, "label": label} | splits


# GRID: 34 speakers with a thousand sentences each of a fixed grammar.
_SPEAKER = re.compile(r"s\d{1,2}")
_SENTENCE = re.compile(r"([blps])([bgrw])([abiw])([a-z])([z1-9])([anps])")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Words by part of the sentence and character in the file's name; letters are themselves.
_WORDS: dict[str, dict[str, str]] = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "color": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "preposition": {"a": "at", "b": "by", "i": "in", "w": "with"},
    "letter": {},
    "digit": dict(zip("z123456789", _NUMBERS, strict=True)),
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
}
# Speakers of the test split, as in LipNet.
_UNSEEN = ("s1", "s2", "s20", "s22")


def grid(files: Files, options: ImportOptions) -> Items:
    """Clips by the names of the media files, which encode the sentences; there is no other list."""
    assert isinstance(files.media, MediaIndex)
    # A sentence has a video and a sound file: one clip.
    known: set[str] = set()
    for place, path in enumerate(files.media, start=1):
        for key in by_speaker(str(PurePosixPath(path).with_suffix(""))):
            if key not in known:
                known.add(key)
                yield _clip(key, place)
    if not known:
        raise SeehearError(f"{files.media.folder} does not look like GRID: expected {files.importer.media}")


def by_speaker(path: str) -> tuple[str, ...]:
    """'s1/video/mpg_6000/bbaf2n' -> 's1/bbaf2n'; the sentences of all speakers have the same names."""
    *folders, name = path.split("/")
    speaker = next((folder for folder in reversed(folders) if _SPEAKER.fullmatch(folder)), "")
    return (f"{speaker}/{name}",) if speaker and _SENTENCE.fullmatch(name) else ()


def _clip(key: str, place: int) -> DatasetItem:
    speaker, name = key.split("/")
    words = {part: said.get(sign, sign) for (part, said), sign in zip(_WORDS.items(), name, strict=True)}
    return DatasetItem(
        keys=(key,),
        id=key,
        split="test" if speaker in _UNSEEN else "train",
        group=key,
        start=0.0,
        texts=(" ".join(words.values()),),
        meta={"speaker": speaker} | words,
        table="grid",
        line=place,
    )
