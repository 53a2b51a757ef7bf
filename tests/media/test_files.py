"""Windows of films, sounds and pictures, whole and damaged: which frames, which samples, what is counted and what is
refused."""

import os
from functools import cache
from pathlib import Path

import av
import numpy as np
import pytest

from seehear.errors import DecodeError
from seehear.media import container
from seehear.media.container import Media
from seehear.media.files import VideoSpec, probe, read_window
from tests.library.makers import SIZE, claim, film, grey, noise, picture, sound

ALL, RATE = VideoSpec(), 16_000
FILMS = {
    "h264.mp4": {"codec": "libx264", "options": {"bf": "3"}, "gop": 50},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none"}, "gop": 50},
    "mpeg4.avi": {"codec": "mpeg4", "audio": "libmp3lame"},
    "mpeg2.mkv": {"codec": "mpeg2video", "audio": "mp2", "options": {"bf": "2"}, "gop": 50},
    "vp9.webm": {"codec": "libvpx-vp9", "audio": "libopus", "rate": 48_000},
    "h264.ts": {"offset": 7.0, "gop": 50, "options": {"bf": "3"}},
}
SOUNDS = {
    "a.wav": {},
    "stereo.wav": {"channels": 2},
    "a.flac": {"codec": "flac"},
    "a.mp3": {"codec": "libmp3lame"},
    "a.opus": {"codec": "libopus", "rate": 48_000},
    "a.m4a": {"codec": "aac"},
    "aac.mka": {"codec": "aac"},
    "opus.webm": {"codec": "libopus", "rate": 48_000},
    "a.ts": {"codec": "aac"},
    "a.aac": {"codec": "aac"},
    "8k.wav": {"rate": 8_000},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A function that makes each file once."""
    folder, done = tmp_path_factory.mktemp("media"), {}

    def make(name: str) -> Path:
        if name not in done:
            maker, options = (film, FILMS[name]) if name in FILMS else (sound, SOUNDS[name])
            done[name] = maker(folder / name, seconds=6.0, **options)
        return done[name]

    return make


def brightness(frames: np.ndarray) -> list[float]:
    return [float(f.mean()) for f in frames]


@cache
def decoded_in_order(path: Path) -> tuple[list[float], list[np.ndarray]]:
    """Every frame by libav alone, from the first to the last."""
    with av.open(str(path)) as container:
        start = max(container.start_time or 0, 0) / 1e6
        frames = list(container.decode(video=0))
        return [float(f.pts * f.time_base) - start for f in frames], [f.to_ndarray(format="rgb24") for f in frames]


# -- films -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILMS)
def test_any_window_is_a_slice_of_the_whole_film(made, name):
    path = made(name)
    times, frames = decoded_in_order(path)
    assert len(frames) == 150
    for start, end in [(0.0, 0.5), (0.3, 1.0), (1.97, 2.41), (3.333, 3.334), (5.5, 6.0), (0.0, 6.5)]:
        window = read_window(path, start, end, video=ALL)
        inside = [i for i, t in enumerate(times) if start - 1e-6 <= t < end - 1e-6]
        inside = inside or [max(i for i, t in enumerate(times) if t <= start)]
        assert window.corrupt == 0
        np.testing.assert_allclose(window.times, [times[i] for i in inside], atol=1e-6)
        np.testing.assert_array_equal(window.frames, np.stack([frames[i] for i in inside]))


@pytest.mark.parametrize("name", FILMS)
def test_sparse_frames_are_those_on_show(made, name):
    path = made(name)
    times, frames = decoded_in_order(path)
    window = read_window(path, 1.0, 4.0, video=VideoSpec(num_frames=5))
    centres = [1.0 + 3.0 * (i + 0.5) / 5 for i in range(5)]
    wanted = [max(i for i, t in enumerate(times) if t <= c + 1e-6) for c in centres]
    np.testing.assert_array_equal(window.frames, np.stack([frames[i] for i in wanted]))


def test_frames_a_second():
    spec = VideoSpec(fps=2.0)
    np.testing.assert_allclose(spec.times(1.0, 3.0), [1.25, 1.75, 2.25, 2.75])
    np.testing.assert_allclose(spec.times(0.0, 0.1), [0.05])
    with pytest.raises(ValueError, match="not both"):
        VideoSpec(num_frames=2, fps=1.0)


@pytest.mark.parametrize("name", FILMS)
@pytest.mark.parametrize("claims_short_frames", [False, True])
def test_frames_far_apart_are_those_of_the_whole_film(made, monkeypatch, name, claims_short_frames):
    """Unreferenced frames between them are not decoded; where the file is wrong about their length, all are."""
    path, decoded = made(name), []
    times, frames = decoded_in_order(path)
    of_packets = Media._decoded
    monkeypatch.setattr(Media, "_decoded", lambda *args: (decoded.append(f) or f for f in of_packets(*args)))
    if claims_short_frames:
        monkeypatch.setattr("seehear.media.frames.lasts", lambda *_: 0.0)
    window = read_window(path, 1.0, 5.0, video=VideoSpec(fps=2.0))
    shown = [np.searchsorted(times, 1.25 + n / 2 + 1e-6, side="right") - 1 for n in range(8)]
    np.testing.assert_allclose(window.times, [times[n] for n in shown])
    np.testing.assert_array_equal(window.frames, np.stack([frames[n] for n in shown]))
    if name == "h264.mp4":
        assert len(decoded) > 100 if claims_short_frames else len(decoded) < 80


def test_variable_frame_rate_follows_the_timestamps(tmp_path):
    times = [0.0, 0.1, 0.2, 1.0, 1.04, 2.5, 3.9]
    path = film(tmp_path / "v.mp4", times=times, gop=3)
    window = read_window(path, 0.9, 3.0, video=ALL)
    np.testing.assert_allclose(window.times, [1.0, 1.04, 2.5])
    window = read_window(path, 1.5, 2.0, video=ALL)  # nothing begins here: the frame of 1.04 s is on show
    np.testing.assert_allclose(window.times, [1.04])
    window = read_window(path, 0.0, 4.0, video=VideoSpec(num_frames=4))
    np.testing.assert_allclose(window.times, [0.2, 1.04, 2.5, 2.5])
    assert brightness(window.frames) == pytest.approx([grey(n) for n in (2, 4, 5, 5)], abs=3)


def test_the_frame_on_show_may_be_one_that_skipping_left_out(tmp_path):
    """A picture every 2 s, most of them unreferenced: the one on show was skipped, and is read again."""
    times, options = [2.0 * n for n in range(12)], {"bf": "5", "b-pyramid": "none"}
    path = film(tmp_path / "slow.mp4", times=times, gop=12, options=options)
    for n in range(11):
        window = read_window(path, 2.0 * n + 1.9, 2.0 * n + 1.95, video=ALL)
        assert window.times[0] == pytest.approx(2.0 * n)
        assert brightness(window.frames) == pytest.approx([grey(n)], abs=4)


def test_single_frame_film(tmp_path):
    path = film(tmp_path / "one.mp4", seconds=0.04, audio=None)
    assert probe(path).duration == pytest.approx(0.04)
    assert read_window(path, 0.0, 0.04, video=ALL).frames.shape == (1, 48, 64, 3)
    with pytest.raises(DecodeError, match="no picture there"):
        read_window(path, 1.0, 3.0, video=ALL)


def rotated(source: Path, path: Path, degrees: int) -> Path:
    """The same film with another matrix in its track header."""
    cos, sin = {90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    matrix = [cos << 16, sin << 16, 0, -sin << 16, cos << 16, 0, 0, 0, 1 << 30]
    data = bytearray(source.read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    data[at : at + 36] = b"".join(int(v).to_bytes(4, "big", signed=True) for v in matrix)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_applied(tmp_path, degrees):
    upright = film(tmp_path / "a.mp4", seconds=0.4, colours=True, audio=None)
    turned = rotated(upright, tmp_path / "r.mp4", degrees)
    plain = read_window(upright, 0, 0.04, video=ALL).frames[0]
    frame = read_window(turned, 0, 0.04, video=ALL).frames[0]
    np.testing.assert_array_equal(frame, np.rot90(plain, -degrees // 90))  # a player turns clockwise
    info = probe(turned)
    assert (info.width, info.height) == (SIZE if degrees == 180 else SIZE[::-1])
    scaled = read_window(turned, 0, 0.04, video=VideoSpec(size=24)).frames[0]
    assert scaled.shape[:2] == ((24, 32) if degrees == 180 else (32, 24))


def test_sizes(made):
    path = made("h264.mp4")  # 64 x 48

    def shape(**options):
        return read_window(path, 0, 0.1, video=VideoSpec(**options)).frames.shape[1:3]

    assert shape(size=24) == (24, 32)
    assert shape(size=24, enlarge=False) == shape(size=24)
    assert shape(size=1000, enlarge=False) == shape()
    assert shape(size=24, fit="squash") == (24, 24)
    assert shape(size=(30, 20), fit="squash") == (30, 20)
    assert shape(size=24, fit="crop", interpolation="bicubic") == (24, 24)
    assert shape(size=(24, 16), fit="crop") == (24, 16)
    with pytest.raises(ValueError, match="one number"):
        VideoSpec(size=(1, 2), fit="short")
    with pytest.raises(ValueError, match="stay small do not go with fit 'crop'"):
        VideoSpec(size=10, fit="crop", enlarge=False)


def test_crop_takes_the_centre(tmp_path):
    from PIL import Image

    stripes = np.zeros((10, 30, 3), np.uint8)
    stripes[:, 10:20] = 255
    Image.fromarray(stripes).save(tmp_path / "s.png")
    frames = read_window(tmp_path / "s.png", 0, 0, video=VideoSpec(size=10, fit="crop")).frames
    assert frames.shape == (1, 10, 10, 3)
    assert frames.min() == 255


def test_film_whose_size_changes(tmp_path):
    small = film(tmp_path / "a.ts", seconds=1.0, audio=None)
    with av.open(str(tmp_path / "b.ts"), "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for n in range(25):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 9, np.uint8))
            frame.pts = 25 + n
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    (tmp_path / "c.ts").write_bytes(small.read_bytes() + (tmp_path / "b.ts").read_bytes())
    window = read_window(tmp_path / "c.ts", 0.0, 2.0, video=ALL)
    assert window.frames.shape[1:3] == (48, 64)
    assert len(window.frames) > 40


# -- sound -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "rate"),
    [
        pytest.param(name, rate, marks=[pytest.mark.slow] * (rate != RATE and not name.endswith(".wav")))
        for name in SOUNDS
        for rate in (RATE, 22_050, 48_000)
    ],
)
def test_any_window_is_a_slice_of_the_whole_sound(made, name, rate):
    path = made(name)
    whole = read_window(path, 0.0, 6.0, rate=rate).waveform
    assert whole.dtype == np.float32
    assert np.abs(whole).max() <= 1.0
    for start, end in [(0.0, 0.5), (0.7, 1.1), (2.0, 4.0), (3.00007, 4.2), (5.0, 6.0)]:
        window = read_window(path, start, end, rate=rate).waveform
        assert len(window) == round((end - start) * rate)
        first = round(start * rate)
        np.testing.assert_allclose(window, whole[first : first + len(window)], atol=1e-6)


@pytest.mark.parametrize("name", ["a.wav", "stereo.wav", "a.flac"])
def test_lossless_sound_is_what_was_written(made, name):
    path = made(name)
    truth = noise(6.0, 44_100, SOUNDS[name].get("channels", 1)).mean(axis=0)
    heard = read_window(path, 1.0, 2.0, rate=44_100).waveform
    np.testing.assert_allclose(heard, truth[44_100:88_200], atol=1e-4)


@pytest.mark.parametrize("name", ["a.mp3", "a.m4a", "a.opus", "aac.mka", "opus.webm"])
def test_lossy_sound_is_where_it_was_written(made, name):
    """To the sample; in Matroska to half a millisecond, which is what its timestamps can say."""
    rate, within = SOUNDS[name].get("rate", 44_100), 24 if name.endswith(("mka", "webm")) else 0
    truth = noise(6.0, rate)[0]
    heard = read_window(made(name), 2.0, 2.2, rate=rate).waveform
    match = np.correlate(truth[2 * rate - 3000 : 2 * rate + len(heard) + 3000], heard, "valid")
    assert abs(3000 - int(match.argmax())) <= within


def test_resampling_keeps_a_tone_and_drops_what_does_not_fit(tmp_path):
    t = np.arange(48_000) / 48_000
    with av.open(str(tmp_path / "t.wav"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        tones = (0.5 * np.sin(2 * np.pi * 1000 * t) + 0.3 * np.sin(2 * np.pi * 11_000 * t)).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(tones[None], format="fltp", layout="mono")
        frame.rate = 48_000
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    heard = read_window(tmp_path / "t.wav", 0.25, 0.75, rate=RATE).waveform
    wanted = 0.5 * np.sin(2 * np.pi * 1000 * (0.25 + np.arange(8000) / RATE))
    np.testing.assert_allclose(heard, wanted, atol=2e-3)


def test_silence_where_there_is_no_sound(made, tmp_path):
    heard = read_window(made("a.wav"), 5.5, 7.0, rate=RATE).waveform
    assert len(heard) == round(1.5 * RATE)
    assert np.abs(heard[: RATE // 2 - 50]).max() > 0.1
    assert np.abs(heard[RATE // 2 + 50 :]).max() == 0.0
    with pytest.raises(DecodeError, match=r"no sound there"):
        read_window(made("a.wav"), 6.5, 7.0, rate=RATE)


def test_missing_streams_are_none(made, tmp_path):
    silent = film(tmp_path / "silent.mp4", audio=None, seconds=1.0)
    both = read_window(silent, 0, 1, video=ALL, rate=RATE)
    assert both.waveform is None
    assert len(both.frames) == 25
    heard = read_window(made("a.mp3"), 0, 1, video=ALL, rate=RATE)
    assert heard.frames is None
    assert heard.times is None
    with pytest.raises(DecodeError, match="no sound there"):
        read_window(silent, 0, 1, rate=RATE)
    with pytest.raises(DecodeError, match="no picture there"):
        read_window(made("a.mp3"), 0, 1, video=ALL)


def test_cover_art_is_no_film(tmp_path):
    picture(tmp_path / "cover.jpg")
    with av.open(str(tmp_path / "song.mp3"), "w") as out:
        stream = out.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = out.add_stream("mjpeg")
        cover.width, cover.height, cover.pix_fmt = *SIZE, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        frame = av.AudioFrame.from_ndarray(noise(1.0, 44_100), format="fltp", layout="mono")
        frame.rate = 44_100
        packets = [*stream.encode(frame), *stream.encode(None)]
        image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 99, np.uint8)).reformat(format="yuvj420p")
        image.pts = 0
        packets += [*cover.encode(image), *cover.encode(None)]
        out.mux(packets)
    with av.open(str(tmp_path / "song.mp3")) as container:
        assert len(container.streams.video) == 1  # it is there, and libav calls it video
    info = probe(tmp_path / "song.mp3")
    assert info.has_audio
    assert not info.has_video


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "gif", "tiff"])
def test_pictures(tmp_path, suffix):
    path = picture(tmp_path / f"p.{suffix}")
    info = probe(path)
    assert (info.is_picture, info.has_video, info.has_audio, info.duration) == (True, True, False, 0.0)
    window = read_window(path, 0, 0, video=VideoSpec(num_frames=4), rate=RATE)
    assert window.frames.shape == (1, 48, 64, 3)
    assert window.waveform is None
    np.testing.assert_allclose(window.frames[0, 20, 20], (200, 30, 60), atol=8)


def test_pictures_whatever_they_are_called(tmp_path):
    picture(tmp_path / "p.jpg").rename(tmp_path / "p.mp4")
    assert probe(tmp_path / "p.mp4").is_picture
    film(tmp_path / "f.mp4", seconds=1.0).rename(tmp_path / "f.jpg")
    assert not probe(tmp_path / "f.jpg").is_picture


def test_transparent_is_white_and_exif_turns(tmp_path):
    from PIL import Image

    clear = picture(tmp_path / "t.png", mode="RGBA", colour=(0, 0, 0, 0))
    assert read_window(clear, 0, 0, video=ALL).frames.min() == 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE).save(tmp_path / "e.jpg", exif=exif)
    assert read_window(tmp_path / "e.jpg", 0, 0, video=ALL).frames.shape == (1, 64, 48, 3)


def test_a_gif_that_moves_is_a_film(tmp_path):
    from PIL import Image

    shades = [Image.new("RGB", SIZE, (grey(n), 0, 0)) for n in range(5)]
    shades[0].save(tmp_path / "a.gif", save_all=True, append_images=shades[1:], duration=200)
    info = probe(tmp_path / "a.gif")
    assert not info.is_picture
    assert info.duration == pytest.approx(1.0, abs=0.05)
    reds = read_window(tmp_path / "a.gif", 0, 1, video=VideoSpec(num_frames=5)).frames[:, 5, 5, 0]
    np.testing.assert_allclose(reds, [grey(n) for n in range(5)], atol=4)


# -- damage ------------------------------------------------------------------------------------------------------------


def test_what_is_no_media_file(tmp_path):
    film(tmp_path / "whole.mp4", seconds=1.0)
    data = (tmp_path / "whole.mp4").read_bytes()
    moov = data.index(b"moov") - 4
    cases = {
        "empty.mp4": b"",
        "text.mp4": b"this is a letter and no film\n" * 50,
        "no_index.mp4": data[:moov],
        "zeros.mp4": bytes(5000),
        "cut.jpg": picture(tmp_path / "p.jpg").read_bytes()[:200],
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n" + os.fsencode(tmp_path / "whole.mp4") + b"\n",
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        for read in (probe, lambda p: read_window(p, 0, 1, video=ALL, rate=RATE)):
            with pytest.raises(DecodeError) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)
            assert "\n" not in str(caught.value)
    for absent in (tmp_path / "none.mp4", tmp_path):
        with pytest.raises(DecodeError):
            probe(absent)


def test_a_film_cut_short_gives_what_is_left(tmp_path):
    film(tmp_path / "a.mp4", seconds=8.0, options={"movflags": "faststart"})
    with (
        av.open(str(tmp_path / "a.mp4")) as source,
        av.open(str(tmp_path / "fast.mp4"), "w", options={"movflags": "faststart"}) as out,
    ):
        streams = {s.index: out.add_stream_from_template(s) for s in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)
    data = (tmp_path / "fast.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
    info = probe(tmp_path / "cut.mp4")
    assert 2.0 < info.duration < 6.0
    assert "claims 8.0 s" in info.errors[0]
    window = read_window(tmp_path / "cut.mp4", 0.0, 1.0, video=ALL, rate=RATE)
    assert len(window.frames) == 25
    with pytest.raises(DecodeError):
        read_window(tmp_path / "cut.mp4", 7.0, 8.0, video=ALL)


@pytest.mark.parametrize(
    ("name", "codec", "seconds", "is_last"),
    [("stretched.ogg", "vorbis", 0.52, True), ("gap.opus", "libopus", 2.5, False)],
    ids=["last packet of an hour", "last packet after an hour"],
)
def test_an_hour_that_only_the_last_page_claims(tmp_path, name, codec, seconds, is_last):
    channels = 2 if codec == "vorbis" else 1
    path = sound(tmp_path / name, seconds=seconds, rate=48_000, codec=codec, channels=channels)
    claim(path, 3600, 48_000, is_last=is_last)
    info = probe(path)
    assert seconds - 1.0 < info.duration < seconds + 0.1
    assert info.errors[0].startswith("the file claims 3600.0 s but ends after")


def test_a_long_film_is_believed_without_reading_it_through(tmp_path, monkeypatch):
    """A picture a second is no gap, and few of the packets are looked at."""
    path = film(tmp_path / "long.mkv", times=[float(t) for t in range(1200)], gop=10, audio=None)
    packets, read = Media.packets, []

    def counted(self, stream):
        for packet in packets(self, stream):
            read.append(packet.pts)
            yield packet

    monkeypatch.setattr(Media, "packets", counted)
    assert probe(path).duration == pytest.approx(1200, abs=1)
    assert len(read) < 60


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes in /proc")
@pytest.mark.parametrize("suffix", ["mp3", "h264", "gif", "mp4", "mkv", "wav", "jpg"])
def test_a_blank_file_is_not_read_through(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.touch()
    os.truncate(path, 10 * 2**30)
    before = bytes_read()
    with pytest.raises(DecodeError, match="begins with nothing but zeros"):
        probe(path)
    assert bytes_read() - before < 10e6


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="counts bytes in /proc")
def test_a_hole_is_not_read_through(tmp_path, monkeypatch):
    """A download that was broken off, of a size set beforehand: what it begins with can be used."""
    monkeypatch.setattr(container, "HOLE", 2**20)
    path = sound(tmp_path / "a.mp3", seconds=0.5, codec="libmp3lame")
    os.truncate(path, 10 * 2**30)
    before = bytes_read()
    assert probe(path).duration == pytest.approx(0.5, abs=0.1)
    assert bytes_read() - before < 20e6


def bytes_read() -> int:
    return int(Path("/proc/self/io").read_text().split()[1])


def test_flipped_bytes_cost_their_packets_only(tmp_path):
    data = bytearray(film(tmp_path / "a.mp4", seconds=8.0, colours=True).read_bytes())
    rng = np.random.default_rng(1)
    media = data.index(b"mdat")
    for at in rng.integers(media + 3000, data.index(b"moov") - 100, 60):
        data[at] ^= 0xFF
    (tmp_path / "b.mp4").write_bytes(data)
    window = read_window(tmp_path / "b.mp4", 0.0, 8.0, video=ALL, rate=RATE)
    assert window.corrupt > 0
    assert len(window.frames) > 150
    assert len(window.waveform) == 8 * RATE
    assert np.isfinite(window.waveform).all()


def test_mutated_files_never_crash_or_leak_other_errors(tmp_path):
    rng = np.random.default_rng(2)
    originals = [film(tmp_path / "a.mp4", seconds=1.0), film(tmp_path / "b.mkv", seconds=1.0)]
    originals += [sound(tmp_path / "c.mp3", seconds=1.0, codec="libmp3lame"), picture(tmp_path / "d.png")]
    good = 0
    for round_ in range(60):
        original = originals[round_ % len(originals)]
        data = bytearray(original.read_bytes())
        for at in rng.integers(0, len(data), 1 + round_ % 20):
            data[at] = rng.integers(256)
        if round_ % 3 == 0:
            data = data[: rng.integers(1, len(data))]
        path = tmp_path / f"m{original.suffix}"
        path.write_bytes(data)
        try:
            probe(path)
            window = read_window(path, 0.2, 0.8, video=VideoSpec(num_frames=3, size=16), rate=RATE)
        except DecodeError:
            continue
        good += 1
        assert window.waveform is None or np.isfinite(window.waveform).all()
    assert good > 10


def test_pictures_that_claim_too_much(tmp_path):
    data = bytearray(picture(tmp_path / "a.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2
    (tmp_path / "b.png").write_bytes(data)
    data = bytearray(picture(tmp_path / "a.gif").read_bytes())
    (tmp_path / "b.gif").write_bytes(data[:20])
    for name in ("b.png", "b.gif"):
        with pytest.raises(DecodeError, match=name):
            probe(tmp_path / name)


@pytest.mark.parametrize("name", ["a.mp4", "a.jpg", "a.wav"])
def test_an_empty_file_is_called_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(DecodeError, match=f"{name}: the file is empty"):
        probe(tmp_path / name)


def test_an_empty_window_and_odd_names(tmp_path):
    path = sound(tmp_path / "12:30 talk #1?.wav", seconds=1.0)
    assert probe(path).has_audio
    with pytest.raises(DecodeError, match="empty"):
        read_window(path, 0.5, 0.5, rate=RATE)
    raw = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    try:
        os.rename(path, raw)
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    assert probe(os.fsdecode(raw)).has_audio


def test_the_same_window_twice_is_the_same(made):
    one, two = (read_window(made("h264.ts"), 1.1, 2.3, video=VideoSpec(num_frames=3), rate=RATE) for _ in range(2))
    np.testing.assert_array_equal(one.frames, two.frames)
    np.testing.assert_array_equal(one.waveform, two.waveform)
