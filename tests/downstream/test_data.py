"""Labels by name, and how labelled clips are drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.downstream.labels import LabelledFeatures, LabelledMedia, class_weights, drawn_by, labelled, labels_of
from seehear.inputs.raw import load_raw
from seehear.library.records import Clip
from tests.downstream.small import pictures
from tests.inputs.raw_library import PLAIN


def test_labels_by_column_prefix_and_all():
    clip = Clip(id="x", labels=("colour=red", "size: big", "dog"), meta={"speaker": "anna", "mood": ""})
    assert labels_of(clip, "speaker") == ("anna",)
    assert labels_of(clip, "colour") == ("red",)
    assert labels_of(clip, "size") == ("big",)
    assert labels_of(clip, "labels") == ("colour=red", "size: big", "dog")
    assert labels_of(clip, "mood") == labels_of(clip, "dog") == ()


def test_rare_classes_are_drawn_more_often():
    """Each class has 1000 / (its clips + 0.01), a clip the sum over its labels."""
    weights = class_weights([(0,), (0,), (0,), (0, 1)], 2)
    assert weights.tolist() == pytest.approx([249.376559, 249.376559, 249.376559, 1239.475569], abs=1e-6)
    often = Counter(drawn_by(weights, 4000, seed=0).tolist())
    assert often[3] / 4000 == pytest.approx(1239.475569 / weights.sum(), abs=0.03)


@given(st.integers(2, 40), st.integers(1, 60), st.integers(0, 1000))
def test_fewer_clips_than_there_are_come_once_each(clips, count, seed):
    weights = np.random.default_rng(seed).random(clips) + 0.1
    found = drawn_by(weights, count, seed)
    assert len(found) == count
    assert torch.equal(found, drawn_by(weights, count, seed))
    assert 0 <= int(found.min()) <= int(found.max()) < clips
    if count < clips:
        assert len(set(found.tolist())) == count


def test_without_putting_back_the_first_is_drawn_by_its_weight():
    first = Counter(set(drawn_by(np.array([1.0, 1.0, 8.0]), 1, seed).tolist()).pop() for seed in range(600))
    assert first[2] / 600 == pytest.approx(0.8, abs=0.06)


def test_batches_hold_labels_and_each_epoch_draws_anew(tmp_path):
    library = pictures(tmp_path, {"train": 6, "test": 2}, several=True)
    media = load_raw(library, replace(PLAIN, modalities=("video",)))
    found = labelled(library, media, "labels", tower="video")
    assert found.several
    assert found.classes() == ("colour=blue", "colour=red", "loud")
    data = LabelledMedia(found.split("train"), found.classes())
    batch = data.batch(torch.tensor([1, 2]))
    assert batch["label"].tolist() == [[1, 0, 1], [0, 1, 0]]
    assert torch.equal(batch["video"], media.batch(torch.tensor([1, 2]))["video"])
    drawn = LabelledMedia(found.split("train"), found.classes(), drawn=4)
    assert len(drawn) == len(drawn.groups) == 4
    epochs = [drawn.clips(0, epoch).tolist() for epoch in range(5)]
    assert len({tuple(e) for e in epochs}) > 1
    assert drawn.clips(0, 2).tolist() == epochs[2]
    features = LabelledFeatures(np.eye(6), found.split("train").truth(found.classes()))
    assert torch.equal(features.batch(torch.tensor([1, 2]))["label"], batch["label"])
