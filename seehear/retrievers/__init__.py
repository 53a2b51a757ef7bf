"""Libraries as retrievers of other packages: each module imports the package that it is for."""

from __future__ import annotations

from typing import Any

from seehear.search.answer import Moment


def passage(hit: Moment) -> dict[str, Any]:
    """'id', 'text' and 'metadata' of a moment, as JSON values. A moment without text has its labels, else the name of
    its file, as language models make nothing of an empty text."""
    metadata = hit.plain() | {"why": hit.why, "clip": hit.clip, "source": hit.source, "labels": list(hit.labels)}
    text = metadata.pop("text") or ", ".join(hit.labels) or hit.source
    return {"id": f"{hit.clip}@{hit.start:g}", "text": text, "metadata": metadata}
