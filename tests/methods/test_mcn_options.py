"""MCN's choices: inputs, spaces, losses; its configuration and use."""

import json
from dataclasses import asdict, replace
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.methods import mcn as module
from seehear.methods.base import config_from
from seehear.methods.mcn import MCN, MCNConfig
from tests.clips import Clips
from tests.methods.mcn_model import OF_CLIPS, PAIRS, SMALL, WIDTHS, batch_of, made, started, step, trained
from tests.reference import mcn as slow

# -- the inputs -------------------------------------------------------------------------------------------------------


def test_sound_and_words_of_any_padding_give_one_vector():
    model = made(**OF_CLIPS).double()
    batch = Clips(10).batch(torch.arange(10))
    found = model.embed(batch)
    longer = batch | {"audio": F.pad(batch["audio"], (0, 9), value=3.0), "text": F.pad(batch["text"], (0, 0, 0, 3))}
    again = model.embed(longer)
    there = batch["has_audio"]
    torch.testing.assert_close(again["audio"][there], found["audio"][there])
    torch.testing.assert_close(again["text"], found["text"])


def test_waveforms():
    model = made(widths={"audio": 40, "text": 9}, inputs={"audio": "waveform"})
    batch = batch_of(6, widths={"audio": 4000, "text": 9})
    assert step(model, batch).loss.isfinite()
    short = batch | {"length_audio": torch.full((6,), 1000)}
    cut = batch | {"audio": batch["audio"][:, :1000]}
    torch.testing.assert_close(model.embed(short)["audio"], model.embed(cut)["audio"], rtol=1e-4, atol=1e-5)


def test_latents_are_of_unit_length_encoder_by_encoder_or_standardised():
    batch = batch_of(50)
    batch["video"] = 5 * batch["video"] + 2
    f = made(blocks={"video": (8, 4)})._stem(batch, "video", learning=False)
    torch.testing.assert_close(f[:, :8].norm(dim=1), torch.ones(50))
    torch.testing.assert_close(f[:, 8:].norm(dim=1), torch.ones(50))
    batch["has_video"] = torch.arange(50) < 40
    model = made(normalise="standardise").fit({m: batch[m] for m in WIDTHS}, {"video": batch["has_video"]})
    f = model._stem(batch, "video", learning=False)[:40]
    torch.testing.assert_close(f.mean(dim=0), torch.zeros(12), atol=1e-5, rtol=0)
    torch.testing.assert_close(f.std(dim=0, correction=0), torch.ones(12))
    assert torch.equal(made(normalise="none")._stem(batch, "text", learning=False), batch["text"])


def test_batch_norm_learns_and_its_statistics_agree_over_processes(monkeypatch):
    """Two processes that saw other rows: after the step both hold the mean of their running statistics."""
    model = made(audio_norm="batch", **OF_CLIPS)
    batch = Clips(20).batch(torch.arange(20))
    losses = trained(model, batch, 30)
    assert losses[-1] < losses[0] / 2
    few = model.embed({k: v[:7] for k, v in batch.items()})
    torch.testing.assert_close(few["audio"], model.embed(batch)["audio"][:7])
    running = [x for k, x in model.named_buffers() if "running" in k]
    monkeypatch.setattr(module, "world_size", lambda: 2)
    monkeypatch.setattr(module, "gather", lambda x: torch.cat([x, x + 2]))
    out = step(model, batch, number=1)
    mine = [x.clone() for x in running]
    model.after_step(out, 0.0)
    assert len(running) == 2 * 11
    for x, before in zip(running, mine, strict=True):
        torch.testing.assert_close(x, before + 1)


# -- spaces -----------------------------------------------------------------------------------------------------------


def test_the_spaces_and_what_they_hold():
    assert made().spaces == {"joint": ("video", "audio", "text")}
    disjoint = made(spaces="disjoint")
    assert disjoint.spaces == {f"{p}-{q}": (p, q) for p, q in PAIRS}
    both = made(spaces="disjoint", pairs=(("video", "audio"), ("video", "text")))
    assert both.spaces == {"video-audio": ("video", "audio"), "video-text": ("video", "text")}
    fine = made(spaces="fine_coarse")
    assert fine.spaces == {"coarse": ("video", "audio", "text"), "fine": ("video", "audio")}
    batch = batch_of()
    for model in (made(), disjoint, both, fine):
        for name, modalities in model.spaces.items():
            z = model.embed(batch, name)
            assert tuple(z) == modalities
            assert {x.shape for x in z.values()} == {(16, 4 if name == "coarse" else 8)}
            for x in z.values():
                torch.testing.assert_close(x.norm(dim=1), torch.ones(16))
        assert all(
            torch.equal(a, b)
            for a, b in zip(model.embed(batch).values(), model.embed(batch, None).values(), strict=True)
        )
    assert made(spaces="fine_coarse", coarse_dim=3).embed(batch)["text"].shape == (16, 3)


def test_disjoint_spaces_share_nothing_but_the_input():
    model = made(spaces="disjoint", reconstruct_weight=0.0)
    out = step(model, batch_of())
    model.zero_grad()
    out.loss.backward()
    assert {k for k in out.metrics if "cluster-" in k} == {f"loss/cluster-{p}-{q}" for p, q in PAIRS}
    assert set(model.clusters) == {f"{p}-{q}" for p, q in PAIRS}
    total = sum(out.metrics[f"loss/{p}-{q}"] + out.metrics[f"loss/cluster-{p}-{q}"] / 3 for p, q in PAIRS)
    torch.testing.assert_close(out.loss, total)
    head = model.branches["video"].heads
    assert head["video-audio"].linear.weight.grad.abs().sum() > 0
    assert not torch.equal(head["video-audio"].linear.weight.grad, head["video-text"].linear.weight.grad)


def grads(model, term, batch):
    """Names of the parameters that a term alone moves."""
    names = {"contrast": "contrast_weight", "cluster": "cluster_weight", "reconstruct": "reconstruct_weight"}
    off = {weight: 0.0 for name, weight in names.items() if name != term}
    alone = MCN(replace(model.config, **off))
    alone.load_state_dict(model.state_dict(), strict=False)
    step(alone, batch).loss.backward()
    return {n for n, p in alone.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_fine_and_coarse_clusters_in_the_coarse_and_rebuilds_from_the_fine_space():
    model, batch = made(spaces="fine_coarse"), batch_of()
    assert set(model.clusters) == {"coarse"}
    assert model.clusters["coarse"].centroids.shape == (3, 4)
    assert {m: set(b.decoders) for m, b in model.branches.items()} == {
        "video": {"fine"},
        "audio": {"fine"},
        "text": {"coarse"},
    }
    clustered, rebuilt = grads(model, "cluster", batch), grads(model, "reconstruct", batch)
    assert {"coarsen.weight", "branches.video.heads.fine.linear.weight"} <= clustered
    assert "branches.text.heads.coarse.linear.weight" in clustered
    assert not any(n.startswith("coarsen") for n in rebuilt)
    assert "branches.audio.heads.fine.linear.weight" in rebuilt
    out = step(model, batch)
    z = model.encode(batch, rng=None).features
    of_pair = slow.mms(slow.products(z["fine/video"].tolist(), z["fine/audio"].tolist()))
    assert out.metrics["loss/video-audio"].item() == pytest.approx(of_pair, rel=1e-4)
    of_pair = slow.mms(slow.products(z["coarse/audio"].tolist(), z["coarse/text"].tolist()))
    assert out.metrics["loss/audio-text"].item() == pytest.approx(of_pair, rel=1e-4)
    torch.testing.assert_close(z["coarse/video"], model.coarsen(z["fine/video"].relu()))


def test_cosines_have_a_temperature_for_each_space():
    model = made(spaces="fine_coarse", similarity="cosine")
    out = step(model, batch_of())
    assert {k for k in out.metrics if "temperature" in k} == {"temperature/coarse", "temperature/fine"}
    out.loss.backward()
    assert all(t.tau.grad != 0 for t in model.temperatures.values())
    for name, z in model.encode(batch_of(), rng=None).features.items():
        if "/" in name and not name.startswith("reconstruct"):
            torch.testing.assert_close(z.norm(dim=1), torch.ones(16))


# -- options and use --------------------------------------------------------------------------------------------------

variant = partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"spaces": "fine_coarse", "similarity": "cosine"},
        variant({"queue": 0, "refit_every": 1}),
        variant({"mask_duplicates": True, "normalise": "none"}),
        variant({"cluster_over": "sum"}),
        variant({"cluster_over": "fused"}),
        variant({"similarity": "cosine"}),
        variant({"spaces": "disjoint"}),
        variant({"cluster_weight": 0.0}),
        variant({"reconstruct_weight": 0.0}),
        variant({"pairs": (("video", "text"), ("audio", "text"))}),
    ],
    ids=lambda c: "-".join(map(str, c.values())) or "default",
)
def test_every_option_learns(changes):
    """Ten clips, three views of one hidden vector: 150 steps later each finds its text by the products trained on."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(10, 7, generator=g)
    batch = {m: hidden @ torch.randn(7, d, generator=g) for m, d in WIDTHS.items()}
    batch |= {f"has_{m}": torch.ones(10, dtype=torch.bool) for m in WIDTHS} | {"group": torch.arange(10)}
    model = made(**{"dim": 32, "normalise": "standardise", **changes}).fit({m: batch[m] for m in WIDTHS})
    trained(model, batch, 150, lr=5e-3)
    space = "video-text" if changes.get("spaces") == "disjoint" else next(iter(model.spaces))
    z = model.encode(batch, rng=None).features
    assert (z[f"{space}/video"] @ z[f"{space}/text"].T).argmax(dim=1).tolist() == list(range(10))


def test_clips_that_are_the_same_are_no_negatives_where_asked():
    batch = batch_of(8)
    batch["text"][5] = batch["text"][0]
    batch["group"][3] = 6
    for changes, excluded in (
        ({"mask_duplicates": True}, {"video-text": {(0, 5), (5, 0)}, "audio-text": {(0, 5), (5, 0)}}),
        ({"mask_same_group": True}, {f"{p}-{q}": {(3, 6), (6, 3)} for p, q in PAIRS}),
        ({}, {}),
    ):
        model = made(**changes)
        z = {m: model.encode(batch, rng=None).features[f"joint/{m}"].tolist() for m in WIDTHS}
        out = step(model, batch)
        for p, q in PAIRS:
            expected = slow.mms(slow.products(z[p], z[q]), 0.001, excluded.get(f"{p}-{q}", ()))
            assert out.metrics[f"loss/{p}-{q}"].item() == pytest.approx(expected, rel=1e-4)


def test_same_seed_same_trajectory():
    batch = batch_of(20, absent=0.2)
    assert trained(made(), batch, 8) == trained(made(), batch, 8)


def test_embedding_takes_what_there_is_and_is_the_same_every_time():
    model, batch = made(), batch_of()
    first = model.embed(batch)
    again = model.embed({"text": batch["text"]})
    assert list(again) == ["text"]
    assert torch.equal(again["text"], first["text"])
    model.train()
    assert all(torch.equal(first[m], model.embed(batch)[m]) for m in WIDTHS)


def test_config_survives_json_and_the_state_loads_strictly():
    config = replace(
        SMALL,
        spaces="fine_coarse",
        coarse_dim=5,
        similarity="cosine",
        pairs=(("video", "text"), ("audio", "text")),
        inputs={"text": "words"},
        blocks={"video": (8, 4)},
        nonnegative=("video",),
    )
    again = MCN.from_config(json.loads(json.dumps(asdict(config))))
    assert again.config == config
    model = MCN(config)
    batch = batch_of()
    batch["text"] = torch.randn(16, 3, 9)
    started(model, batch)
    again.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(step(again, batch, number=1).loss, step(model, batch, number=1).loss)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": {"video": 3}}, "two modalities at least"),
        ({"widths": {"video": 3, "text": 3}, "spaces": "fine_coarse"}, "fine_coarse needs video, audio and text"),
        ({"pairs": (("video", "sound"),)}, "unknown modality 'sound'"),
        ({"inputs": {"video": "words"}}, "video cannot be words"),
        ({"blocks": {"video": (3, 3)}}, "blocks of video must add up to 12"),
        ({"normalise": "standardise", "nonnegative": ("video",)}, "nonnegative must be empty"),
        ({"enqueue": 0.0}, r"enqueue must be in \(0, 1\]"),
        ({"clusters": 0}, "clusters, refit_every and iterations at least 1"),
    ],
)
def test_bad_configs_are_named(changes, words):
    with pytest.raises(SeehearError, match=words):
        replace(SMALL, **changes)


def test_bad_batches_are_named():
    with pytest.raises(SeehearError, match="text of a clip is 7, this model was made for latents of 9"):
        made().embed({"text": torch.ones(2, 7)})
    with pytest.raises(SeehearError, match="video of a clip is 4 x 12, this model was made for latents of 12"):
        made().embed({"video": torch.ones(2, 4, 12)})
    with pytest.raises(SeehearError, match="audio of a clip is 40 x 9, this model was made for mel of 5 x any"):
        made(**OF_CLIPS).embed({"audio": torch.ones(2, 40, 9)})
    with pytest.raises(ValueError, match="no audio: the model aligns video, audio, text"):
        made().encode({k: v for k, v in batch_of().items() if k != "audio"}, rng=None)
    with pytest.raises(ValueError, match="no 'group'"):
        made(mask_same_group=True).encode({k: v for k, v in batch_of().items() if k != "group"}, rng=None)
    with pytest.raises(SeehearError, match="30 clusters need as many clips; a batch of 16 and a queue of 12"):
        step(made(clusters=30), batch_of())
    with pytest.raises(SeehearError, match="unknown space 'fine'"):
        made().embed(batch_of(), "fine")
    with pytest.raises(SeehearError, match="unknown MCN option 'cluster'; did you mean 'clusters'"):
        config_from(MCNConfig, {"widths": WIDTHS, "cluster": 3})
