"""`python -m tests.faults.child WORDS` is `seehear WORDS` with batches of a few rows, so that even a tiny library is
written in many commits, and with two encoders that weigh nothing.

FAULTS_KILL_AT=7     SIGKILL right before the seventh write: a commit, a checkpoint, a rename
FAULTS_ONLY_IN=save_model   only writes inside that function count
FAULTS_MARK=FILE     made at the first write that counts; what ends this process from outside waits for it
FAULTS_GROUP=1       a process group of its own, so that it and its workers can be killed together
FAULTS_ANSWERS=FILE  what is typed
FAULTS_WRITES=FILE   how many writes there were, written there at the end
FAULTS_CLOCK=-3600   the wall clock is so many seconds off
FAULTS_LARGEST=1000  no file may grow beyond so many bytes
"""

from __future__ import annotations

import datetime
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

PRELOADED = [
    "torch._dynamo",
    "lancedb",
    "pyarrow",
    "av",
    "scipy.stats",
    "sklearn.linear_model",
    "tyro",
    "seehear.runs.run",
]
"""Modules slow to import. None starts a thread that a fork would miss."""
# Every fork of the server would say so once more.
warnings.filterwarnings("ignore", message="lancedb fork support")


def small_batches() -> None:
    from seehear.encoders import registry
    from seehear.library import encode, prepare
    from seehear.search import index
    from tests.faults.encoders import Grey, Letters, NoOptions

    prepare.BATCH_FILES, encode.COMMIT_ROWS, index.BATCH = 3, 5, 5
    encode.BATCH = dict.fromkeys(encode.BATCH, 3)
    registry.PACKAGED |= {"grey": lambda: (Grey, NoOptions), "letters": lambda: (Letters, NoOptions)}


class Writes:
    """Counts the writes of this process, and ends it before the one that was asked for."""

    def __init__(self, kill_at: int, only_in: str = "", mark: str = ""):
        self.kill_at, self.only_in, self.mark, self.done = kill_at, only_in, mark, 0

    def watched(self, owner: Any, name: str) -> None:
        original: Callable[..., Any] = getattr(owner, name)

        def write(*args: Any, **kwargs: Any) -> Any:
            if not self.only_in or _inside(self.only_in):
                self.done += 1
                if self.mark and self.done == 1:
                    os.close(os.open(self.mark, os.O_CREAT | os.O_WRONLY))
                if self.done == self.kill_at:
                    (os.killpg if os.getpgrp() == os.getpid() else os.kill)(os.getpid(), signal.SIGKILL)
            return original(*args, **kwargs)

        setattr(owner, name, write)

    def watch(self) -> None:
        from seehear.library.tables import LibraryTables, VectorTable

        for name in ("put", "_remove", "drop", "ensure", "compact"):
            self.watched(LibraryTables, name)
        for name in ("append", "remove", "compact"):
            self.watched(VectorTable, name)
        for name in ("replace", "fsync", *(("rename", "mkdir", "unlink", "rmdir") if self.only_in else ())):
            self.watched(os, name)


def _inside(function: str) -> bool:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == function:
            return True
    return False


def shift_clock(seconds: float) -> None:
    """Wall clock only: no system lets the monotonic one go back."""
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return super().now(tz) + datetime.timedelta(seconds=seconds)

    datetime.datetime = Shifted  # type: ignore[misc]


def main(words: Sequence[str]) -> int:
    if shift := float(os.environ.get("FAULTS_CLOCK", "0")):
        shift_clock(shift)
    if largest := os.environ.get("FAULTS_LARGEST"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(largest), int(largest)))
    small_batches()
    asked = os.environ.get
    writes = Writes(int(asked("FAULTS_KILL_AT", "0")), asked("FAULTS_ONLY_IN", ""), asked("FAULTS_MARK", ""))
    writes.watch()
    from seehear.cli import main as seehear

    status = seehear(words)
    if counted := os.environ.get("FAULTS_WRITES"):
        Path(counted).write_text(str(writes.done), encoding="utf-8")
    return status


def serve(task: Sequence[str] | Callable[[], int], environment: Mapping[str, str], out: str, err: str) -> None:
    """In a process forked for one command, or one function: what it says goes into files."""
    if "FAULTS_GROUP" in environment:
        os.setpgid(0, 0)
    for path, number in ((out, 1), (err, 2)):
        handle = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, number)
        os.close(handle)
    warnings.simplefilter("ignore")
    os.environ.update(environment)
    if "FAULTS_ANSWERS" in environment:
        sys.stdin = open(environment["FAULTS_ANSWERS"], encoding="utf-8")  # noqa: SIM115 (for all of this process)
    try:
        status = task() if callable(task) else main(task)
    except SystemExit as stopped:
        status = stopped.code if isinstance(stopped.code, int) else 1
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    Path(f"{err}.memory").write_text(str(1024 * most), encoding="utf-8")
    os._exit(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
