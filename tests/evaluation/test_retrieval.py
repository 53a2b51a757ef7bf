import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.evaluation import retrieval as module
from seehear.evaluation import retrieval as ties
from seehear.evaluation.retrieval import rank_blocks, retrieval
from tests.reference.retrieval import measures


def unit(rng, n, e=16):
    x = rng.normal(size=(n, e)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ranked(scores, query_ids, gallery_ids, **options):
    return rank_blocks(lambda start, stop: scores[start:stop], query_ids, gallery_ids, **options)


def test_two_images_with_two_captions_each():
    scores = np.array([[0.9, 0.1, 0.8, 0.2], [0.7, 0.3, 0.2, 0.1]])
    images, captions = [0, 1], [0, 0, 1, 1]
    to_text = ranked(scores, images, captions, ks=(1, 2, 3))
    assert to_text.ranks.tolist() == [1, 3]
    assert [to_text.metrics[f"R@{k}"] for k in (1, 2, 3)] == [0.5, 0.5, 1.0]
    to_image = ranked(scores.T, captions, images, ks=(1, 2, 3))
    assert to_image.ranks.tolist() == [1, 2, 2, 2]
    assert [to_image.metrics[f"R@{k}"] for k in (1, 2, 3)] == [0.25, 1.0, 1.0]


def test_ties_are_averaged():
    """A common metric code gives R@1 0.75, R@5 1.75 and median rank 2 here: it counts a tied positive several times."""
    scores = [[0.9, 0.1, 0.3, 0.2], [0.5, 0.4, 0.6, 0.1], [0.2, 0.7, 0.8, 0.75], [0.3, 0.3, 0.3, 0.3]]
    result = ranked(np.array(scores), range(4), range(4))
    assert result.ranks.tolist() == [1, 3, 1, 2.5]
    assert result.metrics["median_rank"] == 1.75
    assert np.mean(result.ranks <= 1) == 0.5
    assert np.mean(result.ranks <= 5) == 1.0
    # The last query finds its item first in one order of four: that quarter is its share of R@1.
    assert result.metrics["R@1"] == pytest.approx((1 + 0 + 1 + 0.25) / 4)
    assert result.metrics["R@5"] == 1.0


@pytest.mark.parametrize("copies", [1, 3])
@pytest.mark.parametrize("gallery", [12, 101])
def test_a_constant_model_scores_chance(gallery, copies):
    x = np.tile(np.array([0.6, 0.8], np.float32), (gallery * copies, 1))
    ids = np.repeat(np.arange(gallery), copies)
    result = retrieval(x, x, ids, ids)
    for name in ("R@1", "R@5", "R@10", "mean_rank", "MRR", "mAP", "nDCG@10"):
        assert result.metrics[name] == pytest.approx(result.chance[name], abs=1e-12)
    assert result.metrics["R@10"] < 1.0


def test_rows_that_come_twice_tie_whatever_the_blas_does():
    rng = np.random.default_rng(0)
    half = unit(rng, 1037, 33)
    gallery = np.concatenate([half, half])
    result = retrieval(half, gallery, np.arange(1037), np.arange(2074))
    assert np.all(result.ranks == 1.5)
    assert result.metrics["R@1"] == 0.5


@settings(max_examples=150)
@given(st.data())
def test_equals_the_mean_over_all_orders_of_tied_items(data):
    size = data.draw(st.integers(1, 7))
    scores = data.draw(st.lists(st.integers(0, 3), min_size=size, max_size=size))
    relevant = data.draw(st.lists(st.booleans(), min_size=size, max_size=size).filter(any))
    result = ranked(np.array([scores], float), [1], np.array(relevant, int), ks=(1, 2, 5))
    for name, value in measures(scores, relevant, (1, 2, 5)).items():
        assert result.per_query[name][0] == pytest.approx(value, abs=1e-12), name


def test_chance_is_the_mean_over_all_orders():
    relevant = [True, False, True, False, False, False]
    result = ranked(np.arange(6.0)[None], ["a"], np.where(relevant, "a", "b"), ks=(1, 2, 5))
    expected = measures([0] * 6, relevant, (1, 2, 5))
    for name, other in {"R@1": "R@1", "R@2": "R@2", "mean_rank": "rank", "MRR": "MRR", "mAP": "AP"}.items():
        assert result.chance[name] == pytest.approx(expected[other], abs=1e-12)
    assert result.chance["nDCG@10"] == pytest.approx(expected["nDCG@10"], abs=1e-12)


def test_chance_of_single_positives_in_closed_form():
    rng = np.random.default_rng(1)
    result = retrieval(unit(rng, 50), unit(rng, 50), range(50), range(50))
    assert result.chance["R@10"] == pytest.approx(10 / 50)
    assert result.chance["median_rank"] == result.chance["mean_rank"] == 25.5
    assert result.chance["MRR"] == pytest.approx(result.chance["mAP"])


def test_median_of_chance_with_several_positives():
    rng = np.random.default_rng(2)
    drawn = np.array([rng.permutation(40)[:3].min() + 1 for _ in range(20000)])
    assert ties.chance_median(40, np.array([3])) == pytest.approx(np.median(drawn), abs=1)


def test_blocks_and_sorting_change_nothing(monkeypatch):
    rng = np.random.default_rng(3)
    query, gallery = unit(rng, 40), unit(rng, 300)
    labels = rng.integers(0, 3, 300)
    whole = retrieval(query, gallery, labels[:40], labels)
    monkeypatch.setattr(module, "BLOCK", 7 * 300)
    monkeypatch.setattr(module, "FEW", 0)
    cut = retrieval(query, gallery, labels[:40], labels)
    for name in whole.per_query:
        np.testing.assert_allclose(whole.per_query[name], cut.per_query[name], rtol=1e-12)


def test_queries_without_a_positive_are_counted_and_left_out():
    rng = np.random.default_rng(4)
    x = unit(rng, 6)
    result = retrieval(x, x[:4], list("abcdef"), list("abcd"))
    assert (result.queries, result.skipped, result.gallery) == (4, 2, 4)
    assert result.rows.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="share no id"):
        retrieval(x, x, range(6), range(10, 16))


def test_tensors_and_arrays_agree_and_order_of_rows_does_not_matter():
    rng = np.random.default_rng(5)
    x, y = unit(rng, 80), unit(rng, 80)
    plain = retrieval(x, y, range(80), range(80))
    assert retrieval(torch.from_numpy(x), torch.from_numpy(y), range(80), range(80)).metrics == plain.metrics
    order = rng.permutation(80)
    moved = retrieval(x[order], y, order, np.arange(80))
    assert moved.metrics == pytest.approx(plain.metrics)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"\(3, 4\) and \(5, 6\)"):
        retrieval(np.zeros((3, 4)), np.zeros((5, 6)), range(3), range(5))


def test_scores_on_demand_are_asked_for_in_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 50)
    asked = []

    def scores(start, stop):
        asked.append(stop - start)
        return np.eye(10)[start:stop]

    result = rank_blocks(scores, range(10), range(10))
    assert result.metrics["R@1"] == 1.0
    assert asked == [5, 5]


def test_agrees_with_trec_eval():
    pytrec_eval = pytest.importorskip("pytrec_eval")
    rng = np.random.default_rng(6)
    query, gallery = unit(rng, 60), unit(rng, 200)
    labels = rng.integers(0, 20, 200)
    result = retrieval(query, gallery, np.arange(60) % 20, labels)
    scores = query @ gallery.T
    run = {str(q): {str(g): float(scores[q, g]) for g in range(200)} for q in range(60)}
    truth = {str(q): {str(g): int(labels[g] == q % 20) for g in range(200)} for q in range(60)}
    wanted = {"map", "recip_rank", "ndcg_cut_10", "success_1,5,10"}
    oracle = pytrec_eval.RelevanceEvaluator(truth, wanted).evaluate(run)
    ours = {"map": "AP", "recip_rank": "MRR", "ndcg_cut_10": "nDCG@10", "success_1": "R@1", "success_10": "R@10"}
    for theirs, name in ours.items():
        expected = [oracle[str(q)][theirs] for q in range(60)]
        np.testing.assert_allclose(result.per_query[name], expected, atol=1e-7, err_msg=name)


def test_average_precision_agrees_with_scikit_learn():
    from sklearn.metrics import average_precision_score

    rng = np.random.default_rng(7)
    scores, truth = rng.permutation(500).astype(float), rng.random(500) < 0.1
    result = ranked(scores[None], [1], truth.astype(int))
    assert result.per_query["AP"][0] == pytest.approx(average_precision_score(truth, scores))
