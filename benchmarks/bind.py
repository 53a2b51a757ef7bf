"""Words to sounds that no text describes: `fusemix.bind` on pictures and sounds of one class put together.

    python benchmarks/bind.py --work /tmp/bind            # makes the library as far as it is not there, then four folds

Each sound of ESC-10 has a picture of its class beside it (3D emoji and drawings, drawn by its name): a clip of one
second or five, and no text anywhere. Sounds are bound to the pictures in the space of the packaged word tower; then the
nine class names are looked for among sounds of recordings that were held out (ESC-10's folds, pooled). "with titles" is
the same learned from the titles that the authors gave their sounds as well: the upper bound.

    python benchmarks/bind.py --signals

asks which score of validation clips, without any text, would choose between the closed form and the trained model.

    python benchmarks/bind.py --home LIBRARY --half choose   # a library that benchmarks/home.py made, copied

binds the sounds of 41 films to what is seen in them, and asks the queries of the kind 'heard' before and after. What is
learned and indexed stays in the library.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import home
import numpy as np
import torch
from common import write

from seehear.encoders.base import Sample
from seehear.encoders.registry import load_encoder
from seehear.evaluation.bootstrap import mean_interval
from seehear.evaluation.embedded import Embedder
from seehear.folders.find import open_library
from seehear.folders.indexes import index_run
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.clips import PrepareOptions
from seehear.library.encode import encode_library
from seehear.library.prepare import prepare
from seehear.library.tables import LibraryTables
from seehear.progress import hushed
from seehear.recipes.fusemix import start_of
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.run import train_on, train_run
from seehear.search.calibrate import background_phrases
from seehear.space import SharedSpace
from seehear.space.frozen import Towers, joint_towers

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data")).resolve()
EMOJI, DRAWN = "emoji3d/images/{}.jpg", "art4apps/images/{}.jpg"
PICTURES = {
    "chainsaw": (("1fa9a",), ()),
    "clock_tick": (("1f55b", "231a"), ("clock", "alarmclock")),
    "crackling_fire": (("1f525",), ("fire", "fireplace")),
    "crying_baby": (("1f476",), ("cry",)),
    "dog": (("1f436", "1f415", "1f415-200d-1f9ba"), ("dog", "puppy")),
    "helicopter": (("1f681",), ()),
    "rain": (("2614",), ("rain",)),
    "rooster": (("1f414",), ("rooster", "hen")),
    "sea_waves": (("1f30a",), ("wave", "sea", "ocean")),
}
"""Emoji and drawings by class of sound; there is none of sneezing."""
WORDS = "wordtower#modality=text"


# -- sounds with pictures ----------------------------------------------------------------------------------------------


def make_library(folder: Path) -> LibraryTables:
    """Clips of a picture and a sound, with no text."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ("id", "image", "audio", "labels", "group", "title", "fold")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows())
    prepare(folder / "manifest.csv", folder / "library", PrepareOptions(media=Path("/")))
    library = LibraryTables.open(folder / "library")
    encode_library(library, ("efficientnet-lite0", "wordtower", "aisfx"))
    return library


def rows() -> Iterator[dict[str, str]]:
    with (DATA / "esc10" / "metadata.csv").open(newline="", encoding="utf-8") as file:
        for r in csv.DictReader(file):
            if r["label"] in PICTURES:
                emoji, drawn = PICTURES[r["label"]]
                own = [*map(EMOJI.format, emoji), *map(DRAWN.format, drawn)]
                picture = own[int(hashlib.sha256(r["file"].encode()).hexdigest(), 16) % len(own)]
                clip = {"id": r["file"], "image": str(DATA / picture), "audio": str(DATA / "esc10" / r["file"])}
                title = " ".join(re.findall(r"[a-z]+", Path(r["freesound_title"]).stem.lower()))
                clip |= {"labels": r["label"].replace("_", " "), "group": r["freesound_url"]}
                yield clip | {"title": title, "fold": r["fold"]}


def words(texts: list[str]) -> np.ndarray:
    encoder = load_encoder(WORDS)
    return encoder.encode([encoder.prepare(Sample(text=text)) for text in texts]).astype(np.float16)


@dataclass(frozen=True)
class Fold:
    silent: LatentData
    """Pictures and sounds; the fold is its test split."""
    titled: LatentData
    """With titles, of training and validation clips."""
    locked: Towers


def folds(library: LibraryTables) -> Iterator[Fold]:
    clips = {clip.id: clip for clip in library.clips()}
    silent = load_latents(library, encoders={"video": ["wordtower#modality=video"], "audio": ["aisfx"]})
    own = [clips[i] for i in silent.ids.tolist()]
    locked = joint_towers(library)
    titles = words([clip.meta.get("title", "sound") for clip in own])
    for fold in sorted({clip.meta["fold"] for clip in own}):
        share = {clip.group: random.Random(f"{clip.group} {fold}").random() for clip in own}
        splits = ["test" if c.meta["fold"] == fold else "val" if share[c.group] < 0.15 else "train" for c in own]
        said = np.flatnonzero(np.array(splits) != "test")
        arrays: dict[str, Any] = {"video": silent.every("video"), "audio": silent.every("audio")}
        made = {"ids": silent.ids, "splits": splits, "groups": silent.groups}
        towers = dict(silent.encoders)
        titled = LatentData.from_arrays(
            arrays | {"text": titles[said]},
            owner={"text": said},
            encoders=towers | {"text": tuple(locked["text"])},
            **made,
        )
        yield Fold(LatentData.from_arrays(arrays, encoders=towers, **made), titled, locked)


Model = Callable[[Fold, Path], Embedder]


def closed(fold: Fold, work: Path, *, titles: bool = False) -> Embedder:
    data = fold.titled if titles else fold.silent
    return start_of(recipe("fusemix.bind").method, data, locked=fold.locked)


def trained(fold: Fold, work: Path, *, titles: bool = False) -> Embedder:
    run = recipe("fusemix.bind")
    run = replace(run, train=replace(run.train, device="cpu", fast_matmul=False))
    inputs = LatentInputs(fold.titled if titles else fold.silent, locked=fold.locked)
    train_on(inputs, run, work)
    return SharedSpace.from_pretrained(work, device="cpu")


MODELS: dict[str, Model] = {
    "closed form": closed,
    "fusemix.bind": trained,
    "closed form, with titles": lambda fold, work: closed(fold, work, titles=True),
    "fusemix.bind, with titles": lambda fold, work: trained(fold, work, titles=True),
}


def sounds(library: LibraryTables, work: Path) -> dict[str, Any]:
    clips = {clip.id: clip for clip in library.clips()}
    names = sorted({clip.labels[0] for clip in clips.values()})
    vectors = torch.from_numpy(words(names)).float()
    scores: dict[str, list[np.ndarray]] = {}
    order: list[str] = []
    for number, fold in enumerate(folds(library)):
        test = fold.silent.split("test")
        order += test.ids.tolist()
        pictures = torch.nn.functional.normalize(test.every("video").float(), dim=1)
        scores.setdefault("pictures themselves", []).append(
            (pictures @ torch.nn.functional.normalize(vectors, dim=1).T).numpy()
        )
        for name, make in MODELS.items():
            with hushed():
                model = make(fold, work / f"{name} {number}".replace(" ", "-").replace(",", ""))
            batch = {"audio": test.every("audio").float(), "text": vectors}
            found = model.embed(batch)
            scores.setdefault(name, []).append((found["audio"] @ found["text"].T).float().numpy())
    truth = np.array([names.index(clips[i].labels[0]) for i in order])
    groups = np.unique([clips[i].group for i in order], return_inverse=True)[1]
    sizes = [len(part) for part in scores["pictures themselves"]]
    found = {name: measures(np.concatenate(own), truth, groups, sizes) for name, own in scores.items()}
    return {"sounds": len(truth), "recordings": int(groups.max()) + 1, "classes": names, "chance": 1 / 9} | found


def measures(scores_NC: np.ndarray, truth: np.ndarray, groups: np.ndarray, sizes: list[int]) -> dict[str, Any]:
    """Share of sounds whose class's name is the nearest of the names, with a 95 % interval over recordings; mean
    average precision of the names as queries among the sounds of a fold."""
    right = (scores_NC.argmax(1) == truth).astype(float)
    precision = []
    for at, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        part, own = scores_NC[at : at + size], truth[at : at + size]
        for c in range(scores_NC.shape[1]):
            hits = (own == c)[np.argsort(-part[:, c], kind="stable")]
            precision.append((np.cumsum(hits) / np.arange(1, size + 1))[hits].mean())
    interval = [round(bound, 3) for bound in mean_interval(right, groups)]
    return {"named": round(float(right.mean()), 3), "interval": interval, "mAP": round(float(np.mean(precision)), 3)}


# -- what could choose without text ------------------------------------------------------------------------------------


def signals(library: LibraryTables, work: Path) -> dict[str, dict[str, float]]:
    """Scores of the folds' validation clips, pooled: of sounds against their own pictures, and against what the words
    of the joint encoder say of these. The words are the phrases that search is calibrated by. Last the truth, which
    no training has: the share of sounds whose class is named."""
    clips = {clip.id: clip for clip in library.clips()}
    names = sorted({clip.labels[0] for clip in clips.values()})
    bank, classes = (torch.from_numpy(words(texts)).float() for texts in (background_phrases(), names))
    found: dict[str, dict[str, list[np.ndarray]]] = {}
    for number, fold in enumerate(folds(library)):
        val = fold.silent.split("val")
        truth = torch.tensor([names.index(clips[i].labels[0]) for i in val.ids.tolist()])
        for name in ("closed form", "fusemix.bind"):
            with hushed():
                model = MODELS[name](fold, work / f"{name} {number}".replace(" ", "-"))
            batch = {m: val.every(m).float() for m in ("audio", "video")}
            z = model.embed(batch | {"text": torch.cat([bank, classes])})
            audio, video, phrases, own = z["audio"], z["video"], z["text"][: len(bank)], z["text"][len(bank) :]
            best = (video @ phrases.T).argmax(1)
            measured = {
                "own picture": _found(audio @ video.T, torch.arange(len(audio))),
                "phrase of its picture, among those of all": _found(audio @ phrases[best].T, torch.arange(len(audio))),
                "phrase of its picture, among 1,000": _found(audio @ phrases.T, best),
                "likeness of both rankings of phrases": _alike(audio @ phrases.T, video @ phrases.T),
                "class": (audio @ own.T).argmax(1) == truth,
            }
            for what, values in measured.items():
                found.setdefault(name, {}).setdefault(what, []).append(values.float().numpy())
    return {name: {k: round(float(np.concatenate(v).mean()), 3) for k, v in own.items()} for name, own in found.items()}


def _found(similar_NG: torch.Tensor, right_N: torch.Tensor) -> torch.Tensor:
    """(N,) reciprocal rank; of equally near ones the middle place."""
    own_N1 = similar_NG.gather(1, right_N[:, None])
    above, level = (similar_NG > own_N1 + 1e-6).sum(1), ((similar_NG - own_N1).abs() <= 1e-6).sum(1)
    return 1 / (above + (level + 1) / 2)


def _alike(one_NP: torch.Tensor, other_NP: torch.Tensor) -> torch.Tensor:
    """(N,) correlation of what each clip has more of than all clips do."""
    centred = [x - x.mean(0) for x in (one_NP, other_NP)]
    return torch.cosine_similarity(*(x - x.mean(1, keepdim=True) for x in centred), dim=1)


# -- films of one's own ------------------------------------------------------------------------------------------------


def films(library: LibraryTables, half: str, work: Path) -> dict[str, Any]:
    """The queries of 'heard', by what is heard alone and by all, before and after the sounds are bound."""
    wanted = home.queries(half)

    def scores() -> dict[str, Any]:
        searcher = open_library(library)
        return {name: home.score(home.asked(searcher, wanted, kinds)) for name, kinds in _CHANNELS.items()}

    found: dict[str, Any] = {"before": scores()}
    run = recipe("fusemix.bind")
    result = train_run(library, replace(run, train=replace(run.train, device="cpu", fast_matmul=False)), work / "home")
    index_run(library, work / "home", name="bind", device="cpu")
    found["after"] = scores()
    return found | {"best step": result.best_step, "half": half}


_CHANNELS: dict[str, tuple[str, ...]] = {"heard": ("heard",), "all": ()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("/tmp/bind-benchmark"))
    parser.add_argument("--signals", action="store_true", help="scores that could choose a model without any text")
    parser.add_argument("--home", help="a library of ../shared/data/home, to bind instead")
    parser.add_argument("--half", choices=("choose", "report"), default="choose")
    options = parser.parse_args()
    if options.home:
        found = films(LibraryTables.open(options.home), options.half, options.work)
        for when in ("before", "after"):
            print(when, {name: {k: own.get(k) for k in ("heard", "seen", "all")} for name, own in found[when].items()})
        if options.half == "report":
            write("bind-home", found, None)
        return
    if options.signals:
        for name, own in signals(make_library(options.work), options.work / "runs").items():
            print(name, own)
        return
    found = sounds(make_library(options.work), options.work / "runs")
    for name, own in found.items():
        print(name, own)
    write("bind", found, None)


if __name__ == "__main__":
    main()
