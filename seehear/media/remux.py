"""Cut a window out of media files: packets are copied where the new file can hold them, encoded otherwise.

A copy begins at the keyframe at or before the start. An edit list tells players to begin with the frame on show at the
start; the few that ignore edit lists begin at the keyframe.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from seehear.errors import DecodeError, refusal, require
from seehear.media.container import EPSILON, Media, opened
from seehear.media.encoding import Track, encoded_film, encoded_sound, write_tracks, written
from seehear.media.frames import VideoSpec
from seehear.media.stills import is_picture

# Containers that sounds stay in, with the codec of what cannot be copied; all others become .m4a.
_SOUNDS = {
    ".m4a": ("ipod", "aac"),
    ".mp3": ("mp3", "libmp3lame"),
    ".wav": ("wav", "pcm_s16le"),
    ".flac": ("flac", "flac"),
    ".ogg": ("ogg", "libopus"),
    ".opus": ("opus", "libopus"),
}
# Codecs that players expect in a container (libav would put more there). WAV and FLAC lose nothing by being encoded
# again, and are cut to the sample so; packets of FLAC would keep the length of the whole file in their header.
_COPIED = {
    "mp4": {"h264", "hevc", "av1", "vp9", "mpeg4", "aac", "mp3", "opus", "flac", "alac", "ac3", "eac3"},
    "ipod": {"aac", "alac"},
    "mp3": {"mp3"},
    "ogg": {"opus", "vorbis"},
    "opus": {"opus"},
}
_PCM = {"pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"}
_EDIT_LISTS = {"mp4", "ipod"}
# Seconds of sound before the start in which a decoder's memory settles, where an edit list hides them.
_PREROLL = 0.1
# Seconds between the keyframe and the start: with more to hide, a film is encoded again.
_MOST_BEFORE = 60.0
# Packets whose time of decoding may be unknown behind a seek: H.264 and HEVC reorder 16 at most.
_MOST_REORDERED = 32
# Constant rate factor of H.264: hardly to be told from the source.
_QUALITY = 20


@dataclass(frozen=True)
class Cut:
    """Facts about a file that was cut out of another."""

    start: float
    """Second of the source at which it begins: copied pictures with the frame that is on show at the start asked for,
    MP3 and Ogg with their first packet behind it, all else to the sample."""
    keyframe: float
    """Second of the source at which players begin that know no edit lists."""
    encoded: tuple[str, ...]
    """Kinds that were encoded again: video, audio."""


class _NotCopied(Exception):
    """Packets that the new file cannot hold as they are."""


def suffix_of_cut(video: str, audio: str) -> str:
    """The kind of file that `cut` makes of these: pictures and common kinds of sound stay what they are, films become
    .mp4, other sound .m4a."""
    if video:
        return Path(video).suffix.lower() if is_picture(video) else ".mp4"
    suffix = Path(audio).suffix.lower()
    return ".ogg" if suffix == ".oga" else suffix if suffix in _SOUNDS else ".m4a"


def cut(video: str, audio: str, start: float, end: float, out: str) -> Cut:
    """Writes [start, end) of a film to `out`, with the sound of the same file or another; '' leaves one out. A picture
    is copied whole. Nothing is at `out` before it is whole. Raises `DecodeError` when there is nothing to be cut."""
    if video and is_picture(video):
        shutil.copyfile(video, out + ".part")
        Path(out + ".part").replace(out)
        return Cut(start, start, ())
    if end <= start:
        raise DecodeError(f"{video or audio} [{start:g}, {end:g}) s: the window is empty")
    try:
        return _cut(video, audio, start, end, out, copy=True)
    except _NotCopied:
        return _cut(video, audio, start, end, out, copy=False)


def _cut(video: str, audio: str, start: float, end: float, out: str, *, copy: bool) -> Cut:
    container, codec = ("mp4", "aac") if video else _SOUNDS[suffix_of_cut("", audio)]
    with ExitStack() as files, written(out, container) as file:
        window = _CutWriter(file, container, start, end, copy)
        if video:
            window.add_film(files.enter_context(opened(video)))
        if audio:
            window.add_sound(files.enter_context(opened(audio)), codec)
        try:
            write_tracks(file, window.tracks)
        except DecodeError as error:
            raise DecodeError(f"{video or audio} [{start:g}, {end:g}) s: {error}") from error
        except require("av").FFmpegError as error:
            if copy and refusal(error) is None:
                raise _NotCopied from error
            raise
    return Cut(window.start, window.keyframe, tuple(window.encoded))


class _CutWriter:
    """A new file and its tracks, whose packets are read when they are written."""

    def __init__(self, file: Any, container: str, start: float, end: float, copy: bool):
        self.file, self.container, self.start, self.end, self.copy = file, container, start, end, copy
        self.keyframe = start
        self.tracks: list[Track] = []
        self.encoded: list[str] = []

    def add_film(self, media: Media) -> None:
        if media.video is None:
            return
        # AVI has no times of showing: where frames are shown in another order than they are stored, libav guesses.
        jumbled = media.container.format.name == "avi" and media.video.codec_context.has_b_frames
        if not self._copies(media.video) or jumbled:
            self.encoded.append("video")
            self.tracks.append(encoded_film(self.file, media, self.start, self.end, VideoSpec(), _QUALITY))
            return
        shown, keyframe, until = -math.inf, -math.inf, -math.inf
        for time, packet in media.keyed("video", self.start):
            if time <= self.start + EPSILON:
                shown, keyframe = max(shown, time), time if packet.is_keyframe else keyframe
            until = max(until, time + _lasts(packet))
            if packet.dts is not None and media.seconds(packet.dts, media.video) > self.start:
                break
        # The film is over before the window.
        if until <= self.start:
            return
        # Else the film begins later.
        if shown > -math.inf:
            if self.start - keyframe > _MOST_BEFORE:
                raise _NotCopied
            # The start moves to the frame that is on show: between two frames, players would disagree.
            self.start, self.keyframe = shown, keyframe
        self._add_copied(media, "video", self.keyframe)

    def add_sound(self, media: Media, codec: str) -> None:
        if media.audio is None:
            return
        if not self._copies(media.audio):
            own = _codec(media.audio)
            self.encoded.append("audio")
            codec = own if self.container == "wav" and own in _PCM else codec
            self.tracks.append(encoded_sound(self.file, media, self.start, self.end, codec))
        elif any(time + _lasts(packet) > self.start for time, packet in media.keyed("audio", self.start)):
            hidden = _PREROLL if self.container in _EDIT_LISTS else 0.0
            self._add_copied(media, "audio", self.start - hidden)

    def _copies(self, stream: Any) -> bool:
        return self.copy and _codec(stream) in _COPIED.get(self.container, ())

    def _add_copied(self, media: Media, kind: str, first: float) -> None:
        """`first`: seconds at which the first packet begins, or just after."""
        source = media.stream(kind)
        stream = self.file.add_stream_from_template(source, opaque=True)
        if _codec(source) == "hevc":
            # Apple's players know no other tag.
            stream.codec_context.codec_tag = "hvc1"
        packets = _decodable(_stamped(media.keyed(kind, first)), first)
        if kind == "audio":
            packets = _by_samples(packets, source)
        self.tracks.append(_moved(packets, stream, media.origin, self.start, self.end))


def _codec(stream: Any) -> str:
    return stream.codec_context.codec.canonical_name


# -- packets -----------------------------------------------------------------------------------------------------------

Timed = Iterator[tuple[float, Any]]
"""(seconds at which it is shown, packet)."""


def _lasts(packet: Any) -> float:
    return float((packet.duration or 1) * packet.time_base)


def _stamped(packets: Timed) -> Timed:
    """Packets that all have times of decoding."""
    # libav does not know those of the first packets behind a seek: any will do that rise and precede the times of
    # showing.
    unknown: list[tuple[float, Any]] = []
    last = None
    for time, packet in packets:
        if packet.dts is None:
            unknown.append((time, packet))
            if last is not None or len(unknown) > _MOST_REORDERED:
                raise _NotCopied
            continue
        for number, (_, early) in enumerate(unknown):
            early.dts = packet.dts - len(unknown) + number
        yield from unknown
        unknown.clear()
        if packet.dts > packet.pts or (last is not None and packet.dts <= last):
            raise _NotCopied
        last = packet.dts
        yield time, packet
    if unknown:
        raise _NotCopied


def _decodable(packets: Timed, first: float) -> Timed:
    """Packets from the keyframe at `first` on, without those that are shown before it: they need the film before."""
    keyframe = None
    for time, packet in packets:
        if keyframe is None and packet.is_keyframe and time >= first - EPSILON:
            keyframe = time
        if keyframe is not None and time >= keyframe:
            yield time, packet


def _by_samples(packets: Timed, stream: Any) -> Timed:
    """Packets of sound that follow each other without a gap, where their times are rounded (Matroska's to 1 ms)."""
    rate, size = stream.codec_context.sample_rate, stream.codec_context.frame_size
    due = None
    for time, packet in packets:
        if size and stream.time_base * rate > 1:
            at = round(packet.pts * stream.time_base * rate)
            at = due if due is not None and abs(at - due) <= stream.time_base * rate else at
            packet.pts, packet.dts, packet.duration, packet.time_base = at, at, size, Fraction(1, rate)
            due = at + size
        yield time, packet


def _moved(packets: Timed, stream: Any, origin: float, start: float, end: float) -> Track:
    """Packets of `stream` that are shown before `end` seconds, with times from `start` on; earlier ones are negative,
    which an edit list hides."""
    # Shown behind the end: written only if a packet that is shown before it follows, and needs them.
    later: list[Any] = []
    for time, packet in packets:
        if float(packet.dts * packet.time_base) - origin >= end:
            return
        later.append(packet)
        if time < end - EPSILON:
            for each in later:
                zero = round((start + origin) / each.time_base)
                each.pts, each.dts, each.stream = each.pts - zero, each.dts - zero, stream
                yield each
            later.clear()
