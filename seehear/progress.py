"""Long jobs: progress with rate and time left on standard error, and a clean stop on Ctrl-C or SIGTERM.

Progress is one line: written over on a terminal, printed now and then anywhere else. A signal ends a run between two
steps or batches, so that it is saved and can go on.
"""

from __future__ import annotations

import math
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from seehear.errors import SeehearError

_EVERY = 10.0  # seconds between plain lines
_ERASE = "\r\x1b[K"  # of the line of a terminal on which the cursor is
_quiet = False
_listener: Callable[[Progress], None] | None = None


def set_quiet(quiet: bool) -> None:
    global _quiet
    _quiet = quiet


@contextmanager
def hushed() -> Iterator[None]:
    """Silences progress inside, for work of many parts that prints a line a part itself."""
    before = _quiet
    set_quiet(True)
    try:
        yield
    finally:
        set_quiet(before)


@contextmanager
def overheard(listener: Callable[[Progress], None]) -> Iterator[None]:
    """Silences progress inside; `listener` is called whenever a job advances."""
    global _listener
    before, _listener = _listener, listener
    try:
        with hushed():
            yield
    finally:
        _listener = before


def say(message: str) -> None:
    """One line for the user, on standard error; nothing when quiet."""
    if not _quiet:
        print(f"{_ERASE if sys.stderr.isatty() else ''}{message}", file=sys.stderr, flush=True)


class StatusLine:
    """One line that is written over as the work goes on; a plain line now and then where there is no terminal."""

    def __init__(self, text: Callable[[], str]):
        self.text, self._said, self._last = text, -_EVERY, ""
        # Read at the start: the work below is hushed while this line goes on.
        self._quiet, self._terminal = _quiet, sys.stderr.isatty()

    def tell(self, *, now: bool = False) -> None:
        """Writes the line, `now` or if the last time is long enough ago."""
        if self._quiet or (not now and time.monotonic() - self._said < (0.2 if self._terminal else _EVERY)):
            return
        line = self.text()
        # One column is left free: a line that fills the terminal wraps, and could not be written over.
        if self._terminal:
            print(f"{_ERASE}{line[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)
        elif line != self._last:
            print(line, file=sys.stderr, flush=True)
        self._said, self._last = time.monotonic(), line

    def note(self, message: str) -> None:
        """Writes a line that stays."""
        if not self._quiet:
            # Otherwise the note would stand behind the line.
            self.end()
            print(message, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Removes the line."""
        if self._terminal and self._last:
            print(_ERASE, end="", file=sys.stderr, flush=True)


class Progress(StatusLine):
    """Counter of a job: `advance` adds to `done`. `what` may change as the job runs ("training, loss 1.2")."""

    def __init__(self, what: str, total: int, unit: str):
        super().__init__(lambda: f"{self.what}: {self.status()}")
        self.what, self.total, self.unit, self.done = what, total, unit, 0
        # No line of work that has just begun.
        self.started = self._said = time.monotonic()
        self.ended = False

    def advance(self, n: int = 1) -> None:
        self.done += n
        if _listener is not None:
            _listener(self)
        # The last line comes from `progress`, with the time taken.
        if self.done < self.total:
            self.tell()

    @property
    def seconds_left(self) -> float:
        """Remaining seconds by the pace so far; infinite before the first step."""
        return (time.monotonic() - self.started) * (self.total - self.done) / self.done if self.done else math.inf

    def status(self) -> str:
        # Above 0: a clock may give the same time twice.
        rate = self.done / max(time.monotonic() - self.started, 1e-9)
        going = 0 < self.done < self.total and not self.ended
        left = f", {clock(self.seconds_left)} left" if going else ""
        digits = 0 if rate >= 10 else 1
        pace = f"{rate:,.{digits}f} a second" if rate >= 0.5 else f"{60 * rate:,.1f} a minute"
        return f"{self.done:,} of {self.total:,} {self.unit}, {pace}{left}"


@contextmanager
def progress(what: str, total: int, unit: str = "clips") -> Iterator[Progress]:
    """`with progress("encoding", len(clips)) as p: ... p.advance()`; ends with a line of the work done."""
    p = Progress(what, total, unit)
    try:
        yield p
    finally:
        # Also before the total is reached: training that stops early has no time left.
        p.ended = True
        if p.done:
            p.note(f"{p.text()}, {clock(time.monotonic() - p.started)} in all")


@contextmanager
def took() -> Iterator[None]:
    """Prints at the end the time, processor time and memory of this process and its children."""
    began = time.monotonic()
    try:
        yield
    finally:
        # Windows has no such module.
        with suppress(ImportError):
            import resource

            own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            busy = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
            # macOS counts bytes, Linux KiB.
            unit = 1 if sys.platform == "darwin" else 1024
            # The larger of the two: the kernel reports that of the largest child, not the sum of all.
            used = max(own.ru_maxrss, others.ru_maxrss) * unit / 1e6
            said = f"{clock(time.monotonic() - began)}, {clock(busy)} of processor time, {used:,.0f} MB at most"
            print(f"seehear: took {said}", file=sys.stderr)


def counted(count: int, what: str) -> str:
    """1, 'clip' -> '1 clip'; 2000, 'query' -> '2,000 queries'."""
    if count == 1:
        return f"1 {what}"
    plural = f"{what[:-1]}ies" if what.endswith("y") else f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count:,} {plural}"


def clock(seconds: float) -> str:
    """75 -> '1:15', 3700 -> '1:01:40'."""
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def length(seconds: float) -> str:
    """Length of media: 95 -> '95 seconds', 720 -> '12 minutes', 12600 -> '3.5 hours'."""
    if seconds < 120:
        return counted(round(seconds), "second")
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:,.1f} hours"


# -- stopping ----------------------------------------------------------------------------------------------------------


class Interrupted(SeehearError):
    """The run was asked to stop; it is saved."""


class StopRequest:
    """True after a signal."""

    def __init__(self) -> None:
        self.name = ""

    def __bool__(self) -> bool:
        return bool(self.name)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """A request that the first SIGINT or SIGTERM sets; a second one acts as usual."""
    request = StopRequest()
    # Python allows signal handlers there only.
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: FrameType | None) -> None:
        # The usual handler is set again, so that a second Ctrl-C ends a run that does not stop.
        request.name = signal.Signals(number).name
        signal.signal(number, usual[signal.Signals(number)])

    for number in usual:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
