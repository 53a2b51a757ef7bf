"""Videos with captions: MSR-VTT, whole or by the 1k-A split, and YouCook2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from seehear.datasets.base import ImportOptions, Item, Items
from seehear.datasets.files import Files, Record, captions, given, objects, read_json, span, with_header
from seehear.errors import SeehearError

_MSRVTT = ("train_val_videodatainfo.json", "test_videodatainfo.json")
_BOTH = ("MSRVTT_data.json", "videodatainfo_2017.json")
_TEST_1KA = ("MSRVTT_JSFUSION_test.csv", "msrvtt_1ka_test.csv", "msrvtt_test.csv")
_TRAIN_9K = ("MSRVTT_train.9k.csv", "msrvtt_train.9k.csv")
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def msrvtt(files: Files, options: ImportOptions) -> Items:
    for path in _videodatainfo(files) or [files.need(*_MSRVTT)]:
        yield from files.rows(path, _videos(path), _of_msrvtt)


def _of_msrvtt(row: dict[str, Any]) -> Item:
    if row["split"] not in _SPLITS:
        raise SeehearError(f"split {row['split']!r} is none of {', '.join(_SPLITS)}")
    return _msrvtt_item(row["video"], _SPLITS[row["split"]], row["texts"], row["youtube_id"])


def _msrvtt_item(video: str, split: str, texts: Any, youtube_id: str) -> Item:
    meta = {"youtube_id": youtube_id} if youtube_id else {}
    return Item(keys=(video,), id=video, split=split, group=youtube_id, start=0.0, texts=captions(*texts), meta=meta)


def msrvtt_1ka(files: Files, options: ImportOptions) -> Items:
    """Test: a caption a clip. Train: the other clips, with all their captions, where their JSON is there."""
    test = files.need(*_TEST_1KA)
    infos = _videodatainfo(files)
    recordings = {row["video"]: row["youtube_id"] for path in infos for _, row in _videos(path)}
    tested: set[str] = set()

    def of_test(row: dict[str, str]) -> Item:
        video = given(row, "video_id")
        tested.add(video)
        return _msrvtt_item(video, "test", [row["sentence"]], recordings.get(video, ""))

    yield from files.rows(test, with_header(test, ("video_id", "sentence")), of_test)
    train_list = files.find(*_TRAIN_9K)
    listed = with_header(train_list, ("video_id",)) if train_list else ()
    train = {row["video_id"] for _, row in listed if isinstance(row, dict)}

    def of_train(row: dict[str, Any]) -> Item | None:
        if row["video"] in tested or (train_list is not None and row["video"] not in train):
            return None
        return _msrvtt_item(row["video"], "train", row["texts"], row["youtube_id"])

    for info in infos:
        yield from files.rows(info, _videos(info), of_train)
    if not infos and options.wants("train"):
        files.notes.append(f"no {_MSRVTT[0]} or {_BOTH[0]}: no training split, and of no clip the recording is known")


def _videodatainfo(files: Files) -> list[Path]:
    """Either the one file with all videos or the two of them."""
    both = files.find(*_BOTH)
    return [both] if both else [path for path in map(files.find, _MSRVTT) if path is not None]


def _videos(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """{"videos": [{"video_id", "url", "split"}], "sentences": [{"video_id", "caption"}]}; the number of the video
    stands for the line."""
    found = read_json(path, "videos")
    said: dict[str, list[str]] = {}
    for sentence in objects(found, "sentences"):
        said.setdefault(str(sentence.get("video_id")), []).append(sentence.get("caption", ""))
    for place, video in enumerate(found["videos"], start=1):
        video = video if isinstance(video, dict) else {}
        name = str(video.get("video_id", ""))
        address = parse_qs(urlsplit(str(video.get("url", ""))).query).get("v", [""])[0]
        yield place, {"video": name, "split": video.get("split"), "texts": said.get(name, []), "youtube_id": address}


def youcook2(files: Files, options: ImportOptions) -> Items:
    """Test: the validation clips that papers report on. Train: the training clips of the JSON, where it is there."""
    test = files.find("validation_youcook.csv", "youcook2_validation_milnce.csv", "youcook_val.csv")
    trainval = files.find("youcookii_annotations_trainval.json")
    if test is None and trainval is None:
        raise files.expected()
    if test is not None:
        records = with_header(test, ("video_id", "start", "end", "text", "task"))
        yield from files.rows(test, records, _of_youcook2)
    if trainval is not None:
        wanted = {"training": "train"} | ({} if test else {"validation": "test"})
        yield from files.rows(trainval, _segments(trainval, wanted), _of_youcook2)
    elif options.wants("train"):
        files.notes.append("no youcookii_annotations_trainval.json: there is no training split")


def _of_youcook2(row: dict[str, str]) -> Item:
    video, (start, end) = given(row, "video_id"), span(row, "start", "end")
    return Item(
        keys=(video,),
        id=f"{video}_{start:g}_{end:g}",
        split=row.get("split", "test"),
        group=video,
        start=start,
        end=end,
        texts=captions(row["text"]),
        meta={"youtube_id": video, "recipe": row["task"]},
    )


def _segments(path: Path, wanted: dict[str, str]) -> Iterator[Record]:
    """{"database": {video: {"subset", "recipe_type", "annotations": [{"segment": [41, 54], "sentence"}]}}}; the number
    of the segment stands for the line."""
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
