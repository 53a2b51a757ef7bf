"""A small library of real media, with two runs and a file that browsers do not play."""

import json
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from seehear.folders.indexes import index_frozen
from seehear.inputs.latents import load_latents
from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.engines import EngineOptions
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from seehear.methods import tuning
from seehear.runs.config import LatentInputs
from seehear.runs.run import finish
from seehear.search import background
from seehear.search.background import calibrate_index
from seehear.search.calibrate import background_phrases
from seehear.search.index import build_index
from seehear.space import SharedSpace
from tests.small_media import film, films, hub_run, pictures, sounds, write_manifest

SOUNDS, PICTURES, CLIPS = 6, 45, 8
"""Sounds of each class; pictures and clips in all."""
TALK = "talk/morning.avi"
SECONDS = 6.0
TRAIN = "talk/train.mp4"
TOLD = [
    (0, 5, [{"text": "the lamps are lit one by one", "start": 1.0, "end": 3.0}]),
    (
        5,
        11,
        [
            {"text": "the last train leaves the station", "start": 7.5, "end": 9.0},
            {"text": "and the platform is empty", "start": 9.0, "end": 10.5},
        ],
    ),
]
"""Clips of one recording of 12 seconds, with what is said when."""
NIGHT = 'night <3 & "day"'
"""A label that a page must not take for markup."""


def build(folder: Path) -> Path:
    """`folder/lib`, its media in `folder/media`."""
    media = folder / "media"
    rows = [*sounds(media, SOUNDS), *pictures(media, PICTURES), *films(media, CLIPS, inside="clips")]
    (media / "talk").mkdir()
    film(media / TALK, "mpeg4", "mp3")
    rows = [row | {"start": "", "end": ""} for row in rows]
    rows.append(dict.fromkeys(rows[0], "") | {"video": TALK, "texts": "a square moves from left to right"})
    film(media / TRAIN, "libx264", "aac", seconds=12.0, colours=((230, 225, 210), (160, 30, 40)), pitch=900.0)
    for start, end, texts in TOLD:
        told = {"video": TRAIN, "start": start, "end": end, "texts": json.dumps(texts), "labels": NIGHT}
        rows.append(dict.fromkeys(rows[0], "") | told)
    write_manifest(media, rows)
    prepare(media / "manifest.csv", folder / "lib", PrepareOptions(workers=0))
    library = LibraryTables.open(folder / "lib")
    encode_library(library, ["efficientnet-lite0", "logmel", "minilm"], EngineOptions(workers=0), device="cpu")
    data = load_latents(library)
    for name, dim in (("early", 64), ("late", 256)):
        base = hub_run()
        wide = replace(base, method=replace(base.method, dim=dim))
        with patch.object(tuning, "FEW_CLIPS", 0):  # folds would take five times as long
            finish(LatentInputs(data), wide, folder / "runs" / name)
        space = SharedSpace.from_pretrained(folder / "runs" / name, device="cpu")
        build_index(library, space, name=name, model=str(folder / "runs" / name))
    # A tenth of the phrases will do, and costs a tenth.
    with patch.object(background, "background_phrases", lambda: background_phrases()[::10]):
        calibrate_index(library, space, "late")
        index_frozen(library, device="cpu")
    return folder / "lib"


@contextmanager
def client_of(library: str, cache: Path, **options):
    """A client of a server over a library, in this process."""
    from starlette.testclient import TestClient

    from seehear.serve.app import create_app
    from seehear.serve.config import ServeConfig

    config = ServeConfig(cache=cache, device="cpu", **options)
    with TestClient(create_app(str(library), config), base_url="http://127.0.0.1:8710") as client:
        yield client
