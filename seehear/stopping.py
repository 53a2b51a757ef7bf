"""Ctrl-C and the SIGTERM of a scheduler end a run between two steps or batches, so that it is saved and can go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from seehear.errors import SeehearError


class Interrupted(SeehearError):
    """The run was asked to stop; it is saved."""


class StopRequest:
    """True once a signal came."""

    def __init__(self) -> None:
        self.name = ""

    def __bool__(self) -> bool:
        return bool(self.name)


@contextmanager
def stop_requests() -> Iterator[StopRequest]:
    """The first signal only asks; a second one acts as usual. In a thread other than the main one nothing is caught."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    usual = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)}

    def ask(number: int, _: FrameType | None) -> None:
        request.name = signal.Signals(number).name
        signal.signal(number, usual[signal.Signals(number)])

    for number in usual:
        signal.signal(number, ask)
    try:
        yield request
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
