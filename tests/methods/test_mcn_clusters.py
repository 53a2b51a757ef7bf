"""The clustering loss of MCN's worked step (sheet, section 11) and its invariants."""

import math
from functools import partial

import pytest
import torch

from seehear.methods.mcn_layers import cluster_loss, clustering, fuse
from tests.reference import mcn as slow

V = [[1, 0], [0, 1], [-1, 0.5]]
A = [[0.5, 0.5], [-0.2, 1], [-1, 0]]
T = [[2, -0.5], [0.3, 0.8], [-0.6, 0.6]]
C = [[1, 0], [-0.5, 0.8]]
LABELS = [0, 1, 1]


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def clips():
    return {"video": double(V), "audio": double(A), "text": double(T)}


def all_there(rows=3):
    return {m: torch.ones(rows, dtype=torch.bool) for m in ("video", "audio", "text")}


def loss(z=None, present=None, centroids=None, labels=LABELS, **options):
    centroids = double(C) if centroids is None else centroids
    one = partial(cluster_loss, centroids_KE=centroids)
    return clustering(z or clips(), present or all_there(), torch.tensor(labels), one, **options)


def test_fused_is_the_mean_of_what_is_there():
    fused, anything = fuse(clips(), all_there())
    expected = [[1.166667, 0], [0.033333, 0.933333], [-0.866667, 0.366667]]
    torch.testing.assert_close(fused, double(expected), atol=5e-7, rtol=0)
    assert anything.all()
    present = {"video": [1, 0, 0], "audio": [1, 1, 0], "text": [0, 0, 0]}
    fused, anything = fuse(clips(), {m: torch.tensor(p).bool() for m, p in present.items()})
    torch.testing.assert_close(fused[:2], double([[0.75, 0.25], A[1]]))
    assert anything.tolist() == [True, True, False]
    assert fused[2].isfinite().all()


def test_the_worked_losses():
    expected = {
        "video": ([0.201596, 0.371411, 0.139517], 0.237508),
        "audio": ([0.533796, 0.287585, 0.201596], 0.340992),
        "text": ([0.032861, 0.603106, 0.224607], 0.286858),
    }
    for m, z in clips().items():
        each = cluster_loss(z, torch.tensor(LABELS), double(C))
        assert each.tolist() == pytest.approx(expected[m][0], abs=5e-7)
        assert each.mean().item() == pytest.approx(expected[m][1], abs=5e-7)
    assert loss(over="sum").item() == pytest.approx(0.865358, abs=5e-7)
    assert loss(over="mean").item() == pytest.approx(0.288453, abs=5e-7)
    assert loss(over="fused").item() == pytest.approx(0.250064, abs=5e-7)
    lists = {"video": V, "audio": A, "text": T}
    for over in ("sum", "mean", "fused"):
        assert slow.clustering(lists, C, over) == pytest.approx(loss(over=over).item(), rel=1e-12)


def test_equal_logits_cost_the_logarithm_of_the_number_of_clusters():
    each = cluster_loss(torch.ones(2, 3), torch.tensor([3, 200]), torch.ones(256, 3), margin=0.0)
    assert each.tolist() == pytest.approx([5.5452] * 2, abs=5e-5)
    assert each[0].item() == pytest.approx(math.log(256), rel=1e-6)


def test_large_products_keep_their_digits_under_autocast():
    x, centroids = (20 * torch.randn(6, 5, generator=torch.Generator().manual_seed(i)) for i in range(2))
    plain = cluster_loss(x, torch.arange(6), centroids)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cluster_loss(x, torch.arange(6), centroids), plain)


def test_permuting_the_clusters_changes_nothing():
    assert loss(centroids=double(C[::-1]), labels=[1, 0, 0]).item() == pytest.approx(loss().item(), rel=1e-12)


def test_gradients_reach_the_vectors_and_not_the_centroids():
    z = {m: x.requires_grad_() for m, x in clips().items()}
    centroids = double(C).requires_grad_()
    loss(z, centroids=centroids).backward()
    assert centroids.grad is None
    assert all(bool((x.grad != 0).any(dim=1).all()) for x in z.values())


@pytest.mark.parametrize("over", ["mean", "sum", "fused"])
def test_absent_rows_have_no_influence(over):
    present = all_there() | {"audio": torch.tensor([True, False, False]), "text": torch.zeros(3, dtype=torch.bool)}
    lists = {"video": V, "audio": [A[0], None, None], "text": [None] * 3}
    z = clips()
    z["audio"][1:], z["text"][:] = 1e6, -1e6
    z = {m: x.requires_grad_() for m, x in z.items()}
    fused = slow.fused(lists)
    labels = [slow.label(x, C) for x in fused]
    found = loss(z, present, labels=labels, over=over)
    assert found.item() == pytest.approx(slow.clustering(lists, C, over), rel=1e-12)
    found.backward()
    assert z["audio"].grad[0].abs().sum() > 0
    assert z["audio"].grad[1:].abs().sum() == 0
    assert z["text"].grad is None or z["text"].grad.abs().sum() == 0


@pytest.mark.parametrize("over", ["mean", "sum", "fused"])
def test_without_anything_there_is_no_loss_and_no_gradient(over):
    z = {m: x.requires_grad_() for m, x in clips().items()}
    found = loss(z, {m: torch.zeros(3, dtype=torch.bool) for m in z}, over=over)
    found.backward()
    assert found.item() == 0
    assert all(x.grad.abs().sum() == 0 for x in z.values())
