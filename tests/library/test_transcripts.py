"""Machine texts of clips: which lines a clip is given, what of it the user's own texts and `prepare` leave alone, and
libraries of the format without kinds of text."""

import os
from dataclasses import replace

import pytest

from seehear.errors import SeehearError
from seehear.library.prepare import prepare
from seehear.library.tables import FORMAT, Clip, LibraryTables, Source, Text
from seehear.library.transcripts import (
    TimedLine,
    Transcript,
    Word,
    machine_made,
    note_reader,
    read_transcripts,
    with_machine_texts,
    write_subtitles,
    write_transcripts,
)
from tests.library.fake_readers import FIXED, FakeRecogniser, said, transcribe
from tests.library.makers import film, sound, srt

SOURCES = {"a.mp4": Source(source="a.mp4", size=1, mtime_ns=1, fingerprint="f1")}
CLIP = Clip(id="a", source="a.mp4", start=10.0, end=20.0, has_video=True, has_audio=True)


def spoken(*lines, source="a.mp4", **changes):
    return Transcript(**{"source": source, "task": "speech", "by": "w1", "content": "f1", "lines": lines, **changes})


def machine(text, start=None, end=None, kind="speech", by="w1"):
    return Text(text, start, end, kind, by)


def texts(clip, *transcripts, sources=SOURCES):
    return with_machine_texts([clip], transcripts, sources)[0].texts


# -- which lines -------------------------------------------------------------------------------------------------------


def test_a_line_goes_to_every_clip_that_it_overlaps_with_its_own_times():
    lines = [
        TimedLine("before", 5.0, 10.05),
        TimedLine("into", 9.0, 11.0),
        TimedLine("short", 15.0, 15.1),
        TimedLine("over", 19.0, 31.0),
    ]
    lines += [
        TimedLine("around", 1.0, 40.0),
        TimedLine("after", 20.0, 21.0),
        TimedLine("blip", 19.98, 20.04),
    ]
    found = texts(CLIP, spoken(*lines))
    assert [text.text for text in found] == ["around", "into", "short", "over"]
    assert found[1] == machine("into", 9.0, 11.0)
    following = replace(CLIP, id="b", start=20.0, end=30.0)
    assert [text.text for text in texts(following, spoken(*lines))] == ["around", "over", "blip", "after"]


def test_every_clip_has_the_lines_that_a_plain_search_finds():
    lines = [TimedLine(f"{n}", n * 0.7, n * 0.7 + (n % 5) + 0.3) for n in range(200)]
    for start in range(0, 140, 7):
        clip = replace(CLIP, start=float(start), end=start + 6.5)
        plain = [line.text for line in lines if min(line.end, clip.end) - max(line.start, clip.start) >= 0.1]
        assert [text.text for text in texts(clip, spoken(*lines))] == plain


def test_own_texts_come_first_and_machine_texts_are_replaced_by_kind():
    own = (Text("a caption"), Text("a line", 12.0, 13.0))
    clip = replace(CLIP, texts=(own[0], machine("old", 11.0, 12.0, by="w0"), own[1]))
    screen = Transcript(source="a.mp4", task="screen", by="o1", content="f1", lines=(TimedLine("EXIT", 11.0, 14.0),))
    english = spoken(TimedLine("good day", 11.0, 12.0), task="translation")
    found = texts(clip, screen, english, spoken(TimedLine("guten tag", 11.0, 12.0), TimedLine("danke", 13.0, 13.5)))
    assert found[:2] == own
    said = [machine("guten tag", 11.0, 12.0), machine("good day", 11.0, 12.0), machine("danke", 13.0, 13.5)]
    assert found[2:] == (*said, machine("EXIT", 11.0, 14.0, "screen", "o1"))
    assert [text.kind for text in own] == ["caption", "subtitle"]


def test_a_transcript_of_another_content_or_file_counts_for_nothing():
    line = TimedLine("hello", 11.0, 12.0)
    assert texts(CLIP, spoken(line, content="f0")) == ()
    assert texts(CLIP, spoken(line), sources={}) == ()
    assert texts(replace(CLIP, has_audio=False), spoken(line)) == ()
    dubbed = replace(CLIP, audio_source="b.wav")
    assert texts(dubbed, spoken(line)) == ()
    both = SOURCES | {"b.wav": replace(SOURCES["a.mp4"], source="b.wav")}
    assert texts(dubbed, spoken(line, source="b.wav"), sources=both) == (machine("hello", 11.0, 12.0),)


def test_a_picture_is_given_all_that_stands_in_it():
    clip = Clip(id="p", source="a.mp4", has_video=True)
    seen = Transcript(source="a.mp4", task="screen", by="o1", content="f1", lines=(TimedLine("STOP"),))
    assert texts(clip, seen) == (machine("STOP", kind="screen", by="o1"),)


def test_the_table_gives_back_what_was_written(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    assert read_transcripts(library) == []
    words = (Word("guten", 1.0, 1.4), Word("Tag", 1.5, 2.0))
    one = spoken(TimedLine("guten Tag", 1.0, 2.0, words), language="de")
    two = spoken(source="b'.wav", task="translation")
    write_transcripts(library, [two, one])
    assert read_transcripts(library) == [one, two]
    assert read_transcripts(library, ["b'.wav", "c"]) == [two]
    newer = replace(one, lines=(TimedLine("hello"),))
    write_transcripts(library, [newer])
    assert read_transcripts(library, ["a.mp4"]) == [newer]


# -- subtitle files ----------------------------------------------------------------------------------------------------


def test_subtitle_files_lie_as_the_media_do(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    line = TimedLine("guten Tag", 1.0, 2.5)
    write_transcripts(
        library,
        [
            spoken(line, source="talks/a.mp4"),
            spoken(TimedLine("good day", 1.0, 2.5), source="talks/a.mp4", task="translation"),
            spoken(line, source="b.mp4"),
            spoken(line, source="b.wav"),
            spoken(source="silent.wav"),
            spoken(line, source="/elsewhere/c.wav"),
        ],
    )
    assert write_subtitles(library, tmp_path / "out") == 5
    found = sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.srt"))
    assert found == ["b.mp4.srt", "b.wav.srt", "elsewhere/c.srt", "talks/a.en.srt", "talks/a.srt"]
    assert (tmp_path / "out/talks/a.srt").read_text() == "1\n00:00:01,000 --> 00:00:02,500\nguten Tag\n\n"


# -- prepare -----------------------------------------------------------------------------------------------------------

BEFORE = {
    "a.mp4#0.000-2.000": ["grey frames", "tone 0.", "tone 1."],
    "a.mp4#2.000-4.000": ["grey frames", "tone 2.", "tone 3."],
    "p.png": [],
}


def test_prepare_leaves_the_texts_of_unchanged_files(folder):
    assert said(folder / "lib") == BEFORE
    film(folder / "media" / "b.mp4", seconds=1.0)
    prepare(folder / "media", folder / "lib", FIXED)
    assert said(folder / "lib") == BEFORE | {"b.mp4#0.000-1.000": []}
    recogniser = FakeRecogniser()
    transcribe(folder / "lib", recogniser)
    assert [round(seconds) for seconds, *_ in recogniser.heard] == [1]


def test_clips_cut_anew_from_an_unchanged_file_get_their_texts_without_reading_it(folder):
    srt(folder / "media" / "a.srt", [(0.5, 1.8, "a subtitle")])
    prepare(folder / "media", folder / "lib", replace(FIXED, clips="auto"))
    assert said(folder / "lib")["a.mp4#0.500-1.800"] == ["a subtitle", "tone 0.", "tone 1."]
    recogniser = FakeRecogniser()
    assert transcribe(folder / "lib", recogniser).made == 0
    assert recogniser.heard == []


def test_a_changed_file_loses_its_texts_until_it_is_read_again(folder):
    film(folder / "media" / "a.mp4", seconds=2.0, audio=None)
    os.utime(folder / "media" / "a.mp4", ns=(1, 1))
    prepare(folder / "media", folder / "lib", FIXED)
    assert said(folder / "lib") == {"a.mp4#0.000-2.000": ["grey frames"], "p.png": []}
    assert transcribe(folder / "lib").without == 2


def test_a_file_that_has_left_takes_its_transcript_with_it(folder):
    (folder / "media" / "a.mp4").unlink()
    prepare(folder / "media", folder / "lib", FIXED)
    sound(folder / "media" / "c.wav", seconds=1.0)
    prepare(folder / "media", folder / "lib", FIXED)
    transcribe(folder / "lib")
    assert [t.source for t in read_transcripts(LibraryTables.open(folder / "lib"))] == ["c.wav"]


# -- libraries of format 1 ---------------------------------------------------------------------------------------------


def as_format_1(lib):
    """The library as an older seehear wrote it."""
    import pyarrow as pa

    library = LibraryTables.open(lib)
    rows = library.table("clips").to_arrow()
    text = pa.struct([("text", pa.string()), ("start", pa.float64()), ("end", pa.float64())])
    own = [[t for t in texts or () if not t["by"]] for texts in rows["texts"].to_pylist()]
    rows = rows.set_column(rows.schema.get_field_index("texts"), "texts", pa.array(own, pa.list_(text)))
    library._db.create_table("clips", data=rows, mode="overwrite")
    library.set_about("format", "1")
    library.drop("transcripts")


def test_a_library_of_format_1_is_read_and_then_written_in_format_2(folder):
    lib = folder / "lib"
    as_format_1(lib)
    own = {id: [text for text in texts if not text.startswith("tone")] for id, texts in BEFORE.items()}
    assert said(lib) == own
    assert LibraryTables.open(lib).clips()[0].texts == (Text("grey frames"),)
    assert LibraryTables.open(lib).about()["format"] == "1"
    transcribe(lib)
    assert said(lib) == BEFORE
    assert LibraryTables.open(lib).about()["format"] == FORMAT
    assert transcribe(lib).made == 0


def test_prepare_brings_a_library_of_format_1_up_to_date(folder):
    as_format_1(folder / "lib")
    sound(folder / "media" / "c.wav", seconds=1.0)
    prepare(folder / "media", folder / "lib", FIXED)
    assert LibraryTables.open(folder / "lib").about()["format"] == FORMAT
    assert len(LibraryTables.open(folder / "lib").clips()) == 4


def as_format_2(lib):
    """The library as seehear wrote it before texts had a confidence."""
    import pyarrow as pa

    library = LibraryTables.open(lib)
    for name, column in (("clips", "texts"), ("transcripts", "lines")):
        rows = library.table(name).to_arrow()
        at = rows.schema.get_field_index(column)
        fields = [field for field in rows.schema.field(at).type.value_type if field.name != "confidence"]
        old = pa.array(rows[column].to_pylist(), pa.list_(pa.struct(fields)))
        library.replace(name, rows.set_column(at, column, old))
    library.set_about("format", "2")


def test_texts_of_format_2_are_certain_and_new_ones_keep_how_sure_the_model_was(folder):
    transcribe(folder / "lib")
    as_format_2(folder / "lib")
    library = LibraryTables.open(folder / "lib")
    before, old = said(folder / "lib"), read_transcripts(library)
    assert {text.confidence for clip in library.clips() for text in clip.texts} == {1.0}
    assert {line.confidence for t in old for line in t.lines} == {1.0}
    library.upgrade()
    unsure = [replace(t, lines=tuple(replace(line, confidence=0.25) for line in t.lines)) for t in old[:1]]
    write_transcripts(library, unsure)
    library = LibraryTables.open(folder / "lib")
    assert (library.about()["format"], said(folder / "lib")) == (FORMAT, before)
    assert read_transcripts(library) == unsure + old[1:]
    clips = with_machine_texts(library.clips(), read_transcripts(library), library.sources())
    assert {text.confidence for clip in clips for text in clip.texts if text.by} == {0.25}
    library.put_clips(clips)
    assert library.clips() == clips


def test_a_library_of_a_later_format_is_refused_in_one_line(folder):
    LibraryTables.open(folder / "lib").set_about("format", "4")
    with pytest.raises(SeehearError, match="has library format 4, this seehear reads 1, 2, 3"):
        LibraryTables.open(folder / "lib")


# -- what a machine made -----------------------------------------------------------------------------------------------


def test_who_made_texts_is_said_by_name_and_a_user_s_own_are_not_counted(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    note_reader(library, "w1", "Whisper tiny.en")
    mixed = replace(CLIP, texts=(Text("mine"), machine("said", 11.0, 12.0), machine("heard", 13.0, 14.0)))
    sign = replace(CLIP, id="b", texts=(machine("EXIT", 1.0, 2.0, kind="screen", by="of another library"),))
    assert machine_made(library, [*mixed.texts, *sign.texts]) == (
        "2 of 4 texts transcribed by Whisper tiny.en, 1 read on screen by a machine"
    )
    assert machine_made(library, [Text("mine")]) == ""
