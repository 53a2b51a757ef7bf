"""Media files damaged by a seeded generator: bits flipped, parts cut out, doubled or blanked, heads exchanged."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import av

from tests.library.makers import film, picture, sound

Change = Callable[[bytearray, random.Random, list[bytes]], bytes]


def originals(folder: Path) -> list[Path]:
    """Small files of five kinds, of a few KB each."""
    folder.mkdir(parents=True, exist_ok=True)
    film(folder / "film.mp4", seconds=0.6, fps=10, rate=16_000)
    _matroska(folder / "film.mkv", folder / "film.mp4")
    sound(folder / "sound.wav", seconds=0.2, rate=16_000)
    picture(folder / "picture.png")
    picture(folder / "picture.jpg")
    return sorted(folder.iterdir())


def _matroska(path: Path, media: Path) -> None:
    """The same streams, without the random numbers that Matroska files get."""
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as out, av.open(str(media)) as film_in:
        streams = {s.index: out.add_stream_from_template(s) for s in film_in.streams}
        for packet in film_in.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                out.mux(packet)


def flip(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    """One bit, or many."""
    for _n in range(chance.choice([1, 3, 10, 100])):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return bytes(content)


def flip_head(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    """Part of the file that declares sizes, times and codecs."""
    for _n in range(chance.choice([1, 2, 5])):
        content[chance.randrange(min(200, len(content)))] ^= 1 << chance.randrange(8)
    return bytes(content)


def flip_tail(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    """Position of the tables of an MP4."""
    for _n in range(chance.choice([1, 2, 5])):
        content[-chance.randrange(1, min(2000, len(content)))] ^= 1 << chance.randrange(8)
    return bytes(content)


def extreme(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    """Four bytes become the largest or the smallest number."""
    at = chance.randrange(max(1, len(content) - 4))
    content[at : at + 4] = chance.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\x00\x00\x00", b"\x80\0\0\0"])
    return bytes(content)


def cut(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    """An end that is missing, to nothing at all."""
    return bytes(content[: chance.randrange(len(content))])


def cut_out(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    begin, end = sorted(chance.randrange(len(content)) for _n in range(2))
    return bytes(content[:begin] + content[end:])


def doubled(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    begin, end = sorted(chance.randrange(len(content)) for _n in range(2))
    return bytes(content[:end] + content[begin:])


def blanked(content: bytearray, chance: random.Random, _: list[bytes]) -> bytes:
    """Content of a block lost by a disk."""
    begin = chance.randrange(len(content))
    end = min(len(content), begin + chance.choice([16, 512, 4096]))
    content[begin:end] = bytes(end - begin)
    return bytes(content)


def head_of_another(content: bytearray, chance: random.Random, others: list[bytes]) -> bytes:
    size = chance.choice([4, 12, 64, 512])
    return chance.choice(others)[:size] + bytes(content[size:])


CHANGES: tuple[Change, ...] = (
    *(flip, flip, flip_head, flip_head, flip_tail, extreme, extreme, cut),
    *(cut_out, doubled, blanked, head_of_another),
)


def mutants(folder: Path, *, count: int, seed: int, first: int = 0) -> list[Path]:
    """Files number `first` to `first + count` of the endless row that belongs to a seed."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [(path, path.read_bytes()) for path in originals(folder.parent / "originals")]
    made = []
    for number in range(first, first + count):
        chance = random.Random(f"{seed} {number}")
        path, content = chance.choice(sources)
        change = chance.choice(CHANGES)
        mutant = folder / f"{number:05d} {change.__name__}{path.suffix}"
        mutant.write_bytes(change(bytearray(content), chance, [other for _, other in sources]))
        made.append(mutant)
    return made
