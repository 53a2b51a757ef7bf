"""Progress of the work on a folder: current step, searchable clips, remaining time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from seehear.progress import clock, counted

State = Literal["working", "waiting", "ready"]
# Initial estimate of the work for a second of media, seconds: on two cores, preset `light`.
_PACE = {"cut": 0.008, "encode": 0.03, "speech": 0.02, "screen": 0.03}
# Weight of the initial estimate in the measured pace, seconds of media.
_MEASURED = 120.0


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Progress of the work on a folder."""

    state: State = "working"
    """waiting: for files, or for the reason in `note`; ready: all files are done."""
    step: str = "looking through the folder"
    done: float = 0.0
    """Seconds of work since the start."""
    left: float | None = None
    """Remaining seconds by the pace so far; None while unknown."""
    found: int = 0
    """Number of searchable clips."""
    note: str = ""
    """Reason of waiting; files set aside."""

    def __str__(self) -> str:
        can = f"{counted(self.found, 'clip')} can be searched"
        if self.state == "waiting":
            return self.note
        if self.state == "ready":
            return f"all done: {can}{'; ' * bool(self.note)}{self.note}"
        left = f", {clock(self.left)} left" if self.left and self.left >= 1 else ""
        return f"{self.step}{left}; {can}" if self.found else f"{self.step}{left}"


class Pace:
    """Measured pace of the parts, and the remaining time by it."""

    def __init__(self) -> None:
        self._spent = {part: _MEASURED * pace for part, pace in _PACE.items()}
        self._media = dict.fromkeys(_PACE, _MEASURED)
        self._began = time.monotonic()
        self._at = self._began
        self._left: float | None = None

    def add(self, part: str, seconds: float, media: float) -> None:
        """Adds a measurement: seconds of work of a part for seconds of media."""
        self._spent[part] += seconds
        self._media[part] += media

    def expect(self, left: Mapping[str, float]) -> None:
        """Sets the remaining seconds of media of each part."""
        self._at = time.monotonic()
        self._left = sum(media * self._spent[part] / self._media[part] for part, media in left.items())

    def seconds(self) -> tuple[float, float | None]:
        """(seconds since the start, remaining seconds or None while unknown)."""
        now = time.monotonic()
        return now - self._began, None if self._left is None else max(0.0, self._left - (now - self._at))
