"""seehear: your own videos, sounds, pictures and texts in one tested, searchable space."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from seehear.facade import Library
    from seehear.space import SharedSpace

__all__ = ["Library", "SharedSpace", "__version__"]


def __getattr__(name: str) -> Any:
    """Public names are imported when they are first used: `import seehear` costs nothing."""
    if name == "SharedSpace":
        from seehear.space import SharedSpace

        return SharedSpace
    if name == "Library":
        from seehear.facade import Library

        return Library
    if name == "__version__":
        from importlib import metadata

        return metadata.version("seehear")
    raise AttributeError(f"module 'seehear' has no attribute {name!r}")


def __dir__() -> list[str]:
    # Before their first use the public names are not among the globals.
    return sorted([*globals(), *__all__])
