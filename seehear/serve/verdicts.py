"""What learning changed, in words: from what the end of training wrote down (`recipes/verdict.py`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, Field

from seehear.data.library import Clip
from seehear.data.records import learned_texts
from seehear.evaluation.bootstrap import FEW_GROUPS
from seehear.progress import counted
from seehear.recipes.verdict import CLOSED_FORM, FROZEN_SPACE

_FOUND = {
    "text->video": "Pictures found by words",
    "text->audio": "Sounds found by words",
    "audio->video": "Pictures found by their sound",
    "video->audio": "Sounds found by their picture",
    "video->text": "Words found by a picture",
    "audio->text": "Words found by a sound",
}


class DirectionView(BaseModel):
    what: str
    before: float | None = Field(description="share found among the first ten before; null: could not be asked")
    after: float = Field(description="the same with what was learned")


class ExampleView(BaseModel):
    what: str
    clip: str
    asked: Literal["video", "audio", "text"] = Field(description="what of the clip was searched with")
    text: str = Field(description="the first words of the clip, if it has any")
    before: int | None = Field(description="place among the answers before; null: could not be asked")
    after: int
    of: int = Field(description="clips that were looked through")


class VerdictView(BaseModel):
    made: str
    index: str = Field(description="name of the index that searches with it; '' where nothing better was learned")
    better: bool
    headline: str
    lines: list[str] = Field(description="what it rests on, and how sure it is")
    directions: list[DirectionView]
    earlier: list[ExampleView] = Field(description="clips that are found earlier than before")
    later: list[ExampleView] = Field(description="clips that are found later than before")


def is_better(verdict: Mapping[str, Any]) -> bool:
    """Whether what was learned is kept. Without anything to compare with it is."""
    return not str(verdict.get("kept", "")).startswith(FROZEN_SPACE)


def verdict_view(verdict: Mapping[str, Any], *, made: str, index: str, clips: Mapping[str, Clip]) -> VerdictView:
    """`index`: name of the index that searches with the run, '' where there is none yet."""
    better = is_better(verdict)
    if "models" not in verdict:
        headline = "Learned. There were too few clips to set aside, so nothing says how much it helps."
        return VerdictView(
            made=made, index=index, better=True, headline=headline, lines=[], directions=[], earlier=[], later=[]
        )
    models = verdict["models"]
    learned = models[verdict["kept"] if better else "training"]
    before = next((model for name, model in models.items() if name.startswith(FROZEN_SPACE)), None)
    return VerdictView(
        made=made,
        index=index if better else "",
        better=better,
        headline=_headline(learned, before, better=better),
        lines=[_measured(verdict, learned, before), *_sure(verdict)],
        directions=[
            DirectionView(
                what=_FOUND.get(direction, direction),
                before=None if before is None or direction in before["guessed"] else before["directions"][direction][1],
                after=ten,
            )
            for direction, (_, ten) in learned["directions"].items()
        ],
        earlier=[_example(example, clips) for example in verdict.get("better", [])],
        later=[_example(example, clips) for example in verdict.get("worse", [])],
    )


def _headline(learned: Mapping[str, Any], before: Mapping[str, Any] | None, *, better: bool) -> str:
    after = f"{_of(learned)} of 100"
    if not better:
        return "Nothing got better: your library is searched as before."
    if before is None or len(before["guessed"]) == len(before["directions"]):
        return f"It learned something new: the right clip is among the first ten for {after} searches."
    return f"It helped: the right clip is among the first ten for {after} searches, before for {_of(before)}."


def _measured(verdict: Mapping[str, Any], learned: Mapping[str, Any], before: Mapping[str, Any] | None) -> str:
    aside = f"Measured on {counted(verdict['clips'], 'clip')} that were set aside and not learned from"
    if is_better(verdict) or before is None:
        return f"{aside}."
    return f"{aside}: what was learned finds {_of(learned)} of 100 among the first ten, before {_of(before)}."


def _of(model: Mapping[str, Any]) -> str:
    return f"{100 * model['ten']:.0f}"


def _sure(verdict: Mapping[str, Any]) -> list[str]:
    """How sure the difference is, where it is that between what was learned and what there was."""
    if verdict["kept"] == CLOSED_FORM:
        return ["A simple model, fitted to your recordings at once, was best: training longer did not improve it."]
    if not list(verdict["models"])[1].startswith(FROZEN_SPACE):
        return []
    gain, recordings = verdict["gain"], counted(verdict["gain"]["groups"], "recording")
    if gain["groups"] < 2:
        return ["They are of one recording, so how sure that is cannot be said."]
    if gain["low"] <= 0 <= gain["high"]:
        return [f"They are of {recordings}: the difference may be chance."]
    few = ", too few to be sure" if gain["groups"] < FEW_GROUPS else ", enough to tell the difference from chance"
    return [f"They are of {recordings}{few}."]


def _example(example: Mapping[str, Any], clips: Mapping[str, Clip]) -> ExampleView:
    clip, asked = clips.get(example["clip"]), example["direction"].partition("->")[0]
    texts = learned_texts(clip) if clip else ()
    return ExampleView(
        what=_FOUND.get(example["direction"], example["direction"]),
        clip=example["clip"],
        asked=cast("Literal['video', 'audio', 'text']", asked),
        text=texts[0].text if texts else "",
        before=None if example["before"] is None else round(example["before"]),
        after=round(example["after"]),
        of=example["gallery"],
    )
