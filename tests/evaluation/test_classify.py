import numpy as np
import pytest

from seehear.evaluation.classify import (
    PROMPTS,
    Labelled,
    class_vectors,
    knn,
    linear_probe,
    prompted,
    svm_probe,
    zero_shot,
)

NAMES = ["cat", "dog", "rain", "bell", "horn", "clock"]


def blobs(seed=0, per_class=30, spread=0.5):
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(len(NAMES), 12))
    labels = np.repeat(NAMES, per_class)
    x = np.repeat(centres, per_class, axis=0) + spread * rng.normal(size=(len(labels), 12))
    return Labelled(x.astype(np.float32), labels.tolist()), centres


def test_prompts_are_averaged_a_class():
    assert prompted(["cat", "dog"], ("{}", "a {}!")) == ["cat", "a cat!", "dog", "a dog!"]
    vectors = class_vectors(np.array([[1.0, 0], [0, 1], [0, 2], [0, 4]]), 2)
    np.testing.assert_allclose(vectors, [[0.5**0.5, 0.5**0.5], [0, 1]], atol=1e-7)
    assert all("{}" in template for templates in PROMPTS.values() for template in templates)


def test_zero_shot_by_hand():
    classes = np.eye(3)
    items = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0.6, 0, 0.5]])
    result = zero_shot(items, classes, ["cat", "cat", "dog", "rain"], ["cat", "dog", "rain"])
    assert result.metrics == {"top1": 0.75, "top5": 1.0, "balanced": pytest.approx(2 / 3)}
    assert result.confusion.tolist() == [[2, 0, 0], [0, 1, 0], [1, 0, 0]]
    assert result.mistakes() == [("rain", "cat", 1)]
    assert result.chance["top1"] == pytest.approx(1 / 3)


def test_zero_shot_of_a_constant_model_is_chance():
    result = zero_shot(np.ones((40, 4)), np.ones((8, 4)), [str(i % 8) for i in range(40)], [str(i) for i in range(8)])
    assert result.metrics["top1"] == result.chance["top1"] == 1 / 8
    assert result.metrics["top5"] == pytest.approx(5 / 8)


def test_zero_shot_names_labels_without_a_class():
    with pytest.raises(ValueError, match="without a class vector: emu"):
        zero_shot(np.ones((1, 2)), np.ones((2, 2)), ["emu"], ["cat", "dog"])


@pytest.mark.parametrize("probe", [knn, linear_probe, svm_probe])
def test_probes_learn_blobs_and_not_noise(probe):
    train, val, test = (blobs(seed)[0] for seed in range(3))
    assert probe(train, val, test).metrics["top1"] > 0.95
    shuffled = Labelled(train.vectors, np.random.default_rng(0).permutation(train.labels).tolist())
    assert probe(shuffled, val, test).metrics["top1"] < 0.5


def test_knn_equals_scikit_learn():
    from sklearn.neighbors import KNeighborsClassifier

    train, val, test = (blobs(seed, spread=2.0)[0] for seed in range(3))
    unit = [p.vectors / np.linalg.norm(p.vectors, axis=1, keepdims=True) for p in (train, val, test)]
    ours = knn(train, val, test, ks=(7,))
    oracle = KNeighborsClassifier(7, metric="cosine", weights=lambda distance: 2.0 - distance).fit(
        unit[0], train.labels
    )
    np.testing.assert_array_equal(ours.per_query["top1"], oracle.predict(unit[2]) == np.asarray(test.labels))


def test_validation_chooses_and_test_does_not():
    """With validation labels that only k = 1 gets right, k = 1 is taken although test would rather have 20."""
    rng = np.random.default_rng(0)
    train, _ = blobs(0, spread=1.5)
    noisy = Labelled(train.vectors, rng.permutation(train.labels).tolist())
    test = blobs(2, spread=1.5)[0]
    result = knn(noisy, noisy, test, ks=(1, 20))
    assert result.chosen == {"k": 1.0, "validation_top1": 1.0}
    with pytest.raises(ValueError, match="validation rows"):
        knn(train, Labelled(np.zeros((0, 12)), []), test)


def test_a_class_that_training_never_had_counts_as_missed():
    train, val, test = (blobs(seed)[0] for seed in range(3))
    odd = Labelled(test.vectors, ["emu"] * 30 + list(test.labels[30:]))
    result = linear_probe(train, val, odd)
    assert result.metrics["top1"] < 0.84
    assert "emu" in result.classes
    assert result.confusion.sum() == len(odd)


def test_two_classes():
    train, val, test = (blobs(seed)[0] for seed in range(3))
    two = [Labelled(p.vectors[:60], p.labels[:60]) for p in (train, val, test)]
    assert svm_probe(*two).metrics["top1"] > 0.9
    assert linear_probe(*two).metrics["top5"] == 1.0


@pytest.mark.parametrize("probe", [knn, linear_probe, svm_probe])
def test_of_several_views_the_mean_of_what_is_said_counts(probe):
    """The same view three times says what one says, and two good views outweigh a bad one."""
    train, val, test = (blobs(seed, per_class=10)[0] for seed in range(3))
    one = probe(train, val, test)
    same = Labelled(np.repeat(np.asarray(test.vectors)[:, None], 3, axis=1), test.labels)
    again = probe(train, Labelled(np.asarray(val.vectors)[:, None], val.labels), same)
    assert again.chosen == one.chosen
    assert again.said.tolist() == one.said.tolist()
    spoilt = np.asarray(same.vectors).copy()
    spoilt[:, 1] = 0
    assert probe(train, val, Labelled(spoilt, test.labels)).metrics["top1"] > 0.9


def test_an_svm_converges_on_nearly_dependent_vectors():
    """More dimensions than items, of which a few count: scikit-learn's default solver stops early and warns."""
    rng = np.random.default_rng(0)
    labels = [NAMES[i % 6] for i in range(30)]
    parts = [rng.normal(size=(30, 3)) for _ in range(3)]
    plane, noise = rng.normal(size=(3, 640)), 0.01 * rng.normal(size=(30, 640))
    found = svm_probe(*(Labelled(part @ plane + noise, labels) for part in parts), strengths=(1.0,))
    assert found.chosen["C"] == 1.0


def test_views_of_a_logistic_regression_by_hand():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    train, val, test = (blobs(seed, per_class=10, spread=2.0)[0] for seed in range(3))
    views = np.stack([test.vectors, np.roll(test.vectors, 1, axis=0)], axis=1)
    found = linear_probe(train, val, Labelled(views, test.labels), strengths=(1.0,))
    scaler = StandardScaler().fit(train.vectors)
    model = LogisticRegression(C=1.0, max_iter=2000).fit(scaler.transform(train.vectors), train.labels)
    p = np.mean([model.predict_proba(scaler.transform(views[:, w])) for w in range(2)], axis=0)
    assert found.said.tolist() == model.classes_[p.argmax(1)].tolist()
