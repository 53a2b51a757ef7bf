"""Stills and sounds small enough to embed in a page. Files are read in separate processes, since a damaged file may
crash or hang its reader; the page shows the reason for each that cannot be read."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from seehear.errors import DecodeError, SeehearError, require
from seehear.library.tables import Clip, LibraryTables
from seehear.library.workers import map_in_processes
from seehear.media.files import VideoSpec, read_window
from seehear.report.page import part

# types.py imports torch, which the reading processes do without.
if TYPE_CHECKING:
    from seehear.types import Modality

SECONDS = 4.0
"""Length of a sound in seconds, from the start of its clip."""
_LARGEST = (256, 192)  # pixels, width and height
_QUALITY = 72
# 4 seconds are 16 kB.
_RATE, _BITS = 24_000, 32_000
_TIME_LIMIT = 60.0
_KINDS = {"video": "image/jpeg", "audio": "audio/mpeg"}

Key = tuple[str, "Modality"]
"""(clip id, modality): video for a still, audio for a sound."""


@dataclass(frozen=True)
class _Wanted:
    key: Key
    path: str
    start: float
    end: float


class Excerpts:
    """Excerpts by clip, with the number of bytes (`left`) that the page may still embed."""

    def __init__(self, excerpts: Mapping[Key, bytes | str], *, budget: int):
        self.excerpts, self.left = excerpts, budget

    def show(self, key: Key, alt: str) -> Markup:
        """Image or audio element, or the reason for its absence."""
        excerpt = self.excerpts.get(key, "not read")
        if isinstance(excerpt, str):
            return part("parts.html", "gone", excerpt)
        # Inside the page and not beside it: a report is one file that can be sent.
        address = f"data:{_KINDS[key[1]]};base64,{base64.b64encode(excerpt).decode()}"
        # Not the end of the budget: a later and smaller excerpt may still fit.
        if len(address) > self.left:
            return part("parts.html", "gone", "left out: the page has its full size")
        self.left -= len(address)
        return part("parts.html", "still" if key[1] == "video" else "sound", address, alt)

    @property
    def failed(self) -> int:
        """Number of excerpts that could not be read."""
        return sum(isinstance(excerpt, str) for excerpt in self.excerpts.values())


def read_excerpts(
    library: LibraryTables, clips: Mapping[str, Clip], keys: Iterable[Key], *, workers: int = 1
) -> dict[Key, bytes | str]:
    """JPEG or MP3 of each clip and modality, or the reason for its absence."""
    excerpts: dict[Key, bytes | str] = {}
    roots, wanted = library.roots(), []
    # Each once: several examples may show the same clip.
    for name, modality in dict.fromkeys(keys):
        clip = clips[name]
        if source := clip.source_of(modality):
            try:
                path = str(library.path_of(source, roots))
            except SeehearError as error:
                excerpts[name, modality] = str(error)
            else:
                wanted.append(_Wanted((name, modality), path, clip.start, clip.end))
        else:
            excerpts[name, modality] = "the library knows no file of it"
    for want, made in map_in_processes(_excerpt, wanted, workers=workers, time_limit=_TIME_LIMIT):
        excerpts[want.key] = made if isinstance(made, bytes) else f"not shown: {made}"
    return excerpts


def _excerpt(wanted: _Wanted) -> bytes:
    """JPEG or MP3 of a window of a file; runs in a worker."""
    if not Path(wanted.path).is_file():
        raise DecodeError(f"{wanted.path} is not there any more")
    read = still if wanted.key[1] == "video" else sound
    return read(wanted.path, wanted.start, wanted.end)


def still(path: str, start: float, end: float) -> bytes:
    """JPEG of the frame in the middle of the window."""
    frames = read_window(path, start, end, video=VideoSpec(num_frames=1, size=_LARGEST[1], enlarge=False)).frames
    assert frames is not None
    image = require("PIL.Image").fromarray(frames[0])
    image.thumbnail(_LARGEST)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return file.getvalue()


def sound(path: str, start: float, end: float) -> bytes:
    """MP3, which every browser plays, of the first seconds of the window."""
    waveform = read_window(path, start, min(end, start + SECONDS), rate=_RATE).waveform
    assert waveform is not None
    av, file = require("av"), io.BytesIO()
    try:
        # The format is named, since a buffer has no suffix to tell it by.
        with av.open(file, "w", format="mp3") as container:
            stream = container.add_stream("mp3", rate=_RATE, layout="mono")
            stream.bit_rate = _BITS
            # Decoded and resampled sound may exceed 1, and would wrap to the other sign as an int16.
            samples = (np.clip(waveform, -1, 1) * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            frame.rate = _RATE
            # The encoder takes planar samples only.
            resampled = av.AudioResampler(format="s16p", layout="mono", rate=_RATE).resample(frame)
            # The last call without a frame makes the encoder give what it still holds.
            for packet in [*(p for f in resampled for p in stream.encode(f)), *stream.encode(None)]:
                container.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        raise DecodeError(f"its sound could not be made an MP3 ({error})") from error
    return file.getvalue()
