"""Commands run as a user's shell runs them, in processes that can be killed, and the outcome of a part of the campaign
(`benchmarks/faults`)."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cache, partial
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from tests.faults.child import PRELOADED, serve

ROOT = Path(__file__).parent.parent.parent
TIME_LIMIT = 300.0
"""Seconds after which a command counts as hung."""


@dataclass
class Outcome:
    """One line of the table."""

    what: str
    tried: int = 0
    wrong: list[str] = field(default_factory=list)
    """Failures, one line each."""
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    memory_mb: int = 0
    """Peak memory of the largest process."""

    def check(self, right: bool, otherwise: str) -> None:
        if not right:
            self.wrong.append(otherwise)


@contextmanager
def outcome(what: str) -> Iterator[Outcome]:
    """Timed. An exception is a finding too, not the end of the campaign."""
    found, began = Outcome(what), time.monotonic()
    try:
        yield found
    except Exception as error:
        found.wrong.append(f"{type(error).__name__}: {error}"[:2000])
    finally:
        found.seconds = round(time.monotonic() - began, 1)


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    """Negative: the signal that ended it."""
    out: str
    err: str
    seconds: float
    memory: int = 0
    """Bytes that it, or the largest of its workers, came to need; 0 where it was killed."""

    @property
    def complaint(self) -> str:
        """The one line that says what went wrong; all of standard error when it is not one line."""
        lines = [line for line in self.err.splitlines() if line.startswith("seehear: ")]
        return lines[0] if len(lines) == 1 and "Traceback" not in self.err else self.err[-2000:]

    @property
    def is_clear(self) -> bool:
        """Ended by itself, with one line and a status that says that it failed."""
        return self.status in (2, 130) and self.complaint.startswith("seehear: ")


class Command:
    """`seehear WORDS` in a process of its own.

    It is forked from a server that has imported the packages and done nothing else: a command then costs a second and
    not ten, so that many can be killed. What it starts itself (workers that decode) are programs of their own.
    """

    def __init__(
        self,
        words: Sequence[str | Path] | Callable[[], int],
        more: Mapping[str, str] | None = None,
        *,
        group: bool = False,
    ):
        """`words` may be a function in place of a command. `group`: a process group of its own, to be killed whole."""
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        self._began, self._largest, self._group = time.monotonic(), 0, group
        task = words if callable(words) else [str(word) for word in words]
        environment = dict(more or {}) | ({"FAULTS_GROUP": "1"} if group else {})
        self._process = fork_server().Process(target=serve, args=(task, environment, *map(str, self._said)))
        self._process.start()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def send(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def said_so_far(self) -> str:
        return "".join(path.read_text(encoding="utf-8", errors="replace") for path in self._said if path.exists())

    def largest(self) -> int:
        """Bytes that it or any process it started came to need; those that have ended count where they were seen."""
        for pid in _family(self._process.pid):
            self._largest = max(self._largest, _peak(pid))
        return self._largest

    def family(self) -> list[int]:
        """Its process number and those of all that it started and that still run."""
        return _family(self._process.pid)

    def kill_group(self) -> None:
        """SIGKILL to it and to all that it started. The family is killed one by one where it is not its group yet."""
        pid = self._process.pid
        assert pid is not None
        with suppress(ProcessLookupError):
            if self._group and os.getpgid(pid) == pid:
                os.killpg(pid, signal.SIGKILL)
        for member in _family(pid):
            with suppress(ProcessLookupError):
                os.kill(member, signal.SIGKILL)

    def ended_within(self, *, seconds: float, memory: int) -> Ended:
        """Waits for it, but ends it and its processes beyond so many seconds, or bytes of any of them."""
        why = ""
        while not self.wait(0.1) and not why:
            if self.largest() > memory:
                why = f"killed: a process came to need more than {memory / 2**30:.0f} GB"
            elif time.monotonic() - self._began > seconds:
                why = f"hung: killed after {seconds:.0f} s"
        if why:
            self.kill_group()
        ended = self.ended()
        return replace(ended, err=f"{ended.err}\n{why}" if why else ended.err)

    def ended(self) -> Ended:
        """Waits for it. One that hangs is killed, and its status is that of the kill."""
        hung = not self.wait(TIME_LIMIT)
        if hung:
            self._process.kill()
            self._process.join()
        out, err = (path.read_text(encoding="utf-8", errors="replace") if path.exists() else "" for path in self._said)
        most = Path(f"{self._said[1]}.memory")
        memory = max(self._largest, int(most.read_text()) if most.exists() else 0)
        self._folder.cleanup()
        status = self._process.exitcode
        assert status is not None
        said = f"{err}\nhung: killed after {TIME_LIMIT:.0f} s" if hung else err
        return Ended(status, out, said, time.monotonic() - self._began, memory)


@cache
def fork_server() -> ForkServerContext:
    """It has imported the packages: what is forked from it starts at once."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.faults.child", *PRELOADED])
    return server


def run(
    words: Sequence[str | Path], more: Mapping[str, str] | None = None, *, limits: Mapping[str, Any] | None = None
) -> Ended:
    """`limits`: those of `Command.ended_within`, for a command that may do harm."""
    command = Command(words, more, group=bool(limits))
    return command.ended_within(**limits) if limits else command.ended()


def called(function: Callable[..., str], *given: Any, limits: Mapping[str, Any]) -> tuple[str, Ended]:
    """Output of a function run in its own process, or how that process ended instead."""
    ended = Command(partial(_print, function, *given), group=True).ended_within(**limits)
    return (ended.out.strip() if ended.status == 0 else ended.err.strip()[-300:] or f"status {ended.status}"), ended


def _print(function: Callable[..., str], *given: Any) -> int:
    print(function(*given))
    return 0


def _family(pid: int | None) -> list[int]:
    """A process and all that it started and that still runs."""
    found = [] if pid is None else [pid]
    for one in found:
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            with suppress(OSError):
                found += [int(word) for word in children.read_text().split()]
    return found


def _peak(pid: int) -> int:
    """The most bytes that a process has held; 0 where it is gone, or the system does not say."""
    with suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return 0


def run_alone(words: Sequence[str | Path], more: Mapping[str, str] | None = None) -> Ended:
    """Like `run`, in a new Python, for settings that hold from its start (locale)."""
    command = [sys.executable, "-m", "tests.faults.child", *map(str, words)]
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(more or {})}
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def must(words: Sequence[str | Path], more: Mapping[str, str] | None = None) -> Ended:
    """Runs a command; AssertionError unless it succeeds."""
    done = run(words, more)
    if done.status:
        raise AssertionError(f"seehear {' '.join(map(str, words))}: status {done.status}: {done.err[-2000:]}")
    return done
