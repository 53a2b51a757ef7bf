"""Towers of the methods that read media, as classifiers start from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from seehear.downstream.finetune import Pretrained, classifier, nothing
from seehear.downstream.presets import FineTune, preset
from seehear.errors import SeehearError
from seehear.methods.classifier import Learning
from seehear.methods.diffmavil import DiffMAViL, DiffMAViLConfig
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.methods.mavil import MAViL, MAViLConfig
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size
from seehear.train.files import save_model
from tests.inputs.raw_library import TINY

RAW = replace(TINY, modalities=("video", "audio"), rate=16_000, size=32, seconds=1.0)
SMALL = {
    "size": Size(layers=2, width=32, hidden=64, heads=2),
    "decoder": Size(layers=1, width=32, hidden=64, heads=2),
    "patch": (2, 16, 16),
    "mel_bands": 32,
    "mel_patch": (16, 16),
    "fusion_layers": 1,
}


def trained(kind, config):
    torch.manual_seed(0)
    return Pretrained(kind(config(**SMALL).reading(RAW, vocabulary=0)), RAW, "")


@pytest.fixture(params=[(MAViL, MAViLConfig), (DiffMAViL, DiffMAViLConfig)], ids=["mavil", "diffmavil"])
def model(request):
    return trained(*request.param)


def clips(raw, rows=3):
    g = torch.Generator().manual_seed(0)
    batch = {name: x.repeat(rows, *[1] * (x.dim() - 1)) for name, x in nothing(raw, ("video", "audio")).items()}
    video = torch.randint(0, 255, batch["video"].shape, generator=g, dtype=torch.uint8)
    return batch | {"video": video, "audio": torch.randn(batch["audio"].shape, generator=g)}


def test_mavil_s_fusion_is_its_audio_and_video_tower(model):
    made = classifier(model, FineTune(), ("a", "b"), tower="video+audio", several=True)
    batch = clips(RAW)
    met = model.method.fused(batch)
    assert torch.allclose(made.tower(batch), torch.cat([met["video"], met["audio"]], dim=1), atol=1e-5)
    assert any(name.endswith("decoders") for name in made.config.left_out)


def test_one_tower_is_all_that_is_kept(model):
    settings = FineTune(learning=Learning(layer_decay=0.5, norm=True))
    made = classifier(model, settings, ("a", "b"), tower="audio", several=False)
    kept = {name.split("trunk.")[1].rpartition(".audio.")[0] for name in made.state_dict() if "model." in name}
    assert kept == {"tokens", "encoders"}
    rates = {name.rpartition("trunk.")[2]: made.lr_multiplier(name) for name, _ in made.named_parameters()}
    assert rates["tokens.audio.cls"] == 0.125
    assert rates["encoders.audio.blocks.1.up.weight"] == 0.5
    assert rates["last.weight"] == rates["norm.weight"] == 1.0
    both = classifier(model, settings, ("a", "b"), tower="video+audio", several=False)
    fusion = [both.lr_multiplier(name) for name, _ in both.named_parameters() if ".fusion." in name]
    assert set(fusion) == {1.0}


def test_the_published_settings_learn(model):
    """SpecAug, mixup and drop path act in a step of training and in nothing else."""
    made = classifier(model, preset("mavil.as20k"), ("a", "b"), tower="audio", several=True)
    assert made.model.config.drop_path == 0.1
    batch = clips(RAW, rows=4) | {"label": torch.eye(2).repeat(2, 1)}
    rng = Randomness(0, 0, 0, 4, 4)
    step = made.objective(made.encode(made.assemble(batch, rng=rng), rng=rng), progress=0.0, rng=rng)
    step.loss.backward()
    learning = [p for p in made.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learning)
    assert torch.equal(made.tower(batch), made.tower(batch))
    assert not torch.equal(made.tower(batch), made.tower(batch, rng=rng))


def test_a_shorter_sound_with_its_own_statistics(model):
    settings = FineTune(clips=preset("mavil.speech-commands").clips)
    made = classifier(model, settings, ("a", "b"), tower="audio", several=False)
    assert (made.model.config.mel_mean, made.model.config.mel_frames) == (-6.845978, 128)


def test_what_a_method_has_not(model, tmp_path):
    with pytest.raises(SeehearError, match="drops no tokens by learning"):
        classifier(model, FineTune(learning=Learning(keep=0.5)), ("a", "b"), tower="audio", several=False)
    infos = {m: [{"name": "x", "fingerprint": "x", "width": 4}] for m in ("video", "text")}
    save_model(tmp_path, FuseMix(FuseMixConfig(widths={"video": 4, "text": 4})), {"encoders": infos})
    with pytest.raises(SeehearError, match="fusemix reads latents, not media: 'seehear evaluate' has its probes"):
        Pretrained.load(tmp_path)
