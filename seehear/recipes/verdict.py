"""Whether learning was worth it: the trained model, the closed form and the frozen spaces, on the same validation clips
by the same score. Nothing here reads the split 'test'."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.data.latents import LatentData, load_latents
from seehear.data.records import digest
from seehear.errors import SeehearError
from seehear.evaluation.bootstrap import FEW_GROUPS, Comparison, compare
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.methods.base import Method
from seehear.progress import counted, hushed
from seehear.recipes import fusemix
from seehear.recipes.closed_forms import vectors_only
from seehear.recipes.data import LatentInputs
from seehear.recipes.scores import ClipScores, clip_scores, flat_scores
from seehear.space.frozen import Towers, frozen_method, frozen_towers

if TYPE_CHECKING:
    from seehear.data.library import Library

TRAINING, CLOSED_FORM, FROZEN_SPACE = "training", "the closed form", "the frozen space"
"""Names of what is compared; a frozen space's own follows."""
_EXAMPLES = 3  # of what became better, and of what became worse
_EPSILON = 1e-9  # between equal scores that were added up in another order
Directions = Mapping[str, ClipScores]
"""Scores of every validation clip, by direction."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    name: str
    first: float
    """Share of the validation clips whose counterpart is found first, the mean over directions."""
    ten: float
    """The same among the first ten."""
    directions: dict[str, tuple[float, float]]
    """(first, among the first ten) of each direction; a direction that the model does not know counts as chance."""
    guessed: tuple[str, ...] = ()
    """Directions that the model does not know."""

    @property
    def score(self) -> float:
        """What is compared: the mean of both, as in training."""
        return (self.first + self.ten) / 2

    def __str__(self) -> str:
        return f"{self.name} {100 * self.ten:.0f} % ({100 * self.first:.0f} % first)"


@dataclass(frozen=True)
class Example:
    """A validation clip whose rank learning changed."""

    direction: str
    clip: str
    """Its id: it asks with one modality and is looked for by another."""
    before: float | None
    """Rank without learning; None where that could not be asked."""
    after: float
    gallery: int
    """Clips that were looked through."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    standings: tuple[Contender, ...]
    """The trained model, then what it is compared with, the best first."""
    clips: int
    """Validation clips."""
    asked: dict[str, int] = field(default_factory=dict)
    """Of these the clips that ask, by direction."""
    gain: Comparison
    """Score of the trained model minus that of the best other, by recording."""
    kept: str = TRAINING
    """Name of what the run's folder holds."""
    better: tuple[Example, ...] = ()
    """Clips that learning finds earlier, the most changed first; where nothing could be asked before, clips from the
    best to the worst."""
    worse: tuple[Example, ...] = ()
    """Clips that it finds later."""

    @property
    def best(self) -> str:
        """Name of the best; where the trained model is no better than another, that one."""
        trained, other = self.standings[:2]
        return trained.name if trained.score > other.score + _EPSILON else other.name

    def __str__(self) -> str:
        trained, *others = self.standings
        found = (
            f"Of {counted(self.clips, 'validation clip')}, training finds the counterpart of {100 * trained.ten:.0f} % "
            f"among the first ten ({100 * trained.first:.0f} % first); {', '.join(map(str, others))}"
        )
        by, other = 100 * self.gain.difference, others[0].name
        sure = f"{by:+.1f} points {self._interval()}"
        if self.best == TRAINING:
            return f"{found}: kept. That is {sure}, against {other}."
        if self.kept == TRAINING:
            return f"{found}. It did not beat {other}, {sure}: 'seehear train LIB' without a recipe keeps the best."
        going_on = "searching goes on with it" if other.startswith(FROZEN_SPACE) else "the run holds it"
        return f"{found}. It did not beat {other}, {sure}, which is kept: {going_on}."

    def _interval(self) -> str:
        if self.gain.groups < 2:
            return "(of one recording: how sure that is cannot be said)"
        low, high, recordings = 100 * self.gain.low, 100 * self.gain.high, counted(self.gain.groups, "recording")
        doubt = ", which may be chance" if self.gain.low <= 0 <= self.gain.high else ""
        few = ", too few to be sure" if self.gain.groups < FEW_GROUPS else ""
        return f"(95 % interval {low:+.1f} to {high:+.1f}, {recordings}{doubt or few})"

    def plain(self) -> dict[str, Any]:
        models = {s.name: {**asdict(s), "score": s.score} for s in self.standings}
        return {"words": str(self), "best": self.best, "kept": self.kept, "clips": self.clips} | {
            "asked": self.asked,
            "gain": asdict(self.gain),
            "models": models,
            "better": [asdict(example) for example in self.better],
            "worse": [asdict(example) for example in self.worse],
        }


def judge(trained: Directions, others: Mapping[str, Directions], groups: np.ndarray) -> Verdict | None:
    """`groups`: the recording of every clip. None where there is nothing to compare with or by."""
    if not trained or not others:
        return None
    values = {name: _filled(scores, trained) for name, scores in {TRAINING: trained, **others}.items()}
    known = {TRAINING: trained, **others}
    first, *rest = [_standing(name, found, known[name]) for name, found in values.items()]
    rest.sort(key=lambda s: -s.score)
    ours, clips = flat_scores(values[first.name])
    gain = compare(flat_scores(values[rest[0].name])[0], ours, groups[clips])
    asked = {direction: len(scores.clips) for direction, scores in trained.items()}
    return Verdict(standings=(first, *rest), clips=len(np.unique(clips)), asked=asked, gain=gain)


def _filled(scores: Directions, trained: Directions) -> dict[str, ClipScores]:
    """Scores of the clips that the trained model is scored by. Clips and directions that a model does not know count as
    chance: it would have to guess."""
    found = {}
    for direction, own in trained.items():
        first = np.full(len(own.clips), 1 / own.gallery)
        ten = np.full(len(own.clips), min(1.0, 10 / own.gallery))
        if (other := scores.get(direction)) is not None:
            _, at, there = np.intersect1d(own.clips, other.clips, return_indices=True)
            first[at], ten[at] = other.first[there], other.ten[there]
        found[direction] = replace(own, first=first, ten=ten, rank=None)
    return found


def _standing(name: str, values: Directions, known: Directions) -> Contender:
    directions = {direction: (float(s.first.mean()), float(s.ten.mean())) for direction, s in values.items()}
    first, ten = np.mean(list(directions.values()), axis=0)
    guessed = tuple(direction for direction in values if direction not in known)
    return Contender(name=name, first=float(first), ten=float(ten), directions=directions, guessed=guessed)


def examples(
    before: Directions, after: Directions, ids: Sequence[str]
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """(clips that are found earlier, clips that are found later), those whose reciprocal rank changed most first. Of
    directions that could not be asked before, the best, the middle and the last clip are among the first."""
    changes: list[tuple[float, Example]] = []
    new: list[Example] = []  # of directions that could not be asked
    for direction, own in after.items():
        if own.rank is None or direction.endswith("->text"):  # a clip has several texts: a rank is none of clips
            continue
        clips = [ids[n] for n in own.clips.tolist()]
        other = before.get(direction)
        if other is None or other.rank is None:
            new += [Example(direction, clip, None, float(own.rank[n]), own.gallery) for n, clip in enumerate(clips)]
            continue
        _, at, there = np.intersect1d(own.clips, other.clips, return_indices=True)
        for n, m in zip(at.tolist(), there.tolist(), strict=True):
            was, now = float(other.rank[m]), float(own.rank[n])
            changes.append((1 / now - 1 / was, Example(direction, clips[n], was, now, own.gallery)))
    changes.sort(key=lambda change: (-change[0], change[1].direction, change[1].clip))
    better = [example for gain, example in changes if gain > _EPSILON][:_EXAMPLES]
    worse = [example for gain, example in reversed(changes) if gain < -_EPSILON][:_EXAMPLES]
    new.sort(key=lambda example: (example.after / example.gallery, digest(example.clip, example.direction)))
    places = np.linspace(0, len(new) - 1, min(_EXAMPLES, len(new))).astype(int).tolist()
    return (*better, *(new[n] for n in places)), tuple(worse)


# -- what training is compared with ------------------------------------------------------------------------------------


def frozen_spaces(library: Library) -> dict[str, Towers]:
    """Towers by name of the joint encoders whose latents the library has in two modalities or more."""
    known = library.encoders()
    return {
        name: towers
        for name, towers in frozen_towers(known).items()
        if sum(infos[0]["name"] in known for infos in towers.values()) > 1
    }


def frozen_scores(library: Library, towers: Towers, ids: np.ndarray) -> Directions:
    """A frozen space on the validation clips of these ids."""
    known = library.encoders()  # a tower may be there for queries alone
    encoders = {m: [infos[0]["name"]] for m, infos in towers.items() if infos[0]["name"] in known}
    try:
        data = load_latents(library, encoders=encoders, where="split = 'val'")
    except SeehearError:  # no validation clip has two of its modalities: nothing to compare
        return {}
    return scores_on(frozen_method(towers), data, ids)


def closed_form_scores(library: Library, where: str | None, ids: np.ndarray) -> Directions:
    """The closed form on the library's latents that a run of FuseMix would start from."""
    try:
        data = vectors_only(load_latents(library, where=where))
    except SeehearError:  # nothing encoded, as a method on media allows
        return {}
    if len(data.modalities) < 2 or len(data.split("train").joined()) < 2:
        return {}
    run = fusemix.base()
    with hushed():
        model = fusemix.build(run.method, LatentInputs(data), seed=run.train.seed)
    return scores_on(model.eval(), data.split("val"), ids)


def scores_on(model: Method, data: LatentData, ids: np.ndarray) -> Directions:
    """Of the clips with these ids, numbered as they are listed."""
    number = {clip: n for n, clip in enumerate(ids.tolist())}
    data = data.take(np.array([clip in number for clip in data.ids.tolist()], dtype=bool))
    at = np.array([number[clip] for clip in data.ids.tolist()], np.int64)
    vectors = {m: _renumbered(v, at) for m, v in embed_latents(model, data).items() if len(v.owner)}
    return clip_scores(model.spaces, {"joint": vectors})


def _renumbered(own: Embedded, at: np.ndarray) -> Embedded:
    owner = at[own.owner]
    order = np.argsort(owner, kind="stable")
    return Embedded(own.vectors[order], owner[order])
