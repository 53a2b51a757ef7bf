import json

import numpy as np
import pytest
from scipy import signal

from seehear.studies.leakage import (
    AUDIO_RATE,
    Leak,
    LeakageReport,
    SoundIndex,
    audio_fingerprint,
    equal_values,
    matching_pictures,
    near_duplicates,
    picture_fingerprint,
)


def picture(seed, size=320):
    """Something like a photograph: smooth, with a few shapes."""
    rng = np.random.default_rng(seed)
    small = rng.random((7, 7, 3))
    whole = np.stack([signal.resample(signal.resample(small[..., c], size), size, axis=1) for c in range(3)], axis=-1)
    return np.clip(60 + 140 * whole, 0, 255).astype(np.uint8)


def shrunk(frame, pixels=32):
    step = len(frame) // pixels
    return frame[: step * pixels, : step * pixels].reshape(pixels, step, pixels, step, 3).mean((1, 3)).astype(np.uint8)


def bits(*frames):
    return np.array([picture_fingerprint(f) for f in frames], np.uint64)


def test_a_picture_is_known_after_size_noise_and_brightness():
    rng = np.random.default_rng(0)
    originals = [picture(i) for i in range(40)]
    changed = [shrunk(p[::2, ::2]) for p in originals]
    changed = [np.clip(0.8 * p + 20 + rng.normal(scale=4, size=p.shape), 0, 255).astype(np.uint8) for p in changed]
    found = matching_pictures(bits(*changed), bits(*(shrunk(p) for p in originals)))
    assert {(i, j) for i, j, _ in found} == {(i, i) for i in range(40)}


def test_blank_pictures_match_nothing_and_sizes_are_checked():
    assert picture_fingerprint(np.full((32, 32, 3), 7, np.uint8)) is None
    with pytest.raises(ValueError, match="must be"):
        picture_fingerprint(np.zeros((16, 16, 3), np.uint8))


def tune(seed, seconds=6.0):
    """Notes of a few harmonics, half a second each, with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * AUDIO_RATE)) / AUDIO_RATE
    note = (t / 0.4).astype(int)
    pitch = rng.choice([220, 247, 262, 294, 330, 349, 392, 440, 523, 587], note.max() + 1)[note]
    phase = 2 * np.pi * np.cumsum(pitch) / AUDIO_RATE
    return sum(np.sin(h * phase) / h for h in (1, 2, 3, 4)) + 0.05 * rng.normal(size=len(t))


def test_a_sound_is_known_from_a_stretch_with_other_volume_and_noise():
    sounds = [tune(i) for i in range(25)]
    index = SoundIndex([audio_fingerprint(s) for s in sounds])
    rng = np.random.default_rng(0)
    for number in (3, 17):
        start = int(1.5 * AUDIO_RATE)
        part = 0.3 * sounds[number][start : start + 3 * AUDIO_RATE]
        part = part + 0.005 * rng.normal(size=len(part))
        matches = list(index.matches(audio_fingerprint(part)))
        assert [place for place, _ in matches] == [number]
        assert matches[0][1] < 0.25


def test_strangers_and_silence_do_not_match():
    index = SoundIndex([audio_fingerprint(tune(i)) for i in range(25)] + [audio_fingerprint(np.zeros(30_000))])
    for stranger in (tune(100), np.random.default_rng(1).normal(size=30_000), np.zeros(30_000)):
        assert list(index.matches(audio_fingerprint(stranger))) == []
    assert audio_fingerprint(np.zeros(100)).shape == (0,)
    assert list(SoundIndex([]).matches(audio_fingerprint(tune(1)))) == []


def test_equal_values_name_one_clip_each():
    train, test = {"a": ["x", "y"], "b": ["y"]}, {"p": ["z", "y"], "q": ["w"], "r": []}
    assert list(equal_values("file", test, train)) == [Leak("file", "p", "a")]


def test_near_vectors_against_the_slow_way(monkeypatch):
    monkeypatch.setattr("seehear.studies.leakage.BLOCK", 500)
    rng = np.random.default_rng(2)
    train = rng.normal(size=(90, 12)) + 3.0
    test = rng.normal(size=(40, 12)) + 3.0
    test[5] = train[7] + 0.05
    test[6] = train[7] + 0.02 * rng.normal(size=12)
    names = [f"t{i // 2}" for i in range(40)]
    found = list(near_duplicates("near audio", (test, names), (train, [str(i) for i in range(90)])))
    assert [(leak.test, leak.train) for leak in found] == [("t2", "7"), ("t3", "7")]
    assert found[0].score > 0.95
    assert list(near_duplicates("x", (test[:0], []), (train, names))) == []


def test_the_report():
    report = LeakageReport("test", 10, (Leak("file", "a", "b"), Leak("near audio", "a", "c", 0.97)))
    assert report.affected() == {"a"}
    assert report.plain()["affected"] == {"file": 1, "near audio": 1}
    assert "1 of 10 clips" in str(report)
    assert "a ~ c" in str(report)
    assert json.loads(json.dumps(report.plain()))["leaks"][1]["score"] == 0.97
    assert "none of 10" in str(LeakageReport("test", 10, ()))
