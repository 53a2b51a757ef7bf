"""Sounds and pictures that text joins, four folds: `python benchmarks/demo_folds.py --work DIR`.

Sounds with their titles (ESC-10), pictures with their names (emoji) and some talking clips, of ../shared/data. Sounds
and pictures are never paired in training: both are paired with text, the hub. Measured: naming a sound, text ->
picture, text -> sound, and, through the hub, sound -> picture. Every sound is scored by the model of the fold that
held its recording out (ESC-10's official folds). Sound -> picture is measured twice: with the pictures of the sounds'
classes in the training set beside their names, as in a library of one's own, and with those held out as well. The
table of docs/methods/fusemix.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import hub_media
import numpy as np
from common import write

from seehear.evaluation.bootstrap import mean_interval
from seehear.evaluation.embedded import Embedder, embed_latents
from seehear.evaluation.retrieval import retrieval
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.encode import encode_library
from seehear.library.prepare import prepare
from seehear.library.tables import Clip, LibraryTables
from seehear.methods.fusemix import FuseMixConfig
from seehear.nn.random import seed_of
from seehear.recipes import fusemix
from seehear.runs.config import LatentInputs, LatentsConfig, Run
from seehear.runs.run import finish
from seehear.space import SharedSpace
from seehear.types import Modality

DATA = Path(os.environ.get("SEEHEAR_DATA", "../shared/data"))
PAIRS: tuple[tuple[Modality, Modality], ...] = (("video", "text"), ("audio", "text"))
_PICTURE_OF_TEXT, _SOUND_OF_TEXT = "text -> picture: its own in the first 10", "text -> sound: its own in the first 10"
_TEST_FOLD = "4"  # of the library's own splits
_SHARE_OF_VAL = 0.15  # of the recordings outside a held-out fold


@dataclass(frozen=True)
class Score:
    """One thing measured; shares in [0, 1]."""

    what: str
    learned: float
    interval: tuple[float, float]
    """95 %, by resampling source recordings."""
    closed_form: float
    chance: float
    queries: int

    def __str__(self) -> str:
        low, high = self.interval
        learned = f"{100 * self.learned:5.1f} % [{100 * low:.0f}-{100 * high:.0f}]"
        rest = f"{100 * self.closed_form:11.1f} %{100 * self.chance:7.1f} %{self.queries:9}"
        return f"  {self.what:<56}{learned:>17}{rest}"


def table(scores: Sequence[Score]) -> str:
    head = f"  {'':<56}{'learned':>17}{'closed form':>13}{'chance':>9}{'queries':>9}"
    return "\n".join([head, *map(str, scores)])


def make_library(work: Path, data: Path = DATA) -> LibraryTables:
    """The library of the media; what is there already is not done again, nor by `train`."""
    prepare(hub_media.make(data, work / "media"), work / "library")
    library = LibraryTables.open(work / "library")
    encode_library(library)
    return library


def train(library: LibraryTables, folder: Path) -> None:
    """The run of the library's own splits."""
    finish(LatentInputs(load_latents(library), library=str(Path(library.uri).resolve())), run(), folder)


def run() -> Run[LatentsConfig, FuseMixConfig]:
    """`fusemix.base` with text as the hub and the linear head alone: as good on so few clips, and much faster."""
    base = fusemix.base()
    training = replace(base.train, epochs=60, evaluations=12, patience=4)
    return replace(base, recipe="hub", method=replace(base.method, pairs=PAIRS, head="linear"), train=training)


# -- measured ----------------------------------------------------------------------------------------------------------


def measure(
    data: LatentData, clips: Mapping[str, Clip], folder: Path, *, ready: Mapping[str, Path] | None = None
) -> list[Score]:
    """Train twice a fold and score what each held out. `ready`: runs of the library's own splits, by fold."""
    folds = sorted({c.meta["fold"] for c in clips.values() if c.meta.get("fold")})
    known = [
        _fold(data, clips, fold, (ready or {}).get(fold) or folder / f"{fold}-known", held_out=False) for fold in folds
    ]
    unseen = [_fold(data, clips, fold, folder / f"{fold}-unseen", held_out=True) for fold in folds]
    scores = []
    for what in known[0]:
        if what == _PICTURE_OF_TEXT:  # the same pictures are held out in every fold
            scores.append(_score(what, unseen[:1], what))
        elif what.startswith("sound -> picture"):
            scores.append(_score(f"{what}, known by name", known, what))
            scores.append(_score(f"{what}, never seen", unseen, what))
        else:
            scores.append(_score(what, known, what))
    return scores


def _score(name: str, found: list[Found], what: str) -> Score:
    learned, closed, chance, groups = (np.concatenate([f[what][i] for f in found]) for i in range(4))
    interval = mean_interval(learned, groups.tolist())
    return Score(name, float(learned.mean()), interval, float(closed.mean()), float(chance.mean()), len(learned))


Found = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]
"""What was asked -> for each query: right by the learned space, right by the closed form, chance, source recording."""


def _fold(data: LatentData, clips: Mapping[str, Clip], fold: str, folder: Path, *, held_out: bool) -> Found:
    own = [clips[name] for name in data.ids]
    splits = np.array([_split(clip, fold, held_out=held_out) for clip in own], dtype=object)
    part = LatentData(data.rows, ids=data.ids, splits=splits, groups=data.groups)
    finish(LatentInputs(part), run(), folder)
    space = SharedSpace.from_pretrained(folder)
    closed = fusemix.start_of(run().method, part)
    learned_hits, closed_hits = _ask(space, part, own), _ask(closed, part, own)
    return {what: (hits, closed_hits[what][0], chance, groups) for what, (hits, chance, groups) in learned_hits.items()}


def _split(clip: Clip, fold: str, *, held_out: bool) -> str:
    if not clip.meta.get("fold"):
        return "test" if held_out and _shown(clip) else clip.split
    if clip.meta["fold"] == fold:
        return "test"
    if fold == _TEST_FOLD:
        return clip.split
    return "val" if seed_of(clip.group, fold) / 2**63 < _SHARE_OF_VAL else "train"


def _ask(model: Embedder, data: LatentData, clips: list[Clip]) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """For each question, per query: whether it was answered, chance, source recording."""
    vectors = {m: e.one_each() for m, e in embed_latents(model, data).items()}
    row = {m: {int(clip): i for i, clip in enumerate(e.owner)} for m, e in vectors.items()}
    sounds = [i for i, c in enumerate(clips) if c.labels and data.splits[i] == "test"]
    pictures = [i for i, c in enumerate(clips) if c.source.startswith("pictures/")]
    labels = [clips[i].labels[0] for i in sounds]
    heard = vectors["audio"].vectors[[row["audio"][i] for i in sounds]]
    seen = vectors["video"].vectors[[row["video"][i] for i in pictures]]
    group = np.array([clips[i].group for i in sounds])

    found = {"a sound is named, of 10 classes": _named(model, data, heard, labels, group)}
    shows = [_shown(clips[i]) or clips[i].id for i in pictures]
    asked = [i for i, label in enumerate(labels) if label in shows]
    ranked = retrieval(heard[asked], seen, [labels[i] for i in asked], shows)
    classes = sorted({labels[i] for i in asked})
    best = np.stack([(heard[asked] @ seen[[s == c for s in shows]].T).max(axis=1) for c in classes], axis=1)
    right = np.array([classes[k] == labels[i] for k, i in zip(best.argmax(axis=1), asked, strict=True)], float)
    chance = np.full(len(asked), 1 / len(classes))
    found[f"sound -> picture: right class, of {len(classes)}"] = right, chance, group[asked]
    first = ranked.per_query["R@10"]
    what = f"sound -> picture: in the first 10 of {len(pictures):,}"
    found[what] = first, np.full(len(first), ranked.chance["R@10"]), group[asked]
    return found | _texts(vectors, data, clips)


def _named(
    model: Embedder, data: LatentData, heard: np.ndarray, labels: list[str], group: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    names = sorted(set(labels))
    spoken = _class_vectors(model, data, names)
    right = np.array([names[k] == label for k, label in zip((heard @ spoken.T).argmax(axis=1), labels, strict=True)])
    return right.astype(float), np.full(len(right), 1 / len(names)), group


def _class_vectors(model: Embedder, data: LatentData, names: list[str]) -> np.ndarray:
    import torch

    from seehear.encoders.base import Sample
    from seehear.encoders.registry import load_encoder

    encoder = load_encoder(data.encoders["text"][0]["name"])
    prepare_text = encoder.preparation()
    latents = torch.from_numpy(encoder.encode([prepare_text(Sample(text=name)) for name in names]).astype(np.float32))
    batch = {"text": latents, "has_text": torch.ones(len(names), dtype=torch.bool)}
    return model.embed(batch)["text"].float().cpu().numpy()


def _texts(
    vectors: Mapping[Modality, Any], data: LatentData, clips: list[Clip]
) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Held-out texts to their own pictures and sounds."""
    found = {}
    for m, folder, what in (("video", "pictures/", _PICTURE_OF_TEXT), ("audio", "sounds/", _SOUND_OF_TEXT)):
        source = [c.source if m == "video" else (c.audio_source or c.source) for c in clips]
        test = {i for i in range(len(clips)) if source[i].startswith(folder) and data.splits[i] == "test"}
        rows = [i for i in sorted(test) if i in set(vectors[m].owner.tolist())]
        place = {x: {int(c): k for k, c in enumerate(vectors[x].owner)} for x in (m, "text")}
        query = vectors["text"].vectors[[place["text"][i] for i in rows]]
        gallery = vectors[m].vectors[[place[m][i] for i in rows]]
        result = retrieval(query, gallery, rows, rows)
        first = result.per_query["R@10"]
        found[what] = first, np.full(len(first), result.chance["R@10"]), np.array([clips[i].group for i in rows])
    return found


def _shown(clip: Clip) -> str:
    """The class of sounds that a picture shows; '' for most."""
    return _PICTURES.get(clip.source, "")


_PICTURES = {f"pictures/{i}.jpg": label for label, ids in hub_media.PICTURES_OF.items() for i in ids}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the library and the runs")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    library, run_folder = make_library(given.work, given.data), given.work / "run"
    train(library, run_folder)
    clips = {clip.id: clip for clip in library.clips()}
    scores = measure(load_latents(library), clips, given.work / "folds", ready={_TEST_FOLD: run_folder})
    print(table(scores))
    write("demo_folds", {"scores": [asdict(score) for score in scores]}, given.out)


if __name__ == "__main__":
    main()
