"""A tower with a map behind it: losses, mixing, rates, and what is left out of the model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.methods.base import config_from, tower_features
from seehear.methods.classifier import (
    Classifier,
    ClassifierConfig,
    Learning,
    label_weights,
    masked,
    smoothed,
    unneeded,
)
from seehear.nn.random import Randomness
from seehear.train.optim import Computation, gradients
from tests.downstream.small import SIZE, vatt


def rng(rows, step=0):
    return Randomness(0, step, 0, rows, rows)


def at_hand(classes=3, width=4, **changed):
    """A map of features that are at hand."""
    torch.manual_seed(0)
    several = changed.pop("several", False)
    names = tuple("abcdefgh"[:classes])
    return Classifier(ClassifierConfig(classes=names, width=width, several=several, learning=Learning(**changed)))


def batch_of(rows=6, classes=3, width=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    label = torch.eye(classes)[torch.arange(rows) % classes]
    features = torch.randn(rows, width, generator=g)
    return {"features": features, "has_features": torch.ones(rows, dtype=torch.bool), "label": label}


def loss_of(model, batch):
    draws = rng(len(batch["label"]))
    return model.objective(model.encode(batch, rng=draws), progress=0.0, rng=draws).loss


# -- losses ------------------------------------------------------------------------------------------------------------


def test_smoothed_targets():
    found = smoothed(torch.tensor([[0.0, 1.0, 0.0, 0.0]]), 0.1)
    assert found[0].tolist() == pytest.approx([0.025, 0.925, 0.025, 0.025], abs=1e-6)


def test_clips_with_several_labels_weigh_less_where_they_repeat():
    labels = torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 0], [0, 0, 0]])
    assert label_weights(labels).tolist() == pytest.approx([0.75, 0.5, 1.0, 0.0], abs=1e-6)


@given(st.integers(0, 1000), st.integers(1, 6), st.integers(2, 5))
def test_weights_sum_to_the_classes_that_there_are(seed, rows, classes):
    labels = (np.random.default_rng(seed).random((rows, classes)) < 0.4).astype(np.float32)
    found = label_weights(torch.from_numpy(labels))
    share = [[labels[i, c] / max(labels[i].sum(), 1) / max(labels[:, c].sum(), 1) for c in range(classes)]
             for i in range(rows)]  # fmt: skip
    assert found.tolist() == pytest.approx([sum(row) for row in share], abs=1e-5)


def test_one_class_by_hand():
    model, batch = at_hand(smoothing=0.1), batch_of()
    logits = model.classify(batch["features"]).detach().double().numpy()
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    target = 0.9 * batch["label"].numpy() + 0.1 / 3
    assert float(loss_of(model, batch).detach()) == pytest.approx(-(target * log_p).sum(1).mean(), abs=1e-6)


@pytest.mark.parametrize("sum_classes", [True, False])
def test_several_classes_by_hand(sum_classes):
    model = at_hand(several=True, weighted=True, sum_classes=sum_classes)
    batch = batch_of(rows=3) | {"label": torch.tensor([[1.0, 0, 1], [1, 0, 0], [0, 1, 0]])}
    p = torch.sigmoid(model.classify(batch["features"])).detach().double().numpy()
    y = batch["label"].double().numpy()
    each = -(y * np.log(p) + (1 - y) * np.log(1 - p))
    rows = each.sum(1) if sum_classes else each.mean(1)
    assert float(loss_of(model, batch).detach()) == pytest.approx((rows * [0.75, 0.5, 1.0]).mean(), abs=1e-6)


def test_rows_that_could_not_be_read_do_not_count():
    model, batch = at_hand(), batch_of()
    batch["has_features"][4:] = False
    batch["features"][4:] = 1e6
    some = {k: x[:4] for k, x in batch.items()}
    assert torch.allclose(loss_of(model, batch), loss_of(model, some))
    batch["has_features"][:] = False
    none = loss_of(model, batch)
    none.backward()
    assert float(none.detach()) == 0
    assert all(p.grad is None or not p.grad.any() for p in model.parameters())


def test_biases_start_at_rare_classes():
    config = ClassifierConfig(
        classes=tuple(map(str, range(527))), width=4, several=True, learning=Learning(prior_bias=True, init_std=2e-5)
    )
    model = Classifier(config)
    assert model.last.bias.tolist() == pytest.approx([-6.265301] * 527, abs=1e-6)
    assert 1e-5 < float(model.last.weight.detach().std()) < 3e-5


def test_a_map_of_low_rank():
    model = at_hand(width=8, rank=2, dropout=0.9, l2=0.1)
    assert (tuple(model.inner.weight.shape), tuple(model.last.weight.shape)) == ((2, 8), (3, 2))
    batch = batch_of(width=8)
    encoded = model.encode(batch, rng=rng(6))
    plain = replace(model.config, learning=replace(model.config.learning, l2=0.0))
    other = Classifier(plain)
    other.load_state_dict(model.state_dict())
    with_l2 = model.objective(encoded, progress=0.0, rng=rng(6)).loss
    without = other.objective(encoded, progress=0.0, rng=rng(6)).loss
    assert torch.allclose(with_l2 - without, 0.1 * model.last.weight.square().sum())


# -- mixup and SpecAug -------------------------------------------------------------------------------------------------


def test_mixup_mixes_inputs_and_labels_by_one_share():
    model = at_hand(mixup=1.0, mixup_beta=5.0)
    batch = batch_of(rows=8, classes=3)
    batch["features"] = torch.cat([batch["label"], torch.zeros(8, 1)], dim=1)  # what is mixed can be read off
    batch["has_features"][5] = False
    mixed = model.assemble(batch, rng=rng(8))
    assert torch.allclose(mixed["features"][:, :3], mixed["label"])
    assert torch.allclose(mixed["label"].sum(1), torch.ones(8))
    assert not torch.equal(mixed["label"], batch["label"])
    assert torch.equal(mixed["label"][5], batch["label"][5])  # alone among those without features


def test_mixup_of_bytes_and_of_a_part_of_the_clips():
    tower = fine_tuned("video", mixup=0.5)
    pictures = torch.full((64, 4, 16, 16, 3), 10, dtype=torch.uint8)
    pictures[::2] = 200
    batch = {"video": pictures, "has_video": torch.ones(64, dtype=torch.bool), "label": torch.eye(2).repeat(32, 1)}
    mixed = tower.assemble(batch, rng=rng(64))
    assert mixed["video"].dtype == torch.uint8
    share = mixed["label"][:, 0]
    assert torch.allclose(mixed["video"][:, 0, 0, 0, 0].float(), 10 + 190 * share, atol=0.51)
    untouched = (share == batch["label"][:, 0]).float().mean()
    assert 0.5 < untouched < 0.95  # half of them, and those that met their like


def test_specaug_hides_a_run_of_frames_and_one_of_bands():
    x = torch.ones(3, 10, 6)
    draws = torch.tensor([[0.99, 0.99, 0.0, 0.0], [0.0, 0.0, 0.5, 0.5], [0.5, 0.99, 0.99, 0.99]])
    found = masked(x, draws, time=4, bands=2)
    assert (found[0] == 0).all(1).nonzero().flatten().tolist() == [0, 1, 2, 3]
    assert (found[0] == 0).all(0).nonzero().flatten().tolist() == [0, 1]
    assert found[1].all()
    assert (found[2] == 0).all(1).nonzero().flatten().tolist() == [8, 9]
    assert (found[2] == 0).all(0).nonzero().flatten().tolist() == [4, 5]


def test_specaug_acts_in_training_only_and_needs_a_spectrogram():
    tower = fine_tuned("audio", mask_time=3, sound="spectrogram", mel_patch=(2, 8))
    batch = {"audio": torch.randn(2, 6400, generator=torch.Generator().manual_seed(0))}
    plain = tower.tower(batch)
    assert torch.equal(plain, tower.model.features("audio", batch["audio"]))
    assert any(not torch.equal(plain, tower.tower(batch, rng=rng(2, step))) for step in range(4))
    assert torch.equal(plain, tower.tower(batch))  # nothing is left behind
    with pytest.raises(SeehearError, match="hide parts of a spectrogram: this tower makes none"):
        fine_tuned("audio", mask_time=3)


# -- the model it is of ------------------------------------------------------------------------------------------------


def fine_tuned(tower, classes=2, sound="waveform", mel_patch=(16, 5), several=False, **learning):
    model = vatt(sound=sound, mel_patch=mel_patch, keep={"video": 1.0, "audio": 1.0})
    config = ClassifierConfig(
        classes=tuple("abcdefgh"[:classes]),
        width=16 * len(tower.split("+")),
        tower=tower,
        several=several,
        method="vatt",
        model=asdict(model.config),
        left_out=unneeded(model, tower, one_clip()),
        learning=Learning(**learning),
    )
    return Classifier(config, model)


def one_clip():
    return {"video": torch.zeros(1, 4, 16, 16, 3, dtype=torch.uint8), "audio": torch.ones(1, 6400)}


def test_only_the_tower_is_kept():
    tower = fine_tuned("video")
    assert set(tower.config.left_out) >= {"tokens.audio", "tokens.text", "encoders.audio", "encoders.text", "coarsen"}
    names = {n.split(".")[1] + "." + n.split(".")[2] for n in tower.state_dict() if n.startswith("model.")}
    assert names == {"tokens.video", "encoders.video"}
    batch = one_clip() | {"has_video": torch.tensor([True]), "label": torch.eye(2)[:1]}
    assert torch.equal(tower.tower(batch), vatt(keep={"video": 1.0}).features("video", batch["video"]))


def test_both_towers_side_by_side():
    tower = fine_tuned("video+audio")
    batch = one_clip()
    whole = vatt()
    assert tower.tower(batch).shape == (1, 32)
    assert torch.equal(tower.tower(batch)[:, 16:], whole.features("audio", batch["audio"]))
    assert torch.equal(tower_features(whole, "video+audio", batch), tower.tower(batch))


def test_it_is_made_again_from_its_settings():
    tower = fine_tuned("audio", norm=True, layer_decay=0.5)
    plain = json.loads(json.dumps(asdict(tower.config)))
    again = Classifier.from_config(plain)
    again.load_state_dict(tower.state_dict())
    batch = one_clip()
    assert again.config.classes == ("a", "b")
    assert torch.equal(again.classify(again.tower(batch)), tower.classify(tower.tower(batch)))
    with pytest.raises(SeehearError, match="unknown Classifier option 'nrom'; did you mean 'norm'"):
        config_from(ClassifierConfig, {"classes": ("a", "b"), "width": 4, "learning": {"nrom": True}})


def test_rates_fall_from_the_map_to_the_patches():
    tower = fine_tuned("video", layer_decay=0.5, tower_lr=0.1)
    rate = {name: tower.lr_multiplier(name) for name, _ in tower.named_parameters()}
    assert SIZE.layers == 2
    assert rate["last.weight"] == 1.0
    assert rate["model.encoders.video.norm.weight"] == pytest.approx(0.1)
    assert rate["model.encoders.video.blocks.1.up.weight"] == pytest.approx(0.1 * 0.5)
    assert rate["model.encoders.video.blocks.0.up.weight"] == pytest.approx(0.1 * 0.25)
    for name in ("project.weight", "positions.table", "positions.norm.weight", "aggregate"):
        assert rate[f"model.tokens.video.{name}"] == pytest.approx(0.1 * 0.125)


def test_a_tower_that_stays_as_it_is():
    tower = fine_tuned("video", tower_lr=0.0)
    assert [n for n, p in tower.named_parameters() if p.requires_grad] == ["last.weight", "last.bias"]


def test_settings_that_cannot_be():
    with pytest.raises(SeehearError, match=r"smoothing must be in \[0, 1\); got 1"):
        Learning(smoothing=1)
    with pytest.raises(SeehearError, match=r"unknown tower 'image'"):
        ClassifierConfig(classes=("a", "b"), width=1, tower="image")
    with pytest.raises(SeehearError, match="two different classes"):
        ClassifierConfig(classes=("a", "a"), width=1)


def test_micro_batches_give_the_gradient_of_the_whole():
    """Mixup, dropout, SpecAug and labels that weigh by the batch are the same whichever way it is cut."""
    options = {"mixup": 0.5, "dropout": 0.3, "mask_time": 3, "weighted": True, "drop_path": 0.2}
    audio = torch.randn(8, 6400, generator=torch.Generator().manual_seed(0))
    label = (torch.rand(8, 2, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    batch = {"audio": audio, "has_audio": torch.arange(8) != 3, "label": label}
    found = []
    for micro_batch in (None, 3):
        tower = fine_tuned("audio", sound="spectrogram", mel_patch=(2, 8), several=True, **options)
        gradients(tower, batch, progress=0.0, rng=rng(8), how=Computation(micro_batch=micro_batch))
        found.append({name: p.grad for name, p in tower.named_parameters()})
    assert all(torch.allclose(found[0][k], found[1][k], atol=1e-6) for k in found[0] if found[0][k] is not None)
    assert any(g is not None and g.any() for g in found[0].values())
