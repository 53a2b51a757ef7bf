"""Talking faces: the GRID corpus, 34 speakers with a thousand sentences each of a fixed grammar."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from seehear.datasets.base import ImportOptions, Item, Items
from seehear.datasets.files import Files
from seehear.datasets.media import MediaIndex
from seehear.errors import SeehearError

_SPEAKER = re.compile(r"s\d{1,2}")
_SENTENCE = re.compile(r"([blps])([bgrw])([abiw])([a-z])([z1-9])([anps])")
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_WORDS: dict[str, dict[str, str]] = {
    "command": {"b": "bin", "l": "lay", "p": "place", "s": "set"},
    "color": {"b": "blue", "g": "green", "r": "red", "w": "white"},
    "preposition": {"a": "at", "b": "by", "i": "in", "w": "with"},
    "letter": {},
    "digit": dict(zip("z123456789", _NUMBERS, strict=True)),
    "adverb": {"a": "again", "n": "now", "p": "please", "s": "soon"},
}
"""By the sign in a file's name; letters stand for themselves."""
_UNSEEN = ("s1", "s2", "s20", "s22")
"""Speakers whom the test alone knows, as LipNet parts the corpus."""


def grid(files: Files, options: ImportOptions) -> Items:
    """What is said stands in the names of the files, and nowhere else is a list of them."""
    assert isinstance(files.media, MediaIndex)
    known: set[str] = set()
    for place, path in enumerate(files.media, start=1):
        for key in by_speaker(str(PurePosixPath(path).with_suffix(""))):
            if key not in known:
                known.add(key)
                yield _clip(key, place)
    if not known:
        raise SeehearError(f"{files.media.folder} does not look like GRID: expected {files.importer.media}")


def by_speaker(path: str) -> tuple[str, ...]:
    """'s1/video/mpg_6000/bbaf2n' -> 's1/bbaf2n'; the sentences of all speakers have the same names."""
    *folders, name = path.split("/")
    speaker = next((folder for folder in reversed(folders) if _SPEAKER.fullmatch(folder)), "")
    return (f"{speaker}/{name}",) if speaker and _SENTENCE.fullmatch(name) else ()


def _clip(key: str, place: int) -> Item:
    speaker, name = key.split("/")
    words = {part: said.get(sign, sign) for (part, said), sign in zip(_WORDS.items(), name, strict=True)}
    return Item(
        keys=(key,),
        id=key,
        split="test" if speaker in _UNSEEN else "train",
        group=key,
        start=0.0,
        texts=(" ".join(words.values()),),
        meta={"speaker": speaker} | words,
        table="grid",
        line=place,
    )
