"""Mixing: the sheet's example A (11.2), invariants 1 to 4, and rows that lack modalities."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.nn.latents import halves, mix, permutation, row_numbers
from tests.reference import fusemix as slow

X = [[1, 0, 2], [0, 3, -1], [4, 1, 0], [2, -2, 2]]
Y = [[1, 1], [0, -2], [3, 0], [-1, 2]]
ALL = torch.ones(4, 2, dtype=torch.bool)


def by_hand(rows, first, second, lam=0.25):
    z = torch.tensor(rows, dtype=torch.float64)
    found = mix(z, first, second, torch.full((len(first),), lam, dtype=torch.float64))
    assert found.tolist() == slow.mix(rows, first.tolist(), second.tolist(), lam)
    return found.tolist()


def test_worked_halves():
    first, second = halves(ALL)
    assert by_hand(X, first, second) == [[3.25, 0.75, 0.50], [1.50, -0.75, 1.25]]
    assert by_hand(Y, first, second) == [[2.50, 0.25], [-0.75, 1.00]]


def test_worked_permutation():
    first, second = torch.arange(4), torch.tensor([2, 0, 3, 1])
    assert by_hand(X, first, second) == [[3.25, 0.75, 0.5], [0.75, 0.75, 1.25], [2.5, -1.25, 1.5], [0.5, 1.75, -0.25]]
    assert by_hand(Y, first, second) == [[2.5, 0.25], [0.75, 0.25], [0.0, 1.5], [-0.25, -1.0]]


@pytest.mark.parametrize(("lam", "rows"), [(1.0, [0, 1]), (0.0, [2, 3])])
def test_the_ends_are_the_halves(lam, rows):
    z = torch.tensor(X, dtype=torch.float32)
    assert torch.equal(mix(z, *halves(ALL), torch.full((2,), lam)), z[rows])


def test_mixing_commutes_with_affine_maps():
    g = torch.Generator().manual_seed(0)
    z, a, b, weight = (torch.randn(s, generator=g, dtype=torch.float64) for s in ((8, 5), (5, 3), (3,), (4,)))
    pairs = halves(torch.ones(8, 2, dtype=torch.bool))
    torch.testing.assert_close(mix(z @ a + b, *pairs, weight), mix(z, *pairs, weight) @ a + b)


masks = st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=2, max_size=30)


@settings(max_examples=60)
@given(masks)
def test_halves_use_every_row_once_among_like_rows(rows):
    present = torch.tensor(rows[: len(rows) // 2 * 2])
    first, second = halves(present)
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(len(present)))
    unlike = (present[first] != present[second]).any(dim=1).sum()
    odd_sets = sum(int((present == mask).all(dim=1).sum()) % 2 for mask in present.unique(dim=0))
    assert unlike == odd_sets // 2


@settings(max_examples=40)
@given(masks, st.integers(0, 1000))
def test_permutation_keeps_rows_and_modalities(rows, seed):
    present = torch.tensor(rows)
    first, second = permutation(present, torch.Generator().manual_seed(seed))
    assert first.tolist() == list(range(len(present)))
    assert sorted(second.tolist()) == first.tolist()
    assert torch.equal(present[first], present[second])


def test_rows_left_over_meet_the_nearest_set():
    present = torch.tensor([[1, 1, 1], [0, 1, 0], [1, 1, 0], [0, 0, 1]]).bool()
    first, second = halves(present)
    assert {frozenset(p) for p in zip(first.tolist(), second.tolist(), strict=True)} == {
        frozenset({0, 2}),
        frozenset({1, 3}),
    }


def test_equal_rows_get_equal_numbers():
    g = torch.Generator().manual_seed(0)
    z = torch.randn(500, 64, generator=g)
    z[400:] = z[:100]
    numbers = row_numbers(z)
    assert torch.equal(numbers[400:], numbers[:100])
    assert len(numbers[:400].unique()) == 400
    assert torch.equal(row_numbers(z.half())[400:], row_numbers(z.half())[:100])
    nearly = z[0].clone()
    nearly[3] = torch.nextafter(nearly[3], torch.tensor(9.0))
    assert row_numbers(nearly[None])[0] != numbers[0]
