"""HEIC and HEIF pictures: libav decodes their tiles, and the boxes of the file say how these make the picture.

ISO/IEC 23008-12. A picture is one coded item, or a grid of them (every telephone's), then cropped, turned and mirrored
by properties of the item. Alpha and depth are other items, and are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.errors import DecodeError, require
from seehear.media.container import opened

_HEAD = 2**20
"""Bytes at the start of a file that are searched for its `meta` box."""


@dataclass(frozen=True)
class Heif:
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
    def of(cls, path: str | Path) -> Heif:
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

    def decode(self, most_bytes: int) -> Any:
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
            if need > most_bytes:
                raise DecodeError(
                    f"{self.path}: {self.width} x {self.height} pixels need {need / 1e6:,.0f} MB to read, and a picture"
                    f" may need {most_bytes / 1e6:.0f} MB: shrink it, or save it as JPEG"
                )
            if columns * rows != len(self.tiles):
                raise DecodeError(
                    f"{self.path}: {len(self.tiles)} tiles do not make {self.width} x {self.height} pixels"
                )
            image = Image.new("RGB", (self.width, self.height))
            for i, item in enumerate(self.tiles):
                image.paste(self._tile(media, streams[item]), (i % columns * wide, i // columns * tall))
        for kind, body in self.changes:
            image = _changed(image, kind, body)
        return image

    def _tile(self, media: Any, stream: Any) -> Any:
        media.container.seek(0, stream=stream)
        for packet in media.packets(stream):
            for frame in packet.decode():
                return frame.to_image()
        raise DecodeError(f"{self.path}: a part of the picture cannot be decoded")


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


# -- boxes -------------------------------------------------------------------------------------------------------------


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
