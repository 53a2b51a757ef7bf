"""Labels and corrected lines of the user's own: what clips hold by them, and what they outlive."""

import os
import shutil
from dataclasses import replace

import pytest

from seehear.errors import SeehearError
from seehear.inputs.latents import load_latents
from seehear.library.edits import Edit, affected, read_edits, record, undo
from seehear.library.encode import encode_library
from seehear.library.locking import BeingWritten, writing
from seehear.library.prepare import prepare
from seehear.library.records import is_learned
from seehear.library.tables import Clip, LibraryTables, Text
from seehear.library.transcripts import (
    TimedLine,
    as_edited,
    label_edit,
    line_edit,
    machine_made,
    read_transcripts,
    settle_edits,
    write_subtitles,
)
from tests.library.fake_encoders import IN_PROCESS, FakeSound, FakeText
from tests.library.fake_readers import FIXED, FakeRecogniser, said, transcribe
from tests.library.makers import picture, srt

FIRST, SECOND = "a.mp4#0.000-2.000", "a.mp4#2.000-4.000"


@pytest.fixture
def library(folder):
    return LibraryTables.open(folder / "lib")


def clip_of(library, id):
    return next(clip for clip in as_edited(library, library.clips()) if clip.id == id)


def correct(library, id, before, said):
    clip = clip_of(library, id)
    line = next(text for text in clip.texts if text.text == before)
    return record(library, line_edit(library, clip, line, said))


def label(library, id, name, *, added=True):
    return record(library, label_edit(library, clip_of(library, id), name, added=added))


def labels(lib):
    return {clip.id: list(clip.labels) for clip in LibraryTables.open(lib).clips()}


# -- lines -------------------------------------------------------------------------------------------------------------


def test_a_corrected_line_is_the_users_own_and_takes_the_place_of_the_machines(folder, library):
    correct(library, FIRST, "tone 1.", "Tom won")
    assert settle_edits(library) == [FIRST]
    own = LibraryTables.open(folder / "lib").clips()[0].texts
    assert own[1:] == (
        Text("tone 0.", 0.0, 0.9, "speech", own[1].by),
        Text("Tom won", 1.0, 1.9, "speech", by="", confidence=1.0),
    )
    assert is_learned(own[2])
    assert machine_made(library, own) == "1 of 3 texts transcribed by fake"
    write_subtitles(library, folder / "out")
    assert "Tom won" in (folder / "out/a.srt").read_text()
    assert [line.text for t in read_transcripts(library) for line in t.lines if t.source == "a.mp4"][1] == "tone 1."


def test_training_reads_the_corrected_words_and_only_they_are_encoded_again(folder, library):
    encoder = FakeText()
    encode_library(library, [encoder, FakeSound()], IN_PROCESS, device="cpu")
    correct(library, FIRST, "tone 1.", "Tom has won")
    settle_edits(library)
    encoder.read.clear()
    encode_library(LibraryTables.open(folder / "lib"), [encoder], IN_PROCESS, device="cpu")
    assert encoder.read == ["Tom has won"]
    rows = load_latents(LibraryTables.open(folder / "lib")).rows["text"]
    assert rows.vectors[:3].tolist() == [[11, 2], [7, 2], [11, 3]]  # characters and words


def test_a_second_correction_goes_on_from_the_first_and_undoing_brings_the_machines_line_back(folder, library):
    first = correct(library, FIRST, "tone 1.", "Tom won")
    settle_edits(library)
    second = correct(library, FIRST, "Tom won", "Tom won.")
    assert (second.key, second.before) == (first.key, "tone 1.")
    settle_edits(library)
    assert said(folder / "lib")[FIRST] == ["grey frames", "tone 0.", "Tom won."]
    undo(library, first.key)
    assert settle_edits(library) == [FIRST]
    assert said(folder / "lib")[FIRST] == ["grey frames", "tone 0.", "tone 1."]
    assert LibraryTables.open(folder / "lib").clips()[0].texts[2].by
    assert read_edits(library) == []
    assert undo(library, first.key) is None


def test_to_write_what_stood_there_is_to_undo(folder, library):
    correct(library, FIRST, "tone 1.", "Tom won")
    settle_edits(library)
    correct(library, FIRST, "Tom won", "tone 1.")
    settle_edits(library)
    assert LibraryTables.open(folder / "lib").clips()[0].texts[2].by
    assert read_edits(library) == []


def test_a_line_can_be_taken_away_and_put_back(folder, library):
    edit = correct(library, FIRST, "tone 1.", "")
    settle_edits(library)
    assert said(folder / "lib")[FIRST] == ["grey frames", "tone 0."]
    undo(library, edit.key)
    settle_edits(library)
    assert said(folder / "lib")[FIRST] == ["grey frames", "tone 0.", "tone 1."]


def test_captions_and_subtitles_of_the_users_are_corrected_twice_and_back(folder):
    srt(folder / "media" / "a.srt", [(0.5, 1.8, "a subtitel"), (2.0, 3.5, "another subtitle")])
    prepare(folder / "media", folder / "lib", replace(FIXED, clips="auto"))
    library = LibraryTables.open(folder / "lib")
    id = "a.mp4#0.500-1.800"
    correct(library, id, "a subtitel", "a subtitle")
    settle_edits(library)
    edit = correct(library, id, "a subtitle", "xyz")
    settle_edits(library)
    assert said(folder / "lib")[id][0] == "xyz"
    assert "another subtitle" in str(said(folder / "lib"))
    undo(library, edit.key)
    settle_edits(library)
    assert said(folder / "lib")[id][0] == "a subtitel"
    clip = clip_of(library, id)
    with pytest.raises(SeehearError, match="came with the file: take it out there"):
        line_edit(library, clip, clip.texts[0], "")


def test_a_line_that_is_not_there_is_refused(library):
    clip = clip_of(library, FIRST)
    with pytest.raises(SeehearError, match=r"has no line 'tone 9\.' at that time any more: load it again"):
        line_edit(library, clip, Text("tone 9.", 0.0, 0.9, "speech"), "x")


# -- what edits outlive ------------------------------------------------------------------------------------------------


def test_edits_outlive_another_model_and_clips_that_are_cut_elsewhere(folder, library):
    correct(library, FIRST, "tone 1.", "Tom won")
    label(library, FIRST, "winner")
    settle_edits(library)
    transcribe(folder / "lib", weights="w2")
    assert said(folder / "lib")[FIRST] == ["grey frames", "tone 0.", "Tom won"]
    prepare(folder / "media", folder / "lib", replace(FIXED, seconds=1.5, min_seconds=0.5))
    found = said(folder / "lib")
    assert found["a.mp4#0.000-1.500"] == ["grey frames", "tone 0.", "Tom won"]
    assert found["a.mp4#1.500-3.000"] == ["grey frames", "Tom won", "tone 2."]
    held = labels(folder / "lib")
    assert held == {"a.mp4#0.000-1.500": ["winner"], "a.mp4#1.500-3.000": [], "a.mp4#3.000-4.000": [], "p.png": []}
    transcribe(folder / "lib", weights="w3")
    assert said(folder / "lib") == found


def test_edits_outlive_a_new_name_and_new_content(folder, library):
    correct(library, FIRST, "tone 1.", "Tom won")
    label(library, "p.png", "grey")
    settle_edits(library)
    (folder / "media" / "a.mp4").rename(folder / "media" / "b.mp4")
    picture(folder / "media" / "p.png", colour=(0, 0, 200))
    os.utime(folder / "media" / "p.png", ns=(1, 1))
    prepare(folder / "media", folder / "lib", FIXED)
    assert labels(folder / "lib")["p.png"] == ["grey"]
    transcribe(folder / "lib")
    assert said(folder / "lib")["b.mp4#0.000-2.000"] == ["tone 0.", "Tom won"]


def test_edits_of_a_row_of_text_outlive_its_manifest(folder, library):
    table = folder / "media" / "rows.csv"
    table.write_text("id,file,text\nr1,,a dog barks\n")
    prepare(table, folder / "lib", FIXED)
    library = LibraryTables.open(folder / "lib")
    label(library, "rows.csv#r1", "dog")
    correct(library, "rows.csv#r1", "a dog barks", "two dogs bark")
    assert settle_edits(library) == ["rows.csv#r1"]
    assert labels(folder / "lib")[FIRST] == []
    table.write_text("id,file,text\nr1,,a dog barks\nr2,,a cat\n")
    prepare(table, folder / "lib", FIXED)
    assert said(folder / "lib")["rows.csv#r1"] == ["two dogs bark"]
    assert labels(folder / "lib")["rows.csv#r1"] == ["dog"]


# -- labels ------------------------------------------------------------------------------------------------------------


def test_labels_are_added_taken_away_and_back(folder, library):
    edit = label(library, FIRST, "dog")
    label(library, FIRST, "night")
    settle_edits(library)
    assert labels(folder / "lib") == {FIRST: ["dog", "night"], SECOND: [], "p.png": []}
    label(library, FIRST, "night", added=False)
    settle_edits(library)
    assert labels(folder / "lib")[FIRST] == ["dog"]
    undo(library, edit.key)
    settle_edits(library)
    assert labels(folder / "lib")[FIRST] == []
    assert read_edits(library) == []


def test_a_label_that_came_with_the_media_stays_away_until_that_is_undone(folder, library):
    library.put_clips([replace(clip_of(library, FIRST), labels=("dog",))])
    edit = label(library, FIRST, "dog", added=False)
    settle_edits(library)
    assert labels(folder / "lib")[FIRST] == []
    undo(library, edit.key)
    settle_edits(library)
    assert labels(folder / "lib")[FIRST] == ["dog"]


# -- with others at work -----------------------------------------------------------------------------------------------


def test_an_edit_is_kept_while_others_write_and_the_next_writer_of_clips_applies_it(folder, library):
    with writing(library.uri):  # as `prepare` does
        correct(library, FIRST, "tone 1.", "Tom won")
        label(library, SECOND, "late")
        with pytest.raises(BeingWritten), writing(library.uri, "texts", patience=0.0):
            pass
    assert said(folder / "lib")[FIRST][2] == "tone 1."
    assert clip_of(library, FIRST).texts[2].text == "Tom won"
    assert clip_of(library, SECOND).labels == ("late",)
    prepare(folder / "media", folder / "lib", FIXED)
    assert said(folder / "lib")[FIRST][2] == "Tom won"
    assert labels(folder / "lib")[SECOND] == ["late"]
    assert not any(edit.pending for edit in read_edits(library))


def test_an_edit_made_while_speech_is_read_reaches_the_clips_in_that_run(folder, library, monkeypatch):
    undone = label(library, SECOND, "late")
    settle_edits(library)
    shutil.copy(folder / "media" / "a.mp4", folder / "media" / "z.mp4")
    (folder / "media" / "z.txt").write_text("the same\n")
    prepare(folder / "media", folder / "lib", FIXED)

    def hears(recogniser, samples, **options):
        library = LibraryTables.open(folder / "lib")
        if read_edits(library) == [replace(undone, pending=False)]:
            correct(library, FIRST, "tone 1.", "Tom won")
            undo(library, undone.key)
        return heard(recogniser, samples, **options)

    heard = FakeRecogniser.__call__
    monkeypatch.setattr(FakeRecogniser, "__call__", hears)
    assert transcribe(folder / "lib").made == 1
    assert said(folder / "lib")[FIRST] == ["grey frames", "tone 0.", "Tom won"]
    assert labels(folder / "lib")[SECOND] == []
    assert [(edit.text, edit.pending) for edit in read_edits(library)] == [("Tom won", False)]


def test_a_run_that_ends_between_an_edit_and_its_clips_is_made_up_for(folder, library, monkeypatch):
    edit = label(library, FIRST, "dog")
    monkeypatch.setattr("seehear.library.edits.settled", lambda *_: None)
    settle_edits(library)
    monkeypatch.undo()
    undo(library, edit.key)
    assert settle_edits(library) == [FIRST]
    assert labels(folder / "lib")[FIRST] == []


# -- which lines -------------------------------------------------------------------------------------------------------


def test_which_lines_of_another_transcript_a_correction_takes_the_place_of():
    edit = Edit(what="speech", start=10.0, end=12.0, before="see here", text="seehear")
    exact, most, long, after = (
        TimedLine("see here", 10, 12),
        TimedLine("sea", 10.5, 12.5),
        TimedLine("x", 9, 15),
        TimedLine("y", 12, 13),
    )
    assert affected(edit, [exact, most, long, after]) == [exact]
    assert affected(edit, [most, long, after]) == [most]
    screen = replace(edit, what="screen", before="Lane 1", text="Lane one")
    first, second = TimedLine("Lane 1", 10, 12), TimedLine("Lane 2", 10, 12)
    assert affected(screen, [first, second]) == [first]
    assert affected(screen, [TimedLine("Lane l", 10.1, 12), TimedLine("EXIT", 10, 12)]) == [
        TimedLine("Lane l", 10.1, 12)
    ]
    still = replace(screen, start=None, end=None)
    assert affected(still, [TimedLine("Lane 2"), TimedLine("Lane 1")]) == [TimedLine("Lane 1")]


def test_a_library_without_edits_has_no_table_of_them(library):
    assert read_edits(library) == []
    assert settle_edits(library) == []
    assert as_edited(library, [Clip(id="x")]) == [Clip(id="x")]
    assert "own" not in library.tables()
