"""The index of a run: its library's latents through its model, in the table `vectors_<run>`, and the library's texts in
`fulltext`.

Building again is incremental: a row is kept while its model (`maker`) and its file or text (`content`) are unchanged,
and deleted with its clip or latent. A batch of rows is one commit, so that a kill loses at most one batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

import numpy as np

from seehear.errors import SeehearError, require
from seehear.library.current import NO_FRAMES, current_content, is_frame, latent_table, why_stale
from seehear.library.locking import writing
from seehear.library.tables import LibraryTables, Vectors, VectorTable, in_batches, quote, table_name
from seehear.library.vectors import side_by_side
from seehear.progress import counted, progress, say
from seehear.search.fulltext import update_fulltext
from seehear.types import Modality

APPROXIMATE_FROM = 1_000_000
"""Rows from which Lance's IVF index is built and used: it saves memory and half of the time to the first answer
(docs/serve.md, docs/scaling.md)."""
# Clips from which scanning a column takes longer than reading an index over it.
INDEXED_FROM = 50_000
BATCH = 4096
CHECKED = 200  # queries that measure the recall of an approximate index
_RECALL = 0.99  # what is aimed at
_PROBES = (8, 16, 32, 64, 128, 256)
# Building compares every vector with every list, so its time grows with their number; reading codes is cheap.
_ROWS_PER_LIST = 20_000
# Candidates that are compared again by their exact vectors: twice the rows that are asked for, and at least so many.
_CANDIDATES = 200
_ABOUT = "index:"


class Indexer(Protocol):
    """Model of an index, such as `seehear.SharedSpace`."""

    @property
    def fingerprint(self) -> str:
        """16 hex digits over the model and its encoders."""
        ...

    @property
    def dim(self) -> int: ...

    @property
    def encoders(self) -> Mapping[Modality, Sequence[Mapping[str, Any]]]:
        """{name, fingerprint, width} of the encoders by modality; their latents are concatenated for the model."""
        ...

    def encode_latents(self, latents: Mapping[Modality, np.ndarray]) -> dict[Modality, np.ndarray]:
        """(B, E) float32 unit vectors by modality."""
        ...


@dataclass(frozen=True)
class IndexReport:
    name: str
    added: int
    kept: int
    removed: int
    rows: int
    texts: int
    recall: float | None = None
    """Recall@10 of the approximate index against exact search; None where search is exact."""

    def __str__(self) -> str:
        parts = {"new": self.added, "kept": self.kept, "removed": self.removed}
        changes = ", ".join(f"{count:,} {what}" for what, count in parts.items() if count) or "none"
        about = "" if self.recall is None else f", approximate search, recall@10 {self.recall:.3f}"
        return f"index {self.name}: {counted(self.rows, 'vector')} ({changes}), {counted(self.texts, 'text')}{about}"


def build_index(
    library: LibraryTables,
    space: Indexer,
    *,
    name: str,
    model: str = "",
    made: str = "",
    metadata: Mapping[str, str] | None = None,
) -> IndexReport:
    """Brings the index `name` up to date.

    model: address of the run or frozen space, by which search loads it. A frozen space has a row for each frame of a
        film that its encoder gave, in place of one of the film; others have learned from whole clips.
    made: time that decides which index is the newest; now by default.
    metadata: schema metadata of a new table.
    """
    frozen = model.startswith("frozen:")
    # A joint frozen space holds pictures and sounds: texts are compared by an encoder of texts.
    modalities = tuple((frozen and [m for m in space.encoders if m != "text"]) or space.encoders)
    with writing(library.uri, "vectors"):  # all indexes share the index of the texts
        if table_name("vectors", name) in library.tables() and library.vectors("vectors", name).width != space.dim:
            # A table holds vectors of one width.
            library.drop(table_name("vectors", name))
        table = library.vectors("vectors", name, space.dim, metadata)
        # Before the rows are read: what changes meanwhile leaves the index behind, and never unnoticed.
        read = versions(library)
        added, kept, removed = _update_rows(library, space, name, _wanted(library, space, modalities, frozen), frozen)
        texts = update_fulltext(library)
        index_clips(library)
        now = datetime.now(UTC).isoformat()
        about: dict[str, Any] = {"made": made or now, "changed": now, "maker": space.fingerprint, "model": model}
        about |= {"modalities": list(modalities), "dim": space.dim, "read": read}
        before = indexes(library).get(name, {})
        if before.get("maker") == space.fingerprint and "background" in before:
            about["background"] = before["background"]  # other processes search by it until the next calibration
        recall, probes = build_approximate(library, name) if len(table) >= APPROXIMATE_FROM else (None, 0)
        set_index(library, name, about | {"recall": recall, "probes": probes})
        return IndexReport(name, added, kept, removed, len(table), texts, recall)


def _update_rows(
    library: LibraryTables, space: Indexer, name: str, wanted: dict[Key, tuple[str, str]], frames: bool
) -> tuple[int, int, int]:
    """Makes the rows of an index those that are wanted; returns the numbers of added, kept and removed rows."""
    table = library.vectors("vectors", name)
    have = table.keys()
    fresh = {key for key, made in have.items() if wanted.get(key) == made}
    # All rows of a film are made anew together: they are frames of one file.
    broken = {(clip, modality) for clip, _, modality in have.keys() - fresh if modality != "text"}
    fresh = {key for key in fresh if (key[0], key[2]) not in broken}
    stale, missing = have.keys() - fresh, len(wanted) - len(fresh)
    for maker in sorted({maker for maker, _ in have.values()} - {space.fingerprint}):  # one deletion a model is faster
        table.remove(f"maker = {quote(maker)}")
    table.remove_keys(sorted(stale))
    with progress(f"index {name}", missing, "vectors") as bar:
        for modality, latents in _latents(library, space, {modality for _, _, modality in wanted}, frames):
            keys = [(id, n, modality) for id, n in zip(latents.ids, latents.items.tolist(), strict=True)]
            for some in in_batches([i for i, key in enumerate(keys) if key in wanted and key not in fresh], BATCH):
                rows = latents.take(some)
                makers, contents = zip(*(wanted[keys[i]] for i in some), strict=True)
                vectors = space.encode_latents({modality: rows.vectors.astype(np.float32)})[modality]
                kinds = [modality] * len(rows)
                rows = replace(rows, modalities=kinds, vectors=vectors, makers=list(makers), contents=list(contents))
                table.append(rows)
                bar.advance(len(some))
    if missing or stale:
        table.compact()
    return missing, len(fresh), len(stale)


def index_clips(library: LibraryTables) -> None:
    """Brings Lance's indexes over the columns of many clips up to date: searches read their hits by id, and filters
    that few clips pass read those."""
    clips = library.table("clips")
    if clips.count_rows() < INDEXED_FROM:
        return
    index = require("lancedb.index")
    have = {column for own in clips.list_indices() for column in own.columns}
    for column, kind in {"id": index.BTree, "source": index.BTree, "labels": index.LabelList}.items():
        if column not in have:
            clips.create_index(column, config=kind())
    if have:
        clips.optimize()  # adds newer rows to the indexes that were there


def indexes(library: LibraryTables) -> dict[str, dict[str, Any]]:
    """{maker, model, modalities, dim, read, recall, probes} of the indexes of a library by name."""
    about = library.about()
    tables = set(library.tables())
    names = [key.removeprefix(_ABOUT) for key in about if key.startswith(_ABOUT)]
    return {n: json.loads(about[_ABOUT + n]) for n in sorted(names) if table_name("vectors", n) in tables}


def set_index(library: LibraryTables, name: str, about: Mapping[str, Any]) -> None:
    """Writes an entry of `indexes`."""
    library.set_about(_ABOUT + name, json.dumps(about))


def indexed_clips(library: LibraryTables) -> set[str]:
    """Ids of the clips in any index."""
    tables = [library.vectors("vectors", name) for name in indexes(library)]
    return {id for table in tables for id in table.columns("id")["id"].unique().to_pylist()}


def versions(library: LibraryTables) -> list[int]:
    """Versions of the tables that decide which vectors are current."""
    return [int(library.table(name).version) for name in ("clips", "sources")]


def input_tables(library: LibraryTables) -> list[str]:
    """Names of the tables that indexes and training read."""
    return sorted(name for name in library.tables() if name in ("clips", "sources") or name.startswith("latents_"))


# -- vectors -----------------------------------------------------------------------------------------------------------

Key = tuple[str, int, str]


def _wanted(
    library: LibraryTables, space: Indexer, modalities: Sequence[Modality], frames: bool
) -> dict[Key, tuple[str, str]]:
    """(maker, content) by (id, item, modality) of every vector that the index should hold: of latents by the model's
    encoders that are current for their file or text. With `frames`, a film with frames has no row of its own."""
    where = None if frames else NO_FRAMES
    clips, sources = {clip.id: clip for clip in library.clips()}, library.sources()
    wanted: dict[Key, tuple[str, str]] = {}
    for modality, infos in space.encoders.items():
        # Some modalities are only queried.
        if modality not in modalities or not any(clip.has(modality) for clip in clips.values()):
            continue
        tables: dict[tuple[str, int], int] = {}
        for info in infos:
            for (name, item, _), made in latent_table(library, info["name"]).keys(where).items():
                current = current_content(clips.get(name), modality, item, sources)
                if not why_stale(made, info["fingerprint"], current):
                    tables[name, item] = tables.get((name, item), 0) + 1
                    wanted[name, item, modality] = space.fingerprint, made[1]
        for (name, item), count in tables.items():
            # The model takes the latents of all its encoders side by side, so none may be missing.
            if count < len(infos):
                del wanted[name, item, modality]
    for clip, modality in {(clip, modality) for clip, item, modality in wanted if is_frame(modality, item)}:
        wanted.pop((clip, 0, modality), None)
    if not wanted:
        names = ", ".join(i["name"] for infos in space.encoders.values() for i in infos)
        raise SeehearError(f"{library.uri} has no latents of {names} as the model was trained on: run 'seehear encode'")
    return wanted


def _latents(
    library: LibraryTables, space: Indexer, modalities: set[str], frames: bool
) -> Iterator[tuple[Modality, Vectors]]:
    """Latents by modality in parts; those of several encoders are read whole and concatenated."""
    for modality, infos in space.encoders.items():
        if modality not in modalities:
            continue
        kept = "" if frames else f" AND {NO_FRAMES}"
        where = [f"maker = {quote(info['fingerprint'])}{kept}" for info in infos]
        if len(infos) == 1:
            for part in latent_table(library, infos[0]["name"]).scan(where[0]):
                yield modality, part
        else:
            tables = [latent_table(library, info["name"]).read(w) for info, w in zip(infos, where, strict=True)]
            yield modality, side_by_side(tables)


# -- approximate search ------------------------------------------------------------------------------------------------


def build_approximate(library: LibraryTables, name: str) -> tuple[float, int]:
    """Builds an inverted-file index; returns its recall@10 and the fewest lists to read that reach `_RECALL`.

    Vectors in the lists are quantised to four bits a number (RaBitQ); the best candidates are compared again by the
    exact vectors. One bit needs twenty times the candidates for the same recall; a byte answers ten times slower, and
    lists of whole vectors build ten times slower.
    """
    index = require("lancedb.index")
    raw, table = library.table(table_name("vectors", name)), library.vectors("vectors", name)
    rows = len(table)
    # RaBitQ refuses widths that are not a multiple of eight. Fewer samples and rounds of k-means than Lance's
    # defaults make coarser lists, which cost nothing here: how many of them are read is measured below.
    parts = max(1, rows // _ROWS_PER_LIST)
    lists: dict[str, Any] = {"num_partitions": parts, "max_iterations": 20, "sample_rate": 64}
    codes = index.IvfSq if table.width % 8 else partial(index.IvfRq, num_bits=4)
    raw.create_index("vector", config=codes(distance_type="dot", **lists), replace=True)
    raw.create_index("id", config=index.BTree(), replace=True)  # rows of one clip, and of the few that pass a filter
    # A fixed sample: measuring the same index again gives the same recall.
    offsets = np.random.default_rng(0).choice(rows, min(CHECKED, rows), replace=False)
    checked = raw.take_offsets(offsets.tolist()).select(["vector"]).to_arrow()
    queries_QE = np.asarray(checked["vector"].to_pylist(), np.float32)
    truth = _nearest_by_scan(table, queries_QE, 10)
    recall = 0.0
    for probes in _PROBES:
        found = [{key[:3] for key in nearest_approximate(raw, q, 10, probes=probes)} for q in queries_QE]
        recall = sum(len(f & t) for f, t in zip(found, truth, strict=True)) / sum(len(t) for t in truth)
        if recall >= _RECALL or probes >= parts:
            break
    say(f"approximate index of {rows:,} vectors: recall@10 {recall:.3f} on {len(queries_QE)} of them, {probes} lists")
    return recall, probes


def _nearest_by_scan(table: VectorTable, queries_QE: np.ndarray, k: int) -> list[set[tuple[str, int, str]]]:
    """Exact nearest rows of each query, found part by part: ten million rows do not fit in memory as float32."""
    best: list[list[tuple[float, tuple[str, int, str]]]] = [[] for _ in queries_QE]
    for part in table.scan(size=65_536):
        scores_QN = queries_QE @ part.vectors.astype(np.float32).T
        top_QK = np.argsort(-scores_QN, axis=1, kind="stable")[:, :k]
        for q, rows in enumerate(top_QK):
            here = [(float(scores_QN[q, i]), (part.ids[i], int(part.items[i]), part.modalities[i])) for i in rows]
            best[q] = sorted(best[q] + here, key=lambda row: -row[0])[:k]
    return [{key for _, key in rows} for rows in best]


def nearest_approximate(
    raw: Any, query_E: np.ndarray, k: int, *, probes: int, where: str | None = None
) -> list[tuple[str, int, str, float]]:
    """(id, item, modality, inner product), best first, by the table's index."""
    refine = max(2, _CANDIDATES // k)
    search = raw.search(np.asarray(query_E, np.float32)).distance_type("dot").nprobes(probes).refine_factor(refine)
    if where:
        search = search.where(where, prefilter=True)
    rows = search.select(["id", "item", "modality", "_distance"]).limit(k).to_arrow().to_pylist()
    # Lance's distance is 1 less the inner product.
    return [(r["id"], r["item"], r["modality"], 1.0 - r["_distance"]) for r in rows]
