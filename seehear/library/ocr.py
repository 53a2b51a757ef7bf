"""Text on screen to timed lines: `seehear ocr`.

A frame every two seconds is examined, and the one between two only if their texts differ: words shown for less are too
short to read. In a changed picture, text is located at a small size, which is quick; a frame is read, at a size where
small print is legible, only if the located boxes differ from those of the last one read. Lines are followed from frame
to frame. A line that stays throughout, a watermark or a clock, is kept once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from difflib import SequenceMatcher
from functools import cached_property
from typing import Any

import numpy as np

from seehear.encoders.screen import EXTRA, RapidScreen, ScreenText, fingerprint
from seehear.errors import DecodeError, require
from seehear.library.engines import LOCAL, EngineOptions
from seehear.library.recordings import Portion, Recording, TextsReport, read_recordings
from seehear.library.records import digest
from seehear.library.tables import LibraryTables
from seehear.library.transcripts import Task, TimedLine, Transcript
from seehear.media.files import read_window
from seehear.media.frames import VideoSpec

# Version of the reader. Another version reads all recordings again.
_VERSION = "3"
# Frames per second, and seconds to decode at a time.
_RATE, _CHUNK = 1.0, 10.0
# Length in seconds of a part: a stopped run loses one part. The last may be half as long again.
PART = 30.0
# Shorter side of a frame as it is read, in pixels.
_SIDE = 720
# Seconds for which boxes without text are not read again, whatever moves in them: foliage, tiles, a crowd.
_IN_VAIN = 5.0
# Largest mean differences, of 255, of an unchanged block of the picture and of an unchanged box.
_STILL, _SAME = 6.0, 14.0
# Least share of equal letters of two readings of one line.
_ALIKE = 0.75
# Share of a recording from which a line counts as permanent, the least length in seconds of such a recording, and the
# seconds for which the line is kept.
_THROUGHOUT, _LONG, _ONCE = 0.8, 30.0, 5.0


class OcrReader:
    """A reader of recordings (`recordings.TextReader`)."""

    command = "ocr"
    tasks: tuple[Task, ...] = ("screen",)

    def __init__(self, screen: RapidScreen, *, name: str, weights: str):
        """`weights`: fingerprint of the models."""
        self.screen, self.name, self.by = screen, name, digest(weights, _VERSION)

    def time_limit(self, recording: Recording) -> float:
        """Ten times as long as a film full of text takes."""
        return 600.0 + 30.0 * recording.duration

    def __call__(self, recording: Recording) -> list[Transcript]:
        until = None
        # A picture has no duration.
        if recording.duration == 0:
            frames = read_window(recording.path, 0.0, 0.0, video=_SPEC).frames
            has_text = frames is not None and len(self.screen.find(frames[0])) > 0
            seen = self.screen.read(frames[0]) if frames is not None and has_text else ()
            # A single letter is mostly noise of the picture.
            text = " ".join(line.text for line in seen if len(_letters(line.text)) > 1)
            lines = [TimedLine(text)] if text else []
        else:
            start, end = recording.start, recording.duration
            # A rest of up to half a part belongs to the last part.
            if start + 1.5 * PART < end:
                end = until = start + PART
            tracker = LineTracker(self.screen)
            for time, frame in _frames(recording, end):
                tracker.see(time, frame)
                # The pictures begin after this part.
                if time > end:
                    end = until = time
            lines = tracker.lines(end, whole=until is None and start == 0)
        return [
            Transcript(
                source=recording.source,
                task="screen",
                by=self.by,
                content=recording.content,
                lines=tuple(lines),
                until=until,
            )
        ]

    def joined(self, before: Transcript, part: Transcript, duration: float) -> tuple[TimedLine, ...]:
        """Lines of both parts; one at the end of a part continues in the next."""
        lines = list(before.lines)
        for line in part.lines:
            begun = [n for n, other in enumerate(lines) if (other.text, other.end) == (line.text, line.start)]
            if begun:
                lines[begun[0]] = replace(lines[begun[0]], end=line.end)
            else:
                lines.append(line)
        return tuple(lines if part.until is not None else _once(lines, duration))


def ocr(library: LibraryTables, options: EngineOptions = LOCAL, portion: Portion | None = None) -> TextsReport:
    """Adds the text in the pictures of the clips of a library as texts of the kind 'screen'."""
    require("rapidocr", EXTRA)
    require("onnxruntime", EXTRA)
    reader = OcrReader(RapidScreen(), name="RapidOCR", weights=fingerprint())
    return read_recordings(library, reader, options, portion)


# -- frames ------------------------------------------------------------------------------------------------------------

_SPEC = VideoSpec(num_frames=1, size=_SIDE, enlarge=False)


def _frames(recording: Recording, until: float) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds, (H, W, 3) RGB) of the frame in the centre of each second of a part; if it has no pictures, of the first
    stretch after it that has any."""
    spec = VideoSpec(fps=_RATE, size=_SIDE, enlarge=False)
    start, error, seen = recording.start, None, False
    while start < (recording.duration if not seen else until):
        end = min(start + _CHUNK, until if start < until else recording.duration)
        try:
            frames = read_window(recording.path, start, end, video=spec).frames
        except DecodeError as wrong:
            # A film whose pictures end before its sound.
            error, frames = error or wrong, None
        if frames is not None:
            seen = True
            times = start + (np.arange(len(frames)) + 0.5) * (end - start) / len(frames)
            yield from zip(times.tolist(), frames, strict=True)
        start = end
    if not seen and not recording.start and error is not None:
        raise error


# -- lines over time ---------------------------------------------------------------------------------------------------


@dataclass
class _Track:
    """A line of text followed over frames."""

    best: ScreenText
    start: float
    end: float
    place: int
    """Position among the lines of its first frame."""
    sightings: int = field(default=1)


class _Sight:
    """A frame, with the boxes that may hold text."""

    def __init__(self, screen: RapidScreen, frame: np.ndarray):
        self.screen, self.frame = screen, frame

    @cached_property
    def boxes(self) -> np.ndarray:
        return self.screen.find(self.frame)

    @property
    def green(self) -> np.ndarray:
        """Green channel, in place of brightness."""
        return self.frame[:, :, 1]

    @cached_property
    def blocks(self) -> np.ndarray:
        """(36, 64), or fewer: mean brightness of blocks. A line of small print changes a few of them by much."""
        sides = zip(self.green.shape, (36, 64), strict=True)
        rows, columns = (np.linspace(0, n, min(n, k) + 1).astype(int)[:-1] for n, k in sides)
        green = self.green.astype(np.float32)
        sums = np.add.reduceat(np.add.reduceat(green, rows, axis=0), columns, axis=1)
        return sums * (len(rows) * len(columns) / green.size)


class LineTracker:
    """Tracks the lines of text over the frames of a film."""

    def __init__(self, screen: RapidScreen):
        self.screen = screen
        self.tracks: list[_Track] = []
        # Tracks in the last examined frame.
        self.shown: list[_Track] = []
        # Frame to read only if the text of the next one differs.
        self._waiting: tuple[float, _Sight] | None = None
        # Last frame that was read, or had no text.
        self._last: _Sight | None = None
        self._read_at = -np.inf
        # Brightness by block of the last frame searched for text.
        self._blocks = np.empty(0)

    def see(self, time: float, frame: np.ndarray) -> None:
        sight = _Sight(self.screen, frame)
        if self._waiting is None:
            # Read later, only if the text of the next frame differs: words shown for a second are too short to read.
            self._waiting = time, sight
            return
        (before, between), self._waiting = self._waiting, None
        if self._is_news(time, sight):
            self._look(before, between)
        else:
            self._prolong(before)
        self._look(time, sight)

    def _look(self, time: float, sight: _Sight) -> None:
        if not self._is_news(time, sight):
            self._prolong(time)
            return
        self._last, self._read_at, self._blocks = sight, time, sight.blocks
        self._follow(time, self.screen.read(sight.frame) if len(sight.boxes) else ())

    def _prolong(self, time: float) -> None:
        # A frame stands for half an interval before and after it.
        for track in self.shown:
            track.end = time + 0.5 / _RATE
            track.sightings += 1

    def _is_news(self, time: float, sight: _Sight) -> bool:
        """True if text has appeared, disappeared, moved or changed since the last frame that was read."""
        last = self._last
        if last is None or last.frame.shape != sight.frame.shape:
            return True
        if np.abs(sight.blocks - self._blocks).max() <= _STILL:
            return False
        if len(sight.boxes) != len(last.boxes):
            return True
        in_vain = not self.shown and time - self._read_at < _IN_VAIN
        height, width = sight.green.shape
        for box in sight.boxes:
            if not any(_overlap(box, before) > 0.5 for before in last.boxes):
                return True
            left, top, right, bottom = (box * (width, height, width, height)).round().astype(int)
            part = np.s_[max(0, top) : bottom + 1, max(0, left) : right + 1]
            if not in_vain and np.abs(sight.green[part].astype(np.float32) - last.green[part]).mean() > _SAME:
                return True
        # A picture that changes slowly is compared anew.
        self._blocks = sight.blocks
        return False

    def _follow(self, time: float, seen: Sequence[ScreenText]) -> None:
        before, self.shown = self.shown, []
        for place, text in enumerate(seen):
            if not _letters(text.text):
                continue
            track = next((track for track in before if _is_same(track.best, text)), None)
            if track is None:
                track = _Track(text, time - 0.5 / _RATE, time + 0.5 / _RATE, place)
                self.tracks.append(track)
            else:
                before.remove(track)
                track.end, track.sightings = time + 0.5 / _RATE, track.sightings + 1
                if text.score > track.best.score:
                    track.best = text
            self.shown.append(track)

    def lines(self, duration: float, *, whole: bool = True) -> list[TimedLine]:
        """Lines in order of time; those that appear and disappear together are joined in reading order. Permanent lines
        are known of a `whole` recording only."""
        if self._waiting is not None:
            self._look(*self._waiting)
            self._waiting = None
        groups: dict[tuple[float, float], list[_Track]] = {}
        for track in self._kept(duration if whole else 0.0):
            groups.setdefault((track.start, track.end), []).append(track)
        lines = []
        for (start, end), tracks in sorted(groups.items()):
            text = " ".join(track.best.text for track in sorted(tracks, key=lambda track: track.place))
            lines.append(TimedLine(text, round(max(0.0, start), 2), round(min(end, duration), 2)))
        return lines

    def _kept(self, duration: float) -> list[_Track]:
        """Tracks without noise, which is mostly short text in a single frame; permanent ones once."""
        by_text: dict[str, list[_Track]] = {}
        for track in self.tracks:
            letters = _letters(track.best.text)
            if len(letters) >= (2 if track.sightings > 1 else 4):
                by_text.setdefault(_without_digits(letters), []).append(track)
        return [track for tracks in by_text.values() for track in _unless_throughout(tracks, duration)]


def _once(lines: Sequence[TimedLine], duration: float) -> list[TimedLine]:
    """Lines of a recording that was read in parts; permanent ones once."""
    by_text: dict[str, list[TimedLine]] = {}
    for line in lines:
        by_text.setdefault(_without_digits(_letters(line.text)), []).append(line)
    kept = [line for own in by_text.values() for line in _unless_throughout(own, duration)]
    return sorted(kept, key=lambda line: (line.start, line.end))


def _unless_throughout(stretches: list[Any], duration: float) -> list[Any]:
    """Tracks or lines of one text; only the first seconds if they make up nearly all of a long recording."""
    first, seconds = stretches[0], sum(stretch.end - stretch.start for stretch in stretches)
    if duration < _LONG or seconds < _THROUGHOUT * duration:
        return stretches
    return [replace(first, end=min(first.end, first.start + _ONCE))]


def _is_same(one: ScreenText, other: ScreenText) -> bool:
    """True for two readings of one line: nearly the same letters, or the same place and equal but for digits, as of a
    clock."""
    a, b = _letters(one.text), _letters(other.text)
    # Prices and scores differ in digits alone, and are different lines.
    if SequenceMatcher(None, a, b, autojunk=False).ratio() >= _ALIKE and re.findall(r"\d", a) == re.findall(r"\d", b):
        return True
    in_place = _overlap(np.array(one.box), np.array(other.box)) > 0.3
    return in_place and _without_digits(a) == _without_digits(b)


def _letters(text: str) -> str:
    return "".join(re.findall(r"[^\W_]+", text.lower()))


def _without_digits(letters: str) -> str:
    return re.sub(r"\d", "0", letters)


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    common = float(np.prod(np.clip(sides, 0.0, None)))
    area = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - common
    return common / area if area > 0 else 0.0
