"""Clips left out of an answer as they resemble unwanted ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from seehear.search.background import SCENE, OpenIndex
from seehear.search.query import Part, weight_of

# Cosine of centred rows above which a clip is left out with one that is not wanted: a quarter of the drawings and emoji
# of `benchmarks/refine.py` have such a twin; at 0.8 answers lose right hits.
_SAME = 0.9


def unwanted(indexes: Sequence[OpenIndex], parts: Sequence[Part], *, gap: float) -> set[str]:
    """Clips to leave out with clips of negative weight: the rest of their scene, up to `gap` seconds away, and clips
    that look nearly the same in every frozen index; for sounds without picture, clips that sound nearly the same."""
    found: set[str] = set()
    for part in parts:
        if isinstance(part, str) or "clip" not in part or weight_of(part) >= 0:
            continue
        clips = indexes[0].clips
        clip = clips[part["clip"]]
        kind = "seen" if clip.has_video else "heard"
        near = [near_C for i in indexes if i.frozen and (near_C := i.likeness(clip.id, kind)) is not None]
        if not near:
            continue
        least_C = np.minimum.reduce(near)
        for id in clips.ids(np.flatnonzero(least_C > SCENE)):
            other = clips[id]
            apart = max(other.start, clip.start) - min(other.end, clip.end)
            if least_C[clips.place(id)] > _SAME or (other.source == clip.source and apart < gap):
                found.add(id)
    return found
