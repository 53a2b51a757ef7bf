"""The greedy k-DPP: worked numbers, and the same choice as the plain algorithm on anything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.studies import selection as kdpp
from seehear.studies.selection import greedy_kdpp


def plain(latents, k):
    """Section 7.5 of the sheet with the whole kernel: argmax of d^2, then one column."""
    x = latents / np.linalg.norm(latents, axis=1, keepdims=True)
    kernel = (1 + x @ x.T) ** 2
    d2, c = np.full(len(x), 4.0), np.zeros((len(x), 0))
    chosen, gains = [], []
    for _ in range(k):
        j = int(d2.argmax())
        if d2[j] <= kdpp.NOTHING:  # only rounding is left, which may be negative
            break
        chosen.append(j)
        gains.append(d2[j])
        e = (kernel[j] - c @ c[j]) / np.sqrt(d2[j])
        c, d2 = np.c_[c, e], d2 - e**2
        d2[j] = -np.inf
    return chosen, gains


def test_worked_numbers():
    """Section 11.7 of the sheet: the near-duplicate at 10 degrees comes last."""
    angle = np.radians([0, 10, 90, 180, 200])
    found = greedy_kdpp(np.stack([np.cos(angle), np.sin(angle)], axis=1), 5)
    assert found.chosen.tolist() == [0, 3, 2, 4, 1]
    np.testing.assert_allclose(found.gains, [4, 4, 3.5, 0.387170, 0.068754], atol=5e-7)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(5, 120),
    st.integers(2, 12),
    st.integers(1, 5),
    st.integers(1, 8),
    st.integers(1, 20),
)
@settings(max_examples=60)
def test_lazy_is_exact(seed, n, d, clusters, promising, chunk):
    """However few items are kept up to date; also with clusters."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d)) + 2 * rng.normal(size=(clusters, d))[rng.integers(0, clusters, n)]
    k = int(rng.integers(1, min(n, d * (d + 3) // 2, 40) + 1))  # unit vectors: the rank of the kernel
    before = kdpp.PROMISING, kdpp.CHUNK
    kdpp.PROMISING, kdpp.CHUNK = promising, chunk
    try:
        found = greedy_kdpp(x, k)
    finally:
        kdpp.PROMISING, kdpp.CHUNK = before
    chosen, gains = plain(x, k)
    told_apart = min(np.array(gains)) > 1e-4  # below, rounding decides
    if told_apart:
        np.testing.assert_allclose(found.gains, gains, rtol=1e-6)
        if len(set(np.round(gains, 9))) == len(gains):
            assert found.chosen.tolist() == chosen


def test_of_equal_gains_the_first_wins(monkeypatch):
    """Whichever items are kept up to date. Orthogonal: d^2 = 4, 4 - 1/4, then the same for all that are left."""
    monkeypatch.setattr(kdpp, "PROMISING", 2)
    for order in np.random.default_rng(0).permuted(np.tile(np.arange(7), (20, 1)), axis=1):
        found = greedy_kdpp(np.eye(7)[order], 7)
        assert found.chosen.tolist() == list(range(7))
        np.testing.assert_allclose(found.gains[:2], [4, 3.75])


@pytest.mark.parametrize("promising", [2, 3])
def test_a_gain_that_equals_the_bound_of_the_rest_waits_for_the_rest(monkeypatch, promising):
    """Exact numbers: given row 0, the twins c gain 4 - 1/64, and p and q gain 4 - 1/4, also once c is chosen:
    1 + c . p = (1 + c . x) (1 + p . x) / 2 for x the row 0. One of p and q may be up to date, the other the rest."""
    monkeypatch.setattr(kdpp, "PROMISING", promising)
    c, p, q = [-1, -1, -1, -1, 0], [0, 1, 1, 1, 1], [0, 1, 1, 1, -1]
    for rows in itertools.permutations([c, c, p, q]):
        found = greedy_kdpp(np.array([[2, 0, 0, 0, 0], *rows], float), 3)
        assert found.chosen.tolist() == [0, 1 + rows.index(c), 1 + min(rows.index(p), rows.index(q))]


def test_a_row_of_zeros_is_alike_to_nothing():
    """Its kernel is 1 with every row: d^2 = 1 - (1 / 2)^2 after the first choice."""
    found = greedy_kdpp(np.array([[0.0, 0.0], [1.0, 0.0]]), 2)
    assert found.chosen.tolist() == [1, 0]
    np.testing.assert_allclose(found.gains, [4, 0.75])


def test_what_adds_next_to_nothing_is_not_chosen():
    """A copy turned by a gains 4 - 4 cos(a / 2)^8 of it, about 2 a^2: one turned by 1e-3 is left, by 1e-2 is taken."""
    for angle, count in ((1e-3, 1), (1e-2, 2)):
        assert len(greedy_kdpp(np.array([[1.0, 0.0], [np.cos(angle), np.sin(angle)]]), 2).chosen) == count


def test_the_determinant_is_what_the_gains_say():
    x = np.random.default_rng(0).normal(size=(80, 6))
    found = greedy_kdpp(x, 12)
    unit = x[found.chosen] / np.linalg.norm(x[found.chosen], axis=1, keepdims=True)
    _, log_det = np.linalg.slogdet((1 + unit @ unit.T) ** 2)
    assert np.log(found.gains).sum() == pytest.approx(log_det, abs=1e-9)
    assert (np.diff(found.gains) < 1e-9).all()


def test_float32_chooses_as_float64():
    x = np.random.default_rng(1).normal(size=(2000, 64))
    assert greedy_kdpp(x.astype(np.float32), 200).chosen.tolist() == greedy_kdpp(x, 200).chosen.tolist()


def test_copies_are_not_chosen_twice():
    """Ten points, each thirty times: ten choices, and no more."""
    x = np.tile(np.random.default_rng(2).normal(size=(10, 5)), (30, 1)).astype(np.float32)
    found = greedy_kdpp(x, 50)
    assert sorted((found.chosen % 10).tolist()) == list(range(10))


def test_more_than_there_are_is_a_mistake():
    with pytest.raises(ValueError, match=r"1\.\.5"):
        greedy_kdpp(np.eye(5), 6)
