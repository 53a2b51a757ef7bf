"""Memory of pictures and films whose files are small and whose pixels are many."""

import io
import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from seehear.errors import DecodeError
from seehear.media.files import VideoSpec, probe, read_window

MEASURE = """
import resource, sys
import numpy, PIL.Image
from seehear.media.files import VideoSpec, probe, read_window
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
info = probe(sys.argv[1])
frames = read_window(sys.argv[1], 0, 0, video=VideoSpec(num_frames=1, size=64)).frames
print(info.width, info.height, *frames.shape, (peak() - before) // 1024)
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
def test_a_small_png_of_many_pixels_stays_within_600_mb(tmp_path: Path):
    width, height = 16384, 8191
    packer, row = zlib.compressobj(1), bytes(4 * width + 1)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", packed) + chunk(b"IEND", b""))
    done = subprocess.run([sys.executable, "-c", MEASURE, path], capture_output=True, text=True, check=True)
    *shape, megabytes = map(int, done.stdout.split())
    assert shape == [width, height, 1, 64, 128, 3]
    assert megabytes < 620


HEIC = Path(__file__).parent / "formats" / "stills"
RED, GREEN, BLUE, YELLOW = (200, 30, 60), (20, 200, 60), (30, 60, 210), (240, 240, 40)


@pytest.mark.parametrize(
    ("name", "size", "colours"),
    [
        ("plain", (48, 80), (RED, GREEN, BLUE, YELLOW)),
        ("turned", (80, 48), (BLUE, RED, YELLOW, GREEN)),
        ("mirrored", (80, 48), (RED, BLUE, GREEN, YELLOW)),
        ("grid", (160, 96), (BLUE, RED, YELLOW, GREEN)),
    ],
)
def test_heic_pictures_stand_upright_and_whole(name, size, colours):
    """Those of a telephone are a grid of tiles, turned."""
    path = HEIC / f"{name}.heic"
    info = probe(path)
    assert (info.is_picture, info.height, info.width, info.duration) == (True, *size, 0.0)
    [frame] = read_window(path, 0, 0, video=VideoSpec()).frames
    assert frame.shape == (*size, 3)
    tall, wide = size[0] // 2, size[1] // 2
    parts = (frame[:tall, :wide], frame[:tall, wide:], frame[tall:, :wide], frame[tall:, wide:])
    for part, colour in zip(parts, colours, strict=True):
        np.testing.assert_allclose(np.median(part, axis=(0, 1)), colour, atol=4)


def patched(tmp_path: Path, name: str, old: bytes, new: bytes) -> Path:
    data = (HEIC / f"{name}.heic").read_bytes()
    assert old in data
    (tmp_path / "a.heic").write_bytes(data.replace(old, new))
    return tmp_path / "a.heic"


@pytest.mark.parametrize(
    ("name", "old", "new", "why"),
    [
        ("grid", struct.pack(">II", 160, 96), struct.pack(">II", 16000, 9600), "need [0-9,]+ MB"),
        ("grid", struct.pack(">II", 160, 96), struct.pack(">II", 192, 160), "6 tiles"),
        ("grid", b"grid", b"iovl", "'iovl'.*save it as JPEG"),
        ("grid", b"pitm", b"xxxx", "is no picture that can be read"),
        ("plain", struct.pack(">II", 48, 1), struct.pack(">II", 4800, 1), "is no picture that can be read"),
    ],
)
def test_heic_that_claims_what_it_has_not(tmp_path, name, old, new, why):
    with pytest.raises(DecodeError, match=why) as caught:
        probe(patched(tmp_path, name, old, new))
    assert "a.heic" in str(caught.value)


def test_damaged_heic_is_read_or_refused(tmp_path):
    rng, whole = np.random.default_rng(0), 0
    for round_ in range(60):
        data = bytearray((HEIC / ("grid.heic" if round_ % 2 else "turned.heic")).read_bytes())
        for at in rng.integers(12, len(data), 1 + round_ % 8):
            data[at] = rng.integers(256)
        (tmp_path / "a.heic").write_bytes(data[: rng.integers(16, len(data))] if round_ % 3 == 0 else data)
        with suppress(DecodeError):  # and no other error
            whole += probe(tmp_path / "a.heic").is_picture
    assert 0 < whole < 60


MEASURE_REFUSAL = """
import resource, sys
import av, numpy, PIL.Image
from seehear.media.files import VideoSpec, probe, read_window
from seehear.errors import DecodeError
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for read in probe, lambda path: read_window(path, 0, 1, video=VideoSpec(size=64)):
    try:
        read(sys.argv[1])
    except DecodeError as error:
        print(error)
print((peak() - before) // 1024)
"""


def moving_gif(path: Path, width: int, height: int) -> Path:
    """Two frames of one pixel on a screen of any size."""
    frame = b"\x21\xf9\x04\0\x0a\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    screen = struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    path.write_bytes(b"GIF89a" + screen + frame + frame + b";")
    return path


def test_a_moving_gif_of_some_pixels_is_read(tmp_path: Path):
    path = moving_gif(tmp_path / "small.gif", 64, 32)
    assert (probe(path).width, probe(path).is_picture) == (64, False)
    frames = read_window(path, 0, 0.2, video=VideoSpec(num_frames=2)).frames
    assert frames.shape == (2, 32, 64, 3)


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
def test_a_moving_gif_of_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path):
    path = moving_gif(tmp_path / "bomb.gif", 16384, 8191)
    done = subprocess.run([sys.executable, "-c", MEASURE_REFUSAL, path], capture_output=True, text=True, check=True)
    *refusals, megabytes = done.stdout.splitlines()
    assert len(refusals) == 2
    assert all("bomb.gif: its frames have more than 36 million pixels" in line for line in refusals)
    assert int(megabytes) < 200
    assert not done.stderr


def test_a_film_too_large_keeps_its_sound(tmp_path: Path):
    path = tmp_path / "large.mkv"
    with av.open(str(path), "w") as out:
        film, sound = out.add_stream("rawvideo", rate=1), out.add_stream("pcm_s16le", rate=8000, layout="mono")
        film.width, film.height, film.pix_fmt = 16384, 4096, "gray"
        frame = av.VideoFrame(16384, 4096, "gray")
        frame.planes[0].update(bytes(frame.planes[0].buffer_size))
        out.mux(film.encode(frame))
        heard = av.AudioFrame.from_ndarray(np.ones((1, 8000), np.int16), format="s16", layout="mono")
        heard.sample_rate = 8000
        out.mux(sound.encode(heard))
        out.mux(sound.encode(None))
    info = probe(path)
    assert (info.has_video, info.has_audio) == (False, True)
    assert "more than 36 million pixels" in info.errors[0]


def test_a_narrow_film_is_not_enlarged_without_limit(tmp_path: Path):
    path = tmp_path / "narrow.mkv"
    with av.open(str(path), "w") as out:
        film = out.add_stream("ffv1", rate=1)
        film.width, film.height, film.pix_fmt = 4096, 2, "yuv420p"
        for picture in np.zeros((2, 2, 4096, 3), np.uint8):
            out.mux(film.encode(av.VideoFrame.from_ndarray(picture)))
        out.mux(film.encode(None))
    assert read_window(path, 0, 2, video=VideoSpec(num_frames=2)).frames.shape == (2, 2, 4096, 3)
    with pytest.raises(DecodeError, match=r"narrow.mkv: .*4096 x 2 pixels would be enlarged to 458752 x 224: crop"):
        read_window(path, 0, 2, video=VideoSpec(num_frames=2, size=224, fit="crop"))


def jpeg_of_three_scans(path: Path, width: int, height: int) -> Path:
    """Grey, not progressive, with a scan for each component; sides are multiples of 8."""
    small = io.BytesIO()
    Image.new("L", (8, 8)).save(small, "JPEG")
    tables = small.getvalue()
    quantisation = tables[tables.index(b"\xff\xdb") : tables.index(b"\xff\xc0")]
    huffman = tables[tables.index(b"\xff\xc4") : tables.index(b"\xff\xda")]
    components = b"".join(bytes([number, 0x11, 0]) for number in (1, 2, 3))
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + components
    blocks = width * height // 64
    # A block of 6 bits: the difference to the last is 0, and the block ends.
    scans = [
        b"\xff\xda" + struct.pack(">HBBB", 8, 1, number, 0) + b"\0\x3f\0" + b"\x28\xa2\x8a" * (blocks // 4)
        for number in (1, 2, 3)
    ]
    path.write_bytes(b"\xff\xd8" + quantisation + frame + huffman + b"".join(scans) + b"\xff\xd9")
    return path


def test_a_jpeg_of_several_scans_is_read(tmp_path: Path):
    frames = read_window(jpeg_of_three_scans(tmp_path / "a.jpg", 64, 32), 0, 0, video=VideoSpec()).frames
    assert frames.shape == (1, 32, 64, 3)
    assert np.ptp(frames) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit")
def test_a_large_jpeg_of_several_scans_stays_within_600_mb(tmp_path: Path):
    path = jpeg_of_three_scans(tmp_path / "bomb.jpg", 16384, 8184)
    done = subprocess.run([sys.executable, "-c", MEASURE_REFUSAL, path], capture_output=True, text=True, check=True)
    *refusals, megabytes = done.stdout.splitlines()
    assert int(megabytes) < 620
    assert len(refusals) == 2
    assert all("shrink it" in line for line in refusals)


def test_what_libtiff_prints_does_not_reach_the_terminal(tmp_path: Path):
    path = tmp_path / "bad.tif"
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(path, compression="tiff_adobe_deflate")
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(content)
    done = subprocess.run([sys.executable, "-c", MEASURE_REFUSAL, path], capture_output=True, text=True, check=True)
    assert done.stdout.count("bad.tif: is no picture that can be read") == 2
    assert not done.stderr
