"""Every set that can be imported, by name."""

from __future__ import annotations

from seehear.data.importers import (
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
from seehear.data.importers.base import Importer
from seehear.errors import unknown

IMPORTERS: dict[str, Importer] = {
    importer.name: importer
    for importer in (
        pictures.FLICKR30K,
        pictures.COCO,
        captioned_sounds.AUDIOCAPS,
        captioned_sounds.AUDIOCAPS_V2,
        captioned_sounds.CLOTHO,
        captioned_videos.MSRVTT,
        captioned_videos.MSRVTT_1KA,
        captioned_videos.YOUCOOK2,
        sounds.ESC50,
        sounds.ESC10,
        sounds.SPEECH_COMMANDS,
        audioset.AUDIOSET,
        audioset.AUDIOSET_20K,
        audioset.VGGSOUND,
        audioset.VGGSOUNDER,
        actions.KINETICS400,
        actions.KINETICS600,
        actions.KINETICS700,
        actions.UCF101,
        actions.HMDB51,
        events.AVE,
        events.LLP,
        talking.GRID,
        howto100m.HOWTO100M,
        crosstask.CROSSTASK,
    )
}


def importer(name: str) -> Importer:
    if name not in IMPORTERS:
        raise unknown("data set", name, IMPORTERS)
    return IMPORTERS[name]
