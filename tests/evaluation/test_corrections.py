import numpy as np
import pytest

from seehear.evaluation import corrections
from seehear.evaluation.corrections import (
    corrected_retrieval,
    nnn,
    query_bank_norm,
    tuned_corrections,
    without_gap,
)
from seehear.evaluation.embedded import Embedded
from seehear.evaluation.retrieval import retrieval
from seehear.nn.unit import unit

SCORES = np.array([[0.60, 0.55, 0.20], [0.50, 0.58, 0.30], [0.40, 0.57, 0.45]])
BANK = np.array([[0.30, 0.60, 0.20], [0.35, 0.62, 0.25], [0.20, 0.58, 0.50]])


def test_nnn_by_hand():
    """Section 12.6 of the sheet: the hub in the middle loses its two unearned queries."""
    corrected = nnn(np.eye(3), BANK, alpha=0.75, k=2)(SCORES)
    np.testing.assert_allclose((SCORES - corrected) / 0.75, [[0.325, 0.610, 0.375]] * 3, atol=1e-6)
    assert SCORES.argmax(axis=1).tolist() == [0, 1, 1]
    assert corrected.argmax(axis=1).tolist() == [0, 0, 2]


def hubs(seed, n=150, e=12):
    """Pairs, and one more dimension that all queries share and gallery items have more or less of: those with much of
    it are near every query."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, e))
    query, gallery = z + 0.7 * rng.normal(size=z.shape), z + 0.7 * rng.normal(size=z.shape)
    query = np.concatenate([query, np.full((n, 1), 3.0)], axis=1)
    gallery = np.concatenate([gallery, 2.0 * rng.normal(size=(n, 1))], axis=1)
    own = np.arange(n)
    return Embedded(unit(query), own), Embedded(unit(gallery), own)


def plainly(query, gallery):
    return retrieval(query.vectors, gallery.vectors, query.owner, gallery.owner)


def test_nnn_equals_the_slow_way_in_blocks(monkeypatch):
    monkeypatch.setattr(corrections, "BLOCK", 900)
    query, gallery = hubs(0)
    scores = gallery.vectors @ query.vectors.T
    expected = 0.5 * np.sort(scores, axis=1)[:, -7:].mean(axis=1)
    nothing = np.zeros((1, len(scores)))
    bias = -nnn(gallery.vectors, query.vectors, alpha=0.5, k=7)(nothing)[0]
    np.testing.assert_allclose(bias, expected, atol=1e-6)
    whole = -nnn(gallery.vectors, query.vectors, alpha=0.75, k=10**6)(nothing)[0]
    np.testing.assert_allclose(whole, 0.75 * scores.mean(axis=1), atol=1e-6)


def test_query_bank_norm_equals_the_slow_way(monkeypatch):
    monkeypatch.setattr(corrections, "BLOCK", 900)
    query, gallery = hubs(1)
    bank, asked = query.vectors[:100], query.vectors[100:]
    plain = asked @ gallery.vectors.T
    in_bank = bank @ gallery.vectors.T
    hub = np.isin(np.arange(150), in_bank.argmax(axis=1))
    expected = plain.copy().astype(np.float64)
    for q in range(50):
        if hub[plain[q].argmax()]:
            expected[q] = np.log(np.exp(20 * plain[q]) / np.exp(20 * in_bank).sum(axis=0))
    norm = query_bank_norm(gallery.vectors, bank, beta=20.0)
    np.testing.assert_allclose(norm(plain), expected, atol=1e-4)
    assert hub[plain.argmax(axis=1)].any()
    assert not hub.all()


def test_corrections_help_where_there_are_hubs():
    train, val, test = hubs(2, n=400), hubs(3), hubs(4)
    plain = plainly(*test).metrics["MRR"]
    found = tuned_corrections(train[0], *val, test[1])
    for name in ("NNN", "QB-Norm"):
        assert corrected_retrieval(found[name][1], *test).metrics["MRR"] > plain + 0.01, name


def test_a_zero_correction_changes_nothing():
    query, gallery = hubs(5)
    none = nnn(gallery.vectors, query.vectors, alpha=0.0, k=16)
    np.testing.assert_array_equal(corrected_retrieval(none, query, gallery).ranks, plainly(query, gallery).ranks)


def test_gap_removal_centres_the_training_vectors():
    rng = np.random.default_rng(6)
    own = np.arange(200)
    train = {
        "text": Embedded(unit(rng.normal(size=(200, 8)) + 1.0), own),
        "audio": Embedded(unit(rng.normal(size=(200, 8)) - 1.0), own),
    }
    moved = without_gap(train, train)
    for m in train:
        gone = np.linalg.norm(train[m].vectors.mean(axis=0))
        assert np.linalg.norm(moved[m].vectors.mean(axis=0)) < 0.1 * gone
        np.testing.assert_allclose(np.linalg.norm(moved[m].vectors, axis=1), 1.0, atol=1e-6)
    with pytest.raises(KeyError):
        without_gap(train, {"video": train["text"]})
