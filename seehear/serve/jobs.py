"""What the decoding processes do: look into a file, make a poster, a waveform, or a preview that browsers play.

Nothing here imports the web framework or torch: a worker starts in the time that libav takes to load.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.files import AudioSpec, VideoSpec, probe, read_window

POSTER_HEIGHT = 270
PEAKS = 240
PEAKS_SECONDS = 900.0
_PEAKS_RATE = 4000
_PREVIEW_HEIGHT, _PREVIEW_FPS, _PREVIEW_RATE, _PREVIEW_PART = 360, 25.0, 44_100, 4.0
_LISTS = (b"#EXTM3U", b"ffconcat", b"<", b"v=0")


@dataclass(frozen=True)
class Facts:
    """What an uploaded file is."""

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


# -- previews ----------------------------------------------------------------------------------------------------------


def preview(video: str, audio: str, start: float, end: float, out: str) -> None:
    """MP4 (H.264 and AAC) of a window: pictures of one file, sound of the same or another. '' leaves one out."""
    part = Path(out + ".part")
    waveform = _heard(audio, start, end) if audio else None
    with require("av").open(str(part), "w", format="mp4", options={"movflags": "faststart"}) as container:
        film = None
        sound = container.add_stream("aac", rate=_PREVIEW_RATE, layout="mono") if waveform is not None else None
        for picture in _shown(video, start, end) if video else ():
            film = film or _film(container, picture)
            _write_picture(container, film, picture)
        if film is not None:
            container.mux(film.encode())
        if sound is not None and waveform is not None:
            _write_sound(container, sound, waveform)
    if film is None and sound is None:
        part.unlink()
        raise DecodeError(f"{video or audio}: nothing there that can be played")
    part.replace(out)


def _heard(path: str, start: float, end: float) -> np.ndarray | None:
    try:
        return read_window(path, start, end, audio=AudioSpec(rate=_PREVIEW_RATE)).waveform
    except DecodeError:
        return None


def _shown(path: str, start: float, end: float) -> Iterator[np.ndarray]:
    """(H, W, 3) pictures at a steady rate, a few seconds in memory at a time; up to where the film ends."""
    spec = VideoSpec(fps=_PREVIEW_FPS, size=_PREVIEW_HEIGHT, enlarge=False)
    for at in np.arange(start, end, _PREVIEW_PART):
        try:
            frames = read_window(path, float(at), min(float(at) + _PREVIEW_PART, end), video=spec).frames
        except DecodeError:
            return
        yield from frames if frames is not None else ()


def _film(container: Any, picture: np.ndarray) -> Any:
    coder = container.add_stream("libx264", rate=round(_PREVIEW_FPS), options={"preset": "veryfast", "crf": "26"})
    coder.height, coder.width = (max(2, n // 2 * 2) for n in picture.shape[:2])
    coder.pix_fmt = "yuv420p"
    return coder


def _write_picture(container: Any, coder: Any, picture: np.ndarray) -> None:
    frame = require("av").VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    container.mux(coder.encode(frame.reformat(width=coder.width, height=coder.height, format="yuv420p")))


def _write_sound(container: Any, coder: Any, waveform: np.ndarray) -> None:
    av = require("av")
    for at in range(0, len(waveform), 1024):
        samples = np.ascontiguousarray(waveform[None, at : at + 1024])
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _PREVIEW_RATE, at, Fraction(1, _PREVIEW_RATE)
        container.mux(coder.encode(frame))
    container.mux(coder.encode())
