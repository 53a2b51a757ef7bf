"""k-means by cosine: the worked step of MCN's sheet, its invariants, and clusters that follow a stream."""

from collections import deque
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.methods.mcn_layers import OnlineClusters, evenly
from seehear.nn.kmeans import assign, kmeans, starting_points
from tests.reference import mcn as slow

X = [[2, 0], [1, 0.2], [0, 1], [0.1, 3]]


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def rows(n, width=4, seed=0):
    return torch.randn(n, width, generator=generator(seed), dtype=torch.float64)


def blobs(clusters, each, width=8, seed=0):
    """Rows around well separated directions, of different lengths, shuffled; and which direction each is of."""
    g = generator(seed)
    centres = 4 * torch.linalg.qr(torch.randn(width, width, generator=g, dtype=torch.float64)).Q[:clusters]
    of = torch.arange(clusters).repeat_interleave(each)[torch.randperm(clusters * each, generator=g)]
    x = centres[of] + 0.2 * torch.randn(len(of), width, generator=g, dtype=torch.float64)
    return x * (0.5 + torch.rand(len(of), 1, generator=g, dtype=torch.float64)), of


def as_set(centroids):
    return sorted(tuple(round(v, 9) for v in c) for c in centroids.tolist())


def test_the_worked_step():
    start = double([[1, 0], [0, 1]])
    assert assign(double(X), start).tolist() == [0, 0, 1, 1]
    found = kmeans(double(X), start, iterations=1)
    torch.testing.assert_close(found.centroids_KE, double([[1.5, 0.1], [0.05, 2]]))
    labels, moved = slow.kmeans_step(X, start.tolist())
    assert labels == [0, 0, 1, 1]
    assert found.centroids_KE.tolist() == [pytest.approx(c) for c in moved]


def test_the_worked_step_of_mcn():
    m = double([[3.5 / 3, 0], [0.1 / 3, 2.8 / 3], [-2.6 / 3, 1.1 / 3]])
    start = double([[1, 0], [-0.5, 0.8]])
    similar = F.normalize(m, dim=1) @ F.normalize(start, dim=1).T
    expected = double([[1, -0.529999], [0.035692, 0.828542], [-0.920967, 0.818526]])
    torch.testing.assert_close(similar, expected, atol=5e-7, rtol=0)
    assert assign(m, start).tolist() == [0, 1, 1]
    moved = kmeans(m, start, iterations=1).centroids_KE
    torch.testing.assert_close(moved, double([[1.166667, 0], [-0.416667, 0.65]]), atol=5e-7, rtol=0)


def test_the_cosine_decides_and_not_the_product():
    assert assign(double([[1, 1.2]]), double([[5, 1], [0.5, 1]])).tolist() == [1]


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(0, 60), st.integers(1, 5), st.integers(0, 2**31))
def test_the_cost_never_rises(clusters, more, width, seed):
    """One iteration at a time, from rows at random: also where clusters fall empty and rows repeat."""
    x = rows(clusters + more, width, seed)
    x[: len(x) // 3] = x[0].clone()
    centroids = x[torch.randperm(len(x), generator=generator(seed))[:clusters]]
    costs = []
    for _ in range(8):
        found = kmeans(x, centroids, iterations=1)
        expected = (x.norm(dim=1) - (x @ F.normalize(centroids, dim=1).T).amax(dim=1)).clamp(min=0).mean()
        assert found.cost == pytest.approx(expected.item(), abs=1e-12)
        costs.append(found.cost)
        centroids = found.centroids_KE
        assert centroids.isfinite().all()
    assert all(after <= before + 1e-12 for before, after in pairwise(costs))


def test_steps_agree_with_loops():
    x = rows(50)
    centroids = x[:5]
    expected = centroids.tolist()
    for _ in range(4):
        _, expected = slow.kmeans_step(x.tolist(), expected)
    found = kmeans(x, centroids, iterations=4, tolerance=0.0)
    torch.testing.assert_close(found.centroids_KE, double(expected))


def test_chunks_do_not_matter(monkeypatch):
    x = rows(1000)
    whole = kmeans(x, x[:7]).centroids_KE
    monkeypatch.setattr("seehear.nn.kmeans.CHUNK_NUMBERS", 1)
    torch.testing.assert_close(kmeans(x, x[:7]).centroids_KE, whole)
    torch.testing.assert_close(assign(x, whole), (x @ F.normalize(whole, dim=1).T).argmax(dim=1))


def test_an_empty_cluster_starts_from_the_worst_row():
    x = double([[1, 0], [1, 0.1], [1, 0.2], [1, 2.0]])
    centroids = kmeans(x, double([[1, 0], [-1, 0]]), iterations=1).centroids_KE
    torch.testing.assert_close(centroids[1], x[3])
    after = assign(x, centroids)
    assert after.tolist() == [0, 0, 0, 1]


def test_more_clusters_than_different_rows():
    x = double([[1, 0]] * 6 + [[0, 2]] * 6)
    found = kmeans(x, starting_points(x, 5, generator()))
    assert found.cost == pytest.approx(0, abs=1e-12)
    assert found.iterations < 5
    assert kmeans(torch.zeros(4, 3), torch.zeros(2, 3)).centroids_KE.isfinite().all()


def test_permuting_the_centroids_permutes_the_result():
    x, order = rows(60), torch.tensor([3, 1, 4, 0, 2])
    straight, turned = (kmeans(x, start).centroids_KE for start in (x[:5], x[:5][order]))
    torch.testing.assert_close(straight[order], turned)


@settings(max_examples=20)
@given(st.integers(1, 9), st.integers(0, 2**31))
def test_the_order_of_the_rows_does_not_matter(clusters, seed):
    x = rows(40, seed=seed)
    shuffled = x[torch.randperm(len(x), generator=generator(seed + 1))]
    starts = [starting_points(v, clusters, generator(7)) for v in (x, shuffled)]
    assert as_set(starts[0]) == as_set(starts[1])
    fitted = [kmeans(v, start).centroids_KE for v, start in zip((x, shuffled), starts, strict=True)]
    assert as_set(fitted[0]) == as_set(fitted[1])


def test_starting_points_are_rows_and_a_function_of_the_generator():
    x = rows(500)
    start = starting_points(x, 6, generator(3))
    assert torch.equal(start, starting_points(x, 6, generator(3)))
    assert not torch.equal(start, starting_points(x, 6, generator(4)))
    assert all((x == s).all(dim=1).any() for s in start)


@pytest.mark.parametrize("seed", range(5))
def test_separated_clusters_are_found(seed):
    x, of = blobs(8, 30, seed=seed)
    labels = assign(x, kmeans(x, starting_points(x, 8, generator(seed))).centroids_KE)
    pairs = torch.stack([of, labels]).unique(dim=1)
    assert pairs.shape[1] == 8  # one label a direction, one direction a label


def test_cost_is_that_of_scikit_learn_on_unit_rows():
    """There the squared distance to a unit centroid is twice 1 - cos; theirs to the mean is lower, and bounds ours."""
    from sklearn.cluster import KMeans

    x = F.normalize(blobs(6, 50, seed=1)[0], dim=1)
    ours = kmeans(x, starting_points(x, 6, generator()), tolerance=0.0)
    theirs = KMeans(6, n_init=5, random_state=0).fit(x.numpy())
    torch.testing.assert_close(
        torch.tensor(sorted(ours.centroids_KE.tolist())), torch.tensor(sorted(theirs.cluster_centers_.tolist()))
    )


def test_autocast_does_not_touch_it():
    x = rows(200).float()
    plain = kmeans(x, x[:5]).centroids_KE
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kmeans(x, x[:5]).centroids_KE, plain)


def test_too_few_rows_are_named():
    with pytest.raises(ValueError, match="5 clusters need as many rows; got 3"):
        kmeans(rows(3), rows(5))


# -- clusters of a stream ---------------------------------------------------------------------------------------------


def online(clusters=3, *, queue=10, every=2, width=4):
    return OnlineClusters(clusters, width, queue=queue, every=every).double()


def step(module, x, *, seed=0, enqueue=None):
    centroids = module.at(x, generator(seed))
    module.advance(centroids, x if enqueue is None else x[enqueue])
    return centroids


@settings(max_examples=40)
@given(st.integers(0, 12), st.lists(st.integers(0, 20), max_size=8))
def test_the_queue_holds_the_newest_rows(size, batches):
    module, expected = online(queue=size), deque(maxlen=size)
    for number, n in enumerate(batches):
        x = rows(n, seed=number)
        known = module.known(x)
        assert sorted(known.tolist()) == sorted([*expected, *x.tolist()])
        module.advance(None, x)
        expected.extend(x.tolist())
    assert int(module.steps) == len(batches)


def test_the_queue_of_the_paper():
    """20 * 16 * 128 rows, full after 20 steps of 2,048: so it is at the second fit, 20 steps after the first."""
    module = OnlineClusters(2, 1, queue=20 * 16 * 128, every=20)
    assert len(module.queue) == 40_960
    batch = torch.ones(128 * 32, 1)
    assert len(module.known(batch)) == 4096
    for _ in range(20):
        module.advance(None, batch[evenly(4096, 0.5, batch.device)])
    assert int(module.written) == 40_960
    assert len(module.known(batch)) == 45_056


@pytest.mark.parametrize(("n", "share"), [(10, 0.5), (7, 0.5), (10, 0.3), (9, 1.0), (1, 0.4), (0, 0.5), (1000, 0.37)])
def test_a_share_of_the_rows_evenly(n, share):
    chosen = evenly(n, share, torch.device("cpu"))
    assert len(chosen) == round(n * share)
    assert chosen.unique().tolist() == chosen.tolist()
    assert all(0 <= i < n for i in chosen.tolist())
    if share == 0.5 and n % 2 == 0:
        assert chosen.tolist() == list(range(0, n, 2))


def test_refits_every_so_many_steps_from_where_it_was():
    module, fits = online(every=3, queue=0), []
    previous = None
    for number in range(7):
        x = rows(30, seed=number)
        found = step(module, x, seed=number)
        fits.append(previous is None or not torch.equal(found, previous))
        if number in (3, 6):
            torch.testing.assert_close(found, kmeans(x, previous).centroids_KE)
        previous = found.clone()
    assert fits == [True, False, False, True, False, False, True]


def test_looking_changes_nothing():
    module = online()
    step(module, rows(8))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    module.at(rows(8, seed=5), generator())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_waits_for_enough_rows_and_begins_at_once_then():
    module = online(clusters=9, queue=6, every=5)
    assert step(module, rows(4)) is None
    assert step(module, rows(4, seed=1)) is None
    assert step(module, rows(4, seed=2)).shape == (9, 4)
    assert step(module, rows(2, seed=3)).shape == (9, 4)


def test_what_can_never_be_enough_is_refused():
    with pytest.raises(SeehearError, match="9 clusters need as many clips; a batch of 4 and a queue of 4 hold fewer"):
        online(clusters=9, queue=4).at(rows(4), generator())


def test_a_state_dict_is_the_whole_truth():
    whole, half, again = online(), online(), online()
    for number in range(5):
        step(whole, rows(7, seed=number), seed=number)
        step(half, rows(7, seed=number), seed=number)
    again.load_state_dict(half.state_dict())
    for number in range(5, 10):
        assert torch.equal(
            step(whole, rows(7, seed=number), seed=number), step(again, rows(7, seed=number), seed=number)
        )
    assert all(torch.equal(v, whole.state_dict()[k]) for k, v in again.state_dict().items())
