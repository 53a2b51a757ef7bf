"""From files to a step of VATT: pictures, waveform and words as a loader reads them."""

from __future__ import annotations

import torch

from seehear.inputs.loader import Loader, Sampling
from seehear.inputs.raw import RawConfig, load_raw
from seehear.inputs.raw.text import library_vocabulary
from seehear.methods.vatt import VATT, VATTConfig
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size
from tests.inputs.raw_library import long_library

SMALL = Size(layers=1, width=16, hidden=32, heads=2)


def test_from_files_to_a_step_of_vatt(tmp_path):
    library = long_library(tmp_path)
    vocabulary = library_vocabulary(library)
    raw = RawConfig(frames=4, fps=5, size=16, rate=8000, contexts=3, words=4)
    data = load_raw(library, raw, vocabulary=vocabulary, cache=tmp_path / "cache")
    config = VATTConfig(
        video=SMALL,
        audio=SMALL,
        text=SMALL,
        frames=(raw.frames, raw.size, raw.size),
        patch=(2, 8, 8),
        rate=raw.rate,
        samples=raw.samples,
        sound_patch=128,
        vocabulary=len(vocabulary),
        word_width=8,
        words=raw.words,
        train_words=True,
        dim=8,
    )
    model = VATT(config)
    for step, batch in enumerate(Loader(data, Sampling(batch_size=4, seed=0, steps=2)).batches()):
        rng = Randomness(0, step, 0, 4, 4)
        out = model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)
        out.loss.backward()
        assert torch.isfinite(out.loss)
        assert {"loss/video-audio", "loss/video-text"} <= out.metrics.keys()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None} >= {"tokens", "encoders"}
