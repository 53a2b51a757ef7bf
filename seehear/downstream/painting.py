"""A run's own picture generator, trained on the pictures of its training clips and their vectors."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear import distributed
from seehear.downstream.carrier import Placed, placed, to_pictures
from seehear.errors import DecodeError, SeehearError, check_range
from seehear.library.tables import LibraryTables
from seehear.media.files import VideoSpec, read_window
from seehear.methods.painter import Painter, PainterConfig
from seehear.nn.random import seed_of
from seehear.progress import progress, say
from seehear.space import SharedSpace, load_method
from seehear.train.config import RunFolder, TrainConfig, TrainResult
from seehear.train.files import has_model, save_model
from seehear.train.loop import fit
from seehear.train.optim import OptimConfig
from seehear.types import Batch, Int, Tensor

FOLDER = "painter"
"""Run folder of the painter, in the folder of its run."""


@dataclass(frozen=True, kw_only=True)
class PainterOptions:
    size: int = 32
    """Side of the pictures in pixels."""
    components: int = 256
    """Principal components of the pictures; fewer blur them."""
    hidden: int = 512
    """Width of the network."""
    blocks: int = 4
    """Blocks of the network."""
    steps: int = 6000
    """Training steps."""
    batch_size: int = 64
    """Pictures per step."""
    lr: float = 1e-3
    """Highest learning rate."""
    jitter: float = 1.0
    """Largest noise on the pictures' vectors, relative to their length."""
    others: float = 0.5
    """Share of the batches in which a picture is conditioned on the sound or a text of its clip, not on itself."""
    most: int = 50_000
    """Maximal number of training clips, a random sample of more; all are held in memory."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "size", "components", "hidden", "blocks", "steps", "most")
        check_range(self, "[2, inf)", "batch_size")
        check_range(self, "(0, inf)", "lr")
        check_range(self, "[0, inf)", "jitter")
        check_range(self, "[0, 1]", "others")

    def config(self, width: int, pictures: int) -> PainterConfig:
        """Configuration for a number of pictures with vectors of this width."""
        return PainterConfig(
            width=width,
            size=self.size,
            components=min(self.components, pictures - 1, 3 * self.size**2),
            hidden=self.hidden,
            blocks=self.blocks,
            jitter=self.jitter,
        )

    def training(self, device: str) -> TrainConfig:
        return TrainConfig(steps=self.steps, batch_size=self.batch_size, seed=self.seed, device=device)


class TrainingPictures:
    """Pictures (N, H, W, 3) uint8 with their vectors (N, E), as training data. `others` (R, E): vectors of sounds and
    texts of picture `owner` (R,), ascending; with probability `share`, drawn anew each epoch, one of them replaces the
    picture's own."""

    heavy = False
    together = 1

    def __init__(
        self,
        pictures: Tensor,
        vectors: Tensor,
        groups: Int[Tensor, " n"],
        *,
        others: Tensor | None = None,
        owner: Int[Tensor, " r"] | None = None,
        share: float = 0.5,
    ):
        self.pictures, self.vectors, self.groups, self.share = pictures, vectors, groups, share
        self.others = torch.zeros(0, vectors.shape[1]) if others is None else others
        owner = torch.zeros(0, dtype=torch.int64) if owner is None else owner
        self.count = torch.bincount(owner, minlength=len(pictures))
        self.first = self.count.cumsum(0) - self.count

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        generator = torch.Generator().manual_seed(seed_of(seed, "told by", epoch))
        whether, which = torch.rand(2, len(self), generator=generator)[:, indices]
        count, vectors_BE = self.count[indices], self.vectors[indices]
        other = (whether < self.share) & (count > 0)
        # `which` is below 1, but its product with a large count may round up to the count.
        row = self.first[indices] + (which * count).long().clamp(max=count - 1)
        vectors_BE[other] = self.others[row[other]]
        return {"picture": self.pictures[indices], "vector": vectors_BE, "group": self.groups[indices]}


def pictures_of(known: Placed, library: LibraryTables, options: PainterOptions) -> TrainingPictures:
    """The middle picture of each training clip that has one, with its vectors."""
    own = known.part("video", "train")
    # A fixed draw, read in the order of the library.
    drawn = torch.randperm(len(own.owner), generator=torch.Generator().manual_seed(options.seed))[: options.most]
    rows, pictures = _read(known, library, own.owner, drawn.sort().values.tolist(), options.size)
    if len(rows) < 2:
        raise SeehearError(f"{library.uri} has {len(rows)} training clips with a picture: a painter needs two at least")
    if len(rows) < len(drawn):
        say(f"{len(drawn) - len(rows):,} of {len(drawn):,} pictures cannot be read: left out")
    clips = own.owner[rows]
    # Vectors of the clips' sounds and texts, mapped to pictures, and the positions of their clips.
    carrier, others, owners = to_pictures(known), [torch.zeros(0, known.vectors["video"].vectors.shape[1])], []
    number = {int(clip): n for n, clip in enumerate(clips)}
    for m, one in known.vectors.items():
        there = [r for r, clip in enumerate(one.owner.tolist()) if clip in number] if m != "video" else []
        others.append(carrier({m: one.vectors[there]}))
        owners += [number[int(clip)] for clip in one.owner[there]]
    # Ascending owners, as `TrainingPictures` counts them off.
    owner_R = torch.tensor(owners, dtype=torch.int64)
    order_R = owner_R.argsort(stable=True)
    return TrainingPictures(
        torch.stack(pictures),
        torch.from_numpy(own.vectors[rows]),
        known.data.groups[torch.from_numpy(clips)],
        others=torch.cat(others)[order_R],
        owner=owner_R[order_R],
        share=options.others,
    )


def picture_of(path: str | Path, start: float, end: float, size: int) -> Int[np.ndarray, "h w c"]:
    """A square of the middle frame of a clip. Raises `DecodeError`."""
    frames = read_window(path, start, end, video=VideoSpec(num_frames=1, size=(size, size), fit="crop")).frames
    if frames is None:
        raise DecodeError(f"{path}: no picture there")
    return frames[0]


def _read(
    known: Placed, library: LibraryTables, owner: np.ndarray, rows: list[int], size: int
) -> tuple[list[int], list[Tensor]]:
    """(readable rows, their pictures)"""
    roots, kept, pictures = library.roots(), [], []
    with progress("reading pictures", len(rows)) as bar:
        for row in rows:
            bar.advance()
            clip = known.clips[owner[row]]
            try:
                picture = picture_of(library.path_of(clip.source, roots), clip.start, clip.end, size)
            except DecodeError:
                continue
            kept.append(row)
            pictures.append(torch.tensor(picture))
    return kept, pictures


def learn_painter(
    run: Path,
    library: LibraryTables,
    options: PainterOptions | None = None,
    *,
    device: str = "auto",
    resume: bool = False,
    command: str = "",
) -> TrainResult:
    """Trains a painter on the training clips, into `run/painter`."""
    options = options or PainterOptions()
    space = SharedSpace.from_pretrained(run, device=device)
    if "video" not in space.modalities:
        raise SeehearError(f"{run} has no pictures in its space ({', '.join(space.modalities)}): nothing to paint")
    pictures = pictures_of(placed(space, library), library, options)
    # The initialisation depends on the seed alone and leaves the caller's generator as it was.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        painter = Painter(options.config(space.dim, len(pictures)))
    painter.fit(pictures.pictures, pictures.vectors, seed=options.seed)
    of = {"of": space.fingerprint, "space": space.space}
    # With the space in its settings: a painter is not resumed for another state of the model.
    settings = {"painter": asdict(options), "library": library.uri, "command": command, **of}
    optim = OptimConfig(lr=options.lr, weight_decay=0.01, clip=1.0)
    place, config = RunFolder(run / FOLDER, settings, resume), options.training(device)
    result = fit(painter, pictures, config=config, optim=optim, folder=place)
    facts: dict[str, Any] = {"encoders": {}, "pictures": len(pictures), "steps": result.steps, **of}
    if distributed.rank() == 0:
        save_model(place.path / "model", painter, facts, card=_card(painter, len(pictures)))
    return result


def load_painter(run: Path, space: SharedSpace) -> Painter:
    """The painter of a run, on its device."""
    if not has_model(run / FOLDER / "model"):
        raise SeehearError(
            f"{run} has no painter yet: 'seehear generate {run} --learn' makes one, or name a --pipeline"
        )
    painter: Any
    painter, config, _ = load_method(run / FOLDER)
    # Vectors of another state of the model mean other pictures.
    if config.get("of") != space.fingerprint:
        raise SeehearError(
            f"the painter in {run / FOLDER} was trained for another state of the model: remove that folder, and train "
            f"it again with 'seehear generate {run} --learn'"
        )
    return painter.eval().requires_grad_(False).to(space.device)


def _card(painter: Painter, pictures: int) -> str:
    parameters, size = sum(p.numel() for p in painter.parameters()), painter.config.size
    return (
        "---\nlibrary_name: seehear\n---\n\n# painter\n\n"
        f"Paints {size} x {size} pictures of vectors of a shared space; {parameters:,} parameters, learnt from "
        f"{pictures:,} pictures. `seehear generate RUN --audio x.wav` uses it.\n"
    )
