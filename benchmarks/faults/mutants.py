"""Thousands of damaged files through prepare, encode and one epoch of training: no crash, no hang, every one counted.

Each file is decoded in a worker that may die; how many did, and for how many files the time ran out, is recorded.
"""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from pathlib import Path

from benchmarks.faults.mutate import mutants
from seehear.encoders import load_encoder
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from tests.faults.encoders import Grey, NoOptions
from tests.faults.outcome import Outcome, called, outcome, run
from tests.library.makers import film

TIME_LIMIT = 20.0
"""Seconds for a file of a few KB."""
MOST_MEMORY = 2 * 2**30
"""Bytes that no process may come to need for such files."""
_WHOLE = 12
"""Undamaged films beside the mutants, so that there is something to train on whatever the damage."""


def damaged(folder: Path, *, count: int, seed: int) -> list[Outcome]:
    """All four commands on damaged media."""
    library = folder / "lib"
    return [*read(folder, count=count, seed=seed), _trained(folder, library), _searched(library, folder)]


def read(folder: Path, *, count: int, seed: int) -> list[Outcome]:
    """`prepare` and `encode` alone."""
    media, library = folder / "media", folder / "lib"
    shutil.rmtree(folder, ignore_errors=True)
    files = mutants(media, count=count, seed=seed)
    for n in range(_WHOLE):
        film(media / f"whole {n}.mp4", seconds=0.4 + 0.05 * n, fps=10, rate=16_000)
    return [_prepared(media, library, len(files) + _WHOLE), _encoded(library)]


def _prepared(media: Path, library: Path, total: int) -> Outcome:
    with outcome("damaged media: prepare") as found:
        began = time.monotonic()
        prepare(media, library, PrepareOptions(workers=1, time_limit=TIME_LIMIT))
        made = LibraryTables.open(library)
        sources = {clip.source for clip in made.clips()}
        sources |= {copy for copies in made.copies().values() for copy in copies}
        refused = {reject.path for reject in made.rejects() if reject.stage in ("probe", "clips")}
        found.tried = total
        found.check(len(sources) + len(refused) == total, f"{len(sources)} usable + {len(refused)} refused of {total}")
        found.check(not sources & refused, f"both used and refused: {sorted(sources & refused)[:3]}")
        reasons = Counter(_kind(reject.reason) for reject in made.rejects())
        found.check(not _bugs(reasons), f"not a reason but a bug: {_bugs(reasons)}")
        found.numbers = {
            "usable": len(sources),
            "refused": len(refused),
            "clips": made.count_clips(),
            "worker crashes": reasons["crashed"],
            "time limit": reasons["time limit"],
            "files a second": round(total / (time.monotonic() - began)),
        }
    return found


def _kind(reason: str) -> str:
    if "crashed the process" in reason:
        return "crashed"
    return "time limit" if "time limit" in reason else reason


def _bugs(reasons: Counter[str]) -> list[str]:
    """'ZeroDivisionError: ...' is what an exception that nobody thought of looks like."""
    return [reason for reason in reasons if reason.split(":")[0].endswith(("Error", "Exception"))]


def _encoded(library: Path) -> Outcome:
    with outcome("damaged media: encode") as found:
        made = LibraryTables.open(library)
        said, ended = called(_encode, library, limits={"seconds": 3600, "memory": MOST_MEMORY})
        clips = made.clips()
        for name, (modality, done, rejected) in json.loads(said).items():
            wanted = sum(clip.has(modality) for clip in clips)
            found.tried += wanted
            found.check(done + rejected == wanted, f"{name}: {done} made + {rejected} set aside of {wanted}")
            found.numbers[name] = {"made": done, "set aside": rejected}
        reasons = Counter(_kind(r.reason) for r in made.rejects() if r.stage.startswith("encode"))
        found.check(not _bugs(reasons), f"not a reason but a bug: {_bugs(reasons)}")
        found.numbers |= {"worker crashes": reasons["crashed"], "time limit": reasons["time limit"]}
        found.numbers["largest process, MB"] = found.memory_mb = round(ended.memory / 2**20)
        found.check(ended.memory < MOST_MEMORY, f"a process came to need {ended.memory / 2**30:.1f} GB")
    return found


def _encode(library: Path) -> str:
    """In a process of its own: Linux counts for a child what its parent held when it started it, and here that is all
    that other tests left behind."""
    encoders = [Grey(NoOptions()), load_encoder("logmel", device="cpu")]
    report = encode_library(LibraryTables.open(library), encoders, EngineOptions(workers=1), device="cpu")
    return json.dumps({e.name: (e.modality, e.made, e.rejected) for e in report.encoders})


def _trained(folder: Path, library: Path) -> Outcome:
    with outcome("damaged media: one epoch of training") as found:
        words: list[str | Path] = [
            "train",
            library,
            "fusemix",
            "--out",
            folder / "run",
            "--train.epochs",
            "1",
            "--method.dim",
            "8",
        ]
        done = run([*words, "--train.device", "cpu"])
        found.tried = 1
        found.check(done.status == 0, f"status {done.status}: {done.complaint}")
    return found


def _searched(library: Path, folder: Path) -> Outcome:
    with outcome("damaged media: index") as found:
        done = run(["index", library, folder / "run", "--device", "cpu"])
        found.tried = 1
        found.check(done.status == 0, f"status {done.status}: {done.complaint}")
    return found
