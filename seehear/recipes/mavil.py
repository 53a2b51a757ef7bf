"""Runs of MAViL, and its model before training, from an image MAE or a teacher. The sizes of clips in a model are those
of `data.raw`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from pickle import UnpicklingError
from typing import cast

import torch

from seehear.encoders.weights import model_folder
from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.methods.base import method_class, seeded
from seehear.methods.mavil import MAViL
from seehear.methods.mavil_config import SIDES, SIZES, MAViLConfig
from seehear.methods.mavil_layers import ImageMAE
from seehear.nn.transformer import Size
from seehear.progress import say
from seehear.runs.config import MediaConfig, MediaInputs, Run
from seehear.space import load_model
from seehear.train.config import TrainConfig
from seehear.train.files import has_model, read_tensors
from seehear.train.optim import OptimConfig
from seehear.types import Tensor

_PLAIN = RawConfig(
    modalities=SIDES, rate=16_000, crop=(0.5, 1.0), aspect=(0.75, 4 / 3), squash=True, jitter=0.0, noise=0.0
)
"""Crops and mirrored pictures, without colour changes; the method itself rotates and scales sounds."""


def base() -> Run[MediaConfig, MAViLConfig]:
    """Stage 1 of MAViL-B as in the paper (arXiv 2212.08071), as far as it is known (docs/methods/mavil.md): 8 frames of
    224 pixels at 2 a second, 10 s of sound. For a corpus like AudioSet on many GPUs. It starts from random weights; the
    paper starts from an image MAE, which `--method.image-mae` names.

    seehear train LIB mavil.base --method.image-mae facebook/vit-mae-base --data.cache CACHE
    """
    return Run(
        recipe="mavil.base",
        method=MAViLConfig(),
        data=MediaConfig(raw=replace(_PLAIN, frames=8, fps=2.0, size=224, seconds=10.0)),
        optim=OptimConfig(lr=4e-4, floor=1e-6, warmup=0.2, weight_decay=1e-5, betas=(0.9, 0.95), lr_rows=512),
        train=TrainConfig(epochs=20, batch_size=512, precision="bf16", workers=16, evaluations=20),
    )


def stage2() -> Run[MediaConfig, MAViLConfig]:
    """Stage 2 of the paper: three rounds of 20 epochs. The teacher of the first is a run of stage 1, that of the others
    the round before. Each round starts from new weights, from an image MAE where one is named.

    seehear train LIB mavil.stage2 --method.teacher runs/mavil.base --data.cache CACHE
    """
    run = base()
    return replace(run, recipe="mavil.stage2", method=replace(run.method, rounds=3))


def small() -> Run[MediaConfig, MAViLConfig]:
    """ViT-S with narrower decoders, the same clips: a day on one GPU for some ten thousand of them.

    seehear train LIB mavil.small --data.cache CACHE
    """
    run = base()
    decoder = Size(layers=4, width=256, hidden=1024, heads=8)
    return replace(
        run,
        recipe="mavil.small",
        # Small batches hold more clips of one recording, which look alike: they are no negatives.
        method=replace(run.method, size=SIZES["small"], decoder=decoder, mask_same_group=True),
        train=replace(run.train, epochs=200, batch_size=256, workers=12, evaluations=40),
    )


def tiny() -> Run[MediaConfig, MAViLConfig]:
    """Minutes on two cores: 4 layers, 24 frames of 48 pixels and 3 s of sound. For a first try.

    seehear train LIB mavil.tiny --data.cache CACHE
    """
    decoder = Size(layers=2, width=96, hidden=384, heads=3)
    return Run(
        recipe="mavil.tiny",
        method=MAViLConfig(size=SIZES["tiny"], fusion_layers=1, decoder=decoder),
        data=MediaConfig(raw=replace(_PLAIN, frames=24, fps=8.0, size=48)),
        optim=OptimConfig(lr=1e-3, floor=1e-6, warmup=0.1, weight_decay=0.05, betas=(0.9, 0.95)),
        train=TrainConfig(epochs=60, batch_size=64, workers=1, evaluations=6),
    )


PRESETS = {"tiny": tiny, "small": small, "base": base, "stage2": stage2}
_PUBLISHED = (SIZES["base"], SIZES["large"])
"""Sizes of published image MAEs."""


def build(config: MAViLConfig, inputs: MediaInputs, *, seed: int, batch_size: int) -> MAViL:
    """The model as training starts; DiffMAViL likewise."""
    if config.rounds > 1 and not config.teacher:
        raise SeehearError("stage 2 needs a teacher: --method.teacher RUN, the folder of a run of stage 1")
    # Said aloud: the paper's numbers are those of a model that starts from an image MAE.
    if config.size in _PUBLISHED and not config.image_mae:
        say("starts from random weights, the paper's from an image MAE (--method.image-mae FOLDER, FILE or hub name)")
    kind = cast(type[MAViL], method_class(config.name))
    return started(seeded(kind, config.reading(inputs.spec.raw), seed))


def started(model: MAViL) -> MAViL:
    """The model with the weights that its settings name: an image MAE's, a teacher's."""
    config = model.config
    if config.image_mae:
        tensors: dict[str, Tensor] = {}
        for path in _weights(config.image_mae):
            # Large models are saved in several files.
            tensors |= _read_torch(path) if path.suffix in (".pth", ".pt") else read_tensors(path)[0]
        model.start_from(ImageMAE.from_tensors(tensors))
    if run := config.teacher:
        folder = Path(run) / "model" if (Path(run) / "model").is_dir() else Path(run)
        if not has_model(folder):
            raise SeehearError(f"{run} holds no trained model to learn from: train stage 1 there first")
        # The trunk alone, which MAViL and DiffMAViL share: a teacher neither masks nor decodes.
        states, own = load_model(folder)[0].state_dict(), model.teacher.state_dict()
        trunk = {name.removeprefix("trunk."): tensor for name, tensor in states.items() if name.startswith("trunk.")}
        if {k: t.shape for k, t in trunk.items()} != {k: t.shape for k, t in own.items()}:
            raise SeehearError(
                f"the model in {run} is of another size or method than this one: it cannot be its teacher"
            )
        model.teacher.load_state_dict(trunk)
    return model


def _read_torch(path: Path) -> dict[str, Tensor]:
    """Tensors by name from a torch file; the authors of MAE publish them under 'model'."""
    try:
        # Weights only: a pickle of somebody else could run any code.
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise SeehearError(f"{path} cannot be read as weights of torch: {str(error).splitlines()[0]}") from error
    tensors = content.get("model", content) if isinstance(content, dict) else {}
    if not tensors or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise SeehearError(f"{path} holds no weights by name")
    return tensors


def _weights(source: str) -> list[Path]:
    # A file before a hub name: a local path may look like one.
    if (path := Path(source)).is_file():
        return [path]
    if paths := sorted(model_folder(source).glob("*.safetensors")):
        return paths
    raise SeehearError(f"{source} holds no .safetensors file")
