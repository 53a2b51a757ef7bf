"""MCN as a method: the sheet's worked step and sizes, the objective against loops, missing modalities."""

import pytest
import torch
from torch.nn import functional as F

from seehear.methods.mcn import MCN, MCNConfig
from seehear.nn.kmeans import kmeans, starting_points
from seehear.types import Encoded
from tests.clips import Clips
from tests.methods.mcn_model import OF_CLIPS, PAIRS, WIDTHS, batch_of, draws, made, started, step
from tests.reference import mcn as slow

V = [[1, 0], [0, 1], [-1, 0.5]]
A = [[0.5, 0.5], [-0.2, 1], [-1, 0]]
T = [[2, -0.5], [0.3, 0.8], [-0.6, 0.6]]
C = [[1, 0], [-0.5, 0.8]]


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
