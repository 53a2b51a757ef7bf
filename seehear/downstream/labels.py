"""Labels of a library's clips, by the name of a user's column, of a prefix of labels, or 'labels'; and
labelled clips as training data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.evaluation.folds import official_folds
from seehear.evaluation.multilabel import truth_of
from seehear.inputs.raw.media import RawMedia
from seehear.library.records import SPLITS, Clip
from seehear.library.tables import LibraryTables
from seehear.methods.base import modalities_of
from seehear.nn.random import seed_of
from seehear.types import Batch, Bool, Float, Int, Tensor

ALL = "labels"
"""Name for all labels of a clip."""
_SIGNS = ("=", ":")


@dataclass(frozen=True)
class LabelledClips:
    """Clips with a label and the modalities of a tower, in order of the media."""

    media: RawMedia
    labels: list[tuple[str, ...]]
    clips: list[Clip]
    name: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def several(self) -> bool:
        """True if some clip has more than one label."""
        return any(len(own) > 1 for own in self.labels)

    def classes(self) -> tuple[str, ...]:
        # Sorted: outputs have the same order in every process, and after a resume.
        return tuple(sorted({label for own in self.labels for label in own}))

    @property
    def firsts(self) -> list[str]:
        """The first label of each clip."""
        return [own[0] for own in self.labels]

    @property
    def groups(self) -> np.ndarray:
        """Source recordings."""
        return np.array([clip.recording for clip in self.clips], dtype=str)

    @property
    def ids(self) -> np.ndarray:
        return np.array([clip.id for clip in self.clips], dtype=str)

    def take(self, rows: Iterable[int] | np.ndarray) -> LabelledClips:
        rows = np.fromiter(rows, np.int64)
        return LabelledClips(
            self.media.take(rows), [self.labels[i] for i in rows], [self.clips[i] for i in rows], self.name
        )

    def split(self, name: str) -> LabelledClips:
        return self.take([i for i, clip in enumerate(self.clips) if clip.split == name])

    def parts(self, fold: str = "") -> dict[str, LabelledClips]:
        """The splits train, val and test, of the library or of one of its official folds ('fold 2', 'split1')."""
        if not fold:
            return {name: self.split(name) for name in SPLITS}
        folds = {f.name: f for f in official_folds(self.clips)}
        if fold not in folds:
            raise SeehearError(f"no official fold {fold!r}; there are {', '.join(folds)}")
        return {name: self.take(getattr(folds[fold], name)) for name in SPLITS}

    def numbers(self, classes: Sequence[str]) -> list[tuple[int, ...]]:
        """Labels of each clip as positions in `classes`; other labels are left out."""
        number = {name: c for c, name in enumerate(classes)}
        return [tuple(number[label] for label in own if label in number) for own in self.labels]

    def truth(self, classes: Sequence[str]) -> Bool[np.ndarray, "n c"]:
        return truth_of(self.labels, classes)


def labelled(library: LibraryTables, media: RawMedia, name: str, *, tower: str = "") -> LabelledClips:
    """The labelled clips with the modalities of a tower; by default all. Raises `SeehearError` for a label that no clip
    has, with the known ones."""
    by_id = {clip.id: clip for clip in library.clips()}
    clips = [by_id[i] for i in media.ids]
    labels = [labels_of(clip, name) for clip in clips]
    if not any(labels):
        raise SeehearError(f"{library.uri}: no clip has a label {name!r}; {_known(clips)}")
    needed = modalities_of(tower) if tower else ()
    here = [all(clip.has(m) for m in needed) for clip in clips]
    rows = [i for i, own in enumerate(labels) if own and here[i]]
    if not rows:
        raise SeehearError(f"{library.uri}: no clip with a label {name!r} has {tower.replace('+', ' and ')}")
    return LabelledClips(media, labels, clips, name).take(rows)


def labels_of(clip: Clip, name: str) -> tuple[str, ...]:
    """Labels of a clip: all for 'labels', the value of a column, or the rest of labels with prefix 'NAME=', 'NAME:'."""
    if name == ALL:
        return clip.labels
    # A column of the user's own before a prefix of labels.
    if value := clip.meta.get(name, ""):
        return (value,)
    prefixes = tuple(name + sign for sign in _SIGNS)
    return tuple(label[len(name) + 1 :].strip() for label in clip.labels if label.startswith(prefixes))


def _known(clips: Sequence[Clip]) -> str:
    columns = {column for clip in clips for column, value in clip.meta.items() if value}
    prefixes = {label.split(sign)[0] for clip in clips for label in clip.labels for sign in _SIGNS if sign in label}
    # The names that would have worked: a label is easily misspelt.
    names = [*sorted(columns | prefixes), *([ALL] if any(clip.labels for clip in clips) else [])]
    return f"there are {', '.join(names)}" if names else "the clips have neither labels nor columns of their own"


class LabelledMedia:
    """`TrainingData` of decoded clips. `drawn`: clips per epoch, sampled by the rarity of their classes, without
    replacement if there are enough; 0: each clip once."""

    heavy = True
    together = 1

    def __init__(self, labelled: LabelledClips, classes: Sequence[str], *, drawn: int = 0):
        self.media: RawMedia = labelled.media
        self.numbers = labelled.numbers(classes)
        self.num_classes, self.drawn = len(classes), drawn
        self.weights = class_weights(self.numbers, len(classes)) if drawn else None
        self._epoch: tuple[tuple[int, int], Tensor] | None = None

    def __len__(self) -> int:
        return self.drawn or len(self.numbers)

    @property
    def groups(self) -> Tensor:
        """Group of each sample; clips that are drawn anew each epoch have one each."""
        # A clip may be drawn several times an epoch, so its recording cannot keep samples apart.
        return torch.arange(self.drawn) if self.drawn else self.media.groups

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        clips = self.clips(seed, epoch)[indices.cpu()]
        labels = torch.zeros(len(clips), self.num_classes)
        for row, clip in enumerate(clips.tolist()):
            labels[row, list(self.numbers[clip])] = 1.0
        return self.media.batch(clips, seed=seed, epoch=epoch) | {"label": labels}

    def clips(self, seed: int, epoch: int) -> Int[Tensor, " n"]:
        """Clip of each sample of an epoch."""
        if self.weights is None:
            return torch.arange(len(self.numbers))
        # Drawn once an epoch: batches ask for it again and again.
        if self._epoch is None or self._epoch[0] != (seed, epoch):
            self._epoch = (seed, epoch), drawn_by(self.weights, self.drawn, seed_of(seed, "classes", epoch))
        return self._epoch[1]


class LabelledFeatures:
    """`TrainingData` of features in memory."""

    heavy = False
    together = 1

    def __init__(self, features: Float[np.ndarray, "n d"], truth_NC: Bool[np.ndarray, "n c"]):
        self.features = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
        self.labels = torch.from_numpy(truth_NC.astype(np.float32))
        self.groups = torch.arange(len(features))

    def __len__(self) -> int:
        return len(self.features)

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        here = torch.ones(len(indices), dtype=torch.bool)
        return {"features": self.features[indices], "has_features": here, "label": self.labels[indices]}


def class_weights(numbers: Sequence[tuple[int, ...]], classes: int) -> Float[np.ndarray, " n"]:
    """Sampling weight of each clip: the sum over its labels of 1000 / (clips with the label + 0.01)."""
    # Counted per label: a table of clips by classes would be large for AudioSet.
    count_C = np.bincount([c for own in numbers for c in own], minlength=classes)
    # The formula of AST's released code; its 0.01 keeps the weight of an empty class finite.
    weight_C = 1000.0 / (count_C + 0.01)
    return np.array([weight_C[list(own)].sum() for own in numbers])


def drawn_by(weights_N: Float[np.ndarray, " n"], count: int, seed: int) -> Int[Tensor, " count"]:
    """`count` rows by weight: without replacement if there are enough with weight, else with."""
    rng = np.random.default_rng(seed)
    if count < np.count_nonzero(weights_N):
        # Exponential races: the first `count` arrivals are a weighted sample without replacement.
        with np.errstate(divide="ignore"):
            first = np.argsort(rng.exponential(size=len(weights_N)) / weights_N, kind="stable")[:count]
        # Shuffled: rows of large weight arrive first.
        return torch.from_numpy(rng.permutation(first))
    # More draws than clips with weight: some have to come twice.
    return torch.from_numpy(rng.choice(len(weights_N), size=count, p=weights_N / weights_N.sum()))
