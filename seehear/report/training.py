"""Training of the run: its curves, its speed, the cost of a step."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

from seehear.inputs.latents import LatentData
from seehear.methods.base import Method
from seehear.nn.flops import count_flops
from seehear.nn.random import Randomness
from seehear.progress import clock
from seehear.report.figures import curve
from seehear.report.page import render
from seehear.space import model_folder, read_config
from seehear.train.gradients import gradients
from seehear.train.log import read_metrics

_CURVES = 6
_ROWS = 512  # of the step whose operations are counted


def training_section(run: Path, method: Method, data: LatentData) -> Markup:
    """From `metrics.jsonl` and the model's own notes; nothing for a model that came without them."""
    entries = read_metrics(run / "metrics.jsonl") if (run / "metrics.jsonl").is_file() else []
    noted = read_config(model_folder(run)).get("training", {})
    best = noted.get("step")
    names = dict.fromkeys(k for entry in entries for k in entry if k == "val/score" or k.startswith("loss"))
    panels = []
    for name in sorted(names, key=lambda n: (n != "loss", n != "val/score", n))[:_CURVES]:
        points = [(e["step"], e[name]) for e in entries if e.get(name) is not None]
        if len(points) > 1:
            x, y = zip(*points, strict=True)
            if name == "val/score":
                title = "validation score, %"
                drawn = curve(x, y, label=title, show=lambda value: f"{100 * value:.1f}", marked=best)
            else:
                title = name.replace("/", ": ")
                drawn = curve(x, y, label=title)
            panels.append((title, drawn))
    return render("training.html", known=_facts(entries, noted, method, data), panels=panels)


def flops_of_step(method: Method, data: LatentData) -> tuple[int, int] | None:
    """(operations, rows) of one training step, forward and backward, on clips at hand; None of towers of a method that
    reads media, which a latent no longer goes through, or where no two clips have two modalities."""
    data = data.joined()
    rows = min(_ROWS, len(data)) // 2 * 2
    if type(method).encode is Method.encode or not rows:
        return None
    learner = deepcopy(method).cpu().train().requires_grad_(True)
    batch = data.batch(torch.arange(rows))
    rng = Randomness(0, 0, 0, rows, rows, torch.device("cpu"))
    return count_flops(
        lambda: gradients(learner, batch, progress=0.0, rng=rng, micro_batch=None, autocast=nullcontext)
    ), rows


def _facts(entries: list[dict[str, Any]], noted: Mapping[str, Any], method: Method, data: LatentData) -> dict[str, str]:
    speeds = [e["rows_per_second"] for e in entries if e.get("rows_per_second")]
    counted = flops_of_step(method, data)
    step = max((e["step"] for e in entries if "loss" in e), default=0)
    found = {
        "method": method.name,
        "parameters": f"{sum(p.numel() for p in method.parameters()):,}, beside its encoders",
        "training clips": f"{noted['clips']:,}" if "clips" in noted else "",
        "steps": f"{step:,}" + (f", weights of step {noted['step']:,}" if "step" in noted else "") if step else "",
        "time": clock(noted["seconds"]) if "seconds" in noted else "",
        "throughput": f"{statistics.median(speeds):,.0f} clips a second (median over the log)" if speeds else "",
    }
    if counted:
        flops, rows = counted
        found["a step's operations"] = (
            f"{flops / 1e9:,.2f} GFLOP for {rows:,} clips, {flops / rows / 1e6:,.2f} MFLOP a clip, forward and backward"
        )
    return found
