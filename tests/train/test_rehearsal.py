"""What a run is foretold to take is what its steps are made of."""

from __future__ import annotations

import math
import time

import pytest
import torch

from seehear.train.config import TrainConfig
from seehear.train.optim import OptimConfig
from seehear.train.rehearsal import available_bytes, forward_flops, loader_of, peak_bytes, rehearse, step_flops
from tests.toy import Data, Mixing, Toy

CONFIG = TrainConfig(batch_size=10, device="cpu", workers=0)


class Watched(Toy):
    """Remembers at which moments of the run it was asked."""

    def __init__(self):
        super().__init__()
        self.moments = []

    def before_step(self, progress):
        self.moments.append(progress)


class Slow(Data):
    def batch(self, indices, *, seed, epoch):
        time.sleep(0.05)
        return super().batch(indices, seed=seed, epoch=epoch)


def practise(method, data, *, steps=4, until=math.inf, config=CONFIG):
    return rehearse(method, data, config=config, optim=OptimConfig(), steps=steps, until=until)


def test_steps_are_spread_over_the_run_after_one_that_does_not_count():
    method = Watched()
    done = practise(method, Data(40))
    assert method.moments == [0.0, 0.125, 0.375, 0.625, 0.875]
    assert len(done.seconds) == len(done.waiting) == 4
    assert done.rows == 10


def test_it_ends_when_time_is_up_with_one_step_at_least():
    assert len(practise(Toy(), Data(40), until=time.monotonic()).seconds) == 1


def test_waiting_is_told_from_computing():
    done = practise(Toy(), Slow(40))
    assert min(done.waiting) >= 0.05
    assert done.waited == sum(done.waiting) / sum(done.seconds)
    assert done.per_row >= 0.005


def test_the_method_learns_as_in_a_run():
    method = Toy()
    before = method.head.weight.clone()
    practise(method, Data(40))
    assert not torch.equal(before, method.head.weight)


def test_operations_of_a_step_by_hand():
    """Towers 12 -> 48 -> 8 and a head 8 -> 8, of two modalities; logits of 10 x 10, no gradient for the data."""
    method, data = Toy(), Data(40)
    batch = data.batch(torch.arange(10), seed=0, epoch=0)
    forward = 2 * 10 * (12 * 48 + 48 * 8 + 8 * 8) + 10 * 10 * 8
    assert forward_flops(method, batch, CONFIG, progress=0.0) == 2 * forward
    step = 2 * 10 * (2 * 12 * 48 + 3 * 48 * 8 + 3 * 8 * 8) + 3 * 10 * 10 * 8
    assert step_flops(method, batch, CONFIG, progress=0.0) == 2 * step
    assert all(p.grad is None for p in method.parameters())


def test_gradient_caching_encodes_twice_and_is_counted():
    method, batch = Toy(), Data(40).batch(torch.arange(10), seed=0, epoch=0)
    cached = TrainConfig(batch_size=10, micro_batch=5, device="cpu")
    more = step_flops(method, batch, cached, progress=0.0) - step_flops(method, batch, CONFIG, progress=0.0)
    assert more == 2 * 2 * 10 * (12 * 48 + 48 * 8)


def test_rows_that_are_mixed_first_are_half_as_many():
    batch = Data(40).batch(torch.arange(10), seed=0, epoch=0)
    half = Data(40).batch(torch.arange(5), seed=0, epoch=0)
    mixed = forward_flops(Mixing(), batch, CONFIG, progress=0.0)
    assert mixed == forward_flops(Toy(), half, CONFIG, progress=0.0)


def test_the_loader_is_that_of_the_run():
    loader = loader_of(Mixing(), Data(41), TrainConfig(batch_size=1000, epochs=3, device="cpu"))
    assert (loader.steps, loader.place(0).rows) == (3, 40)


def test_memory_is_of_this_process():
    cpu = torch.device("cpu")
    before = peak_bytes(cpu)
    kept = torch.ones(32_000_000)
    assert peak_bytes(cpu) >= before
    assert available_bytes(cpu) > kept.numel() * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_memory_of_a_device():
    device = torch.device("cuda")
    kept = torch.ones(32_000_000, device=device)
    assert peak_bytes(device) >= kept.numel() * 4
    assert available_bytes(device) >= kept.numel() * 4
