"""Gradient caching and processes give the gradient of the plain full batch."""

from __future__ import annotations

import pytest
import torch

from seehear.nn.random import Randomness
from seehear.train.optim import Computation, gradients
from tests.methods_under_test import EACH, METHODS

ROWS = 20


def gradient(name, *, dtype=torch.float64, **how):
    make_method, make_data = METHODS[name]
    data = make_data(ROWS)
    method = make_method().to(dtype)
    out = gradients(
        method,
        data.batch(torch.arange(ROWS), seed=0, epoch=0),
        progress=0.25,
        rng=Randomness(seed=3, step=7, start=0, stop=ROWS, total=ROWS),
        how=Computation(**how),
    )
    return out, {n: p.grad for n, p in method.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("micro_batch", [1, pytest.param(3, marks=pytest.mark.slow), 7, 19])
def test_caching_is_exact(name, micro_batch):
    full, expected = gradient(name)
    cached, found = gradient(name, micro_batch=micro_batch)
    torch.testing.assert_close(cached.loss, full.loss, rtol=1e-12, atol=1e-12)
    assert found.keys() == expected.keys()
    for n in expected:
        torch.testing.assert_close(found[n], expected[n], rtol=1e-9, atol=1e-12, msg=lambda m, n=n: f"{n}: {m}")


@pytest.mark.parametrize("name", EACH)
def test_caching_is_exact_under_autocast(name):
    """Products in bf16 still see the same rows, so the two differ by the order of sums only."""
    _, expected = gradient(name, dtype=torch.float32, precision="bf16")
    _, found = gradient(name, micro_batch=4, dtype=torch.float32, precision="bf16")
    assert found.keys() == expected.keys()
    for n in expected:
        scale = expected[n].abs().max().clamp(min=1e-3)
        assert (found[n] - expected[n]).abs().max() < 0.05 * scale, n


def test_a_micro_batch_of_the_whole_batch_encodes_once():
    make_method, make_data = METHODS["toy"]
    method, calls = make_method(), []

    def counted(batch, *, rng):
        calls.append(len(batch["group"]))
        return method.encode(batch, rng=rng)

    for micro_batch in (ROWS, 8):
        gradients(
            method,
            make_data(ROWS).batch(torch.arange(ROWS), seed=0, epoch=0),
            progress=0.0,
            rng=Randomness(seed=0, step=0, start=0, stop=ROWS, total=ROWS),
            how=Computation(micro_batch=micro_batch, encode=counted),
        )
    assert calls == [20, 8, 8, 4, 8, 8, 4]
