"""Search by the words of texts: the table `fulltext` of all texts of a library with Lance's BM25 index, and its ranking
joined with that by vectors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from seehear.errors import require
from seehear.library.tables import LibraryTables, in_batches, one_of

FULLTEXT = "fulltext"
# Constant of reciprocal rank fusion, as published (Cormack, Clarke and Buettcher 2009).
RANK = 60
_FUNCTION_WORDS = set(
    re.findall(
        r"\w+",
        "a an and are as at be by for from has have he her his i in is it its my near of on or our she that the their "
        "they this to was we were what where who with you your",
    )
)


def update_fulltext(library: LibraryTables, ids: Collection[str] | None = None) -> int:
    """Brings `fulltext` up to date, a row (id, item, text) for each text of a clip, and returns the number of texts.
    `ids`: clips whose rows are updated; all by default."""
    pa = require("pyarrow")
    schema = pa.schema([("id", pa.string()), ("item", pa.int32()), ("text", pa.string())])
    table = library.ensure(FULLTEXT, schema)
    only = "" if ids is None else one_of("id", ids)
    query = table.search().where(only) if only else table.search()
    rows = query.limit(None).to_arrow().to_pydict()
    have = dict(zip(zip(rows["id"], rows["item"], strict=True), rows["text"], strict=True))
    clips = library.clips(" AND ".join(filter(None, (only, "array_length(texts) > 0"))))
    want = {(c.id, n): t.text for c in clips for n, t in enumerate(c.texts)}
    stale = sorted({key[0] for key, text in have.items() if want.get(key) != text})
    for some in in_batches(stale, 1000):
        table.delete(one_of("id", some))
    deleted = set(stale)
    # Rows of a changed clip are deleted and written together: the numbers of all its texts may have moved.
    new = [{"id": c, "item": n, "text": t} for (c, n), t in want.items() if c in deleted or (c, n) not in have]
    # Batches: Arrow takes Python objects, of which a large library has gigabytes.
    for batch in in_batches(new, 50_000):
        table.add(pa.Table.from_pylist(batch, schema=schema))
    # A search also scans the few rows that are newer than the index, which is not built again for these.
    if not (only and table.list_indices()) and want and (new or stale or not table.list_indices()):
        fts = require("lancedb.index").FTS
        # ICU also splits scripts that have no spaces between words.
        table.create_index("text", config=fts(base_tokenizer="icu", remove_stop_words=False), replace=True)
    return len(want)


def search_fulltext(library: LibraryTables, words: str, k: int) -> list[tuple[str, int, float]]:
    """(id, item, BM25 score), best first. Punctuation is ignored: it would be query language."""
    table, words = _fulltext(library), " ".join(re.findall(r"\w+", words))
    if table is None or not words:
        return []
    rows = table.search(words, query_type="fts").limit(k).to_arrow().to_pylist()
    return [(row["id"], row["item"], row["_score"]) for row in rows]


def clips_that_say(library: LibraryTables, words: str) -> set[str]:
    """Ids of the clips with a text that contains all these words."""
    table, words, query = _fulltext(library), " ".join(re.findall(r"\w+", words)), require("lancedb.query")
    if table is None or not words:
        return set()
    # With the number of all rows as the limit: Lance gives ten otherwise.
    match = query.MatchQuery(words, "text", operator=query.FullTextOperator.AND)
    rows = table.search(match, query_type="fts").limit(max(table.count_rows(), 1)).select(["id"])
    return set(rows.to_arrow()["id"].to_pylist())


def _fulltext(library: LibraryTables) -> Any:
    """Table of texts; None before it is indexed."""
    if FULLTEXT not in library.tables() or not library.table(FULLTEXT).list_indices():
        return None
    return library.table(FULLTEXT)


def telling_words(words: str) -> list[str]:
    """Words of a query in lower case, without function words."""
    return [word for word in re.findall(r"\w+", words.lower()) if word not in _FUNCTION_WORDS]


def share_held(asked: Sequence[str], text: str) -> float:
    """Share of these words that a text contains."""
    has = {_stem(word) for word in re.findall(r"\w+", text.lower())}
    return sum(_stem(word) in has for word in asked) / len(asked)


def _stem(word: str) -> str:
    """Word without its ending: 'barks' and 'barking' are 'bark'. Lance has a better stemmer, but no access to it."""
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def joined(
    evidences: Mapping[str, float], shares: Mapping[str, float], known: Sequence[str], allowed: set[str] | None
) -> list[str]:
    """Clips by reciprocal rank in both rankings; a text is weighted by the share of the words that it contains."""
    kept = {clip for clip in known if allowed is None or clip in allowed}
    by_vectors = sorted((c for c in kept if c in evidences), key=lambda c: (-evidences[c], c))
    by_words = [c for c in shares if c in kept]
    points = {clip: 1 / (RANK + rank) for rank, clip in enumerate(by_vectors, start=1)}
    for rank, clip in enumerate(by_words, start=1):
        points[clip] = points.get(clip, 0.0) + shares[clip] / (RANK + rank)
    # Clips of equal points stand in the order of the vectors, so that an answer is the same each time.
    place = {clip: n for n, clip in enumerate(by_vectors)}
    return sorted(points, key=lambda c: (-points[c], place.get(c, len(place))))
