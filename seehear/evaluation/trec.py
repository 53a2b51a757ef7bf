"""Rankings and relevance in the files of trec_eval, so that any other tool can check a number of ours.

run    query Q0 item rank score tag          qrels    query 0 item relevance
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from seehear.search.exact import ExactSearch
from seehear.types import Float

_AT_ONCE = 4096  # queries


def write_run(
    path: str | Path,
    query_QE: Float[np.ndarray, "q e"],
    gallery_GE: Float[np.ndarray, "g e"],
    *,
    query_names: Sequence[str],
    gallery_names: Sequence[str],
    depth: int = 100,
    tag: str = "seehear",
) -> None:
    """The first `depth` items of each query. Names must be unique; white space in them becomes '_'.

    trec_eval orders tied items by name, ours are averaged: the two agree where no scores tie.
    """
    queries, items = _names(query_names), _names(gallery_names)
    search = ExactSearch(np.ascontiguousarray(gallery_GE, np.float32))

    def lines() -> Iterable[str]:
        for at in range(0, len(queries), _AT_ONCE):
            scores, rows = search.search(np.asarray(query_QE[at : at + _AT_ONCE]), depth)
            for q, (own, places) in enumerate(zip(scores.tolist(), rows.tolist(), strict=True), start=at):
                for rank, (score, place) in enumerate(zip(own, places, strict=True), start=1):
                    yield f"{queries[q]} Q0 {items[place]} {rank} {score:.9g} {tag}\n"

    _write(Path(path), lines())


def write_qrels(
    path: str | Path,
    query_ids: Sequence[str | int] | np.ndarray,
    gallery_ids: Sequence[str | int] | np.ndarray,
    *,
    query_names: Sequence[str],
    gallery_names: Sequence[str],
) -> None:
    """The positives: pairs with equal ids, as `retrieval` takes them."""
    queries, items = _names(query_names), _names(gallery_names)
    of_id: dict[str | int, list[str]] = {}
    for name, own in zip(items, list(gallery_ids), strict=True):
        of_id.setdefault(own, []).append(name)
    pairs = zip(queries, list(query_ids), strict=True)
    _write(Path(path), (f"{name} 0 {item} 1\n" for name, own in pairs for item in of_id.get(own, ())))


def _names(names: Sequence[str]) -> list[str]:
    plain = ["_".join(str(name).split()) for name in names]
    if len(set(plain)) < len(plain):
        raise ValueError("names in a run must be unique (white space counts as '_')")
    return plain


def _write(path: Path, lines: Iterable[str]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with open(temporary, "w", encoding="utf-8") as file:
        file.writelines(lines)
    os.replace(temporary, path)
