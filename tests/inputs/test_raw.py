"""From media files to batches of pixels, samples and words."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.inputs.loader import Loader, Sampling, in_order
from seehear.inputs.raw import RawConfig, load_raw
from seehear.inputs.raw.text import VocabularyConfig, library_vocabulary
from seehear.library.tables import Text
from seehear.media.files import VideoSpec, read_window
from tests.inputs.raw_library import PLAIN, TINY, clip, library, load, long_library, rows, same, unread_files
from tests.library.makers import film, grey, picture, sound

ODD = [
    clip("plain"),
    clip("short", end=0.5),
    clip("one_frame", end=0.04),
    clip("picture", source="picture.png", end=0.0, has_audio=False),
    clip("slides", source="picture.png", audio_source="sound.wav", end=3.0),
    clip("silent", has_audio=False),
    clip("sound", source="sound.wav", has_video=False),
    clip("no_text", source="plain.mp4", texts=()),
    clip("unknown_words", source="plain.mp4", texts=(Text("?!"),)),
    clip("text_only", source="", has_video=False, has_audio=False, end=0.0),
    clip("broken", end=4.0),
    clip("cut", end=4.0),
    clip("moved"),
    clip("moved_without_text", source="moved.mp4", texts=()),
]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    film(folder / "plain.mp4", gop=100)
    film(folder / "short.mp4", seconds=0.5)
    film(folder / "one_frame.mp4", seconds=0.04)
    film(folder / "silent.mp4", audio=None)
    picture(folder / "picture.png")
    sound(folder / "sound.wav")
    film(folder / "broken.mp4").write_bytes(b"no film at all" * 100)
    whole = film(folder / "cut.mp4", options={"movflags": "faststart"}).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def odd(tmp_path_factory, media):
    return library(tmp_path_factory.mktemp("odd"), media, ODD)


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    return long_library(tmp_path_factory.mktemp("long"))


# -- what comes of every kind of clip ----------------------------------------------------------------------------------


@pytest.mark.parametrize("cached", [False, True])
def test_every_odd_clip(odd, tmp_path, cached, capsys):
    data = load(odd, cache=tmp_path / "cache" if cached else None)
    batch, at = data.batch(torch.arange(len(data)), seed=1, epoch=2), rows(data)
    assert batch["video"].shape == (len(ODD), 4, 16, 16, 3)
    assert batch["video"].dtype == torch.uint8
    assert batch["audio"].shape == (len(ODD), 6400)
    assert batch["audio"].dtype == torch.float32
    assert batch["text"].shape == (len(ODD), 3, 4)
    assert batch["text"].dtype == torch.int64
    have = {m: {name for name, n in at.items() if batch[f"has_{m}"][n]} for m in data.modalities}
    seen = {"plain", "short", "one_frame", "picture", "slides", "silent", "no_text", "unknown_words"}
    assert have["video"] - {"cut"} == seen
    assert have["audio"] - {"cut"} == seen - {"picture", "silent"} | {"sound"}
    assert have["text"] == {c.id for c in ODD} - {"no_text", "unknown_words", "moved_without_text"}
    for m in data.modalities:
        absent = ~batch[f"has_{m}"]
        assert not batch[m][absent].any()
        assert batch[m][~absent].flatten(1).any(dim=1).all()
        assert torch.isfinite(batch[m].float()).all()
    assert data.lost >= 6
    said = capsys.readouterr().err
    assert {"broken.mp4", "moved.mp4"} <= unread_files(said) <= {"broken.mp4", "moved.mp4", "cut.mp4"}
    assert "No such file" in said
    assert said.count("moved.mp4: ") == said.count("broken.mp4: ") == 1
    data.batch(torch.arange(len(data)), seed=1, epoch=3)
    assert "moved.mp4" not in capsys.readouterr().err, "each file is listed once"
    assert data.lost >= 12


def test_a_clip_with_nothing_left_is_masked_everywhere(odd):
    data = load(odd)
    batch = data.batch(torch.tensor([rows(data)["moved_without_text"]]))
    assert not any(bool(batch[f"has_{m}"]) for m in data.modalities)
    assert batch["video"].shape == (1, 4, 16, 16, 3)


@pytest.mark.parametrize("cached", [False, True])
def test_a_film_corrupt_in_the_middle(tmp_path, media, cached, capsys):
    """Noise over 1.5 to 2.5 s: windows before it are as they were, a window in it ends nothing."""
    whole = film(tmp_path / "damaged.mp4", gop=5, options={"movflags": "faststart", "bf": "0"}, seconds=8.0)
    content = bytearray(whole.read_bytes())
    begin, length = len(content) * 4 // 10, len(content) * 3 // 10
    content[begin : begin + length] = np.random.default_rng(0).bytes(length)
    whole.write_bytes(bytes(content))
    made = library(tmp_path, tmp_path, [clip("damaged", end=8.0), clip("damaged2", source="damaged.mp4", end=8.0)])
    data = load(made, PLAIN, cache=tmp_path / "cache" if cached else None)
    windows = data.views(windows=10)
    batch = windows.batch(torch.arange(10))
    assert batch["has_video"][0]
    assert batch["has_audio"][0]
    brightness = batch["video"][0].float().mean(dim=(1, 2, 3))
    assert (brightness - torch.tensor([grey(n) for n in (2, 7, 12, 17)])).abs().max() < 4
    assert capsys.readouterr().err.count(f"{whole}: ") == 1


# -- what a window holds -----------------------------------------------------------------------------------------------


def test_pictures_and_sound_are_those_of_the_same_stretch(long):
    """Every frame is grey of a known brightness, the sound a known noise: both say where the window begins."""
    data = load(long, replace(PLAIN, frames=5))
    index = rows(data)["plain"]
    path, begins = data.files[data.clips.audio[index]], set()
    for epoch in range(8):
        batch = data.batch(torch.tensor([index]), seed=3, epoch=epoch)
        shown = batch["video"][0].float().mean(dim=(1, 2, 3))
        ticks = [
            k for k in range(16) if (shown - torch.tensor([grey(5 * (k + i) + 2) for i in range(5)])).abs().max() < 4
        ]
        heard = read_window(path, ticks[0] / 5, ticks[0] / 5 + 1.0, rate=8000).waveform
        torch.testing.assert_close(batch["audio"][0], torch.from_numpy(heard), rtol=0, atol=1e-5)
        begins.add(ticks[0])
    assert len(begins) > 3


def test_a_short_clip_is_extended_into_its_recording(long):
    data = load(long, replace(PLAIN, frames=10))
    at = rows(data)["line1"]  # [1, 2) -> [0.5, 2.5)
    batch = data.batch(torch.tensor([at]))
    frames = read_window(data.files[0], 0.5, 2.5, video=VideoSpec(num_frames=10, size=18)).frames
    assert (
        batch["video"][0].float().mean(dim=(1, 2, 3)) - torch.from_numpy(frames).float().mean(dim=(1, 2, 3))
    ).abs().max() < 1
    alone = load(long, replace(PLAIN, frames=10, extend=False, seconds=1.0)).batch(torch.tensor([at]))
    assert torch.equal(alone["video"][0, :5], alone["video"][0, 5:])
    assert not torch.equal(alone["video"][0, :5], batch["video"][0, :5])


def test_sound_longer_than_the_pictures(long):
    """As MAViL has it: few pictures somewhere within all of the sound."""
    config = replace(PLAIN, frames=2, fps=2, seconds=4.0)
    data = load(long, config)
    at = torch.tensor([rows(data)["plain"]])
    batches = [data.batch(at, epoch=e) for e in range(6)]
    assert batches[0]["audio"].shape == (1, 32_000)
    assert all(torch.equal(b["audio"], batches[0]["audio"]) for b in batches)
    assert len({int(b["video"].sum()) for b in batches}) > 2


def test_a_still_picture_is_repeated(odd):
    batch = load(odd, PLAIN).batch(torch.tensor([rows(load(odd))["picture"]]))
    assert (batch["video"][0] - torch.tensor([200, 30, 60])).int().abs().max() <= 1


# -- chance ------------------------------------------------------------------------------------------------------------


def test_a_sample_is_a_function_of_seed_epoch_and_index(odd):
    data = load(odd)
    every = torch.arange(len(data))
    whole = data.batch(every, seed=1, epoch=1)
    other = data.batch(every.flip(0), seed=1, epoch=1)
    same(whole, {k: x.flip(0) for k, x in other.items()})
    again = pickle.loads(pickle.dumps(data)).batch(every, seed=1, epoch=1)
    same(whole, again)
    n = rows(data)["plain"]
    for seed, epoch in ((1, 2), (2, 1)):
        changed = data.batch(torch.tensor([n]), seed=seed, epoch=epoch)
        assert not torch.equal(changed["video"][0], whole["video"][n])
        assert not torch.equal(changed["audio"][0], whole["audio"][n])


def test_a_crop_a_flip_and_colours_are_those_of_the_whole_clip(odd):
    """A still picture with an edge: whatever is drawn, its frames stay equal."""
    data = load(odd)
    n = rows(data)["picture"]
    shown = torch.cat([data.batch(torch.tensor([n]), epoch=e)["video"] for e in range(6)])
    assert (shown == shown[:, :1]).all()
    assert len({tuple(x.flatten().tolist()) for x in shown}) > 3


def test_noise_is_a_share_of_the_loudest_sample(odd):
    clean, noisy = load(odd, PLAIN), load(odd, replace(PLAIN, noise=0.05))
    at = torch.tensor([rows(clean)["sound"]])
    a, b = (d.batch(at, seed=1)["audio"][0] for d in (clean, noisy))
    assert abs(float((b - a).std() / a.abs().max()) - 0.05) < 0.003


def test_the_cache_changes_nothing(odd, tmp_path):
    """Pictures bit for bit; sound as far as AAC goes, whose decoder fills some bands with noise of its own."""
    plain, cached = load(odd), load(odd, cache=tmp_path / "cache")
    every = torch.arange(len(plain))
    for epoch in range(3):
        a, b = (d.batch(every, seed=0, epoch=epoch) for d in (plain, cached))
        torch.testing.assert_close(a.pop("audio"), b.pop("audio"), rtol=0, atol=0.01)
        same(a, b)


def test_sound_that_ends_early_is_absent_with_a_cache_too(media, tmp_path):
    """Pictures of 4 s, sound of 0.5 s: a window behind it has none, and is not silent."""
    clips = [clip("early", source="plain.mp4", audio_source="short.mp4"), clip("plain")]
    made = library(tmp_path, media, clips)
    made.put_sources([replace(made.sources()["short.mp4"], duration=4.0)])
    plain, cached = load(made).views(windows=4), load(made, cache=tmp_path / "cache").views(windows=4)
    a, b = (d.batch(torch.arange(8)) for d in (plain, cached))
    assert a["has_audio"].tolist() == [True, False, False, False] + [True] * 4
    assert torch.equal(a["has_audio"], b["has_audio"])
    assert torch.equal(a["video"], b["video"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_and_resumption_change_nothing(long, tmp_path):
    data = load(long, cache=tmp_path / "cache")

    def batches(workers, start=0):
        return list(Loader(data, Sampling(batch_size=2, seed=5, epochs=2), workers=workers).batches(start))

    here, away, later = batches(0), batches(2), batches(0, start=3)
    assert len(here) == len(away) == len(later) + 3 == 4
    for a, b in zip(here, away, strict=True):
        same(a, b)
    same(here[3], later[0])
    for a, b in zip(in_order(data, rows=3, workers=1), in_order(data, rows=3), strict=True):
        same(a, b)


def test_all_in_order(odd):
    views = load(odd).views(windows=2, crops=1)
    assert len(views) == 2 * len(ODD)
    parts = list(in_order(views, rows=5))
    assert [len(p["group"]) for p in parts] == [5] * 5 + [3]
    same({k: torch.cat([p[k] for p in parts]) for k in parts[0]}, views.batch(torch.arange(len(views))))


# -- what a user can mend ----------------------------------------------------------------------------------------------


def test_a_window_longer_than_every_clip_is_one_clear_line(odd, long):
    with pytest.raises(SeehearError, match=r"a window of 20 s is asked for, and the longest of .* lasts 6.00 s"):
        load(long, replace(TINY, frames=100))
    with pytest.raises(SeehearError, match=r"the longest of 13 clips lasts 4.00 s: take fewer frames"):
        load(odd, replace(TINY, seconds=5.0))
    load(odd, replace(TINY, seconds=5.0, modalities=("video", "text")))


def test_a_modality_that_no_clip_has_is_one_clear_line(tmp_path, media):
    made = library(tmp_path, media, [clip("silent", has_audio=False), clip("plain", has_audio=False)])
    with pytest.raises(SeehearError, match="no clip has audio: leave that modality out"):
        load(made)
    batch = load(made, replace(TINY, modalities=("video", "text"))).batch(torch.arange(2))
    assert set(batch) == {"video", "text", "has_video", "has_text", "group"}


def test_a_folder_that_moved_is_one_clear_line(tmp_path, media):
    made = library(tmp_path, tmp_path / "gone", [clip("plain"), clip("short")])
    with pytest.raises(SeehearError, match=r"media are not where they were: there is no .*gone/plain.mp4"):
        load(made)


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        ({"modalities": ("video", "smell")}, "unknown modality 'smell'"),
        ({"frames": 0}, "frames must be more than 0; got 0"),
        ({"crop": (0.5, 0.2)}, "crop must be two rising shares"),
        ({"aspect": (0.0, 2.0)}, "aspect must be two rising numbers"),
        ({"region": (0.0, 0.0, 0.0, 1.0)}, "region must be .top, left, bottom, right."),
        ({"flip": 1.5}, "flip must be from 0 to 1"),
        ({"seconds": -1.0}, "seconds must be 0 or more"),
    ],
)
def test_wrong_settings_are_refused(wrong, match):
    with pytest.raises(SeehearError, match=match):
        RawConfig(**wrong)


def test_texts_need_a_vocabulary(long):
    with pytest.raises(ValueError, match="give the vocabulary"):
        load_raw(long, TINY)
    words = load_raw(long, replace(TINY, modalities=("video", "audio")))
    assert "text" not in words.batch(torch.arange(2))
    with pytest.raises(SeehearError, match=r"no clip .* meets"):
        load_raw(long, TINY, vocabulary=library_vocabulary(long, VocabularyConfig()), where="split = 'test'")


def test_clips_with_two_modalities(odd):
    data = load(odd)
    left = set(data.joined().ids)
    assert left == {c.id for c in ODD} - {"text_only"}
    assert set(data.joined(3).ids) == {"plain", "short", "one_frame", "slides", "broken", "cut", "moved"}
    assert len(data.split("train")) == len(ODD)
    assert len(data.split("test")) == 0
