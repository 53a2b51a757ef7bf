"""Timed texts from files as people and machines write them."""

import json

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.library.records import Text
from seehear.library.subtitles import (
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
from seehear.media.files import probe
from tests.library.makers import film, srt, with_subtitles

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


# -- attacks -----------------------------------------------------------------------------------------------------------


def test_tags_are_not_parsed_with_all_before_them(tmp_path, monkeypatch):
    """pysubs2's `parse_tags` reads n tags in n**2 steps: a line of 20,000 took minutes."""
    seen = []
    monkeypatch.setattr("pysubs2.formats.substation.parse_tags", lambda text, *_: seen.append(text) or [])
    path = srt(tmp_path / "a.srt", [(0.0, 1.0, "<i>a</i>" * 300), (1.0, 2.0, "{\\p1}m 0 0{\\p0}" * 300)])
    assert read_subtitles(path) == [Text("a" * 300, 0.0, 1.0)]
    assert not seen


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["{", "}", "\\p1", "\\p0", "\\pos(1,2)", "\\i1", "\\N", "\\h", "a", "b "]), max_size=12)
)
def test_events_are_plain_as_pysubs2_has_them(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("x") / "a.ass"
    path.write_text(ASS + f"Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{''.join(pieces)}\n")
    event = pysubs2.load(str(path), format_="ass").events[-1]
    shown = "" if event.is_drawing else " ".join(event.plaintext.split())
    assert [text.text for text in read_subtitles(path)[1:]] == ([shown] if shown else [])


@pytest.mark.parametrize("line", ["<a" * 100_000, "[" + "a" * 199_999, ("x" * 20_000 + "\n") * 50])
def test_lines_that_are_too_long_are_refused(tmp_path, line):
    path = srt(tmp_path / "a.srt", [(0.0, 1.0, line)])
    with pytest.raises(SeehearError, match=r"a\.srt: has lines of up to 20+,000 characters") as caught:
        read_subtitles(path)
    assert "\n" not in str(caught.value)


def test_too_many_lines_are_refused(tmp_path):
    (tmp_path / "a.srt").write_text("00:00:00,000 --> 00:00:01,000\n" * 500_001)
    with pytest.raises(SeehearError, match=r"a\.srt: has 500,00\d lines"):
        read_subtitles(tmp_path / "a.srt")


def test_long_lines_inside_a_film_are_refused(tmp_path):
    text = srt(tmp_path / "a.srt", [(0.5, 1.5, "a" * 200_000)])
    path = with_subtitles(tmp_path / "a.mkv", film(tmp_path / "f.mp4", audio=None), text)
    with pytest.raises(SeehearError, match=r"a\.mkv: has lines of up to \d{3},\d{3} characters"):
        read_embedded(path, probe(path).subtitles[0].index)


def test_blank_lines_cost_no_more_than_themselves(tmp_path, monkeypatch):
    """pysubs2 looks for a number at the end of a cue from each of its line feeds on, over all that follow."""
    texts = []
    monkeypatch.setattr("pysubs2.SSAFile.from_string", lambda text, **_: texts.append(text) or [])
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\na" + "\n" * 100_000 + "b\n")
    read_subtitles(tmp_path / "a.srt")
    assert len(texts[0]) < 100


def test_many_cues_of_one_time_are_joined_once(tmp_path):
    """Each was compared with all before it, and its lines with all of them."""

    class Counted(str):
        compared = 0
        __hash__ = str.__hash__

        def __eq__(self, other):
            Counted.compared += 1
            return str.__eq__(self, other)

    cues = [Cue(0.0, 1.0, (Counted(f"line {n}"),)) for n in range(500)]
    cues.append(Cue(1.0, 2.0, tuple(Counted(f"other {n}") for n in range(500))))
    assert [len(text.text.split()) for text in tidy(cues)] == [1000, 1000]
    assert Counted.compared < 5000


def test_numbers_that_python_will_not_read(tmp_path):
    path = srt(tmp_path / "a.srt", [(0.0, 1.0, "a &amp; &#" + "9" * 5000 + ";")])
    assert read_subtitles(path)[0].text.startswith("a &amp; &#999")
    with pytest.raises(SeehearError, match="is no time"):
        seconds(":".join(["1"] * 300))


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
