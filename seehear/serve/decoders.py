"""Media decoded in separate processes: posters, waveforms, previews, loudness. A file that crashes or hangs its decoder
costs only its own answer."""

from __future__ import annotations

import io
import queue
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

# No web framework and no torch here: a worker starts in the time that libav takes to load.
from seehear.errors import DecodeError, require
from seehear.library.workers import Isolated
from seehear.media.container import Media, opened
from seehear.media.files import VideoSpec, channels, mono, probe, read_window
from seehear.serve.problems import Problem

Result = TypeVar("Result")
Job = tuple[Callable[..., Any], tuple[Any, ...]]
POSTER_HEIGHT = 270
PEAKS = 240
PEAKS_SECONDS = 900.0
_PEAKS_RATE = 4000
# Beginnings of M3U, ffconcat, XML (DASH, XSPF, SMIL) and SDP, which name other files and addresses
_LISTS = (b"#EXTM3U", b"ffconcat", b"<", b"v=0")
PARTS = 1000
"""Largest number of parts in a loudness curve."""
# Shortest part of a loudness curve in seconds
_SHORTEST = 0.01
# Seconds of sound to decode for a loudness curve. In a longer file only the beginning of each part is measured, so
# that a film of two hours takes seconds.
DECODED = 600.0
# Seconds decoded and dropped before each beginning: after a seek a decoder is too quiet at first
_PREROLL = 0.1
_FLOOR = -60.0  # dB


class Decoders:
    """Thread-safe pool of `workers` processes, started on first use. A call waits `patience` seconds for a free one."""

    def __init__(self, workers: int, time_limit: float, *, patience: float = 20.0):
        self._patience = patience
        self._all: list[Isolated[Job, Any]] = [Isolated(_do, time_limit) for _ in range(workers)]
        self._free: queue.SimpleQueue[Isolated[Job, Any]] = queue.SimpleQueue()
        for worker in self._all:
            self._free.put(worker)

    def __call__(self, function: Callable[..., Result], *args: Any) -> Result:
        """Result of the picklable call, or its exception; `WorkerDied` if the process died, `Problem` (503) if no
        process becomes free in time."""
        try:
            # Bounded wait: a few slow files must not hold up every later request.
            worker = self._free.get(timeout=self._patience)
        except queue.Empty:
            message = f"the server is busy with other files, and was not free within {self._patience:g} s"
            raise Problem(503, "busy", message, "try again in a minute") from None
        try:
            result = worker((function, args))
        finally:
            self._free.put(worker)
        if isinstance(result, Exception):
            raise result
        return result

    def close(self) -> None:
        for worker in self._all:
            worker.close()


# A function of the module: a worker process looks it up by its name.
def _do(job: Job) -> Any:
    function, args = job
    return function(*args)


@dataclass(frozen=True)
class Facts:
    """Facts about an uploaded file."""

    kind: str
    """picture, sound or video."""
    seconds: float
    modalities: tuple[str, ...]


def look(path: str) -> Facts:
    """Facts about a media file. Raises `DecodeError` for other files, and for playlists."""
    with open(path, "rb") as file:
        # A byte order mark or blanks must not hide the beginning of a play list.
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    # libav would open the files and addresses that a playlist names.
    if head.startswith(_LISTS):
        raise DecodeError("this is a text or a play list, not a media file")
    info = probe(path)
    kind = "picture" if info.is_picture else "video" if info.has_video else "sound"
    present = {"video": info.has_video, "audio": info.has_audio}
    return Facts(kind, info.duration, tuple(m for m, has in present.items() if has))


def poster(path: str, at: float, end: float) -> bytes:
    """JPEG of the frame shown at a second."""
    spec = VideoSpec(num_frames=1, size=POSTER_HEIGHT, enlarge=False, interpolation="bicubic")
    # A window of about one frame: its middle is the frame to show.
    width = max(min(0.04, end - at), 1e-3)
    frames = read_window(path, at, max(end, at + width) if end <= at else at + width, video=spec).frames
    if frames is None:
        raise DecodeError(f"{path}: no picture there")
    image, out = require("PIL.Image").fromarray(frames[0]), io.BytesIO()
    image.save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()


def peaks(path: str, start: float, end: float) -> list[float]:
    """Largest amplitude in each of `PEAKS` equal parts of a window, relative to the loudest, in [0, 1]."""
    end = min(end, start + PEAKS_SECONDS)
    waveform = read_window(path, start, end, rate=_PEAKS_RATE).waveform
    if waveform is None:
        raise DecodeError(f"{path}: no sound there")
    largest_P = np.array([part.max(initial=0.0) for part in np.array_split(np.abs(waveform), PEAKS)])
    # The floor keeps silence at 0.
    return [round(float(x), 3) for x in largest_P / max(float(largest_P.max()), 1e-6)]


def loudness(path: str, seconds: float) -> list[float]:
    """Loudness of equal parts of [0, seconds), in [0, 1]: 0 at -60 dB or less, 1 at full scale."""
    count = max(1, min(PARTS, int(seconds / _SHORTEST)))
    power_P, samples_P = np.zeros(count), np.zeros(count)
    with opened(path) as media:
        if media.audio is None:
            raise DecodeError(f"{path}: no sound there")
        for start, wave in _waves(media, seconds, count):
            times = start + np.arange(len(wave)) / media.audio.codec_context.sample_rate
            parts = np.clip((times * count / seconds).astype(int), 0, count - 1)
            # Float64: a part may sum millions of squares.
            power_P += np.bincount(parts, wave.astype(np.float64) ** 2, count)
            samples_P += np.bincount(parts, minlength=count)
    level_P = 10 * np.log10(np.maximum(power_P / np.maximum(samples_P, 1), 1e-12))
    return [round(float(x), 3) for x in np.clip(1 - level_P / _FLOOR, 0.0, 1.0)]


def _waves(media: Media, seconds: float, count: int) -> Iterator[tuple[float, np.ndarray]]:
    """(start, (S,) samples) of each frame of the whole file, or of the beginning of each part."""
    whole = seconds <= DECODED
    for n in range(1 if whole else count):
        first = n * seconds / count
        last = seconds if whole else first + DECODED / count
        for start, frame in media.decode("audio", first - _PREROLL):
            if start >= last:
                break
            if start >= first or not n:
                yield start, mono(channels(frame))
