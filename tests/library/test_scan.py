"""Media files of a folder, each with its text files."""

import os

import pytest

from seehear.library.scan import Folder, Listing


def names(folder, **options):
    return [found.source for found in Folder(folder, **({"language": ""} | options))]


def touch(folder, *paths):
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()


def test_media_in_order_without_hidden_ones(tmp_path):
    touch(
        tmp_path,
        "b.mp4",
        "a/z.WAV",
        "a/b/c.jpg",
        "a/b/d.HEIC",
        ".hidden/x.mp4",
        ".x.mp4",
        "readme.md",
        "a/y.srt",
        "lib/t.mp4",
    )
    assert names(tmp_path, skip=tmp_path / "lib") == ["b.mp4", "a/z.WAV", "a/b/c.jpg", "a/b/d.HEIC"]


def test_what_looks_like_media_and_is_not_read_is_set_aside(tmp_path):
    touch(tmp_path, "a.mp4", "b.CR2", "a.txt", "notes", "c.py")
    (tmp_path / "IMG_1").write_bytes(b"\xff\xd8\xff\xe0 and so on")
    (tmp_path / "clip.part").write_bytes(b"\0\0\0\x18ftypmp42 and so on")
    os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
    folder = Folder(tmp_path, language="")
    assert [found.source for found in folder] == ["a.mp4"]
    assert [(reject.path, reject.stage) for reject in folder.unreadable] == [
        ("IMG_1", "scan"),
        ("b.CR2", "scan"),
        ("clip.part", "scan"),
    ]
    assert "not read: convert it" in folder.unreadable[1].reason
    assert "rename it" in folder.unreadable[2].reason


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "in/a.mp4", "out/b.mp4")
    os.symlink(tmp_path / "in", tmp_path / "in" / "loop")
    os.symlink(tmp_path / "out", tmp_path / "in" / "elsewhere")
    os.symlink(tmp_path / "nothing.mp4", tmp_path / "in" / "broken.mp4")
    folder = Folder(tmp_path / "in", language="")
    assert [found.source for found in folder] == ["a.mp4", "elsewhere/b.mp4"]
    assert [reject.path for reject in folder.unreadable] == ["broken.mp4"]


def test_texts_beside_a_file():
    texts = [
        "a.srt",
        "a.txt",
        "a.json",
        "b.mp4.srt",
        "b.info.json",
        "c.de.srt",
        "c.en.vtt",
        "d.final.srt",
        "d.srt",
        "e.srt",
    ]
    listing = Listing("/m", ["a.mp4", "b.mp4", "c.mp4", "d.mp4", "d.final.mp4", "e.wav", "e.mp4", *texts], language="")

    def beside(name):
        found = listing.sidecars(name)
        return [os.path.basename(path) for path in (found.subtitles, found.captions, found.facts)]

    assert beside("a.mp4") == ["a.srt", "a.txt", "a.json"]
    assert beside("b.mp4") == ["b.mp4.srt", "", ""]
    assert beside("c.mp4") == ["c.en.vtt", "", ""]
    assert beside("d.mp4") == ["d.srt", "", ""]
    assert beside("d.final.mp4") == ["d.final.srt", "", ""]
    assert beside("e.wav") == beside("e.mp4") == ["e.srt", "", ""]


@pytest.mark.parametrize(
    ("language", "chosen"), [("", "a.srt"), ("de", "a.de.srt"), ("fr", "a.fr-FR.vtt"), ("xx", "a.srt")]
)
def test_the_language_asked_for(language, chosen):
    listing = Listing("/m", ["a.mp4", "a.srt", "a.de.srt", "a.en.srt", "a.fr-FR.vtt"], language=language)
    assert os.path.basename(listing.sidecars("a.mp4").subtitles) == chosen


def test_media_with_endings_that_no_one_knows_are_listed(tmp_path, monkeypatch):
    """Only the first few documents are opened."""
    (tmp_path / "a.jpg_large").write_bytes(b"\xff\xd8\xff\xe0 and so on")
    (tmp_path / "b.xyz").write_bytes(b"\0\0\0\x18ftypheic")
    for n in range(100):
        (tmp_path / f"{n:03d}.go").write_text("package main")
    opened = []
    monkeypatch.setattr("builtins.open", lambda path, *args, real=open: opened.append(path) or real(path, *args))
    folder = Folder(tmp_path, language="")
    assert list(folder) == []
    assert [reject.path for reject in folder.unreadable] == ["a.jpg_large", "b.xyz"]
    assert all("rename it" in reject.reason for reject in folder.unreadable)
    assert len(opened) == 22
