"""Every set that can be imported, by name: assets/datasets.toml, and the functions that read the sets' files."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from seehear.datasets import (
    actions,
    audioset,
    captioned_sounds,
    captioned_videos,
    crosstask,
    events,
    howto100m,
    pictures,
    sounds,
    talking,
)
from seehear.datasets.base import Importer, Items, by_folder, by_stem, by_youtube_id
from seehear.errors import unknown

_TABLE = Path(__file__).parents[2] / "assets" / "datasets.toml"
_KEYS = {"stem": by_stem, "folder": by_folder, "youtube id": by_youtube_id, "speaker": talking.by_speaker}
_READERS: dict[str, Callable[..., Items]] = {
    "flickr30k": pictures.flickr30k,
    "coco": pictures.coco,
    "audiocaps": partial(captioned_sounds.audiocaps, folder="dataset", version="v1"),
    "audiocaps-v2": partial(captioned_sounds.audiocaps, folder="dataset2.0", version="v2"),
    "clotho": captioned_sounds.clotho,
    "msrvtt": captioned_videos.msrvtt,
    "msrvtt-1ka": captioned_videos.msrvtt_1ka,
    "youcook2": captioned_videos.youcook2,
    "esc50": partial(sounds.esc50, only_esc10=False),
    "esc10": partial(sounds.esc50, only_esc10=True),
    "speech-commands": sounds.speech_commands,
    "audioset": partial(audioset.audioset, subsets=("balanced", "unbalanced", "eval")),
    "audioset-20k": partial(audioset.audioset, subsets=("balanced", "eval")),
    "vggsound": audioset.vggsound,
    "vggsounder": audioset.vggsounder,
    "kinetics400": partial(actions.kinetics, size="400"),
    "kinetics600": partial(actions.kinetics, size="600"),
    "kinetics700": partial(actions.kinetics, size="700"),
    "ucf101": actions.ucf101,
    "hmdb51": actions.hmdb51,
    "ave": events.ave,
    "llp": events.llp,
    "grid": talking.grid,
    "howto100m": howto100m.howto100m,
    "crosstask": crosstask.crosstask,
}


def _importer(name: str, fields: dict[str, Any]) -> Importer:
    keys = _KEYS[fields.pop("keys")]
    plain: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()}
    return Importer(name=name, read=_READERS[name], keys=keys, **plain)


IMPORTERS = {name: _importer(name, fields) for name, fields in tomllib.loads(_TABLE.read_text("utf-8")).items()}


def importer(name: str) -> Importer:
    if name not in IMPORTERS:
        raise unknown("data set", name, IMPORTERS)
    return IMPORTERS[name]
