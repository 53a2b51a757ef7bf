"""Videos that come as features: HowTo100M, with recognised speech as timed captions, and CrossTask, second by second,
with the ordered steps of each task as texts."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from seehear.datasets.base import Items, bad_row, new_row
from seehear.datasets.features import FeatureIndex
from seehear.datasets.files import Files, captions, lines, read_table, words
from seehear.datasets.pickles import pickle_of
from seehear.errors import SeehearError
from seehear.library.manifest import ManifestRow

_JSON = ("caption.json", "raw_caption.json", "caption_superclean.json")
_PICKLES = ("caption.pickle", "caption.pkl")
_FOLDERS = ("captions", "caption", "howto100m_captions", "csv")
_LISTS = ("HowTo100M_1166_videopaths.txt", "HowTo100M_336_videopaths.txt", "HowTo100M_v1.csv", "videos.csv")
CHUNK = 2**20

# Video, and its captions or the error in them.
Captions = Iterator[tuple[str, "dict[str, Any] | SeehearError"]]


def howto100m(files: Files) -> Items:
    table, every = _captions(files)
    listed: set[str] | None = None
    # The lists have a column video_id, or paths that end in the id.
    if (path := files.find(*_LISTS)) is not None:
        reader = csv.DictReader(lines(path), skipinitialspace=True)
        column = next((name for name in ("video_id", "path") if name in (reader.fieldnames or ())), None)
        if column is None:
            raise SeehearError(f"{path}: has no column video_id or path")
        files.notes.append(f"only the videos that {path.name} lists")
        listed = {row[column].rpartition("/")[2] for row in reader if row[column]}
    for video, said in every:
        if listed is not None and video not in listed:
            continue
        whole = new_row(source=video, id=video, split="train", group=video, table=table)
        # A video without features is one row: a row for each of its captions would fill the rejects.
        if files.media.locate(whole) is None:
            yield whole
        elif isinstance(said, SeehearError):
            yield bad_row(f"{table}/{video}", 0, said)
        else:
            yield from _of_video(video, said, table)


def _of_video(video: str, said: dict[str, Any], table: str) -> Items:
    """A clip per caption; its number in the video is its line."""
    columns = [own for name in ("start", "end", "text") if isinstance(own := said.get(name), list)]
    where = f"{table}/{video}"
    if len(columns) < 3 or len(set(map(len, columns))) > 1:
        yield bad_row(where, 0, "expected start, end and text, lists of one length")
        return
    for line, (start, end, text) in enumerate(zip(*columns, strict=True), start=1):
        times = _seconds(start), _seconds(end)
        try:
            if not 0 <= times[0] < times[1] < 1e7:
                raise SeehearError(f"goes from {start!r} to {end!r} s")
            own = {"start": times[0], "end": times[1], "texts": captions(text), "table": where, "line": line}
            yield new_row(source=video, id=f"{video}_{line - 1:04d}", split="train", group=video, **own)
        except SeehearError as error:
            yield bad_row(where, line, error)


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        # It fails every comparison, and so the check of the times.
        return math.nan


def _captions(files: Files) -> tuple[str, Captions]:
    """Name of the table, and the captions video by video."""
    if (path := files.find(*_JSON)) is not None:
        return files.table(path), read_captions(path)
    folder = next((files.root / name for name in _FOLDERS if (files.root / name).is_dir()), None)
    if folder is not None and next(folder.glob("*.csv"), None) is not None:
        return files.table(folder), _of_folder(folder)
    path = files.need(*_PICKLES)
    found = pickle_of(path, files.options)
    if not isinstance(found, dict):
        raise SeehearError(f"{path}: expected {{video: {{start, end, text}}}}; got {type(found).__name__}")
    return files.table(path), ((str(video), _checked(said)) for video, said in found.items())


def _checked(said: Any) -> dict[str, Any] | SeehearError:
    return said if isinstance(said, dict) else SeehearError("expected start, end and text")


def read_captions(path: Path) -> Captions:
    """Videos of a JSON file {video: {"start": [], "end": [], "text": []}}, one in memory at a time."""
    # The file has several GB: values are decoded from a buffer that grows until one is whole.
    decoder, place, buffer = json.JSONDecoder(), 0, ""
    try:
        with open(path, encoding="utf-8-sig") as file:
            buffer = file.read(CHUNK).lstrip()
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
                    # The buffer doubles, so that a long value is not decoded again for every chunk.
                    if not (more := file.read(max(CHUNK, len(buffer)))):
                        raise
                    buffer, place = buffer + more, 0
                    continue
                yield str(video), _checked(said)
    except OSError as error:
        raise SeehearError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise SeehearError(f"{path}: is no whole JSON ({error})") from error


def _of_folder(folder: Path) -> Captions:
    """Videos of a folder with a table start,end,text for each."""
    # Sorted: the order of a folder differs between machines.
    for path in sorted(folder.glob("*.csv")):
        columns: dict[str, list[Any]] = {"start": [], "end": [], "text": []}
        try:
            reader = csv.DictReader(lines(path), skipinitialspace=True)
            if missing := [name for name in columns if name not in (reader.fieldnames or ())]:
                raise SeehearError(f"{path}: has no column {', '.join(missing)}")
            for row in reader:
                for name, values in columns.items():
                    values.append(row[name])
            yield path.stem, columns
        except (SeehearError, csv.Error) as error:
            yield path.stem, SeehearError(str(error))


@dataclass(frozen=True)
class _Task:
    number: str
    title: str
    steps: tuple[str, ...]


def crosstask(files: Files) -> Items:
    """Steps of the primary tasks, and every second of their annotated videos."""
    path, videos = files.need("tasks_primary.txt"), files.need("videos.csv")
    tasks = {task.number: task for task in _read_tasks(path)}
    validation: set[tuple[str, ...]] = set()
    if (val := files.find("videos_val.csv")) is None:
        files.notes.append("no videos_val.csv: every video is of the test split")
    else:
        validation = {tuple(part.strip() for part in line.split(",")[:2]) for line in lines(val)}
    for task in tasks.values():
        for step, text in enumerate(task.steps):
            name = f"crosstask/{task.number}/{step:02d}"
            meta = {"task": task.number, "title": task.title, "step": f"{step}", "steps": f"{len(task.steps)}"}
            texts, table = captions(text), files.table(path)
            yield new_row(id=name, split="test", group=name, texts=texts, meta=meta, table=table)
    lost = 0
    for line, values in read_table(videos, ("task", "video", "url"), first=("task",)):
        if isinstance(values, SeehearError):
            yield bad_row(files.table(videos), line, values)
        elif values["task"] in tasks:
            number, video = values["task"], values["video"]
            if (annotation := files.find(f"{number}_{video}.csv")) is None:
                lost += 1
                continue
            split, table = "val" if (number, video) in validation else "test", f"crosstask/videos/{video}"
            whole = new_row(source=video, id=video, split=split, group=video, table=table, line=line)
            yield from _seconds_of(files, whole, tasks[number], annotation)
    if lost:
        files.notes.append(f"{lost:,} videos have no annotation, and are not imported")


def _seconds_of(files: Files, whole: ManifestRow, task: _Task, annotation: Path) -> Items:
    """The seconds of a video, or the whole one if it has no features."""
    video, index = whole.id, files.media
    assert isinstance(index, FeatureIndex)
    if (found := index.locate(whole)) is None:
        yield whole
        return
    # Every second is a row, with a step or without: steps are located among all of them.
    seconds = index.seconds(found.name)
    try:
        marked = _read_annotation(annotation, steps=len(task.steps), seconds=seconds)
    except SeehearError as error:
        yield bad_row(files.table(annotation), 0, error)
        return
    for second in range(seconds):
        here = sorted(marked[second])
        marks = " ".join(map(str, here))
        yield replace(
            whole,
            id=f"crosstask/{task.number}/{video}/{second:04d}",
            start=float(second),
            end=second + 1.0,
            labels=tuple(dict.fromkeys(task.steps[step] for step in here)),
            meta={"task": task.number, "video": video, "seconds": f"{seconds}", "marked": marks},
        )


def _read_tasks(path: Path) -> list[_Task]:
    """Tasks of a file of five-line blocks: number, title, address, number of steps, comma-separated steps."""
    blocks = [line for _, line in words(path)]
    if len(blocks) % 5:
        raise SeehearError(f"{path}: expected blocks of five lines (number, title, address, number of steps, steps)")
    tasks = []
    for at in range(0, len(blocks), 5):
        number, title, _, count, listed = (line.strip() for line in blocks[at : at + 5])
        steps = tuple(step.strip() for step in listed.split(","))
        if count != f"{len(steps)}" or not all(steps):
            raise SeehearError(f"{path}: task {number} says {count} steps and lists {len(steps)}")
        tasks.append(_Task(number, title, steps))
    return tasks


def _read_annotation(path: Path, *, steps: int, seconds: int) -> list[set[int]]:
    """Steps, from 0, of every second. A line step,start,end marks the seconds floor(start) to ceil(end) - 1."""
    marked: list[set[int]] = [set() for _ in range(seconds)]
    for line, values in read_table(path, ("step", "start", "end"), first=("step",)):
        try:
            if isinstance(values, SeehearError):
                raise values
            step, start, end = int(values["step"]) - 1, float(values["start"]), float(values["end"])
            if not (0 <= step < steps and 0 <= start <= end < 1e7):
                raise ValueError
        except (ValueError, SeehearError) as error:
            raise SeehearError(f"{path}:{line}: expected step,start,end with steps 1 to {steps}") from error
        # An annotation may end behind the features of its video.
        for second in range(math.floor(start), min(math.ceil(end), seconds)):
            marked[second].add(step)
    return marked
