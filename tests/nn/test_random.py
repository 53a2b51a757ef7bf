"""Draws depend on seed, step, name and position, never on how a batch is cut; their distribution is right."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.nn.random import Randomness, dropout


def rows(total, start=0, stop=None, seed=0, step=0):
    return Randomness(seed, step, start, total if stop is None else stop, total)


@settings(max_examples=30)
@given(total=st.integers(1, 300), cut=st.data(), width=st.integers(1, 9))
def test_a_slice_draws_what_the_whole_draws(total, cut, width):
    start = cut.draw(st.integers(0, total - 1))
    stop = cut.draw(st.integers(start + 1, total))
    whole, part = rows(total), rows(total).narrow(start, stop)
    for draw in ("uniform", "normal", "bits"):
        assert torch.equal(getattr(whole, draw)("a", width)[start:stop], getattr(part, draw)("a", width))
    x = torch.ones(total, width)
    assert torch.equal(dropout(x, 0.5, whole, "a")[start:stop], dropout(x[start:stop], 0.5, part, "a"))


def test_draws_differ_by_seed_step_and_name():
    base = rows(50).bits("a", 8)
    others = [rows(50).bits("b", 8), rows(50, seed=1).bits("a", 8), rows(50, step=1).bits("a", 8)]
    assert all((base == other).float().mean() < 0.05 for other in others)


@pytest.mark.parametrize("p", [0.01, 0.5, 0.6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_dropout_rate_scale_and_gradient(p, dtype):
    x = torch.ones(1000, 400, dtype=dtype, requires_grad=True)
    y = dropout(x, p, rows(1000), "a")
    y.sum().backward()
    assert y.dtype == dtype
    assert (y == 0).double().mean().item() == pytest.approx(p, abs=4 * (p * (1 - p) / 400_000) ** 0.5 + 1e-5)
    assert y.max().item() == pytest.approx(1 / (1 - p), rel=1e-2 if dtype == torch.bfloat16 else 1e-4)
    assert torch.equal(x.grad, y.detach())


def test_bits_are_uniform_and_independent_between_neighbours():
    bits = rows(2000).bits("a", 64).int()
    for shift in range(16):
        assert (bits >> shift & 1).double().mean().item() == pytest.approx(0.5, abs=0.006)
    z = bits.double() / bits.double().std()
    assert abs((z[:, 1:] * z[:, :-1]).mean().item()) < 0.015


def test_no_rng_or_no_probability_means_no_dropout():
    x = torch.randn(4, 3)
    assert dropout(x, 0.9, None, "a") is x
    assert dropout(x, 0.0, rows(4), "a") is x


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # inside torch
def test_draws_of_any_name_and_step_are_compiled_in_one_piece():
    """Once for the first step, where its number counts as fixed, and once for all others."""
    graphs = []

    def backend(graph, _):
        graphs.append(graph)
        return graph.forward

    def encode(x, *, rng):
        for i in range(12):
            x = dropout(x, 0.3, rng, f"{i}/hidden") + rng.normal(f"{i}/noise", 4) + rng.uniform(f"{i}/place", 4)
        return x

    compiled, x = torch.compile(encode, backend=backend, fullgraph=True), torch.ones(20, 4)
    for step in range(5):
        assert torch.equal(compiled(x, rng=rows(20, step=step)), encode(x, rng=rows(20, step=step)))
    assert len(graphs) == 2
