"""Losses of the first steps of every recipe, made tiny, at full precision: a change that should not change training
shows it here.

Made by `python -m tests.train.test_golden`, torch 2.13 on an x86-64 CPU; another machine agrees to 1e-4.
"""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seehear.inputs.latents import LatentData
from seehear.library.tables import Text
from seehear.nn.transformer import Size
from seehear.runs.config import LatentInputs, recipe, recipes
from seehear.runs.run import train_on, train_run
from tests.inputs.raw_library import PLAIN, clip, library
from tests.library.makers import film

GOLDEN = Path(__file__).parent.parent / "golden" / "losses.json"
LATENTS = ("fusemix.base", "fusemix.bind", "fusemix.paper", "mcn.base", "mcn.tiny", "mcn.paper")
TWINS = ("vatt.base", "vatt.medium", "mavil.stage2")
"""Made tiny, they are vatt.paper; the last needs a teacher (tests/recipes/test_mavil.py)."""
ENCODERS = ("fusemix.tuned",)
"""They learn through encoders of other packages, whose sums differ by machine: tests/recipes/test_tuned.py."""
MEDIA = tuple(sorted(name for name in recipes() if "." in name and name not in LATENTS + TWINS + ENCODERS))
SMALL = Size(layers=1, width=16, hidden=32, heads=2)


def latents_losses(name, folder):
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(96, 6))
    latents = {m: shared @ rng.normal(size=(6, d)) + rng.normal(size=(96, d)) for m, d in (("video", 12), ("text", 8))}
    data = LatentData.from_arrays(
        {m: x.astype(np.float32) for m, x in latents.items()}, splits=["train"] * 64 + ["val"] * 16 + ["test"] * 16
    )
    run = recipe(name)
    small = (
        {"dim": 8, "depth": 1} if name.startswith("fusemix") else {"dim": 8, "hidden": 8, "clusters": 4, "queue": 40}
    )
    run = replace(
        run,
        method=replace(run.method, **small),
        optim=replace(run.optim, schedule="cosine"),
        train=replace(
            run.train,
            epochs=10,
            batch_size=32,
            log_every=1,
            device="cpu",
            patience=None,
            fast_matmul=False,
            precision="fp32",
        ),
    )
    locked = {"video": [{"name": "joint", "fingerprint": "", "width": 12}]} if name == "fusemix.bind" else {}
    train_on(LatentInputs(data, locked=locked), run, folder)
    return losses_of(folder)


def films(folder):
    """Films whose codecs lose nothing: every decoder gives the same pixels and samples."""
    folder.mkdir()
    words = ("red", "green", "blue", "grey", "white", "black", "pink", "gold")
    for n, word in enumerate(words):
        film(
            folder / f"{word}.mkv", codec="ffv1", audio="pcm_s16le", rate=8000, colours=n % 2 == 0, seconds=2.0 + n / 4
        )
    clips = [clip(w, source=f"{w}.mkv", end=2.0 + n / 4, texts=(Text(f"a {w} dog"),)) for n, w in enumerate(words)]
    splits = ["train"] * 6 + ["val"] * 2
    return library(folder, folder, [replace(c, split=s) for c, s in zip(clips, splits, strict=True)])


def media_losses(name, folder, films):
    run = recipe(name)
    vatt = {"video": SMALL, "audio": SMALL, "text": SMALL, "patch": (2, 8, 8), "mel_patch": (4, 40), "sound_patch": 400}
    vatt |= {"shared": SMALL, "word_width": 8, "dim": 8, "coarse_dim": 8}
    mavil = {
        "size": SMALL,
        "fusion_layers": 1,
        "decoder": SMALL,
        "patch": (2, 4, 4),
        "mel_bands": 16,
        "mel_patch": (2, 4),
    }
    method = replace(run.method, **(vatt if name.startswith("vatt") else mavil))
    raw = replace(PLAIN, modalities=run.data.raw.modalities, motion=run.data.raw.motion, squash=run.data.raw.squash)
    train = replace(
        run.train, epochs=6, steps=None, batch_size=4, micro_batch=None, precision="fp32", workers=0, evaluations=1,
        log_every=1, device="cpu",
    )  # fmt: skip
    if name.startswith("diffmavil"):
        method = replace(method, batches=replace(method.batches, multiple=2))
    train_run(films, replace(run, method=method, data=replace(run.data, raw=raw), train=train), folder)
    return losses_of(folder)


def losses_of(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.fixture(scope="module")
def library_of_films(tmp_path_factory):
    return films(tmp_path_factory.mktemp("golden") / "films")


@pytest.mark.parametrize("name", LATENTS)
def test_losses_on_latents_are_those_of_before(name, tmp_path):
    np.testing.assert_allclose(latents_losses(name, tmp_path / "run"), json.loads(GOLDEN.read_text())[name], rtol=1e-4)


@pytest.mark.parametrize("name", MEDIA)
def test_losses_on_media_are_those_of_before(name, tmp_path, library_of_films):
    found = media_losses(name, tmp_path / "run", library_of_films)
    np.testing.assert_allclose(found, json.loads(GOLDEN.read_text())[name], rtol=1e-4)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as where:
        here = films(Path(where) / "films")
        made = {name: latents_losses(name, Path(where) / name) for name in LATENTS}
        made |= {name: media_losses(name, Path(where) / name, here) for name in MEDIA}
    GOLDEN.write_text(json.dumps(made, indent=1) + "\n")
