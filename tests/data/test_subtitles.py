"""Timed texts from files as people and machines write them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.data.media import probe
from seehear.data.records import Text
from seehear.data.subtitles import (
    Cue,
    as_texts,
    clean,
    read_captions,
    read_embedded,
    read_json,
    read_subtitles,
    seconds,
    tidy,
)
from seehear.errors import SeehearError
from tests.data.makers import film, srt, with_subtitles

ROLLING = "WEBVTT\nKind: captions\n\n" + "\n\n".join(
    [
        "00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nhello<00:00:00.500><c> world</c>",
        "00:00:02.000 --> 00:00:02.010 align:start position:0%\nhello world\n ",
        "00:00:02.010 --> 00:00:04.000\nhello world\nthis<00:00:03.000><c> is &amp; next</c>",
        "00:00:04.000 --> 00:00:04.010\nthis is &amp; next\n ",
    ]
)

ASS = """[Script Info]
ScriptType: v4.00+

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:02.50,Default,,0,0,0,,{\\i1}Hello{\\i0}\\Nthere, you
Dialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 100 0{\\p0}
"""


def test_srt_with_markup(tmp_path):
    path = srt(tmp_path / "a.srt", [(1.0, 2.5, "<i>Hello</i> {\\an8}there"), (3.0, 4.0, "one\ntwo")])
    assert read_subtitles(path) == [Text("Hello there", 1.0, 2.5), Text("one two", 3.0, 4.0)]


def test_rolling_captions_are_said_once(tmp_path):
    (tmp_path / "a.vtt").write_text(ROLLING)
    assert read_subtitles(tmp_path / "a.vtt") == [Text("hello world", 0.0, 2.01), Text("this is & next", 2.01, 4.01)]


@pytest.mark.parametrize("suffix", ["ass", "ssa"])
def test_ass_leaves_out_comments_and_drawings(tmp_path, suffix):
    (tmp_path / f"a.{suffix}").write_text(ASS)
    assert read_subtitles(tmp_path / f"a.{suffix}") == [Text("Hello there, you", 1.0, 2.5)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path, encoding):
    path = srt(tmp_path / "a.srt", [(0.0, 1.0, "Café déjà “vu”")], encoding)
    assert read_subtitles(path) == [Text("Café déjà “vu”", 0.0, 1.0)]


def test_bytes_that_no_encoding_has(tmp_path):
    (tmp_path / "a.srt").write_bytes(b"1\n00:00:00,000 --> 00:00:01,000\nod\x81d \xff\n")
    (line,) = read_subtitles(tmp_path / "a.srt")
    assert line.text.startswith("od")


def test_no_subtitles(tmp_path):
    (tmp_path / "a.srt").write_bytes(b" \n")
    assert read_subtitles(tmp_path / "a.srt") == []
    (tmp_path / "b.srt").write_bytes(b"a letter, and no subtitles")
    with pytest.raises(SeehearError, match=r"b\.srt: is no subtitle file"):
        read_subtitles(tmp_path / "b.srt")
    with pytest.raises(SeehearError, match="cannot be read"):
        read_subtitles(tmp_path / "none.srt")


def test_streams_inside_a_film(tmp_path):
    text = srt(tmp_path / "a.srt", [(0.5, 1.5, "Hello <b>there</b>"), (2.0, 3.0, "again")])
    path = with_subtitles(tmp_path / "a.mkv", film(tmp_path / "f.mp4", audio=None), text, language="ger")
    (stream,) = probe(path).subtitles
    assert stream.language == "ger"
    assert read_embedded(path, stream.index) == [Text("Hello there", 0.5, 1.5), Text("again", 2.0, 3.0)]


def test_captions(tmp_path):
    (tmp_path / "a.txt").write_text("A dog barks.\n\n  A dog   barks.\nLoud\n")
    assert read_captions(tmp_path / "a.txt") == [Text("A dog barks."), Text("Loud")]


def test_json(tmp_path):
    said = {
        "texts": "one",
        "captions": ["two", {"text": "three", "start": "0:01", "end": 2.5}],
        "labels": ["dog", "bark"],
        "group": 7,
        "split": "Validation",
        "title": "T",
        "views": 12,
        "tags": ["a", "b"],
        "nothing": None,
    }
    (tmp_path / "a.json").write_text(json.dumps(said))
    read = read_json(tmp_path / "a.json")
    assert read.texts == (Text("one"), Text("two"), Text("three", 1.0, 2.5))
    assert read.labels == ("dog", "bark")
    assert (read.group, read.split) == ("7", "val")
    assert read.meta == {"title": "T", "views": "12", "tags": '["a", "b"]'}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [("{", "is no JSON"), ("[1]", "expected an object"), ('{"split": "tset"}', "did you mean 'test'")]
    + [('{"texts": {"text": "x", "start": 3, "end": 1}}', "before it starts"), ("[" * 100_000, "is no JSON")],
)
def test_json_that_is_wrong(tmp_path, content, complaint):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(SeehearError, match=complaint):
        read_json(tmp_path / "a.json")


def test_times():
    assert seconds("12.5") == 12.5
    assert seconds("1:02:03.5") == 3723.5
    assert seconds(3) == 3.0
    assert seconds("") is None
    for wrong in ("soon", -1, "nan", float("inf"), "1:2:3:4", True, [1]):
        with pytest.raises(SeehearError, match="is no time"):
            seconds(wrong)


def test_tidy_by_hand():
    said = [
        Cue(5.0, 6.0, ("late",)),
        Cue(0.0, 1.0, ("- yes",)),
        Cue(0.0, 1.0, ("- no",)),  # same time: one text
        Cue(1.0, 1.5, ("so",)),
        Cue(1.5, 2.0, ("so it",)),  # grows word by word
        Cue(2.0, 2.5, ("so it goes",)),
        Cue(3.0, 3.0, ("never shown",)),
        Cue(4.0, 4.5, ()),
        Cue(9.0, 10.0, ("late",)),  # said again, not shown again
    ]
    wanted = [("- yes - no", 0.0, 1.0), ("so it goes", 1.0, 2.5), ("late", 5.0, 6.0), ("late", 9.0, 10.0)]
    assert tidy(said) == [Text(*t) for t in wanted]


LINES = st.lists(st.sampled_from(["a", "b", "c d", "e"]), max_size=3).map(tuple)
CUES = st.builds(Cue, st.floats(-1, 20), st.floats(-1, 20), LINES)


@given(st.lists(CUES, max_size=12))
def test_tidy_keeps_order_times_and_words(cues):
    texts = tidy(cues)
    shown = [cue for cue in cues if cue.lines and cue.end > max(cue.start, 0.0)]
    assert all(text.text and 0.0 <= text.start < text.end for text in texts)
    assert [text.start for text in texts] == sorted(text.start for text in texts)
    words = {word for cue in shown for line in cue.lines for word in line.split()}
    assert {word for text in texts for word in text.text.split()} == words
    assert tidy(reversed(cues)) == texts or len({(max(c.start, 0.0), c.end) for c in shown}) < len(shown)


BEGUN = [b"", b"1\n00:00:01,000 --> 00:00:02,000\n", b"WEBVTT\n\n00:01.000 --> 00:02.000\n", ASS[:140].encode()]


@given(st.sampled_from(BEGUN), st.binary(max_size=400))
def test_any_bytes_are_subtitles_or_a_clear_error(tmp_path_factory, begun, content):
    path = tmp_path_factory.getbasetemp() / "any.srt"
    path.write_bytes(begun + content)
    assert all(t.text.encode() for t in read_captions(path))
    try:
        texts = read_subtitles(path)
    except SeehearError as error:
        texts, complaint = [], str(error)
    else:
        complaint = str(path)
    assert str(path) in complaint
    assert all(t.text.encode() and 0 <= t.start < t.end for t in texts)


VALUES = st.none() | st.booleans() | st.floats() | st.text()


@given(st.recursive(VALUES, lambda x: st.lists(x) | st.dictionaries(st.text(), x)))
def test_any_json_value_is_texts_or_a_clear_error(value):
    try:
        texts = as_texts(value)
    except SeehearError:
        return
    assert all(t.text == clean(t.text) or "&" in t.text or "<" in t.text for t in texts)
