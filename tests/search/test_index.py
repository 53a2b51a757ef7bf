from dataclasses import replace

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.library.tables import Clip, Text, Vectors, content_key, quote
from seehear.search.fulltext import search_fulltext, update_fulltext
from seehear.search.index import build_approximate, build_index, indexes
from tests.search import toy


@pytest.fixture
def library(tmp_path):
    return toy.library(tmp_path)


def test_every_latent_becomes_a_unit_vector_of_the_model(library):
    report = build_index(library, toy.Space(), name="run", model="runs/run")
    assert (report.added, report.kept, report.removed, report.rows, report.texts) == (88, 0, 0, 88, 48)
    rows = library.vectors("vectors", "run").read()
    np.testing.assert_allclose(np.linalg.norm(rows.vectors.astype(np.float32), axis=1), 1.0, atol=2e-3)
    latents = library.vectors("latents", "toy-audio").read()
    ours = [i for i, m in enumerate(rows.modalities) if m == "audio"]
    np.testing.assert_allclose(rows.vectors[ours], toy.unit(latents.vectors), atol=2e-3)
    about = indexes(library)["run"]
    assert (about["maker"], about["model"], about["recall"]) == ("model-1", "runs/run", None)
    assert "88 vectors" in str(report)


def test_a_second_time_computes_nothing(library):
    build_index(library, toy.Space(), name="run")
    again = toy.Space()
    report = build_index(library, again, name="run")
    assert (report.added, report.kept, again.embedded) == (0, 88, 0)


def test_only_what_changed_is_done_again(library):
    """One text is other words now, and encoded anew; another is, and is not yet; a video's latent is gone."""
    build_index(library, toy.Space(), name="run")
    anew, stale = (replace(toy.clip(n), texts=(Text("a dog"), toy.clip(n).texts[1])) for n in (6, 12))
    library.put_clips([anew, stale])
    table = library.vectors("latents", "toy-text")
    table.remove(f"id = {quote(anew.id)}")
    table.append(toy.rows([anew], "text"))
    library.vectors("latents", "toy-video").remove(f"id = {quote(toy.clip(5).id)}")
    space = toy.Space()
    report = build_index(library, space, name="run")
    assert (report.added, report.kept, report.removed, space.embedded) == (1, 85, 3, 1)
    assert (stale.id, 0, "text") not in library.vectors("vectors", "run").keys()  # noqa: SIM118


def test_a_kill_between_batches_loses_nothing(library, monkeypatch):
    monkeypatch.setattr("seehear.search.index.BATCH", 10)
    space = toy.Space()
    whole = toy.Space.encode_latents

    def dies(self, latents):
        if self.embedded >= 40:
            raise KeyboardInterrupt
        return whole(self, latents)

    monkeypatch.setattr(toy.Space, "encode_latents", dies)
    with pytest.raises(KeyboardInterrupt):
        build_index(library, space, name="run")
    monkeypatch.setattr(toy.Space, "encode_latents", whole)
    again = toy.Space()
    report = build_index(library, again, name="run")
    assert report.rows == 88
    assert again.embedded == 88 - space.embedded
    keys = library.vectors("vectors", "run").keys()
    assert len(keys) == len(library.vectors("vectors", "run")) == 88


def test_another_model_replaces_the_vectors(library):
    build_index(library, toy.Space(), name="run")
    report = build_index(library, toy.Space("model-2"), name="run")
    assert (report.added, report.removed, report.rows) == (88, 88, 88)
    assert set(library.vectors("vectors", "run").read().makers) == {"model-2"}
    wide = toy.Space("model-3")
    wide.dim = 2 * toy.WIDTH
    wide.encode_latents = lambda latents: {m: toy.unit(np.concatenate([x, x], axis=1)) for m, x in latents.items()}
    assert build_index(library, wide, name="run").rows == 88
    assert library.vectors("vectors", "run").width == 16


def test_latents_of_another_encoder_version_are_not_taken(library):
    with pytest.raises(SeehearError, match="as the model was trained on"):
        build_index(library, toy.Space(encoder="f2"), name="run")
    space = toy.Space()
    space.encoders["audio"] = ({"name": "absent", "fingerprint": "f1", "width": 8},)
    with pytest.raises(SeehearError, match="no latents of absent"):
        build_index(library, space, name="run")


def test_encoders_side_by_side_are_joined_by_text(library):
    texts = library.vectors("latents", "toy-text").read()
    some = [i for i in range(len(texts)) if i % 5]
    library.vectors("latents", "other", 2).append(
        Vectors(
            [texts.ids[i] for i in some],
            texts.items[some],
            ["text"] * len(some),
            np.stack([texts.vectors[i, :2] for i in some]),
            ["f9"] * len(some),
            [texts.contents[i] for i in some],
        )
    )
    space = toy.Space()
    space.encoders = {"text": (*space.encoders["text"], {"name": "other", "fingerprint": "f9", "width": 2})}
    space.encode_latents = lambda latents: {m: toy.unit(x[:, 2:]) for m, x in latents.items()}
    assert build_index(library, space, name="both").rows == len(some)
    found = library.vectors("vectors", "both").read()
    first = texts.ids.index(found.ids[0])
    item = texts.vectors[first + int(found.items[0])].astype(np.float32)
    np.testing.assert_allclose(found.vectors[0], toy.unit(np.concatenate([item[2:], item[:2]])), atol=3e-3)


def test_the_approximate_index_measures_its_recall(tmp_path, capsys, monkeypatch):
    library = toy.library(tmp_path, 4)
    rng = np.random.default_rng(0)
    n = 2000
    clips = [Clip(id=f"x{i:05d}", source=f"x{i}.mp4", has_video=True) for i in range(n)]
    many = Vectors(
        [f"x{i:05d}" for i in range(n)],
        np.zeros(n, np.int32),
        ["video"] * n,
        rng.normal(size=(n, 8)),
        ["f1"] * n,
        [content_key(clip, "video", 0, {}) for clip in clips],
    )
    library.put_clips(clips)
    library.vectors("latents", "toy-video").append(many)
    monkeypatch.setattr("seehear.search.index.APPROXIMATE_FROM", 1000)
    report = build_index(library, toy.Space(), name="run")
    assert report.recall >= 0.95
    assert "recall@10" in capsys.readouterr().err
    assert indexes(library)["run"]["probes"] > 0


def test_a_width_that_does_not_pack_into_bytes_has_an_approximate_index(tmp_path, monkeypatch):
    monkeypatch.setattr("seehear.search.index.CHECKED", 40)  # queries, most of the time
    library = toy.library(tmp_path, 4)
    vectors_NE = toy.unit(np.random.default_rng(0).normal(size=(600, 9)))
    ids = [f"x{i:03d}" for i in range(len(vectors_NE))]
    rows = Vectors(ids, np.zeros(len(ids), np.int32), ["video"] * len(ids), vectors_NE, ["f1"] * len(ids), ids)
    library.vectors("vectors", "odd", 9).append(rows)
    recall, _ = build_approximate(library, "odd")
    assert recall >= 0.95


def test_full_text_follows_the_clips(library):
    assert update_fulltext(library) == 48
    assert {i for i, _, _ in search_fulltext(library, "barking dogs?", 10)} == {"dog00", "dog06", "dog12", "dog18"}
    library.remove_clips(["dog06"])
    library.put_clips([replace(toy.clip(12), texts=(Text("a zebra"),))])
    assert update_fulltext(library) == 45
    assert {i for i, _, _ in search_fulltext(library, "dog", 10)} == {"dog00", "dog18"}
    assert [i for i, _, _ in search_fulltext(library, "zebra", 10)] == ["dog12"]
    assert search_fulltext(library, '"(:*?', 10) == []
    assert search_fulltext(library, "dog AND (", 10) != []


def test_full_text_of_a_few_clips_is_found_without_a_new_index(tmp_path):
    library = toy.library(tmp_path)
    update_fulltext(library)
    table = library.table("fulltext")
    before = table.index_stats("text_idx").num_indexed_rows
    changed = [replace(toy.clip(n), texts=(Text("a zebra runs"),)) for n in (0, 12)]
    library.put_clips(changed)
    assert update_fulltext(library, [changed[0].id]) == 1
    assert [i for i, _, _ in search_fulltext(library, "zebras", 10)] == [changed[0].id]
    assert update_fulltext(library, [clip.id for clip in changed]) == 2
    assert {i for i, _, _ in search_fulltext(library, "zebras", 10)} == {clip.id for clip in changed}
    assert table.index_stats("text_idx").num_indexed_rows <= before
    assert update_fulltext(library, ["not there"]) == 0
