"""Tiny models of the hub, shared by the tests of a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.encoders.tiny import make


class Models(dict[str, Path]):
    """Folder of each family's model, made when it is first asked for. Tests change copies only."""

    def __init__(self, root: Path):
        self.root = root

    def __missing__(self, family: str) -> Path:
        self[family] = make(family, self.root / family)
        return self[family]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    return Models(tmp_path_factory.mktemp("models"))
