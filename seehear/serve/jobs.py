"""Jobs of the decoding processes: look into a file, make a poster, a waveform, or a preview that browsers play.

Nothing here imports the web framework or torch: a worker starts in the time that libav takes to load.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.encoding import encode_window
from seehear.media.files import AudioSpec, VideoSpec, probe, read_window

POSTER_HEIGHT = 270
PEAKS = 240
PEAKS_SECONDS = 900.0
_PEAKS_RATE = 4000
_PREVIEW, _PREVIEW_QUALITY = VideoSpec(fps=25.0, size=360, enlarge=False), 26
_LISTS = (b"#EXTM3U", b"ffconcat", b"<", b"v=0")


@dataclass(frozen=True)
class Facts:
    """Facts about an uploaded file."""

    kind: str
    """picture, sound or video."""
    seconds: float
    modalities: tuple[str, ...]


def look(path: str) -> Facts:
    """Raises `DecodeError` for what is no media file, and for lists that name other files: those would be read."""
    with open(path, "rb") as file:
        head = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith(_LISTS):
        raise DecodeError("this is a text or a play list, not a media file")
    info = probe(path)
    kind = "picture" if info.is_picture else "video" if info.has_video else "sound"
    found = tuple(m for m, there in (("video", info.has_video), ("audio", info.has_audio)) if there)
    return Facts(kind, info.duration, found)


def poster(path: str, at: float, end: float) -> bytes:
    """JPEG of the frame on show at a second."""
    spec = VideoSpec(num_frames=1, size=POSTER_HEIGHT, enlarge=False, interpolation="bicubic")
    width = max(min(0.04, end - at), 1e-3)
    frames = read_window(path, at, max(end, at + width) if end <= at else at + width, video=spec).frames
    if frames is None:
        raise DecodeError(f"{path}: no picture there")
    image, out = require("PIL.Image").fromarray(frames[0]), io.BytesIO()
    image.save(out, "JPEG", quality=82, optimize=True)
    return out.getvalue()


def peaks(path: str, start: float, end: float) -> list[float]:
    """The largest amplitude in each of `PEAKS` equal parts of a window, in [0, 1]; the loudest is 1."""
    end = min(end, start + PEAKS_SECONDS)
    waveform = read_window(path, start, end, audio=AudioSpec(rate=_PEAKS_RATE)).waveform
    if waveform is None:
        raise DecodeError(f"{path}: no sound there")
    parts = np.array_split(np.abs(waveform), PEAKS)
    found = np.array([part.max(initial=0.0) for part in parts])
    return [round(float(x), 3) for x in found / max(float(found.max()), 1e-6)]


def preview(video: str, audio: str, start: float, end: float, out: str) -> None:
    """MP4 (H.264 and AAC) of a window: pictures of one file, sound of the same or another. '' leaves one out."""
    encode_window(video, audio, start, end, out, spec=_PREVIEW, quality=_PREVIEW_QUALITY)
