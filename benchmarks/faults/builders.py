"""Small files that cost a careless reader gigabytes, hours or other people's files. Unit tests may use them too."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.library.makers import film, with_subtitles

WIDE, HIGH = 16_384, 8_191
"""134 million pixels: just below the number at which Pillow warns of a bomb, 537 MB as RGBA."""
CALL = "import pathlib; pathlib.Path({mark!r}).touch()\n"

# -- pictures ----------------------------------------------------------------------------------------------------------


def png(*, bits: int = 8, colour: int = 6, frames: int = 1, interlaced: bool = False) -> bytes:
    """A black PNG of WIDE x HIGH; APNG for several frames. Colour 6 is RGBA, 3 a palette, 0 grey."""
    row = 1 + WIDE * bits * {0: 1, 3: 1, 6: 4}[colour] // 8
    packer = zlib.compressobj(9)
    some = bytes(row * 64)
    packed = b"".join([*(packer.compress(some) for _ in range(HIGH // 64 + 1)), packer.flush()])
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", WIDE, HIGH, bits, colour, 0, 0, int(interlaced)))]
    chunks += [(b"PLTE", bytes(3)), (b"tRNS", b"\x80")] if colour == 3 else []
    if frames > 1:
        chunks.append((b"acTL", struct.pack(">II", frames, 0)))
    order = 0
    for n in range(frames):
        if frames > 1:
            chunks.append((b"fcTL", struct.pack(">IIIIIHHBB", order, WIDE, HIGH, 0, 0, 1, 25, 0, 0)))
            order += 1
        chunks.append((b"fdAT", struct.pack(">I", order) + packed) if n else (b"IDAT", packed))
        order += int(n > 0)
    body = (
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in [*chunks, (b"IEND", b"")]
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def webp(frames: int = 1) -> bytes:
    """A lossless WebP of 16,383 x 8,191 pixels of one colour, which take no bits; animated for several frames."""
    wide, high = 16_383, HIGH
    # From the last bit to the first: five prefix codes of one symbol (0001), no transform, cache or meta codes.
    packed = int("0001" * 5 + "000" + "000" + "1" + f"{high - 1:014b}" + f"{wide - 1:014b}", 2)
    frame = _riff(b"VP8L", b"\x2f" + packed.to_bytes(8, "little"))
    if frames == 1:
        return b"RIFF" + struct.pack("<I", 4 + len(frame)) + b"WEBP" + frame
    size = struct.pack("<I", wide - 1)[:3] + struct.pack("<I", high - 1)[:3]
    one = _riff(b"ANMF", bytes(6) + size + b"\x28\0\0\0" + frame)
    body = _riff(b"VP8X", b"\x12\0\0\0" + size) + _riff(b"ANIM", bytes(6)) + one * frames
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def _riff(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def by_pillow(kind: str, mode: str = "RGB", **options: Any) -> bytes:
    """The same size in a format that Pillow writes; `frames` for several."""
    from PIL import Image

    frames, held = options.pop("frames", 1), io.BytesIO()
    first = Image.new(mode, (WIDE, HIGH))
    if frames > 1:
        options |= {"save_all": True, "append_images": [Image.new(mode, (WIDE, HIGH), n) for n in range(1, frames)]}
    first.save(held, kind, **options)
    return held.getvalue()


PICTURES: dict[str, Callable[[], bytes]] = {
    "rgba.png": png,
    "rgba 16 bits.png": lambda: png(bits=16),
    "palette.png": lambda: png(colour=3),
    "grey.png": lambda: png(colour=0),
    "interlaced.png": lambda: png(interlaced=True),
    "animated.png": lambda: png(frames=6),
    "plain.jpg": lambda: by_pillow("JPEG"),
    "progressive.jpg": lambda: by_pillow("JPEG", progressive=True),
    "deflated.tif": lambda: by_pillow("TIFF", "RGBA", compression="tiff_adobe_deflate"),
    "plain.gif": lambda: by_pillow("GIF", "L"),
    "animated.gif": lambda: by_pillow("GIF", "L", frames=3),
    "plain.webp": webp,
    "animated.webp": lambda: webp(frames=20),
}

# -- subtitles ---------------------------------------------------------------------------------------------------------

_ASS = (
    "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, "
    "Effect, Text\nDialogue: 0,0:00:00.00,0:00:00.40,Default,,0,0,0,,{}\n"
)
_SRT, _VTT = "1\n00:00:00,000 --> 00:00:00,400\n{}\n", "WEBVTT\n\n00:00:00.000 --> 00:00:00.400\n{}\n"
TAGS = 20_000
STORMS = {
    "italics.srt": _SRT.format("<i>" * TAGS + "words"),
    "pairs.srt": _SRT.format("<b><i>a</i></b>" * (TAGS // 4)),
    "open.srt": _SRT.format("<" * TAGS + "words"),
    "fonts.srt": _SRT.format('<font color="#ff0000">' * TAGS + "words"),
    "braces.srt": _SRT.format("{\\an8}" * TAGS + "words"),
    "entities.srt": _SRT.format("&amp;" * TAGS),
    "classes.vtt": _VTT.format("<c.a.b>" * TAGS + "words"),
    "times.vtt": _VTT.format("<00:00:00.100>" * TAGS + "words"),
    "overrides.ass": _ASS.format("{\\i1}" * TAGS + "words"),
    "open.ass": _ASS.format("{" * TAGS + "words"),
}


def storm(folder: Path, name: str, *, embedded: bool) -> Path:
    """A film of half a second with a subtitle of one line, beside it or in it."""
    beside = folder / f"film.{name.rpartition('.')[2]}"
    if not embedded:
        beside.write_text(STORMS[name], encoding="utf-8")
        return film(folder / "film.mp4", seconds=0.5, fps=10, audio=None)
    apart = folder.parent / f"{folder.name} parts"
    apart.mkdir()
    (apart / beside.name).write_text(STORMS[name], encoding="utf-8")
    return with_subtitles(folder / "film.mkv", film(apart / "film.mp4", seconds=0.5, fps=10), apart / beside.name)


# -- pickles -----------------------------------------------------------------------------------------------------------


def nested(depth: int, kind: Callable[[list[Any]], Any] = tuple) -> Any:
    """An array in (x, x) in (x, x) ...: `depth` containers, 2**depth paths."""
    value: Any = np.zeros(2, np.float32)
    for _ in range(depth):
        value = kind([value, value])
    return value


def _key(depth: int) -> Any:
    value: Any = (1, 2)
    for _ in range(depth):
        value = (value, value)
    return b"\x80\x02}" + pickle.dumps(value, 2)[2:-1] + b"K\x01s."


PICKLES: dict[str, Callable[[], bytes]] = {
    "nested tuples": lambda: pickle.dumps(nested(60)),
    "nested lists": lambda: pickle.dumps(nested(60, list)),
    "nested tuples as a key": lambda: _key(60),
    "a memo index of 90 million": lambda: b"\x80\x02K\x01r" + struct.pack("<I", 90_000_000) + b".",
    "a memo index of 2**31": lambda: b"\x80\x02K\x01r" + struct.pack("<I", 2**31) + b".",
    "bytes of 8 GB": lambda: b"\x80\x05\x8e" + struct.pack("<Q", 2**33) + b".",
    "a bytearray of 8 GB": lambda: b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b".",
    "a frame of 8 GB": lambda: b"\x80\x04\x95" + struct.pack("<Q", 2**33) + b"K\x01.",
    "a number of 300,000 digits": lambda: b"I" + b"9" * 300_000 + b"\n.",
    "100,000 lists in each other": lambda: b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "doubled text": lambda: b"\x80\x02X\x01\0\0\0aq\0" + b"h\0" * 50 + b"0" * 50 + b".",
}

# -- npz ---------------------------------------------------------------------------------------------------------------

_CHUNK = 16 << 20


def npz(path: Path, member: str, *, columns: int = 128, size: int = 8 * 10**9, held: bool = True) -> Path:
    """An .npz of one array of zeros of about `size` bytes; `held` False: the header alone says so.

    One flushed block of zeros is repeated: deflate allows it, so that a file of 8 GB is written in seconds.
    """
    rows = size // (4 * columns)
    said = io.BytesIO()
    np.lib.format.write_array_header_1_0(said, {"descr": "<f4", "fortran_order": False, "shape": (rows, columns)})
    head = said.getvalue() + (b"" if held else bytes(128))
    chunks = rows * 4 * columns // _CHUNK if held else 0
    rest = rows * 4 * columns % _CHUNK if held else 0
    packer = zlib.compressobj(1, zlib.DEFLATED, -15)
    block = _block(packer)
    first = zlib.compressobj(1, zlib.DEFLATED, -15)
    start = first.compress(head) + first.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(1, zlib.DEFLATED, -15)
    end = last.compress(bytes(rest)) + last.flush()
    checked = zlib.crc32(head)
    for _ in range(chunks):
        checked = zlib.crc32(bytes(_CHUNK), checked)
    checked = zlib.crc32(bytes(rest), checked)
    packed, whole = len(start) + len(block) * chunks + len(end), len(head) + chunks * _CHUNK + rest
    name = f"{member}.npy".encode()
    extra = struct.pack("<HHQQ", 1, 16, whole, packed)
    common = struct.pack("<HHHHHIIIHH", 45, 0, 8, 0, 33, checked, 2**32 - 1, 2**32 - 1, len(name), len(extra))
    with open(path, "wb") as file:
        file.write(b"PK\3\4" + common + name + extra + start)
        for _ in range(chunks):
            file.write(block)
        file.write(end)
        at = file.tell()
        entry = b"PK\1\2" + struct.pack("<H", 45) + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name + extra
        file.write(entry + b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(entry), at, 0))
    return path


def _block(packer: Any) -> bytes:
    """16 MB of zeros that may follow themselves: nothing in it points before its start."""
    return bytes(packer.compress(bytes(_CHUNK)) + packer.flush(zlib.Z_FULL_FLUSH))


# -- h5 ----------------------------------------------------------------------------------------------------------------

H5 = ("external storage", "external link", "virtual dataset", "soft link to an external link", "soft link to storage")
H5 += ("a group that is an external link", "soft link to a virtual dataset")


def h5(path: Path, how: str, other: Path) -> Path:
    """A file whose `features` are the content of another file of the machine."""
    import h5py

    secret = other.with_suffix(".h5")
    with h5py.File(secret, "w") as file:
        file["features"] = np.full((4, 8), 7.0, np.float32)
    name = "hidden" if how.startswith("soft link") else "features"
    with h5py.File(path, "w") as file:
        if how.endswith("storage"):
            file.create_dataset(name, (4, 8), np.uint8, external=[(str(other), 0, 32)])
        elif how.endswith("virtual dataset"):
            layout = h5py.VirtualLayout((4, 8), np.float32)
            layout[:] = h5py.VirtualSource(str(secret), "features", (4, 8))
            file.create_virtual_dataset(name, layout)
        elif how.startswith("a group"):
            file["group"] = h5py.ExternalLink(str(secret), "/")
            file["features"] = h5py.SoftLink("/group/features")
        else:
            file[name] = h5py.ExternalLink(str(secret), "/features")
        if name == "hidden":
            file["features"] = h5py.SoftLink("/hidden")
    return path


# -- hub folders -------------------------------------------------------------------------------------------------------

HUB = ("unknown type", "known type", "code of another folder", "tokenizer", "processor")


def hub(folder: Path, how: str, mark: Path) -> Path:
    """A folder of a transformers model that wants its own code run; the code makes the file `mark`."""
    folder.mkdir(parents=True)
    code = CALL.format(mark=str(mark)) + (
        "from transformers import BertConfig, BertModel, BertTokenizer\n"
        "class Config(BertConfig):\n    model_type = 'evil'\nclass Model(BertModel):\n    pass\n"
        "class Tokens(BertTokenizer):\n    pass\n"
    )
    place = folder
    if how == "code of another folder":
        place = folder.parent / f"{folder.name} code"
        place.mkdir()
    for name in ("configuration_evil.py", "modeling_evil.py", "tokens_evil.py"):
        (place / name).write_text(code)
    before = f"{place}--" if place != folder else ""
    own = {"AutoConfig": f"{before}configuration_evil.Config", "AutoModel": f"{before}modeling_evil.Model"}
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = sizes | {"vocab_size": 16, "max_position_embeddings": 16, "auto_map": own, "architectures": ["Model"]}
    config["model_type"] = "evil" if how in ("unknown type", "code of another folder") else "bert"
    if how in ("tokenizer", "processor"):
        del config["auto_map"]
    (folder / "config.json").write_text(json.dumps(config))
    tokens = {"tokenizer_class": "Tokens", "auto_map": {"AutoTokenizer": ["tokens_evil.Tokens", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokens))
    processor = {"image_processor_type": "Evil", "auto_map": {"AutoImageProcessor": "modeling_evil.Model"}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder
