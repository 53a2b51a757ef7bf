"""Classification with a shared space: by the names of the classes (zero-shot), and by probes on frozen vectors.

Probes are k-NN, logistic regression and linear SVM. Their hyper-parameter is chosen on validation vectors; test vectors
are read once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from seehear.errors import require
from seehear.evaluation.retrieval import retrieval
from seehear.nn.unit import unit
from seehear.types import Float

PROMPTS: dict[str, tuple[str, ...]] = {
    "plain": ("{}",),
    "picture": ("a photo of a {}", "a picture of a {}", "a drawing of a {}"),
    "sound": ("the sound of {}", "this is a sound of {}", "a recording of {}"),
    "video": ("a video of {}", "a person {}"),
}
"""Templates by the name of the set. The vector of a class is the mean over the templates of a set."""


@dataclass(frozen=True)
class Classification:
    metrics: dict[str, float]
    """top1, top5, balanced (mean over classes of their top1)."""
    chance: dict[str, float]
    """Metrics of a random ranking of the classes."""
    classes: list[str]
    confusion: np.ndarray
    """(classes, classes) int64: row = true, column = predicted."""
    per_query: dict[str, np.ndarray]
    """(N,) top1 and top5 of each item, expected over ties."""
    truth: np.ndarray
    """(N,) label of each item."""
    said: np.ndarray
    """(N,) predicted class; the first of tied ones."""
    chosen: dict[str, float] = field(default_factory=dict)
    """Hyper-parameter chosen on validation, and the accuracy there."""

    def mistakes(self) -> list[tuple[str, str, int]]:
        """(true, predicted, count) of the five most frequent confusions."""
        off = self.confusion - np.diag(np.diag(self.confusion))
        worst = np.argsort(off, axis=None, kind="stable")[::-1][:5]
        pairs = [np.unravel_index(i, off.shape) for i in worst]
        return [(self.classes[t], self.classes[s], int(off[t, s])) for t, s in pairs if off[t, s]]


def prompted(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Texts of every class name in every template, grouped by class."""
    return [template.format(name) for name in names for template in templates]


def class_vectors(prompt_PE: Float[np.ndarray, "p e"], num_classes: int) -> Float[np.ndarray, "c e"]:
    """Unit vector of each class, the mean over its templates, from vectors of `prompted` texts."""
    return unit(np.asarray(prompt_PE, np.float32).reshape(num_classes, -1, prompt_PE.shape[-1]).mean(axis=1))


def zero_shot(
    item_NE: Float[np.ndarray, "n e"], class_CE: Float[np.ndarray, "c e"], labels: Sequence[str], classes: Sequence[str]
) -> Classification:
    """Classification by the nearest class name. Every label must be among the classes."""
    classes = list(classes)
    if missing := sorted(set(labels) - set(classes)):
        raise ValueError(f"labels without a class vector: {', '.join(missing)}")
    # Ties count as in retrieval.
    found = retrieval(item_NE, class_CE, list(labels), classes, ks=(1, 5))
    predicted = np.argmax(np.asarray(item_NE) @ np.asarray(class_CE).T, axis=1)
    return _result({"top1": found.per_query["R@1"], "top5": found.per_query["R@5"]}, labels, predicted, classes)


@dataclass(frozen=True)
class Labelled:
    """Vectors of one split with a label each."""

    vectors: Float[np.ndarray, "n e"] | Float[np.ndarray, "n w e"]
    """Validation and test items may have several views: their scores are averaged, those of a logistic regression as
    probabilities."""
    labels: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


Scores = Callable[[np.ndarray], np.ndarray]
"""Function from vectors (N, E) to scores (N, C)."""


def knn(train: Labelled, val: Labelled, test: Labelled, *, ks: Sequence[int] = (1, 3, 5, 10, 20, 50)) -> Classification:
    """Cosine-weighted vote of the k nearest training items; k is chosen on validation."""
    classes, class_N = _classes(train)

    def votes(k: int, queries: np.ndarray) -> np.ndarray:
        similarity_QN = unit(queries) @ unit(train.vectors).T
        # A partition: a vote does not depend on the order of the nearest.
        nearest = np.argpartition(-similarity_QN, min(k, len(train)) - 1, axis=1)[:, :k]
        # A cosine is in [-1, 1]: no vote is negative.
        weight = np.take_along_axis(similarity_QN, nearest, axis=1) + 1.0
        scores_QC = np.zeros((len(queries), len(classes)))
        # Not `+=`: a class may occur several times among the neighbours, and each vote counts.
        np.add.at(scores_QC, (np.arange(len(queries))[:, None], class_N[nearest]), weight)
        return scores_QC

    # A small set has fewer training items than the largest k.
    models: dict[float, Scores] = {float(k): partial(votes, k) for k in ks if k <= len(train)}
    return _tuned(val, test, classes, models, "k", of_views=lambda scores: scores / scores.sum(axis=1, keepdims=True))


def linear_probe(
    train: Labelled, val: Labelled, test: Labelled, *, strengths: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0)
) -> Classification:
    """Logistic regression on standardised vectors; its inverse regularisation C is chosen on validation."""
    logistic = require("sklearn.linear_model").LogisticRegression

    def fit(c: float, x: np.ndarray, y: np.ndarray) -> object:
        return logistic(C=c, max_iter=2000).fit(x, y)

    return _probe(train, val, test, fit, strengths, of_views=probabilities)


def svm_probe(
    train: Labelled, val: Labelled, test: Labelled, *, strengths: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0)
) -> Classification:
    """Linear support vector machine, one class against the rest, as in video papers; C is chosen on validation."""

    def fit(c: float, x: np.ndarray, y: np.ndarray) -> object:
        svm = partial(require("sklearn.svm").LinearSVC, C=c, random_state=0)
        # The dual problem is faster in more dimensions than rows, but takes millions of steps where rows are nearly
        # dependent; the primal one has the same solution and then takes ten.
        if len(x) < x.shape[1]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
                model = svm(dual=True, max_iter=2000).fit(x, y)
            if np.max(model.n_iter_) < model.max_iter:
                return model
        return svm(dual=False, max_iter=20000).fit(x, y)

    return _probe(train, val, test, fit, strengths, of_views=lambda scores_NC: scores_NC)


def probabilities(logits_NC: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    """Softmax over classes."""
    # Less the largest logit, so that no exponential overflows.
    e_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return e_NC / e_NC.sum(axis=1, keepdims=True)


def _probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    fit: Callable[[float, np.ndarray, np.ndarray], object],
    strengths: Sequence[float],
    *,
    of_views: Scores,
) -> Classification:
    """A scikit-learn model on standardised vectors, fitted for each C."""
    classes, class_N = _classes(train)
    # In float64: float32 sums over many rows lose digits.
    scaler = require("sklearn.preprocessing").StandardScaler().fit(np.asarray(train.vectors, np.float64))

    def fitted(strength: float) -> Scores:
        # Scaled by the training rows alone: nothing of the test may reach the probe.
        model: Any = fit(strength, scaler.transform(train.vectors), class_N)

        def scores(x: np.ndarray) -> np.ndarray:
            decided = model.decision_function(scaler.transform(x))
            # scikit-learn gives one column for two classes.
            return decided if decided.ndim == 2 else np.stack([np.zeros_like(decided), decided], axis=1)

        return scores

    return _tuned(val, test, classes, {c: fitted(c) for c in strengths}, "C", of_views=of_views)


def _tuned(
    val: Labelled, test: Labelled, classes: list[str], models: dict[float, Scores], setting: str, *, of_views: Scores
) -> Classification:
    """Test result of the model that is best on validation (the first of equals). `of_views` makes scores of views
    comparable before their mean."""
    if not len(val):
        raise ValueError("a probe chooses its hyper-parameter on validation rows, and there are none")

    def scores(model: Scores, x: np.ndarray) -> np.ndarray:
        if np.ndim(x) == 2:
            return model(x)
        n, w, e = np.shape(x)
        return of_views(model(np.reshape(x, (n * w, e)))).reshape(n, w, -1).mean(axis=1)

    names, truth = np.asarray(classes), np.asarray(val.labels)
    accuracy = {key: float(np.mean(names[scores(m, val.vectors).argmax(1)] == truth)) for key, m in models.items()}
    # The first of equals: the strongest regularisation, the fewest neighbours.
    best = max(accuracy, key=lambda key: accuracy[key])
    chosen = {setting: best, "validation_top1": accuracy[best]}
    return by_scores(scores(models[best], test.vectors), test.labels, classes, chosen=chosen)


def by_scores(
    scores_NC: Float[np.ndarray, "n c"],
    labels: Sequence[str],
    classes: list[str],
    *,
    chosen: dict[str, float] | None = None,
) -> Classification:
    """Classification by the highest score. An item whose label is not among the classes is a miss."""
    names, truth = np.asarray(classes), np.asarray(labels)
    predicted = scores_NC.argmax(axis=1)
    # Stable: ties keep the order of the classes on every machine.
    top5 = np.argsort(-scores_NC, axis=1, kind="stable")[:, :5]
    hits = {"top1": names[predicted] == truth, "top5": (names[top5] == truth[:, None]).any(1)}
    return _result({name: hit.astype(float) for name, hit in hits.items()}, labels, predicted, classes, chosen)


def _result(
    per_query: dict[str, np.ndarray],
    labels: Sequence[str],
    predicted: np.ndarray,
    classes: list[str],
    chosen: dict[str, float] | None = None,
) -> Classification:
    truth = np.asarray(labels)
    chance = {"top1": 1 / len(classes), "top5": min(5 / len(classes), 1.0), "balanced": 1 / len(classes)}
    # A label that no training item has is a miss, with a row of its own in the confusion.
    all_classes = classes + sorted(set(truth.tolist()) - set(classes))
    names, number = np.array(all_classes, dtype=str), {name: i for i, name in enumerate(all_classes)}
    confusion = np.zeros((len(names), len(names)), np.int64)
    np.add.at(confusion, (np.array([number[label] for label in truth.tolist()]), predicted), 1)
    per_class = [per_query["top1"][truth == name].mean() for name in sorted(set(truth.tolist()))]
    metrics = {name: float(values.mean()) for name, values in per_query.items()}
    metrics["balanced"] = float(np.mean(per_class))
    return Classification(metrics, chance, all_classes, confusion, per_query, truth, names[predicted], chosen or {})


def _classes(train: Labelled) -> tuple[list[str], np.ndarray]:
    """Names of the classes, and the number of the class of each item."""
    classes, numbers = np.unique(np.asarray(train.labels), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a probe needs two classes in training; got {classes.tolist()}")
    return classes.tolist(), numbers
