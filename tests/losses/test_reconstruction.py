"""Reconstruction of hidden patches: the sheet's numbers, and loops."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.nn.masked import patch_error, standardised
from tests.reference import mavil as slow


def test_the_mean_is_over_hidden_patches_only():
    predicted = torch.tensor([[[0.0, 0], [1, 1], [2, 2], [3, 3]]])
    target = torch.tensor([[[1.0, 1], [1, 1], [0, 0], [3, 5]]])
    hidden = torch.tensor([0, 2, 3])
    assert patch_error(predicted[:, hidden], target[:, hidden]).item() == pytest.approx(2.333333, abs=1e-6)
    assert patch_error(predicted, target).item() == pytest.approx(1.75)  # the common mistake
    mask = [[1, 0, 1, 1]]
    assert slow.masked_error(predicted.tolist(), target.tolist(), mask) == pytest.approx(2.333333, abs=1e-6)


def test_patches_are_standardised_with_the_unbiased_variance():
    found = standardised(torch.tensor([1.0, 2, 3, 4], dtype=torch.float64))
    assert found.tolist() == pytest.approx([-1.161895, -0.387298, 0.387298, 1.161895], abs=1e-6)


def test_a_constant_patch_is_nearly_zero():
    assert standardised(torch.full((1, 2, 7), -15.942385)).abs().max() < 0.01
    assert not standardised(torch.zeros(1, 2, 7)).any()


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), rows=st.integers(1, 4), hidden=st.integers(1, 5))
def test_the_mean_of_the_rows_is_that_of_loops(seed, rows, hidden):
    g = torch.Generator().manual_seed(seed)
    predicted, patches = (torch.randn(rows, 6, 4, generator=g, dtype=torch.float64) for _ in range(2))
    order = torch.rand(rows, 6, generator=g).argsort(dim=1)[:, :hidden]
    mask = torch.zeros(rows, 6).scatter(1, order, 1.0).tolist()
    target = [[slow.standardised(p) for p in row] for row in patches.tolist()]
    np.testing.assert_allclose(standardised(patches).numpy(), target, atol=1e-9)
    chosen = [x.gather(1, order[:, :, None].expand(-1, -1, 4)) for x in (predicted, standardised(patches))]
    expected = slow.masked_error(predicted.tolist(), target, mask)
    assert patch_error(*chosen).mean().item() == pytest.approx(expected, rel=1e-9)


def test_halves_are_summed_up_in_single_precision():
    x = torch.full((1, 1, 4096), 300.0, dtype=torch.bfloat16)
    assert patch_error(x, torch.zeros_like(x)).dtype == torch.float32
