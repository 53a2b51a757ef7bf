"""MCN as a method: the sheet's worked step and sizes, the objective against loops, missing modalities, spaces."""

import json
from dataclasses import asdict, replace
from itertools import combinations

import pytest
import torch
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.methods import mcn as module
from seehear.methods.mcn import MCN, MCNConfig
from seehear.nn.kmeans import kmeans, starting_points
from seehear.nn.random import Randomness
from seehear.types import Encoded
from tests.clips import BANDS, Clips
from tests.reference import mcn as slow

WIDTHS = {"video": 12, "audio": 7, "text": 9}
PAIRS = tuple(combinations(WIDTHS, 2))
SMALL = MCNConfig(widths=WIDTHS, dim=8, hidden=6, clusters=3, queue=12, refit_every=3, channels=(8, 16))
OF_CLIPS = {"widths": {"video": 12, "audio": BANDS, "text": 12}, "inputs": {"audio": "mel", "text": "words"}}
V = [[1, 0], [0, 1], [-1, 0.5]]
A = [[0.5, 0.5], [-0.2, 1], [-1, 0]]
T = [[2, -0.5], [0.3, 0.8], [-0.6, 0.6]]
C = [[1, 0], [-0.5, 0.8]]


def draws(rows, step=0, seed=0):
    return Randomness(seed, step, 0, rows, rows)


def batch_of(rows=16, *, widths=WIDTHS, seed=0, absent=0.0):
    g = torch.Generator().manual_seed(seed)
    batch = {m: torch.randn(rows, d, generator=g) for m, d in widths.items()}
    has = {f"has_{m}": torch.rand(rows, generator=g) >= absent for m in widths}
    return {**batch, **has, "group": torch.arange(rows)}


def made(config=SMALL, **changes):
    torch.manual_seed(0)
    return MCN(replace(config, **changes))


def step(model, batch, *, number=0):
    rng = draws(len(batch["group"]), number)
    return model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)


def trained(model, batch, steps, lr=3e-3):
    optimizer, losses = torch.optim.AdamW(model.parameters(), lr=lr), []
    for number in range(steps):
        optimizer.zero_grad()
        out = step(model, batch, number=number)
        out.loss.backward()
        optimizer.step()
        model.after_step(out, 0.0)
        losses.append(out.loss.item())
    return losses


def started(model, batch, number=0):
    """As it is one step later, weights apart: with centroids, and rows in the queue."""
    model.after_step(step(model, batch, number=number), 0.0)
    return model


# -- the sheet --------------------------------------------------------------------------------------------------------


def worked(**changes):
    """The step of section 11: three clips in two dimensions, two clusters, not a step of k-means."""
    model = made(dim=2, clusters=2, **changes).double()
    joint = model.clusters["joint"]
    joint.centroids.copy_(torch.tensor(C))
    joint.fitted.fill_(1)
    joint.steps.fill_(1)
    z = {"video": V, "audio": A, "text": T}
    features = {f"joint/{m}": torch.tensor(x, dtype=torch.float64, requires_grad=True) for m, x in z.items()}
    features["reconstruct/video"] = torch.tensor([11 / 300, 14 / 300, 12.5 / 300], dtype=torch.float64)
    encoded = Encoded(features, {m: torch.ones(3, dtype=torch.bool) for m in z})
    return model, features, model.objective(encoded, progress=0.0, rng=draws(3, 1))


def test_the_worked_step_and_all_its_parts():
    model, features, out = worked()
    found = {k: v.item() for k, v in out.metrics.items()}
    expected = {
        "loss/video-text": 0.959741,
        "loss/audio-text": 1.330987,
        "loss/video-audio": 1.319574,
        "loss/cluster-joint": 0.288453,
        "loss/reconstruct-video": 2.083333 / 50,
        "clusters/joint": 2,
    }
    assert found == pytest.approx(expected, abs=5e-7)
    contrast = sum(found[f"loss/{p}-{q}"] for p, q in PAIRS)
    assert contrast == pytest.approx(3.610302, abs=5e-7)
    assert out.loss.item() == pytest.approx(5.982088, abs=5e-7)
    out.loss.backward()
    assert all((x.grad != 0).all() for name, x in features.items() if name.startswith("joint"))
    model.after_step(out, 0.0)
    joint = model.clusters["joint"]
    torch.testing.assert_close(joint.centroids, torch.tensor(C, dtype=torch.float64))
    m = torch.tensor(slow.fused({"video": V, "audio": A, "text": T}), dtype=torch.float64)
    torch.testing.assert_close(joint.queue[:2], m[[0, 2]])
    assert (int(joint.steps), int(joint.written)) == (2, 2)


@pytest.mark.parametrize(("over", "cluster"), [("mean", 0.288453), ("sum", 0.865358), ("fused", 0.250064)])
def test_the_mean_of_the_code_the_sum_of_the_paper_and_the_variant(over, cluster):
    assert worked(cluster_over=over)[2].loss.item() == pytest.approx(3.610302 + cluster + 2.083333, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        ({"contrast_weight": 0.0}, 0.288453 + 2.083333),
        ({"cluster_weight": 2.0}, 5.982088 + 0.288453),
        ({"reconstruct_weight": 1.0}, 3.610302 + 0.288453 + 2.083333 / 50),
        ({"pairs": (("video", "text"), ("audio", "text"))}, 5.982088 - 1.319574),
    ],
    ids=lambda c: "-".join(c) if isinstance(c, dict) else "",
)
def test_every_term_has_its_weight(changes, loss):
    assert worked(**changes)[2].loss.item() == pytest.approx(loss, abs=1.5e-6)


def test_sizes_of_the_paper():
    config = MCNConfig(
        widths={"video": 4096, "audio": 40, "text": 300},
        inputs={"audio": "mel", "text": "words"},
        blocks={"video": (2048, 2048)},
        nonnegative=("video",),
    )
    with torch.device("meta"):
        model = MCN(config)

    def size(part):
        return sum(p.numel() for p in part.parameters())

    video, audio, text = (model.branches[m] for m in ("video", "audio", "text"))
    unused = 2  # of a norm that the paper's DAVEnet has and never applies
    assert size(video.heads) == 62_926_848
    assert size(audio.stem) == 44_670_978 - unused
    assert size(audio.heads["joint"][0]) == 2_099_200
    assert size(audio.heads["joint"][1]) == 6_297_600
    assert size(text.stem) == 1_849_344
    assert size(text.heads) == 75_509_760
    assert [size(b.decoders) for b in (video, audio, text)] == [10_490_880, 7_342_080, 12_590_080]
    assert size(model) == 223_776_770 - unused
    assert model.clusters["joint"].queue.shape == (40_960, 6144)
    assert all(isinstance(b.decoders["joint"][-1], torch.nn.ReLU) for b in (video, audio, text))


# -- the objective against loops --------------------------------------------------------------------------------------


def lists(encoded, space):
    """{modality: list of vector or None}"""
    return {
        m: [x if has else None for x, has in zip(encoded.features[f"{space}/{m}"].tolist(), there, strict=True)]
        for m, there in encoded.present.items()
    }


@pytest.mark.parametrize("absent", [0.0, 0.4])
@pytest.mark.parametrize("over", ["mean", "sum", "fused"])
@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_objective_is_the_papers(absent, over, similarity):
    model, batch = made(cluster_over=over, similarity=similarity).double(), batch_of(20, absent=absent)
    out = step(started(model, batch), batch, number=1)
    encoded, tau = model.encode(batch, rng=None), 1.0
    if similarity == "cosine":
        tau = out.metrics["temperature/joint"].item()
        assert tau == pytest.approx(0.07)
    z, centroids = lists(encoded, "joint"), model.clusters["joint"].centroids.tolist()
    contrast = slow.contrast(z, PAIRS, tau=tau)
    cluster = slow.clustering(z, centroids, over, tau=tau, unit=similarity == "cosine")
    errors = 0.0
    for m in WIDTHS:
        f = F.normalize(batch[m].double(), dim=1)
        rebuilt = model.branches[m].decoders["joint"](encoded.features[f"joint/{m}"])
        rows = [i for i in range(20) if batch[f"has_{m}"][i]]
        errors += sum(slow.squared_error(rebuilt[i].tolist(), f[i].tolist()) for i in rows) / len(rows)
    assert out.metrics["loss/cluster-joint"].item() == pytest.approx(cluster, rel=1e-9)
    for (p, q), value in contrast.items():
        assert out.metrics[f"loss/{p}-{q}"].item() == pytest.approx(value, rel=1e-8)
    assert out.loss.item() == pytest.approx(sum(contrast.values()) + cluster + 50 * errors, rel=1e-8)


def test_the_first_step_clusters_this_batch():
    model, batch = made().double(), batch_of(20)
    out = step(model, batch)
    m = torch.tensor(slow.fused(lists(model.encode(batch, rng=None), "joint")), dtype=torch.float64)
    start = starting_points(m, 3, draws(20).shared("mcn/clusters/joint"))
    torch.testing.assert_close(out.carry["joint/centroids"], kmeans(m, start).centroids_KE)
    assert out.metrics["clusters/joint"] == 3


def test_the_order_of_the_clips_does_not_matter():
    batch, order = batch_of(30, absent=0.3), torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = {k: v[order] for k, v in batch.items()}
    model = made().double()
    assert step(model, shuffled).loss.item() == pytest.approx(step(model, batch).loss.item(), rel=1e-10)


def test_objective_changes_no_state_and_after_step_does():
    model, batch = made(), batch_of(20)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    out = step(model, batch)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    model.after_step(out, 0.0)
    changed = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {f"clusters.joint.{k}" for k in ("centroids", "queue", "written", "steps", "fitted")}
    assert not out.carry["joint/centroids"].requires_grad
    assert not model.clusters["joint"].queue.requires_grad


# -- missing modalities -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spaces", ["joint", "disjoint", "fine_coarse"])
@pytest.mark.parametrize("absent", ["video", "audio", "text", "all but video", "everything"])
def test_a_batch_without_a_modality_has_finite_gradients(absent, spaces):
    gone = {"all but video": ("audio", "text"), "everything": tuple(WIDTHS)}.get(absent, (absent,))
    model, batch = started(made(spaces=spaces), batch_of()), batch_of(seed=1)
    for m in gone:
        batch[f"has_{m}"][:] = False
        batch[m] = torch.zeros_like(batch[m])
    for number in (1, 2, 3):  # the last one is a step of k-means
        out = step(model, batch, number=number)
        model.zero_grad()
        out.loss.backward()
        assert out.loss.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
        assert not any(f"loss/reconstruct-{m}" in out.metrics for m in gone)
        assert not any(f"loss/{p}-{q}" in out.metrics for p, q in PAIRS if p in gone or q in gone)
        model.after_step(out, 0.0)
    if absent == "everything":
        assert out.loss == 0


@pytest.mark.parametrize("changes", [{}, OF_CLIPS], ids=["latents", "clips"])
def test_what_absent_rows_hold_does_not_matter(changes):
    model = made(**changes).double()
    batch = batch_of(20, absent=0.4) if not changes else Clips(20).batch(torch.arange(20))
    for m in ("has_video", "has_text"):
        batch[m] = torch.arange(20) % 4 != 1
    first = step(model, batch)
    first.loss.backward()
    expected = [p.grad.clone() for p in model.parameters()]
    for m in WIDTHS:
        batch[m][~batch[f"has_{m}"]] = 100.0
    model.zero_grad()
    again = step(model, batch)
    again.loss.backward()
    torch.testing.assert_close(again.loss, first.loss)
    for p, g in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(p.grad, g)


def test_clips_without_any_of_the_modalities_are_not_clustered():
    model, batch = made(enqueue=1.0), batch_of(12)
    for m in WIDTHS:
        batch[f"has_{m}"][[2, 5]] = False
    started(model, batch)
    assert int(model.clusters["joint"].written) == 10


@pytest.mark.parametrize("widths", [{"video": 12, "text": 9}, {"audio": 7, "text": 9}, {"video": 12, "audio": 7}])
def test_any_two_modalities(widths):
    model = made(widths=widths)
    out = step(model, batch_of(widths=widths))
    p, q = widths
    assert {f"loss/{p}-{q}", "loss/cluster-joint", f"loss/reconstruct-{p}", f"loss/reconstruct-{q}"} <= set(out.metrics)
    both = [out.metrics[f"loss/reconstruct-{m}"] for m in widths]
    total = out.metrics[f"loss/{p}-{q}"] + out.metrics["loss/cluster-joint"] + 50 * sum(both)
    torch.testing.assert_close(out.loss, total)


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


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"cluster_over": "sum"},
        {"cluster_over": "fused"},
        {"similarity": "cosine"},
        {"spaces": "disjoint"},
        {"spaces": "fine_coarse", "similarity": "cosine"},
        {"cluster_weight": 0.0},
        {"reconstruct_weight": 0.0},
        {"pairs": (("video", "text"), ("audio", "text"))},
        {"queue": 0, "refit_every": 1},
        {"mask_duplicates": True, "normalise": "none"},
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
        MCNConfig.from_dict({"widths": WIDTHS, "cluster": 3})
