"""Memory of pictures whose files are small and whose pixels are many."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

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
