import numpy as np
import pytest

from seehear.search.calibrate import (
    background_phrases,
    calibrated,
    confidence,
    in_words,
    levels,
    pair_levels,
    surprise,
)


def test_the_surprise_is_the_share_of_the_background_that_is_beaten():
    scores_NB = np.random.default_rng(0).exponential(size=(3, 10_000)) + np.array([[0.0], [5.0], [-3.0]])
    rows_N3 = levels(scores_NB)
    for share in (0.5, 0.9, 0.99, 0.999):  # an exponential's quantile; the row's offset is taken out
        at_N = -np.log1p(-share) + np.array([0.0, 5.0, -3.0])
        np.testing.assert_allclose(surprise(rows_N3, at_N), -np.log1p(-share), atol=0.12 + 0.1 * -np.log1p(-share))


def test_the_surprise_never_falls_and_never_saturates():
    rows_N3 = levels(np.random.default_rng(1).normal(size=(1, 1000)))
    found = surprise(rows_N3, np.linspace(-5, 50, 1000))
    assert (np.diff(found) > 0).all()


def test_a_hub_is_no_answer():
    """A row that is near to everything is nearest to the query as well; calibrated, the row that only it meets wins."""
    draw = np.random.default_rng(2)
    common = draw.normal(size=16)
    bank = unit(draw.normal(size=(500, 16)) + 0.5 * common)
    own = unit(draw.normal(size=16))
    query = unit(0.67 * own + 0.68 * unit(common))
    rows = np.stack([unit(common), own])
    assert (rows @ query).argmax() == 0
    found, _ = calibrated(rows, bank)
    assert surprise(found, rows @ query).argmax() == 1


def test_more_rows_make_the_same_match_less_surprising():
    draw = np.random.default_rng(3)
    rows, bank = unit(draw.normal(size=(2000, 32))), unit(draw.normal(size=(300, 32)))
    query = unit(0.5 * rows[0] + 0.7 * unit(draw.normal(size=32)))
    sure = []
    for count in (10, 2000):
        found, best = calibrated(rows[:count], bank)
        sure.append(float(confidence(surprise(best, surprise(found[0], rows[0] @ query)))))
    assert 0 <= sure[1] < sure[0] <= 1


def test_blocks_change_nothing(monkeypatch):
    draw = np.random.default_rng(4)
    rows, bank = unit(draw.normal(size=(50, 8))), unit(draw.normal(size=(40, 8)))
    whole = calibrated(rows, bank)
    monkeypatch.setattr("seehear.search.calibrate._BLOCK", 7 * 40)
    for one, other in zip(whole, calibrated(rows, bank), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_clips_as_background_are_not_compared_with_themselves():
    rows = unit(np.random.default_rng(5).normal(size=(60, 8)))
    found = pair_levels(rows, rows)
    assert found[1] + 3 * found[2] < 1.0
    np.testing.assert_allclose(pair_levels(rows[:3], rows[:3]), [0.3, 0.6, 0.1])


@pytest.mark.parametrize("count", [1, 2, 9, 10])
def test_small_banks(count):
    found = levels(np.random.default_rng(6).normal(size=(4, count)))
    assert found.shape == (4, 3)
    assert np.isfinite(surprise(found, np.zeros(4))).all()


def test_confidence_in_words():
    assert [in_words(x) for x in (0.0, 0.5, 0.7, 0.95)] == ["nothing close", "weak", "fair", "strong"]


def test_the_phrases_are_as_their_script_makes_them():
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[2] / "tools" / "make_background.py"
    spec = importlib.util.spec_from_file_location("make_background", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert background_phrases() == module.phrases()
    assert len(set(background_phrases())) == 1000


def unit(x):
    return (x / np.linalg.norm(x, axis=-1, keepdims=True)).astype(np.float32)
