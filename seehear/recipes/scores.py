"""The one number that training chooses its weights by: retrieval between the modalities of held-out clips."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

from seehear.evaluation.embedded import Embedded, smallest_space
from seehear.evaluation.retrieval import retrieval
from seehear.types import Modality

Pair = tuple[Modality, Modality]


def retrieval_scores(
    spaces: Mapping[str, tuple[Modality, ...]],
    embedded: Mapping[str, Mapping[Modality, Embedded]],
    pairs: tuple[Pair, ...] = (),
) -> dict[str, float]:
    """R@1 and R@10 of both directions of every pair (all, when empty), in the smallest space that holds it; `score` is
    their mean. `embedded`: vectors by space and modality."""
    there = tuple(dict.fromkeys(m for vectors in embedded.values() for m in vectors))
    found: dict[str, float] = {}
    for pair in pairs or combinations(there, 2):
        if (space := smallest_space(spaces, *pair)) is None or not set(pair) <= set(there):
            continue
        here = embedded[space]
        for query, gallery in (pair, pair[::-1]):
            q, g = here[query], here[gallery]
            if set(q.owner.tolist()) & set(g.owner.tolist()):
                metrics = retrieval(q.vectors, g.vectors, q.owner, g.owner).metrics
                found |= {f"{query}->{gallery} {k}": metrics[k] for k in ("R@1", "R@10")}
    return {"score": sum(found.values()) / max(len(found), 1), **found}
