import numpy as np
import pytest

from seehear.search.calibrate import (
    LIKENESS,
    PICTURES,
    TEXTS,
    background_phrases,
    confidence,
    evidence,
    fit_likeness,
    fit_scale,
    heights,
    in_words,
    like_heights,
)


def of_words(rows, query, bank):
    return heights(rows, query, bank.mean(axis=0), fit_scale(rows, bank))


def sure(rows, query, bank):
    return float(confidence(evidence(of_words(rows, query, bank).max(), PICTURES)))


def test_the_best_of_background_queries_exceeds_a_height_as_often_as_it_says():
    draw = np.random.default_rng(0)
    rows, bank = unit(draw.normal(size=(200, 32)) + 0.3), unit(draw.normal(size=(4000, 32)) + 0.3)
    scale, mean = fit_scale(rows, bank), bank.mean(axis=0)
    best = np.array([heights(rows, query, mean, scale).max() for query in bank[:1000]])
    for height in (0.0, 1.0, 2.0):
        assert (best > height).mean() == pytest.approx(-np.expm1(-np.exp(-height)), abs=0.05)


def test_background_queries_with_an_answer_do_not_move_the_scale():
    """A tenth of the bank may mean just what a library is about."""
    draw = np.random.default_rng(1)
    rows, bank = unit(draw.normal(size=(50, 64))), unit(draw.normal(size=(1000, 64)))
    answered = bank.copy()
    answered[:50] = unit(rows + 0.1 * draw.normal(size=rows.shape))
    before, after = fit_scale(rows, bank), fit_scale(rows, answered)
    assert after.middle == pytest.approx(before.middle, abs=0.5 * before.spread)
    assert after.spread == pytest.approx(before.spread, rel=0.25)


def test_confidence_never_falls_and_the_evidence_never_saturates():
    for curve in (PICTURES, TEXTS, LIKENESS):
        found = evidence(np.linspace(-30, 500, 2000), curve)
        assert (np.diff(found) > 0).all()
        assert (found > 0).all()
        assert (np.diff(confidence(found)) >= 0).all()
        assert confidence(evidence(curve.middle, curve)) == pytest.approx(0.5)


def test_a_hub_is_no_answer():
    """A row that is near to everything is nearest to the query as well; calibrated, the row that only it meets wins."""
    draw = np.random.default_rng(2)
    common = draw.normal(size=16)
    bank = unit(draw.normal(size=(500, 16)) + 0.5 * common)
    own = unit(draw.normal(size=16))
    query = unit(0.67 * own + 0.68 * unit(common))
    rows = np.stack([unit(common), own])
    assert (rows @ query).argmax() == 0
    assert of_words(rows, query, bank).argmax() == 1


def test_a_query_that_is_near_to_everything_finds_nothing_close():
    draw = np.random.default_rng(3)
    common = unit(draw.normal(size=16))
    rows, bank = (unit(draw.normal(size=(count, 16)) + 2 * common) for count in (50, 500))
    own = unit(rows[0] - (rows[0] @ common) * common)
    assert (rows @ common).max() > (rows @ own).max()
    assert sure(rows, own, bank) > sure(rows, common, bank)


def test_more_rows_make_the_same_match_less_sure():
    draw = np.random.default_rng(4)
    rows, bank = unit(draw.normal(size=(2000, 32))), unit(draw.normal(size=(300, 32)))
    query = unit(0.7 * rows[0] + 0.5 * unit(draw.normal(size=32)))
    few, many = sure(rows[:10], query, bank), sure(rows, query, bank)
    assert 0 <= many < few <= 1


def test_every_row_twice_is_as_sure():
    draw = np.random.default_rng(5)
    rows, bank = unit(draw.normal(size=(40, 32))), unit(draw.normal(size=(300, 32)))
    query = unit(rows[0] + 0.1 * draw.normal(size=32))
    twice = np.concatenate([rows, rows])
    assert sure(twice, query, bank) == pytest.approx(sure(rows, query, bank), abs=0.01)
    once, two = (
        confidence(evidence(like_heights(r @ query, fit_likeness(r, r)).max(), LIKENESS)) for r in (rows, twice)
    )
    assert two == pytest.approx(once, abs=0.15)


def test_blocks_change_nothing(monkeypatch):
    draw = np.random.default_rng(6)
    rows, bank = unit(draw.normal(size=(50, 8))), unit(draw.normal(size=(40, 8)))
    whole = fit_scale(rows, bank)
    monkeypatch.setattr("seehear.search.calibrate.BLOCK", 7 * 40)
    np.testing.assert_allclose(fit_scale(rows, bank), whole, rtol=1e-4)


def test_a_sample_of_many_rows_gives_the_scale_of_all(monkeypatch):
    """Rows come in groups that are alike, as frames of a clip are: the law of the best of independent rows would put
    the middle more than a spread too high."""
    draw = np.random.default_rng(10)
    clips, bank = draw.normal(size=(500, 24)), unit(draw.normal(size=(1000, 24)) + 0.3)
    rows = unit(np.repeat(clips, 16, axis=0) + 0.2 * draw.normal(size=(8000, 24)) + 0.3)
    whole = fit_scale(rows, bank)
    monkeypatch.setattr("seehear.search.calibrate.SAMPLE", 500)
    some = fit_scale(rows, bank)
    assert some != whole
    assert some == fit_scale(rows, bank), "the same rows every time"
    assert abs(some.middle - whole.middle) < 0.3 * whole.spread
    assert some.spread == pytest.approx(whole.spread, rel=0.25)
    assert some.slope == pytest.approx(whole.slope, rel=0.25)
    alone = fit_scale(rows[draw.choice(8000, 500, replace=False)], bank)
    assert alone.middle + alone.spread * np.log(16) > whole.middle + whole.spread


def test_a_clip_s_own_kind_is_likely_and_others_are_not():
    draw = np.random.default_rng(7)
    kinds = unit(draw.normal(size=(20, 32)))
    rows = unit(np.repeat(kinds, 10, axis=0) + 0.08 * draw.normal(size=(200, 32)))
    usual = fit_likeness(rows, rows)
    own, other = (unit(kind + 0.08 * draw.normal(size=32)) for kind in (kinds[0], draw.normal(size=32)))
    found = confidence(evidence(like_heights(rows @ own, usual), LIKENESS))
    assert found[:10].min() > 0.5 > found[10:].max()
    assert confidence(evidence(like_heights(rows @ other, usual), LIKENESS)).max() < 0.5


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_rows(count):
    draw = np.random.default_rng(8)
    rows, bank = unit(draw.normal(size=(count, 64))), unit(draw.normal(size=(100, 64)))
    assert sure(rows, rows[0], bank) > 0.8 > 0.2 > sure(rows, unit(draw.normal(size=64)), bank)
    usual = fit_likeness(rows, rows)
    assert np.isfinite(like_heights(rows @ rows[0], usual)).all()


@pytest.mark.parametrize("count", [1, 2, 9])
def test_small_banks(count):
    draw = np.random.default_rng(9)
    rows, bank = unit(draw.normal(size=(4, 8))), unit(draw.normal(size=(count, 8)))
    assert np.isfinite(of_words(rows, rows[0], bank)).all()


def test_confidence_in_words():
    assert [in_words(x) for x in (0.1, 0.3, 0.6, 0.95)] == ["nothing close", "weak", "fair", "strong"]


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
