"""Rows of a library's tables, as LanceDB keeps them, and clips made of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from seehear.errors import require
from seehear.library.records import Clip, Text

if TYPE_CHECKING:
    import pyarrow as pa


def schemas() -> dict[str, pa.Schema]:
    """Columns of the tables that every library has, by name."""
    pa = require("pyarrow")
    text = [("text", pa.string()), ("start", pa.float64()), ("end", pa.float64())]
    text = pa.struct([*text, ("kind", pa.string()), ("by", pa.string()), ("confidence", pa.float64())])
    return {
        "about": pa.schema([("key", pa.string()), ("value", pa.string())]),
        "sources": pa.schema(
            [("source", pa.string()), ("size", pa.int64()), ("mtime_ns", pa.int64()), ("fingerprint", pa.string())]
            + [("duration", pa.float64()), ("info", pa.string())]
        ),
        "clips": pa.schema(
            [("id", pa.string()), ("source", pa.string()), ("audio_source", pa.string())]
            + [("start", pa.float64()), ("end", pa.float64())]
            + [("has_video", pa.bool_()), ("has_audio", pa.bool_()), ("texts", pa.list_(text))]
            + [("labels", pa.list_(pa.string())), ("group", pa.string()), ("split", pa.string()), ("meta", pa.string())]
        ),
        "rejects": pa.schema(
            [("path", pa.string()), ("stage", pa.string()), ("reason", pa.string())]
            + [("size", pa.int64()), ("mtime_ns", pa.int64()), ("origin", pa.string())]
        ),
    }


def row_of_clip(clip: Clip) -> dict[str, Any]:
    # `asdict` copies deeply, which is most of the time that a million rows take.
    row = dict(vars(clip), texts=[vars(text) for text in clip.texts], labels=list(clip.labels))
    return row | {"meta": json.dumps(clip.meta, ensure_ascii=False, sort_keys=True)}


def clip_of_row(row: dict[str, Any]) -> Clip:
    """A clip from its row of the table."""
    absent = {"by": "", "confidence": 1.0}  # in what an older seehear wrote
    texts = tuple(
        Text(**(t | {name: value for name, value in absent.items() if t.get(name) is None}))
        for t in row.pop("texts") or ()
    )
    labels = tuple(row.pop("labels") or ())
    return Clip(**(row | {"texts": texts, "labels": labels, "meta": json.loads(row["meta"] or "{}")}))
