import numpy as np
import pytest
from scipy import stats

from seehear.evaluation.geometry import hubness, modality_gap


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_gap_by_hand():
    x, y = np.array([[1.0, 0], [0, 1]]), np.array([[0.0, 1], [0, 1]])
    gap = modality_gap(x, y)
    assert gap["distance"] == pytest.approx(0.5**0.5)
    assert gap["matched"] == pytest.approx(0.5)
    assert gap["unmatched"] == pytest.approx(0.5)


def test_gap_against_the_slow_way():
    rng = np.random.default_rng(0)
    x, y = unit(rng.normal(size=(30, 5))), unit(rng.normal(size=(30, 5)) + 0.5)
    scores = x @ y.T
    gap = modality_gap(x, y)
    assert gap["matched"] == pytest.approx(np.mean(np.diag(scores)))
    assert gap["unmatched"] == pytest.approx(scores[~np.eye(30, dtype=bool)].mean())
    with pytest.raises(ValueError, match="belong together"):
        modality_gap(x, y[:10])


def test_hubness_against_the_slow_way(monkeypatch):
    monkeypatch.setattr("seehear.evaluation.geometry.BLOCK", 700)
    rng = np.random.default_rng(1)
    query, gallery = unit(rng.normal(size=(50, 6))), unit(rng.normal(size=(70, 6)))
    first = np.argsort(-(query @ gallery.T), axis=1)[:, :10]
    times = np.array([np.sum(first == g) for g in range(70)])
    found = hubness(query, gallery)
    assert found["skew"] == pytest.approx(stats.skew(times))
    assert found["largest"] == pytest.approx(times.max() / 50)
    assert found["orphans"] == pytest.approx(np.mean(times == 0))


def test_one_hub_takes_every_query():
    gallery = unit(np.concatenate([np.ones((1, 4)), -np.ones((99, 4)) + np.random.default_rng(2).normal(size=(99, 4))]))
    found = hubness(np.tile(unit(np.ones((1, 4))), (20, 1)), gallery, k=1)
    assert found["largest"] == 1.0
    assert found["orphans"] == 0.99
    assert found["skew"] > 9
    assert hubness(np.eye(4), np.eye(4), k=1)["skew"] == 0.0
