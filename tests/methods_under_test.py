"""Every method the tests of the loop run on: one line a method brings overfitting, exact resume, gradient caching and
processes (`tests/train/`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch

from seehear.inputs.latents import LatentData
from seehear.inputs.loader import TrainingData
from seehear.methods.base import Method
from seehear.methods.diffmavil import Curriculum, DiffMAViL, DiffMAViLConfig
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.methods.mavil import SIDES, MAViL, MAViLConfig
from seehear.methods.mcn import MCN, MCNConfig
from seehear.methods.vatt import VATT, VATTConfig
from seehear.methods.vatt_config import MelConfig
from seehear.nn.transformer import Size
from tests.clips import BANDS, WIDTH, Clips
from tests.pictures import painting, pictures
from tests.raw_clips import FRAMES, SAMPLES, VOCABULARY, WORDS, RawClips
from tests.toy import Data, Mixing, Toy


def latents(n: int) -> LatentData:
    """Two views of one hidden vector; every fourth clip has a second text."""
    views = Data(n, width=12).views
    again = torch.arange(0, n, 4)
    texts, owner = torch.cat([views["text"], views["text"][again] + 0.1]), torch.cat([torch.arange(n), again])
    return LatentData.from_arrays({"video": views["video"], "text": texts}, owner={"text": owner})


def fusemix(**options: Any) -> FuseMix:
    config = FuseMixConfig(widths={"video": 12, "text": 12}, dim=12, depth=1, expansion=2, dropout=0.2, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        method = FuseMix(config)
    return method.fit(latents(40).aligned()[0])


def mcn(**options: Any) -> MCN:
    """Of latents; or of latents, sound and words."""
    small = {"dim": 32, "hidden": 8, "clusters": 3, "queue": 10, "refit_every": 3, "channels": (8, 16)}
    small |= {"reconstruct_weight": 2.0}
    config = MCNConfig(**({"widths": {"video": 12, "text": 12}, "normalise": "standardise"} | small | options))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MCN(config)


def mcn_of_clips(**options: Any) -> MCN:
    widths = {"video": WIDTH, "audio": BANDS, "text": WIDTH}
    return mcn(widths=widths, inputs={"audio": "mel", "text": "words"}, normalise="l2", **options)


def vatt(**options: Any) -> VATT:
    size = Size(layers=1, width=16, hidden=32, heads=2)
    small = {"video": size, "audio": size, "text": size, "shared": size, "dim": 16, "word_width": 8}
    small |= {"keep": {"video": 0.75, "audio": 0.75}}
    small |= {
        "dropout": 0.02,
        "frames": FRAMES,
        "patch": (2, 4, 4),
        "samples": SAMPLES,
        "sound_patch": 16,
        "rate": 100,
        "words": WORDS,
    }
    small |= {"mel": MelConfig(window=0.16, hop=0.04, bands=8, low=2.0, high=50.0), "mel_patch": (4, 4)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VATT(VATTConfig(**(small | {"vocabulary": VOCABULARY} | options)))


def mavil(**options: Any) -> MAViL:
    """Of 8 patches of either side, 4 of which are hidden. The spectrogram has 6 frames, and 2 more of padding."""
    small = {
        "size": Size(layers=1, width=16, hidden=32, heads=2),
        "fusion_layers": 1,
        "decoder": Size(layers=2, width=16, hidden=32, heads=2),
        "frames": FRAMES,
        "patch": (2, 4, 4),
        "rate": 800,
        "mel_frames": 8,
        "mel_bands": 8,
        "mel_patch": (2, 4),
        "mel_mean": 0.0,
        "mel_std": 1.5,
        "masking": dict.fromkeys(SIDES, 0.5),
        "inter_weight": 1.0,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = MAViL(MAViLConfig(**(small | options)))
        if model.config.teacher:
            model.teacher.load_state_dict(MAViL(replace(model.config, teacher="")).trunk.state_dict())
    return model


def diffmavil(**options: Any) -> DiffMAViL:
    """The same, with a curriculum that has three ratios."""
    plain = mavil().config
    small = {f.name: getattr(plain, f.name) for f in fields(plain) if f.name not in ("masking", "decoders")}
    small |= {"curriculum": Curriculum(start=0.75, end=0.5, parts=3)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return DiffMAViL(DiffMAViLConfig(**(small | options)))


METHODS: dict[str, tuple[Callable[[], Method], Callable[[int], TrainingData]]] = {
    "toy": (Toy, Data),
    "mixing": (Mixing, Data),
    "fusemix": (lambda: fusemix(mix="permutation"), latents),
    "fusemix-halves": (fusemix, latents),
    "fusemix-skip": (lambda: fusemix(head="skip", mix="permutation", lambda_per="row"), latents),
    "mcn": (lambda: mcn().fit(latents(40).aligned()[0]), latents),
    "mcn-clips": (mcn_of_clips, Clips),
    "mcn-spaces": (lambda: mcn_of_clips(spaces="fine_coarse", similarity="cosine", mask_duplicates=True), Clips),
    "vatt": (lambda: vatt(temperature=0.2, dropout=0.05), RawClips),
    "vatt-agnostic": (
        lambda: vatt(variant="agnostic", spaces="joint", form="code", keep_per_sample=True, temperature=0.2),
        RawClips,
    ),
    "mavil": (mavil, RawClips),
    "diffmavil": (diffmavil, RawClips),
    "painter": (painting, pictures),
    "mavil-stage2": (lambda: mavil(teacher="runs/before", fusion="bottleneck"), RawClips),
}
"""name -> (make the method, make the data of so many clips)."""

VARIANTS = {"fusemix-halves", "fusemix-skip", "mcn-clips", "mcn-spaces", "vatt-agnostic", "mavil-stage2"}
EACH = [pytest.param(name, marks=pytest.mark.slow) if name in VARIANTS else name for name in METHODS]
"""All names, for tests that take seconds: each method once by default, its variants with the slow tests."""
