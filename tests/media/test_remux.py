"""Clips cut out of files: which packets are copied, when they are shown, and what becomes of files that cannot be."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from seehear.errors import DecodeError, SeehearError
from seehear.media import encoding
from seehear.media.encoding import write_preview
from seehear.media.files import VideoSpec, probe, read_window
from seehear.media.remux import cut, suffix_of_cut

RATE = 48_000
X264 = {"bf": "2", "g": "12", "sc_threshold": "0", "crf": "10"}
"""A keyframe each second of 12 frames, and B-frames between."""


def noise(seconds, channels=2):
    """Noise, which is like itself at one shift alone."""
    sound = np.random.default_rng(1).standard_normal(int(RATE * seconds) + 7)
    return np.repeat(0.1 * np.convolve(sound, np.ones(8), "valid")[None], channels, 0).astype(np.float32)


def write(
    path, picture="libx264", sound="aac", *, seconds=4.0, rate=12, layout="stereo", times=None, begin=0.0, options=X264
):
    """A film that gets lighter from frame to frame. `times`: seconds of each frame, where they are not steady."""
    with av.open(str(path), "w") as file:
        video = audio = None
        if picture:
            video = file.add_stream(picture, rate=rate, options=options if picture == "libx264" else {})
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        if sound:
            audio = file.add_stream(sound, rate=RATE, layout=layout)
        for n in range(int(rate * seconds) if video else 0):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * n % 256, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            at = begin + (n / rate if times is None else times[n])
            frame.pts, frame.time_base = round(at * 90_000), Fraction(1, 90_000)
            if n == 0:
                video.codec_context.time_base = Fraction(1, 90_000) if times or begin else Fraction(1, rate)
            file.mux(video.encode(frame))
        if video:
            file.mux(video.encode())
        samples = noise(seconds, 1 if layout == "mono" else 2)
        for at in range(0, samples.shape[1] if audio else 0, 960):
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[:, at : at + 960]), "fltp", layout)
            frame.sample_rate, frame.pts = RATE, round(begin * RATE) + at
            file.mux(audio.encode(frame))
        if audio:
            file.mux(audio.encode())
    return str(path)


def payloads(path, kind):
    with av.open(str(path)) as file:
        return [bytes(packet) for packet in file.demux(**{kind: 0}) if packet.size]


def lag(path, other, start, seconds):
    """Seconds by which the sound of `path` comes later than that of `other` from `start` on."""
    one = read_window(path, 0.0, seconds, rate=RATE).waveform
    two = read_window(other, start, start + seconds, rate=RATE).waveform
    size = 2 * len(one)
    found = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(two, size)))
    shift = int(np.argmax(found))
    return (shift - len(found) if shift > len(found) // 2 else shift) / RATE


def light(path, start, end):
    """(seconds, lightness) of each frame."""
    window = read_window(path, start, end, video=VideoSpec())
    return np.round(window.times - start, 3), window.frames.mean((1, 2, 3))


def assert_same_pictures(made, source, start, seconds, *, off=0.003, unlike=1.0):
    (times, lights), (expected, known) = light(made, 0.0, seconds), light(source, start, start + seconds)
    assert len(times) == len(expected)
    np.testing.assert_allclose(times, expected, atol=off)
    np.testing.assert_allclose(lights, known, atol=unlike)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write(tmp_path_factory.mktemp("remux") / "film.mp4")


@pytest.mark.parametrize(("start", "end", "shown", "keyframe"), [(0.0, 1.5, 0.0, 0.0), (1.45, 2.8, 17 / 12, 1.0)])
def test_packets_are_copied_and_the_clip_begins_with_the_frame_on_show(film, tmp_path, start, end, shown, keyframe):
    out = str(tmp_path / "clip")
    made = cut(film, film, start, end, out)
    assert made.start == pytest.approx(shown, abs=1e-4)
    assert made.keyframe == pytest.approx(keyframe, abs=1e-4)
    assert made.encoded == ()
    for kind in ("video", "audio"):
        copied, all_ = payloads(out, kind), payloads(film, kind)
        first = all_.index(copied[0])
        assert copied == all_[first : first + len(copied)], "as they are, in their order"
        assert len(copied) > 10
    with av.open(out) as file:
        assert "mp4" in file.format.name
        assert file.start_time == 0
    assert_same_pictures(out, film, made.start, end - made.start)
    assert abs(lag(out, film, made.start, end - made.start)) < 1e-4
    assert probe(out).duration == pytest.approx(end - made.start, abs=0.3), "a few frames that others need"


@pytest.mark.parametrize(
    ("name", "codecs", "more"),
    [
        ("film.mkv", ("libx264", "libopus"), {}),
        ("film.ts", ("libx264", "aac"), {"begin": 5.0}),
        ("film.mov", ("libx264", "mp3"), {}),
        ("film.avi", ("mpeg4", "mp3"), {}),
        ("film.webm", ("libvpx-vp9", "libopus"), {"seconds": 2.5}),
        ("film.mkv", ("libx265", "aac"), {"seconds": 2.5}),
    ],
)
def test_containers_that_count_otherwise_are_in_time(tmp_path, capfd, name, codecs, more):
    """Matroska does not say when to decode the first packets behind a seek; transport streams begin anywhere."""
    source, out = write(tmp_path / name, *codecs, **more), str(tmp_path / "clip")
    made = cut(source, source, 1.45, 2.3, out)
    assert made.encoded == ()
    assert 1.35 < made.start <= 1.45
    assert_same_pictures(out, source, made.start, 0.8)
    assert abs(lag(out, source, made.start, 0.8)) < 0.003


def test_frames_of_varying_length_keep_their_times(tmp_path):
    rng = np.random.default_rng(3)
    times = np.cumsum(rng.integers(2, 12, 48) / 100).round(3)
    source, out = write(tmp_path / "film.mp4", sound="", times=list(times - times[0])), str(tmp_path / "clip")
    made = cut(source, "", 1.5, 2.5, out)
    assert made.encoded == ()
    assert_same_pictures(out, source, made.start, 2.5 - made.start)


def test_a_cut_past_the_end_is_what_is_left(film, tmp_path):
    out = str(tmp_path / "clip")
    cut(film, film, 3.5, 60.0, out)
    assert probe(out).duration == pytest.approx(0.5, abs=0.1)
    with pytest.raises(DecodeError, match=r"film\.mp4 \[7, 9\) s: nothing there that can be played"):
        cut(film, film, 7.0, 9.0, str(tmp_path / "none"))
    with pytest.raises(DecodeError, match="the window is empty"):
        cut(film, film, 2.0, 2.0, str(tmp_path / "none"))
    assert os.listdir(tmp_path) == ["clip"], "nothing half made is left"


def test_sound_that_ends_before_the_film_is_left_out_behind_its_end(film, tmp_path):
    short, out = write(tmp_path / "short.m4a", picture="", seconds=1.0), str(tmp_path / "clip")
    cut(film, short, 2.0, 3.0, out)
    assert (probe(out).has_video, probe(out).has_audio) == (True, False)


def test_a_separate_sound_is_put_in(film, tmp_path):
    sound, out = write(tmp_path / "sound.opus", "", "libopus"), str(tmp_path / "clip")
    made = cut(film, sound, 1.45, 2.8, out)
    assert made.encoded == ()
    assert_same_pictures(out, film, made.start, 1.3)
    assert abs(lag(out, sound, made.start, 1.3)) < 0.001


def test_what_mp4_does_not_hold_is_encoded_and_nothing_else(tmp_path):
    """A camera's film with PCM: the pictures stay as they are."""
    source, out = write(tmp_path / "film.mov", sound="pcm_s16le"), str(tmp_path / "clip")
    assert cut(source, source, 1.45, 2.8, out).encoded == ("audio",)
    with av.open(out) as file:
        assert [s.codec_context.name for s in file.streams] == ["h264", "aac"]
        assert file.streams.audio[0].channels == 2
    assert payloads(out, "video")[0] in payloads(source, "video")
    assert abs(lag(out, source, 17 / 12, 1.3)) < 0.001


def test_a_film_of_an_old_codec_is_encoded_in_its_size_and_rate(tmp_path):
    source, out = write(tmp_path / "film.mkv", "mpeg2video", "mp2", rate=25), str(tmp_path / "clip")
    assert cut(source, source, 1.4, 30.0, out).encoded == ("video", "audio")
    info = probe(out)
    assert (info.width, info.height, info.fps) == (64, 48, 25.0)
    assert info.duration == pytest.approx(2.6, abs=0.1), "not to the end asked for, which is not there"
    assert_same_pictures(out, source, 1.4, 2.0, off=0.04, unlike=3.0)
    assert abs(lag(out, source, 1.4, 2.0)) < 0.002


def test_an_instant_is_a_frame(film, tmp_path):
    out = str(tmp_path / "clip")
    write_preview(film, film, 1.0, 1.0 + 1e-9, out)
    assert len(light(out, 0.0, 1.0)[0]) == 1


def test_times_that_a_file_cannot_hold_are_encoded_anew(film, tmp_path, monkeypatch):
    out, keyed = str(tmp_path / "clip"), encoding.Media.keyed

    def stuck(self, kind, target):
        for time, packet in keyed(self, kind, target):
            packet.dts = packet.pts = 7
            yield time, packet

    monkeypatch.setattr(encoding.Media, "keyed", stuck)
    assert cut(film, film, 1.0, 2.0, out).encoded == ("video", "audio")
    assert_same_pictures(out, film, 1.0, 1.0, off=0.09, unlike=4.0)


def test_a_film_that_stands_upright_stays_upright(tmp_path):
    turned = str(tmp_path / "turned.mp4")
    source = write(tmp_path / "film.mp4", sound="")
    data = Path(source).read_bytes()
    one = (1).to_bytes(2, "big") + bytes(2)
    plain = one + bytes(12) + one + bytes(12) + (0x40000000).to_bytes(4, "big")
    quarter = bytes(4) + one + bytes(4) + (0xFFFF0000).to_bytes(4, "big") + bytes(16) + (0x40000000).to_bytes(4, "big")
    at = data.index(plain, data.index(b"tkhd"))
    Path(turned).write_bytes(data[:at] + quarter + data[at + 36 :])
    assert probe(turned).rotation in (90, 270)
    out = str(tmp_path / "clip")
    assert cut(turned, "", 1.0, 2.0, out).encoded == ()
    assert probe(out).rotation == probe(turned).rotation


def test_frames_that_need_the_film_before_are_left_out(tmp_path):
    """Behind an open keyframe come frames that are shown before it and refer to what was before."""
    options = X264 | {"x264-params": "open-gop=1:bframes=3:b-adapt=0:keyint=12:min-keyint=12:scenecut=0"}
    source, out = write(tmp_path / "film.ts", sound="", options=options), str(tmp_path / "clip")
    made = cut(source, "", 2.2, 3.2, out)
    assert made.encoded == ()
    with av.open(out) as file:
        times = [packet.pts for packet in file.demux(video=0) if packet.size]
    assert times[0] == min(times), "the keyframe is the first in either order"
    assert_same_pictures(out, source, made.start, 1.0)


@pytest.mark.parametrize(
    ("name", "codec", "suffix", "encoded", "off"),
    [
        ("a.mp3", "mp3", ".mp3", (), 0.06),
        ("a.m4a", "aac", ".m4a", (), 0.001),
        ("a.oga", "libopus", ".ogg", (), 0.06),
        ("a.opus", "libopus", ".opus", (), 0.06),
        ("a.wav", "pcm_s24le", ".wav", ("audio",), 0.0),
        ("a.flac", "flac", ".flac", ("audio",), 0.0),
        ("a.ac3", "ac3", ".m4a", ("audio",), 0.002),
        ("a.mkv", "mp3", ".m4a", ("audio",), 0.002),
        ("a.aac", "aac", ".m4a", (), 0.03),
    ],
)
def test_sounds_keep_their_kind_where_it_is_a_common_one(tmp_path, name, codec, suffix, encoded, off):
    source, out = write(tmp_path / name, "", codec, layout="mono" if codec == "flac" else "stereo"), str(tmp_path / "o")
    assert suffix_of_cut("", source) == suffix
    made = cut("", source, 1.0, 3.0, out)
    assert made.encoded == encoded
    info = probe(out)
    assert (info.has_video, info.has_audio) == (False, True)
    assert info.duration == pytest.approx(2.0, abs=0.06)
    assert abs(lag(out, source, 1.0, 1.9)) <= off
    if off == 0.0:
        one, two = (read_window(p, s, s + 2, rate=RATE).waveform for p, s in ((out, 0), (source, 1)))
        np.testing.assert_array_equal(one, two)
        with av.open(out) as new, av.open(source) as old:
            assert new.streams[0].codec_context.name == old.streams[0].codec_context.name


def test_a_picture_is_copied_whole(tmp_path):
    source, out = str(tmp_path / "a.PNG"), str(tmp_path / "o")
    Image.new("RGB", (8, 6), (200, 10, 10)).save(source)
    assert suffix_of_cut(source, "") == ".png"
    cut(source, "", 0.0, 0.0, out)
    assert Path(out).read_bytes() == Path(source).read_bytes()


def test_a_failure_on_the_way_leaves_nothing(film, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("seehear.media.remux.write_tracks", full)
    with pytest.raises(SeehearError, match="clip cannot be written: No space left on device"):
        cut(film, film, 1.0, 2.0, str(tmp_path / "clip"))
    assert os.listdir(tmp_path) == []
    with pytest.raises(DecodeError, match=r"none\.mp4: cannot be read \(No such file"):
        cut(str(tmp_path / "none.mp4"), "", 1.0, 2.0, str(tmp_path / "clip"))
