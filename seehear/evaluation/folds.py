"""Probes on frozen vectors over official folds (ESC-50) or official lists (UCF101, HMDB51).

In each fold the hyper-parameter is chosen on validation rows held out of the training rows. The probe is then fitted on
all training rows, as in the published protocols, and reads the test rows once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from seehear.errors import SeehearError
from seehear.evaluation.classify import Classification, Labelled, linear_probe
from seehear.library.clips import split_of
from seehear.library.records import Clip
from seehear.types import Float

Probe = Callable[..., Classification]
"""`linear_probe`, `svm_probe` or `knn`."""
# Hyper-parameter of a probe -> its argument with the choices.
_SETTING = {"C": "strengths", "k": "ks", "steps": "steps"}


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Row numbers of the parts, which share no row."""

    name: str
    train: np.ndarray
    val: np.ndarray
    """Training rows that choose the hyper-parameter."""
    test: np.ndarray


@dataclass(frozen=True, kw_only=True)
class FoldedProbe:
    mean: dict[str, float]
    """Mean over the folds, equally weighted, as papers report."""
    deviation: dict[str, float]
    """Standard deviation over the folds."""
    folds: dict[str, Classification]

    def __str__(self) -> str:
        shown = ", ".join(f"{name} {100 * value:.1f}" for name, value in self.mean.items())
        each = ", ".join(f"{100 * found.metrics['top1']:.1f}" for found in self.folds.values())
        return f"{shown} (mean of {len(self.folds)} folds; top1 of each: {each})"


def rotating_folds(numbers: Sequence[str | int]) -> list[Fold]:
    """Folds from fold numbers: each is the test set once, the next one validation."""
    # Numbers, not words: 'fold 10' comes after 'fold 2'.
    own = np.asarray([int(number) for number in numbers])
    names = np.unique(own).tolist()
    if len(names) < 3:
        raise ValueError(f"rotating folds need three: test, validation and training; got {names}")
    following = dict(zip(names, names[1:] + names[:1], strict=True))
    return [
        Fold(
            name=f"fold {name}",
            train=np.flatnonzero((own != name) & (own != following[name])),
            val=np.flatnonzero(own == following[name]),
            test=np.flatnonzero(own == name),
        )
        for name in names
    ]


def listed_folds(lists: Mapping[str, Sequence[str]], groups: Sequence[str]) -> list[Fold]:
    """Folds from lists with train, test or '' for each row. A fifth of the training groups is validation."""
    # By recording, and by its name alone: the split is the same in every run.
    held = np.array([split_of(group, (0.8, 0.2, 0.0), 0) == "val" for group in groups])
    folds = []
    for name, uses in lists.items():
        train, test = (np.asarray(uses) == use for use in ("train", "test"))
        parts = {"train": train & ~held, "val": train & held, "test": test}
        if empty := [part for part, rows in parts.items() if not rows.any()]:
            raise ValueError(f"{name} has no row of {', '.join(empty)}")
        folds.append(Fold(name=name, **{part: np.flatnonzero(rows) for part, rows in parts.items()}))
    return folds


def official_folds(clips: Sequence[Clip]) -> list[Fold]:
    """Folds that an import wrote into the clips' meta as `fold`, or `split1`, `split2`, ... Row i is clip i."""
    if all("fold" in clip.meta for clip in clips):
        return rotating_folds([clip.meta["fold"] for clip in clips])
    names = sorted({key for clip in clips for key in clip.meta if key.removeprefix("split").isdecimal()})
    if not names:
        raise SeehearError("the clips have no folds: import them with 'seehear import' from a set that has folds")
    return listed_folds(
        {name: [clip.meta.get(name, "") for clip in clips] for name in names}, [clip.group or clip.id for clip in clips]
    )


def probe_folds(
    vectors: Float[np.ndarray, "n e"],
    labels: Sequence[str],
    folds: Sequence[Fold],
    *,
    probe: Probe = linear_probe,
    views: Float[np.ndarray, "n w e"] | None = None,
) -> FoldedProbe:
    """Results of the probe on every fold. `views`: several vectors of each row, for testing."""
    if not folds or len(vectors) != len(labels):
        raise ValueError(f"need folds, and a label a vector; got {len(folds)}, {len(labels)} and {len(vectors)}")
    names = np.asarray(labels)
    learned, tested = np.asarray(vectors), np.asarray(vectors if views is None else views)

    def part(rows: np.ndarray, of: np.ndarray) -> Labelled:
        return Labelled(of[rows], names[rows].tolist())

    found = {}
    for fold in folds:
        train, val, test = part(fold.train, learned), part(fold.val, tested), part(fold.test, tested)
        # Validation in place of the test: the test rows are read once, by the chosen setting.
        chosen = probe(train, val, val).chosen
        what = next(iter(set(chosen) & set(_SETTING)))
        # Neighbours and steps are counts.
        value = chosen[what] if what == "C" else int(chosen[what])
        # The rows that chose the setting learn, too, as in the published protocols.
        whole = part(np.concatenate([fold.train, fold.val]), learned)
        found[fold.name] = replace(probe(whole, val, test, **{_SETTING[what]: (value,)}), chosen=chosen)
    table = {name: [one.metrics[name] for one in found.values()] for name in next(iter(found.values())).metrics}
    return FoldedProbe(
        mean={name: float(np.mean(values)) for name, values in table.items()},
        deviation={name: float(np.std(values, ddof=1)) if len(values) > 1 else 0.0 for name, values in table.items()},
        folds=found,
    )
