"""Clips and their features from one pickle: a list of {"id", "2d", "3d", "audio", "caption" or "eval_caption"}, as
YouCook2 and MSR-VTT are handed on by the code of HowTo100M and what grew out of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from seehear.datasets.base import Bad, Importer, ImportOptions, Item, Items
from seehear.datasets.feature_files import FeatureFile
from seehear.datasets.files import Files, captions
from seehear.datasets.media import Found
from seehear.datasets.pickles import read_pickle
from seehear.errors import SeehearError

PICKLES = (".pkl", ".pickle")
_KINDS = {"_2d": ("2d", "2d_pooled"), "_3d": ("3d", "3d_pooled"), "_spec": ("audio",)}


def pickle_of(path: Path, options: ImportOptions) -> Any:
    """What a pickle holds, where the user has said that pickles are to be read."""
    if not options.pickles:
        raise SeehearError(f"{path}: is a pickle; --pickles reads it, without running what it says")
    return read_pickle(path)


class PickledFeatures:
    """The whole of it is in memory."""

    def __init__(self, path: Path, wanted: Importer, options: ImportOptions):
        if not path.is_file():
            raise SeehearError(f"{path}: there is no such file")
        records = pickle_of(path, options)
        if not isinstance(records, list) or not all(isinstance(r, dict) and "id" in r for r in records):
            raise SeehearError(f"{path}: expected a list of {{id, 2d, 3d, audio, caption}}; got {_shown(records)}")
        self.path, self.folder, self._wanted = path, path.parent, wanted
        self._split = options.splits[0] if options.splits else "test"
        self._records: dict[str, dict[str, Any]] = {}
        for record in records:
            name = str(record["id"])
            self._records[name if name not in self._records else f"{name}#{len(self._records)}"] = record

    def __len__(self) -> int:
        return len(self._records)

    def locate(self, item: Item) -> Found | None:
        return Found(name=item.keys[0], cut_out=True) if item.keys[0] in self._records else None

    def files(self, base: str) -> dict[str, FeatureFile]:
        record = self._records[base]
        found = {}
        for kind, names in _KINDS.items():
            array = next((record[n] for n in names if isinstance(record.get(n), np.ndarray)), None)
            if array is not None:
                found[kind] = FeatureFile(f"{self.path}: {base}{kind}", np.atleast_2d(array))
        return found

    def instead(self, wanted: Importer) -> Importer:
        return replace(wanted, read=self._read)

    def close(self) -> None:
        self._records = {}

    def _read(self, files: Files, options: ImportOptions) -> Items:
        files.notes.append(f"clips and captions are those of {self.path.name}, all of the split {self._split!r}")
        for place, (name, record) in enumerate(self._records.items(), start=1):
            try:
                said = record.get("eval_caption") or record.get("caption") or ""
                texts = captions(*(said if isinstance(said, list | tuple) else [said]))
                group = next(iter(self._wanted.keys(name)), name)
                yield Item(
                    keys=(name,), id=name, split=self._split, group=group, texts=texts, table=self.path.name, line=place
                )
            except SeehearError as error:
                yield Bad(table=self.path.name, line=place, reason=str(error))


def _shown(value: Any) -> str:
    inside = next(iter(value), None) if isinstance(value, list | dict) else None
    return type(value).__name__ + (f" of {type(inside).__name__}" if inside is not None else "")
