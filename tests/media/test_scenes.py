"""Where films and sounds are cut: at changes of the picture, and at pauses."""

import numpy as np
import pytest

from seehear.errors import DecodeError
from seehear.media import scenes
from seehear.media.scenes import SILENCE, STEP, find_cuts, loudness
from tests.library import makers

LENGTHS = [3.2, 1.4, 4.0, 6.4]
CUTS = [3.2, 4.6, 8.6]


@pytest.mark.parametrize(
    ("gop", "scenecut"),
    [(250, True), (250, False), (25, False)],
    ids=["key frames at cuts", "one key frame", "every second"],
)
def test_cuts_are_found_wherever_the_encoder_sets_key_frames(tmp_path, gop, scenecut):
    film = makers.shots(tmp_path / "a.mp4", LENGTHS, gop=gop, scenecut=scenecut)
    found = find_cuts(film, sum(LENGTHS))
    assert [at for at, _ in found] == pytest.approx(CUTS, abs=0.1)  # a cut may fall on a frame that is not decoded
    assert found == find_cuts(film, sum(LENGTHS))


def test_where_nothing_changes_only_key_frames_are_decoded(tmp_path, monkeypatch):
    film = makers.shots(tmp_path / "a.mp4", [20.0], gop=50)
    decoded = []
    grid = scenes._grid
    monkeypatch.setattr(scenes, "_grid", lambda frame: decoded.append(frame.pts) or grid(frame))
    assert find_cuts(film, 20.0) == []
    assert len(decoded) <= 10 + 50  # the key frames, and the frames behind the last


def test_a_slow_change_is_no_cut(tmp_path):
    film = makers.film(tmp_path / "a.mp4", seconds=1.0, fps=25, gop=5, audio=None)  # a little brighter every frame
    assert find_cuts(film, 1.0) == []


def test_a_restless_film_is_cut_at_key_frames_once_enough_was_decoded(tmp_path, monkeypatch):
    film = makers.shots(tmp_path / "a.mp4", LENGTHS, gop=25, scenecut=False)
    monkeypatch.setattr(scenes, "MOST_PIXELS", 0)
    assert [at for at, _ in find_cuts(film, sum(LENGTHS))] == [4.0, 5.0, 9.0]


def test_the_search_ends_when_its_time_is_over(tmp_path):
    film = makers.shots(tmp_path / "a.mp4", [1.0, 1.0])
    with pytest.raises(DecodeError, match="in the time there is"):
        find_cuts(film, 2.0, seconds=-1.0)
    with pytest.raises(DecodeError, match="in the time there is"):
        loudness(makers.sound(tmp_path / "a.wav", seconds=1.0), 1.0, seconds=-1.0)


@pytest.mark.parametrize("codec", ["ffv1", "mpeg4", "mpeg2video"])
def test_other_codecs(tmp_path, codec):
    film = makers.film(tmp_path / "a.mkv", seconds=3.0, codec=codec, audio=None)
    # Brightness starts anew after 29 frames.
    assert [at for at, _ in find_cuts(film, 3.0)] == pytest.approx([29 / 25, 58 / 25], abs=0.1)


def test_a_sound_has_no_cuts(tmp_path):
    assert find_cuts(makers.sound(tmp_path / "a.wav", seconds=1.0), 1.0) == []


def test_loudness_is_in_decibels(tmp_path):
    samples = np.sin(2 * np.pi * 400 * np.arange(8000) / 8000)
    samples[4000:] *= 0.01
    samples[6400:] = 0.0
    levels = loudness(makers.shots(tmp_path / "a.mkv", [1.0], audio=samples), 1.0)
    assert len(levels) == round(1.0 / STEP)
    assert levels[1:4] == pytest.approx([-3, -3, -3], abs=1)
    assert levels[6:7] == pytest.approx([-43], abs=1)
    assert levels[9] == SILENCE
