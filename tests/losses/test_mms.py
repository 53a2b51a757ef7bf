"""Masked margin softmax: the table of MCN's sheet, section 11; tiles against the whole; rows of any length."""

import math

import pytest
import torch

from seehear.losses.contrastive import mms, same_group
from tests.reference import mcn as slow

S = [[2.0, 0.5, -1.0], [0.3, 1.5, 0.2], [-0.4, 0.1, 3.0]]
TABLE = {
    0.0: ([0.241311, 0.453446, 0.084706], [0.241692, 0.479011, 0.076151], 0.525439),
    0.001: ([0.241526, 0.453811, 0.084787], [0.241906, 0.479391, 0.076225], 0.525882),
    0.5: ([0.371539, 0.665732, 0.136052], [0.372090, 0.699676, 0.122621], 0.789236),
}


def of_matrix(s):
    s = torch.tensor(s, dtype=torch.float64)
    return s, torch.eye(len(s), dtype=torch.float64)


def long_rows(rows=20, width=6, scale=3.0):
    g = torch.Generator().manual_seed(0)
    return [scale * torch.randn(rows, width, generator=g, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("margin", TABLE)
@pytest.mark.parametrize("tile", [None, 2], ids=["whole", "tiles"])
def test_the_table(margin, tile):
    rows, columns, total = TABLE[margin]
    found = slow.mms_parts(S, margin)
    assert found[0] == pytest.approx(rows, abs=5e-7)
    assert found[1] == pytest.approx(columns, abs=5e-7)
    assert slow.mms(S, margin) == pytest.approx(total, abs=1e-6)  # the sheet adds rounded numbers
    assert mms(*of_matrix(S), margin=margin, tile=tile).item() == pytest.approx(slow.mms(S, margin), rel=1e-12)


def test_closed_forms():
    ones = torch.ones(4, 3, dtype=torch.float64)
    assert mms(ones[:1], ones[:1]).item() == 0.0
    assert mms(ones, ones, margin=0.0).item() == pytest.approx(2.772589, abs=5e-7)
    assert mms(ones, ones).item() == pytest.approx(2.774089, abs=5e-7)
    many = torch.ones(4096, 1, dtype=torch.float64)
    assert mms(many, many).item() == pytest.approx(16.637532, abs=5e-7)
    assert 3 * mms(many, many, margin=0.0).item() == pytest.approx(49.9066, abs=5e-5)


def test_rows_and_columns_have_an_equal_say():
    x, y = long_rows()
    assert mms(x, y).item() == pytest.approx(mms(y, x).item(), rel=1e-12)


@pytest.mark.parametrize("tile", [1, 7, 20])
def test_tiles_are_exact_for_rows_of_any_length(tile):
    """Logits here reach hundreds: exponentials without a maximum taken off would not be finite in fp32."""
    for dtype, close in ((torch.float64, 1e-12), (torch.float32, 1e-4)):
        found = []
        for t in (None, tile):
            x, y = (v.to(dtype).requires_grad_() for v in long_rows(scale=15.0))
            tau = torch.tensor(0.5, dtype=dtype, requires_grad=True)
            loss = mms(x, y, temperature=tau, margin=0.3, tile=t)
            found.append([loss, *torch.autograd.grad(loss, (x, y, tau))])
        for a, b in zip(*found, strict=True):
            assert a.isfinite().all()
            torch.testing.assert_close(a, b, rtol=close, atol=close)


def test_gradient_by_differences():
    x, y = (v.requires_grad_() for v in long_rows(rows=5, width=3, scale=1.0))
    tau = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *v: mms(v[0], v[1], temperature=v[2], margin=0.1), (x, y, tau))
    assert torch.autograd.gradcheck(lambda *v: mms(v[0], v[1], temperature=v[2], margin=0.1, tile=2), (x, y, tau))


@pytest.mark.parametrize("tile", [None, 3])
def test_what_is_masked_is_in_no_sum(tile):
    x, y = long_rows(rows=8, scale=1.0)
    group = torch.tensor([0, 1, 2, 0, 3, 1, 4, 0])
    excluded = {(i, j) for i in range(8) for j in range(8) if i != j and group[i] == group[j]}
    expected = slow.mms((x @ y.T).tolist(), 0.001, excluded)
    assert mms(x, y, exclude=same_group(group), tile=tile).item() == pytest.approx(expected, rel=1e-10)


def test_the_margin_makes_a_match_harder():
    x, y = long_rows()
    losses = [mms(x, y, margin=m).item() for m in (0.0, 0.001, 1.0)]
    assert losses == sorted(losses)
    assert not math.isclose(losses[0], losses[1], rel_tol=1e-9)


@pytest.mark.parametrize("tile", [None, 7])
def test_large_products_keep_their_digits_under_autocast(tile):
    x, y = (v.float() for v in long_rows(scale=15.0))
    plain = mms(x, y, tile=tile)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mms(x, y, tile=tile), plain)
