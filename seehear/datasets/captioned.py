"""Sets with captions: of pictures (Flickr30K, COCO), sounds (AudioCaps, Clotho) and videos (MSR-VTT, YouCook2), and the
sentences of talking faces (GRID)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from seehear.datasets.base import Items, MediaIndex, new_row, whole_file, youtube_clip
from seehear.datasets.files import Files, Record, captions, given, number, objects, read_json, read_table, span
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow

# Karpathy's "restval" are the validation pictures that he left for training.
_KARPATHY = {"train": "train", "restval": "train", "val": "val", "test": "test"}


def flickr30k(files: Files) -> Items:
    return _karpathy(files, files.need("dataset_flickr30k.json"))


def coco(files: Files) -> Items:
    """Karpathy's splits, or the official files {"images": [{"id", "file_name"}], "annotations": [{"image_id",
    "caption"}]}."""
    if (karpathy := files.find("dataset_coco.json")) is not None:
        yield from _karpathy(files, karpathy)
        return
    official = {split: (f"captions_{split}2017.json", f"captions_{split}2014.json") for split in ("train", "val")}

    def item(split: str, texts: dict[str, list[str]], image: dict[str, Any]) -> ManifestRow:
        stem, said = PurePosixPath(image["file_name"]).stem, texts.get(str(image["id"]), ())
        return new_row(source=files.importer.key(stem), id=stem, split=split, texts=captions(*said))

    for split, path in files.of_splits(official).items():
        content, texts = read_json(path, "images"), dict[str, list[str]]()
        for annotation in objects(content, "annotations"):
            texts.setdefault(str(annotation.get("image_id")), []).append(annotation.get("caption", ""))
        yield from _each(files, path, content["images"], partial(item, split, texts))
    files.notes.append("without dataset_coco.json there is no test split: COCO 5K is Karpathy's, not the official val")


def _karpathy(files: Files, path: Path) -> Items:
    """Items of {"images": [{"filename", "split", "sentences": [{"raw", "tokens"}]}], "dataset"}."""
    content, dataset = read_json(path, "images"), files.importer.name
    if content.get("dataset", dataset) != dataset:
        raise SeehearError(f"{path}: is of {content['dataset']!r}, expected {dataset!r}")

    def item(image: dict[str, Any]) -> ManifestRow:
        stem = PurePosixPath(image["filename"]).stem
        if image["split"] not in _KARPATHY:
            raise SeehearError(f"split {image['split']!r} is none of {', '.join(_KARPATHY)}")
        return new_row(
            source=files.importer.key(stem),
            id=stem,
            split=_KARPATHY[image["split"]],
            texts=captions(*(sentence["raw"] for sentence in image["sentences"])),
            meta={"karpathy": image["split"]},
        )

    yield from _each(files, path, content["images"], item)


def _each(files: Files, path: Path, images: list[dict[str, Any]], make: Callable[[Any], ManifestRow]) -> Items:
    """Items that `make` returns for every image of a JSON list; its number is its line."""

    def checked(image: Any) -> ManifestRow:
        try:
            return make(image)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SeehearError(f"is no image with a file name, a split and captions ({error!r})") from error

    # Entries may be of any type, as the JSON says: `checked` turns each into an item or an error.
    records: Any = enumerate(images, start=1)
    yield from files.rows(path, records, checked)


# Clips of AudioCaps.
_CLIP_SECONDS = 10.0
# Names of the splits in the names of the files of Clotho.
_CLOTHO = {"train": "development", "val": "validation", "test": "evaluation"}


def audiocaps(files: Files, *, folder: str, version: str) -> Items:
    splits = ("train", "val", "test")
    names = {name: (f"{folder}/{name}.csv", f"audiocaps_{version}_{name}.csv", f"{name}.csv") for name in splits}
    columns = ("audiocap_id", "youtube_id", "start_time", "caption")

    def item(split: str, row: dict[str, str]) -> ManifestRow:
        video, start = given(row, "youtube_id"), number(row, "start_time")
        times, meta = (start, start + _CLIP_SECONDS), {"start_time": f"{start:g}"}
        # One id for the five rows that a clip of test has: their captions are joined by it.
        return youtube_clip(video, f"{video}_{start:g}", split, times, meta=meta, texts=captions(row["caption"]))

    yield from files.rows_of_splits(names, columns, item)


def clotho(files: Files) -> Items:
    names = {split: (f"clotho_captions_{name}.csv",) for split, name in _CLOTHO.items()}
    columns = tuple(f"caption_{n}" for n in range(1, 6))

    def item(split: str, row: dict[str, str]) -> ManifestRow:
        stem, texts = given(row, "file_name").rpartition(".")[0], captions(*(row[name] for name in columns))
        return whole_file(stem, split, texts=texts)

    yield from files.rows_of_splits(names, ("file_name", *columns), item)


_MSRVTT = ("train_val_videodatainfo.json", "test_videodatainfo.json")
_BOTH = ("MSRVTT_data.json", "videodatainfo_2017.json")
_TEST_1KA = ("MSRVTT_JSFUSION_test.csv", "msrvtt_1ka_test.csv", "msrvtt_test.csv")
_TRAIN_9K = ("MSRVTT_train.9k.csv", "msrvtt_train.9k.csv")
_SPLITS = {"train": "train", "validate": "val", "test": "test"}


def msrvtt(files: Files) -> Items:
    def item(row: dict[str, Any]) -> ManifestRow:
        if row["split"] not in _SPLITS:
            raise SeehearError(f"split {row['split']!r} is none of {', '.join(_SPLITS)}")
        return _msrvtt_item(row, _SPLITS[row["split"]])

    for path in _videodatainfo(files) or [files.need(*_MSRVTT)]:
        yield from files.rows(path, _videos(path), item)


def _msrvtt_item(row: dict[str, Any], split: str) -> ManifestRow:
    # Clips are cut from fewer videos than there are clips: the video is the group.
    group, texts = row["youtube_id"], captions(*row["texts"])
    return whole_file(row["video"], split, group=group, texts=texts, meta={"youtube_id": group} if group else {})


def msrvtt_1ka(files: Files) -> Items:
    """Test: a caption per clip. Train: the other clips with all their captions, if their JSON exists."""
    test = files.need(*_TEST_1KA)
    infos = _videodatainfo(files)
    recordings = {row["video"]: row["youtube_id"] for path in infos for _, row in _videos(path)}
    # Filled while the test list is read, which `of_train` relies on.
    tested: set[str] = set()

    def of_test(row: dict[str, str]) -> ManifestRow:
        video = given(row, "video_id")
        tested.add(video)
        own = {"video": video, "texts": [row["sentence"]], "youtube_id": recordings.get(video, "")}
        return _msrvtt_item(own, "test")

    yield from files.rows(test, read_table(test, ("video_id", "sentence")), of_test)
    train_list = files.find(*_TRAIN_9K)
    listed = read_table(train_list, ("video_id",)) if train_list else ()
    train = {row["video_id"] for _, row in listed if isinstance(row, dict)}

    def of_train(row: dict[str, Any]) -> ManifestRow | None:
        if row["video"] in tested or (train_list is not None and row["video"] not in train):
            return None
        return _msrvtt_item(row, "train")

    for info in infos:
        yield from files.rows(info, _videos(info), of_train)
    if not infos and files.options.wants("train"):
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
        own = {"video": name, "split": video.get("split"), "texts": texts.get(name, []), "youtube_id": youtube_id}
        yield place, own


def youcook2(files: Files) -> Items:
    """Test: the validation clips that papers report on. Train: the training clips of the JSON, if it exists."""
    test = files.find("validation_youcook.csv", "youcook2_validation_milnce.csv", "youcook_val.csv")
    trainval = files.find("youcookii_annotations_trainval.json")
    if test is None and trainval is None:
        raise files.expected()
    if test is not None:
        records = read_table(test, ("video_id", "start", "end", "text", "task"))
        yield from files.rows(test, records, _of_youcook2)
    if trainval is not None:
        # The official test split has no public captions: what papers call test is the validation split.
        wanted = {"training": "train"} | ({} if test else {"validation": "test"})
        yield from files.rows(trainval, _segments(trainval, wanted), _of_youcook2)
    elif files.options.wants("train"):
        files.notes.append("no youcookii_annotations_trainval.json: there is no training split")


def _of_youcook2(row: dict[str, str]) -> ManifestRow:
    video, (start, end) = given(row, "video_id"), span(row, "start", "end")
    name, split = f"{video}_{start:g}_{end:g}", row.get("split", "test")
    return youtube_clip(video, name, split, (start, end), meta={"recipe": row["task"]}, texts=captions(row["text"]))


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


def grid(files: Files) -> Items:
    """Clips by the names of the media files, which encode the sentences; there is no other list."""
    assert isinstance(files.media, MediaIndex)
    # A sentence has a video and a sound file: one clip.
    known: set[str] = set()
    for place, path in enumerate(files.media, start=1):
        key = by_speaker(str(PurePosixPath(path).with_suffix("")))
        if key and key not in known:
            known.add(key)
            yield _clip(key, place)
    if not known:
        raise SeehearError(f"{files.media.folder} does not look like GRID: expected {files.importer.media}")


def by_speaker(path: str) -> str:
    """'s1/video/mpg_6000/bbaf2n' -> 's1/bbaf2n'; the sentences of all speakers have the same names."""
    *folders, name = path.split("/")
    speaker = next((folder for folder in reversed(folders) if _SPEAKER.fullmatch(folder)), "")
    return f"{speaker}/{name}" if speaker and _SENTENCE.fullmatch(name) else ""


def _clip(key: str, place: int) -> ManifestRow:
    speaker, name = key.split("/")
    words = {part: said.get(sign, sign) for (part, said), sign in zip(_WORDS.items(), name, strict=True)}
    split, meta = "test" if speaker in _UNSEEN else "train", {"speaker": speaker} | words
    texts = captions(" ".join(words.values()))
    return whole_file(key, split, group=key, texts=texts, meta=meta, table="grid", line=place)
