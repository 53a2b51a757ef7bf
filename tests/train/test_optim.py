"""The learning rate of every step, against the values of the method sheets, and what AdamW decays."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.inputs.loader import Loader, Sampling
from seehear.train.optim import (
    OptimConfig,
    learning_rate,
    load_state_by_name,
    optimizer_of,
    set_learning_rate,
    state_by_name,
)
from tests.toy import Toy


class Empty:
    """Only its length matters."""

    heavy = False
    together = 1

    def __init__(self, n: int):
        self.groups = torch.arange(n)

    def __len__(self):
        return len(self.groups)

    def batch(self, indices, *, seed, epoch):
        return {}


def loader(per_epoch: int, epochs: int = 1, batch_size=2, **options):
    return Loader(Empty(2 * per_epoch), Sampling(batch_size=batch_size, seed=0, epochs=epochs, **options))


FUSEMIX = OptimConfig(lr=1e-3, floor=1e-6, schedule="epoch_cosine", warmup_steps=100, warmup_from=1e-6)


@pytest.mark.parametrize(
    ("epoch", "within", "expected"),
    [(0, 0, 1e-6), (0, 50, 5.005e-4), (0, 100, 1e-3), (0, 121, 1e-3), (1, 0, 9.99990e-4), (1, 121, 9.99990e-4)]
    + [(125, 7, 8.53700e-4), (250, 0, 5.00500e-4), (375, 99, 1.47300e-4), (499, 121, 1.00986e-6)],
)
def test_the_schedule_of_the_released_fusemix_code(epoch, within, expected):
    """Section 5.1 of the sheet: 122 steps an epoch, 500 epochs."""
    run = loader(122, 500)
    assert learning_rate(FUSEMIX, run, epoch * 122 + within) == pytest.approx(expected, rel=5e-6)


def test_that_warmup_ends_with_the_first_epoch():
    run = loader(40, 500)
    assert learning_rate(FUSEMIX, run, 39) == pytest.approx(1e-6 + 0.39 * (1e-3 - 1e-6))
    assert learning_rate(FUSEMIX, run, 40) == pytest.approx(9.99990e-4, rel=5e-6)


@pytest.mark.parametrize(("step", "expected"), [(2500, 5e-5), (5000, 1e-4), (139135, 5e-5), (273269, 0.0)])
def test_warm_up_and_half_cosine_of_mcn(step, expected):
    config = OptimConfig(lr=1e-4, floor=0.0, warmup_steps=5000)
    assert learning_rate(config, loader(9109, 30), step) == pytest.approx(expected, rel=1e-5, abs=1e-12)


@pytest.mark.parametrize(
    ("step", "expected"), [(2500, 5e-5), (5000, 1e-4), (100_000, 9.559191e-5), (252_500, 7.5e-5), (499_999, 5e-5)]
)
def test_two_levels_of_vatt(step, expected):
    config = OptimConfig(lr=1e-4, floor=5e-5, warmup_steps=5000)
    run = Loader(Empty(10), Sampling(batch_size=2, seed=0, steps=500_000))
    assert learning_rate(config, run, step) == pytest.approx(expected, rel=1e-6)


def test_constant_after_the_warm_up():
    config = OptimConfig(lr=0.5, schedule="constant", warmup=0.1)
    run = loader(100)
    assert [learning_rate(config, run, s) for s in (0, 5, 10, 99)] == pytest.approx([0, 0.25, 0.5, 0.5])
    assert learning_rate(OptimConfig(lr=0.5, schedule="constant", warmup=0.0), run, 0) == 0.5


def test_the_rate_follows_the_batch_in_fractional_epochs():
    """Batches of 4 rows, then of 8, for a rate meant for 8: half of it first; the cosine runs over epochs."""
    config = OptimConfig(lr=1.0, floor=0.0, warmup=0.0, lr_rows=8)
    run = Loader(Empty(16), Sampling(batch_size=(4, 8), seed=0, epochs=2))
    heights = [0.5 * (1 + math.cos(math.pi * p)) for p in (0, 1 / 8, 2 / 8, 3 / 8, 1 / 2, 3 / 4)]
    expected = [h * scale for h, scale in zip(heights, (0.5, 0.5, 0.5, 0.5, 1, 1), strict=True)]
    assert [learning_rate(config, run, s) for s in range(run.steps)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("power", "rates"), [(1.0, (5.5e-4, 5e-4, 4e-4)), (0.5, (3.316625e-4, 3.162278e-4, 2.828427e-4))]
)
def test_peak_rates_of_diffmavil(power, rates):
    """2e-4 for 256 clips, for the batches that its sheet has in a run (section 5.2); or by their square root."""
    config = OptimConfig(lr=2e-4, schedule="constant", warmup=0.0, lr_rows=256, lr_power=power)
    run = Loader(Empty(704), Sampling(batch_size=(704, 640, 512), seed=0, epochs=3))
    assert [learning_rate(config, run, s) for s in range(run.steps)] == pytest.approx(rates, rel=1e-6)


@given(
    per_epoch=st.integers(1, 30),
    epochs=st.integers(1, 20),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["cosine", "epoch_cosine", "constant"]),
)
def test_the_rate_stays_between_floor_and_top_and_falls_after_the_warm_up(per_epoch, epochs, warmup, schedule):
    config = OptimConfig(lr=1e-3, floor=1e-5, warmup=warmup, warmup_from=1e-5, schedule=schedule)
    run = loader(per_epoch, epochs)
    rates = [learning_rate(config, run, s) for s in range(run.steps)]
    assert all(1e-5 <= r <= 1e-3 + 1e-12 for r in rates)
    after = [r for s, r in enumerate(rates) if run.progress(s) >= warmup]
    assert after == sorted(after, reverse=True)


def test_only_matrices_decay_and_every_parameter_is_in_one_group():
    method = Toy()
    optimizer = optimizer_of(method, OptimConfig(weight_decay=0.3))
    decay = {id(p): g["weight_decay"] for g in optimizer.param_groups for p in g["params"]}
    assert len(decay) == len(list(method.parameters()))
    for p in method.parameters():
        assert decay[id(p)] == (0.3 if p.ndim >= 2 else 0.0)
    set_learning_rate(optimizer, 1e-2)
    rate = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
    assert (rate[id(method.head.weight)], rate[id(method.log_scale)]) == (5e-3, 1e-2)


def test_optimiser_state_goes_by_name():
    """Saved from one, loaded into another whose parameters come in another order."""
    first, second = Toy(), Toy()
    second.head, second.out, second.tower = second._modules.pop("head"), second.out, second._modules.pop("tower")
    assert [n for n, _ in first.named_parameters()] != [n for n, _ in second.named_parameters()]
    optimizers = [optimizer_of(m, OptimConfig()) for m in (first, second)]
    for p in first.parameters():
        p.grad = torch.randn(p.shape, generator=torch.Generator().manual_seed(p.numel()))
    optimizers[0].step()
    saved = state_by_name(first, optimizers[0])
    load_state_by_name(second, optimizers[1], saved)
    again = state_by_name(second, optimizers[1])
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[k], saved[k]) for k in saved)


def test_descent_with_momentum_and_its_state_by_name():
    """w <- w - lr v, v <- 0.9 v + g, at the rate of each parameter."""
    method = Toy()
    optimizer = optimizer_of(method, OptimConfig(kind="sgd", lr=0.1, weight_decay=0.0))
    set_learning_rate(optimizer, 0.1)
    before = method.log_scale.detach().clone()
    for _ in range(2):
        method.log_scale.grad = torch.full_like(method.log_scale, 2.0)
        optimizer.step()
    assert torch.allclose(before - method.log_scale, torch.tensor(0.1 * (2.0 + (0.9 * 2.0 + 2.0))))
    saved = state_by_name(method, optimizer)
    assert torch.allclose(saved["log_scale/momentum_buffer"], torch.tensor(3.8))
    again = optimizer_of(method, OptimConfig(kind="sgd"))
    load_state_by_name(method, again, saved)
    assert torch.equal(state_by_name(method, again)["log_scale/momentum_buffer"], saved["log_scale/momentum_buffer"])
