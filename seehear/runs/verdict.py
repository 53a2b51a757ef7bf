"""Verdict on training: the trained model, the closed form and the frozen spaces, by one score on the same validation
clips. The split 'test' is never read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.errors import SeehearError
from seehear.evaluation.bootstrap import FEW_GROUPS, Comparison, compare
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.evaluation.results import percent
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.records import digest
from seehear.methods.base import Method
from seehear.methods.linear import LinearMaps
from seehear.methods.tuning import closed_start
from seehear.progress import counted
from seehear.runs.scores import ClipScores, clip_scores, flat_scores
from seehear.space.frozen import Towers, frozen_method, frozen_towers
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables

TRAINING, CLOSED_FORM, FROZEN_SPACE = "training", "the closed form", "the frozen space"
"""Names of the compared models; the name of a frozen space follows the last."""
# Examples of what became better, and of what became worse.
_EXAMPLES = 3
# Difference of equal scores that were added up in another order.
_EPSILON = 1e-9
Directions = Mapping[str, ClipScores]
"""Scores of every validation clip, by direction."""


@dataclass(frozen=True, kw_only=True)
class _Contender:
    name: str
    first: float
    """Share of the validation clips whose counterpart is found first, the mean over the directions that it knows."""
    ten: float
    """The same among the first ten."""
    directions: dict[str, tuple[float, float]]
    """(first, among the first ten) of each direction that it knows."""
    trained: tuple[float, float]
    """The trained model's shares over these directions."""
    lacks: tuple[str, ...] = ()
    """Directions that it does not know, and in which the trained model finds more than chance."""

    @property
    def score(self) -> float:
        """Mean of both shares, the score of training."""
        return (self.first + self.ten) / 2

    @property
    def lead(self) -> float:
        """Score minus that of the trained model, over the directions that this one knows."""
        return self.score - sum(self.trained) / 2


@dataclass(frozen=True)
class _RankChange:
    """A validation clip whose rank learning changed."""

    direction: str
    clip: str
    """Id of the clip: one of its modalities is the query, another the right answer."""
    before: float | None
    """Rank without training; None where this search was not possible."""
    after: float
    gallery: int
    """Number of clips searched."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    standings: tuple[_Contender, ...]
    """The trained model, then its rivals, the best first."""
    clips: int
    """Validation clips."""
    asked: dict[str, int] = field(default_factory=dict)
    """Number of queries of each direction."""
    gain: Comparison
    """Score of the trained model minus that of the best other, by recording, over the directions that both know."""
    kept: str = TRAINING
    """Name of the model in the run's folder."""
    better: tuple[_RankChange, ...] = ()
    """Clips that rank higher after training, the most changed first; of directions not possible before, a sample from
    best to worst."""
    worse: tuple[_RankChange, ...] = ()
    """Clips that rank lower after training, the most changed first."""

    @property
    def best(self) -> str:
        """Name of the best model, a rival where training is no better. A rival without a direction in which training is
        above chance is never the best: keeping it would lose that direction."""
        # An equal rival is the best: training that gains nothing is not worth a model.
        ahead = [s for s in self.standings[1:] if s.lead >= -_EPSILON and not s.lacks]
        return ahead[0].name if ahead else TRAINING

    def __str__(self) -> str:
        """Verdict in two or three sentences."""
        trained, rival, *_ = self.standings
        helped = rival.lead < -_EPSILON
        begin = "Training helped" if helped else f"Training did not beat {_people(rival.name)}"
        found = [f"{percent(trained.ten)} in the first ten and of {percent(trained.first)} first"]
        for other in self.standings[1:]:
            found.append(f"{_people(other.name)} {percent(other.ten)} and {percent(other.first)}")
            if len(other.directions) < len(trained.directions):
                first, ten = other.trained
                found[-1] += f" (in what it knows; training {percent(ten)} and {percent(first)} there)"
        parts = [
            f"{begin}: of {counted(self.clips, 'validation clip')} it finds the counterpart of {', '.join(found)}."
        ]
        parts += [self._sure(rival)] if abs(self.gain.difference) > _EPSILON else []
        return " ".join([*parts, self._kept(rival)])

    def _sure(self, rival: _Contender) -> str:
        side = "above" if self.gain.difference > 0 else "below"
        apart = f"{abs(100 * self.gain.difference):.1f} points {side} that of {_people(rival.name)}"
        points = f"Its score, the mean of both, is {apart}"
        if self.gain.groups < 2:
            return f"{points}; all is of one recording: how sure that is cannot be said."
        doubt = ", which may be chance" if self.gain.low <= 0 <= self.gain.high else ""
        few = ", too few to be sure" if self.gain.groups < FEW_GROUPS else ""
        interval = f"{100 * self.gain.low:+.1f} to {100 * self.gain.high:+.1f}"
        return f"{points} (95 % interval {interval}, {counted(self.gain.groups, 'recording')}{doubt or few})."

    def _kept(self, rival: _Contender) -> str:
        if self.kept.startswith(FROZEN_SPACE):
            return f"The run holds {_people(self.kept)}: searching goes on with it."
        if self.kept != TRAINING:
            return f"The run holds {_people(self.kept)}."
        if self.best != TRAINING:
            return "The run holds the trained model all the same: 'seehear train LIB' without a recipe keeps the best."
        if rival.lead < -_EPSILON:
            return "The run holds the trained model."
        # The modality that only the trained model knows; where the rival knows all of them, the direction.
        own, lacked = ({m for d in some for m in d.split("->")} for some in (rival.directions, rival.lacks))
        alone = " and ".join(sorted(lacked - own) or rival.lacks)
        for modality, word in {"->": " to ", "audio": "sound", "text": "words", "video": "pictures"}.items():
            alone = alone.replace(modality, word)
        return f"The run holds the trained model, which alone knows {alone}."

    def plain(self) -> dict[str, Any]:
        models = {s.name: {**asdict(s), "score": s.score} for s in self.standings}
        return {"words": str(self), "best": self.best, "kept": self.kept, "clips": self.clips} | {
            "asked": self.asked,
            "gain": asdict(self.gain),
            "models": models,
            "better": [asdict(example) for example in self.better],
            "worse": [asdict(example) for example in self.worse],
        }


def _people(name: str) -> str:
    return name.replace(FROZEN_SPACE, "the untrained space", 1)


def judge(trained: Directions, others: Mapping[str, Directions], groups: np.ndarray) -> Verdict | None:
    """Compares every other model with the trained one over the directions and clips that both know. `groups`: recording
    of every clip. None without a common direction."""
    # (trained, other) of each direction that both know, on the clips that both know, by rival.
    rivals: dict[str, dict[str, tuple[ClipScores, ClipScores]]] = {}
    for name, scores in others.items():
        for direction in (d for d in trained if d in scores):
            ours, theirs = trained[direction], scores[direction]
            shared, at, there = np.intersect1d(ours.clips, theirs.clips, return_indices=True)
            if len(shared):
                rivals.setdefault(name, {})[direction] = ours.take(at), theirs.take(there)
    if not rivals:
        return None
    first = _standing(TRAINING, {direction: (own, own) for direction, own in trained.items()})
    found = {d for d, scores in trained.items() if _above_chance(scores, groups)}
    rest = [
        _standing(name, known, lacks=tuple(d for d in trained if d in found - known.keys()))
        for name, known in rivals.items()
    ]
    # By the lead over the directions that a rival knows: its score alone may be of easier ones.
    rest.sort(key=lambda s: -s.lead)
    (own, clips), (other, _) = map(flat_scores, zip(*rivals[rest[0].name].values(), strict=True))
    clips_all = np.unique(np.concatenate([s.clips for s in trained.values()]))
    asked = {direction: len(scores.clips) for direction, scores in trained.items()}
    # By recording: clips of one are not independent, and an interval over clips would be too narrow.
    gain = compare(other, own, groups[clips])
    return Verdict(standings=(first, *rest), clips=len(clips_all), asked=asked, gain=gain)


def _above_chance(own: ClipScores, groups: np.ndarray) -> bool:
    chance = np.full(len(own.clips), (1 / own.gallery + min(1.0, 10 / own.gallery)) / 2)
    gain = compare(chance, (own.first + own.ten) / 2, groups[own.clips])
    return gain.low > 0 or (gain.groups < 2 and gain.difference > 0)


def _standing(
    name: str, scores: Mapping[str, tuple[ClipScores, ClipScores]], lacks: tuple[str, ...] = ()
) -> _Contender:
    """`scores`: (trained, this model) of each direction."""
    shares = {d: [(float(s.first.mean()), float(s.ten.mean())) for s in both] for d, both in scores.items()}
    trained, own = np.mean(list(shares.values()), axis=0).tolist()
    directions = {d: both[1] for d, both in shares.items()}
    return _Contender(name=name, first=own[0], ten=own[1], directions=directions, trained=tuple(trained), lacks=lacks)


def examples(
    before: Directions, after: Directions, ids: Sequence[str]
) -> tuple[tuple[_RankChange, ...], tuple[_RankChange, ...]]:
    """(clips that rank higher, clips that rank lower), the largest change of reciprocal rank first. The first list also
    has the best, the middle and the last clip of directions not possible before."""
    changes: list[tuple[float, _RankChange]] = []
    # Clips of directions that could not be asked before.
    new: list[_RankChange] = []
    for direction, own in after.items():
        if direction.endswith("->text"):
            # A clip has several texts: such a rank is not one among clips.
            continue
        clips = [ids[n] for n in own.clips.tolist()]
        other = before.get(direction)
        if other is None:
            new += [_RankChange(direction, clip, None, float(own.rank[n]), own.gallery) for n, clip in enumerate(clips)]
            continue
        _, at, there = np.intersect1d(own.clips, other.clips, return_indices=True)
        for n, m in zip(at.tolist(), there.tolist(), strict=True):
            was, now = float(other.rank[m]), float(own.rank[n])
            changes.append((1 / now - 1 / was, _RankChange(direction, clips[n], was, now, own.gallery)))
    changes.sort(key=lambda change: (-change[0], change[1].direction, change[1].clip))
    better = [example for gain, example in changes if gain > _EPSILON][:_EXAMPLES]
    worse = [example for gain, example in reversed(changes) if gain < -_EPSILON][:_EXAMPLES]
    # Equal ranks are ordered by a digest, the same in every run: by id they would all be of one recording.
    new.sort(key=lambda example: (example.after / example.gallery, digest(example.clip, example.direction)))
    places = np.linspace(0, len(new) - 1, min(_EXAMPLES, len(new))).astype(int).tolist()
    return (*better, *(new[n] for n in places)), tuple(worse)


# -- rivals of training ------------------------------------------------------------------------------------------------


def frozen_spaces(library: LibraryTables) -> dict[str, Towers]:
    """Towers by name of the joint encoders whose latents the library has in two modalities or more."""
    spaces = frozen_towers(library.encoders())
    return {name: towers for name, towers in spaces.items() if len(encoders_of_towers(library, towers)) > 1}


def encoders_of_towers(library: LibraryTables, towers: Towers) -> dict[Modality, list[str]]:
    """Encoders of the towers that the library has latents of; the others are there for queries alone."""
    known = library.encoders()
    return {m: [infos[0]["name"]] for m, infos in towers.items() if infos[0]["name"] in known}


def frozen_scores(library: LibraryTables, towers: Towers, ids: np.ndarray) -> Directions:
    """A frozen space on the validation clips of these ids."""
    try:
        data = load_latents(library, encoders=encoders_of_towers(library, towers), where="split = 'val'")
    except SeehearError:
        # No validation clip has two of its modalities: there is nothing to compare.
        return {}
    return _scores_on(frozen_method(towers), data, ids)


def closed_form_scores(library: LibraryTables, where: str | None, ids: np.ndarray) -> Directions:
    """The closed form on the library's latents that a run of FuseMix would start from."""
    try:
        data = load_latents(library, where=where)
    except SeehearError:
        # Nothing is encoded, as a method on media allows.
        return {}
    if len(data.split("train").joined()) < 2:
        return {}
    return _scores_on(closed_start(data), data.split("val"), ids)


def _scores_on(model: Method | LinearMaps, data: LatentData, ids: np.ndarray) -> Directions:
    """Scores on the clips with these ids, numbered in the order of `ids`."""
    number = {clip: n for n, clip in enumerate(ids.tolist())}
    # The same clips for every rival, those that training is scored by.
    data = data.take(np.array([clip in number for clip in data.ids.tolist()], dtype=bool))
    at = np.array([number[clip] for clip in data.ids.tolist()], np.int64)
    vectors = {}
    for m, own in embed_latents(model, data).items():
        if len(owner := at[own.owner]):
            # `Embedded` has ascending owners, and the library has another order than `ids`.
            order = np.argsort(owner, kind="stable")
            vectors[m] = Embedded(own.vectors[order], owner[order])
    return clip_scores(model.spaces, {"joint": vectors})
