"""Long films with known contents: clips of ../shared/data/home joined in a drawn order, their places noted."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

_WIDTH, _HEIGHT, _FPS, _RATE = 640, 360, 25, 44_100
_CODER = {"preset": "veryfast", "crf": "26", "g": "50", "bf": "0"}


def make_films(folder: Path, sources: Path, *, films: int, minutes: float) -> list[dict[str, Any]]:
    """Makes `films` films in `folder` where they are not there. Returns their parts: [{film, file, start, offset,
    end}], `offset` seconds into the source file at `start` seconds of the film."""
    parts_file = folder.with_name(f"{folder.name}.json")
    if parts_file.exists():
        return list(json.loads(parts_file.read_text()))
    folder.mkdir(parents=True, exist_ok=True)
    pieces = folder.with_name("pieces")
    pieces.mkdir(exist_ok=True)
    files = sorted(path for path in sources.iterdir() if path.is_file())
    lengths = {path.name: _piece(path, pieces / f"{path.name}.mp4") for path in files}
    parts: list[dict[str, Any]] = []
    for n in range(films):
        name, at = f"film_{n:03d}.mp4", 0.0
        order = random.Random(n).sample(sorted(lengths), len(lengths))
        drawn = order + [name for name in order if lengths[name] > 5]
        while sum(lengths[file] for file in drawn) < 60 * minutes:
            drawn += order
        used = []
        for file in drawn:
            if at < 60 * minutes:
                used.append(file)
                end = at + lengths[file]
                parts.append({"film": name, "file": file, "start": round(at, 3), "end": round(end, 3)})
                at = end
        _join([pieces / f"{file}.mp4" for file in used], folder / name, 60 * minutes)
    parts_file.write_text(json.dumps(parts, indent=1) + "\n")
    return parts


def _piece(source: Path, out: Path) -> float:
    """One file as H.264 and AAC of one size and rate, so that packets can be joined; its length in seconds."""
    if not out.exists():
        part = out.with_suffix(".part")
        with av.open(str(source), metadata_errors="replace") as media, av.open(str(part), "w", format="mp4") as made:
            film = made.add_stream(
                "libx264", rate=_FPS, options={"preset": "veryfast", "crf": "26", "g": "50", "bf": "0"}
            )
            film.width, film.height, film.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
            sound = made.add_stream("aac", rate=_RATE, layout="mono")
            frames = _write_pictures(media, made, film)
            _write_sound(source, made, sound, frames / _FPS)
        part.rename(out)
    with av.open(str(out)) as made:
        return float(made.streams.video[0].frames) / _FPS


def _write_pictures(media: Any, made: Any, film: Any) -> int:
    count = 0
    for frame in media.decode(video=0):
        scaled = frame.reformat(width=_WIDTH, height=_HEIGHT, format="yuv420p")
        until = (frame.time or 0.0) - float(media.streams.video[0].start_time or 0) * float(
            media.streams.video[0].time_base
        )
        while count / _FPS <= until:  # a slower film repeats frames, a faster one loses some
            scaled.pts, scaled.time_base, scaled.pict_type = count, Fraction(1, _FPS), 0
            made.mux(film.encode(scaled))
            count += 1
    made.mux(film.encode())
    return count


def _write_sound(source: Path, made: Any, sound: Any, seconds: float) -> None:
    samples = np.zeros(round(seconds * _RATE), np.float32)
    with av.open(str(source), metadata_errors="replace") as media:
        resampler, at = av.AudioResampler(format="flt", layout="mono", rate=_RATE), 0
        for frame in media.decode(audio=0) if media.streams.audio else ():
            for part in resampler.resample(frame):
                heard = part.to_ndarray().ravel()[: len(samples) - at]
                samples[at : at + len(heard)] = heard
                at += len(heard)
    for at in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, at : at + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = _RATE, at, Fraction(1, _RATE)
        made.mux(sound.encode(frame))
    made.mux(sound.encode())


def _join(pieces: list[Path], out: Path, seconds: float) -> None:
    part = out.with_suffix(".part")
    with av.open(str(part), "w", format="mp4") as made:
        streams: dict[str, Any] = {}
        latest: dict[str, int] = {}
        start = 0.0
        for piece in pieces:
            with av.open(str(piece)) as media:
                length = float(media.streams.video[0].frames) / _FPS
                for stream in media.streams:
                    if stream.type not in streams:
                        streams[stream.type] = made.add_stream_from_template(stream)
                for packet in media.demux():
                    if packet.dts is None:
                        continue
                    at, kind = float(packet.pts * packet.time_base), packet.stream.type
                    shift = round(start / packet.time_base)
                    # Not what primes the decoder of sound, nor what lies under the next piece.
                    if not 0 <= at < length or start + at >= seconds or packet.dts + shift <= latest.get(kind, -1):
                        continue
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, streams[kind]
                    latest[kind] = packet.dts
                    made.mux(packet)
            start += length
    part.rename(out)
