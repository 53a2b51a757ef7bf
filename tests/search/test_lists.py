"""Lists of moments, read back by OpenTimelineIO or by hand."""

import csv
import importlib
import io
import re
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from seehear.errors import SeehearError
from seehear.search.lists import EditFacts, Listed, edit_facts, list_text

FACTS = {
    "/m/pal.mp4": EditFacts(seconds=4000, fps=25.0),
    "/m/ntsc.mov": EditFacts(seconds=7200, fps=30000 / 1001, timecode="10:00:00;00"),
    "/m/bell.wav": EditFacts(seconds=60),
    "/m/photo.jpg": EditFacts(is_picture=True),
}
PAL = Listed(video="/m/pal.mp4", audio="/m/pal.mp4", start=12.0, end=17.0, kind="spoken", text="the lamps\nare lit")
NTSC = Listed(video="/m/ntsc.mov", audio="/m/bell.wav", start=3600.0, end=3602.002)
BELL = Listed(audio="/m/bell.wav", start=1.52, end=3.0, kind="heard")
PHOTO = Listed(video="/m/photo.jpg")
ODD = 'a <b>&"quote", ü\n#EXTM3U.mp4'
"""What a file may be called."""


def text(suffix, *moments, title="red truck"):
    pytest.importorskip("opentimelineio")
    return list_text(suffix, moments, title=title, facts=lambda path: FACTS.get(path, EditFacts(seconds=9, fps=25.0)))


def events(edl):
    """(channel, source in, source out, record in, record out)"""
    return re.findall(r"^\d{3}  AX +(\S+) +C +(\S+) (\S+) (\S+) (\S+)$", edl, re.MULTILINE)


def test_an_edl_counts_frames_and_names_channels():
    edl = text(".edl", PAL, BELL, PHOTO)
    assert edl.startswith("TITLE: red truck\nFCM: NON-DROP FRAME\n\n001  AX       B ")
    assert events(edl) == [
        ("B", "00:00:12:00", "00:00:17:00", "00:00:00:00", "00:00:05:00"),
        ("A", "00:00:01:13", "00:00:03:00", "00:00:05:00", "00:00:06:12"),
        ("V", "00:00:00:00", "00:00:05:00", "00:00:06:12", "00:00:11:12"),
    ]
    assert "* FROM CLIP NAME:  pal.mp4\n* FROM CLIP: file:///m/pal.mp4\n* the lamps are lit\n" in edl


def test_an_edl_of_a_camera_counts_from_its_time_code_and_drops_frames():
    edl = text(".edl", NTSC, PAL)
    assert "FCM: DROP FRAME" in edl
    assert events(edl) == [
        ("B", "11:00:00;00", "11:00:02;00", "00:00:00;00", "00:00:02;00"),
        ("B", "00:00:12;00", "00:00:17;00", "00:00:02;00", "00:00:07;00"),
    ]


@pytest.mark.parametrize("suffix", [".edl", ".otio"])
def test_a_film_of_few_frames_a_second_is_listed(monkeypatch, suffix):
    """OpenTimelineIO's nearest rate of 10 is 0."""
    monkeypatch.setitem(FACTS, "/m/pal.mp4", EditFacts(seconds=4000, fps=10.0))
    assert "pal.mp4" in text(suffix, PAL)


def test_opentimelineio_reads_the_edl_back():
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_string(text(".edl", PAL, BELL, NTSC), "cmx_3600", rate=25)
    video = next(track for track in timeline.tracks if track.kind == "Video")
    assert [clip.name for clip in video.find_clips()] == ["pal.mp4", "ntsc.mov"]
    seconds = [clip.source_range.start_time.to_seconds() for clip in video.find_clips()]
    assert seconds == [12.0, pytest.approx(36000 + 3600, abs=0.05)]


def test_a_timeline_has_a_track_of_pictures_and_one_of_sound():
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_string(text(".otio", PAL, BELL, NTSC, PHOTO), "otio_json")
    pictures, sounds = timeline.tracks
    assert (pictures.kind, sounds.kind, timeline.name) == ("Video", "Audio", "red truck")
    assert [type(item).__name__ for item in pictures] == ["Clip", "Gap", "Clip", "Clip"]
    assert [type(item).__name__ for item in sounds] == ["Clip", "Clip", "Clip", "Gap"]
    for picture, sound in zip(pictures, sounds, strict=True):
        assert picture.range_in_parent() == sound.range_in_parent()
    film, bell = pictures[2], sounds[2]
    assert film.media_reference.target_url == "file:///m/ntsc.mov"
    assert film.source_range.start_time.to_seconds() == pytest.approx(39600, abs=0.05), "from the camera's time code"
    assert film.media_reference.available_range.start_time.to_seconds() == pytest.approx(36000, abs=0.05)
    assert bell.source_range.start_time.to_seconds() == pytest.approx(3600)
    assert pictures[0].source_range.duration == otio.opentime.RationalTime(125, 25)
    assert pictures[3].source_range.duration == otio.opentime.RationalTime(125, 25)


def test_a_playlist_plays_the_moments_alone():
    lines = text(".m3u", PAL, PHOTO).splitlines()
    assert lines == [
        "#EXTM3U",
        "#PLAYLIST:red truck",
        "#EXTINF:5,pal.mp4 - the lamps are lit",
        "#EXTVLCOPT:start-time=12.000",
        "#EXTVLCOPT:stop-time=17.000",
        "file:///m/pal.mp4",
        "#EXTINF:5,photo.jpg",
        "file:///m/photo.jpg",
    ]


def test_a_table_is_read_back_whole():
    formula = Listed(video=f"/m/{ODD}", start=1.0, end=2.5, kind="spoken", text='=1+1;"x", <i>\nü')
    content = text(".csv", formula, BELL)
    assert content.startswith("\ufeffrank,"), "Excel takes it for UTF-8"
    rows = list(csv.DictReader(io.StringIO(content[1:], newline="")))
    assert rows[0] == {
        "rank": "1", "file": f"/m/{ODD}", "start": "1.000", "end": "2.500", "kind": "spoken", "text": "'" + formula.text
    }  # fmt: skip
    assert rows[1]["text"] == ""


@pytest.mark.parametrize("suffix", [".m3u", ".edl", ".otio"])
@pytest.mark.parametrize("name", [ODD, "b\udcff.mp4"], ids=["quotes", "no UTF-8"])
def test_no_name_breaks_out_of_its_line(suffix, name):
    odd = Listed(video=f"/m/{name}", start=1.0, end=2.0, text="one\r\n002  AX       V     C\n#EXTINF:1,x")
    content = text(suffix, odd, PAL, title="two\nlines")
    content.encode()
    if suffix == ".m3u":
        assert [line for line in content.splitlines() if not line.startswith("#")] == [
            Path(f"/m/{name}").as_uri(), "file:///m/pal.mp4"
        ]  # fmt: skip
    elif suffix == ".edl":
        assert len(events(content)) == 2
        assert content.count("\nFCM:") == 1
    else:
        otio = pytest.importorskip("opentimelineio")
        clip = otio.adapters.read_from_string(content, "otio_json").tracks[0][0]
        assert clip.media_reference.target_url == Path(f"/m/{name}").as_uri()


def test_facts_come_from_the_file_itself(tmp_path):
    with av.open(str(tmp_path / "a.mov"), "w") as file:
        file.metadata["timecode"] = "01:02:03:04"
        stream = file.add_stream("mpeg4", rate=24)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(12):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            file.mux(stream.encode(frame.reformat(format="yuv420p")))
        file.mux(stream.encode())
    assert edit_facts(str(tmp_path / "a.mov")) == EditFacts(seconds=0.5, fps=24.0, timecode="01:02:03:04")
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    assert edit_facts(str(tmp_path / "a.png")) == EditFacts(is_picture=True)


def test_what_cannot_be_listed_is_said(monkeypatch):
    with pytest.raises(SeehearError, match=r"unknown kind of list '\.xml'.*\.edl"):
        list_text(".xml", [PAL], title="")
    with pytest.raises(SeehearError, match="nothing to list"):
        list_text(".csv", [], title="")
    usual = importlib.import_module

    def missing(name, *rest, **more):
        if name.startswith(("opentimelineio", "otio_")):
            raise ModuleNotFoundError(name=name)
        return usual(name, *rest, **more)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(SeehearError, match=r"pip install 'seehear\[export\]'"):
        list_text(".edl", [PAL], title="")
    assert list_text(".m3u", [PAL], title="", facts=FACTS.get)
