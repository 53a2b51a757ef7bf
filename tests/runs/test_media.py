"""A method that reads media, from a library to search: trained, saved, its towers the library's encoders."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from seehear.encoders.base import Sample
from seehear.errors import DecodeError, SeehearError
from seehear.inputs.raw.reading import views_of
from seehear.inputs.raw.text import learn_vocabulary
from seehear.library.tables import Text
from seehear.methods.vatt_config import VATTConfig
from seehear.nn.transformer import Size
from seehear.runs.config import MediaConfig, Run, recipe
from seehear.runs.evaluate import EvaluateOptions, evaluate_run
from seehear.runs.run import train_run
from seehear.search.index import build_index
from seehear.search.query import Searcher
from seehear.space import SharedSpace
from seehear.studies.modality_report import latents_run
from seehear.train.config import TrainConfig
from tests.inputs.raw_library import PLAIN, clip, library, load
from tests.library.makers import film

SMALL = Size(layers=1, width=16, hidden=32, heads=2)
WORDS = ("red", "green", "blue", "grey", "white", "black", "pink", "gold")


def run(**options) -> Run:
    method = VATTConfig(
        video=SMALL,
        audio=SMALL,
        text=SMALL,
        patch=(2, 8, 8),
        sound_patch=400,
        word_width=8,
        train_words=True,
        dim=16,
        position_norm=False,
    )
    train = TrainConfig(steps=4, batch_size=4, evaluations=2, workers=0)
    raw = options.pop("raw", PLAIN)
    data = MediaConfig(raw=raw, windows=options.pop("windows", 2), cache=options.pop("cache", None))
    return Run(recipe="vatt.test", method=method, data=data, train=train)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Eight films of 4 s: five to train on, two to validate, one to test."""
    folder = tmp_path_factory.mktemp("films")
    for n, word in enumerate(WORDS):
        film(folder / f"{word}.mp4", gop=100, colours=n % 2 == 0)
    splits = ["train"] * 5 + ["val"] * 2 + ["test"]
    return library(
        folder, folder, [clip(w, texts=(Text(f"a {w} dog"),), split=s) for w, s in zip(WORDS, splits, strict=True)]
    )


@pytest.fixture(scope="module")
def trained(films, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "vatt"
    train_run(films, run(), folder)
    return folder


def test_a_view_of_a_clip_alone_is_that_of_the_library(films):
    media = load(films).views(windows=3, crops=2)
    path = str(films.path_of("blue.mp4", films.roots()))
    row = list(media.ids).index("blue") * 6
    whole = media.batch(torch.arange(row, row + 6))
    config = media.config
    sample = Sample(path=path, start=0.0, end=4.0)
    np.testing.assert_array_equal(views_of(sample, "video", config, windows=3, crops=2), whole["video"].numpy())
    np.testing.assert_array_equal(views_of(sample, "audio", config, windows=3), whole["audio"].numpy()[::2])


def test_a_file_that_is_gone_is_a_decode_error(tmp_path):
    with pytest.raises(DecodeError, match=r"gone\.mp4"):
        views_of(Sample(path=str(tmp_path / "gone.mp4"), start=0.0, end=0.0), "video", PLAIN)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """All is decoded in this process."""
    monkeypatch.setattr("seehear.library.engines.cores", lambda: 0)


def test_what_a_run_trains_is_what_search_finds(films, trained):
    space = SharedSpace.from_pretrained(trained)
    space.encode_library(films)
    build_index(films, space, name="vatt", model=str(trained))
    searcher = Searcher(films, space, "vatt")
    hits = searcher.search("a blue dog", k=8)
    assert {hit.id for hit in hits} == set(WORDS)
    path = str(films.path_of("pink.mp4", films.roots()))
    own = space.encode([{"video": path, "start": 0.0, "end": 4.0}])
    stored = searcher.gallery.vectors_of("pink")["video"]
    np.testing.assert_allclose(np.asarray(stored, np.float32).reshape(1, -1), own, atol=2e-3)


def test_a_clips_vector_is_the_mean_of_its_windows_in_the_space(films, trained):
    """Averaged behind the heads and before it is made unit, as the paper's evaluation does."""
    space = SharedSpace.from_pretrained(trained)
    media = load(films, PLAIN)
    row = list(media.ids).index("grey")
    views = media.views(windows=2).batch(torch.tensor([2 * row, 2 * row + 1]))
    method = space.method
    with torch.no_grad():
        z = method.place({"video": method.features("video", views["video"])}, space.space)["video"].mean(0)
    path = str(films.path_of("grey.mp4", films.roots()))
    own = space.encode([{"video": path, "start": 0.0, "end": 4.0}])[0]
    np.testing.assert_allclose(own, (z / z.norm()).numpy(), atol=2e-3)


def test_evaluation_brings_the_latents_up_to_date_and_others_leave_them_alone(films, trained):
    report = evaluate_run(trained, films, EvaluateOptions(split="val", closed_forms=True))
    assert any(r.model.startswith("vatt") for r in report.results)
    about = [json.loads(v) for k, v in films.about().items() if k.startswith("encoder:vatt")]
    assert len(about) == 3
    assert all(a["of_run"] and a["model"] == str(trained.resolve()) for a in about)
    with pytest.raises(SeehearError, match="has no latents yet"):  # those of towers are for who names them
        train_run(films, recipe("fusemix"), trained.parent / "fusemix")


def test_a_saved_copy_is_the_same_space(trained, tmp_path):
    space = SharedSpace.from_pretrained(trained)
    space.save_pretrained(tmp_path / "copy")
    copy = SharedSpace.from_pretrained(tmp_path / "copy")
    assert copy.fingerprint == space.fingerprint
    np.testing.assert_array_equal(copy.encode(["a red dog"]), space.encode(["a red dog"]))


def test_with_a_cache_of_decoded_clips_the_weights_are_the_same(films, tmp_path):
    """Of pictures and words: the noise that AAC's decoder makes depends on where it starts."""
    silent = replace(PLAIN, modalities=("video", "text"))
    for name, cache in (("plain", None), ("cached", tmp_path / "cache")):
        one = run(raw=silent, cache=cache)
        train_run(films, replace(one, method=replace(one.method, spaces="joint")), tmp_path / name)
    one, other = (load_file(tmp_path / name / "model" / "model.safetensors") for name in ("plain", "cached"))
    for name, tensor in one.items():
        np.testing.assert_array_equal(tensor.numpy(), other[name].numpy(), err_msg=name)


def test_another_vocabulary_is_told(trained, tmp_path):
    space = SharedSpace.from_pretrained(trained)
    space.save_pretrained(tmp_path / "copy")
    learn_vocabulary(["other words"]).save(tmp_path / "copy" / "vocabulary.json")
    with pytest.raises(SeehearError, match="another vocabulary"):
        SharedSpace.from_pretrained(tmp_path / "copy")


def test_a_modality_that_the_library_lacks_is_left_out(films, tmp_path):
    silent = library(tmp_path, films.path_of("red.mp4", films.roots()).parent, [clip("red", texts=(), split="train")])
    spec = run().data.load(silent, run().method).spec
    assert (spec.raw.modalities, spec.vocabulary) == (("video", "audio"), None)


def test_a_window_longer_than_every_clip_is_one_line(films, tmp_path):
    long = replace(PLAIN, frames=500)
    with pytest.raises(SeehearError, match="a window of 100 s is asked for"):
        train_run(films, run(raw=long), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_recipes_of_media_are_no_recipes_of_latents():
    with pytest.raises(SeehearError, match="trains on media"):
        latents_run("vatt.tiny")
