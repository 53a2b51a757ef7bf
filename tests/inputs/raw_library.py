"""Libraries of small media for tests of the raw path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from seehear.inputs.raw import RawConfig, load_raw
from seehear.inputs.raw.text import library_vocabulary
from seehear.library.tables import Clip, LibraryTables, Source, Text
from tests.library.makers import film

TINY = RawConfig(frames=4, fps=5, size=16, rate=8000, contexts=3, words=4)
PLAIN = replace(TINY, crop=(1, 1), aspect=(1, 1), flip=0, jitter=0, noise=0)
LINES = [(0.0, 1.0, "one dog"), (1.0, 2.0, "two dogs"), (2.0, 3.0, "three dogs"), (5.0, 6.0, "more dogs")]


def clip(id: str, **what) -> Clip:
    given = {"source": f"{id}.mp4", "end": 4.0, "has_video": True, "has_audio": True, "texts": (Text("a dog"),)}
    return Clip(id=id, **(given | what))


def library(folder, media, clips) -> LibraryTables:
    made = LibraryTables.create(folder / "lib")
    made.add_root(media)
    made.put_clips(clips)
    ends = {}
    for c in clips:
        for source in {c.source, c.audio_source} - {""}:
            ends[source] = max(ends.get(source, 0.0), c.end)
    made.put_sources(
        [Source(source=s, size=1, mtime_ns=1, fingerprint="", duration=6.0 if s == "long.mp4" else e)
         for s, e in ends.items()]
    )  # fmt: skip
    return made


def long_library(folder: Path) -> LibraryTables:
    """Four lines of one recording of 6 s, and a film of 4 s."""
    film(folder / "plain.mp4", gop=100)
    film(folder / "long.mp4", seconds=6.0)
    lines = [
        clip(f"line{n}", source="long.mp4", start=a, end=b, texts=(Text(said, a, b),))
        for n, (a, b, said) in enumerate(LINES)
    ]
    return library(folder, folder, [*lines, clip("plain")])


def load(library, config=TINY, **options):
    return load_raw(library, config, vocabulary=library_vocabulary(library), **options)


def unread_files(said):
    """Names of the media that a run listed on standard error as not readable."""
    return {line.split(": ")[0].rsplit("/", 1)[1] for line in said.splitlines() if "the run goes on" in line}


def words_of(vocabulary, numbers):
    """The words behind some numbers, without padding."""
    names = ("", "<unknown>", *vocabulary.words)
    return " ".join(names[int(n)] for n in numbers if n)


def rows(data):
    return {name: n for n, name in enumerate(data.ids)}


def same(a, b):
    assert a.keys() == b.keys()
    for k in a:
        assert torch.equal(a[k], b[k]), k
