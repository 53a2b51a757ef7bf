"""Data sets that can be imported, by name: assets/datasets.toml with the functions that read their files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from seehear.datasets import captioned_videos, howto100m, pictures, sounds
from seehear.datasets.base import Importer, Items, by_folder, by_stem, by_youtube_id
from seehear.errors import unknown

_TABLE = Path(__file__).parents[1] / "assets" / "datasets.toml"
_KEYS = {"stem": by_stem, "folder": by_folder, "youtube id": by_youtube_id, "speaker": captioned_videos.by_speaker}
# Names and texts of the sets are data, in the table; the functions that read their files are code, here.
_READERS: dict[str, Callable[..., Items]] = {
    "flickr30k": pictures.flickr30k,
    "coco": pictures.coco,
    "audiocaps": partial(sounds.audiocaps, folder="dataset", version="v1"),
    "audiocaps-v2": partial(sounds.audiocaps, folder="dataset2.0", version="v2"),
    "clotho": sounds.clotho,
    "msrvtt": captioned_videos.msrvtt,
    "msrvtt-1ka": captioned_videos.msrvtt_1ka,
    "youcook2": captioned_videos.youcook2,
    "esc50": partial(sounds.esc50, only_esc10=False),
    "esc10": partial(sounds.esc50, only_esc10=True),
    "speech-commands": sounds.speech_commands,
    "audioset": partial(sounds.audioset, subsets=("balanced", "unbalanced", "eval")),
    "audioset-20k": partial(sounds.audioset, subsets=("balanced", "eval")),
    "vggsound": sounds.vggsound,
    "vggsounder": sounds.vggsounder,
    "kinetics400": partial(captioned_videos.kinetics, size="400"),
    "kinetics600": partial(captioned_videos.kinetics, size="600"),
    "kinetics700": partial(captioned_videos.kinetics, size="700"),
    "ucf101": captioned_videos.ucf101,
    "hmdb51": captioned_videos.hmdb51,
    "ave": sounds.ave,
    "llp": sounds.llp,
    "grid": captioned_videos.grid,
    "howto100m": howto100m.howto100m,
    "crosstask": howto100m.crosstask,
}


IMPORTERS: dict[str, Importer] = {}
for _name, _fields in tomllib.loads(_TABLE.read_text("utf-8")).items():
    _own: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in _fields.items()}
    IMPORTERS[_name] = Importer(name=_name, read=_READERS[_name], **_own | {"keys": _KEYS[_fields["keys"]]})


def importer(name: str) -> Importer:
    if name not in IMPORTERS:
        raise unknown("data set", name, IMPORTERS)
    return IMPORTERS[name]
