"""A library as a retriever of LangChain.

    from seehear.retrievers.langchain import SeehearRetriever

    retriever = SeehearRetriever(library="lib", k=5)
    retriever.invoke("a dog barks")             # [Document(page_content=..., metadata={"file": ..., "start": ...})]
    retriever.invoke("a dog barks", k=3, kinds=["heard"], filters=Filters(source="talks/*"))

The number of documents is always `k`, or all that there are: `metadata["words"]` says 'nothing close' where the nearest
is no answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seehear.errors import require
from seehear.facade import Library
from seehear.retrievers.passage import passage
from seehear.search.filters import Filters

require("langchain_core", "langchain")

from langchain_core.callbacks import CallbackManagerForRetrieverRun  # noqa: E402  # after the advice on what brings it
from langchain_core.documents import Document  # noqa: E402
from langchain_core.retrievers import BaseRetriever  # noqa: E402
from pydantic import field_validator  # noqa: E402


class SeehearRetriever(BaseRetriever):
    """Moments as documents, the best first. `invoke` and `ainvoke` take the options of a search, too."""

    library: Library
    """A library, or the address of one that exists."""
    k: int = 10
    """Number of documents."""
    kinds: tuple[str, ...] = ()
    """Kinds of match to allow: seen, heard, spoken, screen, text; all by default."""
    filters: Filters | None = None
    """`seehear.search.filters.Filters`, or a dictionary of its fields."""
    fulltext: bool = True
    """Also by the words themselves of what is spoken or written."""

    @field_validator("library", mode="before")
    @classmethod
    def _opened(cls, library: Any) -> Any:
        return Library.open(library) if isinstance(library, str | Path) else library

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        search: dict[str, Any] = {
            "k": self.k,
            "kinds": self.kinds,
            "filters": self.filters,
            "fulltext": self.fulltext,
        } | options
        found = [passage(hit) for hit in self.library.search(query, **search)]
        return [Document(id=p["id"], page_content=p["text"], metadata=p["metadata"]) for p in found]
