"""What moments are called as files, and what becomes of those that cannot be saved."""

import os

import pytest

from seehear.folders.export import clip_name, save_clips, unused_name
from seehear.search.lists import Listed
from tests.library.makers import film


@pytest.mark.parametrize(
    ("file", "start", "name"),
    [
        ("holiday/morning.mkv", 3725.9, "morning 1h02m05s.mp4"),
        ('a <b>"c"|d?*:e.mov', 0.0, "a _b__c__d___e 0h00m00s.mp4"),
        ("two\nlines\u202egpj.mp4", 1.0, "two_lines_gpj 0h00m01s.mp4"),
        ("b\udcff.mp4", 1.0, "b_ 0h00m01s.mp4"),
        (" . .mp4", 1.0, "clip 0h00m01s.mp4"),
        ("cafe\u0301.mp4", 1.0, "caf\u00e9 0h00m01s.mp4"),
        ("\u00fc" * 100 + ".mp4", 1.0, "\u00fc" * 60 + " 0h00m01s.mp4"),
    ],
)
def test_names_are_such_as_every_file_system_takes(file, start, name):
    assert clip_name(Listed(video=file, start=start, end=start + 1), ".mp4") == name


def test_a_picture_has_no_time_in_its_name_and_is_no_device():
    assert clip_name(Listed(video="CON.png"), ".png") == "CON_.png"


def test_names_are_taken_once_whatever_their_case():
    taken = {"a.mp4", "a (2).mp4"}
    assert [unused_name(name, taken) for name in ("A.mp4", "a.MP4", "b.mp4")] == ["A (3).mp4", "a (4).MP4", "b.mp4"]


def test_a_file_that_cannot_be_cut_is_said_and_the_rest_is_saved(tmp_path, capsys):
    film(tmp_path / "good.mp4", seconds=1.0)
    (tmp_path / "bad.mp4").write_bytes(b"no film")
    moments = [Listed(video=str(tmp_path / name), start=0.0, end=0.5) for name in ("bad.mp4", "good.mp4")]
    assert save_clips(tmp_path / "out", moments) == [tmp_path / "out" / "02 good 0h00m00s.mp4"]
    assert os.listdir(tmp_path / "out") == ["02 good 0h00m00s.mp4"]
    said = capsys.readouterr().err
    assert "not saved: bad.mp4: " in said
    assert f"1 clip saved in {tmp_path / 'out'}\n" in said
