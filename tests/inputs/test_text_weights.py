"""How sure a machine is of a text, as its weight in training: by latents, by latents with context and by media."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from seehear.inputs.contexts import ContextConfig, ContextData, Timing
from seehear.inputs.latents import LatentData, load_latents
from seehear.inputs.raw.text import library_vocabulary, sentences_of
from seehear.library.tables import LibraryTables, Source, Text
from seehear.runs.config import LatentInputs, recipe
from seehear.runs.run import train_on
from tests.inputs.raw_library import PLAIN, clip, library, load
from tests.inputs.test_latents import add_latents, make_clips

CLIPS, EPOCHS = 24, 200
ALL = torch.arange(CLIPS)


def latents(confidence=None) -> LatentData:
    """Two texts a clip, in an order that is not that of the clips."""
    rng = np.random.default_rng(0)
    owner = rng.permutation(np.repeat(np.arange(CLIPS), 2))
    said = owner[:, None] + rng.normal(size=(2 * CLIPS, 4))
    data = LatentData.from_arrays(
        {"video": rng.normal(size=(CLIPS, 3)).astype(np.float32), "text": said.astype(np.float32)},
        owner={"text": owner},
        splits=["train"] * 16 + ["val"] * 8,
    )
    return data if confidence is None else data.weighted(confidence)


def test_a_text_takes_part_as_often_as_it_is_sure_and_its_clip_lacks_text_else():
    data = latents(np.full(2 * CLIPS, 0.3))
    batches = [data.batch(ALL, epoch=epoch) for epoch in range(EPOCHS)]
    share = torch.stack([batch["has_text"] for batch in batches]).float().mean()
    assert share == pytest.approx(0.3, abs=0.03)
    assert all(batch["has_video"].all() for batch in batches)
    torch.testing.assert_close(latents(np.full(2 * CLIPS, 0.3)).batch(ALL[5:9], epoch=3)["has_text"],
                               batches[3]["has_text"][5:9])  # fmt: skip


def test_of_two_texts_only_the_one_with_weight_is_learned_from():
    rows = latents()
    sure = np.zeros(2 * CLIPS)
    sure[np.unique(rows.owner("text").numpy(), return_index=True)[1]] = 1.0  # of rows in the order of clips
    data = rows.weighted(sure)
    first = rows.every("text")[0::2]
    for epoch in range(5):
        batch = data.batch(ALL, epoch=epoch)
        assert 0 < batch["has_text"].sum() < CLIPS
        torch.testing.assert_close(batch["text"][batch["has_text"]], first[batch["has_text"]])


def test_certain_texts_give_the_batches_that_there_were_without_weights():
    plain, sure = latents(), latents(np.ones(2 * CLIPS))
    for epoch in range(3):
        torch.testing.assert_close(sure.batch(ALL, epoch=epoch), plain.batch(ALL, epoch=epoch))


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_with_their_context_clips_are_given_the_texts_that_take_part(pool):
    timing = Timing(
        video=np.arange(CLIPS) // 4,
        start=np.arange(CLIPS) % 4 * 2.0,
        end=np.arange(CLIPS) % 4 * 2.0 + 2.0,
        every_text=np.ones(CLIPS, bool),
    )
    config = ContextConfig(clips_per_video=4, min_duration=5.0, pool={"text": pool})
    rows = latents()
    sure = np.tile([1.0, 0.0], CLIPS)
    weighted = rows.weighted(sure)
    without = LatentData.from_arrays({"video": rows.every("video"), "text": rows.every("text")[0::2]})
    expected, found = (ContextData(data, timing, config).batch(ALL, epoch=2) for data in (without, weighted))
    torch.testing.assert_close(found, expected)


def test_a_text_of_no_confidence_is_no_text_to_latents_words_and_sentences(tmp_path):
    made = LibraryTables.create(tmp_path / "lib")
    clips = [replace(c, texts=(*c.texts, Text("nonsense", 0.0, 1.0, "speech", "w", 0.0))) for c in make_clips(20)]
    made.put_clips(clips)
    made.put_sources([Source(source=c.source, size=1, mtime_ns=1, fingerprint=c.source) for c in clips])
    for encoder in ("eyes", "words"):
        add_latents(made, encoder)
    data = load_latents(made)
    assert data.rows["text"].count.tolist() == [n % 3 for n in range(20)]
    assert data.rows["text"].weights is None
    vocabulary = library_vocabulary(made)
    assert "nonsense" not in vocabulary.words
    assert sentences_of(clips, np.arange(20), vocabulary, 4).has().tolist() == [n % 3 > 0 for n in range(20)]
    made.put_clips([replace(c, texts=tuple(replace(t, confidence=0.5) for t in c.texts)) for c in made.clips()])
    assert load_latents(made).rows["text"].weights.confidence_R.unique().tolist() == [0.5]


def test_media_are_read_with_the_sentences_that_take_part(tmp_path):
    texts = (Text("one dog", 0.0, 1.0, "speech", "w", 0.4), Text("two dogs", 1.0, 2.0, "speech", "w", 0.4))
    made = library(tmp_path, tmp_path, [clip("a", texts=texts, has_video=False, has_audio=False)])
    data = load(made, replace(PLAIN, modalities=("text",)))
    batches = [data.batch(ALL[:1], epoch=epoch) for epoch in range(EPOCHS)]
    counts = torch.tensor([int((batch["text"][0] > 0).any(dim=1).sum()) for batch in batches])
    assert counts.float().mean() == pytest.approx(0.8, abs=0.15)
    assert {int(n) for n in counts} == {0, 1, 2}
    assert all(batch["has_text"][0] == (n > 0) for batch, n in zip(batches, counts, strict=True))
    assert data.views().batch(ALL[:1])["has_text"].all()  # what is measured on has all its texts


@pytest.mark.parametrize("name", ["fusemix", "mcn.tiny"])
def test_training_goes_on_where_few_texts_take_part(name, tmp_path):
    run = recipe(name)
    small = {"dim": 4} | ({} if name == "fusemix" else {"hidden": 4, "clusters": 2, "queue": 8})
    train = replace(run.train, epochs=4, batch_size=8, log_every=1, device="cpu", patience=None, fast_matmul=False)
    run = replace(run, method=replace(run.method, **small), train=train)
    train_on(LatentInputs(latents(np.full(2 * CLIPS, 0.05))), run, tmp_path / "run")
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()
