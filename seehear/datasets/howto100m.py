"""HowTo100M: videos known by features computed from them, with the recognised speech as timed captions."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from seehear.datasets.base import Bad, ImportOptions, Item, Items
from seehear.datasets.files import Files, lines
from seehear.datasets.pickled import pickle_of
from seehear.errors import SeehearError

_JSON = ("caption.json", "raw_caption.json", "caption_superclean.json")
_PICKLES = ("caption.pickle", "caption.pkl")
_FOLDERS = ("captions", "caption", "howto100m_captions", "csv")
_LISTS = ("HowTo100M_1166_videopaths.txt", "HowTo100M_336_videopaths.txt", "HowTo100M_v1.csv", "videos.csv")
_CHUNK = 2**20

Captions = Iterator[tuple[str, "dict[str, Any] | SeehearError"]]
"""Video, and its captions or what is wrong with them."""


def howto100m(files: Files, options: ImportOptions) -> Items:
    table, every = _captions(files, options)
    listed = _listed(files)
    for video, said in every:
        if listed is not None and video not in listed:
            continue
        whole = Item(keys=(video,), id=video, split="train", group=video, table=table)
        if files.media.locate(whole) is None:
            yield whole
        elif isinstance(said, SeehearError):
            yield Bad(table=f"{table}/{video}", line=0, reason=str(said))
        else:
            yield from _of_video(video, said, table)


def _of_video(video: str, said: dict[str, Any], table: str) -> Items:
    """A clip a caption; its number in the video stands for the line."""
    columns = [own for name in ("start", "end", "text") if isinstance(own := said.get(name), list)]
    where = f"{table}/{video}"
    if len(columns) < 3 or len(set(map(len, columns))) > 1:
        yield Bad(table=where, line=0, reason="expected start, end and text, lists of one length")
        return
    for number, (start, end, text) in enumerate(zip(*columns, strict=True)):
        seconds = [_seconds(start), _seconds(end)]
        if not 0 <= seconds[0] < seconds[1] < 1e7:
            yield Bad(table=where, line=number + 1, reason=f"goes from {start!r} to {end!r} s")
        elif isinstance(text, str) and text.strip():
            yield Item(
                keys=(video,),
                id=f"{video}_{number:04d}",
                split="train",
                group=video,
                start=seconds[0],
                end=seconds[1],
                texts=(text.strip(),),
                table=where,
                line=number + 1,
            )
        else:
            yield Bad(table=where, line=number + 1, reason="has no caption")


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


# -- captions ----------------------------------------------------------------------------------------------------------


def _captions(files: Files, options: ImportOptions) -> tuple[str, Captions]:
    """What rows are called after, and the captions video by video."""
    if (path := files.find(*_JSON)) is not None:
        return files.table(path), _of_json(path)
    folder = next((files.root / name for name in _FOLDERS if (files.root / name).is_dir()), None)
    if folder is not None and next(folder.glob("*.csv"), None) is not None:
        return files.table(folder), _of_folder(folder)
    path = files.need(*_PICKLES)
    found = pickle_of(path, options)
    if not isinstance(found, dict):
        raise SeehearError(f"{path}: expected {{video: {{start, end, text}}}}; got {type(found).__name__}")
    return files.table(path), ((str(video), _checked(said)) for video, said in found.items())


def _checked(said: Any) -> dict[str, Any] | SeehearError:
    return said if isinstance(said, dict) else SeehearError("expected start, end and text")


def _of_json(path: Path) -> Captions:
    """{video: {"start": [], "end": [], "text": []}}, one video in memory at a time."""
    decoder, place, buffer = json.JSONDecoder(), 0, ""
    try:
        with open(path, encoding="utf-8-sig") as file:
            buffer = file.read(_CHUNK).lstrip()
            if not buffer.startswith("{"):
                raise SeehearError(f"{path}: expected an object, video by video")
            place = 1
            while True:
                buffer, place = buffer[place:].lstrip(" \t\r\n,"), 0
                if buffer.startswith("}"):
                    return
                try:
                    video, place = decoder.raw_decode(buffer)
                    place = buffer.index(":", place) + 1
                    place += len(buffer[place:]) - len(buffer[place:].lstrip())
                    said, place = decoder.raw_decode(buffer, place)
                except ValueError:
                    if not (more := file.read(max(_CHUNK, len(buffer)))):
                        raise
                    buffer, place = buffer + more, 0
                    continue
                yield str(video), _checked(said)
    except OSError as error:
        raise SeehearError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise SeehearError(f"{path}: is no whole JSON ({error})") from error


def _of_folder(folder: Path) -> Captions:
    """A table start,end,text a video."""
    for path in sorted(folder.glob("*.csv")):
        try:
            yield path.stem, _of_table(path)
        except (SeehearError, csv.Error) as error:
            yield path.stem, SeehearError(str(error))


def _of_table(path: Path) -> dict[str, Any]:
    reader = csv.DictReader(lines(path), skipinitialspace=True)
    said: dict[str, list[Any]] = {"start": [], "end": [], "text": []}
    if missing := [name for name in said if name not in (reader.fieldnames or ())]:
        raise SeehearError(f"{path}: has no column {', '.join(missing)}")
    for row in reader:
        for name in said:
            said[name].append(row[name])
    return said


def _listed(files: Files) -> set[str] | None:
    """The videos of a list, when there is one: a column video_id, or paths that end in the id."""
    path = files.find(*_LISTS)
    if path is None:
        return None
    reader = csv.DictReader(lines(path), skipinitialspace=True)
    column = next((name for name in ("video_id", "path") if name in (reader.fieldnames or ())), None)
    if column is None:
        raise SeehearError(f"{path}: has no column video_id or path")
    files.notes.append(f"only the videos that {path.name} lists")
    return {row[column].rpartition("/")[2] for row in reader if row[column]}
