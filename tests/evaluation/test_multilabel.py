import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import average_precision_score, roc_auc_score

from seehear.evaluation.multilabel import Marked, auc, average_precision, d_prime, linear_scores, multilabel


@settings(max_examples=200)
@given(st.integers(2, 60), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_equal_to_scikit_learn_with_and_without_ties(n, levels, seed):
    rng = np.random.default_rng(seed)
    scores, truth = rng.integers(0, levels, n).astype(float), rng.random(n) < 0.4
    if truth.all() or not truth.any():
        truth[0] = not truth[0]
    assert average_precision(scores, truth) == pytest.approx(average_precision_score(truth, scores))
    assert auc(scores, truth) == pytest.approx(roc_auc_score(truth, scores))


def test_d_prime_is_the_distance_of_two_normals():
    assert d_prime(0.5) == 0
    assert d_prime(float(stats.norm.cdf(1.5 / 2**0.5))) == pytest.approx(1.5)
    assert d_prime(0.1) == pytest.approx(-d_prime(0.9))
    assert np.isfinite(d_prime(1.0))
    assert np.isnan(d_prime(float("nan")))


def test_d_prime_is_the_mean_over_classes_not_that_of_the_mean():
    """Areas 0.75 and 1/2: a normal distance of 0.953873 and of 0, where that of the mean area would be 0.450624."""
    scores = np.array([[4.0, 1], [2, 1], [3, 1], [1, 1]])
    truth = np.array([[1, 1], [1, 0], [0, 1], [0, 0]], bool)
    found = multilabel(scores, truth, ["a", "b"])
    assert found.auc.tolist() == [0.75, 0.5]
    assert found.metrics["d'"] == pytest.approx(0.953873 / 2, abs=1e-6)


def test_classes_without_both_kinds_of_items_do_not_count():
    scores = np.array([[0.9, 0.1, 0.5, 0.2], [0.2, 0.8, 0.5, 0.3], [0.1, 0.7, 0.5, 0.4]])
    truth = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [0, 0, 1, 0]], bool)
    found = multilabel(scores, truth, ["a", "b", "all", "none"])
    assert found.classes == ["a", "b"]
    assert found.metrics == {"mAP": 1.0, "AUC": 1.0, "d'": d_prime(1.0)}
    assert found.chance["mAP"] == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no class has both"):
        multilabel(scores[:, 2:], truth[:, 2:], ["all", "none"])
    with pytest.raises(ValueError, match="3 classes"):
        multilabel(scores, truth, ["a", "b", "c"])


def test_a_constant_model_is_at_chance():
    truth = np.random.default_rng(0).random((200, 5)) < 0.2
    found = multilabel(np.ones((200, 5)), truth, list("abcde"))
    assert found.metrics == pytest.approx(found.chance)


def test_a_linear_probe_learns_several_labels_at_once():
    rng = np.random.default_rng(1)
    z = rng.normal(size=(300, 6))
    truth = np.stack([z[:, 0] > 0, z[:, 1] + z[:, 2] > 0.5, np.zeros(300, bool)], axis=1)
    x = z + 0.3 * rng.normal(size=z.shape)
    parts = [slice(0, 150), slice(150, 200), slice(200, 300)]
    train, val = (Marked(x[p], truth[p]) for p in parts[:2])
    scores, chosen = linear_scores(train, val, x[parts[2]])
    assert multilabel(scores, truth[parts[2]], ["a", "b", "never"]).metrics["mAP"] > 0.95
    assert (scores[:, 2] == 0).all()
    assert chosen["validation_mAP"] > 0.9
    assert chosen["C"] in (0.01, 0.1, 1.0, 10.0)
