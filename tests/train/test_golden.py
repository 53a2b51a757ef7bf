"""Twenty losses of tiny runs, at full precision: a change that should not change training shows it here.

Made by `python -m tests.train.test_golden`, torch 2.13 on an x86-64 CPU; another machine agrees to 1e-4.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seehear.data.latents import LatentData
from seehear.recipes.run import recipe, train_latents

GOLDEN = Path(__file__).parent.parent / "golden" / "fusemix.json"


def losses(name, folder):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(96, 6))
    latents = {m: shared @ rng.normal(size=(6, d)) + rng.normal(size=(96, d)) for m, d in (("video", 12), ("text", 8))}
    data = LatentData.from_arrays(
        {m: x.astype(np.float32) for m, x in latents.items()}, splits=["train"] * 64 + ["val"] * 16 + ["test"] * 16
    )
    run = recipe(name)
    run = replace(
        run,
        method=replace(run.method, dim=8, depth=1),
        optim=replace(run.optim, schedule="cosine"),
        train=replace(run.train, epochs=10, batch_size=32, log_every=1, device="cpu", patience=None, fast_matmul=False),
    )
    train_latents(data, run, folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("name", ["fusemix.base", "fusemix.paper"])
def test_losses_are_those_of_before(name, tmp_path):
    found = losses(name, tmp_path / "run")
    assert len(found) == 20
    np.testing.assert_allclose(found, json.loads(GOLDEN.read_text())[name], rtol=1e-4)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        made = {name: losses(name, Path(where) / name) for name in ("fusemix.base", "fusemix.paper")}
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")
