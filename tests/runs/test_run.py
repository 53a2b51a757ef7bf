"""From latents to a model in a folder: the recipes, the start, the validation score, what is saved."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.inputs.contexts import ContextConfig
from seehear.inputs.latents import LatentData
from seehear.recipes import fusemix
from seehear.runs.config import LatentInputs, LatentsConfig, recipe, recipes
from seehear.runs.run import prepare, train_on, train_run, validation_score
from seehear.space import load_model
from tests.studies.worlds import films_with_texts

WIDTHS = {"video": 20, "audio": 12, "text": 16}


def world(n: int = 120, *, modalities=("video", "text"), seed: int = 0, noise: float = 1.5) -> dict[str, np.ndarray]:
    """Views of one hidden vector through fixed maps, with noise."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(n, 8))
    maps = {m: np.random.default_rng(99 + len(m)).normal(size=(8, d)) for m, d in WIDTHS.items()}
    views = {m: hidden @ maps[m] + noise * rng.normal(size=(n, WIDTHS[m])) for m in WIDTHS}
    return {m: views[m].astype(np.float16) for m in modalities}


def data(n: int = 120, **options) -> LatentData:
    splits = ["train"] * (n - 40) + ["val"] * 20 + ["test"] * 20
    return LatentData.from_arrays(world(n, **options), splits=splits)


def small(name: str = "fusemix", **train):
    run = recipe(name)
    method = replace(run.method, dim=8, depth=1, expansion=2, dropout=0.1)
    settings = {"device": "cpu", "epochs": 20, "evaluations": 10, "fast_matmul": False} | train
    return replace(run, method=method, train=replace(run.train, **settings))


def test_recipes_by_name():
    assert recipe("fusemix") == recipe("fusemix.base")
    with pytest.raises(SeehearError, match=r"unknown recipe 'fusemix.bse'; did you mean 'fusemix.base'"):
        recipe("fusemix.bse")
    for name, make in recipes().items():
        assert make().recipe.startswith(name)


def test_the_paper_is_the_paper():
    """Sections 3.1, 4 and 5.1 of the sheet."""
    run = fusemix.paper()
    method, optim = run.method, run.optim
    assert (method.dim, method.depth, method.expansion, method.dropout) == (512, 4, 4, 0.6)
    assert (method.mix, method.alpha, method.lambda_per, method.temperature) == ("halves", 1.0, "batch", 0.07)
    assert (method.head, method.standardise) == ("adapter", False)
    assert (optim.lr, optim.floor, optim.weight_decay, optim.betas, optim.clip) == (1e-3, 1e-6, 0.1, (0.9, 0.999), None)
    assert (run.train.epochs, run.train.batch_size, run.train.precision, run.train.seed) == (500, 40_960, "fp32", 42)
    assert (run.data.per_text, run.data.resident) == (True, False)  # 5 million pairs: 26 GB in half precision


def test_the_paper_trains_on_a_row_for_each_text(tmp_path, capsys):
    """And is validated on clips, each with all of its texts: a text's siblings are no wrong answers."""
    views = world(40)
    text = np.repeat(views["text"], 2, axis=0)
    data = LatentData.from_arrays(
        {"video": views["video"], "text": text},
        owner={"text": np.repeat(np.arange(40), 2)},
        splits=["train"] * 30 + ["val"] * 10,
    )
    run = small("fusemix.paper", epochs=2, batch_size=20)
    ready = prepare(LatentInputs(data), run)
    assert (ready.clips, len(ready.data), len(ready.drawn)) == (30, 60, 10)
    assert len(prepare(LatentInputs(data), small(batch_size=20)).data) == 30
    assert train_on(LatentInputs(data), run, tmp_path / "run").steps == 6
    assert "30 clips to train on (60 rows an epoch), 10 to validate" in capsys.readouterr().err


def test_contexts_have_texts_of_their_own():
    with pytest.raises(SeehearError, match="per_text and contexts"):
        LatentsConfig(per_text=True, contexts=ContextConfig(clips_per_video=4))


@pytest.mark.parametrize("name", ["fusemix.base", "fusemix.paper"])
def test_a_trained_model_retrieves_and_is_saved_whole(name, tmp_path):
    latents = data()
    result = train_on(LatentInputs(latents), small(name, batch_size=64), tmp_path / "run")
    assert result.score > 0.45  # chance is 0.275: 0.05 at R@1, 0.5 at R@10
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["method"] == "fusemix"
    assert config["metrics"] == result.metrics
    assert config["training"]["recipe"] == name
    model, _ = load_model(tmp_path / "run")
    again = validation_score(model.eval(), inputs=LatentInputs(latents), clips=latents.split("val").joined())
    assert again == result.metrics
    assert again.keys() == {"score"} | {
        f"{a}->{b} R@{k}" for a, b in (("video", "text"), ("text", "video")) for k in (1, 10)
    }


def test_before_the_first_step_the_default_is_the_closed_form_best_on_validation(tmp_path):
    latents = data()
    validation = latents.split("val").joined()
    model = fusemix.build(small().method, LatentInputs(latents), seed=0)
    batch = validation.batch(torch.arange(20))
    rows = {m: batch[m] for m in latents.modalities}
    closed = fusemix.start_of(small().method, latents)
    expected, found = closed.truncated(8).embed(rows), model.embed(batch)
    torch.testing.assert_close(
        found["video"] @ found["text"].T, expected["video"] @ expected["text"].T, rtol=1e-4, atol=1e-4
    )


def test_training_never_ends_below_its_start(tmp_path):
    """The starting point is scored too, so the worst learning rate costs nothing."""
    latents = data()
    wild = replace(small(), optim=replace(recipe("fusemix").optim, lr=0.3, clip=1.0))
    model = fusemix.build(wild.method, LatentInputs(latents), seed=0)
    start = validation_score(model, inputs=LatentInputs(latents), clips=latents.split("val"))["score"]
    assert train_on(LatentInputs(latents), wild, tmp_path / "run").score >= start


def test_three_modalities_some_missing(tmp_path):
    views = world(modalities=("video", "audio", "text"))
    has = {m: np.flatnonzero(np.random.default_rng(i).random(120) < 0.7) for i, m in enumerate(views)}
    splits = ["train"] * 80 + ["val"] * 40
    latents = LatentData.from_arrays({m: views[m][has[m]] for m in views}, owner=has, splits=splits)
    result = train_on(LatentInputs(latents), small(), tmp_path / "all")
    assert len(result.metrics) == 1 + 6 * 2
    hub = small()
    hub = replace(hub, method=replace(hub.method, pairs=(("video", "text"), ("audio", "text"))))
    metrics = train_on(LatentInputs(latents), hub, tmp_path / "hub").metrics
    assert not any("video" in k and "audio" in k for k in metrics)


def test_encoders_side_by_side_get_an_equal_say(tmp_path):
    views = world()
    encoders = {"video": [{"name": "a", "width": 12}, {"name": "b", "width": 8}], "text": [{"name": "c", "width": 16}]}
    latents = LatentData.from_arrays(views, encoders=encoders)
    model = fusemix.build(small().method, LatentInputs(latents), seed=0)
    assert model.config.widths == {"video": 20, "text": 16}
    assert model.config.blocks == {"video": (12, 8)}
    assert fusemix.build(small("fusemix.paper").method, LatentInputs(latents), seed=0).config.blocks == {}


def test_no_validation_clips(tmp_path, capsys):
    latents = LatentData.from_arrays(world())
    result = train_on(LatentInputs(latents), small(epochs=4), tmp_path / "run")
    assert (result.score, result.best_step, result.metrics) == (None, result.steps, {})
    assert "no validation clips" in capsys.readouterr().err


def test_no_training_clips(tmp_path):
    latents = LatentData.from_arrays(world(), splits=["test"] * 120)
    with pytest.raises(SeehearError, match="two clips of the split 'train' with two modalities; there are 0"):
        train_on(LatentInputs(latents), small(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_set_smaller_than_the_batch_trains(tmp_path):
    latents = data(47)  # 7 to train on, 20 for validation
    result = train_on(LatentInputs(latents), small(patience=None), tmp_path / "run")
    assert result.steps == 20


def test_the_same_run_twice_is_the_same_model(tmp_path):
    for name in ("a", "b"):
        torch.rand(3)  # the state of torch's own generator does not matter
        train_on(LatentInputs(data()), small(), tmp_path / name)
    files = [(tmp_path / n / "model" / "model.safetensors").read_bytes() for n in ("a", "b")]
    assert files[0] == files[1]


def test_other_data_or_encoders_are_refused_on_resume(tmp_path):
    train_on(LatentInputs(data()), small(), tmp_path / "run")
    train_on(LatentInputs(data()), small(), tmp_path / "run", resume=True)
    with pytest.raises(SeehearError, match="started with samples = 80, now it is 81"):
        train_on(LatentInputs(data(121)), small(), tmp_path / "run", resume=True)
    other = replace(small(), data=LatentsConfig(where="split = 'x'"))
    with pytest.raises(SeehearError, match=r"started with data.where = null"):
        train_on(LatentInputs(data()), other, tmp_path / "run", resume=True)


def test_a_run_from_before_a_setting_goes_on_while_it_is_off(tmp_path):
    train_on(LatentInputs(data()), small(), tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    settings = json.loads(path.read_text())
    del settings["method"]["locked"], settings["data"]["joint"]
    path.write_text(json.dumps(settings))
    train_on(LatentInputs(data()), small(), tmp_path / "run", resume=True)
    del settings["train"]["batch_size"]
    path.write_text(json.dumps(settings))
    with pytest.raises(SeehearError, match=r"was started with train\.batch_size = null"):
        train_on(LatentInputs(data()), small(), tmp_path / "run", resume=True)


def test_arrays_cannot_be_bound_without_a_space(tmp_path):
    with pytest.raises(SeehearError, match="a recipe that binds needs a library"):
        train_on(LatentInputs(data()), small("fusemix.bind"), tmp_path / "run")


def test_from_a_library(tmp_path):
    library = films_with_texts(tmp_path / "lib", **world(80))
    result = train_run(library, small(), tmp_path / "run")
    assert result.score > 0.45
    config = json.loads((tmp_path / "run" / "model" / "config.json").read_text())
    assert config["encoders"]["text"] == [
        {"name": "words", "modality": "text", "width": 16, "fingerprint": "ffffffffffffffff"}
    ]
    assert (tmp_path / "run" / "model" / "README.md").exists()


def test_a_folder_in_use_is_refused_before_anything_is_loaded(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    # No library: the first look at it would be an AttributeError.
    for resume, message in ((False, "is not empty"), (True, "no run to resume")):
        with pytest.raises(SeehearError, match=message):
            train_run(None, recipe("fusemix"), tmp_path, resume=resume)
