"""Memory of pictures whose files are small and whose pixels are many."""

import struct
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from seehear.data.media import VideoSpec, probe, read_window
from seehear.errors import DecodeError

MEASURE = """
import resource, sys
import numpy, PIL.Image
from seehear.data.media import VideoSpec, probe, read_window
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
info = probe(sys.argv[1])
frames = read_window(sys.argv[1], 0, 0, video=VideoSpec(num_frames=1, size=64)).frames
print(info.width, info.height, *frames.shape, (peak() - before) // 1024)
"""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


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
