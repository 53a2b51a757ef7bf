"""A moment as text with metadata: the form in which chains of language models take it."""

from __future__ import annotations

from typing import Any

from seehear.search.answer import Moment


def passage(hit: Moment) -> dict[str, Any]:
    """'id', 'text' and 'metadata', which JSON can hold. `text`: the text of the moment; its labels, else the name of
    its file, where it has none, as a language model gets nothing from an empty text."""
    metadata = hit.plain() | {"why": hit.why, "clip": hit.clip, "source": hit.source, "labels": list(hit.labels)}
    text = metadata.pop("text") or ", ".join(hit.labels) or hit.source
    return {"id": f"{hit.clip}@{hit.start:g}", "text": text, "metadata": metadata}
