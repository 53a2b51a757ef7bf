"""What an evaluation is shown, and the sentences around a clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.inputs.raw import load_raw
from seehear.inputs.raw.reading import ClipReader
from seehear.inputs.raw.text import learn_vocabulary, library_vocabulary, sentences_of
from seehear.library.tables import Text
from tests.inputs.raw_library import LINES, PLAIN, clip, library, load, long_library, rows, same, words_of
from tests.library.makers import film, grey


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return long_library(tmp_path_factory.mktemp("long"))


# -- evaluation --------------------------------------------------------------------------------------------------------


def test_views_know_no_chance(long):
    data = load(long)
    one, many = data.views(), data.views(windows=3, crops=2)
    n = rows(data)["plain"]
    same(one.batch(torch.tensor([n]), seed=1, epoch=1), one.batch(torch.tensor([n]), seed=2, epoch=5))
    batch = many.batch(torch.arange(6 * n, 6 * n + 6))
    assert torch.equal(batch["audio"][0], batch["audio"][1])
    assert not torch.equal(batch["audio"][0], batch["audio"][2])
    starts = [batch["video"][i, 0].float().mean() for i in (0, 2, 4)]
    expected = [grey(5 * k + 2) for k in (0, 8, 16)]
    assert all(abs(float(a) - b) < 4 for a, b in zip(starts, expected, strict=True))
    assert batch["group"].tolist() == [int(data.groups[n])] * 6
    assert torch.equal(many.groups, data.groups.repeat_interleave(6))
    with pytest.raises(SeehearError, match="must be at least 1; got 0 and 1"):
        data.views(windows=0)


def test_crops_of_a_window_are_read_once(long, monkeypatch):
    data = load(long).views(windows=2, crops=3)
    alone = [data.batch(torch.tensor([n])) for n in range(6)]
    calls, read = [], ClipReader.__call__

    def counted(self, span, asked):
        calls.append(span)
        return read(self, span, asked)

    monkeypatch.setattr(ClipReader, "__call__", counted)
    together = data.batch(torch.arange(6))
    assert len(calls) == 2
    for m in ("video", "audio"):
        assert torch.equal(together[m], torch.cat([one[m] for one in alone]))


def test_a_region_and_all_of_a_picture(tmp_path):
    """Left half red, right half blue: a part of it is cut out first; all of it is squeezed where that is asked."""
    from PIL import Image

    halves = np.zeros((40, 80, 3), np.uint8)
    halves[:, :40, 0], halves[:, 40:, 2] = 200, 200
    Image.fromarray(halves).save(tmp_path / "halves.png")
    made = library(tmp_path, tmp_path, [clip("halves", source="halves.png", end=0.0, has_audio=False)])
    config = replace(PLAIN, modalities=("video", "text"))

    def shown(**changed):
        return load(made, replace(config, **changed)).views().batch(torch.tensor([0]))["video"][0, 0].int()

    assert (shown(region=(0.0, 0.5, 1.0, 1.0)) - torch.tensor([0, 0, 200])).abs().max() <= 5
    assert (shown(region=(0.5, 0.0, 1.0, 0.25)) - torch.tensor([200, 0, 0])).abs().max() <= 2
    squeezed, middle = shown(squash=True), shown()
    for picture_HWC in (squeezed, middle):
        assert (picture_HWC[:, :6] - torch.tensor([200, 0, 0])).abs().max() <= 2
        assert (picture_HWC[:, 10:] - torch.tensor([0, 0, 200])).abs().max() <= 2
    narrow = Image.fromarray(halves[:, 30:])
    narrow.save(tmp_path / "halves.png")
    assert int(shown(squash=True)[0, 2, 0]) > 150, "red is a fifth of the picture"
    assert int(shown()[0, 2, 2]) > 100, "and an eighth of the square in its middle"


# -- sentences ---------------------------------------------------------------------------------------------------------


def test_the_sentences_around_a_clip(long):
    """Its own, then the nearest in time; of a clip alone in its recording its own alone."""
    data, vocabulary = load(long).views(), library_vocabulary(long)
    batch, at = data.batch(torch.arange(len(data))), rows(data)
    said = {name: [words_of(vocabulary, row.tolist()) for row in batch["text"][n]] for name, n in at.items()}
    assert said["line0"] == ["one dog", "two dogs", "three dogs"]
    assert said["line1"] == ["two dogs", "one dog", "three dogs"]
    assert said["line3"] == ["more dogs", "three dogs", "two dogs"]
    assert said["plain"] == ["a dog", "", ""]
    alone = data.take([at["line2"]])
    assert torch.equal(alone.batch(torch.tensor([0]))["text"][0], batch["text"][at["line2"]])


def test_the_lines_of_a_long_clip_follow_its_window(tmp_path):
    """Own lines first, those nearest to what is shown before others; captions without times in any order."""
    lines = tuple(Text(said, a, b) for a, b, said in LINES)
    captions = tuple(Text(said) for said in ("a", "b", "c", "d", "e"))
    film(tmp_path / "long.mp4", seconds=6.0)
    film(tmp_path / "plain.mp4")
    clips = [clip("lines", source="long.mp4", end=6.0, texts=lines), clip("plain", texts=captions)]
    made = library(tmp_path, tmp_path, clips)
    vocabulary = library_vocabulary(made)
    data = load_raw(made, replace(PLAIN, contexts=2), vocabulary=vocabulary)
    first, last = (data.views(windows=2).batch(torch.tensor([n]))["text"][0] for n in (0, 1))
    assert [words_of(vocabulary, row) for row in first.tolist()] == ["one dog", "two dogs"]
    assert [words_of(vocabulary, row) for row in last.tolist()] == ["more dogs", "three dogs"]
    drawn = {words_of(vocabulary, data.batch(torch.tensor([1]), epoch=e)["text"][0, 0].tolist()) for e in range(30)}
    assert drawn == {"a", "b", "c", "d", "e"}
    assert words_of(vocabulary, data.views().batch(torch.tensor([1]))["text"][0, 0].tolist()) == "a"


words = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1, max_size=3).map(" ".join)
lines = st.lists(st.tuples(words, st.floats(0, 9), st.booleans(), st.integers(0, 5)), max_size=12)


@given(lines=lines, middle=st.floats(0, 10), count=st.integers(1, 6))
def test_sentences_against_a_slow_search(lines, middle, count):
    """Six clips of two recordings with any texts: their own first, then the nearest of the recording, none twice."""
    vocabulary = learn_vocabulary(["a b c d"])
    clips = []
    for n in range(6):
        texts = tuple(Text(said, at, at + 1) if timed else Text(said) for said, at, timed, m in lines if m == n)
        clips.append(clip(str(n), start=n % 3 * 3.0, end=n % 3 * 3.0 + 3, texts=texts))
    made = sentences_of(clips, np.arange(6) // 3, vocabulary, 3)
    for n, own in enumerate(clips):
        found = [tuple(row) for row in made.around(n, n // 3, middle, count, None).tolist()]
        others = [
            (_far(c, t, middle), _row(vocabulary, t)) for c in clips[n // 3 * 3 :][:3] if c is not own for t in c.texts
        ]
        first = sorted(_row(vocabulary, t) for t in own.texts)
        many = min(count, len(first) + len(others)) if first else 0
        assert all(not any(row) for row in found[many:])
        here, near = found[: min(many, len(first))], found[len(first) : many]
        assert sorted(here) == first or (len(here) < len(first) and set(here) <= set(first))
        for row, (distance, _) in zip(near, sorted(others), strict=False):
            assert any(r == row and abs(d - distance) < 1e-6 for d, r in others)


def _far(clip, text, middle):
    return abs(((clip.start + clip.end) if text.start is None else (text.start + text.end)) / 2 - middle)


def _row(vocabulary, text):
    return tuple(vocabulary.encode(text.text, 3).tolist())
