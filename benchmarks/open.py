"""From `seehear open FOLDER` to the first answer, and how what can be found grows while it works.

    python benchmarks/open.py --films 60 --minutes 10      # two idle cores, an hour
    python benchmarks/open.py --films 12 --minutes 3 --until 600

The films are joined from ../shared/data/home, once, in --scratch. The command runs as a user starts it; it stands still
(SIGSTOP) and the clock with it while recall is measured. Recall: a query is asked about one film that has an answer,
and about all films; right is what `score.py` of the data calls right, at the place where the joined film has it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
from common import write
from films import make_films
from home import DATA, is_right, queries

from seehear.errors import SeehearError
from seehear.folders.find import open_library
from seehear.library.tables import LibraryTables
from seehear.search.filters import Filters
from seehear.search.index import indexes

KINDS = ("seen", "said", "written", "heard")
ASKED = 60
"""Queries, each about one film."""


class Command:
    """`seehear open`, and its clock."""

    def __init__(self, folder: Path, library: Path):
        words = ["open", str(folder), "--library", str(library), "--preset", "light", "--no-browser"]
        start = [sys.executable, "-c", "import sys; from seehear.cli import main; sys.exit(main())", *words]
        self.began, self.stood = time.monotonic(), 0.0
        self.process = subprocess.Popen(start, stderr=subprocess.PIPE, text=True, start_new_session=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        self.address = line.split()[-1]
        self.opened = self.seconds()
        print(line.strip(), f"after {self.opened:.1f} s", flush=True)

    def seconds(self) -> float:
        return time.monotonic() - self.began - self.stood

    def ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.address + path, data, {"content-type": "application/json"})
        with urlopen(request, timeout=120) as answer:
            return json.load(answer)

    def finds(self, words: str) -> bool:
        try:
            return bool(self.ask("api/search", {"parts": [{"text": words}]})["hits"])
        except HTTPError as error:
            if error.code != 409:  # nothing can be searched yet
                raise
            return False

    def hold(self) -> None:
        os.killpg(self.process.pid, signal.SIGSTOP)
        self.held = time.monotonic()

    def go_on(self) -> None:
        self.stood += time.monotonic() - self.held
        os.killpg(self.process.pid, signal.SIGCONT)


def tasks(parts: list[dict[str, Any]]) -> list[tuple[str, str, str, list[tuple[str, float, float]]]]:
    """(query, kind, film, right windows in all films): each query about a drawn film that answers it."""
    found = []
    for query, (kind, relevant) in sorted(queries("both").items()):
        right = [
            (part["film"], part["start"] + start, min(part["start"] + end, part["end"]))
            for file, start, end in relevant
            for part in parts
            if part["file"] == file and part["start"] + start < part["end"]
        ]
        if right and kind in KINDS:
            found.append((query, kind, random.Random(query).choice(right)[0], right))
    return random.Random(0).sample(found, min(ASKED, len(found)))


def measure(library: Path, asked: list[Any], films: int) -> dict[str, Any]:
    opened = LibraryTables.open(library)
    if not indexes(opened):
        return {"clips indexed": 0, "R@10 in its film": 0.0, "R@10 in all films": 0.0}
    searcher = open_library(opened, device="cpu")
    own, everywhere = [], []
    for query, _, film, right in asked:
        for filters, windows, rights in (
            (Filters(source=film), [window for window in right if window[0] == film], own),
            (Filters(), right, everywhere),
        ):
            try:
                hits = searcher.search(query, k=10, filters=filters).plain()["hits"]
            except SeehearError:  # no clip of the film is indexed, or the first index is not calibrated yet
                hits = []
            rights.append(any(is_right(hit, windows) for hit in hits))
    ids = {id for index in searcher.indexes for id in searcher.clips.ids(np.unique(index.clips_N))}
    covered = {id.split("#")[0] for id in ids}
    found = {"clips indexed": len(ids), "films with a clip": round(len(covered) / films, 3)}
    found |= {
        "R@10 in its film": round(float(np.mean(own)), 3),
        "R@10 in all films": round(float(np.mean(everywhere)), 3),
    }
    for kind in KINDS:
        if rights := [right for right, task in zip(own, asked, strict=True) if task[1] == kind]:
            found[f"R@10 in its film, {kind}"] = round(float(np.mean(rights)), 3)
    return found


def run(options: argparse.Namespace, parts: list[dict[str, Any]], folder: Path, library: Path) -> dict[str, Any]:
    command = Command(folder, library)
    asked, growth, first, seen, done = tasks(parts), [], None, None, None
    at = list(options.at)
    try:
        while command.seconds() < options.until and done is None:
            time.sleep(0.5)
            if first is None:
                status = command.ask("api/status")
                if status["runs"] and command.finds("a dog"):
                    first = command.seconds()
                    print(f"first answer after {first:.1f} s", flush=True)
            now = command.ask("api/progress")
            if seen is None and (now["state"] == "ready" or now["step"].startswith("reading")):
                seen = command.seconds()
            done = command.seconds() if now["state"] == "ready" else None
            if first is not None and (done or (at and command.seconds() >= at[0])):
                at = [second for second in at if second > command.seconds()]
                command.hold()
                growth.append({"seconds": round(command.held - command.began - command.stood, 1)})
                growth[-1] |= measure(library, asked, options.films)
                print(growth[-1], now["line"], flush=True)
                command.go_on()
    finally:
        os.killpg(command.process.pid, signal.SIGKILL)
    media = 60 * options.minutes * options.films
    return {
        "page opens after": round(command.opened, 1),
        "first answer after": first and round(first, 1),
        "seen and heard after": seen and round(seen, 1),
        "all read after": done and round(done, 1),
        "times real time, seen and heard": seen and round(media / seen, 1),
        "times real time, all": done and round(media / done, 1),
        "growth": growth,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--films", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--scratch", type=Path, default=Path("/tmp/open"))
    parser.add_argument("--until", type=float, default=7200.0, help="seconds after which it ends")
    parser.add_argument("--at", type=float, nargs="*", default=[60, 120, 240, 480, 960, 1440, 1920, 2400, 3600, 5400])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    name = f"films{options.films}x{options.minutes:g}"
    folder, library = options.scratch / name, options.scratch / f"library-{name}"
    parts = make_films(folder, DATA / "files", films=options.films, minutes=options.minutes)
    shutil.rmtree(library, ignore_errors=True)
    found = run(options, parts, folder, library)
    print(json.dumps({key: value for key, value in found.items() if key != "growth"}, indent=2))
    write("open", {"films": options.films, "minutes": options.minutes, "queries": ASKED, **found}, options.out)


if __name__ == "__main__":
    main()
