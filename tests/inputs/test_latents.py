"""Latents joined by clip: what is present, which text a clip gives, what is left out, what is said when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData, load_latents
from seehear.inputs.raw.text import UNKNOWN, library_vocabulary
from seehear.library.tables import Clip, LibraryTables, Source, Text, Vectors, content_key

WIDTHS = {"eyes": 3, "more-eyes": 2, "words": 4}
MODALITY = {"eyes": "video", "more-eyes": "video", "words": "text"}


def vector(encoder: str, clip: int, item: int = 0) -> list[float]:
    """Recognisable: the clip, the text, the encoder."""
    return ([float(clip), float(item)] + [len(encoder) / 8] * 4)[: WIDTHS[encoder]]


def make_clips(n: int) -> list[Clip]:
    """Clip i: i % 3 texts, no video for every fifth; two clips a group; the last two are for validation."""
    return [
        Clip(
            id=f"c{i:02d}",
            source=f"v{i:02d}.mp4",
            has_video=i % 5 != 0,
            texts=tuple(Text(f"text {j} of {i}") for j in range(i % 3)),
            group=f"g{i // 2}",
            split="val" if i >= n - 2 else "train",
            labels=("odd",) if i % 2 else (),
        )
        for i in range(n)
    ]


def add_latents(library: LibraryTables, encoder: str, *, fingerprint: str = "f1", only=lambda clip, item: True) -> None:
    """Append what an encoder would, in two batches, last clips first."""
    m, width = MODALITY[encoder], WIDTHS[encoder]
    library.set_about(f"encoder:{encoder}", json.dumps({"modality": m, "width": width, "fingerprint": fingerprint}))
    sources = library.sources()
    rows = [
        (clip, item)
        for clip in reversed(library.clips())
        if clip.has(m)
        for item in range(len(clip.texts) if m == "text" else 1)
        if only(int(clip.id[1:]), item)
    ]
    table = library.vectors("latents", encoder, width)
    for part in (rows[::2], rows[1::2]):
        table.append(
            Vectors(
                ids=[c.id for c, _ in part],
                items=np.array([j for _, j in part], dtype=np.int32),
                modalities=[m] * len(part),
                vectors=np.array([vector(encoder, int(c.id[1:]), j) for c, j in part], dtype=np.float16).reshape(
                    -1, width
                ),
                makers=[fingerprint] * len(part),
                contents=[content_key(c, m, j, sources) for c, j in part],
            )
        )


@pytest.fixture
def library(tmp_path):
    made = LibraryTables.create(tmp_path / "lib")
    clips = make_clips(20)
    made.put_clips(clips)
    made.put_sources([Source(source=c.source, size=1, mtime_ns=1, fingerprint=c.source) for c in clips])
    return made


@pytest.fixture
def full(library):
    for encoder in ("eyes", "words"):
        add_latents(library, encoder)
    return library


def test_latents_are_joined_by_clip(full):
    data = load_latents(full)
    assert (len(data), data.modalities, data.widths) == (20, ("video", "text"), {"video": (3,), "text": (4,)})
    assert data.has("video").tolist() == [i % 5 != 0 for i in range(20)]
    assert data.has("text").tolist() == [i % 3 != 0 for i in range(20)]
    batch = data.batch(torch.arange(20), seed=0, epoch=0)
    assert batch["video"].dtype == torch.float32
    for i in range(20):
        if batch["has_video"][i]:
            assert batch["video"][i, 0] == i
        if batch["has_text"][i]:
            assert batch["text"][i, 0] == i
    assert batch["video"].isfinite().all()
    assert batch["group"].tolist() == [i // 2 for i in range(20)]
    joined = data.joined()
    assert joined.ids.tolist() == [f"c{i:02d}" for i in range(20) if i % 5 and i % 3]
    assert len(data.split("train")) == 18
    assert set(data.split("val").splits) == {"val"}


def test_encoders_of_one_modality_lie_side_by_side(full):
    """A clip has video where both encoders have it."""
    add_latents(full, "more-eyes", only=lambda clip, item: clip != 7)
    data = load_latents(full)
    assert data.widths["video"] == (3, 2)
    assert [e["name"] for e in data.encoders["video"]] == ["eyes", "more-eyes"]
    assert not data.has("video")[7]
    batch = data.batch(torch.tensor([8]), seed=0, epoch=0)
    assert batch["video"].tolist() == [[8, 0, 0.5, 8, 0]]
    swapped = load_latents(full, encoders={"video": ("more-eyes", "eyes"), "text": ("words",)})
    assert swapped.batch(torch.tensor([8]))["video"].tolist() == [[8, 0, 8, 0, 0.5]]
    assert load_latents(full, encoders={"video": ("eyes",), "text": ("words",)}).widths["video"] == (3,)


def test_a_clip_gives_one_of_its_texts_each_epoch(full):
    data = load_latents(full)
    two = torch.tensor([i for i in range(20) if i % 3 == 2])

    def items(seed, epoch, indices=two):
        return data.batch(indices, seed=seed, epoch=epoch)["text"][:, 1].tolist()

    assert items(0, 3) == items(0, 3)
    assert set(items(0, 3)) <= {0.0, 1.0}
    assert items(0, 3, two.flip(0)) == items(0, 3)[::-1]  # of the sample, not of its place in the batch
    epochs = torch.tensor([items(0, e) for e in range(200)])
    assert (epochs.mean(0) - 0.5).abs().max() < 0.15
    assert any(items(0, e) != items(1, e) for e in range(5))


def test_every_text_is_there_for_evaluation(full):
    data = load_latents(full).split("train")
    texts, owner = data.every("text"), data.owner("text")
    assert owner.tolist() == [i for i in range(18) for _ in range(i % 3)]
    assert texts[:, 0].tolist() == owner.tolist()
    assert texts[:, 1].tolist() == [j for i in range(18) for j in range(i % 3)]
    assert data.every("video")[:, 0].tolist() == [i for i in range(18) if i % 5]


def test_rows_that_belong_together(full):
    """A row a text, the picture repeated; one row for a clip without text."""
    data = load_latents(full).split("train")
    latents, present = data.aligned()
    clips = [i for i in range(18) for _ in range(max(i % 3, 1))]
    assert present["video"].tolist() == [i % 5 != 0 for i in clips]
    assert present["text"].tolist() == [i % 3 != 0 for i in clips]
    for m in ("video", "text"):
        assert latents[m][present[m], 0].tolist() == [i for i, has in zip(clips, present[m], strict=True) if has]
    assert latents["text"][present["text"], 1].tolist() == [j for i in range(18) for j in range(i % 3)]


def test_text_on_screen_is_searched_but_not_learned_from(library):
    """Of speech and signs the speech stays, under its own number; signs alone are no modality."""
    clips = [replace(c, texts=(Text("EXIT", 0.0, 1.0, "screen", "o1"), *c.texts)) for c in library.clips()]
    library.put_clips(clips)
    for encoder in ("eyes", "words"):
        add_latents(library, encoder)
    data = load_latents(library)
    assert data.has("text").tolist() == [len(clip.texts) > 1 for clip in clips]
    assert len(data.every("text")) == sum(len(clip.texts) - 1 for clip in clips)
    assert library_vocabulary(library).encode("EXIT", 1).tolist() == [UNKNOWN]
    library.put_clips([replace(c, texts=c.texts[:1]) for c in clips])
    with pytest.raises(SeehearError, match=r"has 0 \(clips with latents: video 16\)"):
        load_latents(library)


def test_clips_by_an_sql_condition(full):
    assert len(load_latents(full, where="array_has(labels, 'odd')")) == 10
    with pytest.raises(SeehearError, match=r"no clip of .* meets \"split = 'nowhere'\""):
        load_latents(full, where="split = 'nowhere'")
    with pytest.raises(SeehearError, match="cannot filter by 'colour = 1'"):
        load_latents(full, where="colour = 1")


def test_vectors_of_another_encoder_version_are_left_out(library):
    add_latents(library, "eyes", fingerprint="old")
    add_latents(library, "eyes", fingerprint="new", only=lambda clip, item: clip in (1, 2, 4))
    add_latents(library, "words")
    data = load_latents(library)
    assert data.has("video").nonzero().flatten().tolist() == [1, 2, 4]


def test_vectors_of_what_has_changed_are_left_out(full, capsys):
    full.put_sources([Source(source="v01.mp4", size=2, mtime_ns=2, fingerprint="changed")])
    full.put_clips([Clip(id="c02", source="v02.mp4", has_video=True, texts=(Text("another"),), group="g1")])
    data = load_latents(full)
    assert not data.has("video")[1]
    assert not data.has("text")[2]
    assert "1 latents of eyes are of changed files or texts" in capsys.readouterr().err


def test_what_is_wrong_is_said(library):
    with pytest.raises(SeehearError, match=r"has no latents yet: run 'seehear encode .*lib'"):
        load_latents(library)
    add_latents(library, "eyes")
    with pytest.raises(SeehearError, match="has latents of video only"):
        load_latents(library)
    with pytest.raises(SeehearError, match="has no latents of encoder 'ears'"):
        load_latents(library, encoders={"video": ("eyes",), "audio": ("ears",)})
    add_latents(library, "words", only=lambda clip, item: clip in (5, 10))
    with pytest.raises(SeehearError, match=r"two modalities each, and has 0 \(clips with latents: video 16, text 2\)"):
        load_latents(library)
    add_latents(library, "words", only=lambda clip, item: clip == 4)
    with pytest.raises(SeehearError, match="two modalities each, and has 1"):
        load_latents(library)


def test_no_text_at_all(tmp_path):
    library = LibraryTables.create(tmp_path / "lib")
    library.put_clips([Clip(id=f"c{i:02d}", source=f"v{i:02d}.mp4", has_video=True) for i in range(4)])
    for encoder in ("eyes", "words"):
        add_latents(library, encoder)
    with pytest.raises(
        SeehearError, match=r"no text latents for these clips \(0 of 4 have text\): run 'seehear encode"
    ):
        load_latents(library)


def test_vectors_that_overflowed_are_refused(full):
    table = full.vectors("latents", "eyes")
    clip = full.clips("id = 'c01'")[0]
    table.remove("id = 'c01'")
    bad = np.array([[np.inf, 0, 0]], dtype=np.float16)
    content = [content_key(clip, "video", 0, full.sources())]
    table.append(Vectors(["c01"], np.zeros(1, np.int32), ["video"], bad, ["f1"], content))
    with pytest.raises(SeehearError, match="'eyes' gave 1 vectors that are not finite, the first of clip c01"):
        load_latents(full)


@given(owners=st.lists(st.integers(0, 9), min_size=1, max_size=40), seed=st.integers(0, 99))
def test_rows_in_any_order_and_number(owners, seed):
    """Row r says its owner; every draw gives a clip a row of its own, and `every` gives each row once."""
    owner = torch.tensor(owners)
    rows = torch.stack([owner.double(), torch.arange(len(owners)).double()], 1)
    data = LatentData.from_arrays({"video": torch.zeros(10, 1), "text": rows}, owner={"text": owner})
    batch = data.batch(torch.arange(10), seed=seed, epoch=0)
    assert batch["has_text"].tolist() == [i in owners for i in range(10)]
    assert batch["text"][batch["has_text"], 0].tolist() == [i for i in range(10) if i in owners]
    assert sorted(data.every("text")[:, 1].tolist()) == list(range(len(owners)))
    assert data.every("text")[:, 0].tolist() == sorted(owners) == data.owner("text").tolist()
    some = torch.tensor([3, 7, 1])
    assert torch.equal(data.take(some).has("text"), data.has("text")[some])
    assert data.take(some).every("text")[:, 0].tolist() == [float(i) for i in (3, 7, 1) for _ in range(owners.count(i))]


def test_arrays_that_do_not_fit():
    with pytest.raises(ValueError, match=r"differ in length: \[3, 4\]"):
        LatentData.from_arrays({"video": np.zeros((3, 2)), "text": np.zeros((4, 2))})
    with pytest.raises(ValueError, match="names clip 9, but there are 3"):
        LatentData.from_arrays({"video": np.zeros((3, 2)), "text": np.zeros((1, 2))}, owner={"text": [9]})
    with pytest.raises(ValueError, match="1 rows, 2 numbers"):
        LatentData.from_arrays({"video": np.zeros((3, 2)), "text": np.zeros((1, 2))}, owner={"text": [0, 1]})
    with pytest.raises(SeehearError, match="no clip has text"):
        LatentData.from_arrays({"video": np.zeros((3, 2)), "text": np.zeros((0, 2))}, owner={"text": []})


BARE = """
import sys
for name in ("lancedb", "pyarrow", "av", "transformers", "sklearn", "scipy", "rich", "jaxtyping"):
    sys.modules[name] = None
import numpy as np, torch
from seehear.inputs.latents import LatentData
from seehear.train.loop import OptimConfig, TrainConfig, fit
from tests.toy import Toy
x = np.random.default_rng(0).normal(size=(2, 16, 12)).astype(np.float16)
data = LatentData.from_arrays({"video": x[0], "text": x[1]})
fit(Toy(), data, config=TrainConfig(steps=2, batch_size=8, device="cpu"), optim=OptimConfig(), folder=sys.argv[1])
"""


@pytest.mark.slow
def test_training_from_arrays_needs_torch_numpy_and_safetensors_only(tmp_path):
    done = subprocess.run([sys.executable, "-c", BARE, str(tmp_path / "run")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_row_for_each_text():
    """As a caption data set numbers them: a clip's other modalities beside each of its texts, none drawn."""
    data = LatentData.from_arrays(
        {"video": np.arange(4.0)[:, None], "text": np.arange(10.0, 16)[:, None]},
        owner={"text": np.array([0, 0, 2, 3, 3, 3])},
        groups=np.array([7, 7, 8, 9]),
    )
    rows = data.by_text()
    batch = rows.batch(torch.arange(len(rows)), seed=3, epoch=5)
    assert batch["video"][:, 0].tolist() == [0, 0, 1, 2, 3, 3, 3]  # clip 1 has no text, and stays
    assert batch["text"][:, 0][batch["has_text"]].tolist() == [10, 11, 12, 13, 14, 15]
    assert batch["has_text"].tolist() == [True, True, False, True, True, True, True]
    assert batch["group"].tolist() == [7, 7, 7, 8, 9, 9, 9]
    assert rows.ids.tolist() == ["0", "0", "1", "2", "3", "3", "3"]
    assert len(data.only({"video"}).by_text()) == 4
