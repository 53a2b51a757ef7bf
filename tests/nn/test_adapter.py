"""Heads over latents: the sheet's worked block (11.6), its parameter counts (3.2) and invariants 9 to 11, 13."""

import pytest
import torch
from torch import nn

from seehear.nn.latents import AdapterBlock, FusionAdapter, GatedSkip, Standardise, Temperature
from seehear.nn.random import Randomness
from tests.reference import fusemix as slow

W1, B1 = [[1, 0], [0, 1], [1, 1], [1, -1]], [0, 0.5, 0, 0]
W2, B2 = [[1, 0, 0, 0.5], [0, 1, -1, 0]], [0.1, -0.1]


def rng(start=0, stop=6, total=6, step=3):
    return Randomness(seed=1, step=step, start=start, stop=stop, total=total)


def latents(rows=6, width=8, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def test_worked_block():
    block = AdapterBlock(2, expansion=2, dropout=0.6).double()
    with torch.no_grad():
        for parameter, value in zip(
            (block.up.weight, block.up.bias, block.down.weight, block.down.bias), (W1, B1, W2, B2), strict=True
        ):
            parameter.copy_(torch.tensor(value))
    y = block(torch.tensor([[1.0, 3.0]], dtype=torch.float64), rng=None, name="x")
    assert y[0].tolist() == pytest.approx([0.918594, 4.299784], abs=5e-7)
    assert slow.block([1, 3], W1, B1, W2, B2) == pytest.approx([0.918594, 4.299784], abs=5e-7)


@pytest.mark.parametrize(
    ("width", "of_block", "of_adapter"),
    [
        (768, 4_723_968, 19_291_136),
        (1024, 8_395_776, 34_109_952),
        (1280, 13_116_160, 53_123_072),
        (1536, 18_885_120, 76_330_496),
        (2048, 33_568_768, 135_328_256),
    ],
)
def test_parameter_counts(width, of_block, of_adapter):
    with torch.device("meta"):
        adapter = FusionAdapter(width, 512)
    assert sum(p.numel() for p in adapter.blocks[0].parameters()) == of_block
    assert sum(p.numel() for p in adapter.parameters()) == of_adapter == slow.parameters(width, 512, 4, 4)


def test_rows_are_independent_also_under_dropout():
    adapter = FusionAdapter(8, 5, depth=2)
    z = latents()
    before = adapter(z, rng=rng())
    changed = z.clone()
    changed[2] = 100.0
    after = adapter(changed, rng=rng())
    assert before.shape == (6, 5)
    assert before.isfinite().all()
    others = [0, 1, 3, 4, 5]
    assert torch.equal(before[others], after[others])
    assert not torch.equal(before[2], after[2])


def test_dropout_is_keyed_by_position_name_and_step_and_off_without_rng():
    adapter = FusionAdapter(8, 5, depth=2)
    z = latents()
    whole = adapter(z, rng=rng())
    parts = torch.cat([adapter(z[:4], rng=rng(0, 4)), adapter(z[4:], rng=rng(4, 6))])
    torch.testing.assert_close(parts, whole)
    assert not torch.equal(adapter(z, rng=rng(), name="other"), whole)
    assert not torch.equal(adapter(z, rng=rng(step=4)), whole)
    assert torch.equal(adapter(z), adapter(z))
    assert not torch.equal(adapter(z), whole)


def test_blocks_are_the_identity_when_their_second_linear_is_zero():
    adapter = FusionAdapter(8, 5, depth=3)
    with torch.no_grad():
        for block in adapter.blocks:
            block.down.weight.zero_()
            block.down.bias.zero_()
    z = latents()
    torch.testing.assert_close(adapter(z), adapter.project(nn.functional.layer_norm(z, (8,))))


def test_gated_skip_starts_linear_and_its_gate_gets_a_gradient():
    head = GatedSkip(8, 5, FusionAdapter(8, 5, depth=1))
    mean, weight = torch.randn(8), torch.randn(8, 5)
    head.start_from(mean, weight)
    z = latents()
    out = head(z, rng=rng())
    torch.testing.assert_close(out, (z - mean) @ weight)
    out.square().sum().backward()
    assert head.gate.grad.abs().min() > 0
    assert head.linear.weight.grad.abs().sum() > 0


def test_standardised_blocks_have_an_equal_say():
    z = torch.randn(4000, 10, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 11) + 5
    module = Standardise(10)
    module.set(z.mean(dim=0), z.std(dim=0, correction=0), blocks=(8, 2))
    out = module(z)
    torch.testing.assert_close(out.mean(dim=0), torch.zeros(10), atol=1e-5, rtol=0)
    energy = out.square().mean(dim=0)
    torch.testing.assert_close(energy[:8].sum(), torch.tensor(5.0))
    torch.testing.assert_close(energy[8:].sum(), torch.tensor(5.0))


@pytest.mark.parametrize(("start", "used"), [(0.07, 0.07), (3.0, 0.5), (-1.0, 0.001)])
def test_temperature_is_pulled_back_before_use_and_learns_inside(start, used):
    temperature = Temperature(start)
    tau = temperature()
    assert tau.item() == temperature.tau.item() == pytest.approx(used)
    (1 / tau).backward()
    assert temperature.tau.grad.item() == pytest.approx(-1 / used**2, rel=1e-5)


def test_the_temperature_has_no_dimension_to_decay():
    assert all(p.ndim == 0 for p in Temperature().parameters())
