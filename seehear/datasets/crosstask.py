"""CrossTask: how-to videos known by features, second by second, and the ordered steps of each task as texts."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from seehear.datasets.base import Bad, ImportOptions, Item, Items
from seehear.datasets.feature_files import FeatureIndex
from seehear.datasets.files import Files, lines, without_header, words
from seehear.errors import SeehearError


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
            yield Item(keys=(), id=name, split="test", group=name, texts=(text,), meta=meta, table=files.table(path))
    lost: Counter[str] = Counter()
    for line, values in without_header(videos, ("task", "video", "url"), first=("task",)):
        if isinstance(values, SeehearError):
            yield Bad(table=files.table(videos), line=line, reason=str(values))
        elif values["task"] in tasks:
            split = "val" if (values["task"], values["video"]) in validation else "test"
            yield from _of_video(files, tasks[values["task"]], values["video"], split, line, lost)
    if lost:
        files.notes.append(f"{lost['annotation']:,} videos have no annotation, and are not imported")


def _of_video(files: Files, task: Task, video: str, split: str, line: int, lost: Counter[str]) -> Items:
    table, index = f"crosstask/videos/{video}", files.media
    assert isinstance(index, FeatureIndex)
    whole = Item(keys=(video,), id=video, split=split, group=video, table=table, line=line)
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
        yield Item(
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
