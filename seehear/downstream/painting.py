"""A run's own picture generator, trained on the pictures of its training clips and their vectors, and the maps from the
run's space to the conditions of a generator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear import distributed
from seehear.errors import DecodeError, SeehearError, check_range, unknown
from seehear.evaluation.embedded import Embedded, embed_latents
from seehear.inputs.latents import LatentData, load_latents
from seehear.library.tables import Clip, LibraryTables
from seehear.media.files import VideoSpec, read_window
from seehear.methods.linear import LinearMaps, moments, ridge
from seehear.methods.painter import Painter, PainterConfig
from seehear.methods.tuning import TuningFold, tuned_ridge
from seehear.nn.random import seed_of
from seehear.nn.unit import unit
from seehear.progress import progress, say
from seehear.runs.evaluate import latents_of
from seehear.space import SharedSpace, load_method
from seehear.train.config import RunFolder, TrainConfig, TrainResult
from seehear.train.files import has_model, save_model
from seehear.train.loop import fit
from seehear.train.optim import OptimConfig
from seehear.types import Batch, Float, Int, Modality, Tensor

FOLDER = "painter"
"""Run folder of the painter, in the folder of its run."""


@dataclass(frozen=True, kw_only=True)
class PainterOptions:
    size: int = 32
    """Side of the pictures in pixels."""
    # Of components and not of pixels: a perceptron learns them in minutes on one core, a U-Net would need hours.
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
            # N pictures less their mean span N - 1 dimensions at most.
            components=min(self.components, pictures - 1, 3 * self.size**2),
            hidden=self.hidden,
            blocks=self.blocks,
            jitter=self.jitter,
        )


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
        # For all clips, whatever the batch: a resumed run draws the same.
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
    training = TrainConfig(steps=options.steps, batch_size=options.batch_size, seed=options.seed, device=device)
    place = RunFolder(run / FOLDER, settings, resume)
    result = fit(painter, pictures, config=training, optim=optim, folder=place)
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


# ----------------------------------------------------------------------------------------------------------------------
# Maps from a run's shared space to the conditioning space of a picture generator.

_FROM, _TO = "shared space", "condition"


@dataclass(frozen=True)
class Placed:
    """A library's clips embedded by a run."""

    data: LatentData
    clips: list[Clip]
    vectors: dict[Modality, Embedded]
    """Embeddings of the modalities that both the run and the library have."""

    def part(self, m: Modality, split: str) -> Embedded:
        """One vector per clip of a split."""
        one = self.vectors[m].one_each()
        inside = self.data.splits[one.owner] == split
        return Embedded(one.vectors[inside], one.owner[inside])


def placed(space: SharedSpace, library: LibraryTables) -> Placed:
    space.encode_library(library)
    data = latents_of(library, space)
    clips = {clip.id: clip for clip in library.clips()}
    return Placed(data, [clips[name] for name in data.ids.tolist()], embed_latents(space, data))


@dataclass(frozen=True)
class Carrier:
    """Map of a vector of any modality to where one of `modality` would be: its modality's mean is replaced by that of
    `modality`. With `maps`, the result is mapped to an encoder's latents and scaled to their mean length."""

    modality: Modality
    means: Mapping[Modality, np.ndarray]
    """(E,) mean of the training clips' vectors, by modality."""
    maps: LinearMaps | None = None
    length: float = 1.0

    def __call__(self, parts: Mapping[Modality, Float[np.ndarray, "n e"]]) -> Float[Tensor, "n d"]:
        """Conditions of unit vectors; several modalities of the same rows are averaged."""
        # The means of modalities lie apart (the modality gap), which a generator of one modality never saw.
        moved = [unit(z_NE - self.means[m] + self.means[self.modality]) for m, z_NE in parts.items()]
        z_NE = torch.from_numpy(unit(np.mean(moved, axis=0)))
        if self.maps is None:
            return z_NE
        # In float64, as the map was fitted.
        y_ND = self.maps.mean[_TO] + (z_NE.double() - self.maps.mean[_FROM]) @ self.maps.weight[_FROM]
        return (self.length * torch.nn.functional.normalize(y_ND, dim=1)).float()


def to_pictures(known: Placed) -> Carrier:
    """Map to the pictures of the shared space."""
    return Carrier("video", _means(known, "video"))


def to_encoder(known: Placed, library: LibraryTables, name: str) -> Carrier:
    """Map to the latents of an encoder of the library: ridge regression on training clips, its strength chosen on
    validation clips."""
    infos = library.encoders()
    if name not in infos:
        raise unknown(f"encoder of {library.uri}", name, infos)
    modality = infos[name]["modality"]
    if modality not in known.vectors:
        raise SeehearError(f"{name} encodes {modality}, which the run's space does not hold: take another --condition")
    others = {m: [e["name"] for e in known.data.encoders[m]] for m in known.data.modalities}
    latents = load_latents(library, encoders={**others, modality: [name]})
    own = known.vectors[modality].one_each()
    # Clips that have both: those the run embedded and those the encoder has latents of.
    clips = np.intersect1d(own.owner, latents.owner(modality).numpy())
    x_NE = own.vectors[np.searchsorted(own.owner, clips)]
    y_ND = latents.one_each(modality)[clips]
    splits = known.data.splits[clips]
    train, val = ({_FROM: x_NE[splits == s], _TO: y_ND[splits == s]} for s in ("train", "val"))
    found = moments(train)
    maps = tuned_ridge(found, [TuningFold(found, val)], hub=_TO) if len(val[_TO]) > 1 else ridge(found, hub=_TO)
    # Regression shrinks its predictions, and a generator was trained on latents of full length.
    length = float(np.linalg.norm(train[_TO], axis=1).mean())
    return replace(Carrier(modality, _means(known, modality)), maps=maps, length=length)


def _means(known: Placed, target: Modality) -> dict[Modality, np.ndarray]:
    found = {m: known.part(m, "train") for m in known.vectors}
    if not len(found[target].owner):
        raise SeehearError(f"no training clip of the library has {target}: there is nothing to carry a query to")
    # The mean of a modality without training clips is unknown: its vectors stay where they are.
    return {m: (one if len(one.owner) else found[target]).vectors.mean(axis=0) for m, one in found.items()}
