"""Moments as a list for players and editors: M3U, CSV, EDL (CMX 3600) and OpenTimelineIO.

EDL and OTIO place the moments one after the other on a timeline of the first film's rate. Times in files start at the
time code of the camera, as in editors, else at 0.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.errors import SeehearError, require, unknown
from seehear.library.records import printable
from seehear.media.container import frame_rate, opened
from seehear.media.stills import is_picture

# Seconds to show a picture.
_STILL = 5.0
# Frames a second of a timeline without a film.
_RATE = 25.0
_EVENT = re.compile(r"^(\d{3,}  AX       )V", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A moment of a list."""

    video: str = ""
    """Path of the pictures; '' for a sound."""
    audio: str = ""
    """Path of the sound, the same file or another; '' for none."""
    start: float = 0.0
    """Seconds."""
    end: float = 0.0
    kind: str = ""
    text: str = ""

    @property
    def file(self) -> str:
        return self.video or self.audio

    @property
    def title(self) -> str:
        """The file's name, in one line."""
        return _line(Path(self.file).name)


@dataclass(frozen=True, kw_only=True)
class EditFacts:
    """Facts about a file that editors need."""

    seconds: float = 0.0
    """Length of the file; 0 for a picture."""
    fps: float = 0.0
    """Frames a second; 0 for sounds and pictures."""
    timecode: str = ""
    """Time code of the first frame, as the camera wrote it."""
    is_picture: bool = False


def edit_facts(path: str) -> EditFacts:
    """Reads the facts from the head of a file; nothing is decoded."""
    if is_picture(path):
        return EditFacts(is_picture=True)
    with opened(path) as media:
        tags = [media.container.metadata, *(stream.metadata for stream in media.container.streams)]
        timecode = next((tag["timecode"] for tag in tags if "timecode" in tag), "")
        fps = 0.0 if media.video is None else frame_rate(media.video)
        # libav counts a file's length in microseconds.
        return EditFacts(seconds=(media.container.duration or 0) / 1e6, fps=fps, timecode=timecode)


Facts = Callable[[str], EditFacts]


def check_list(suffix: str) -> None:
    """Raises `SeehearError` for the suffix of an unknown or uninstalled format."""
    if suffix not in WRITERS:
        raise unknown("kind of list", suffix, WRITERS)
    if suffix in (".edl", ".otio"):
        require("opentimelineio", "export")
    if suffix == ".edl":
        require("otio_cmx3600_adapter", "export")


def list_text(suffix: str, moments: Sequence[Listed], *, title: str, facts: Facts = edit_facts) -> str:
    """Content of a list in the format of a suffix. `facts`: reads the facts that editors need of a file."""
    check_list(suffix)
    if not moments:
        raise SeehearError("nothing to list: no moment is in a film, sound or picture")
    return WRITERS[suffix](moments, title, facts)


def _m3u(moments: Sequence[Listed], title: str, facts: Facts) -> str:
    """M3U with the options by which VLC plays only the moments."""
    lines = ["#EXTM3U", f"#PLAYLIST:{_line(title)}"]
    for moment in moments:
        # A picture has no length, and 0 would show it for no time.
        seconds = moment.end - moment.start or _STILL
        lines.append(f"#EXTINF:{seconds:.0f},{moment.title}{' - ' * bool(moment.text)}{_line(moment.text)}")
        if moment.end > moment.start:
            lines.append(f"#EXTVLCOPT:start-time={moment.start:.3f}")
            lines.append(f"#EXTVLCOPT:stop-time={moment.end:.3f}")
        # A URL and not a path, which may contain a line break.
        lines.append(_address(moment.file))
    return "\n".join(lines) + "\n"


def _csv(moments: Sequence[Listed], title: str, facts: Facts) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["rank", "file", "start", "end", "kind", "text"])
    for rank, moment in enumerate(moments, start=1):
        times = f"{moment.start:.3f}", f"{moment.end:.3f}"
        # A spreadsheet would run such text as a formula.
        text = f"'{moment.text}" if moment.text.startswith(("=", "+", "-", "@", "\t", "\r")) else moment.text
        writer.writerow([rank, printable(moment.file), *times, moment.kind, text])
    # Without this mark, Excel reads umlauts as Latin-1.
    return "\ufeff" + out.getvalue()


def _edl(moments: Sequence[Listed], title: str, facts: Facts) -> str:
    """EDL (CMX 3600) of one track. The adapter writes only video, so the channels are written here."""
    otio, build = require("opentimelineio"), _Timeline(moments, facts)
    track = otio.schema.Track(name="V", children=[build.clip(moment, moment.file) for moment in moments])
    timeline = otio.schema.Timeline(name=_line(title), tracks=[track])
    text = otio.adapters.write_to_string(timeline, "cmx_3600", rate=build.rate)
    channels = iter("B" if moment.video and moment.audio else "V" if moment.video else "A" for moment in moments)
    text = _EVENT.sub(lambda event: event[1] + next(channels), text)
    # OpenTimelineIO writes ';' before the frames of drop-frame time code.
    mode = "DROP FRAME" if otio.opentime.to_timecode(build.time(0), build.rate).count(";") else "NON-DROP FRAME"
    return text.replace("\n\n", f"\nFCM: {mode}\n\n", 1)


def _otio(moments: Sequence[Listed], title: str, facts: Facts) -> str:
    """OpenTimelineIO with a track of pictures and one of sound."""
    otio, build = require("opentimelineio"), _Timeline(moments, facts)
    tracks = []
    for kind in (otio.schema.TrackKind.Video, otio.schema.TrackKind.Audio):
        track = otio.schema.Track(name=kind, kind=kind)
        for moment in moments:
            path = moment.video if kind == otio.schema.TrackKind.Video else moment.audio
            track.append(build.clip(moment, path) if path else otio.schema.Gap(duration=build.length(moment)))
        tracks.append(track)
    return otio.adapters.write_to_string(otio.schema.Timeline(name=_line(title), tracks=tracks), "otio_json")


class _Timeline:
    """Times and clips on a timeline of the first film's rate."""

    def __init__(self, moments: Sequence[Listed], facts: Facts):
        self._otio = require("opentimelineio")
        self._facts = {path: facts(path) for m in moments for path in (m.video, m.audio) if path}
        self.rate = self._nominal(next((f.fps for f in self._facts.values() if f.fps), _RATE))

    def _nominal(self, fps: float) -> float:
        """Rate of time codes that is nearest to a file's rate, which may be any number."""
        # OpenTimelineIO finds 0 for less than 12.
        return self._otio.opentime.RationalTime.nearest_smpte_timecode_rate(fps) or _RATE

    def time(self, seconds: float) -> Any:
        return self._otio.opentime.RationalTime(round(seconds * self.rate), self.rate)

    def length(self, moment: Listed) -> Any:
        length = self.time(moment.end - moment.start if moment.end > moment.start else _STILL)
        return max(length, self._otio.opentime.RationalTime(1, self.rate))

    def clip(self, moment: Listed, path: str) -> Any:
        otio, facts = self._otio, self._facts[path]
        rate = self._nominal(facts.fps or self.rate)
        try:
            begin = otio.opentime.from_timecode(facts.timecode, rate)
        except ValueError:
            # Most files have no time code, and some an invalid one.
            begin = otio.opentime.RationalTime(0, rate)
        begin = otio.opentime.RationalTime(round(begin.value * self.rate / rate), self.rate)
        whole = otio.opentime.TimeRange(begin, self.time(facts.seconds)) if facts.seconds else None
        media = otio.schema.ExternalReference(target_url=_address(path), available_range=whole)
        comments = [_line(moment.text)] if moment.text else []
        return otio.schema.Clip(
            name=_line(Path(path).name),
            media_reference=media,
            source_range=otio.opentime.TimeRange(begin + self.time(moment.start), self.length(moment)),
            # AX: a file and no tape; editors then use the clip's name.
            metadata={"cmx_3600": {"reel": "AX", "comments": comments}},
        )


def _address(path: str) -> str:
    return Path(path).absolute().as_uri()


def _line(text: str) -> str:
    """The text on one line, without characters that UTF-8 cannot encode."""
    return " ".join(printable(text).split())


WRITERS: dict[str, Callable[[Sequence[Listed], str, Facts], str]] = {
    ".m3u": _m3u,
    ".csv": _csv,
    ".edl": _edl,
    ".otio": _otio,
}
