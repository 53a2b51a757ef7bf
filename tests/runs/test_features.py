"""Frozen features of clips in several views."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.methods.base import tower_features
from seehear.runs.features import features_of
from tests.downstream.small import films, vatt
from tests.inputs.raw_library import load


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    return load(films(tmp_path_factory.mktemp("films"), 5, silent=(1,)))


@pytest.fixture(scope="module")
def model():
    return vatt()


def test_views_are_the_rows_of_the_data_one_by_one(media, model):
    found = features_of(model, media.views(windows=3, crops=2), batch_size=8)
    views = media.views(windows=3, crops=2)
    assert found["video"].shape == (5, 6, 16)
    assert found["audio"].shape == (5, 3, 16)
    assert all(x.dtype == np.float32 for x in found.values())
    for clip, view in ((0, 0), (2, 3), (4, 5)):
        batch = views.batch(torch.tensor([6 * clip + view]))
        with torch.no_grad():
            video, audio = (model.features(m, batch[m])[0] for m in ("video", "audio"))
        assert np.allclose(found["video"][clip, view], video, atol=1e-5)
        assert np.allclose(found["audio"][clip, view // 2], audio, atol=1e-5)


def test_what_is_not_there_is_nan(media, model):
    found = features_of(model, media, towers=("video", "audio", "video+audio"))
    silent = [clip == 1 for clip in range(5)]
    assert np.isnan(found["audio"]).any(axis=(1, 2)).tolist() == silent
    assert np.isnan(found["video+audio"]).all(axis=(1, 2)).tolist() == silent
    assert np.isfinite(found["video"]).all()
    both = np.concatenate([found["video"], found["audio"]], axis=2)
    assert np.array_equal(found["video+audio"][2:], both[2:])


def test_batches_hold_whole_clips_in_order(media, model, monkeypatch):
    whole, sizes = features_of(model, media.views(windows=2), batch_size=64)["video"], []

    def seen(method, tower, batch):
        sizes.append(len(batch["group"]))
        return tower_features(method, tower, batch)

    monkeypatch.setattr("seehear.runs.features.tower_features", seen)
    found = features_of(model, media.views(windows=2), towers=("video",), batch_size=5)["video"]
    assert sizes == [4, 4, 2]
    assert np.allclose(found, whole, atol=1e-5)


def test_a_model_that_fuses_is_asked_to():
    class Fuses(torch.nn.Module):
        def fused(self, batch, modalities, *, rng=None):
            return {m: batch[m] + 1 for m in ("audio", "video")}

    batch = {"video": torch.ones(2, 3), "audio": torch.zeros(2, 3)}
    found = tower_features(Fuses(), "video+audio", batch)
    assert torch.equal(found, torch.tensor([[2.0, 2, 2, 1, 1, 1]] * 2))


def test_towers_that_cannot_be(media, model):
    with pytest.raises(SeehearError, match=r"unknown tower 'vidoe'; did you mean 'video'\?"):
        features_of(model, media, towers=("vidoe",))
    only = copy(media)
    only.config = replace(media.config, modalities=("video",))
    with pytest.raises(SeehearError, match="tower 'video\\+audio' needs audio; there is video"):
        features_of(model, only, towers=("video+audio",))
