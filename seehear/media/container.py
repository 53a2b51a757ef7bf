"""An open media file that tolerates damage: seeks that miss, packets that do not decode, times that are missing.

libav is asked for one packet after the other, so that a damaged one costs itself and not the rest of the file. Times
are seconds from the start of the file as a player shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from seehear.errors import DecodeError, require

EPSILON = 1e-6
"""Seconds: times nearer than this are the same."""
# Seconds before the target that a seek aims at, in turn, while it lands behind the target.
_BACK = (0.0, 2.0, 10.0)
# Reading stops after so many errors without a packet in between.
_MAX_FAILURES = 10
MAX_PIXELS = 2**27
"""16384 x 8192: a still picture that claims to be larger is damage, or an attack on memory."""
MAX_FRAME_PIXELS = 8192 * 4352
"""Largest frame of H.264, HEVC and AV1 up to level 6.2. Decoders hold several frames, of up to 8 bytes a pixel."""
TOO_LARGE = f"its frames have more than {MAX_FRAME_PIXELS / 1e6:.0f} million pixels, or no size: shrink them"
_LIMITS = {"max_pixels": str(MAX_FRAME_PIXELS)}


# Bytes: a file ends, for libav, where it has so many zeros and no packet among them. It would look through all of a
# sparse file for one.
HOLE = 2**25
_ZEROS = bytes(2**20)


Skip = Callable[[float, float], bool]
"""Predicate of (start, duration) of a packet in seconds: True if its frame is decoded only where others refer to it."""


@contextmanager
def opened(path: str | Path) -> Iterator[Media]:
    """The file, open; raises `DecodeError` when it is no media file, and for any error of libav inside the block."""
    av = require("av")
    media = None
    try:
        media = Media(path)
        yield media
    except (av.FFmpegError, OSError) as error:
        raise DecodeError(f"{path}: cannot be read ({reason(error)})") from error
    finally:
        if media is not None:
            media.close()


def reason(error: Exception) -> str:
    """Message of libav or the system, without the file name."""
    said = str(getattr(error, "strerror", None) or error).strip()
    return said.splitlines()[0] if said else type(error).__name__


class Media:
    """A file with at most one picture stream and one sound stream: the first of each that can be decoded."""

    def __init__(self, path: str | Path):
        self.path = path
        self.corrupt = 0
        """Packets lost so far."""
        self._open()

    def _open(self) -> None:
        self._file = _File(self.path)
        try:
            if self._file.is_blank():
                raise DecodeError(f"{self.path}: begins with nothing but zeros: copy or download it again")
            self.container: Any = require("av").open(
                # The white list keeps a play list from the net. libav decodes first frames while it opens a file: the
                # limit must hold there, too.
                self._file,
                options={"protocol_whitelist": "file"} | _LIMITS,
                metadata_errors="replace",
            )
        # Whatever stopped it, the file must not stay open.
        except BaseException:
            self._file.close()
            raise
        # The cover of a song is a video stream, too, but no film.
        cover = require("av.stream").Disposition.attached_pic
        films = [s for s in self.container.streams.video if s.codec_context is not None and not s.disposition & cover]
        self.video: Any = next((s for s in films if 0 <= _pixels(s) <= MAX_FRAME_PIXELS), None)
        if self.video is not None:
            self.video.codec_context.options = _LIMITS
        # Where libav has refused a frame, the stream has no size any more.
        self.too_large = any(not 0 < _pixels(s) <= MAX_FRAME_PIXELS for s in films)
        """Whether the frames of a film are larger than `MAX_FRAME_PIXELS`, or have no size."""
        self.audio: Any = next((s for s in self.container.streams.audio if s.codec_context is not None), None)
        self._bases: dict[int, tuple[int, int]] = {}
        for stream in (self.video, self.audio):
            if stream is not None:
                # One process per core is faster, and every seek would restart the threads.
                stream.codec_context.thread_type = "NONE"
        # Sound that begins before zero is what the encoder primed its decoder with, not a start to count from.
        self.origin = max(self.container.start_time or 0, 0) / 1e6

    def close(self) -> None:
        self.container.close()
        self._file.close()

    def stream(self, kind: str) -> Any:
        return self.video if kind == "video" else self.audio

    def start(self, kind: str) -> float:
        """Seconds at which a stream begins; 0 when it does not say."""
        stream = self.stream(kind)
        return 0.0 if stream.start_time is None else self.seconds(stream.start_time, stream)

    def seconds(self, timestamp: int, stream: Any) -> float:
        base = self._bases.get(stream.index)
        if base is None:
            # Asking libav costs more than the rest, and this is called for every packet.
            base = self._bases[stream.index] = (stream.time_base.numerator, stream.time_base.denominator)
        return timestamp * base[0] / base[1] - self.origin

    def decode(self, kind: str, target: float, *, skip: Skip | None = None) -> Iterator[tuple[float, Any]]:
        """(seconds, frame) in the order of decoding, from a frame at or before `target` (or the stream's first)."""
        yield from self._from(kind, target, partial(self._frames, kind, skip))

    def keyed(self, kind: str, target: float) -> Iterator[tuple[float, Any]]:
        """(seconds, packet) in the order of decoding, from a keyframe at or before `target` (or the stream's first).
        Raises `DecodeError` at a packet that does not say when it is shown."""

        def read(*, from_start: bool = False) -> Iterator[tuple[float, Any]]:
            stream, began = self.stream(kind), False
            for packet in self.packets(stream):
                began = began or packet.is_keyframe
                # An empty packet ends the stream.
                if not began or not packet.size:
                    continue
                if packet.pts is None:
                    raise DecodeError(f"{self.path}: its packets have no time stamps")
                yield self.seconds(packet.pts, stream), packet

        yield from self._from(kind, target, read)

    def _from(self, kind: str, target: float, read: Callable[..., Iterator[tuple[float, Any]]]) -> Iterator[Any]:
        """Results of `read` after a seek that lands at or before `target`. Some demuxers land behind it: an earlier
        place is tried then, at last the start of the file, which is opened again for that."""
        lost, latest = self.corrupt, max(target, self.start(kind)) + EPSILON
        # In transport streams with few keyframes a seek lands behind the target.
        for back in _BACK:
            # Floor, with a grain of tolerance: 1.2 s is timestamp 15360 of 12800 and not 15359.
            seconds = max(target, self.start(kind)) - back + self.origin + EPSILON
            stream = self.stream(kind)
            try:
                self.container.seek(int(seconds / float(stream.time_base)), stream=stream, backward=True)
            except (require("av").FFmpegError, OverflowError):
                break
            self.corrupt = lost
            # Packets behind a seek that landed wrong are read again: each counts once.
            items = read()
            head = next(items, None)
            if head is not None and head[0] <= latest:
                yield head
                yield from items
                return
        self.close()
        self._open()
        self.corrupt = lost
        yield from read(from_start=True)

    def _frames(self, kind: str, skip: Skip | None, *, from_start: bool = False) -> Iterator[tuple[float, Any]]:
        """Decoded frames with their times. A frame without one follows the last, or is dropped if there is none."""
        stream = self.stream(kind)
        time = self.start(kind) if from_start else None
        last = None
        for frame in self._decoded(stream, skip):
            stamp = frame.pts if frame.pts is not None else frame.dts
            if stamp is not None:
                time = self.seconds(stamp, stream)
            elif time is None:
                continue
            elif last is not None:
                time += lasts(last, stream)
            last = frame
            yield time, frame

    def _decoded(self, stream: Any, skip: Skip | None) -> Iterator[Any]:
        av, context, skipping = require("av"), stream.codec_context, False
        context.skip_frame = "DEFAULT"
        for packet in self.packets(stream):
            if skip is not None and packet.pts is not None:
                at = self.seconds(packet.pts, stream)
                needless = skip(at, self.seconds(packet.pts + (packet.duration or 0), stream) - at)
                if needless != skipping:
                    context.skip_frame, skipping = "NONREF" if needless else "DEFAULT", needless
            try:
                # One packet at a time: of a file with damaged bytes 247 of 252 frames are saved; `container.decode`
                # stops at the first.
                frames = packet.decode()
            except av.FFmpegError:
                # An empty packet asks for what is left in the decoder.
                self.corrupt += packet.size > 0
                continue
            yield from frames

    def packets(self, stream: Any) -> Iterator[Any]:
        """Packets from where the file stands to its end, then an empty one that drains the decoder."""
        discard = require("av.stream").Discard
        # libav skips discarded packets without reading them.
        for other in self.container.streams:
            other.discard = discard.default if other.index == stream.index else discard.all
        failures = 0
        while failures < _MAX_FAILURES:
            try:
                for packet in self.container.demux(stream):
                    failures = self._file.zeros = 0
                    yield packet
                return
            except require("av").FFmpegError:
                failures += 1
                self.corrupt += 1


class _File:
    """A file as libav reads it, up to a hole."""

    def __init__(self, path: str | Path):
        self.name = str(path)
        self.zeros = 0
        """Bytes read since the last packet, or the last byte that is not zero."""
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 (closed by `close`)
        self.seek, self.tell, self.close = self._file.seek, self._file.tell, self._file.close

    def is_blank(self) -> bool:
        """Whether it begins with a MiB of zeros, as what was never written does."""
        with open(self.name, "rb") as file:
            return file.read(16) == bytes(16) and not file.read(2**20).strip(b"\0")

    def read(self, size: int) -> bytes:
        if self.zeros > HOLE:
            return b""
        data = self._file.read(size)
        self.zeros = self.zeros + len(data) if _ZEROS.startswith(data) else 0
        return data


def _pixels(stream: Any) -> int:
    return stream.codec_context.width * stream.codec_context.height


def lasts(frame: Any, stream: Any) -> float:
    """Seconds that a frame is shown or heard."""
    if stream.type == "audio":
        return frame.samples / frame.sample_rate
    if frame.duration:
        return float(frame.duration * stream.time_base)
    return 1.0 / frame_rate(stream)


def frame_rate(stream: Any) -> float:
    """Frames a second on average; 25 when the file does not say."""
    return float(stream.average_rate or stream.guessed_rate or 25)
