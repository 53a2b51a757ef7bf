"""Folders and manifests into libraries: first runs, second runs, changes, damage, kills."""

import csv
import os
import shutil
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from seehear.cli import main
from seehear.errors import DecodeError, SeehearError
from seehear.library import prepare as module
from seehear.library import reading
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables, Text, Vectors
from seehear.media.files import VideoSpec, read_window
from tests.faults.outcome import Command
from tests.library.makers import film, picture, shots, sound, srt, with_subtitles

HERE = PrepareOptions(workers=0)
DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data"))
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no {DATA}: set SEEHEAR_DATA")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Small files of each kind, made once and copied where they are needed."""
    folder = tmp_path_factory.mktemp("originals")
    film(folder / "film.mp4", seconds=4.0)
    film(folder / "silent.mp4", seconds=2.0, audio=None)
    sound(folder / "sound.wav", seconds=3.0, rate=16_000)
    sound(folder / "long.wav", seconds=45.0, rate=8_000)
    picture(folder / "picture.jpg")
    return folder


@pytest.fixture
def media(tmp_path, originals):
    """A folder with a film with subtitles, a sound with a caption, a picture with facts."""
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    shutil.copy(originals / "film.mp4", folder / "film.mp4")
    srt(folder / "film.srt", [(0.5, 1.7, "first line"), (2.0, 3.5, "second line")])
    shutil.copy(originals / "sound.wav", folder / "sub" / "sound.wav")
    (folder / "sub" / "sound.txt").write_text("a caption\n")
    shutil.copy(originals / "picture.jpg", folder / "picture.jpg")
    (folder / "picture.json").write_text('{"labels": ["red"], "split": "test", "captions": ["a red card"], "by": "me"}')
    return folder


def state(uri):
    """All that a library says, without the order in which it was written."""
    library = LibraryTables.open(uri)
    rejects = sorted(library.rejects(), key=lambda reject: reject.path)
    return library.clips(), dict(sorted(library.sources().items())), rejects


def write_csv(path, header, *rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def touch_later(path):
    stat = os.stat(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 10**9))


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_folder(media, tmp_path):
    report = prepare(media, tmp_path / "lib", HERE)
    clips = {clip.id: clip for clip in LibraryTables.open(tmp_path / "lib").clips()}
    assert set(clips) == {"film.mp4#0.500-1.700", "film.mp4#2.000-3.500", "picture.jpg", "sub/sound.wav"}
    line = clips["film.mp4#0.500-1.700"]
    assert (line.has_video, line.has_audio, line.texts) == (True, True, (Text("first line", 0.5, 1.7),))
    assert line.group == "film.mp4"
    card = clips["picture.jpg"]
    assert (card.labels, card.split, card.texts, card.meta) == (("red",), "test", (Text("a red card"),), {"by": "me"})
    assert (card.has_video, card.has_audio, card.start, card.end) == (True, False, 0.0, 0.0)
    heard = clips["sub/sound.wav"]
    assert (heard.has_video, heard.has_audio, heard.end, heard.texts) == (False, True, 3.0, (Text("a caption"),))
    assert (report.new, report.clips, report.files) == (3, 4, 3)
    assert report.modalities == {"video": 3, "audio": 3, "text": 4}
    assert report.hours == pytest.approx((1.2 + 1.5 + 3.0) / 3600)
    assert f"next: seehear encode {tmp_path / 'lib'}" in str(report)


def test_the_report_names_what_happened_and_info_what_is_damaged(tmp_path, capsys):
    (tmp_path / "media").mkdir()
    sound(tmp_path / "media" / "whole.wav")
    cut = film(tmp_path / "media" / "cut.mkv", seconds=8.0)
    cut.write_bytes(cut.read_bytes()[: -cut.stat().st_size // 5])
    lib = str(tmp_path / "lib")
    assert "\n  this run: 2 new files\n" in str(prepare(tmp_path / "media", lib, HERE))
    assert "\n  this run: 2 unchanged\n" in str(prepare(tmp_path / "media", lib, HERE))
    assert main(["info", lib]) == 0
    assert capsys.readouterr().out.endswith(f"names and reasons: seehear info {lib} --rejects\n")
    assert main(["info", lib, "--rejects"]) == 0
    assert "\n  cut.mkv: read in part: the file claims 8.0 s but ends after " in capsys.readouterr().out


def test_a_folder_without_permission_is_not_called_empty(tmp_path, monkeypatch):
    # Tests may run as root, who may read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(SeehearError, match="may not be read"):
        prepare(tmp_path, tmp_path / "lib")


def test_photos_are_not_sent_to_transcription(tmp_path):
    picture(tmp_path / "a.jpg")
    report = str(prepare(tmp_path, tmp_path / "lib", PrepareOptions(workers=0)))
    assert "seehear ocr" in report
    assert "seehear transcribe" not in report


def test_what_is_listed_can_be_read(media, tmp_path):
    prepare(media, tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    for clip in library.clips():
        path = library.path_of(clip.source)
        window = read_window(path, clip.start, clip.end, video=VideoSpec(num_frames=2), rate=8000)
        assert (window.frames is not None, window.waveform is not None) == (clip.has_video, clip.has_audio)


def test_a_second_run_changes_nothing(media, tmp_path):
    prepare(media, tmp_path / "lib", HERE)
    before = state(tmp_path / "lib")
    version = LibraryTables.open(tmp_path / "lib").table("clips").version
    report = prepare(media, tmp_path / "lib", HERE)
    assert (report.new, report.changed, report.unchanged, report.gone) == (0, 0, 3, 0)
    assert state(tmp_path / "lib") == before
    assert LibraryTables.open(tmp_path / "lib").table("clips").version == version


def test_only_what_changed_is_read(media, tmp_path, originals):
    prepare(media, tmp_path / "lib", HERE)
    shutil.copy(originals / "silent.mp4", media / "film.mp4")  # other content
    touch_later(media / "picture.jpg")  # same content, other time
    shutil.copy(originals / "film.mp4", media / "new.mp4")
    (media / "sub" / "sound.wav").unlink()
    report = prepare(media, tmp_path / "lib", HERE)
    assert (report.new, report.changed, report.unchanged, report.gone) == (1, 1, 1, 1)
    assert report.removed_clips == 2  # the second line lay behind the end of the new film, the sound is gone
    prepare(media, tmp_path / "fresh", HERE)
    assert state(tmp_path / "lib") == state(tmp_path / "fresh")


def test_texts_beside_a_file_are_followed(media, tmp_path):
    prepare(media, tmp_path / "lib", HERE)
    srt(media / "film.srt", [(1.0, 2.5, "another line")])
    (media / "sub" / "sound.txt").unlink()
    report = prepare(media, tmp_path / "lib", HERE)
    assert (report.new, report.changed, report.unchanged) == (0, 2, 1)
    prepare(media, tmp_path / "fresh", HERE)
    assert state(tmp_path / "lib") == state(tmp_path / "fresh")


def test_other_options_cut_anew(media, tmp_path):
    prepare(media, tmp_path / "lib", HERE)
    fixed = replace(HERE, clips="fixed", seconds=1.0)
    report = prepare(media, tmp_path / "lib", fixed)
    assert report.changed == 3
    prepare(media, tmp_path / "fresh", fixed)
    assert state(tmp_path / "lib") == state(tmp_path / "fresh")
    assert len(state(tmp_path / "lib")[0]) == 4 + 3 + 1


def test_vectors_go_with_their_clips(media, tmp_path):
    prepare(media, tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    ids = [clip.id for clip in library.clips()]
    n = len(ids)
    rows = Vectors(ids, np.zeros(n, np.int32), ["video"] * n, np.ones((n, 4), np.float16), ["m"] * n, ["c"] * n)
    library.vectors("latents", "toy", 4).append(rows)
    (media / "film.mp4").unlink()
    prepare(media, tmp_path / "lib", HERE)
    left = LibraryTables.open(tmp_path / "lib").vectors("latents", "toy").read().ids
    assert left == ["picture.jpg", "sub/sound.wav"]


def test_splits_stay_when_files_are_added(tmp_path, originals):
    folder = tmp_path / "m"
    folder.mkdir()
    for n in range(8):
        shutil.copy(originals / "picture.jpg", folder / f"{n}.jpg")
    prepare(folder, tmp_path / "lib", HERE)
    before = {clip.id: clip.split for clip in LibraryTables.open(tmp_path / "lib").clips()}
    for n in range(8, 16):
        shutil.copy(originals / "picture.jpg", folder / f"{n}.jpg")
    prepare(folder, tmp_path / "lib", HERE)
    after = {clip.id: clip.split for clip in LibraryTables.open(tmp_path / "lib").clips()}
    assert {id: after[id] for id in before} == before


def test_embedded_subtitles_and_languages(tmp_path, originals):
    folder = tmp_path / "m"
    folder.mkdir()
    text = srt(tmp_path / "t.srt", [(0.5, 1.5, "inside")])
    with_subtitles(folder / "a.mkv", originals / "silent.mp4", text)
    prepare(folder, tmp_path / "lib", HERE)
    (clip,) = LibraryTables.open(tmp_path / "lib").clips()
    assert [t.text for t in clip.texts] == ["inside"]
    srt(folder / "a.de.srt", [(0.2, 1.2, "daneben")])
    prepare(folder, tmp_path / "lib", replace(HERE, language="de"))
    (clip,) = LibraryTables.open(tmp_path / "lib").clips()
    assert [t.text for t in clip.texts] == ["daneben"]


def test_one_clip_only(tmp_path, originals):
    folder = tmp_path / "m"
    folder.mkdir()
    shutil.copy(originals / "picture.jpg", folder / "one.jpg")
    report = prepare(folder, tmp_path / "lib", HERE)
    assert report.clips == 1
    assert any("no clip fell into" in note for note in report.notes)


def test_a_library_inside_the_folder(media):
    prepare(media, media / "lib", HERE)
    report = prepare(media, media / "lib", HERE)
    assert (report.new, report.unchanged) == (0, 3)


def test_workers_make_the_same_library(media, tmp_path):
    prepare(media, tmp_path / "one", HERE)
    prepare(media, tmp_path / "two", replace(HERE, workers=2))
    assert state(tmp_path / "one") == state(tmp_path / "two")


# -- what cannot be used -----------------------------------------------------------------------------------------------


def test_nothing_to_read(tmp_path, originals):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.md").write_text("x")
    cases = {
        tmp_path / "empty": "there is no video, sound or picture",
        tmp_path / "none": "there is no such folder or manifest",
        tmp_path / "notes.md": "is neither a folder nor a manifest",
        originals / "film.mp4": "give the folder it is in",
    }
    for path, complaint in cases.items():
        with pytest.raises(SeehearError, match=complaint):
            prepare(path, tmp_path / "lib", HERE)
    assert not (tmp_path / "lib").exists()


def test_films_are_cut_at_scenes_and_sounds_at_pauses(tmp_path, monkeypatch):
    loud = np.sin(np.arange(8000 * 14) / 3)
    loud[int(8000 * 7.1) : int(8000 * 7.5)] = 0.0
    shots(tmp_path / "media.mkv", [3.0, 14.0], audio=np.concatenate([np.zeros(24_000), loud]))
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.move(tmp_path / "media.mkv", folder / "film.mkv")
    sound(folder / "noise.wav", seconds=21.0, rate=8_000)
    sound(folder / "short.wav", seconds=9.0, rate=8_000)
    prepare(folder, tmp_path / "lib", HERE)
    clips = {clip.id: (clip.start, clip.end) for clip in LibraryTables.open(tmp_path / "lib").clips()}
    assert clips["film.mkv#0.000-3.000"] == (0.0, 3.0)
    assert clips["film.mkv#3.000-10.400"] == (3.0, 10.4)
    assert clips["short.wav"] == (0.0, 9.0)
    of_noise = sorted(window for name, window in clips.items() if name.startswith("noise"))
    assert (of_noise[0][0], of_noise[-1][1], len(of_noise)) == (0.0, 21.0, 3)
    before = state(tmp_path / "lib")
    prepare(folder, tmp_path / "lib", HERE)
    assert state(tmp_path / "lib") == before
    # Another machine is slower: its search for scenes ends, and the report says so.
    monkeypatch.setattr(reading, "find_cuts", lambda path, duration, *, seconds: _too_slow(path))
    report = prepare(folder, tmp_path / "slow", HERE)
    assert any("scenes: is cut every 10 s" in reason for reason in report.rejects)
    clips = LibraryTables.open(tmp_path / "slow").clips("source = 'film.mkv'")
    assert [(clip.start, clip.end) for clip in clips] == [(0.0, 10.0), (10.0, 17.0)]
    before = state(tmp_path / "slow")
    prepare(folder, tmp_path / "slow", HERE)
    assert state(tmp_path / "slow") == before


def test_scenes_that_took_too_long_are_looked_for_again_with_more_time(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    shots(tmp_path / "folder" / "film.mkv", [3.0, 14.0])
    find, asked = reading.find_cuts, []

    def slowly(path, duration, *, seconds):
        asked.append(seconds)
        return find(path, duration, seconds=0.0 if seconds < 300 else seconds)

    monkeypatch.setattr(reading, "find_cuts", slowly)
    fixed, found = [(0.0, 10.0), (10.0, 17.0)], (0.0, 3.0)
    for limit, searches in ((200.0, 1), (200.0, 1), (100.0, 1), (400.0, 2), (800.0, 3), (1600.0, 3), (200.0, 3)):
        report = prepare(tmp_path / "folder", tmp_path / "lib", replace(HERE, time_limit=limit))
        assert len(asked) == searches
        clips = [(clip.start, clip.end) for clip in LibraryTables.open(tmp_path / "lib").clips()]
        if searches < 3:
            assert clips == fixed
            assert any("film.mkv#scenes" in place or "every 10 s" in place for place in map(str, report.rejects))
        else:
            assert clips[0] == found
            assert not report.rejects


def _too_slow(path):
    raise DecodeError(f"{path}: its scenes were not found in the time there is")


def test_broken_files_are_set_aside_and_tried_again_when_they_change(media, tmp_path, originals):
    (media / "empty.mp4").touch()
    (media / "letter.mp4").write_text("dear reader\n" * 99)
    (media / "cut.mp4").write_bytes((originals / "film.mp4").read_bytes()[:3000])
    srt(media / "picture.srt", [(0.0, 1.0, "fine")])
    (media / "sub" / "sound.srt").write_text("no subtitles at all")
    report = prepare(media, tmp_path / "lib", HERE)
    assert report.new == 3
    rejects = {reject.path: reject for reject in LibraryTables.open(tmp_path / "lib").rejects()}
    assert set(rejects) == {"empty.mp4", "letter.mp4", "cut.mp4", "sub/sound.srt"}
    assert rejects["letter.mp4"].stage == "probe"
    assert "Invalid data" in rejects["letter.mp4"].reason
    assert str(media) not in rejects["letter.mp4"].reason
    before = state(tmp_path / "lib")
    report = prepare(media, tmp_path / "lib", HERE)
    assert (report.new, report.changed, report.unchanged) == (0, 0, 3)
    assert state(tmp_path / "lib") == before
    shutil.copy(originals / "film.mp4", media / "letter.mp4")
    (media / "empty.mp4").unlink()
    report = prepare(media, tmp_path / "lib", HERE)
    assert report.new == 1
    assert {reject.path for reject in LibraryTables.open(tmp_path / "lib").rejects()} == {"cut.mp4", "sub/sound.srt"}
    shutil.copy(originals / "picture.jpg", media / "film.mp4")
    (media / "sub" / "sound.wav").write_bytes(b"now it is broken")
    prepare(media, tmp_path / "lib", HERE)
    prepare(media, tmp_path / "fresh", HERE)
    assert state(tmp_path / "lib") == state(tmp_path / "fresh")


def test_a_subtitle_that_no_parser_should_see_costs_itself_alone(tmp_path, originals):
    (tmp_path / "media").mkdir()
    for name in ("beside", "inside"):
        shutil.copy(originals / "film.mp4", tmp_path / "media" / f"{name}.mp4")
    srt(tmp_path / "media" / "beside.srt", [(0.0, 1.0, "<a" * 100_000)])
    text = srt(tmp_path / "long.srt", [(0.0, 1.0, "a" * 200_000)])
    with_subtitles(tmp_path / "media" / "inside.mkv", tmp_path / "media" / "inside.mp4", text)
    (tmp_path / "media" / "inside.mp4").unlink()
    prepare(tmp_path / "media", tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    assert {clip.source for clip in library.clips()} == {"beside.mp4", "inside.mkv"}
    rejects = {reject.path: reject.reason for reject in library.rejects()}
    assert set(rejects) == {"beside.srt", "inside.mkv#text"}
    assert all("has lines of up to 200," in reason for reason in rejects.values())


def test_a_file_that_takes_too_much_memory_is_set_aside(media, tmp_path, monkeypatch):
    def probe(path, real=reading.probe):
        if path.endswith("film.mp4"):
            raise MemoryError("Unable to allocate 4.00 TiB")
        return real(path)

    monkeypatch.setattr(reading, "probe", probe)
    assert prepare(media, tmp_path / "lib", HERE).clips > 0
    reasons = {reject.path: reject.reason for reject in LibraryTables.open(tmp_path / "lib").rejects()}
    assert reasons["film.mp4"].startswith("not enough memory (Unable to allocate 4.00 TiB)")


def test_late_subtitles_are_told(media, tmp_path):
    srt(media / "film.srt", [(0.5, 1.7, "in time"), (60.0, 61.0, "late"), (70.0, 71.0, "later")])
    prepare(media, tmp_path / "lib", HERE)
    (reject,) = LibraryTables.open(tmp_path / "lib").rejects()
    assert reject.path == "film.srt"
    assert reject.reason.startswith("2 of 3 lines come after the end of the file")
    report = prepare(media, tmp_path / "lib", replace(HERE, clips="subtitles"))
    assert report.clips == 2  # the picture is one clip anyway; the sound has no subtitles
    assert {r.path for r in LibraryTables.open(tmp_path / "lib").rejects()} == {"film.srt", "sub/sound.wav"}


def test_names_that_are_no_unicode(tmp_path, originals):
    folder = os.path.join(os.fsencode(tmp_path), b"m")
    os.mkdir(folder)
    try:
        shutil.copy(originals / "sound.wav", os.path.join(folder, b"caf\xe9.wav"))
    except OSError:
        pytest.skip("this file system takes Unicode names only")
    with open(os.path.join(folder, b"caf\xe9.txt"), "w") as file:
        file.write("a caption")
    prepare(os.fsdecode(folder), tmp_path / "lib", replace(HERE, workers=1))
    library = LibraryTables.open(tmp_path / "lib")
    (clip,) = library.clips()
    assert clip.texts == (Text("a caption"),)
    assert library.path_of(clip.source).exists()
    assert read_window(library.path_of(clip.source), 0, 1, rate=16_000).waveform is not None
    assert prepare(os.fsdecode(folder), tmp_path / "lib", HERE).unchanged == 1


def test_a_closed_folder_loses_nothing(media, tmp_path, monkeypatch):
    prepare(media, tmp_path / "lib", HERE)
    listed = os.scandir

    def closed(path):
        if str(path).endswith("sub"):
            raise PermissionError(13, "Permission denied", path)
        return listed(path)

    monkeypatch.setattr(os, "scandir", closed)
    report = prepare(media, tmp_path / "lib", HERE)
    assert (report.gone, report.clips) == (0, 4)
    assert [(r.path, r.reason) for r in LibraryTables.open(tmp_path / "lib").rejects()] == [
        ("sub", "Permission denied")
    ]
    monkeypatch.undo()
    assert prepare(media, tmp_path / "lib", HERE).rejects == {}


# -- manifests ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def table(tmp_path, originals):
    """A function that writes a manifest beside the media."""
    for name in ("film.mp4", "silent.mp4", "sound.wav", "long.wav", "picture.jpg"):
        shutil.copy(originals / name, tmp_path / name)
    return lambda header, *rows: write_csv(tmp_path / "m.csv", header, *rows)


def test_a_manifest(table, tmp_path):
    path = table(
        ["id", "file", "start", "end", "text", "labels", "group", "split", "mood"],
        ["x", "film.mp4", "1", "2.5", "one", "a|b", "g", "val", "glad"],
        ["", "film.mp4", "", "", "all of it", "", "", "", ""],
        ["", "film.mp4", "", "", "said otherwise", "c", "", "", ""],
        ["", "long.wav", "", "", "a long sound", "", "", "", ""],
        ["", "sound.wav", "2", "9", "", "", "", "", ""],
        ["t", "", "", "", "words alone", "", "", "train", ""],
    )
    report = prepare(path, tmp_path / "lib", HERE)
    clips = {clip.id: clip for clip in LibraryTables.open(tmp_path / "lib").clips()}
    assert set(clips) == {"x", "film.mp4", "long.wav", "sound.wav#2.000-3.000", "m.csv#t"}
    x = clips["x"]
    assert (x.start, x.end, x.labels, x.group, x.split, x.meta) == (1.0, 2.5, ("a", "b"), "g", "val", {"mood": "glad"})
    assert [text.text for text in clips["film.mp4"].texts] == ["all of it", "said otherwise"]
    assert clips["long.wav"].end == pytest.approx(45.0)  # a caption is of the whole, however long
    words = clips["m.csv#t"]
    assert (words.source, words.has_video, words.texts) == ("", False, (Text("words alone"),))
    assert (report.files, report.clips) == (3, 5)
    assert prepare(path, tmp_path / "lib", HERE).unchanged == 3


def test_a_bad_row_is_set_aside_and_the_rest_goes_on(table, tmp_path):
    path = table(
        ["file", "start", "end", "id"],
        ["film.mp4", "0", "1", "a"],
        ["film.mp4", "5", "9", "b"],  # behind the end
        ["gone.mp4", "", "", "c"],
        ["film.mp4", "two", "3", "d"],
        ["film.mp4", "1", "2", "a"],  # another part under the same id
        ["sound.wav", "0", "1", "a"],  # another file under the same id
    )
    (tmp_path / "broken.mp4").write_text("x" * 99)
    with open(path, "a") as file:
        file.write("broken.mp4,,,\n")
    prepare(path, tmp_path / "lib", HERE)
    rejects = {reject.path: reject.reason for reject in LibraryTables.open(tmp_path / "lib").rejects()}
    assert set(rejects) == {"m.csv:3", "m.csv:4", "m.csv:5", "m.csv:6", "m.csv:7", "broken.mp4"}
    assert "starts at 5 s, and the file ends at 4 s" in rejects["m.csv:3"]
    assert "gone.mp4: there is no such file" in rejects["m.csv:4"]
    assert "another part of the same file" in rejects["m.csv:6"]
    assert "earlier row with another file" in rejects["m.csv:7"]
    assert rejects["broken.mp4"].endswith("(rows 8)")
    before = state(tmp_path / "lib")
    assert prepare(path, tmp_path / "lib", HERE).unchanged == 1
    assert state(tmp_path / "lib") == before
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], "sound.wav,,,", *lines[1:]]) + "\n")  # all rows move by one line
    prepare(path, tmp_path / "lib", HERE)
    prepare(path, tmp_path / "fresh", HERE)
    assert state(tmp_path / "lib") == state(tmp_path / "fresh")


def test_picture_and_sound_from_two_files(table, tmp_path):
    path = table(
        ["image", "audio", "text"],
        ["picture.jpg", "sound.wav", "both"],
        ["picture.jpg", "long.wav", "another sound"],
        ["picture.jpg", "", "seen"],
        ["", "film.mp4", "heard"],
        ["picture.jpg", "silent.mp4", "no sound in it"],
    )
    prepare(path, tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    clips = {clip.id: clip for clip in library.clips()}
    assert set(clips) == {"picture.jpg+sound.wav", "picture.jpg+long.wav", "picture.jpg", "film.mp4"}
    both = clips["picture.jpg+sound.wav"]
    assert (both.source, both.audio_source, both.start, both.end) == ("picture.jpg", "sound.wav", 0.0, 3.0)
    assert (both.has_video, both.has_audio) == (True, True)
    assert both.source_of("audio") == "sound.wav"
    assert both.source_of("video") == "picture.jpg"
    assert [t.text for t in clips["picture.jpg"].texts] == ["seen", "no sound in it"]
    assert (clips["film.mp4"].has_video, clips["film.mp4"].has_audio) == (False, True)
    (reject,) = library.rejects()
    assert reject.path == "silent.mp4"
    before = state(tmp_path / "lib")
    assert prepare(path, tmp_path / "lib", HERE).unchanged == 2
    assert state(tmp_path / "lib") == before
    shutil.copy(tmp_path / "long.wav", tmp_path / "sound.wav")
    assert prepare(path, tmp_path / "lib", HERE).changed == 1
    clips = {clip.id: clip for clip in LibraryTables.open(tmp_path / "lib").clips()}
    assert clips["picture.jpg+sound.wav"].end == pytest.approx(45.0)


def test_rows_that_go(table, tmp_path):
    head, *rows = ["file", "text"], ["film.mp4", "a"], ["sound.wav", "b"], ["", "words"], ["", "more"]
    path = table(head, *rows)
    prepare(path, tmp_path / "lib", HERE)
    report = prepare(table(head, rows[0], rows[2]), tmp_path / "lib", HERE)
    assert (report.unchanged, report.gone, report.removed_clips) == (1, 1, 2)
    assert [clip.texts[0].text for clip in LibraryTables.open(tmp_path / "lib").clips()] == ["a", "words"]
    prepare(table(head, rows[0]), tmp_path / "lib", HERE)
    prepare(path, tmp_path / "fresh", HERE)
    assert state(tmp_path / "lib") == state(tmp_path / "fresh")


def test_media_elsewhere(media, tmp_path):
    path = write_csv(tmp_path / "m.csv", ["file"], ["sub/sound.wav"], [str(media / "film.mp4")])
    with pytest.raises(SeehearError, match="say with --media"):
        prepare(write_csv(tmp_path / "n.csv", ["file"], ["sub/sound.wav"]), tmp_path / "x", HERE)
    prepare(path, tmp_path / "lib", replace(HERE, media=media))
    library = LibraryTables.open(tmp_path / "lib")
    assert sorted({clip.source for clip in library.clips()}) == sorted([str(media / "film.mp4"), "sub/sound.wav"])
    assert all(library.path_of(clip.source).exists() for clip in library.clips())


def test_two_inputs_and_ids_that_meet(tmp_path, originals):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        shutil.copy(originals / "sound.wav", tmp_path / name / "s.wav")
        write_csv(tmp_path / name / "m.csv", ["id", "file", "text"], ["1", "s.wav", name], ["2", "none.wav", ""])
    both = [tmp_path / "a" / "m.csv", tmp_path / "b" / "m.csv"]
    prepare(both, tmp_path / "lib", HERE)
    library = LibraryTables.open(tmp_path / "lib")
    assert {(c.id, c.source, c.texts[0].text) for c in library.clips()} == {
        ("1", "s.wav", "a"),
        ("@b/m.csv#1", "@b/s.wav", "b"),
    }
    assert {reject.path for reject in library.rejects()} == {"m.csv:3", "@b/m.csv:3"}
    assert prepare(both, tmp_path / "lib", HERE).unchanged == 2
    (tmp_path / "b" / "s.wav").unlink()
    shutil.copy(originals / "long.wav", tmp_path / "b" / "none.wav")
    report = prepare(both, tmp_path / "lib", HERE)
    assert (report.unchanged, report.new, report.gone) == (1, 1, 1)


# -- kills -------------------------------------------------------------------------------------------------------------


def prepare_and_die(folder: Path, uri: Path, writes: int) -> int:
    """SIGKILL to itself before the n-th write."""
    module.BATCH_FILES = 2

    def counted(method):
        def call(*args):
            nonlocal writes
            writes -= 1
            if writes == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args)

        return call

    for name in ("put", "_remove"):
        setattr(LibraryTables, name, counted(getattr(LibraryTables, name)))
    prepare(folder, uri, HERE)
    return 0


@pytest.mark.parametrize("writes", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (9, 14, 20))])
def test_killed_and_run_again_equals_one_run(tmp_path, originals, writes):
    """SIGKILL before the n-th write, when half of the library was there already and some of it had changed."""
    folder, lib = tmp_path / "m", tmp_path / "lib"
    folder.mkdir()
    for n in range(4):
        shutil.copy(originals / "sound.wav", folder / f"{n}.wav")
    prepare(folder, lib, HERE)
    for n in range(3, 8):
        shutil.copy(originals / "film.mp4", folder / f"{n}.wav")
        srt(folder / f"{n}.srt", [(0.1, 1.4, f"line {n}"), (2.0, 3.4, "another")])
    (folder / "5.mp4").write_text("broken")
    (folder / "0.wav").unlink()
    shutil.copytree(lib, tmp_path / "undisturbed")
    killed = Command(partial(prepare_and_die, folder, lib, writes)).ended()
    assert killed.status == -signal.SIGKILL, killed.err
    prepare(folder, lib, HERE)
    prepare(folder, tmp_path / "undisturbed", HERE)
    assert state(lib) == state(tmp_path / "undisturbed")


# -- real clips --------------------------------------------------------------------------------------------------------


def some_rows(tmp_path, name, count):
    with open(DATA / name / "metadata.csv", newline="") as file:
        header, *rows = csv.reader(file)
    (tmp_path / name).mkdir()
    return write_csv(tmp_path / name / "metadata.csv", header, *rows[:count])


@pytest.mark.data
@needs_data
def test_real_clips(tmp_path):
    speech = replace(PrepareOptions(), media=DATA / "grid-s1")
    prepare(DATA / "av-samples" / "metadata.csv", tmp_path / "lib")
    report = prepare(some_rows(tmp_path, "grid-s1", 100), tmp_path / "lib", speech)
    assert report.modalities == {"video": 113, "audio": 113, "text": 113}
    assert report.rejects == {}
    library = LibraryTables.open(tmp_path / "lib")
    roots = library.roots()
    for clip in library.clips()[::10]:
        path = library.path_of(clip.source, roots)
        window = read_window(path, clip.start, clip.end, video=VideoSpec(num_frames=8, size=64), rate=16_000)
        assert window.corrupt == 0
        assert len(window.frames) == 8
        assert len(window.waveform) == round((clip.end - clip.start) * 16_000)


@pytest.mark.data
@needs_data
def test_real_pictures_with_recordings(tmp_path):
    options = PrepareOptions(columns={"text": "text_en", "audio": "audio_fr"}, media=DATA / "art4apps")
    report = prepare(some_rows(tmp_path, "art4apps", 100), tmp_path / "lib", options)
    assert report.modalities["video"] == report.modalities["text"] == 100
    assert 50 < report.modalities["audio"] < 100
