"""Masking ratios and batches of the DiffMAViL sheet (sections 5.2 and 12)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.methods.diffmavil import Batches, Curriculum

LINEAR = Curriculum(start=0.9, end=0.8)
COST = {0.95: 45.699, 0.9: 57.465, 0.85: 69.203, 0.8: 81.293}
"""Multiply-adds of two views and the cross video decoder, in units of 1e9."""


def test_ratios_of_the_sheet():
    assert [round(LINEAR.ratios()[e], 6) for e in (0, 1, 5, 10, 15, 19)] == [
        0.9,
        0.894737,
        0.873684,
        0.847368,
        0.821053,
        0.8,
    ]
    cosine = Curriculum(start=0.9, end=0.8, shape="cosine").ratios()
    assert [round(cosine[e], 6) for e in (0, 1, 5, 10, 15, 19)] == [0.9, 0.899318, 0.883864, 0.845871, 0.810543, 0.8]
    assert round(Curriculum().ratios()[5], 6) == 0.910526
    every = Curriculum(start=0.9, end=0.8, parts=0)
    assert [round(every.ratio(p), 6) for p in (0, 0.25, 0.5, 0.75, 1)] == [0.9, 0.875, 0.85, 0.825, 0.8]


@pytest.mark.parametrize("steps", [1, 7, 1000])
def test_a_part_is_an_epoch(steps):
    """Progress as the loader says it, where an epoch has so many steps."""
    for epoch in range(20):
        found = {LINEAR.ratio((epoch + within / steps) / 20) for within in range(steps)}
        assert found == {LINEAR.ratios()[epoch]}


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_reversed_is_the_same_the_other_way(shape):
    there, back = (Curriculum(shape=shape, reverse=r).ratios() for r in (False, True))
    assert back == pytest.approx(there[::-1])


def test_constant_and_one_part():
    assert set(Curriculum(start=0.9, shape="constant").ratios()) == {0.9}
    assert Curriculum(parts=1).ratios() == (0.95,)


@given(st.floats(0, 1), st.sampled_from(["linear", "cosine", "constant"]), st.sampled_from([0.0, 0.01, 0.05]))
def test_between_start_and_end_and_few_with_a_grain(progress, shape, grain):
    ratio = Curriculum(shape=shape, parts=0, grain=grain).ratio(progress)
    assert 0.8 - 1e-9 <= ratio <= 0.95 + 1e-9
    if grain:
        assert ratio / grain == pytest.approx(round(ratio / grain))


def test_a_grain_makes_few_shapes():
    every = Curriculum(parts=0, grain=0.01)
    assert len({round(every.ratio(step / 5000), 9) for step in range(5000)}) == 16


def test_batches_of_the_sheet():
    def batches(multiple, reference):
        return Batches(multiple=multiple).rows((0.95, 0.9, 0.85, 0.8), COST.__getitem__, reference)

    assert batches(64, 512) == (896, 704, 576, 512)
    assert batches(8, 64) == (112, 88, 72, 64)
    assert batches(1, 2) == (3, 2, 2, 2)
    assert Batches().rows((0.95,), COST.__getitem__, 20) == (64,)


@given(st.floats(0.1, 10), st.integers(64, 4096))
def test_no_batch_costs_more_than_the_reference(cost, reference):
    (rows,) = Batches(multiple=4).rows((0.9,), {0.9: cost, 0.8: 1.0}.__getitem__, reference)
    assert rows % 4 == 0
    assert rows * cost <= reference * (1 + 1e-6) < (rows + 4) * cost * (1 + 2e-6)


def test_impossible_curricula():
    with pytest.raises(SeehearError, match=r"start must be in \[0, 1\)"):
        Curriculum(start=1.0)
    with pytest.raises(SeehearError, match="parts must be at least 0"):
        Curriculum(parts=-1)
