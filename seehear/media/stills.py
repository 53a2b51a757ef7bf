"""Still pictures, decoded within a bound of memory: upright, on white."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import DecodeError, require
from seehear.media.container import MAX_PIXELS, opened, reason
from seehear.media.frames import VideoSpec

# Pillow's warnings name no file, and what matters is raised. `catch_warnings` at each call is not safe with threads.
warnings.filterwarnings("ignore", module=r"PIL\.")

_MAGIC = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM", b"II*\0", b"MM\0*")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")
# Memory of one picture while it is decoded, estimated from its header before anything is decoded.
_MOST_BYTES = 580_000_000
# Pixels: pictures up to this size are scaled in one step from all their pixels, larger ones are reduced first.
_LARGE = 2**25
# Pixels that are converted to RGB at once.
_STRIP = 2**22
# Bytes of a pixel in Pillow's memory; 4 for all other modes.
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}
_STDERR = threading.Lock()


def is_picture(path: str | Path) -> bool:
    """Whether a file is a still picture, by its first bytes; an animated GIF is a film. Raises `DecodeError`."""
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read ({reason(error)})") from error
    if head.startswith(b"GIF8"):
        try:
            with require("PIL.Image").open(path) as image:
                return not getattr(image, "is_animated", False)
        # `read_picture` says what is wrong with it.
        except Exception:
            return True
    webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return head.startswith(_MAGIC) or webp or head[4:12] == b"ftypavif" or _is_heif(head)


def _is_heif(head: bytes) -> bool:
    """Whether the first 12 bytes are those of a HEIF picture. Sequences of pictures (`hevc`, `msf1`) are films."""
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
        with open(path, "rb") as head:
            is_heif = _is_heif(head.read(16))
        if is_heif:
            image = _Heif.of(path).decode()
            return image, (image.height, image.width)
        with Image.open(path) as file:
            width, height = file.size
            factor = _fit(path, file, spec)
            with _silent_stderr() if file.format == "TIFF" else nullcontext():
                file.load()
            # EXIF tag 0x0112 is the orientation; 5 to 8 swap height and width.
            turn = Image.Exif()
            turn[0x0112] = file.getexif().get(0x0112, 1)
            image = _on_white(file, factor)
        if turn[0x0112] in (5, 6, 7, 8):
            width, height = height, width
        image.info["exif"] = turn.tobytes()
        return ImageOps.exif_transpose(image), (height, width)
    except DecodeError:
        raise
    # Pillow raises whatever its readers trip over.
    except Exception as error:
        raise DecodeError(f"{path}: is no picture that can be read ({reason(error)})") from error


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Keeps libtiff's messages off the terminal: they do not name the file, and Pillow raises the errors."""
    # The C library writes to the descriptor, which all threads share.
    with _STDERR, open(os.devnull, "wb") as nowhere:
        try:
            stderr = os.dup(2)
        # There is no terminal.
        except OSError:
            yield
            return
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _fit(path: str | Path, file: Any, spec: VideoSpec) -> int:
    """Factor to reduce a picture by after decoding. Raises `DecodeError` where it needs too much memory."""
    width, height = file.size
    if width * height > MAX_PIXELS:
        raise DecodeError(
            f"{path}: {width} x {height} pixels are too many: shrink it to {MAX_PIXELS / 1e6:.0f} million"
        )
    tall, wide = spec.shape(height, width)
    # Both orientations count: EXIF data, which may turn the picture, are not read yet.
    side = max(spec.shape(width, height))
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
    _check_memory(path, width, height, need)
    return factor


def _check_memory(path: str | Path, width: int, height: int, need: int) -> None:
    if need > _MOST_BYTES:
        raise DecodeError(
            f"{path}: {width} x {height} pixels need {need / 1e6:,.0f} MB to read, and a picture may need"
            f" {_MOST_BYTES / 1e6:.0f} MB: shrink it, or save it as JPEG"
        )


def _decoder_bytes(file: Any) -> int:
    """Memory that the decoder of a format holds besides the picture, in bytes."""
    pixels = file.width * file.height
    if file.format == "WEBP":
        # Two canvases, and a copy of one.
        return 14 * pixels
    if file.format == "AVIF":
        # Planes of up to 16 bits, and a copy.
        return 12 * pixels
    if file.format in ("JPEG", "MPO") and _has_several_scans(file):
        parts = [h * v for _, h, v, _ in file.layer]
        # All coefficients, whatever is read of them.
        return 2 * pixels * sum(parts) // max(parts)
    if file.format == "TIFF":
        bits = sum(file.tag_v2.get(258, (1,)))
        rows = min(file.tag_v2.get(278, file.tag_v2.get(323, file.height)), file.height)
        turned = pixels * 4 if file.tag_v2.get(274, 1) != 1 else 0
        # A strip, or a row of tiles.
        return max(turned, bits * file.width * rows // 8)
    return 0


def _has_several_scans(jpeg: Any) -> bool:
    """Whether a JPEG is progressive, or its first scan lacks some of the components."""
    if jpeg.info.get("progressive"):
        return True
    at = jpeg.fp.tell()
    try:
        jpeg.fp.seek(2)
        # To the start of the first scan.
        while (marker := jpeg.fp.read(2)) != b"\xff\xda":
            if marker[:1] != b"\xff":
                # Of an order that Pillow alone understands: the most that it may need.
                return True
            # Padding.
            if marker[1] == 0xFF:
                jpeg.fp.seek(-1, os.SEEK_CUR)
                continue
            jpeg.fp.seek(int.from_bytes(jpeg.fp.read(2), "big") - 2, os.SEEK_CUR)
        return int.from_bytes(jpeg.fp.read(3)[2:], "big") < len(jpeg.layer)
    finally:
        jpeg.fp.seek(at)


def _on_white(image: Any, factor: int) -> Any:
    """RGB picture on white, reduced by a factor."""
    # Strip by strip: a second copy of a large picture would not fit in memory.
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


# -- HEIC and HEIF -----------------------------------------------------------------------------------------------------

# ISO/IEC 23008-12. libav decodes the tiles, the boxes of the file say how these make the picture: it is one coded item,
# or a grid of them (every telephone's), then cropped, turned and mirrored. Alpha and depth are other items, not read.

# Bytes at the start of a file that are searched for its `meta` box.
_HEAD = 2**20


@dataclass(frozen=True)
class _Heif:
    """The main picture of a file, as its boxes describe it."""

    path: str | Path
    width: int
    """Pixels before cropping and turning."""
    height: int
    tiles: tuple[int, ...]
    """Items that make the picture, row by row; libav's streams have their numbers as ids."""
    changes: tuple[tuple[bytes, bytes], ...]
    """Properties `clap`, `irot` and `imir`, in the order in which they apply."""

    @classmethod
    def of(cls, path: str | Path) -> _Heif:
        with open(path, "rb") as file:
            meta = dict(_boxes(dict(_boxes(file.read(_HEAD)))[b"meta"][4:]))
        main = _number(meta[b"pitm"], 4, 4 if meta[b"pitm"][0] else 2)
        kind = _kinds(meta[b"iinf"])[main]
        if kind not in (b"hvc1", b"av01", b"grid"):
            raise DecodeError(f"{path}: a HEIF picture of kind {kind.decode('latin1')!r} is not read: save it as JPEG")
        properties = _properties(dict(_boxes(meta[b"iprp"])), main)
        size = dict(properties)[b"ispe"]
        tiles = _parts(meta[b"iref"], main) if kind == b"grid" else (main,)
        changes = tuple((kind, body) for kind, body in properties if kind in (b"clap", b"irot", b"imir"))
        return cls(path, _number(size, 4, 4), _number(size, 8, 4), tiles, changes)

    def decode(self) -> Any:
        """An RGB image of Pillow, upright. Raises `DecodeError` where it needs more memory than allowed."""
        Image = require("PIL.Image")
        with opened(self.path) as media:
            streams = {s.id: s for s in media.container.streams.video if s.codec_context and s.id in self.tiles}
            if set(streams) != set(self.tiles):
                raise DecodeError(f"{self.path}: {len(streams)} of {len(self.tiles)} tiles are there")
            wide, tall = streams[self.tiles[0]].width, streams[self.tiles[0]].height
            columns, rows = -(-self.width // wide), -(-self.height // tall)
            sizes = [s.width * s.height for s in streams.values()]
            # The picture and a turned copy; what every decoder keeps; a tile in YUV and RGB.
            need = 8 * self.width * self.height + 3 * sum(sizes) + 9 * max(sizes)
            _check_memory(self.path, self.width, self.height, need)
            if columns * rows != len(self.tiles):
                raise DecodeError(
                    f"{self.path}: {len(self.tiles)} tiles do not make {self.width} x {self.height} pixels"
                )
            image = Image.new("RGB", (self.width, self.height))
            for i, item in enumerate(self.tiles):
                media.container.seek(0, stream=streams[item])
                frames = (frame for packet in media.packets(streams[item]) for frame in packet.decode())
                if (tile := next(frames, None)) is None:
                    raise DecodeError(f"{self.path}: a part of the picture cannot be decoded")
                image.paste(tile.to_image(), (i % columns * wide, i // columns * tall))
        for kind, body in self.changes:
            image = _changed(image, kind, body)
        return image


def _changed(image: Any, kind: bytes, body: bytes) -> Any:
    """The image cropped (`clap`), turned anticlockwise (`irot`) or mirrored (`imir`)."""
    turn = require("PIL.Image").Transpose
    if kind == b"imir":
        return image.transpose(turn.FLIP_LEFT_RIGHT if body[0] & 1 else turn.FLIP_TOP_BOTTOM)
    if kind == b"irot":
        angle = body[0] & 3
        return image.transpose((turn.ROTATE_90, turn.ROTATE_180, turn.ROTATE_270)[angle - 1]) if angle else image
    numbers = [int.from_bytes(body[i : i + 4], "big", signed=True) for i in range(0, 32, 4)]
    wide, tall, right, down = (numbers[i] / numbers[i + 1] for i in range(0, 8, 2))
    left, top = round((image.width - wide) / 2 + right), round((image.height - tall) / 2 + down)
    box = left, top, left + round(wide), top + round(tall)
    if not (0 <= left < box[2] <= image.width and 0 <= top < box[3] <= image.height):
        raise ValueError("it is cropped to what lies outside of it")
    return image.crop(box)


def _number(data: bytes, at: int, size: int) -> int:
    if len(data) < at + size:
        raise ValueError("a box is too short")
    return int.from_bytes(data[at : at + size], "big")


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of the boxes that follow each other."""
    at = 0
    while at + 8 <= len(data):
        size, head = _number(data, at, 4), 8
        if size == 1:
            size, head = _number(data, at + 8, 8), 16
        size = size or len(data) - at
        if size < head:
            raise ValueError("a box is shorter than its head")
        yield data[at + 4 : at + 8], data[at + head : at + size]
        at += size


def _kinds(iinf: bytes) -> dict[int, bytes]:
    """The kind of each item."""
    kinds = {}
    for _, entry in _boxes(iinf[8 if iinf[0] else 6 :]):
        width = 4 if entry[0] > 2 else 2
        kinds[_number(entry, 4, width)] = entry[6 + width : 10 + width]
    return kinds


def _parts(iref: bytes, item: int) -> tuple[int, ...]:
    """The items that an item is derived from, in order."""
    width = 4 if iref[0] else 2
    for kind, body in _boxes(iref[4:]):
        if kind == b"dimg" and _number(body, 0, width) == item:
            count, ids = _number(body, width, 2), body[width + 2 :]
            return tuple(_number(ids, i * width, width) for i in range(count))
    raise ValueError("a grid has no tiles")


def _properties(iprp: dict[bytes, bytes], item: int) -> list[tuple[bytes, bytes]]:
    """(kind, content) of the properties of an item, in the order of the file."""
    every, ipma = list(_boxes(iprp[b"ipco"])), iprp[b"ipma"]
    width, large = 4 if ipma[0] else 2, ipma[3] & 1
    at = 8
    for _ in range(_number(ipma, 4, 4)):
        owner, count = _number(ipma, at, width), _number(ipma, at + width, 1)
        at += width + 1
        step = 2 if large else 1
        places = [_number(ipma, at + i * step, step) & (0x7FFF if large else 0x7F) for i in range(count)]
        if owner == item:
            return [every[place - 1] for place in places if place]
        at += count * step
    raise ValueError("the main picture has no properties")
