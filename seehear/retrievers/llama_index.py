"""A library as a retriever of LlamaIndex.

    from seehear.retrievers.llama_index import SeehearRetriever

    SeehearRetriever("lib", similarity_top_k=5).retrieve("a dog barks")
    # [NodeWithScore(node=TextNode(text=..., metadata={"file": ..., "start": ...}), score=0.9)]

`SimilarityPostprocessor(similarity_cutoff=0.5)` takes out what is no answer: scores are confidences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seehear.errors import require
from seehear.facade import Library
from seehear.retrievers.passage import passage
from seehear.search.filters import Filters

require("llama_index.core", "llama-index")

from llama_index.core.retrievers import BaseRetriever  # noqa: E402  # after the advice on what brings it
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode  # noqa: E402

# Metadata that repeat others: language models and encoders of text do not get them.
_NOT_FOR_MODELS = ["score", "confidence", "why", "clip", "source", "also"]


class SeehearIndexRetriever(BaseRetriever):
    """Moments as nodes, the best first."""

    def __init__(
        self,
        library: Library | str | Path,
        *,
        similarity_top_k: int = 10,
        kinds: Sequence[str] = (),
        filters: Filters | None = None,
        fulltext: bool = True,
        **options: Any,
    ):
        """`library`: a library, or the address of one that exists. `similarity_top_k`: number of nodes. `kinds`,
        `filters`, `fulltext`: options of `Library.search`. `options`: those of every retriever (`callback_manager`)."""
        super().__init__(**options)
        self.library = library if isinstance(library, Library) else Library.open(library)
        self.similarity_top_k, self.kinds, self.filters, self.fulltext = similarity_top_k, kinds, filters, fulltext

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """A bundle may name a picture, in place of its words or beside them."""
        parts: list[Any] = [query_bundle.query_str] if query_bundle.query_str else []
        parts += [{"image": query_bundle.image_path}] if query_bundle.image_path else []
        hits = self.library.search(
            parts, k=self.similarity_top_k, kinds=self.kinds, filters=self.filters, fulltext=self.fulltext
        )
        return [NodeWithScore(node=_node(**passage(hit)), score=hit.score) for hit in hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


def _node(id: str, text: str, metadata: dict[str, Any]) -> TextNode:
    hidden = _NOT_FOR_MODELS
    return TextNode(
        id_=id,
        text=text,
        metadata=metadata,
        excluded_llm_metadata_keys=hidden,
        excluded_embed_metadata_keys=hidden,
    )
