"""Training clips with their context: against a transcription with loops, and what a row depends on."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.inputs.contexts import ContextConfig, ContextData, Timing, contexts, extended
from seehear.inputs.joining import sequence_shape
from seehear.inputs.latents import LatentData
from seehear.inputs.loader import Loader, Sampling
from seehear.library.tables import Clip, LibraryTables, Text
from tests.reference import contexts as reference

L, D, F, S = 6, 3, 2, 30
SHAPES = {"text": (L, D), "audio": (F, S)}


class Heavy(ContextData):
    heavy = True


def info(m, width, shape=None):
    return (
        {"name": f"of-{m}", "modality": m, "width": width, "fingerprint": "f"}
        | ({"shape": list(shape)} if shape else {}),
    )


def toy(n=40, videos=6, *, sequences=True, several=False, absent=0.3, seed=0):
    """Clips in no order, with gaps and overlaps, that lack modalities and have up to three texts: (data, timing)."""
    rng = np.random.default_rng(seed)
    video = rng.integers(0, videos, n)
    start = rng.integers(0, 400, n) / 100
    end = start + rng.integers(1, 40, n) / 100
    count = {m: (rng.random(n) >= absent).astype(int) for m in ("video", "audio", "text")}
    if several:
        count["text"] *= rng.integers(1, 4, n)
    owner = {m: np.repeat(np.arange(n), c) for m, c in count.items()}
    arrays = {m: rng.standard_normal((len(o), 5)) for m, o in owner.items()}
    if sequences:
        arrays = {
            "video": arrays["video"],
            "audio": sounds(rng, len(owner["audio"])),
            "text": texts(rng, len(owner["text"])),
        }
    infos = {m: info(m, x.shape[1], SHAPES.get(m) if sequences else None) for m, x in arrays.items()}
    data = LatentData.from_arrays(
        {m: torch.from_numpy(x).float() for m, x in arrays.items()}, owner=owner, groups=video // 2, encoders=infos
    )
    return data, Timing(video=video, start=start, end=end, every_text=rng.random(n) < 0.5)


def texts(rng, n):
    """Flat words, none in some texts."""
    x = rng.standard_normal((n, L, D))
    x[np.arange(L) >= rng.integers(0, 4, n)[:, None]] = 0
    return x.reshape(n, L * D)


def sounds(rng, n):
    x = rng.uniform(-80, 0, (n, F, S))
    x[np.broadcast_to((np.arange(S) >= rng.integers(1, 20, n)[:, None])[:, None], x.shape)] = -120
    return x.reshape(n, F * S)


def latents_of(data, m, clip):
    rows = data.rows[m]
    return [rows.vectors[rows.first[clip] + i].numpy() for i in range(int(rows.count[clip]))]


# -- what a clip is extended to ----------------------------------------------------------------------------------------

times = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 60), st.integers(0, 20)), min_size=1, max_size=25
)  # (recording, start, duration), in seconds


@given(times, st.integers(0, 40))
def test_every_clip_is_extended_as_the_reference_does(rows, least):
    """Gaps, overlaps, clips inside others, single ones, pictures."""
    video, start, duration = np.array(rows).T
    end = (start + duration).astype(float)
    order = np.lexsort((end, start, video))
    video, start, end = video[order], start[order].astype(float), end[order]
    low, high = extended(*(torch.from_numpy(x) for x in (video, start, end)), float(least))
    for clip in range(len(rows)):
        own = np.flatnonzero(video == video[clip])
        expected = reference.context(start[own], end[own], clip - own[0], least)
        assert list(range(int(low[clip]), int(high[clip]) + 1)) == [own[0] + i for i in expected]
        members = slice(int(low[clip]), int(high[clip]) + 1)
        long_enough = end[members].max() - start[members].min() >= least
        assert long_enough or len(expected) == len(own) or end[clip] == start[clip]


def test_the_rule_by_hand():
    """Captions 0-4, 4-8, 8-12 and 13-14: a tie goes to the earlier neighbour, a short one is taken first."""
    video, start, end = torch.zeros(4), torch.tensor([0.0, 4, 8, 13]), torch.tensor([4.0, 8, 12, 14])

    def members(least):
        return [(int(a), int(b)) for a, b in zip(*extended(video, start, end, least), strict=True)]

    assert members(4.0) == [(0, 0), (1, 1), (2, 2), (2, 3)]
    assert members(8.0) == [(0, 1), (0, 1), (1, 3), (1, 3)]
    assert members(10.0) == [(0, 2), (0, 2), (1, 3), (1, 3)]
    assert members(100.0) == [(0, 3)] * 4


# -- what a row holds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_rows_are_those_of_the_reference(seed, several):
    data, timing = toy(sequences=True, several=several, seed=seed)
    made = ContextData(data, timing, ContextConfig(clips_per_video=8, min_duration=0.5))
    indices = torch.arange(len(made))
    batch, (_, draw) = made.batch(indices, epoch=3), made._draws(indices, 0, 3)
    for row, clips in enumerate(made.clips(indices, epoch=3)):
        assert sorted(clips, key=lambda c: (timing.start[c], timing.end[c])) == clips
        seen = [x for c in clips for x in latents_of(data, "video", c)]
        assert bool(batch["has_video"][row]) == bool(seen)
        expected = reference.pooled(seen, "max") if seen else np.zeros(5)
        np.testing.assert_array_equal(batch["video"][row].numpy(), expected)
        heard = [c for c in clips if latents_of(data, "audio", c)]
        if heard:
            each = [latents_of(data, "audio", c)[0].reshape(F, S) for c in heard]
            expected = reference.frames(each, timing.start[heard], timing.end[heard], S)
            np.testing.assert_array_equal(batch["audio"][row].numpy().reshape(F, S), expected)
        assert bool(batch["has_audio"][row]) == bool(heard)
        said = []
        for c in clips:
            own = latents_of(data, "text", c)
            said += own if timing.every_text[c] or not own else [own[int(draw[row] * len(own))]]
        expected = reference.words([x.reshape(L, D) for x in said], L) if said else np.zeros((L, D))
        np.testing.assert_array_equal(batch["text"][row].numpy().reshape(L, D), expected)
        assert bool(batch["has_text"][row]) == bool((expected != 0).any())


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_vectors_are_pooled(pool):
    data, timing = toy(sequences=False, several=True)
    made = ContextData(
        data, timing, ContextConfig(clips_per_video=5, min_duration=0.5, pool=dict.fromkeys(data.rows, pool))
    )
    indices = torch.arange(len(made))
    batch, (_, draw) = made.batch(indices), made._draws(indices, 0, 0)
    for row, clips in enumerate(made.clips(indices)):
        for m in data.modalities:
            own = [latents_of(data, m, c) for c in clips]
            taken = [
                x if timing.every_text[c] or not x else [x[int(draw[row] * len(x))]]
                for c, x in zip(clips, own, strict=True)
            ]
            rows = [x for some in taken for x in some]
            expected = reference.pooled(rows, pool) if rows else np.zeros(5)
            np.testing.assert_allclose(batch[m][row].numpy(), expected, rtol=1e-6, atol=1e-6)
            assert bool(batch[f"has_{m}"][row]) == bool(rows)


def test_video_is_pooled_by_maximum_and_the_rest_by_mean():
    config = ContextConfig(pool={"text": "max"})
    assert [config.pool_of(m) for m in ("video", "audio", "text")] == ["max", "mean", "max"]
    for wrong in ({"pool": {"txt": "max"}}, {"pool": {"text": "sum"}}, {"clips_per_video": -1}, {"min_duration": -1.0}):
        with pytest.raises(SeehearError):
            ContextConfig(**wrong)


def test_float16_latents_come_as_float32():
    data, timing = toy()
    half = {m: r.vectors.half() for m, r in data.rows.items()}
    owner = {m: data.owner(m) for m in data.modalities}
    stored = LatentData.from_arrays(half, owner=owner, groups=data.groups, encoders=data.encoders)
    batch = ContextData(stored, timing, ContextConfig()).batch(torch.arange(64))
    exact = ContextData(data, timing, ContextConfig()).batch(torch.arange(64))
    for m in data.modalities:
        assert batch[m].dtype == torch.float32
        torch.testing.assert_close(batch[m], exact[m], rtol=1e-3, atol=1e-3)


def test_sound_that_overlaps_is_heard_once():
    """Clips of 0.1 s at 0, 0.05 and 0.30 s: five frames of the second are the first's."""
    level = torch.full((3, F, S), -120.0)
    for clip in range(3):
        level[clip, :, :10] = -torch.arange(1.0, 11) - 10 * clip
    rows = {"audio": level.flatten(1), "video": torch.ones(3, 5)}
    data = LatentData.from_arrays(rows, encoders={"audio": info("audio", F * S, (F, S)), "video": info("video", 5)})
    start = np.array([0.0, 0.05, 0.30])
    timing = Timing(video=np.zeros(3, int), start=start, end=start + 0.1, every_text=np.ones(3, bool))
    made = ContextData(data, timing, ContextConfig(clips_per_video=1))
    sound = made.batch(torch.tensor([0]))["audio"].view(F, S)[1]
    assert sound.tolist() == [*range(-1, -11, -1), *range(-16, -21, -1), *range(-21, -31, -1), *[-120.0] * 5]


# -- what is drawn -----------------------------------------------------------------------------------------------------


def test_a_row_depends_on_seed_epoch_and_index_alone():
    made = ContextData(*toy(several=True), ContextConfig(clips_per_video=8, min_duration=0.5))
    whole = made.batch(torch.arange(len(made)), seed=1, epoch=2)
    again = ContextData(*toy(several=True), ContextConfig(clips_per_video=8, min_duration=0.5))
    for part in (torch.tensor([5]), torch.tensor([17, 3, 3, 40]), torch.arange(30, 20, -1)):
        found = again.batch(part, seed=1, epoch=2)
        assert found.keys() == whole.keys()
        assert all(torch.equal(found[k], whole[k][part]) for k in whole)
    others = [made.clips(torch.arange(len(made)), seed=s, epoch=e) for s, e in ((1, 2), (1, 3), (2, 2))]
    assert others[0] != others[1] != others[2] != others[0]


def test_draws_with_and_without_replacement():
    data, timing = toy(n=30, videos=3, absent=0.0)
    sizes = Counter(timing.video.tolist())
    for replacement in (True, False):
        config = ContextConfig(clips_per_video=24, min_duration=0.0, replacement=replacement)
        made = ContextData(data, timing, config)
        assert len(made) == 3 * 24
        counts = Counter()
        for epoch in range(30):
            clips = [c for (c,) in made.clips(torch.arange(len(made)), epoch=epoch)]
            assert [timing.video[c] for c in clips] == [v for v in sorted(sizes) for _ in range(24)]
            drawn = Counter(clips)
            counts += drawn
            if not replacement:
                per_video = [[drawn[c] for c in np.flatnonzero(timing.video == v)] for v in sizes]
                assert all(max(d) - min(d) <= 1 for d in per_video)
        for clip, count in counts.items():
            expected = 30 * 24 / sizes[int(timing.video[clip])]
            assert abs(count - expected) < 5 * expected**0.5
        assert len(counts) == 30


def test_only_what_has_two_modalities_is_drawn():
    """Clips: video 0 alone in text; video 1 with a clip of each, near; video 2 the same, far apart."""
    vectors = {"video": torch.ones(2, 4), "text": torch.ones(3, 4)}
    owner = {"video": [1, 3], "text": [0, 2, 4]}
    timing = Timing(
        video=np.array([0, 1, 1, 2, 2]),
        start=np.array([0.0, 0, 4, 0, 40]),
        end=np.array([4.0, 4, 8, 20, 60]),
        every_text=np.ones(5, bool),
    )
    data = LatentData.from_arrays(vectors, owner=owner, groups=timing.video)
    made = ContextData(data, timing, ContextConfig(clips_per_video=4))
    assert (len(made) // made.together, len(made), set(made.groups.tolist())) == (1, 4, {1})
    assert made.clips(torch.arange(4)) == [[1, 2]] * 4
    with pytest.raises(SeehearError, match="clips with two modalities, by themselves or with their neighbours"):
        ContextData(data, timing, ContextConfig(min_duration=0.0))


def test_text_without_known_words_is_absent():
    words = torch.zeros(3, L, D)
    words[1, :2] = 1.0
    data = LatentData.from_arrays(
        {"video": torch.ones(3, 4), "audio": torch.ones(3, 4), "text": words.flatten(1)},
        encoders={"video": info("video", 4), "audio": info("audio", 4), "text": info("text", L * D, (L, D))},
    )
    alone = Timing(video=np.arange(3), start=np.zeros(3), end=np.full(3, 10.0), every_text=np.ones(3, bool))
    batch = ContextData(data, alone, ContextConfig(clips_per_video=1)).batch(torch.arange(3))
    assert batch["has_text"].tolist() == [False, True, False]
    assert batch["has_video"].tolist() == [True] * 3


# -- from a library ----------------------------------------------------------------------------------------------------


def clip(name, start, end, *texts, audio_source=""):
    return Clip(
        id=f"{name}#{start}-{end}",
        source=name,
        audio_source=audio_source,
        start=start,
        end=end,
        has_video=True,
        texts=texts,
    )


@pytest.fixture
def library(tmp_path):
    made = LibraryTables.create(tmp_path / "lib")
    made.put_clips(
        [
            clip("b.mp4", 5.0, 9.0, Text("third", 5.0, 6.0), Text("fourth", 7.0, 8.0)),
            clip("b.mp4", 0.0, 4.0, Text("first", 0.0, 4.0)),
            clip("a.mp4", 0.0, 3.0, Text("a way to say it"), Text("another")),
            clip("a.mp4", 3.0, 6.0, Text("other sound"), audio_source="a.wav"),
            Clip(id="text of its own", texts=(Text("nothing to see"),)),
        ]
    )
    return made


def test_times_and_recordings_are_the_library_s(library):
    """Another sound is another recording; texts with times are all taken, those without are drawn from."""
    clips = library.clips()
    number = {c.id: n for n, c in enumerate(clips)}
    texts = [(n, t.text) for n, c in enumerate(clips) for t in c.texts]
    has = [n for n, c in enumerate(clips) if c.has_video]
    words = torch.zeros(len(texts), L, 1)
    words[:, 0, 0] = torch.arange(1.0, len(texts) + 1)
    data = LatentData.from_arrays(
        {"video": torch.ones(len(has), 2), "text": words.flatten(1)},
        owner={"video": has, "text": [n for n, _ in texts]},
        ids=[c.id for c in clips],
        encoders={"video": info("video", 2), "text": info("text", L, (L, 1))},
    )
    made = contexts(library, data, ContextConfig(clips_per_video=16, min_duration=8.0))
    assert len(made) // made.together == 3
    batch, said = made.batch(torch.arange(48)), Counter()
    for row, members in enumerate(made.clips(torch.arange(48))):
        said[tuple(texts[int(w) - 1][1] for w in batch["text"][row] if w)] += 1
        assert len({(clips[c].source, clips[c].audio_source) for c in members}) == 1
    assert said.keys() == {("first", "third", "fourth"), ("a way to say it",), ("another",), ("other sound",)}
    assert number["b.mp4#0.0-4.0"] in made.clips(torch.arange(48))[-1]
    library.remove_clips(["b.mp4#0.0-4.0"])
    with pytest.raises(SeehearError, match=r"no clip 'b.mp4#0.0-4.0' \(1 missing\)"):
        contexts(library, data, ContextConfig())


def test_a_sequence_stands_alone():
    words = {"name": "words:minilm", "width": 12, "shape": [4, 3]}
    assert sequence_shape("text", [words]) == (4, 3)
    assert sequence_shape("text", [{"name": "minilm", "width": 384}]) is None
    with pytest.raises(SeehearError, match="got words:minilm, minilm for text: choose one"):
        sequence_shape("text", [words, {"name": "minilm", "width": 384}])
    with pytest.raises(SeehearError, match="for video"):
        sequence_shape("video", [words])


# -- in training -------------------------------------------------------------------------------------------------------


def loader(kind=ContextData, *, workers=0, **options):
    data = kind(*toy(videos=9, absent=0.1), ContextConfig(clips_per_video=4))
    return Loader(data, Sampling(**{"batch_size": 12, "seed": 1, "epochs": 3} | options), workers=workers)


def test_the_clips_of_a_recording_come_in_one_batch():
    run = loader()
    batches = list(run.batches())
    assert len(batches) == run.steps == 3 * (len(run.data) // run.data.together // 3)
    for step, batch in enumerate(batches):
        blocks = run.indices(step).view(3, 4)
        assert all(block.tolist() == list(range(4 * (v := int(block[0]) // 4), 4 * v + 4)) for block in blocks)
        assert torch.equal(batch["group"], run.data.groups[run.indices(step)])


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.slow  # of any data: tests/inputs/test_loader.py
def test_workers_change_nothing():
    assert_same(loader(Heavy, workers=2).batches(2), list(loader().batches())[2:])


def test_resumption_and_processes_change_nothing(monkeypatch):
    whole = list(loader().batches())
    for start in (1, 4):
        assert_same(loader().batches(start), whole[start:])
    monkeypatch.setattr("seehear.distributed.world_size", lambda: 5)
    parts = []
    for rank in range(5):
        monkeypatch.setattr("seehear.distributed.rank", lambda rank=rank: rank)
        parts.append(list(loader().batches()))
    assert_same([{k: torch.cat([p[k] for p in step]) for k in step[0]} for step in zip(*parts, strict=True)], whole)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


def test_latents_can_lie_on_a_device():
    made = ContextData(*toy(), ContextConfig())
    assert_same([made.to("cpu").batch(torch.arange(40))], [made.batch(torch.arange(40))])


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
def test_any_data_makes_full_rows(seed, per_video, replacement):
    data, timing = toy(n=12, videos=4, several=True, seed=seed)
    made = ContextData(
        data, timing, ContextConfig(clips_per_video=per_video, min_duration=1.0, replacement=replacement)
    )
    assert torch.equal(made.groups, made.groups[::per_video].repeat_interleave(per_video))
    batch = made.batch(torch.arange(len(made)), seed=seed)
    assert all(torch.isfinite(batch[m]).all() for m in data.modalities)
    assert {m: batch[m].shape for m in data.modalities} == {
        m: (len(made), r.vectors.shape[1]) for m, r in data.rows.items()
    }
