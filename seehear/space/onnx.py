"""Export of a space as ONNX graphs: one for each encoder that can be exported, and one for the head of each modality.

    text.minilm.onnx   input_ids, attention_mask -> latents
    text.head.onnx     latents                   -> embeddings, unit vectors of the space

A head takes the latents of all encoders of its modality side by side, rounded to float16 as a library stores them.
`model.json` lists the graphs, their inputs, and the encoders without a graph. Each graph is compared with torch.
"""

from __future__ import annotations

import json
import logging
import re
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from seehear.encoders.base import Graph
from seehear.errors import SeehearError, require
from seehear.types import Modality, Tensor

if TYPE_CHECKING:
    from seehear.methods.base import Method
    from seehear.space.model import SpaceModel

# Largest difference from torch, relative to the largest number.
_CLOSE = 1e-4


class _Head(nn.Module):
    def __init__(self, method: Method, m: Modality, space: str, windows: int):
        super().__init__()
        self.method, self.m, self.space, self.windows = method, m, space, windows

    def forward(self, latents: Tensor) -> Tensor:
        z_BE = self.method.place_windows(self.m, latents.unflatten(1, (self.windows, -1)), self.space)
        return F.normalize(z_BE, dim=-1, eps=self.method.shortest).float()


def export_onnx(space: SpaceModel, folder: Path) -> dict[str, Any]:
    """Writes the graphs and returns the content of model.json, which lists encoders without a graph with the reason."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        require(package, "onnx")
    folder.mkdir(parents=True, exist_ok=True)
    graphs: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for m, infos in space.encoders.items():
        windows = 1
        for info in infos:
            try:
                encoder = space.encoder(m, info)
            except SeehearError as error:
                # Features computed elsewhere have no network.
                missing[info["name"]] = str(error)
                continue
            windows = encoder.windows
            for part in filter(None, (encoder.source, encoder)):
                if graph := part.graph():
                    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", part.name)
                    graphs.append({"encoder": part.name} | _write(graph, folder / f"{m}.{name}.onnx", "latents"))
                else:
                    missing[part.name] = part.no_graph
        head = _head(space, m, windows)
        graphs.append({"head": m} | _write(head, folder / f"{m}.head.onnx", "embeddings"))
    # Last: it lists graphs that are written and compared.
    about = {"space": space.space, "dim": space.dim, "graphs": graphs, "not_exported": missing}
    (folder / "model.json").write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
    return about


def _head(space: SpaceModel, m: Modality, windows: int) -> Graph:
    infos = space.encoders[m]
    width = sum(info["width"] for info in infos)
    return Graph(
        _Head(space.method, m, space.space, windows),
        # Fixed numbers that are neither equal nor zero, the same in every export.
        {"latents": torch.sin(torch.arange(2.0 * width)).view(2, -1)},
        {"latents": {0: "batch"}},
        f"latents of {' and '.join(info['name'] for info in infos)}, rounded to float16",
    )


def _write(graph: Graph, path: Path, output: str) -> dict[str, Any]:
    """Writes a graph into a file, and returns its entry of model.json."""
    network = graph.network.eval()
    device = next((x.device for x in network.state_dict().values()), torch.device("cpu"))
    inputs = {name: x.to(device) for name, x in graph.inputs.items()}
    # Another batch size than the exported one: a size that is baked into the graph fails here.
    checked = {name: torch.cat([x, x[:1]]) for name, x in inputs.items()}
    with torch.inference_mode():
        # Before the export: values that are computed once and kept (filters of a spectrogram) would enter its trace.
        wanted = network(*checked.values()).cpu().numpy()
    names = {name for axes in graph.axes.values() for name in axes.values()}
    sizes = {name: torch.export.Dim(name, min=graph.least.get(name, 1)) for name in names}
    with _quiet():
        torch.onnx.export(
            network,
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=tuple({axis: sizes[name] for axis, name in graph.axes[own].items()} for own in inputs),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    session = require("onnxruntime", "onnx").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    got = session.run(None, {name: x.cpu().numpy() for name, x in checked.items()})[0]
    difference = float(abs(got - wanted).max() / abs(wanted).max())
    if difference > _CLOSE:
        # A graph that computes something else must not be left behind.
        path.unlink()
        raise SeehearError(f"{path.name} gives other numbers than torch does (by {difference:.1e}): report this")
    for file in graph.files:
        shutil.copy(file, path.parent)
    shapes = {own: [graph.axes[own].get(n, size) for n, size in enumerate(x.shape)] for own, x in inputs.items()}
    about: dict[str, Any] = {"file": path.name, "inputs": shapes, "output": output, "takes": graph.takes}
    return about | {"difference": difference} | ({"least": dict(graph.least)} if graph.least else {})


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppresses torch's messages about itself: missing torchvision, its own deprecated calls."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
