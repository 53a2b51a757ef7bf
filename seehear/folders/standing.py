"""Where the work on a folder stands: what is done at the moment, what can be searched, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from seehear.progress import clock, counted

State = Literal["working", "waiting", "ready"]
# Seconds of work for a second of media, until it has been measured: on two cores, preset `light`.
_PACE = {"cut": 0.008, "encode": 0.03, "speech": 0.02, "screen": 0.03}
# Seconds of media for which the above counts in what is measured.
_MEASURED = 120.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where the work stands."""

    state: State = "working"
    """waiting: for files, or for what `note` says; ready: all that is there is done."""
    step: str = "looking through the folder"
    done: float = 0.0
    """Seconds of work since the start."""
    left: float | None = None
    """Seconds of work that are left, by what it took so far; None while that is not known."""
    found: int = 0
    """Clips that can be found."""
    note: str = ""

    def __str__(self) -> str:
        """In a line."""
        can = f"{counted(self.found, 'clip')} can be searched"
        if self.state == "waiting":
            return self.note
        if self.state == "ready":
            return f"all done: {can}"
        left = f", {clock(self.left)} left" if self.left and self.left >= 1 else ""
        return f"{self.step}{left}; {can}" if self.found else f"{self.step}{left}"


class Pace:
    """How long the parts take, and so what is left of them."""

    def __init__(self) -> None:
        self._spent = {part: _MEASURED * pace for part, pace in _PACE.items()}
        self._media = dict.fromkeys(_PACE, _MEASURED)
        self._began = time.monotonic()
        self._at = self._began
        self._left: float | None = None

    def add(self, part: str, seconds: float, media: float) -> None:
        """What a part took, for so many seconds of media."""
        self._spent[part] += seconds
        self._media[part] += media

    def expect(self, left: Mapping[str, float]) -> None:
        """What is left from now on: seconds of media a part."""
        self._at = time.monotonic()
        self._left = sum(media * self._spent[part] / self._media[part] for part, media in left.items())

    def seconds(self) -> tuple[float, float | None]:
        """(seconds since the start, seconds that are left; None while that is not known)."""
        now = time.monotonic()
        return now - self._began, None if self._left is None else max(0.0, self._left - (now - self._at))
