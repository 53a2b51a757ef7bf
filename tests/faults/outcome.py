"""What a part of the campaign found, and running the command line as a user's shell does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
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
    """What did not go as it should, one line each; empty is what we want."""
    numbers: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0

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

    def __init__(self, words: Sequence[str | Path], more: Mapping[str, str] | None = None):
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name) / name for name in ("out", "err")]
        self._began = time.monotonic()
        self._process = _server().Process(
            target=serve, args=([str(word) for word in words], dict(more or {}), *map(str, self._said))
        )
        self._process.start()

    def wait(self, seconds: float) -> bool:
        """Whether it has ended by then."""
        self._process.join(seconds)
        return self._process.exitcode is not None

    def send(self, number: int) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def ended(self) -> Ended:
        """Waits for it. One that hangs is killed, and its status is that of the kill."""
        hung = not self.wait(TIME_LIMIT)
        if hung:
            self._process.kill()
            self._process.join()
        out, err = (path.read_text(encoding="utf-8", errors="replace") if path.exists() else "" for path in self._said)
        most = Path(f"{self._said[1]}.memory")
        memory = int(most.read_text()) if most.exists() else 0
        self._folder.cleanup()
        status = self._process.exitcode
        assert status is not None
        said = f"{err}\nhung: killed after {TIME_LIMIT:.0f} s" if hung else err
        return Ended(status, out, said, time.monotonic() - self._began, memory)


@cache
def _server() -> ForkServerContext:
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["tests.faults.child", *PRELOADED])
    return server


def run(words: Sequence[str | Path], more: Mapping[str, str] | None = None) -> Ended:
    return Command(words, more).ended()


def run_alone(words: Sequence[str | Path], more: Mapping[str, str] | None = None) -> Ended:
    """The same as a program of its own, for what must be true from the start of Python (locale)."""
    command = [sys.executable, "-m", "tests.faults.child", *map(str, words)]
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **(more or {})}
    done = subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, errors="replace", timeout=TIME_LIMIT
    )
    return Ended(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def must(words: Sequence[str | Path], more: Mapping[str, str] | None = None) -> Ended:
    """A command that has to end well."""
    done = run(words, more)
    if done.status:
        raise AssertionError(f"seehear {' '.join(map(str, words))}: status {done.status}: {done.err[-2000:]}")
    return done
