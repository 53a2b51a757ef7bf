"""Mutual k-NN and CKA against their definitions, written out."""

import numpy as np
import pytest

from seehear.evaluation.geometry import cka, mutual_knn


def by_hand(x, y):
    """Equation 3 of arXiv 2010.11775 with sums over all i, j."""
    n = len(x)
    gram_x, gram_y = ((z - z.mean(0)) @ (z - z.mean(0)).T for z in (x, y))

    def hsic(a, b):
        a, b = (g - np.diag(np.diag(g)) for g in (a, b))
        one = np.ones(n)
        middle = (one @ a @ one) * (one @ b @ one) / ((n - 1) * (n - 2))
        return (np.trace(a @ b) + middle - 2 / (n - 2) * (one @ a @ b @ one)) / (n * (n - 3))

    return hsic(gram_x, gram_y) / np.sqrt(hsic(gram_x, gram_x) * hsic(gram_y, gram_y))


def test_cka_is_its_definition():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 5))
    y = x @ rng.normal(size=(5, 7)) + rng.normal(size=(12, 7))
    assert cka(x, y) == pytest.approx(by_hand(x, y), abs=1e-12)


def test_cka_sees_through_rotation_and_scale_and_has_no_bias_for_wide_data():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(40, 300))
    rotation = np.linalg.qr(rng.normal(size=(300, 300)))[0]
    assert cka(x, 3 * x @ rotation + 5) == pytest.approx(1, abs=1e-9)
    unrelated = [cka(rng.normal(size=(40, 300)), rng.normal(size=(40, 300))) for _ in range(20)]
    assert abs(np.mean(unrelated)) < 0.05
    assert cka(x, np.ones((40, 3))) == 0


def test_neighbours_of_typed_points():
    """On a line of angles 0, 10, 90, 100 the neighbours are in pairs; y swaps the partners of two."""

    def at(*degrees):
        return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=1)

    x = at(0, 10, 90, 100, 180, 190, 270, 280)
    assert mutual_knn(x, x, k=1) == 1
    assert mutual_knn(x, at(0, 90, 10, 100, 180, 190, 270, 280), k=1) == pytest.approx(0.5)


def test_recordings_of_their_own_are_no_neighbours():
    rng = np.random.default_rng(2)
    group = np.repeat(np.arange(100), 2)
    scene = rng.normal(size=(100, 8))[group]
    x, y = (
        np.concatenate([scene * 3, rng.normal(size=(200, 8))], axis=1) @ rng.normal(size=(16, 16)) for _ in range(2)
    )
    x[:, :8], y[:, :8] = rng.normal(size=(200, 8)), rng.normal(size=(200, 8))
    assert mutual_knn(x, y, k=1, groups=group) < mutual_knn(x, y, k=1)


def test_unrelated_representations_are_at_chance():
    rng = np.random.default_rng(3)
    found = mutual_knn(rng.normal(size=(400, 30)), rng.normal(size=(400, 20)), k=10)
    assert found == pytest.approx(10 / 399, abs=0.01)
    with pytest.raises(ValueError, match="more than k = 10"):
        mutual_knn(np.ones((10, 2)), np.ones((10, 2)))
