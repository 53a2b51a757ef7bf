"""A closed form behind a trained model: there where it helps held-out clips, saved with the model, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import torch

from seehear.inputs.latents import LatentData
from seehear.methods import base as registry
from seehear.methods.base import Method, MethodConfig, config_from
from seehear.runs.config import LatentInputs
from seehear.runs.run import validation_score
from seehear.runs.scores import add_last_layer
from seehear.space import SharedSpace, read_config
from seehear.train.files import save_model


@dataclass(frozen=True, kw_only=True)
class PlainConfig(MethodConfig):
    name: ClassVar = "plain"
    widths: dict[str, int] = field(default_factory=lambda: {"video": 12, "text": 12})


class Plain(Method):
    """Vectors as they come: what training left to be had is all of it."""

    name = "plain"
    config_type = PlainConfig

    def __init__(self, config):
        super().__init__()
        self.config, self.spaces = config, {"joint": tuple(config.widths)}


def clips(noise, n=260, turned=True):
    """Two views of a hidden vector, the second turned into another basis."""
    rng = np.random.default_rng(4)
    hidden = rng.normal(size=(n, 12))
    turn = np.linalg.qr(rng.normal(size=(12, 12)))[0] if turned else np.eye(12)
    views = {"video": hidden, "text": hidden @ turn}
    views = {m: (x + noise * rng.normal(size=x.shape)).astype(np.float32) for m, x in views.items()}
    return LatentInputs(LatentData.from_arrays(views, splits=["train"] * 200 + ["val"] * 30 + ["test"] * (n - 230)))


def fitted(inputs):
    method = Plain(PlainConfig()).eval()
    before = validation_score(method, inputs=inputs, clips=inputs.validation)["score"]
    found = add_last_layer(method, inputs, inputs.validation, (), seed=0)
    return method, found, before, validation_score(method, inputs=inputs, clips=inputs.validation)["score"]


def test_it_is_added_where_held_out_clips_gain():
    method, found, before, after = fitted(clips(0.3))
    assert found["joint"]["form"] in ("cca", "ridge")
    assert before < 0.3 < 0.9 < after
    assert found["joint"]["gain"] == pytest.approx(after - before, abs=0.05)
    assert method.own_state() == {}
    assert method.last_sizes == {"joint": {"video": (12, 12), "text": (12, 12)}}


def test_it_is_left_out_where_they_do_not():
    method, found, before, after = fitted(clips(0.3, turned=False))
    assert (found, after, dict(method.state_dict())) == ({}, before, {})


def test_it_is_saved_with_the_model(tmp_path, monkeypatch):
    monkeypatch.setitem(registry.METHODS, "plain", "plain.Plain")
    monkeypatch.setattr("seehear.space.saved.make_method", lambda _, config: Plain(config_from(PlainConfig, config)))
    inputs = clips(0.3)
    method, *_ = fitted(inputs)
    infos = {m: [{"name": f"own-{m}", "fingerprint": "f", "width": 12}] for m in ("video", "text")}
    save_model(tmp_path / "model", method, {"encoders": infos})
    assert read_config(tmp_path / "model")["last_layer"] == {"joint": {"video": [12, 12], "text": [12, 12]}}
    space = SharedSpace.from_pretrained(tmp_path / "model", device="cpu")
    batch = inputs.validation.batch(torch.arange(30))
    expected = method.embed(batch)
    for m, vectors in space.encode_latents({m: batch[m] for m in ("video", "text")}).items():
        np.testing.assert_allclose(vectors, expected[m].numpy(), atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_windows_meet_before_it():
    method, *_ = fitted(clips(0.3))
    x_NWD = torch.randn(5, 3, 12, generator=torch.Generator().manual_seed(0))
    whole = method.raw({"video": x_NWD.mean(1)})["video"]
    torch.testing.assert_close(method.place_windows("video", x_NWD), whole)
