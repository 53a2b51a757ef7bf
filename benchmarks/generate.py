"""Pictures painted from held-out sounds, told apart by a frozen encoder: `python benchmarks/generate.py --work DIR`.

The library of `demo_folds.py` (in DIR, made if it is not there), two runs, and for each a painter that learns from the
training clips:

    learned space   the run of `demo_folds.py`: sounds, pictures and words all have heads
    fixed space     the route of the paper: `fusemix.bind` trains a head for sounds alone, from the sounds' titles, into
                    the space of the packaged word tower, and the painter is told in that space

Test sounds of the classes that `hub_media.PICTURES_OF` has pictures for are painted; the class of a painted picture is
that of the real picture nearest to it by latents of the frozen picture encoder, among those classes'
pictures alone. These pictures are in the training split, as in a library of one's own; the sounds are not, and sounds
and pictures were never paired.

    sound        a test sound's vector, carried to the place of a picture
    mismatched   the same painted pictures, asked for the class of another test sound
    text         the class's name, several times with other noise
    picture      a real picture's own vector: what the painter can do at best
    retrieved    no painting: the library's nearest picture of those classes to the sound

Chance is one in the number of classes; intervals of 95 % are over source recordings. Guidance and the number of steps
are the command's defaults; nothing was chosen by these sounds.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from common import write
from demo_folds import make_library, train
from hub_media import PICTURES_OF
from PIL import Image

from seehear.downstream.generate import Generated, GenerateOptions, draw_grid, generate
from seehear.downstream.painting import FOLDER, PainterOptions, learn_painter, load_painter, placed, to_pictures
from seehear.encoders.base import Sample
from seehear.encoders.registry import load_encoder
from seehear.evaluation.bootstrap import mean_interval
from seehear.evaluation.embedded import unit
from seehear.library.encode import encode_library
from seehear.library.tables import LibraryTables
from seehear.media.files import VideoSpec, read_window
from seehear.methods.painter import Painter
from seehear.runs.config import recipe
from seehear.runs.run import train_run
from seehear.space import SharedSpace
from seehear.train.files import has_model
from seehear.types import Tensor

DEFAULTS = GenerateOptions()
SHOWN = ("dog", "crackling fire", "sea waves", "helicopter")
FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "generate.png"
Row = dict[str, Any]


class Judge:
    """Which class's pictures a picture looks like most. All are seen as small as they are painted, and enlarged."""

    def __init__(self, media: Path, pictures: Sequence[str], classes: Sequence[str], *, size: int):
        self.encoder, self.classes = load_encoder("efficientnet-lite0", device="cpu"), np.array(classes)
        spec = VideoSpec(num_frames=1, size=(size, size), fit="crop")
        windows = [read_window(media / p, 0.0, 0.0, video=spec) for p in pictures]
        self.real = self._latents(np.concatenate([w.frames for w in windows if w.frames is not None]))

    def __call__(self, painted: np.ndarray) -> np.ndarray:
        return self.classes[(self._latents(painted) @ self.real.T).argmax(axis=1)]

    def _latents(self, pictures: np.ndarray) -> np.ndarray:
        prepare, found = self.encoder.preparation(), []
        with TemporaryDirectory() as folder:
            for at in range(0, len(pictures), 16):
                paths = [f"{folder}/{at + i}.png" for i in range(len(pictures[at : at + 16]))]
                for path, picture in zip(paths, pictures[at : at + 16], strict=True):
                    Image.fromarray(picture).resize((128, 128), Image.Resampling.BICUBIC).save(path)
                found.append(self.encoder.encode([prepare(Sample(path=path)) for path in paths]))
        return unit(np.concatenate(found))


def accuracy(right: np.ndarray, groups: Sequence[str], classes: int) -> Row:
    low, high = mean_interval(right.astype(float), groups)
    found = {"right": float(right.mean()), "low": low, "high": high, "chance": 1 / classes}
    return found | {"pictures": len(right), "recordings": len(set(groups))}


def measure(run: Path, library: LibraryTables, *, n: int, told: dict[str, Any], split: str = "test") -> dict[str, Row]:
    space = SharedSpace.from_pretrained(run, device="cpu")
    painter, known = load_painter(run, space), placed(space, library)
    carrier = to_pictures(known)
    shown = [(f"pictures/{i}.jpg", label) for label, ids in PICTURES_OF.items() for i in ids]
    media, classes = Path(library.uri).parent / "media", list(PICTURES_OF)
    judge = Judge(media, [p for p, _ in shown], [c for _, c in shown], size=painter.config.size)

    heard, seen = known.vectors["audio"].one_each(), known.vectors["video"].one_each()
    own = [known.clips[i] for i in heard.owner]
    rows = [i for i, c in enumerate(own) if c.split == split and c.labels and c.labels[0] in classes]
    labels, groups = np.array([own[i].labels[0] for i in rows]), [own[i].group for i in rows]
    place = {known.clips[i].source: k for k, i in enumerate(seen.owner)}
    real_NE = seen.vectors[[place[p] for p, _ in shown]]

    def looks(vectors: Tensor, painter: Painter = painter) -> np.ndarray:
        return judge(painter.paint(vectors.repeat_interleave(n, dim=0), **told).numpy())

    as_picture = carrier({"audio": heard.vectors[rows]})
    found = looks(as_picture)
    others = another_class(labels)
    words = carrier({"text": space.encode(list(classes))}).repeat_interleave(4, dim=0)
    asked_words = np.repeat(classes, 4 * n)
    of_words, of_real = looks(words), looks(torch.from_numpy(real_NE))
    asked_real = np.repeat([c for _, c in shown], n)
    nearest = judge.classes[(as_picture.numpy() @ real_NE.T).argmax(axis=1)]
    return {
        "sound": accuracy(found == np.repeat(labels, n), np.repeat(groups, n).tolist(), len(classes)),
        "mismatched": accuracy(found == np.repeat(others, n), np.repeat(groups, n).tolist(), len(classes)),
        "text": accuracy(of_words == asked_words, asked_words.tolist(), len(classes)),
        "picture": accuracy(of_real == asked_real, np.repeat([p for p, _ in shown], n).tolist(), len(classes)),
        "retrieved": accuracy(nearest == labels, groups, len(classes)),
    }


def another_class(labels: np.ndarray) -> np.ndarray:
    """For each sound the class of another one, drawn among those of other classes."""
    rng = np.random.default_rng(0)
    return np.array([rng.choice(labels[labels != label]) for label in labels])


def figure(run: Path, library: LibraryTables, out: Path) -> None:
    """A test sound of each of some classes, and words."""
    sounds = {c.labels[0]: c for c in reversed(library.clips("split = 'test'")) if c.has_audio and c.labels}
    queries = [{"audio": str(library.path_of(sounds[name].source_of("audio")))} for name in SHOWN]
    options = GenerateOptions(n=5)
    made: list[Generated] = [
        generate(run, q, options, library=library, device="cpu") for q in [*queries, {"text": "a cat"}]
    ]
    draw_grid(made, out, dpi=80)
    with Image.open(out) as drawn:  # without the column of the queries: docs/ shows no recording of ../shared/data
        shown = drawn.convert("RGB").crop((int(0.18 * drawn.width), 0, drawn.width, drawn.height))
    small = shown.quantize(128)
    small.save(out, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder of the library, made where missing")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    parser.add_argument("--steps", type=int, default=PainterOptions().steps, help="of the painter's learning")
    parser.add_argument("--routes", nargs="*", default=list(ROUTES), choices=list(ROUTES))
    parser.add_argument("--n", type=int, default=2, help="pictures painted of each query")
    given = parser.parse_args()
    told = {"steps": DEFAULTS.steps, "guidance": DEFAULTS.guidance, "seed": DEFAULTS.seed}
    options = PainterOptions(steps=given.steps)
    found: dict[str, Any] = {"told": told, "n": given.n, "routes": {}}
    library = make_library(given.work)
    for name in given.routes:
        run = ROUTES[name](library, given.work)
        seconds = paint_like(run, library, options)
        arms = measure(run, library, n=given.n, told=told)
        found["routes"][name] = {"core_seconds": seconds, "arms": arms}
        print(name)
        for arm, row in arms.items():
            low, high = 100 * row["low"], 100 * row["high"]
            print(f"  {arm:<11} {100 * row['right']:5.1f} % [{low:.0f}, {high:.0f}], {row['recordings']} recordings")
        if name == "learned space":
            figure(run, library, given.figure)
        found["painter"] = json.loads((run / FOLDER / "config.json").read_text())["painter"]
        write("generate", found, given.out)


def learned_space(library: LibraryTables, work: Path) -> Path:
    train(library, work / "run")
    return work / "run"


def fixed_space(library: LibraryTables, work: Path) -> Path:
    encode_library(library, ("wordtower",))
    if not has_model(work / "bound" / "model"):
        train_run(library, recipe("fusemix.bind"), work / "bound", resume=(work / "bound" / "config.json").is_file())
    return work / "bound"


ROUTES = {"learned space": learned_space, "fixed space": fixed_space}


def paint_like(run: Path, library: LibraryTables, options: PainterOptions) -> float:
    """Core seconds that the run's painter took to learn, which it does where there is none."""
    seconds = run / "painter-seconds.json"
    if not has_model(run / FOLDER / "model"):
        began = time.process_time()
        learn_painter(run, library, options, device="cpu", resume=(run / FOLDER / "config.json").is_file())
        seconds.write_text(json.dumps(time.process_time() - began))
    return float(json.loads(seconds.read_text()))


if __name__ == "__main__":
    main()
