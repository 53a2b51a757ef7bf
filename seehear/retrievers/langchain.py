"""A library as a retriever of LangChain.

    from seehear.retrievers.langchain import SeehearRetriever

    retriever = SeehearRetriever(library="lib", k=5)
    retriever.invoke("a dog barks")             # [Document(page_content=..., metadata={"file": ..., "start": ...})]
    retriever.invoke("a dog barks", k=3, kinds=["heard"], filters=Filters(source="talks/*"))

The number of documents is `k`, or that of all moments; `metadata["words"]` is 'nothing close' for those that are no
answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from seehear.errors import require
from seehear.facade import Library
from seehear.retrievers import passage
from seehear.search.filters import Filters

# The imports below would fail without naming the extra.
require("langchain_core", "langchain")

from langchain_core.callbacks import CallbackManagerForRetrieverRun  # noqa: E402  # after the advice on how to install it
from langchain_core.documents import Document  # noqa: E402
from langchain_core.retrievers import BaseRetriever  # noqa: E402
from pydantic import field_validator  # noqa: E402


class SeehearRetriever(BaseRetriever):
    """Moments as documents, best first. `invoke` and `ainvoke` also take the options of a search."""

    library: Library
    """Library, or the address of an existing one."""
    k: int = 10
    """Number of documents."""
    kinds: tuple[str, ...] = ()
    """Kinds of match: seen, heard, spoken, screen, text; all by default."""
    filters: Filters | None = None
    """`seehear.search.filters.Filters`, or a dictionary of its fields."""
    fulltext: bool = True
    """Search also by the words of texts."""

    @field_validator("library", mode="before")
    @classmethod
    def _opened(cls, library: Any) -> Any:
        return Library.open(library) if isinstance(library, str | Path) else library

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **options: Any
    ) -> list[Document]:
        search = {name: getattr(self, name) for name in ("k", "kinds", "filters", "fulltext")} | options
        passages = [passage(hit) for hit in self.library.search(query, **search)]
        return [Document(id=p["id"], page_content=p["text"], metadata=p["metadata"]) for p in passages]
