"""HowTo100M: videos known by features computed from them, with the recognised speech as timed captions."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.datasets.base import Bad, DatasetItem, ImportOptions, Items
from seehear.datasets.feature_files import FeatureIndex
from seehear.datasets.files import Files, lines, without_header, words
from seehear.datasets.pickles import pickle_of
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
        whole = DatasetItem(keys=(video,), id=video, split="train", group=video, table=table)
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
            yield DatasetItem(
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


# ----------------------------------------------------------------------------------------------------------------------
# CrossTask: how-to videos known by features, second by second, and the ordered steps of each task as texts.


@dataclass(frozen=True)
class Task:
    number: str
    title: str
    steps: tuple[str, ...]


def crosstask(files: Files, options: ImportOptions) -> Items:
    """Of the primary tasks: the steps, and every second of the annotated videos."""
    path, videos = files.need("tasks_primary.txt"), files.need("videos.csv")
    tasks = {task.number: task for task in read_tasks(path)}
    validation = _validation(files)
    for task in tasks.values():
        for step, text in enumerate(task.steps):
            name = f"crosstask/{task.number}/{step:02d}"
            meta = {"task": task.number, "title": task.title, "step": f"{step}", "steps": f"{len(task.steps)}"}
            yield DatasetItem(
                keys=(), id=name, split="test", group=name, texts=(text,), meta=meta, table=files.table(path)
            )
    lost: Counter[str] = Counter()
    for line, values in without_header(videos, ("task", "video", "url"), first=("task",)):
        if isinstance(values, SeehearError):
            yield Bad(table=files.table(videos), line=line, reason=str(values))
        elif values["task"] in tasks:
            split = "val" if (values["task"], values["video"]) in validation else "test"
            yield from _of_task(files, tasks[values["task"]], values["video"], split, line, lost)
    if lost:
        files.notes.append(f"{lost['annotation']:,} videos have no annotation, and are not imported")


def _of_task(files: Files, task: Task, video: str, split: str, line: int, lost: Counter[str]) -> Items:
    table, index = f"crosstask/videos/{video}", files.media
    assert isinstance(index, FeatureIndex)
    whole = DatasetItem(keys=(video,), id=video, split=split, group=video, table=table, line=line)
    annotation = files.find(f"{task.number}_{video}.csv")
    if annotation is None:
        lost["annotation"] += 1
        return
    found = index.locate(whole)
    if found is None:
        yield whole
        return
    seconds = index.seconds(found.name)
    try:
        marked = read_annotation(annotation, steps=len(task.steps), seconds=seconds)
    except SeehearError as error:
        yield Bad(table=files.table(annotation), line=0, reason=str(error))
        return
    for second in range(seconds):
        here = sorted(marked[second])
        yield DatasetItem(
            keys=(video,),
            id=f"crosstask/{task.number}/{video}/{second:04d}",
            split=split,
            group=video,
            start=float(second),
            end=second + 1.0,
            labels=tuple(dict.fromkeys(task.steps[step] for step in here)),
            meta={
                "task": task.number,
                "video": video,
                "seconds": f"{seconds}",
                "marked": " ".join(map(str, here)),
            },
            table=table,
            line=line,
        )


def read_tasks(path: Path) -> list[Task]:
    """Blocks of five lines: number, title, address, number of steps, the steps with commas between them."""
    blocks = [line for _, line in words(path)]
    if len(blocks) % 5:
        raise SeehearError(f"{path}: expected blocks of five lines (number, title, address, number of steps, steps)")
    tasks = []
    for at in range(0, len(blocks), 5):
        number, title, _, count, listed = (line.strip() for line in blocks[at : at + 5])
        steps = tuple(step.strip() for step in listed.split(","))
        if count != f"{len(steps)}" or not all(steps):
            raise SeehearError(f"{path}: task {number} says {count} steps and lists {len(steps)}")
        tasks.append(Task(number, title, steps))
    return tasks


def read_annotation(path: Path, *, steps: int, seconds: int) -> list[set[int]]:
    """The steps of every second, from 0: step,start,end a line, marked from floor(start) to before ceil(end)."""
    marked: list[set[int]] = [set() for _ in range(seconds)]
    for line, values in without_header(path, ("step", "start", "end"), first=("step",)):
        try:
            if isinstance(values, SeehearError):
                raise values
            step, start, end = int(values["step"]) - 1, float(values["start"]), float(values["end"])
            if not (0 <= step < steps and 0 <= start <= end < 1e7):
                raise ValueError
        except (ValueError, SeehearError) as error:
            raise SeehearError(f"{path}:{line}: expected step,start,end with steps 1 to {steps}") from error
        for second in range(math.floor(start), min(math.ceil(end), seconds)):
            marked[second].add(step)
    return marked


def _validation(files: Files) -> set[tuple[str, str]]:
    path = files.find("videos_val.csv")
    if path is None:
        files.notes.append("no videos_val.csv: every video is of the test split")
        return set()
    rows = (line.split(",") for line in lines(path))
    return {(row[0].strip(), row[1].strip()) for row in rows if len(row) > 1}
