"""Report of the embeddings of one split: every ordered pair of modalities, fused queries, mixed galleries,
correspondence, classes by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seehear.evaluation import tasks
from seehear.evaluation.bootstrap import FEW_GROUPS
from seehear.evaluation.embedded import Classes, Embedded, Embedder, embed_latents, fuse
from seehear.evaluation.report import EvaluationReport
from seehear.nn.unit import unit
from seehear.progress import counted
from seehear.types import Modality

__all__ = ["Classes", "Embedded", "Embedder", "embed_latents", "evaluate_embeddings", "fuse", "group_warnings", "unit"]


def evaluate_embeddings(
    embeddings: Mapping[Modality, Embedded],
    ids: Sequence[str],
    groups: Sequence[str | int],
    *,
    labels: Sequence[Sequence[str]] | None = None,
    classes: Sequence[Classes] = (),
    model: str = "model",
    split: str = "test",
    seed: int = 0,
) -> EvaluationReport:
    """Results of all tasks that the embeddings allow. Row i of `ids`, `groups` and `labels` is clip i, the owner in
    `embeddings`."""
    clips = tasks.ScoredClips(np.asarray(ids, dtype=str), np.asarray(groups).astype(str), labels, model, seed)
    results = [*tasks.pairs(embeddings, clips), *tasks.fused(embeddings, clips), *tasks.mixed(embeddings, clips)]
    results += tasks.correspond(embeddings, clips)
    if labels is not None:
        results += [r for c in classes for r in tasks.by_name(embeddings, c, clips)]
    return EvaluationReport(split=split, results=tuple(results), warnings=group_warnings(clips.groups.tolist(), split))


def group_warnings(groups: Sequence[str | int], split: str) -> tuple[str, ...]:
    """Warning about a split with few source recordings."""
    num = len(set(groups))
    if num >= FEW_GROUPS:
        return ()
    return (
        f"the {split} split has {counted(num, 'group')}: with fewer than {FEW_GROUPS} the intervals are too narrow",
    )
