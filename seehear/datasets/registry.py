"""Data sets that can be imported, by name: assets/datasets.toml with the functions that read their files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from seehear.datasets import captioned, howto100m, labelled
from seehear.datasets.base import Importer, Items, by_folder, by_number, by_stem, by_youtube_id
from seehear.errors import unknown

_TABLE = Path(__file__).parents[1] / "assets" / "datasets.toml"
_KEYS: dict[str, Callable[[str], str]] = {
    "stem": by_stem,
    "number": by_number,
    "folder": by_folder,
    "youtube id": by_youtube_id,
    "speaker": captioned.by_speaker,
}
# Names and texts of the sets are data, in the table; the functions that read their files are code, here.
_READERS: dict[str, Callable[..., Items]] = {
    "flickr30k": captioned.flickr30k,
    "coco": captioned.coco,
    "audiocaps": partial(captioned.audiocaps, folder="dataset", version="v1"),
    "audiocaps-v2": partial(captioned.audiocaps, folder="dataset2.0", version="v2"),
    "clotho": captioned.clotho,
    "msrvtt": captioned.msrvtt,
    "msrvtt-1ka": captioned.msrvtt_1ka,
    "youcook2": captioned.youcook2,
    "esc50": partial(labelled.esc50, only_esc10=False),
    "esc10": partial(labelled.esc50, only_esc10=True),
    "speech-commands": labelled.speech_commands,
    "audioset": partial(labelled.audioset, subsets=("balanced", "unbalanced", "eval")),
    "audioset-20k": partial(labelled.audioset, subsets=("balanced", "eval")),
    "vggsound": labelled.vggsound,
    "vggsounder": labelled.vggsounder,
    "kinetics400": partial(labelled.kinetics, size="400"),
    "kinetics600": partial(labelled.kinetics, size="600"),
    "kinetics700": partial(labelled.kinetics, size="700"),
    "ucf101": labelled.ucf101,
    "hmdb51": labelled.hmdb51,
    "ave": labelled.ave,
    "llp": labelled.llp,
    "grid": captioned.grid,
    "howto100m": howto100m.howto100m,
    "crosstask": howto100m.crosstask,
}


IMPORTERS: dict[str, Importer] = {}
for _name, _fields in tomllib.loads(_TABLE.read_text("utf-8")).items():
    _own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in _fields.items()}
    IMPORTERS[_name] = Importer(name=_name, read=_READERS[_name], **_own | {"key": _KEYS[_fields["key"]]})


def importer(name: str) -> Importer:
    if name not in IMPORTERS:
        raise unknown("data set", name, IMPORTERS)
    return IMPORTERS[name]
