"""`fusemix.bind` on a library: sounds bound to the space of a joint encoder, from what is seen with them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.folders.indexes import index_run
from seehear.inputs.latents import LatentData
from seehear.library.tables import Clip, LibraryTables, Text
from seehear.library.transcripts import note_reader
from seehear.methods.linear import moments
from seehear.methods.tuning import bound
from seehear.recipes import fusemix
from seehear.report.health import health_section
from seehear.runs.closed_forms import closed_forms
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.evaluate import EvaluateOptions, evaluate_run
from seehear.runs.run import train_run
from seehear.search.index import indexes
from seehear.space import SharedSpace, frozen
from tests.studies.worlds import put_latents

CLIPS = 80
WIDTHS = {"joint#modality=video": 16, "joint#modality=text": 16, "ears": 12, "eyes": 5}


def world() -> dict[str, np.ndarray]:
    """Views of one hidden vector: what is seen, what is heard, and the joint encoder's words for it."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(CLIPS, 4))
    seen = hidden @ rng.normal(size=(4, 16))
    views = {"joint#modality=video": seen + 0.3 * rng.normal(size=seen.shape)}
    views["joint#modality=text"] = seen + 0.3 * rng.normal(size=seen.shape)
    views["ears"] = hidden @ rng.normal(size=(4, 12)) + 0.3 * rng.normal(size=(CLIPS, 12))
    views["eyes"] = rng.normal(size=(CLIPS, 5))
    return {name: view.astype(np.float16) for name, view in views.items()}


def library(folder, names, *, text: tuple[Text, ...] = ()) -> LibraryTables:
    made = LibraryTables.create(folder)
    clips = [
        Clip(
            id=f"{i}",
            source=f"{i}.mp4",
            end=2.0,
            has_video=True,
            has_audio=True,
            texts=text,
            labels=() if text else ("ab"[i % 2],),
            group=f"{i}",
            split=("train", "train", "val", "test")[i % 4],
        )
        for i in range(CLIPS)
    ]
    views, modality_of = world(), {"ears": "audio", "eyes": "video"}
    put_latents(made, clips, {n: (modality_of.get(n, n.rpartition("=")[2]), views[n]) for n in names})
    return LibraryTables.open(folder)


def small():
    run = recipe("fusemix.bind")
    return replace(run, train=replace(run.train, device="cpu", epochs=10, evaluations=2, fast_matmul=False))


def recall(space, where, query, gallery):
    """Of a view's own clip among the test clips, in the first one."""
    test = np.arange(CLIPS) % 4 == 3
    vectors = space.encode_latents({"video": where["joint#modality=video"], "audio": where["ears"]})
    vectors["text"] = space.encode_latents({"text": where["joint#modality=text"]})["text"]
    similar = vectors[query][test] @ vectors[gallery][test].T
    return (similar.argmax(1) == np.arange(test.sum())).mean()


def test_words_find_sounds_that_no_text_describes(tmp_path):
    """The library has no text latents at all; what the joint encoder says of words finds the sounds all the same."""
    made = library(
        tmp_path / "lib", ["joint#modality=video", "joint#modality=text", "ears", "eyes"], text=(Text("what is there"),)
    )
    run = replace(small(), method=replace(small().method, pairs=(("video", "audio"),)))
    train_run(made, run, tmp_path / "run")
    space = SharedSpace.from_pretrained(tmp_path / "run", device="cpu")
    assert space.encoders["video"][0]["name"] == "joint#modality=video"  # and not the other encoder of pictures
    views = world()
    frozen = views["joint#modality=video"].astype(np.float32)
    np.testing.assert_allclose(
        space.encode_latents({"video": frozen})["video"],
        frozen / np.linalg.norm(frozen, axis=1, keepdims=True),
        rtol=1e-4,
    )
    assert recall(space, views, "text", "audio") >= 0.5  # chance is 0.05
    assert recall(space, views, "video", "audio") >= 0.5


class Words:
    """The joint encoder's tower of words, which the library has no latents of."""

    name, modality, width, fingerprint = "joint#modality=text", "text", 16, "f" * 16

    def preparation(self):
        return lambda sample: sample.text

    query_preparation = preparation

    def encode(self, texts):
        return np.stack([np.random.default_rng(list(text.encode())).normal(size=16) for text in texts])


def test_a_library_without_text_is_evaluated_and_indexed_in_the_space_that_words_reach(
    tmp_path, monkeypatch, few_phrases
):
    def load(name, **_):
        if name not in ("joint", Words.name):
            raise SeehearError(f"{name} has no tower of words")
        return Words()

    monkeypatch.setattr(frozen, "load_encoder", load)
    monkeypatch.setattr(frozen, "towers_of", lambda name: ("video", "text") if name == "joint" else ())
    monkeypatch.setattr("seehear.encoders.registry.load_encoder", load)
    made = library(tmp_path / "lib", ["joint#modality=video", "ears"])
    train_run(made, small(), tmp_path / "run")
    space = SharedSpace.from_pretrained(tmp_path / "run", device="cpu")
    assert space.modalities == ("video", "image", "audio", "text")
    assert space.locked == ("video", "text")
    assert space.encode_latents({"text": np.ones((1, 16))})["text"].shape == (1, 16)
    report = evaluate_run(tmp_path / "run", made, EvaluateOptions(closed_forms=False, probes=False), device="cpu")
    assert {"video->audio", "audio->class"} <= {result.task for result in report.results}
    index_run(made, tmp_path / "run", device="cpu")
    assert indexes(made)["run"]["modalities"] == ["video", "audio", "text"]


def test_without_a_joint_encoder_there_is_nothing_to_bind_to(tmp_path):
    made = library(tmp_path / "lib", ["eyes", "ears"])
    with pytest.raises(SeehearError, match="has latents of video, audio, and no joint encoder"):
        train_run(made, small(), tmp_path / "run")
    with pytest.raises(SeehearError, match="unknown joint encoder 'siglip'"):
        train_run(made, replace(small(), data=replace(small().data, joint="siglip")), tmp_path / "run")


def test_speech_from_transcripts_binds_too_and_is_named_as_what_it_is(tmp_path, capsys):
    """Sounds are bound to what is said as well as to what is seen; the numbers are marked."""
    spoken = (Text("what is there", 0.0, 1.0, "speech", "w1"),)
    made = library(tmp_path / "lib", ["joint#modality=video", "joint#modality=text", "ears"], text=spoken)
    note_reader(made, "w1", "Whisper tiny.en")
    train_run(made, small(), tmp_path / "run")
    assert "learns from machine-made texts: 40 of 40 texts transcribed by Whisper tiny.en" in capsys.readouterr().err
    metrics = (tmp_path / "run" / "metrics.jsonl").read_text()
    for pair, learned in (("video-audio", True), ("audio-text", True), ("video-text", False)):
        assert (f"loss/{pair}" in metrics) == learned
    report = evaluate_run(tmp_path / "run", made, EvaluateOptions(closed_forms=False, probes=False), device="cpu")
    made_by = "20 of 20 texts transcribed by Whisper tiny.en"
    assert report.about["machine_texts"] == made_by
    assert f"A machine made the words that are asked with ({made_by})" in report.summary()
    assert "80 of 80 texts transcribed by Whisper" in health_section(made, split="test")


@pytest.mark.parametrize("name", ["fusemix", "mcn.tiny"])
def test_methods_of_latents_learn_from_transcripts_alone(name, tmp_path, capsys):
    """Signs are left out, and where clips are extended by their neighbours, what is said there comes along."""
    texts = (Text("what is there", 0.0, 1.0, "speech", "w1"), Text("EXIT", 0.0, 1.0, "screen", "o1"))
    made = library(tmp_path / "lib", ["eyes", "joint#modality=text", "ears"], text=texts)
    run = recipe(name)
    settings = replace(run.train, device="cpu", epochs=2, evaluations=1, fast_matmul=False)
    method = replace(run.method, **({"dim": 8} | ({} if name == "fusemix" else {"hidden": 8, "clusters": 4})))
    context = replace(run.data.contexts, clips_per_video=2)
    for folder, data in (("clips", run.data), ("contexts", replace(run.data, contexts=context))):
        train_run(made, replace(run, method=method, data=data, train=settings), tmp_path / folder)
        assert "learns from machine-made texts: 40 of 40 texts transcribed by a machine" in capsys.readouterr().err
        space = SharedSpace.from_pretrained(tmp_path / folder, device="cpu")
        assert space.modalities == ("video", "image", "audio", "text")


def test_the_closed_form_is_a_baseline_that_words_reach(tmp_path):
    """It is where the run starts, and takes words although no clip has text."""
    views = world()
    splits = ["train"] * 50 + ["val"] * 15 + ["test"] * 15
    latents = LatentData.from_arrays({"video": views["joint#modality=video"], "audio": views["ears"]}, splits=splits)
    *_, form = closed_forms(latents, locked=("video", "text"))
    assert (form.name, form.spaces) == ("bound", {"joint": ("video", "audio", "text")})
    locked = {m: [{"name": f"joint#modality={m}", "fingerprint": "", "width": 16}] for m in ("video", "text")}
    model = fusemix.build(recipe("fusemix.bind").method, LatentInputs(latents, locked=locked), seed=0)
    batch = {
        m: torch.from_numpy(x).float() for m, x in (("audio", views["ears"]), ("text", views["joint#modality=text"]))
    }
    expected, found = form.embed(batch), model.eval().embed(batch)
    torch.testing.assert_close(
        found["audio"] @ found["text"].T, expected["audio"] @ expected["text"].T, rtol=1e-4, atol=1e-4
    )


def test_several_locked_modalities_have_equal_say():
    """One is in other units than the other: neither is standardised, they are towers of one space."""
    rng = np.random.default_rng(1)
    sound, seen, said = (rng.normal(size=(40, d)) for d in (3, 5, 5))
    both = moments({"video": seen, "audio": sound, "text": said}).standardised()
    alone = [bound(both.only(m, "audio"), locked=[m]).weight["audio"] for m in ("video", "text")]
    np.testing.assert_allclose(bound(both, locked=["video", "text"]).weight["audio"], (alone[0] + alone[1]) / 2)
    with pytest.raises(SeehearError, match="nothing binds it"):
        bound(both.only("audio", "video"), locked=["text"])
