"""A library as a retriever of LlamaIndex.

    from seehear.retrievers.llama_index import SeehearIndexRetriever

    SeehearIndexRetriever("lib", similarity_top_k=5).retrieve("a dog barks")
    # [NodeWithScore(node=TextNode(text=..., metadata={"file": ..., "start": ...}), score=0.9)]

`SimilarityPostprocessor(similarity_cutoff=0.5)` removes moments that are no answer: scores are confidences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from seehear.errors import require
from seehear.facade import Library
from seehear.retrievers import passage
from seehear.search.filters import Filters

# The imports below would fail without naming the extra.
require("llama_index.core", "llama-index")

from llama_index.core.retrievers import BaseRetriever  # noqa: E402  # after the advice on how to install it
from llama_index.core.schema import NodeWithScore, QueryBundle, TextNode  # noqa: E402

# Metadata that repeat others, and are hidden from language models and encoders of text.
_NOT_FOR_MODELS = ["score", "confidence", "why", "clip", "source", "also"]


class SeehearIndexRetriever(BaseRetriever):
    """Moments as nodes, best first."""

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
        """`library`: a library, or the address of an existing one. `similarity_top_k`: number of nodes. `kinds`,
        `filters`, `fulltext`: options of `Library.search`. `options`: those of every retriever (`callback_manager`)."""
        super().__init__(**options)
        self.library = library if isinstance(library, Library) else Library.open(library)
        self.similarity_top_k, self.kinds, self.filters, self.fulltext = similarity_top_k, kinds, filters, fulltext

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        """Nodes of a query by words, a picture, or both."""
        parts: list[Any] = [query_bundle.query_str] if query_bundle.query_str else []
        parts += [{"image": query_bundle.image_path}] if query_bundle.image_path else []
        hits = self.library.search(
            parts, k=self.similarity_top_k, kinds=self.kinds, filters=self.filters, fulltext=self.fulltext
        )
        hidden = {"excluded_llm_metadata_keys": _NOT_FOR_MODELS, "excluded_embed_metadata_keys": _NOT_FOR_MODELS}
        nodes = []
        for hit in hits:
            p = passage(hit)
            node = TextNode(id_=p["id"], text=p["text"], metadata=p["metadata"], **hidden)
            nodes.append(NodeWithScore(node=node, score=hit.score))
        return nodes

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        # The inherited one would search in the event loop, and stop it for as long.
        return await asyncio.to_thread(self._retrieve, query_bundle)
