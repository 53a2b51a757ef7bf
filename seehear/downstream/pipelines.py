"""Pictures from any pipeline of diffusers that takes embeddings in place of text.

    image_embeds, image_embeddings   (B, D)      decoders of picture vectors: unCLIP, Kandinsky
    prompt_embeds                    (B, 1, D)   a text of one token; `pooled_prompt_embeds` (B, D) beside it

The unconditional input of guidance is zeros.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seehear.errors import SeehearError, require
from seehear.nn.random import seed_of
from seehear.types import Float, Tensor

_PICTURE = ("image_embeds", "image_embeddings")
_GUIDANCE = ("guidance_scale", "decoder_guidance_scale")
_MASKS = ("prompt_attention_mask", "negative_prompt_attention_mask")


def load_pipeline(name: str, device: str) -> Any:
    """The pipeline of a folder or hub id, weights from safetensors only. Raises `SeehearError` for one that takes no
    embeddings or needs custom code."""
    diffusers = require("diffusers", "generate")
    diffusers.utils.logging.disable_progress_bar()
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
    try:
        # low_cpu_mem_usage needs one more package
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            name, use_safetensors=True, low_cpu_mem_usage=False, trust_remote_code=False
        )
    except Exception as error:  # the network library, the hub and the pipeline each raise their own
        raise SeehearError(f"no pipeline of diffusers at {name!r}: {_first_line(error)}") from error
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
            f"encoder it was trained with? ({_first_line(error)})"
        ) from error
    pictures: np.ndarray = (np.clip(found, 0, 1) * 255).round().astype(np.uint8)
    return pictures


def conditions(c_BD: Float[Tensor, "b d"], takes: set[str]) -> dict[str, Any]:
    """Arguments that condition a pipeline with these parameters on vectors."""
    for name in _PICTURE:
        if name in takes:
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


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
