import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.search.gallery import nearest, top


def unit(n, e=24, seed=0):
    x = np.random.default_rng(seed).normal(size=(n, e)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slow(vectors, queries, k, mask=None):
    scores = queries.astype(np.float64) @ vectors.astype(np.float64).T
    if mask is not None:
        scores[:, ~mask] = -np.inf
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


@settings(max_examples=200)
@given(
    st.integers(1, 9000),
    st.integers(1, 40),
    st.integers(0, 2**32 - 1),
    st.sampled_from([3, 50, 10**6]),
)
def test_top_is_the_head_of_a_stable_sort(n, k, seed, levels):
    scores = np.random.default_rng(seed).integers(0, levels, n).astype(np.float32)
    k = min(k, n)
    np.testing.assert_array_equal(top(scores, k), np.argsort(-scores, kind="stable")[:k])


def test_top_of_sorted_and_constant_scores():
    rising = np.arange(300_000, dtype=np.float32)
    assert top(rising, 3).tolist() == [299_999, 299_998, 299_997]
    assert top(rising[::-1].copy(), 2).tolist() == [0, 1]
    assert top(np.zeros(300_000, np.float32), 4).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("kept", [None, 0.05, 0.9])
def test_finds_what_the_slow_way_finds(kept):
    vectors, queries = unit(5000), unit(3, seed=1)
    mask = None if kept is None else np.random.default_rng(2).random(5000) < kept
    for query, wanted in zip(queries, slow(vectors, queries, 12, mask), strict=True):
        scores, rows = nearest(vectors, query, 12, mask)
        np.testing.assert_array_equal(rows, wanted)
        np.testing.assert_allclose(scores, vectors[rows] @ query, atol=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_equal_rows_come_in_their_order():
    vectors = np.repeat(unit(3), 200, axis=0)
    assert set(nearest(vectors, vectors[250], 5)[1].tolist()) <= set(range(200, 400))


def test_fewer_rows_than_asked_for():
    vectors, query = unit(5), unit(1, seed=1)[0]
    scores, rows = nearest(vectors, query, 10)
    assert scores.shape == rows.shape == (5,)
    mask = np.array([True, False, False, True, False])
    assert sorted(nearest(vectors, query, 10, mask)[1].tolist()) == [0, 3]
    assert nearest(vectors, query, 10, np.zeros(5, bool))[1].shape == (0,)


def test_a_memory_map_serves(tmp_path):
    np.save(tmp_path / "v.npy", unit(100))
    mapped = np.load(tmp_path / "v.npy", mmap_mode="r")
    assert nearest(mapped, unit(100)[7], 1)[1].tolist() == [7]
