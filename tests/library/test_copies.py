"""Files with the same content are one set of clips with several places."""

import os
import shutil

import pytest

from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from tests.library.makers import film, picture, sound, srt

HERE = PrepareOptions(workers=0)


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    film(folder / "film.mp4", seconds=2.0)
    sound(folder / "sound.wav", seconds=1.0, rate=8_000)
    picture(folder / "picture.jpg")
    return folder


@pytest.fixture
def folder(tmp_path, originals):
    """A film in three places, a sound and a picture."""
    folder = tmp_path / "media"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        shutil.copy(originals / "film.mp4", folder / name)
    shutil.copy(originals / "sound.wav", folder)
    shutil.copy(originals / "picture.jpg", folder)
    return folder


def clips_and_copies(uri):
    library = LibraryTables.open(uri)
    return [clip.id for clip in library.clips()], library.copies()


def test_copies_have_no_clips_of_their_own(folder, tmp_path):
    report = prepare(folder, tmp_path / "lib", HERE)
    assert (report.clips, report.files, report.copies) == (3, 5, 2)
    assert "2 files are copies of others" in str(report)
    once = ["a.mp4", "picture.jpg", "sound.wav"], {"a.mp4": ("b.mp4", "sub/c.mp4")}
    assert clips_and_copies(tmp_path / "lib") == once
    again = prepare(folder, tmp_path / "lib", HERE)
    assert (again.new, again.changed, again.unchanged, again.copies) == (0, 0, 5, 2)
    os.utime(folder / "b.mp4", (1, 1))  # only its time changed
    prepare(folder, tmp_path / "lib", HERE)
    assert clips_and_copies(tmp_path / "lib") == once


def test_a_copy_takes_over_when_the_first_goes_or_changes(folder, tmp_path, originals):
    prepare(folder, tmp_path / "lib", HERE)
    shutil.copy(originals / "sound.wav", folder / "again.wav")
    film(folder / "a.mp4", seconds=1.0)
    prepare(folder, tmp_path / "lib", HERE)
    # The new sound comes first by name, and yet the old one keeps its clips.
    sounds = {"sound.wav": ("again.wav",)}
    assert clips_and_copies(tmp_path / "lib") == (
        ["a.mp4", "b.mp4", "picture.jpg", "sound.wav"],
        {"b.mp4": ("sub/c.mp4",), **sounds},
    )
    os.remove(folder / "b.mp4")
    prepare(folder, tmp_path / "lib", HERE)
    assert clips_and_copies(tmp_path / "lib") == (["a.mp4", "picture.jpg", "sound.wav", "sub/c.mp4"], sounds)


def test_a_copy_that_changes_has_clips(folder, tmp_path):
    prepare(folder, tmp_path / "lib", HERE)
    film(folder / "b.mp4", seconds=1.0)
    prepare(folder, tmp_path / "lib", HERE)
    ids, places = clips_and_copies(tmp_path / "lib")
    assert "b.mp4" in ids
    assert places == {"a.mp4": ("sub/c.mp4",)}


def test_a_copy_in_a_folder_that_is_not_given_takes_over(folder, tmp_path, originals):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(originals / "sound.wav", other / "copy.wav")
    prepare([folder, other], tmp_path / "lib", HERE)
    assert clips_and_copies(tmp_path / "lib")[1]["sound.wav"] == ("@other/copy.wav",)
    os.remove(folder / "sound.wav")
    prepare(folder, tmp_path / "lib", HERE)
    assert "@other/copy.wav" in clips_and_copies(tmp_path / "lib")[0]


def test_files_that_texts_tell_apart_are_no_copies(folder, tmp_path):
    srt(folder / "b.srt", [(0.0, 1.5, "a line")])
    prepare(folder, tmp_path / "lib", HERE)
    ids, places = clips_and_copies(tmp_path / "lib")
    assert "b.mp4#0.000-1.500" in ids
    assert places == {"a.mp4": ("sub/c.mp4",)}


def test_rows_of_a_manifest_all_have_clips(folder, tmp_path):
    (folder / "rows.csv").write_text("path\na.mp4\nb.mp4\n")
    prepare(folder / "rows.csv", tmp_path / "lib", HERE)
    assert clips_and_copies(tmp_path / "lib") == (["a.mp4", "b.mp4"], {})


def test_equal_fingerprints_are_checked_byte_by_byte(tmp_path):
    """Fingerprints are samples of a file."""
    folder = tmp_path / "media"
    folder.mkdir()
    content = bytearray(sound(folder / "a.wav", seconds=120.0, rate=8_000).read_bytes())
    content[(len(content) - 2**16) * 7 // 15 + 2**16 + 20_000] ^= 1
    (folder / "b.wav").write_bytes(content)
    prepare(folder, tmp_path / "lib", PrepareOptions(workers=0, clips="whole"))
    library = LibraryTables.open(tmp_path / "lib")
    assert len({source.fingerprint for source in library.sources().values()}) == 1, "the test changes a sampled byte"
    assert clips_and_copies(tmp_path / "lib") == (["a.wav", "b.wav"], {})


def test_a_run_that_ends_between_noting_copies_and_taking_out_their_clips(folder, tmp_path, monkeypatch):
    prepare(folder, tmp_path / "once", HERE)

    def ended(library, ids):
        if list(ids):
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LibraryTables, "remove_clips", ended)
        with pytest.raises(KeyboardInterrupt):
            prepare(folder, tmp_path / "ended", HERE)
    prepare(folder, tmp_path / "ended", HERE)
    assert clips_and_copies(tmp_path / "ended") == clips_and_copies(tmp_path / "once")
