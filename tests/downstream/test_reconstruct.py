"""Hidden patches told by MAViL in one pass, by DiffMAViL from noise; the picture and the sounds of it."""

from __future__ import annotations

import wave
from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.cli import main
from seehear.downstream.reconstruct import ReconstructOptions, reconstruction, restore, save_reconstruction
from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.methods.diffmavil import Curriculum, DiffMAViL
from seehear.methods.mavil import SIDES
from seehear.nn.diffusion import sample
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size
from seehear.space.saved import InputSpec
from seehear.train.files import save_model
from tests.library.makers import film
from tests.methods_under_test import diffmavil, mavil, mcn
from tests.raw_clips import FRAMES, RawClips

HALF = Curriculum(start=0.5, shape="constant")


def clips(rows=2):
    return RawClips(rows).batch(torch.arange(rows))


def pattern(rows):
    """One clip, so many times: waves that no two patches have alike, and a rising tone."""
    t, y, x = torch.meshgrid(*(torch.arange(n) for n in FRAMES), indexing="ij")
    colours = torch.stack([torch.sin(0.7 * x + 0.5 * y + t + c) for c in range(3)], dim=-1)
    batch, tone = clips(rows), torch.sin(0.02 * torch.arange(64) ** 1.5)
    batch["video"] = (127 + 110 * colours).to(torch.uint8).expand(rows, -1, -1, -1, -1)
    there = {f"has_{m}": torch.ones(rows, dtype=torch.bool) for m in SIDES}
    return batch | there | {"audio": tone.expand(rows, -1)}


def memorised(steps, *, rows, lr, **options):
    """A model that has learnt the clip by heart."""
    size = Size(layers=2, width=64, hidden=128, heads=4)
    small = {"size": size, "decoder": size, "roll": False, "intra_weight": 0.0, "curriculum": HALF}
    small |= {"mel_mean": -2.0, "mel_std": 3.0, "mel_padding": "silence"}
    model, batch = diffmavil(**(small | options)), pattern(rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.95))
    for step in range(steps):
        features = model.encode(batch, rng=Randomness(0, step, 0, rows, rows)).features
        (features["video error"] + features["audio error"]).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


@pytest.mark.parametrize(
    ("m", "standardise", "learning"),
    [
        ("audio", True, {"steps": 100, "rows": 2, "lr": 3e-3}),
        pytest.param("audio", False, {"steps": 300, "rows": 4, "lr": 3e-3}, marks=pytest.mark.slow),
        pytest.param("video", True, {"steps": 400, "rows": 8, "lr": 1e-3}, marks=pytest.mark.slow),
    ],
)
def test_from_noise_back_to_a_clip_learnt_by_heart(m, standardise, learning):
    """Patches of film are many numbers, most of them noise: the decoder is longer in finding where one belongs."""
    model = memorised(**learning, standardise=standardise)
    for options in ({"steps": 1}, {"steps": 10}, {"steps": 20, "eta": 1.0}):
        found = restore(model, pattern(8), ReconstructOptions(mask=0.5, seed=3, **options))[m]
        assert float(found.error_B.median()) < 0.1  # single patches may be taken for others


@pytest.mark.parametrize("make", [mavil, diffmavil])
def test_what_is_seen_stays_and_nothing_depends_on_what_is_hidden(make):
    """But for mean and deviation, where they are lent."""
    model, batch = make(standardise=False), clips()
    found = restore(model, batch, ReconstructOptions(mask=0.5, steps=4))
    for m in SIDES:
        one = found[m]
        assert one.hidden_BN.sum(dim=1).tolist() == [4, 4]
        seen = ~one.hidden_BN
        assert torch.equal(one.original_BNP[seen], one.restored_BNP[seen])
        assert not torch.allclose(one.original_BNP[one.hidden_BN], one.restored_BNP[one.hidden_BN])
    hidden = found["video"].hidden_BN.view(2, 2, 2, 2)  # patches of (2, 4, 4)
    pixels = hidden.repeat_interleave(2, 1).repeat_interleave(4, 2).repeat_interleave(4, 3)[..., None]
    other = torch.where(pixels, 255 - batch["video"], batch["video"])
    again = restore(model, batch | {"video": other}, ReconstructOptions(mask=0.5, steps=4))
    for m in SIDES:
        told = found[m].hidden_BN
        torch.testing.assert_close(found[m].restored_BNP[told], again[m].restored_BNP[told])


def test_the_same_seed_the_same_picture():
    model = diffmavil()
    first, same, other = (
        restore(model, clips(), ReconstructOptions(mask=0.5, steps=3, seed=seed)) for seed in (0, 0, 1)
    )
    for m in SIDES:
        assert torch.equal(first[m].restored_BNP, same[m].restored_BNP)
        assert not torch.equal(first[m].hidden_BN, other[m].hidden_BN)


def test_an_error_of_1_is_flat_patches():
    """What a model that says nothing of standardised patches is worth."""
    model = mavil()
    for m in SIDES:
        torch.nn.init.zeros_(model.decoders[m].head.weight)
    found = restore(model, clips(), ReconstructOptions(mask=0.5))
    for m in SIDES:
        torch.testing.assert_close(found[m].error_B, torch.ones(2))


def test_noise_space_patch_needs_no_loan_on_the_way(monkeypatch):
    """The way back runs where patches are standardised; only its end is given means and deviations."""
    seen = []

    def spied(denoise, draw, schedule, **options):
        made = sample(denoise, draw, schedule, **options)
        seen.append(made.std().item())
        return made

    monkeypatch.setattr("seehear.downstream.reconstruct.sample", spied)
    loud = clips() | {"audio": clips()["audio"] * 100}
    restore(diffmavil(noise_space="patch"), loud, ReconstructOptions(mask=0.5, steps=3))
    restore(diffmavil(), loud, ReconstructOptions(mask=0.5, steps=3))
    assert len(seen) == 4
    assert all(np.isfinite(seen))


def test_methods_that_tell_nothing():
    with pytest.raises(SeehearError, match="mcn is no masked autoencoder"):
        restore(mcn(), clips(), ReconstructOptions(mask=0.5))
    with pytest.raises(SeehearError, match="use one of stage 1"):
        restore(mavil(teacher="runs/before"), clips(), ReconstructOptions(mask=0.5))
    with pytest.raises(SeehearError, match="--mask is between 0 and 1"):
        ReconstructOptions(mask=1.0)


@pytest.mark.parametrize("make", [mavil, diffmavil])
def test_picture_and_sounds(make, tmp_path):
    batch = {k: v[:1] for k, v in clips().items()}
    made = reconstruction(make(), batch, ReconstructOptions(mask=0.5, steps=2))
    assert made.shots["video"].original.shape == made.shots["video"].restored.shape == (4, 8, 8, 3)
    assert made.shots["video"].hidden.shape == (4, 8, 8)
    assert np.allclose(made.shots["video"].original, batch["video"][0].numpy() / 255, atol=1e-5)
    assert made.shots["audio"].original.shape == (8, 8)
    assert made.shots["audio"].hidden.sum() == 4 * 2 * 4
    for shots in made.shots.values():
        assert np.allclose(shots.lent[~shots.hidden], shots.original[~shots.hidden])
        assert not np.allclose(shots.lent[shots.hidden], shots.original[shots.hidden])
    assert ("steps from noise" in made.said) == (make is diffmavil)
    assert "mean and contrast of hidden patches are the original's" in made.said
    if make is mavil:
        return  # drawing takes a second, and is the same for all
    paths = save_reconstruction(made, tmp_path / "deep" / "clip.png")
    assert [p.name for p in paths] == ["clip.png", "clip.original.wav", "clip.restored.wav"]
    assert paths[0].read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    with wave.open(str(paths[1])) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getnframes()) == (800, 1, 5 * 8 + 20)


def test_a_clip_without_sound():
    batch = {k: v[4:5] for k, v in clips(5).items()}
    made = reconstruction(diffmavil(standardise=False), batch, ReconstructOptions(mask=0.5, steps=2))
    assert (list(made.shots), made.sounds) == (["video"], {})
    assert made.shots["video"].lent is None
    assert "mean and contrast" not in made.said


def test_the_command_on_a_run_and_a_file(tmp_path, capsys):
    """From a folder as training leaves it, and a film with sound."""
    raw = RawConfig(modalities=SIDES, frames=4, fps=2.0, size=32, rate=16_000)
    config = replace(diffmavil().config, rate=16_000, mel_frames=64, mel_bands=128, mel_patch=(16, 16))
    model = DiffMAViL(config.reading(raw)).eval()
    save_model(tmp_path / "run" / "model", model, InputSpec(raw=raw).facts(model))
    out, made_film = tmp_path / "made.png", film(tmp_path / "film.mp4")
    words = ["reconstruct", str(tmp_path / "run"), str(made_film), "--out", str(out), "--steps", "2"]
    assert main([*words, "--device", "cpu"]) == 0
    said = capsys.readouterr().out
    assert "video: error of hidden patches" in said
    assert "audio: error of hidden patches" in said
    assert all((tmp_path / name).exists() for name in ("made.png", "made.original.wav", "made.restored.wav"))
    assert main([*words[:2], str(tmp_path / "none.mp4"), "--device", "cpu"]) == 2
