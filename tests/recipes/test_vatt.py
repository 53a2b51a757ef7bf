"""Runs of VATT: what the paper says, and what a small run shows its model."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from seehear.methods.vatt import SIZES, VATT, VATTConfig
from seehear.nn.transformer import grid
from seehear.runs.config import recipe
from seehear.train.optim import learning_rate

SMALL = ("vatt.tiny", "vatt.small")


def test_the_paper():
    run = recipe("vatt.paper")
    assert (
        run.method.reading(run.data.raw, vocabulary=65_536) == VATTConfig()
    )  # what is shown is what the defaults are for
    assert (run.data.raw.video_seconds, run.data.raw.audio_seconds, run.data.raw.contexts, run.data.windows) == (
        3.2,
        3.2,
        5,
        4,
    )
    assert (run.train.steps, run.train.batch_size, run.optim.weight_decay, run.optim.clip) == (500_000, 2048, 0.0, None)


@pytest.mark.parametrize(
    ("step", "expected"), [(0, 0.0), (5000, 5e-5), (10_000, 1e-4), (255_000, 8.535534e-5), (500_000, 5e-5)]
)
def test_the_rate_of_the_paper(step, expected):
    """The warm-up and the quarter-period cosine of the paper."""
    place = SimpleNamespace(rows=2048, epoch=0)
    loader = SimpleNamespace(progress=lambda step: step / 500_000, place=lambda step: place)
    assert learning_rate(recipe("vatt.paper").optim, loader, step) == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("vatt.paper", ("medium", "base", "small")),
        ("vatt.base", ("base", "base", "small")),
        ("vatt.medium", ("medium", "base", "small")),
    ],
)
def test_the_sizes_of_the_paper(name, sizes):
    run = recipe(name)
    assert (run.method.video, run.method.audio, run.method.text) == tuple(SIZES[size] for size in sizes)
    assert run.method.variant == "specific"
    assert replace(run, recipe="", method=recipe("vatt.paper").method) == replace(recipe("vatt.paper"), recipe="")


def test_the_shared_encoder_of_the_paper():
    run = recipe("vatt-ma.medium")
    assert run.recipe == "vatt-ma.medium"
    assert (run.method.variant, run.method.shared) == ("agnostic", SIZES["medium"])
    assert replace(run, recipe="", method=recipe("vatt.paper").method) == replace(recipe("vatt.paper"), recipe="")


@pytest.mark.parametrize("name", SMALL)
def test_a_small_run_leaves_nothing_of_a_clip_out(name):
    run = recipe(name)
    config = run.method.reading(run.data.raw, vocabulary=100)
    for m in ("video", "audio"):
        shape, patch = config.grid_of(m)
        assert [n * p for n, p in zip(grid(shape, patch), patch, strict=True)] == list(shape)
    assert config.pairs_here() == (("video", "audio"), ("video", "text"), ("audio", "text"))


def test_the_tiny_one_is_tiny():
    run = recipe("vatt.tiny")
    model = VATT(run.method.reading(run.data.raw, vocabulary=1000))
    assert sum(p.numel() for p in model.parameters()) < 2.5e6
    clips = {
        "video": torch.full((2, 60, 24, 24, 3), 128, dtype=torch.uint8),
        "audio": torch.zeros(2, 38_400),
        "text": torch.zeros(2, 1, 8, dtype=torch.int64),
    }
    found = model.eval().embed(clips)
    assert {m: tuple(z.shape) for m, z in found.items()} == dict.fromkeys(("video", "audio", "text"), (2, 128))
