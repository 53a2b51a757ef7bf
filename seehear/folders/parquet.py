"""A library as Parquet files: its clips and media files, and the current vectors of encoders and indexes.

    clips.parquet                  id, source, start, end, texts, labels, group, split, meta, ...
    sources.parquet                source, size, duration, info, ...
    latents_*, vectors_*.parquet   id of the clip, item, modality, vector (float32); item: see `library/current.py`

Tables are read and written in parts of bounded size.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from seehear.errors import require
from seehear.library.current import current_content, why_stale
from seehear.library.tables import LibraryTables, quote, table_name
from seehear.search.index import indexes

if TYPE_CHECKING:
    import pyarrow as pa

# Rows of a part, which is a row group of the file.
_ROWS = 8192


def write_parquet(library: LibraryTables, folder: Path) -> dict[str, int]:
    """Writes the files, and returns the number of rows of each by path. Outdated vectors are left out."""
    arrow = require("pyarrow")
    folder.mkdir(parents=True, exist_ok=True)
    makers = {table_name("latents", name): about["fingerprint"] for name, about in library.encoders().items()}
    makers |= {table_name("vectors", name): about["maker"] for name, about in indexes(library).items()}
    clips, sources = {clip.id: clip for clip in library.clips()}, library.sources()

    def current(rows: pa.RecordBatch, maker: str, schema: pa.Schema) -> pa.RecordBatch:
        keys = zip(*(rows[name].to_pylist() for name in ("id", "modality", "item", "content")), strict=True)
        keep = [
            not why_stale((maker, content), maker, current_content(clips.get(id), modality, item, sources))
            for id, modality, item, content in keys
        ]
        return rows.select(schema.names).cast(schema).filter(arrow.array(keep, arrow.bool_()))

    written = {}
    for name in ("clips", "sources", *sorted(makers.keys() & set(library.tables()))):
        table = library.table(name)
        schema, query = table.schema.remove_metadata(), table.search()
        if name in makers:
            query = query.where(f"maker = {quote(makers[name])}")
            # Few tools read half precision.
            vector = arrow.list_(arrow.float32(), schema.field("vector").type.list_size)
            columns = (schema.field(column) for column in ("id", "item", "modality"))
            schema = arrow.schema([*columns, ("vector", vector)])
        path, rows = folder / f"{name}.parquet", 0
        # An interruption leaves no half file.
        part = path.with_name(f".{path.name}.part")
        try:
            with require("pyarrow.parquet").ParquetWriter(part, schema, compression="zstd") as writer:
                for batch in query.limit(None).to_batches(_ROWS):
                    batch = current(batch, makers[name], schema) if name in makers else batch
                    writer.write_batch(batch)
                    rows += len(batch)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)
        written[str(path)] = rows
    return written
