"""From files of every kind to a step of VATT: what cannot be read or is not there is masked, and never the end of a
run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.library.tables import Text
from seehear.methods.vatt import VATT, VATTConfig
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size
from seehear.train.config import read_metrics
from seehear.train.loop import OptimConfig, TrainConfig, fit
from tests.inputs.raw_library import clip, library, load, rows, unread_files
from tests.library.makers import film, picture, sound

SMALL = Size(layers=1, width=16, hidden=32, heads=2)
WHOLE = ("plain", "again", "third")
CLIPS = [
    clip("plain", texts=(Text("a dog"),)),
    clip("again", source="plain.mp4", texts=(Text("two cats"),)),
    clip("third", source="plain.mp4", texts=(Text("a bird sings"),)),
    clip("without_sound", source="silent.mp4", has_audio=False),
    clip("without_text", source="plain.mp4", texts=()),
    clip("shorter_than_the_window", source="short.mp4", end=0.3),
    clip("one_frame", end=0.04),
    clip("corrupt_in_the_middle", end=8.0),
    clip("no_film_at_all"),
    clip("sound_alone", source="sound.wav", has_video=False),
    clip("still", source="picture.png", end=0.0, has_audio=False),
]
LACKS = {
    "without_sound": {"audio"},
    "without_text": {"text"},
    "no_film_at_all": {"video", "audio"},
    "sound_alone": {"video"},
    "still": {"audio"},
}


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    film(folder / "plain.mp4", gop=100)
    film(folder / "silent.mp4", audio=None)
    film(folder / "short.mp4", seconds=0.3)
    film(folder / "one_frame.mp4", seconds=0.04)
    sound(folder / "sound.wav")
    picture(folder / "picture.png")
    (folder / "no_film_at_all.mp4").write_bytes(b"no film at all" * 100)
    damaged = film(
        folder / "corrupt_in_the_middle.mp4", gop=5, options={"movflags": "faststart", "bf": "0"}, seconds=8.0
    )
    content = bytearray(damaged.read_bytes())
    begin, length = len(content) * 4 // 10, len(content) * 3 // 10
    content[begin : begin + length] = np.random.default_rng(0).bytes(length)
    damaged.write_bytes(bytes(content))
    return library(tmp_path_factory.mktemp("lib"), folder, CLIPS)


@pytest.fixture(scope="module")
def media(films):
    return load(films)


def model_for(data, **options):
    config = VATTConfig(
        video=SMALL, audio=SMALL, text=SMALL, shared=SMALL, patch=(2, 8, 8), word_width=8, dim=8, **options
    )
    torch.manual_seed(0)
    return VATT(config.reading(data.config, vocabulary=20))


def step(model, batch):
    rng = Randomness(0, 0, 0, len(batch["group"]), len(batch["group"]))
    out = model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)
    out.loss.backward()
    return out


def gradients_of(model, batch):
    model.zero_grad()
    return step(model, batch), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("variant", ["specific", "agnostic"])
@pytest.mark.parametrize("name", [c.id for c in CLIPS[3:]])
def test_an_odd_clip_among_whole_ones(media, name, variant):
    """Its row is masked where it lacks something, whatever stands there, and all gradients are finite."""
    at = rows(media)
    batch = media.batch(torch.tensor([at[n] for n in (*WHOLE, name)]), seed=1)
    lacks = {m for m in media.modalities if not batch[f"has_{m}"][3]}
    assert lacks == LACKS.get(name, set())
    model = model_for(media, variant=variant)
    out, gradients = gradients_of(model, batch)
    assert set(out.metrics) == {"loss/video-audio", "loss/video-text"}
    assert out.loss.isfinite()
    assert all(g.isfinite().all() for g in gradients.values())
    for m in lacks:
        batch[m][3] = 7
    again, same = gradients_of(model, batch)
    assert torch.equal(again.loss, out.loss)
    for n, g in gradients.items():
        torch.testing.assert_close(same[n], g, msg=lambda said, n=n: f"{n}: {said}")


@pytest.mark.parametrize("form", ["paper", "code"])
def test_a_batch_of_odd_clips_alone(media, form):
    """The words of one clip are told apart from those of the others; a clip alone has nothing to be told apart from."""
    at = rows(media)
    batch = media.batch(torch.tensor([at[n] for n in ("no_film_at_all", "sound_alone", "still")]), seed=1)
    out, gradients = gradients_of(model_for(media, form=form), batch)
    assert set(out.metrics) == {"loss/video-text"}
    assert out.loss.isfinite()
    assert all(g.isfinite().all() for g in gradients.values())
    alone = media.batch(torch.tensor([at["still"]]), seed=1)
    out, gradients = gradients_of(model_for(media, form=form), alone)
    assert (out.metrics, out.loss.item()) == ({}, 0.0)
    assert not any(g.any() for g in gradients.values())


def test_a_run_over_all_of_them(films, tmp_path, capsys):
    media = load(films)  # of its own: a file that cannot be read is listed once
    config = TrainConfig(batch_size=6, steps=3, device="cpu", log_every=1, workers=0)
    fit(model_for(media), media, config=config, optim=OptimConfig(), folder=tmp_path / "run")
    losses = [row["loss"] for row in read_metrics(tmp_path / "run" / "metrics.jsonl") if "loss" in row]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert media.lost > 0
    unread = unread_files(capsys.readouterr().err)
    assert {"no_film_at_all.mp4"} <= unread <= {"no_film_at_all.mp4", "corrupt_in_the_middle.mp4"}


def test_clips_that_this_model_cannot_read_are_one_clear_line(media):
    batch = media.batch(torch.tensor([rows(media)[n] for n in WHOLE]))
    grey = batch | {"video": batch["video"][..., :1]}
    with pytest.raises(SeehearError, match="video of a clip is 4 x 16 x 16 x 1, this model reads"):
        step(model_for(media), grey)
    other = batch | {"text": batch["text"] + 20 * (batch["text"] > 0)}
    with pytest.raises(SeehearError, match="is not among the 20 of this model: another vocabulary"):
        step(model_for(media), other)
    with pytest.raises(SeehearError, match="has 21 words of width 8, this model was made for 20 words of width 8"):
        model_for(media).load_words(torch.zeros(21, 8))
