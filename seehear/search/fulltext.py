"""Full text of a library: the table `fulltext` of all texts of its clips, with Lance's BM25 index over it."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from seehear.errors import require
from seehear.library.tables import Library, in_batches, one_of

FULLTEXT = "fulltext"


def update_fulltext(library: Library, ids: Collection[str] | None = None) -> int:
    """Brings `fulltext` up to date, a row (id, item, text) for every text of every clip, and returns the number of
    texts. With `ids`, only the rows of these clips are updated."""
    pa = require("pyarrow")
    schema = pa.schema([("id", pa.string()), ("item", pa.int32()), ("text", pa.string())])
    table = library.ensure(FULLTEXT, schema)
    only = "" if ids is None else one_of("id", ids)
    query = table.search().where(only) if only else table.search()
    rows = query.limit(None).to_arrow().to_pydict()
    have = dict(zip(zip(rows["id"], rows["item"], strict=True), rows["text"], strict=True))
    some_have = "array_length(texts) > 0"
    clips = library.clips(f"{only} AND {some_have}" if only else some_have)
    want = {(c.id, n): t.text for c in clips for n, t in enumerate(c.texts)}
    stale = sorted({key[0] for key, text in have.items() if want.get(key) != text})
    for some in in_batches(stale, 1000):
        table.delete(one_of("id", some))
    gone = set(stale)
    new = [(c, n, text) for (c, n), text in want.items() if c in gone or (c, n) not in have]
    for batch in in_batches(new, 50_000):
        table.add(pa.Table.from_pylist([{"id": c, "item": n, "text": text} for c, n, text in batch], schema=schema))
    # A search looks through the few rows that came after the index was made: it is not made again for these.
    if not (only and table.list_indices()) and want and (new or stale or not table.list_indices()):
        fts = require("lancedb.index").FTS
        table.create_index("text", config=fts(base_tokenizer="icu", remove_stop_words=False), replace=True)
    return len(want)


def search_fulltext(library: Library, words: str, k: int) -> list[tuple[str, int, float]]:
    """(id, item, BM25 score), best first. Only the words of a query count: its punctuation would be query language."""
    table, words = _fulltext(library), " ".join(re.findall(r"\w+", words))
    if table is None or not words:
        return []
    found = table.search(words, query_type="fts").limit(k).to_arrow().to_pylist()
    return [(row["id"], row["item"], row["_score"]) for row in found]


def clips_that_say(library: Library, words: str) -> set[str]:
    """Ids of the clips that have a text with all these words."""
    table, words, query = _fulltext(library), " ".join(re.findall(r"\w+", words)), require("lancedb.query")
    if table is None or not words:
        return set()
    match = query.MatchQuery(words, "text", operator=query.FullTextOperator.AND)
    found = table.search(match, query_type="fts").limit(max(table.count_rows(), 1)).select(["id"])
    return set(found.to_arrow()["id"].to_pylist())


def _fulltext(library: Library) -> Any:
    """The table of texts; None before it is indexed."""
    if FULLTEXT not in library.tables() or not library.table(FULLTEXT).list_indices():
        return None
    return library.table(FULLTEXT)
