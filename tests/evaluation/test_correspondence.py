import numpy as np
import pytest

from seehear.evaluation.embedded import Embedded
from seehear.evaluation.tasks import correspondence
from seehear.nn.unit import unit


def test_by_hand():
    """Clips a, b of one recording, c of another. Scores: [.9 .8 .1], [.7 .7 .7], [.5 .2 .4]."""
    scores = np.array([[0.9, 0.8, 0.1], [0.7, 0.7, 0.7], [0.5, 0.2, 0.4]])
    found = correspondence(Embedded(scores, np.arange(3)), Embedded(np.eye(3), np.arange(3)), np.array([0, 0, 1]))
    np.testing.assert_allclose(found.per_query["AUC"], [1.0, 0.5, 0.5])
    np.testing.assert_allclose(found.per_query["AUC within"], [1.0, 0.5, np.nan])
    assert found.metrics["AUC"] == pytest.approx(2 / 3)
    assert found.metrics["AUC within"] == 0.75


def test_a_space_that_knows_only_the_recording_is_found_out(monkeypatch):
    monkeypatch.setattr("seehear.evaluation.tasks.BLOCK", 900)
    rng = np.random.default_rng(0)
    groups = np.arange(120) // 4
    place = rng.normal(size=(30, 8))[groups]
    x, y = (Embedded(unit(place + 0.3 * rng.normal(size=place.shape)), np.arange(120)) for _ in range(2))
    found = correspondence(x, y, groups)
    assert found.metrics["AUC"] > 0.95
    assert 0.4 < found.metrics["AUC within"] < 0.6
    assert found.metrics["d'"] > 2


def test_missing_sides_and_several_texts():
    rng = np.random.default_rng(1)
    z = unit(rng.normal(size=(10, 6)))
    text = Embedded(z[[0, 0, 1, 3]], np.array([0, 0, 1, 3]))
    found = correspondence(Embedded(z, np.arange(10)), text, np.arange(10))
    assert found.rows.tolist() == [0, 1, 3]
    assert found.metrics["AUC"] == 1.0
    assert "AUC within" not in found.metrics
    with pytest.raises(ValueError, match="two recordings"):
        correspondence(text, text, np.zeros(10))


def test_noise_is_at_chance():
    rng = np.random.default_rng(2)
    x, y = (Embedded(unit(rng.normal(size=(400, 16))), np.arange(400)) for _ in range(2))
    assert correspondence(x, y, np.arange(400) // 2).metrics["AUC"] == pytest.approx(0.5, abs=0.05)
