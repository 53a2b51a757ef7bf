"""Stills and sounds: small, playable, and within their bounds."""

import io

import numpy as np
import pytest
from PIL import Image

from seehear.library.tables import Clip, LibraryTables
from seehear.media.files import probe, read_window
from seehear.report.media import Excerpts, read_excerpts, sound, still
from tests.report.pages import parse
from tests.report.world import put_sound


@pytest.mark.parametrize(("size", "shown"), [((1000, 500), (256, 128)), ((300, 1200), (48, 192)), ((50, 40), (50, 40))])
def test_a_still_fits_and_keeps_its_shape(tmp_path, size, shown):
    Image.new("RGB", size, (200, 30, 30)).save(tmp_path / "x.png")
    image = Image.open(io.BytesIO(still(str(tmp_path / "x.png"), 0.0, 0.0)))
    assert image.format == "JPEG"
    assert image.size == shown
    assert np.allclose(np.asarray(image)[image.height // 2, image.width // 2], (200, 30, 30), atol=8)


def test_a_sound_is_the_first_seconds_of_the_window(tmp_path):
    put_sound(tmp_path / "a.wav", 3.0, 440)
    put_sound(tmp_path / "b.wav", 9.0, 880)
    made = sound(str(tmp_path / "b.wav"), 1.0, 9.0)
    assert len(made) < 25_000
    (tmp_path / "x.mp3").write_bytes(made)
    assert probe(tmp_path / "x.mp3").duration == pytest.approx(4.0, abs=0.1)
    wave = read_window(tmp_path / "x.mp3", 0.5, 1.5, rate=16_000).waveform
    assert np.abs(np.fft.rfft(wave)).argmax() == 880
    (tmp_path / "y.mp3").write_bytes(sound(str(tmp_path / "a.wav"), 0.0, 3.0))
    assert probe(tmp_path / "y.mp3").duration == pytest.approx(3.0, abs=0.1)


def test_each_is_read_once_in_a_process_of_its_own_and_reasons_are_kept(tmp_path):
    (tmp_path / "media").mkdir()
    put_sound(tmp_path / "media" / "a.wav", 0.5, 440)
    (tmp_path / "media" / "b.wav").write_bytes(b"RIFFbroken")
    library = LibraryTables.create(tmp_path / "lib")
    library.add_root(tmp_path / "media")
    window = {"start": 0.0, "end": 0.5, "has_audio": True}
    clips = {n: Clip(id=n, source=f"{n}.wav", **window) for n in "abc"} | {"d": Clip(id="d", **window)}
    found = read_excerpts(library, clips, [(n, "audio") for n in "aabcd"])
    assert isinstance(found["a", "audio"], bytes)
    assert "cannot be read" in found["b", "audio"]
    assert "c.wav is not there any more" in found["c", "audio"]
    assert found["d", "audio"] == "the library knows no file of it"


def test_the_budget_is_kept():
    media = Excerpts({("a", "video"): bytes(300), ("b", "video"): bytes(300), ("c", "audio"): "why not"}, budget=600)
    first, second = media.show(("a", "video"), 'a "picture"'), media.show(("b", "video"), "b")
    (image,) = parse(first).children
    assert image.attributes["alt"] == 'a "picture"'
    assert image.attributes["src"].startswith("data:image/jpeg;base64,AAAA")
    assert "the page has its full size" in second
    assert media.left == 600 - len(image.attributes["src"])
    assert "why not" in media.show(("c", "audio"), "c")
    assert media.failed == 1
