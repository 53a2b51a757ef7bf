"""A library whose test split holds copies of training clips, each hidden in another way."""

from __future__ import annotations

import json
import wave
from dataclasses import replace

import numpy as np
import pytest

from seehear.cli import main
from seehear.errors import SeehearError
from seehear.library.tables import Clip, LibraryTables, Source, Text
from seehear.studies.leakage import check_leakage
from tests.studies.test_fingerprints import picture, tune

RATE = 11_024


def write_sound(path, samples):
    """At twice the rate that fingerprints are taken of."""
    whole = np.repeat(samples, 2) / np.abs(samples).max()
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((20_000 * whole).astype("<i2").tobytes())


def write_picture(path, frame, size):
    from PIL import Image

    Image.fromarray(frame).resize((size, size)).save(path)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leakage")
    made = LibraryTables.create(folder / "lib")
    made.add_root(folder)
    clips, sources = [], []
    for n in range(12):
        split = "train" if n < 6 else "val" if n < 8 else "test"
        write_sound(folder / f"s{n}.wav", tune(n))
        write_picture(folder / f"p{n}.png", picture(n), 300)
        shared = {"split": split, "group": f"g{n}"}
        clips.append(Clip(id=f"s{n}", source=f"s{n}.wav", end=6.0, has_audio=True, **shared))
        clips.append(Clip(id=f"p{n}", source=f"p{n}.png", has_video=True, texts=(Text(f"thing {n}"),), **shared))
    write_sound(folder / "copy.wav", 0.4 * tune(2)[5512 : 5 * 5512])
    write_picture(folder / "copy.jpg", picture(4), 150)
    clips += [
        Clip(id="quiet", source="copy.wav", end=4.0, has_audio=True, split="test", group="a"),
        Clip(id="small", source="copy.jpg", has_video=True, split="test", group="b"),
        Clip(id="words", texts=(Text("  Thing  5 "),), split="test", group="c"),
        replace(clips[0], id="again", split="test", group="d"),
        Clip(id="near", source="s11.wav", start=1.0, end=2.0, has_audio=True, split="test", group="g3"),
    ]
    sources = [
        Source(source=s, size=1, mtime_ns=1, fingerprint=f"f-{s}") for s in {c.source for c in clips if c.source}
    ]
    made.put_clips(clips)
    made.put_sources(sources)
    return made


def kinds(report):
    return {(leak.kind, leak.test, leak.train) for leak in report.leaks}


def test_names_files_words_and_recordings(library, capsys):
    report = check_leakage(library)
    assert kinds(report) == {("file", "again", "s0"), ("text", "words", "p5"), ("recording", "near", "p3")}
    assert report.clips == 13
    assert "latents are not compared" in capsys.readouterr().err


def test_pictures_and_sounds_that_were_changed(library):
    report = check_leakage(library, media=True, workers=0)
    found = {k for k in kinds(report) if k[0].startswith("same")}
    assert found == {
        ("same sound", "quiet", "s2"),
        ("same sound", "again", "s0"),
        ("same picture", "small", "p4"),
    }
    assert {leak.score > 0.75 for leak in report.leaks} == {True}


def test_the_command(library, capsys):
    assert main(["leakage", library.uri]) == 0
    assert "3 of 13 clips were found among the training clips" in capsys.readouterr().out
    assert main(["leakage", library.uri, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["affected"] == {"file": 1, "recording": 1, "text": 1}


def test_what_cannot_be_compared_is_told(library, tmp_path):
    with pytest.raises(SeehearError, match="did you mean 'test'"):
        check_leakage(library, split="tests")
    with pytest.raises(SeehearError, match="nothing to compare"):
        check_leakage(LibraryTables.create(tmp_path / "empty"))
