"""Results and costs of training as the page shows them: from the saved verdict (`runs/verdict.py`), and from the output
of `seehear plan` (`studies/estimate.py`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from pydantic import BaseModel, Field

from seehear.evaluation.bootstrap import FEW_GROUPS
from seehear.library.records import learned_texts
from seehear.library.tables import Clip
from seehear.progress import counted
from seehear.runs.config import recipe
from seehear.runs.verdict import CLOSED_FORM, FROZEN_SPACE, TRAINING

# Directions that people search in, with their names on the page
_FOUND = {
    "text->video": "Pictures found by words",
    "text->audio": "Sounds found by words",
    "audio->video": "Pictures found by their sound",
    "video->audio": "Sounds found by their picture",
}
# Number of held-out clips below which first places are counted; of queries that a reported direction needs
_FEW, _ASKED = 50, 5
_LEVEL = 0.005  # least share of searches that is reported as a difference
# Bytes per parameter on disk: two checkpoints with optimiser state and best weights, and the model.
_KEPT_BYTES = 36
_VECTOR_BYTES = 8  # per dimension of a clip in the index, seen and heard


class DirectionView(BaseModel):
    what: str
    asked: int = Field(description="number of queries")
    before: float | None = Field(description="share found before training; null: this search was not possible")
    after: float = Field(description="share found with the trained model")


class ExampleView(BaseModel):
    what: str
    clip: str
    asked: Literal["video", "audio", "text"] = Field(description="modality of the clip that was the query")
    text: str = Field(description="the first words of the clip, if it has any")
    source: str
    start: float
    picture: bool = Field(description="the clip has pictures")
    before: int | None = Field(description="rank before training; null: this search was not possible")
    after: int
    of: int = Field(description="number of clips searched")


class VerdictView(BaseModel):
    made: str
    index: str = Field(description="name of the index of the trained model; '' if training improved nothing")
    better: bool
    headline: str
    lines: list[str] = Field(description="data it was measured on, and how certain the result is")
    first: bool = Field(description="`directions` count first places, not the first ten")
    chance: float = Field(description="share that guessing finds")
    directions: list[DirectionView]
    earlier: list[ExampleView] = Field(description="clips that rank higher than before")
    later: list[ExampleView] = Field(description="clips that rank lower than before")


def is_better(verdict: Mapping[str, Any]) -> bool:
    """Whether the trained model is kept, as it is when there is nothing to compare it with."""
    return not str(verdict.get("kept", "")).startswith(FROZEN_SPACE)


def verdict_view(verdict: Mapping[str, Any], *, made: str, index: str, clips: Mapping[str, Clip]) -> VerdictView:
    """A saved verdict as the page shows it. `index`: name of the run's index, '' if there is none yet."""
    better = is_better(verdict)
    # Nothing to compare with, or a verdict of another version.
    if not {"models", "asked", "gain"} <= verdict.keys():
        headline = "Learned. There were too few clips to set aside, so nothing says how much it helps."
        none: dict[str, Any] = {"lines": [], "directions": [], "earlier": [], "later": []}
        return VerdictView(made=made, index=index, better=True, headline=headline, first=False, chance=0.0, **none)
    earlier, later = ([_example(e, clips) for e in verdict.get(name, [])] for name in ("better", "worse"))
    # In a small gallery most clips are among the first ten by chance.
    first = verdict["clips"] < _FEW
    directions = _directions(verdict, verdict["kept"] if better else TRAINING, 0 if first else 1)
    aside = f"Measured on {counted(verdict['clips'], 'clip')} that were set aside and not learned from."
    return VerdictView(
        made=made,
        index=index if better else "",
        better=better,
        headline=_headline(directions, better=better, first=first),
        lines=[aside, *_sure(verdict)],
        first=first,
        chance=min(1.0, (1 if first else 10) / verdict["clips"]),
        directions=directions,
        earlier=earlier,
        later=later,
    )


def _directions(verdict: Mapping[str, Any], kept: str, place: int) -> list[DirectionView]:
    """Directions with enough queries to be reported, in the order of `_FOUND`. `place`: 0 for the shares of right first
    places, 1 for those among the first ten."""
    models = verdict["models"]
    frozen = [model["directions"] for name, model in models.items() if name.startswith(FROZEN_SPACE)]
    shares, asked = models[kept]["directions"], verdict["asked"]
    # A share of very few queries says nothing, unless no direction has more.
    often = [d for d in _FOUND if d in shares and asked[d] >= min(_ASKED, max(asked.values()))]
    return [
        DirectionView(
            what=_FOUND[direction],
            asked=asked[direction],
            before=max((known[direction][place] for known in frozen if direction in known), default=None),
            after=shares[direction][place],
        )
        for direction in often
    ]


def _headline(directions: Sequence[DirectionView], *, better: bool, first: bool) -> str:
    known = [(direction.before, direction.after) for direction in directions if direction.before is not None]
    new = [direction.what for direction in directions if direction.before is None]
    if not better:
        return "Nothing got better: your library is searched as before."
    sentences = [f"New: {', '.join(new).lower()}."] if new else []
    if known:
        before, after = (sum(shares) / len(known) for shares in zip(*known, strict=True))
        what = "the right clip comes first" if first else "the right clip is among the first ten"
        now = f"{what} for {100 * after:.0f} of 100 searches, before for {100 * before:.0f}"
        gain = after - before
        sentences.append(
            f"It helped: {now}."
            if gain >= _LEVEL
            else f"Searches that were possible before got worse: {now}."
            if gain <= -_LEVEL
            else "Searches that were possible before are as good as before."
        )
    return " ".join(sentences)


def _sure(verdict: Mapping[str, Any]) -> list[str]:
    """Sentences on how certain the difference is; none if the closest rival is not a frozen space."""
    if verdict["kept"] == CLOSED_FORM:
        return ["A simple model, fitted to your recordings at once, was best: training longer did not improve it."]
    if not list(verdict["models"])[1].startswith(FROZEN_SPACE):
        return []
    gain, recordings = verdict["gain"], counted(verdict["gain"]["groups"], "recording")
    if gain["groups"] < 2:
        return ["They are from one recording, so the certainty of this result is unknown."]
    if abs(gain["difference"]) < _LEVEL:
        return [f"They are from {recordings}."]
    if gain["low"] <= 0 <= gain["high"]:
        return [f"They are from {recordings}: the difference may be chance."]
    few = ", too few to be sure" if gain["groups"] < FEW_GROUPS else ", enough to tell the difference from chance"
    return [f"They are from {recordings}{few}."]


def _example(example: Mapping[str, Any], clips: Mapping[str, Clip]) -> ExampleView:
    clip, asked = clips.get(example["clip"]), example["direction"].partition("->")[0]
    texts = learned_texts(clip) if clip else ()
    return ExampleView(
        what=_FOUND.get(example["direction"], example["direction"]),
        clip=example["clip"],
        asked=cast("Literal['video', 'audio', 'text']", asked),
        text=texts[0].text if texts else "",
        source=clip.source if clip else "",
        start=clip.start if clip else 0.0,
        picture=bool(clip and clip.has_video),
        # Ranks of ties are fractions.
        before=None if example["before"] is None else round(example["before"]),
        after=round(example["after"]),
        of=example["gallery"],
    )


class CostView(BaseModel):
    seconds: float
    memory_bytes: float
    disk_bytes: float
    fits: bool
    line: str = Field(description="all of the above as one line for the user")


def cost_view(planned: dict[str, Any], name: str) -> CostView:
    """Cost of training a recipe. `planned`: its entry in the output of `seehear plan`."""
    disk = planned["parameters"] * _KEPT_BYTES
    disk += planned["clips"] * getattr(recipe(name).method, "dim", 0) * _VECTOR_BYTES
    fits, memory, seconds = bool(planned["fits"]), planned["bytes"], planned["seconds"]
    long = f"about {seconds / 60:.0f} minutes" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"
    time = "about a minute" if seconds < 90 else long
    line = f"{time} at most, {_size(memory)} of memory and {_size(disk)} on disk"
    if not fits:
        line = f"it needs {_size(memory)} of memory, and {_size(planned['free_bytes'])} are free: close other programs"
    return CostView(seconds=seconds, memory_bytes=memory, disk_bytes=disk, fits=fits, line=line)


def _size(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1.0, size / 1e6):.0f} MB"
