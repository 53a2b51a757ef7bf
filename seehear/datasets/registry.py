"""Data sets that can be imported, by name, from assets/datasets.toml."""

from __future__ import annotations

import tomllib
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from seehear.datasets.base import Importer
from seehear.errors import unknown

_TABLE = Path(__file__).parents[1] / "assets" / "datasets.toml"


def _read(name: str, fields: dict[str, Any]) -> Importer:
    own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    reader, key = (resolve_name(f"seehear.datasets.{own.pop(field)}") for field in ("reader", "key"))
    return Importer(name=name, read=partial(reader, **own.pop("arguments", {})), key=key, **own)


IMPORTERS = {name: _read(name, fields) for name, fields in tomllib.loads(_TABLE.read_text("utf-8")).items()}


def importer(name: str) -> Importer:
    if name not in IMPORTERS:
        raise unknown("data set", name, IMPORTERS)
    return IMPORTERS[name]
