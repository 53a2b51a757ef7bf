"""Classification with a shared space: by the names of the classes alone, and by probes on a few labels.

Zero-shot is retrieval among class names, so ties count as there. Probes (k-NN, logistic regression, linear SVM) see
frozen vectors; what can be tuned is tuned on validation vectors, and test vectors are looked at once.
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
"""Templates by name. The vector of a class is the mean over the templates of a set."""


@dataclass(frozen=True)
class Classification:
    metrics: dict[str, float]
    """top1, top5, balanced: the mean over classes of their top1."""
    chance: dict[str, float]
    """Of a random ranking of the classes."""
    classes: list[str]
    confusion: np.ndarray
    """(classes, classes) int64: row = true, column = said."""
    per_query: dict[str, np.ndarray]
    """(N,) top1 and top5 of each item, expected over ties."""
    truth: np.ndarray
    """(N,) the label of each item."""
    said: np.ndarray
    """(N,) the class it is taken for; of tied ones the first."""
    chosen: dict[str, float] = field(default_factory=dict)
    """What validation chose, and the accuracy there."""

    def mistakes(self) -> list[tuple[str, str, int]]:
        """(true, said, how often) of the five commonest confusions."""
        off = self.confusion - np.diag(np.diag(self.confusion))
        worst = np.argsort(off, axis=None, kind="stable")[::-1][:5]
        pairs = [np.unravel_index(i, off.shape) for i in worst]
        return [(self.classes[t], self.classes[s], int(off[t, s])) for t, s in pairs if off[t, s]]


def prompted(names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """Every class name in every template: the templates of the first class, then of the second, and so on."""
    return [template.format(name) for name in names for template in templates]


def class_vectors(prompt_PE: Float[np.ndarray, "p e"], num_classes: int) -> Float[np.ndarray, "c e"]:
    """Vectors of `prompted` texts -> one unit vector a class: the mean over its templates."""
    return unit(np.asarray(prompt_PE, np.float32).reshape(num_classes, -1, prompt_PE.shape[-1]).mean(axis=1))


def zero_shot(
    item_NE: Float[np.ndarray, "n e"], class_CE: Float[np.ndarray, "c e"], labels: Sequence[str], classes: Sequence[str]
) -> Classification:
    """The class whose name lies nearest. Every label must be among the classes."""
    classes = list(classes)
    if missing := sorted(set(labels) - set(classes)):
        raise ValueError(f"labels without a class vector: {', '.join(missing)}")
    found = retrieval(item_NE, class_CE, list(labels), classes, ks=(1, 5))
    said = np.argmax(np.asarray(item_NE) @ np.asarray(class_CE).T, axis=1)
    per_query = {"top1": found.per_query["R@1"], "top5": found.per_query["R@5"]}
    chance = {"top1": found.chance["R@1"], "top5": found.chance["R@5"], "balanced": 1 / len(classes)}
    return _result(per_query, chance, np.asarray(labels), said, classes)


@dataclass(frozen=True)
class Labelled:
    """Vectors of one split with a label each."""

    vectors: Float[np.ndarray, "n e"] | Float[np.ndarray, "n w e"]
    """Of what a probe does not learn from there may be several views an item: it says the mean of what it says of each,
    a logistic regression of its probabilities."""
    labels: Sequence[str]

    def __len__(self) -> int:
        return len(self.labels)


def knn(train: Labelled, val: Labelled, test: Labelled, *, ks: Sequence[int] = (1, 3, 5, 10, 20, 50)) -> Classification:
    """Cosine-weighted vote of the k nearest training items; k by validation."""

    def votes(k: int, queries: np.ndarray) -> np.ndarray:
        similarity_QN = unit(queries) @ unit(train.vectors).T
        nearest = np.argpartition(-similarity_QN, min(k, len(train)) - 1, axis=1)[:, :k]
        weight = np.take_along_axis(similarity_QN, nearest, axis=1) + 1.0  # cosine, [-1, 1]: every vote counts
        scores_QC = np.zeros((len(queries), len(classes)))
        np.add.at(scores_QC, (np.arange(len(queries))[:, None], of_train[nearest]), weight)
        return scores_QC

    def shares(scores_NC: np.ndarray) -> np.ndarray:
        return scores_NC / scores_NC.sum(axis=1, keepdims=True)

    classes, of_train = _classes(train)
    usable = [k for k in ks if k <= len(train)]
    return _tuned(val, test, classes, {float(k): partial(votes, k) for k in usable}, "k", of_views=shares)


def linear_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    *,
    strengths: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
) -> Classification:
    """Logistic regression on standardised vectors; its inverse regularisation C by validation."""
    logistic = require("sklearn.linear_model").LogisticRegression

    def fit(c: float, x: np.ndarray, y: np.ndarray) -> object:
        return logistic(C=c, max_iter=2000).fit(x, y)

    return _probe(train, val, test, fit, strengths, of_views=probabilities)


def svm_probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    *,
    strengths: Sequence[float] = (0.001, 0.01, 0.1, 1.0, 10.0),
) -> Classification:
    """Linear support vector machine, one class against the rest, as video papers do; C by validation."""
    return _probe(train, val, test, _linear_svm, strengths, of_views=lambda scores_NC: scores_NC)


def _linear_svm(c: float, x: np.ndarray, y: np.ndarray) -> object:
    """The dual problem is the quicker one in more dimensions than rows, but takes millions of steps where rows nearly
    depend on each other; the primal one, with the same solution, then takes ten."""
    svm = partial(require("sklearn.svm").LinearSVC, C=c, random_state=0)
    if len(x) < x.shape[1]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", require("sklearn.exceptions").ConvergenceWarning)
            model = svm(dual=True, max_iter=2000).fit(x, y)
        if np.max(model.n_iter_) < model.max_iter:
            return model
    return svm(dual=False, max_iter=20000).fit(x, y)


def probabilities(logits_NC: Float[np.ndarray, "n c"]) -> Float[np.ndarray, "n c"]:
    e_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True))
    return e_NC / e_NC.sum(axis=1, keepdims=True)


Scores = Callable[[np.ndarray], np.ndarray]


def _probe(
    train: Labelled,
    val: Labelled,
    test: Labelled,
    fit: Callable[[float, np.ndarray, np.ndarray], object],
    strengths: Sequence[float],
    *,
    of_views: Scores,
) -> Classification:
    classes, of_train = _classes(train)
    scaler = require("sklearn.preprocessing").StandardScaler().fit(np.asarray(train.vectors, np.float64))

    def fitted(strength: float) -> Scores:
        model: Any = fit(strength, scaler.transform(train.vectors), of_train)

        def scores(x: np.ndarray) -> np.ndarray:
            decided = model.decision_function(scaler.transform(x))
            return decided if decided.ndim == 2 else np.stack([np.zeros_like(decided), decided], axis=1)

        return scores

    return _tuned(val, test, classes, {c: fitted(c) for c in strengths}, "C", of_views=of_views)


def _tuned(
    val: Labelled,
    test: Labelled,
    classes: list[str],
    models: dict[float, Scores],
    what: str,
    *,
    of_views: Scores,
) -> Classification:
    """The model that is best on validation (the first of equals), measured on test."""
    if not len(val):
        raise ValueError("a probe chooses its hyper-parameter on validation rows, and there are none")

    def scores(model: Scores, x: np.ndarray) -> np.ndarray:
        if np.ndim(x) == 2:
            return model(x)
        n, w, e = np.shape(x)
        return of_views(model(np.reshape(x, (n * w, e)))).reshape(n, w, -1).mean(axis=1)

    names, truth = np.asarray(classes), np.asarray(val.labels)
    accuracy = {key: float(np.mean(names[scores(m, val.vectors).argmax(1)] == truth)) for key, m in models.items()}
    best = max(accuracy, key=lambda key: accuracy[key])
    chosen = {what: best, "validation_top1": accuracy[best]}
    return by_scores(scores(models[best], test.vectors), test.labels, classes, chosen=chosen)


def by_scores(
    scores_NC: Float[np.ndarray, "n c"],
    labels: Sequence[str],
    classes: list[str],
    *,
    chosen: dict[str, float] | None = None,
) -> Classification:
    """The class of the highest score. A label that is none of the classes counts as missed."""
    names, truth = np.asarray(classes), np.asarray(labels)
    said = scores_NC.argmax(axis=1)
    top5 = np.argsort(-scores_NC, axis=1, kind="stable")[:, :5]
    per_query = {
        "top1": (names[said] == truth).astype(float),
        "top5": (names[top5] == truth[:, None]).any(1).astype(float),
    }
    chance = {"top1": 1 / len(classes), "top5": min(5 / len(classes), 1.0), "balanced": 1 / len(classes)}
    return _result(per_query, chance, truth, said, classes, chosen)


def _result(
    per_query: dict[str, np.ndarray],
    chance: dict[str, float],
    truth: np.ndarray,
    said: np.ndarray,
    classes: list[str],
    chosen: dict[str, float] | None = None,
) -> Classification:
    all_classes = classes + sorted(set(truth.tolist()) - set(classes))
    number = {name: i for i, name in enumerate(all_classes)}
    confusion = np.zeros((len(all_classes), len(all_classes)), np.int64)
    np.add.at(confusion, (np.array([number[t] for t in truth.tolist()]), said), 1)
    per_class = [per_query["top1"][truth == name].mean() for name in sorted(set(truth.tolist()))]
    metrics = {name: float(values.mean()) for name, values in per_query.items()} | {
        "balanced": float(np.mean(per_class))
    }
    names = np.array(all_classes, dtype=str)
    return Classification(metrics, chance, all_classes, confusion, per_query, truth, names[said], chosen or {})


def _classes(train: Labelled) -> tuple[list[str], np.ndarray]:
    classes, numbers = np.unique(np.asarray(train.labels), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"a probe needs two classes in training; got {classes.tolist()}")
    return classes.tolist(), numbers
