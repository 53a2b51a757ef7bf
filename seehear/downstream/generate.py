"""Picture generation from sound, text or a picture: the query's vector in a run's space conditions a generator (the
audio-to-image application of FuseMix, arXiv 2312.10144), the run's own painter or any pipeline of diffusers that takes
embeddings. The library's pictures nearest to the query are shown with the result."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.downstream.painting import Placed, load_painter, picture_of, placed, to_encoder, to_pictures
from seehear.errors import DecodeError, SeehearError, check_range, require
from seehear.library.tables import LibraryTables
from seehear.media.container import reason
from seehear.media.files import probe, read_window
from seehear.nn.random import seed_of
from seehear.nn.unit import unit
from seehear.runs.evaluate import trained_on
from seehear.space import SharedSpace
from seehear.types import Float, Modality, Tensor

KINDS: dict[str, Modality] = {"text": "text", "audio": "audio", "image": "video"}
"""Modality of the vector, by kind of query."""
# Side of the library's pictures, in pixels.
_SHOWN = 256
# Samples a second of a drawn waveform.
_RATE = 16_000
# Characters of a line.
_WORDS, _CAPTION = 24, 14


@dataclass(frozen=True, kw_only=True)
class GenerateOptions:
    n: int = 4
    """Pictures to paint, and to show of the library."""
    steps: int = 50
    """Diffusion steps, from noise to a picture."""
    guidance: float = 3.0
    """Weight of the query: 1 as trained; more is plainer and less varied."""
    seed: int = 0
    """Seed of the noise."""
    pipeline: str = ""
    """Folder or hub id of a diffusers pipeline that takes embeddings; the run's own painter when not given."""
    condition: str = ""
    """The library's encoder whose latents the pipeline was trained with."""
    size: int = 0
    """Side of the pictures in pixels, for pipelines with that option; 0: the pipeline's own."""

    def __post_init__(self) -> None:
        if self.n < 1 or self.steps < 1 or self.size < 0:
            raise SeehearError("--n and --steps are 1 or more, --size is not negative")
        check_range(self, "[0, inf)", "guidance")
        if bool(self.pipeline) != bool(self.condition):
            raise SeehearError("--pipeline and --condition go together: name the encoder that the pipeline reads")


@dataclass(frozen=True)
class _Nearest:
    """A picture of the library."""

    id: str
    path: str
    start: float
    end: float
    score: float
    """Cosine with the query, mapped to the pictures."""
    text: str


@dataclass(frozen=True)
class Generated:
    query: dict[str, str]
    """Words, and paths of files, by kind."""
    pictures: np.ndarray
    """(N, H, W, 3) uint8."""
    nearest: tuple[_Nearest, ...]
    said: str
    """How it was made."""


def generate(
    run: Path,
    query: Mapping[str, str],
    options: GenerateOptions | None = None,
    *,
    library: LibraryTables | None = None,
    device: str = "auto",
) -> Generated:
    """Pictures of a query: words as 'text', files as 'audio' and 'image'; several are averaged. The default library is
    the one that the run was trained on."""
    options = options or GenerateOptions()
    if not query:
        raise SeehearError("nothing to paint: give --audio, --text or --image")
    space = SharedSpace.from_pretrained(run, device=device)
    # Before the library is read: a missing painter or pipeline is reported at once.
    painter = None if options.pipeline else load_painter(run, space)
    pipeline = load_pipeline(options.pipeline, space.device) if options.pipeline else None
    # With its kind: words that happen to name a file stay words.
    parts = {KINDS[kind]: space.encode([{kind: value}]) for kind, value in query.items()}
    library = library or LibraryTables.open(trained_on(run))
    known = placed(space, library)
    as_picture = to_pictures(known)
    told: dict[str, Any] = {"steps": options.steps, "guidance": options.guidance, "seed": options.seed}
    if painter is not None:
        pictures = painter.paint(as_picture(parts).repeat(options.n, 1), **told).numpy()
        said = f"painted by the run's own painter, {painter.config.size} pixels"
    else:
        # A pipeline knows the latents of its encoder, not the space of a run.
        carried = to_encoder(known, library, options.condition)(parts).repeat(options.n, 1)
        pictures = paint(pipeline, carried, size=options.size, **told)
        said = f"painted by {type(pipeline).__name__}, conditioned on {options.condition}"
    said += f"; {options.steps} steps, guidance {options.guidance:g}, seed {options.seed}"
    return Generated(dict(query), pictures, _nearest(known, library, as_picture(parts).numpy(), options.n), said)


def _nearest(known: Placed, library: LibraryTables, query_1E: np.ndarray, k: int) -> tuple[_Nearest, ...]:
    own, roots = known.vectors["video"].one_each(), library.roots()
    scores = unit(own.vectors) @ query_1E[0]
    found = []
    # Stable: equal cosines keep the order of the library.
    for row in np.argsort(-scores, kind="stable")[:k]:
        clip = known.clips[own.owner[row]]
        path, text = str(library.path_of(clip.source, roots)), clip.texts[0].text if clip.texts else ""
        found.append(_Nearest(clip.id, path, clip.start, clip.end, float(scores[row]), text))
    return tuple(found)


def save_pictures(made: Generated, out: Path) -> list[Path]:
    """Writes the grid to `out` (the query at the left, generated pictures above the library's nearest) and each picture
    to `<out>.1.png` and so on; returns the paths."""
    pillow = require("PIL.Image")
    out.parent.mkdir(parents=True, exist_ok=True)
    draw_grid([made], out)
    paths = [out]
    for number, picture in enumerate(made.pictures, start=1):
        paths.append(out.with_suffix(f".{number}.png"))
        pillow.fromarray(picture).save(paths[-1])
    return paths


def draw_grid(rows: list[Generated], out: Path, *, dpi: int = 150) -> None:
    """Draws several queries below each other."""
    figures = require("matplotlib.figure", "studies")
    most = max(max(len(made.pictures), len(made.nearest)) for made in rows)
    figure = figures.Figure(figsize=(1.3 * (most + 1), 2.8 * len(rows) + 0.3), layout="constrained")
    for made, part in zip(rows, np.atleast_1d(figure.subfigures(len(rows), 1)), strict=True):
        left, right = part.subfigures(1, 2, width_ratios=(1, most))
        _draw_query(left, made.query)
        axes = right.subplots(2, most, squeeze=False)
        for axis in axes.flat:
            axis.axis("off")
        for axis, picture in zip(axes[0], made.pictures, strict=False):
            axis.imshow(picture, interpolation="nearest")
        for axis, near in zip(axes[1], made.nearest, strict=False):
            try:
                axis.imshow(picture_of(near.path, near.start, near.end, _SHOWN))
            except DecodeError:
                # One unreadable file does not spoil the picture of the others.
                axis.text(0.5, 0.5, "cannot be read", ha="center", va="center", fontsize=5)
            caption = f"{near.score:.2f}  {near.text[:_CAPTION]}"
            axis.text(0.5, -0.04, caption, transform=axis.transAxes, fontsize=5.5, ha="center", va="top")
        axes[0][0].set_title("painted", fontsize=7, loc="left", pad=2)
        axes[1][0].set_title("nearest in the library", fontsize=7, loc="left", pad=2)
    figure.suptitle(rows[0].said, fontsize=7)
    figure.savefig(out, dpi=dpi)


def _draw_query(figure: Any, query: Mapping[str, str]) -> None:
    import textwrap

    for axis, (kind, value) in zip(figure.subplots(len(query), 1, squeeze=False)[:, 0], query.items(), strict=True):
        axis.axis("off")
        if kind == "text":
            axis.text(0.5, 0.5, "\n".join(textwrap.wrap(value, _WORDS)), ha="center", va="center", fontsize=7)
            continue
        axis.set_title("\n".join(textwrap.wrap(Path(value).name, _WORDS)), fontsize=6, pad=2)
        end = probe(value).duration
        if kind == "image":
            axis.imshow(picture_of(value, 0.0, end, _SHOWN))
        else:
            heard = read_window(value, 0.0, end, rate=_RATE).waveform
            # A few thousand samples: more than the width of the picture cannot be seen.
            axis.plot(np.zeros(1) if heard is None else heard[:: max(1, len(heard) // 4000)], linewidth=0.3)


# ----------------------------------------------------------------------------------------------------------------------
# Pictures from any pipeline of diffusers that takes embeddings in place of text.
#
#     image_embeds, image_embeddings   (B, D)      decoders of picture vectors: unCLIP, Kandinsky
#     prompt_embeds                    (B, 1, D)   a text of one token; `pooled_prompt_embeds` (B, D) beside it
#
# The unconditional input of guidance is zeros.

_PICTURE = ("image_embeds", "image_embeddings")
# Pipelines name the same argument in several ways, and refuse unknown ones.
_GUIDANCE = ("guidance_scale", "decoder_guidance_scale")
_MASKS = ("prompt_attention_mask", "negative_prompt_attention_mask")


def load_pipeline(name: str, device: str) -> Any:
    """The pipeline of a folder or hub id, weights from safetensors only. Raises `SeehearError` for one that takes no
    embeddings or needs custom code."""
    path = Path(name).expanduser() / "model_index.json"
    try:
        settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    except ValueError as error:
        raise SeehearError(f"{path} is not JSON ({error}): download the pipeline again") from error
    # diffusers would run the Python file of a local folder that names its own class.
    if isinstance(settings, dict) and isinstance(settings.get("_class_name"), list):
        raise SeehearError(
            f"{path.parent} wants custom code to be run (_class_name in {path.name}), which seehear never does: choose "
            "a pipeline that diffusers itself has"
        )
    diffusers = require("diffusers", "generate")
    diffusers.utils.logging.disable_progress_bar()
    try:
        # low_cpu_mem_usage needs one more package
        # Only safetensors: pickled weights run code when they are loaded.
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            name, use_safetensors=True, low_cpu_mem_usage=False, trust_remote_code=False
        )
    except Exception as error:
        # The network library, the hub and the pipeline each raise their own.
        raise SeehearError(f"no pipeline of diffusers at {name!r}: {reason(error)}") from error
    takes = _takes(pipeline)
    if not {*_PICTURE, "prompt_embeds"} & takes:
        raise SeehearError(
            f"{name} is a {type(pipeline).__name__}, which takes no embeddings: choose one whose call has "
            f"{', '.join(_PICTURE)} or prompt_embeds"
        )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def paint(
    pipeline: Any, vectors_BD: Float[Tensor, "b d"], *, steps: int, guidance: float, seed: int, size: int
) -> np.ndarray:
    """(B, H, W, 3) uint8 pictures. The noise of row i is a function of (seed, i). `size` 0: the pipeline's own."""
    takes = _takes(pipeline)
    call = conditions(vectors_BD.to(pipeline.device, pipeline.dtype), takes)
    call |= {name: guidance for name in _GUIDANCE if name in takes}
    call |= {name: size for name in ("height", "width") if size and name in takes}
    if "num_inference_steps" in takes:
        call["num_inference_steps"] = steps
    # On the CPU, so that the noise is the same on every device.
    call["generator"] = [torch.Generator().manual_seed(seed_of(seed, i)) for i in range(len(vectors_BD))]
    try:
        found = pipeline(**call, output_type="np").images
    except (RuntimeError, ValueError, TypeError) as error:
        raise SeehearError(
            f"{type(pipeline).__name__} cannot paint vectors of {vectors_BD.shape[1]} numbers, is --condition the "
            f"encoder it was trained with? ({reason(error)})"
        ) from error
    pictures: np.ndarray = (np.clip(found, 0, 1) * 255).round().astype(np.uint8)
    return pictures


def conditions(c_BD: Float[Tensor, "b d"], takes: set[str]) -> dict[str, Any]:
    """Arguments that condition a pipeline with these parameters on vectors."""
    for name in _PICTURE:
        if name in takes:
            # Pipelines of picture vectors still want a text, which they do not read.
            words = {"prompt": [""] * len(c_BD)} if "prompt" in takes else {}
            return words | _with_nothing(name, c_BD, takes)
    c_B1D = c_BD[:, None]
    call = _with_nothing("prompt_embeds", c_B1D, takes)
    if "pooled_prompt_embeds" in takes:
        call |= _with_nothing("pooled_prompt_embeds", c_BD, takes)
    return call | {name: torch.ones(c_B1D.shape[:2], device=c_BD.device) for name in _MASKS if name in takes}


def _with_nothing(name: str, c: Tensor, takes: set[str]) -> dict[str, Any]:
    nothing = f"negative_{name}"
    return {name: c} | ({nothing: torch.zeros_like(c)} if nothing in takes else {})


def _takes(pipeline: Any) -> set[str]:
    return set(inspect.signature(pipeline.__call__).parameters)
