"""MCN's runs: what data fills in, what the paper sets, and that a run of any space design trains, is saved, and is
validated in the space a pair was trained in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.inputs.contexts import ContextConfig
from seehear.inputs.latents import LatentData
from seehear.nn.davenet import PADDING_DB, valid_frames
from seehear.recipes import mcn
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.run import train_on, validation_score
from seehear.space import load_model
from tests.runs.test_run import data, world

L, D, F, S = 5, 6, 8, 40


def small(**options):
    run = mcn.tiny()
    method = {"dim": 16, "hidden": 8, "clusters": 4, "queue": 32, "channels": (8, 16)} | options
    train = {"epochs": 40, "batch_size": 32, "evaluations": 5, "device": "cpu", "fast_matmul": False}
    optim = replace(run.optim, lr=5e-3)
    return replace(run, method=replace(run.method, **method), optim=optim, train=replace(run.train, **train))


def sequences(n: int = 120) -> LatentData:
    """Words and frames that say which of 12 things a clip is of, flat as a library stores them."""
    rng = np.random.default_rng(0)
    video, kind = world(n)["video"], np.arange(n) % 12
    words_NLD = np.zeros((n, L, D), np.float16)
    words_NLD[:, :2] = rng.normal(size=(12, 2, D))[kind]
    mel_NFS = np.full((n, F, S), PADDING_DB, np.float16)
    mel_NFS[:, :, :30] = -40 + 10 * rng.normal(size=(12, F, 30))[kind]
    info = {
        "video": [{"name": "v", "width": video.shape[1], "modality": "video", "fingerprint": ""}],
        "audio": [{"name": "mel", "width": F * S, "shape": [F, S], "modality": "audio", "fingerprint": ""}],
        "text": [{"name": "words", "width": L * D, "shape": [L, D], "modality": "text", "fingerprint": ""}],
    }
    splits = ["train"] * (n - 40) + ["val"] * 20 + ["test"] * 20
    latents = {"video": video, "audio": mel_NFS.reshape(n, -1), "text": words_NLD.reshape(n, -1)}
    return LatentData.from_arrays(latents, splits=splits, encoders=info)


def test_the_paper_is_the_paper():
    """Sections 2 to 6 of the sheet: the README's command."""
    run = mcn.paper()
    method, optim = run.method, run.optim
    assert (method.dim, method.hidden, method.clusters, method.queue, method.refit_every) == (
        6144,
        1024,
        256,
        40_960,
        20,
    )
    assert (method.margin, method.cluster_weight, method.reconstruct_weight) == (0.001, 1.0, 50.0)
    assert (method.similarity, method.normalise, method.audio_norm, method.cluster_over) == (
        "dot",
        "l2",
        "batch",
        "mean",
    )
    assert not method.mask_duplicates
    assert not method.mask_same_group
    assert (optim.lr, optim.floor, optim.weight_decay, optim.warmup_steps, optim.schedule) == (
        1e-4,
        0,
        0,
        5000,
        "cosine",
    )
    assert run.data.contexts == ContextConfig(clips_per_video=32, min_duration=10.0, replacement=True)
    assert (run.train.epochs, run.train.batch_size, run.train.seed) == (30, 128 * 32, 1)
    assert run.train.precision == "bf16"


def test_data_fills_in_what_a_recipe_leaves_open():
    train = sequences().split("train")
    model = mcn.build(small(normalise="l2").method, LatentInputs(train), seed=0, batch_size=32)
    assert model.config.widths == {"video": 20, "audio": F, "text": D}
    assert model.config.inputs == {"audio": "mel", "text": "words"}
    assert model.config.nonnegative == ()
    positive = LatentData.from_arrays({"video": train.every("video").abs(), "text": train.every("video")})
    model = mcn.build(small(normalise="l2").method, LatentInputs(positive), seed=0, batch_size=32)
    assert model.config.nonnegative == ("video",)


def test_few_clips_get_few_clusters():
    train = data(60).split("train")
    model = mcn.build(small(clusters=64, queue=4096).method, LatentInputs(train), seed=0, batch_size=256)
    assert (model.config.clusters, model.config.queue) == (10, 20)  # (20 + 20) / 4


@pytest.mark.parametrize(
    "spaces",
    ["joint", pytest.param("disjoint", marks=pytest.mark.slow), pytest.param("fine_coarse", marks=pytest.mark.slow)],
)
def test_a_run_trains_is_saved_whole_and_validated(spaces, tmp_path):
    latents = data(modalities=("video", "audio", "text"), noise=0.5)
    result = train_on(LatentInputs(latents), small(spaces=spaces), tmp_path / "run")
    assert result.score > 0.45  # chance is 0.275: 0.05 at R@1, 0.5 at R@10
    model, config = load_model(tmp_path / "run")
    assert config["method"] == "mcn"
    model.eval()
    again = validation_score(model, inputs=LatentInputs(latents), clips=latents.split("val").joined())
    assert again["score"] == pytest.approx(result.score, abs=1e-6)


def test_a_pair_is_scored_in_the_smallest_space_that_holds_it():
    inputs = LatentInputs(data(modalities=("video", "audio", "text")))
    latents = inputs.validation
    model = mcn.build(small(spaces="fine_coarse").method, inputs, seed=0, batch_size=16)
    seen = []
    real = model.embed
    model.embed = lambda batch, space=None: seen.append(space) or real(batch, space)
    found = validation_score(model, inputs=inputs, clips=inputs.validation)
    assert {"fine", "coarse"} == set(seen)
    with torch.no_grad():
        fine = real(latents.batch(torch.arange(len(latents))), "fine")
    hits = (fine["video"] @ fine["audio"].T).argmax(1) == torch.arange(len(latents))
    assert found["video->audio R@1"] == pytest.approx(hits.float().mean().item())


def test_sequences_train_from_where_a_library_keeps_them(tmp_path):
    latents = sequences()
    result = train_on(LatentInputs(latents), small(reconstruct_weight=0.0, cluster_weight=0.0), tmp_path / "run")
    assert result.metrics["text->audio R@10"] > 0.9  # 12 kinds among 20 clips; chance is 0.5


def test_flat_words_and_frames_are_what_they_were():
    latents = sequences(60)
    model = mcn.build(small().method, LatentInputs(latents.split("train")), seed=0, batch_size=16)
    flat = latents.batch(torch.arange(4))
    mel_BFS = flat["audio"].unflatten(1, (F, S))
    whole = dict(flat) | {"text": flat["text"].unflatten(1, (L, D)), "audio": mel_BFS[..., :30]}
    one, other = model.embed(flat), model.embed(whole)
    for m in one:
        torch.testing.assert_close(one[m], other[m], rtol=1e-4, atol=1e-5)
    assert valid_frames(mel_BFS).tolist() == [30] * 4
    assert valid_frames(torch.full((1, F, S), PADDING_DB)).tolist() == [0]


def test_recipes_by_name():
    assert recipe("mcn") == recipe("mcn.base")
    assert type(recipe("mcn.tiny").method) is type(mcn.paper().method)
