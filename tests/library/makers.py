"""Small media files of every kind that tests need, made with PyAV. What is in them is known, so it can be checked.

Frame n of a film is grey of brightness `grey(n)`; the sound is noise from a fixed seed, so that a shift by one sample
shows."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (64, 48)  # width, height


def grey(n: int) -> int:
    return 20 + (n * 7) % 200


def noise(seconds: float, rate: int, channels: int = 1) -> np.ndarray:
    """(channels, samples) float32, band-limited enough for a lossy codec to keep it recognisable."""
    rng = np.random.default_rng(0)
    samples = rng.standard_normal((channels, round(seconds * rate))).astype(np.float32)
    return 0.2 * (samples + np.roll(samples, 1, 1) + np.roll(samples, 2, 1)) / 1.7


def film(
    path: Path,
    *,
    seconds: float = 4.0,
    fps: int = 25,
    codec: str = "libx264",
    gop: int = 12,
    audio: str | None = "aac",
    rate: int = 44_100,
    offset: float = 0.0,
    times: list[float] | None = None,
    colours: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """A film, with sound unless `audio` is None. `times` makes its frame rate vary; `offset` shifts all timestamps."""
    with av.open(str(path), "w") as out:
        video = out.add_stream(codec, rate=fps, options=options or {})
        video.width, video.height = SIZE
        video.pix_fmt = "yuv420p"
        video.gop_size = gop
        video.time_base = video.codec_context.time_base = Fraction(1, 1000) if times else Fraction(1, fps)
        sound = out.add_stream(audio, rate=rate, layout="mono") if audio else None
        marks = times if times is not None else [n / fps for n in range(round(seconds * fps))]
        for n, time in enumerate(marks):
            picture = np.full((SIZE[1], SIZE[0], 3), grey(n), np.uint8)
            if colours:
                picture[: SIZE[1] // 2, :, 0], picture[:, : SIZE[0] // 2, 2] = 230, 20
            frame = av.VideoFrame.from_ndarray(picture)
            frame.time_base = Fraction(1, 1000) if times else Fraction(1, fps)
            frame.pts = round((time + offset) / float(frame.time_base))
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            _encode_sound(out, sound, noise(seconds, rate), rate, offset)
    return path


def sound(path: Path, *, seconds: float = 4.0, rate: int = 44_100, codec: str = "pcm_s16le", channels: int = 1) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(
            codec,
            rate=rate,
            options={"aac": {"aac_pns": "0"}, "vorbis": {"strict": "experimental"}}.get(codec, {}),
            layout={1: "mono", 2: "stereo"}[channels],
        )
        _encode_sound(out, stream, noise(seconds, rate, channels), rate, 0.0)
    return path


def _encode_sound(out, stream, samples: np.ndarray, rate: int, offset: float) -> None:
    size = 1024
    layout = stream.codec_context.layout.name
    for at in range(0, samples.shape[1], size):
        part = np.ascontiguousarray(samples[:, at : at + size])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=layout)
        frame.rate, frame.pts, frame.time_base = rate, at + round(offset * rate), Fraction(1, rate)
        out.mux(stream.encode(frame))
    out.mux(stream.encode(None))


def claim(path: Path, seconds: float, rate: int, *, is_last: bool) -> Path:
    """An Ogg file whose last page says that it ends after so long, and whether it is the last of its stream."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"OggS")
    data[at + 5] = 4 if is_last else 0
    data[at + 6 : at + 14] = round(seconds * rate).to_bytes(8, "little")
    data[at + 22 : at + 26] = bytes(4)
    crc = 0
    for byte in data[at:]:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1) ^ (0x104C11DB7 if crc & 0x80000000 else 0)
    data[at + 22 : at + 26] = crc.to_bytes(4, "little")
    path.write_bytes(data)
    return path


def picture(path: Path, *, mode: str = "RGB", colour: object = (200, 30, 60), size: tuple[int, int] = SIZE) -> Path:
    from PIL import Image

    Image.new(mode, size, colour).save(path)
    return path


def srt(path: Path, lines: list[tuple[float, float, str]], encoding: str = "utf-8") -> Path:
    def clock(t: float) -> str:
        ms = round(t * 1000)
        return f"{ms // 3600000:02d}:{ms // 60000 % 60:02d}:{ms // 1000 % 60:02d},{ms % 1000:03d}"

    blocks = [f"{i}\n{clock(a)} --> {clock(b)}\n{text}\n" for i, (a, b, text) in enumerate(lines, start=1)]
    path.write_bytes("\n".join(blocks).encode(encoding))
    return path


def with_subtitles(path: Path, media: Path, subtitles: Path, language: str = "eng") -> Path:
    """The streams of a film and of a subtitle file in one Matroska file."""
    with av.open(str(path), "w") as out, av.open(str(media)) as film_in, av.open(str(subtitles)) as text_in:
        streams = {s.index: out.add_stream_from_template(s) for s in film_in.streams}
        text = out.add_stream_from_template(text_in.streams.subtitles[0])
        text.metadata["language"] = language
        packets = [(p, streams[p.stream.index]) for p in film_in.demux() if p.dts is not None]
        packets += [(p, text) for p in text_in.demux() if p.dts is not None]
        for packet, stream in packets:
            packet.stream = stream
            out.mux(packet)
    return path


def shots(
    path: Path,
    lengths: list[float],
    *,
    fps: int = 25,
    gop: int = 250,
    scenecut: bool = True,
    audio: np.ndarray | None = None,
) -> Path:
    """A film of one scene after the other, in each of which a bright square moves over a background of its own.
    `scenecut`: the encoder sets key frames at cuts. `audio`: samples at 8 kHz."""
    width, height = 128, 96
    with av.open(str(path), "w") as out:
        options = {"x264-params": f"keyint={gop}:min-keyint=1:scenecut={40 if scenecut else 0}"}
        video = out.add_stream("libx264", rate=fps, options=options)
        video.width, video.height, video.pix_fmt, video.gop_size = width, height, "yuv420p", gop
        sound = out.add_stream("pcm_s16le", rate=8000, layout="mono") if audio is not None else None
        ends = np.cumsum(lengths)
        for n in range(round(ends[-1] * fps)):
            scene = int(np.searchsorted(ends, n / fps + 1e-6, side="right"))
            picture = np.zeros((height, width, 3), np.uint8)
            picture[:] = np.random.default_rng(scene).integers(30, 220, 3)
            picture[::2, :, scene % 3] //= 2
            picture[30:50, abs(n * 2 % 200 - 100) :][:, :20] = 255
            frame = av.VideoFrame.from_ndarray(picture)
            frame.pts, frame.time_base = n, Fraction(1, fps)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        if sound is not None:
            _encode_sound(out, sound, audio[None].astype(np.float32), 8000, 0.0)
    return path
