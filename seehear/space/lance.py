"""The spaces of indexes as an embedding function of LanceDB: importing this module makes tables of vectors searchable
by words in plain LanceDB.

    import lancedb, seehear.space.lance
    lancedb.connect("lib").open_table("vectors_frozen-wordtower").search("a red truck").limit(5).to_pandas()

Queries may also be pictures (PIL) and media files. Cosines are not calibrated; `seehear.Library.search` returns
confidences.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from lancedb.embeddings import EmbeddingFunction, register

from seehear.space.frozen import FROZEN
from seehear.space.shared import SharedSpace


@register("seehear")
class SpaceFunction(EmbeddingFunction):
    model: str
    """Address of a space, as `SharedSpace.from_pretrained` takes it."""
    # LanceDB repeats a failed call after pauses, as for a service: a local error comes again.
    max_retries: int = 0

    def ndims(self) -> int:
        return _space(self.model).dim

    def compute_query_embeddings(self, query: Any, *_: Any, **__: Any) -> list[Any]:
        # Words, a picture or a path: what `encode` takes.
        return list(_space(self.model).encode_query([query]))

    def compute_source_embeddings(self, texts: Any, *_: Any, **__: Any) -> list[Any]:
        return list(_space(self.model).encode_document(self.sanitize_input(texts)))


# A few: each keeps a model in memory.
@lru_cache(maxsize=4)
def _space(address: str) -> SharedSpace:
    return SharedSpace.from_pretrained(address)


def embedding_metadata(library_uri: str, model: str) -> dict[str, str]:
    """Schema metadata by which LanceDB loads the space of an index. `model`: address of the space in the library. A
    moved library has to be indexed again."""
    if model.startswith(FROZEN):
        # Absolute: LanceDB may open the table from any working directory.
        where = library_uri if "://" in library_uri else str(Path(library_uri).resolve())
        # A frozen space is part of its library, and is named by the address of that.
        model = f"{FROZEN}{where}#{model.partition('#')[2]}"
    about = {"name": "seehear", "model": {"model": model}, "source_column": "id", "vector_column": "vector"}
    return {"embedding_functions": json.dumps([about])}
