"""Still pictures, decoded within a bound of memory: upright, on white."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import MAX_PIXELS, reason
from seehear.media.frames import VideoSpec
from seehear.media.heif import Heif

# Pillow's warnings name no file, and what matters is raised. `catch_warnings` at each call is not safe with threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
_MOST_BYTES = 580_000_000
"""Memory of one picture while it is decoded, estimated from its header before anything is decoded."""
_LARGE = 2**25
"""Pixels: pictures up to this size are scaled in one step from all their pixels, larger ones are reduced first."""
_STRIP = 2**22
"""Pixels that are converted to RGB at once."""
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
"""Bytes of a pixel in Pillow's memory; 4 for all other modes."""
_STDERR = threading.Lock()


def is_picture(path: str | Path) -> bool:
    """By its first bytes, whatever its name. A GIF that moves is a film."""
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(b"GIF8"):
        try:
            with require("PIL.Image").open(path) as image:
                return not getattr(image, "is_animated", False)
        except Exception:  # `read_picture` says what is wrong with it
            return True
    webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return head.startswith(_MAGIC) or webp or head[4:12] == b"ftypavif" or is_heif(head)


def is_heif(head: bytes) -> bool:
    """By the first 12 bytes. Sequences of pictures (`hevc`, `msf1`) are films."""
    return head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS


def picture_size(path: str | Path) -> tuple[int, int]:
    """(height, width), upright, of a picture that can be decoded."""
    return _decoded(path, VideoSpec(size=64))[1]


def read_picture(path: str | Path, spec: VideoSpec) -> np.ndarray:
    """(1, H, W, 3) uint8: upright as its EXIF data asks, on white where it is transparent."""
    image, size = _decoded(path, spec)
    tall, wide = spec.shape(*size)
    if (wide, tall) != image.size:
        image = image.resize((wide, tall), require("PIL.Image").Resampling[spec.interpolation.upper()])
    return np.ascontiguousarray(spec.cut(np.asarray(image)))[None]


def _decoded(path: str | Path, spec: VideoSpec) -> tuple[Any, tuple[int, int]]:
    """(RGB image, perhaps smaller than the file's but large enough for `spec`; upright (height, width) of the file)."""
    Image, ImageOps = require("PIL.Image"), require("PIL.ImageOps")
    try:
        with open(path, "rb") as opened:
            heif = is_heif(opened.read(16))
        if heif:
            image = Heif.of(path).decode(_MOST_BYTES)
            return image, (image.height, image.width)
        with Image.open(path) as file:
            width, height = file.size
            factor = _fit(path, file, spec)
            with _silent_stderr() if file.format == "TIFF" else nullcontext():
                file.load()
            turn = Image.Exif()
            turn[0x0112] = file.getexif().get(0x0112, 1)
            image = _on_white(file, factor)
        if turn[0x0112] in (5, 6, 7, 8):
            width, height = height, width
        image.info["exif"] = turn.tobytes()
        return ImageOps.exif_transpose(image), (height, width)
    except DecodeError:
        raise
    except Exception as error:  # Pillow raises whatever its readers trip over
        raise DecodeError(f"{path}: is no picture that can be read ({reason(error)})") from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Nothing of what libtiff prints, which does not name the file, reaches the terminal. Pillow raises its errors."""
    with _STDERR, open(os.devnull, "wb") as nowhere:
        try:
            stderr = os.dup(2)
        except OSError:  # there is no terminal
            yield
            return
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _fit(path: str | Path, file: Any, spec: VideoSpec) -> int:
    """The factor to reduce a picture by after decoding. Raises `DecodeError` where it needs too much memory."""
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise DecodeError(
            f"{path}: {width} x {height} pixels are too many: shrink it to {MAX_PIXELS / 1e6:.0f} million"
        )
    tall, wide = spec.shape(height, width)
    side = max(spec.shape(width, height))  # EXIF data, which may turn the picture, are not read yet
    work = _decoder_bytes(file)
    if width * height > _LARGE and file.format in ("JPEG", "MPO"):
        file.draft(None, (2 * max(wide, side), 2 * max(wide, side)))
    pixels, factor = file.width * file.height, 1
    if pixels > _LARGE:
        turned = spec.shape(file.width, file.height)
        upright = spec.shape(file.height, file.width)
        factor = max(1, min(file.width // (2 * upright[1]), file.height // (2 * upright[0])))
        factor = min(factor, max(1, min(file.height // (2 * turned[1]), file.width // (2 * turned[0]))))
    native, reduced = pixels * _BYTES.get(file.mode, 4), pixels // factor**2
    need = max(native + work, native + 4 * reduced, 10 * reduced, 10 * tall * wide)
    if need > _MOST_BYTES:
        raise DecodeError(
            f"{path}: {width} x {height} pixels need {need / 1e6:,.0f} MB to read, and a picture may need"
            f" {_MOST_BYTES / 1e6:.0f} MB: shrink it, or save it as JPEG"
        )
    return factor


def _decoder_bytes(file: Any) -> int:
    """What the decoder of a format holds besides the picture."""
    pixels = file.width * file.height
    if file.format == "WEBP":
        return 14 * pixels  # two canvases, and a copy of one
    if file.format == "AVIF":
        return 12 * pixels  # planes of up to 16 bits, and a copy
    if file.format in ("JPEG", "MPO") and _has_several_scans(file):
        parts = [h * v for _, h, v, _ in file.layer]
        return 2 * pixels * sum(parts) // max(parts)  # all coefficients, whatever is read of them
    if file.format == "TIFF":
        bits = sum(file.tag_v2.get(258, (1,)))
        rows = min(file.tag_v2.get(278, file.tag_v2.get(323, file.height)), file.height)
        turned = pixels * 4 if file.tag_v2.get(274, 1) != 1 else 0
        return max(turned, bits * file.width * rows // 8)  # a strip, or a row of tiles
    return 0


def _has_several_scans(jpeg: Any) -> bool:
    """Whether a JPEG is progressive, or its first scan lacks some of the components."""
    if jpeg.info.get("progressive"):
        return True
    at = jpeg.fp.tell()
    try:
        jpeg.fp.seek(2)
        while (marker := jpeg.fp.read(2)) != b"\xff\xda":  # start of scan
            if marker[:1] != b"\xff":
                return True  # of an order that Pillow alone understands: the most that it may need
            if marker[1] == 0xFF:  # padding
                jpeg.fp.seek(-1, os.SEEK_CUR)
                continue
            jpeg.fp.seek(int.from_bytes(jpeg.fp.read(2), "big") - 2, os.SEEK_CUR)
        return int.from_bytes(jpeg.fp.read(3)[2:], "big") < len(jpeg.layer)
    finally:
        jpeg.fp.seek(at)


def _on_white(image: Any, factor: int) -> Any:
    """RGB, reduced by a factor, strip by strip: a second copy of a large picture would not fit."""
    Image = require("PIL.Image")
    if image.mode == "RGB" and not image.has_transparency_data and factor == 1:
        return image.copy() if image.width * image.height <= _STRIP else image
    out = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    step = max(1, _STRIP // image.width // factor) * factor
    for top in range(0, image.height, step):
        strip = image.crop((0, top, image.width, min(top + step, image.height)))
        if strip.has_transparency_data:
            layer = strip.convert("RGBA")
            strip = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
        strip = strip.convert("RGB")
        out.paste(strip.reduce(factor) if factor > 1 else strip, (0, top // factor))
    return out
