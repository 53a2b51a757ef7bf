"""Default recipe of a library: the user's words where there are enough, else pictures with sound, else none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from seehear.library.records import learned_texts
from seehear.progress import counted
from seehear.runs.config import recipes
from seehear.space.frozen import frozen_towers

if TYPE_CHECKING:
    from seehear.library.tables import Clip, LibraryTables

FEWEST_TRAINING, FEWEST_VALIDATION = 100, 10
"""Fewest clips with two modalities to learn from: with fewer validation clips everything is among the first ten."""
OWN_WORDS, BIND = "fusemix", "fusemix.bind"


@dataclass(frozen=True)
class Choice:
    recipe: str
    """Empty: there is too little to learn from."""
    why: str


def choose(library: LibraryTables) -> Choice:
    clips = library.clips()
    worded = [c for c in clips if any(not text.by for text in learned_texts(c)) and (c.has_video or c.has_audio)]
    sounding = [c for c in clips if c.has_video and c.has_audio]
    if _enough(worded):
        return Choice(OWN_WORDS, f"{counted(len(worded), 'clip')} with words of your own")
    if _enough(sounding):
        why = f"{counted(len(sounding), 'clip')} with picture and sound, without words of your own"
        # Bound is into a space that words reach; where none is frozen, pictures and sounds can still find each other.
        joint = any({"video", "text"} <= towers.keys() for towers in frozen_towers(library.encoders()).values())
        return Choice(BIND if joint and BIND in recipes() else OWN_WORDS, why)
    films = len({clip.source for clip in sounding})
    found = [f"{counted(films, 'film')} with sound"]
    found += [f"{counted(len(worded), 'clip')} with words of your own"] if worded else []
    return Choice("", f"{' and '.join(found)}: too few to learn from; searched as they are")


def _enough(clips: Sequence[Clip]) -> bool:
    splits = [clip.split for clip in clips]
    return splits.count("train") >= FEWEST_TRAINING and splits.count("val") >= FEWEST_VALIDATION
