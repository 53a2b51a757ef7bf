"""Worked numbers of the FuseMix sheet (sections 11.3 to 11.5, 12.2, 12.3, 12.9, 12.10), and the tiled form against the
dense one and both against loops."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from seehear.losses.contrastive import (
    Overlap,
    info_nce,
    pairwise,
    same_group,
)
from tests.reference import infonce as slow

B1 = [[0.9, 0.2, 0.1], [0.3, 0.8, 0.0], [0.1, 0.4, 0.7]]
B2 = [[0.30, 0.25, 0.10], [0.20, 0.35, 0.15], [0.05, 0.28, 0.32]]
DENSE_AND_TILED = pytest.mark.parametrize("tile", [None, 2], ids=["dense", "tiled"])


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def of_matrix(s):
    """Any loss of a given similarity matrix: x = S, y = I."""
    return double(s), torch.eye(len(s), dtype=torch.float64)


def unit(rows, width, seed, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, width, generator=g, dtype=torch.float64), dim=1).to(dtype)


def blends(rows, sources, seed, ways=1):
    g = torch.Generator().manual_seed(seed)
    first, second = (torch.randint(sources, (ways, rows), generator=g) for _ in range(2))
    return Overlap(first, second, torch.rand(rows, generator=g, dtype=torch.float64))


def loss_and_gradients(x, y, tau, **options):
    x, y = x.clone().requires_grad_(), y.clone().requires_grad_()
    tau = torch.tensor(tau, dtype=torch.float64 if x.dtype == torch.float64 else torch.float32, requires_grad=True)
    loss = info_nce(x, y, tau, **options)
    return loss, *torch.autograd.grad(loss, (x, y, tau))


@DENSE_AND_TILED
@pytest.mark.parametrize(
    ("s", "tau", "expected"),
    [
        (B1, 0.07, 0.003105),
        (B1, 0.5, 0.473485),
        (B1, 1.0, 0.736624),
        (B1, 1 / 0.07, 1.070068),
        (B2, 0.07, 0.315636),
        (B2, 1.0, 1.001621),
    ],
)
def test_worked_losses(s, tau, expected, tile):
    assert info_nce(*of_matrix(s), tau, tile=tile).item() == pytest.approx(expected, abs=5e-7)
    assert slow.info_nce(s, tau) == pytest.approx(expected, abs=5e-7)


def test_worked_rows_and_columns():
    rows, columns = slow.rows_and_columns(B2, 0.07)
    assert rows == pytest.approx([0.436301, 0.161057, 0.461118], abs=5e-7)
    assert columns == pytest.approx([0.237257, 0.474699, 0.123387], abs=5e-7)


@DENSE_AND_TILED
def test_worked_gradients(tile):
    _, ds, _, dtau = loss_and_gradients(*of_matrix(B2), 0.07, tile=tile)
    expected = [[-1.344734, 1.108408, 0.179227], [0.687860, -1.254010, 0.301948], [0.084525, 1.392730, -1.155953]]
    torch.testing.assert_close(ds, double(expected), atol=5e-7, rtol=0)
    assert dtau.item() == pytest.approx(4.859274, abs=5e-7)
    slow_ds, slow_dtau = slow.gradients(B2, 0.07)
    torch.testing.assert_close(ds, torch.from_numpy(slow_ds))
    assert dtau.item() == pytest.approx(slow_dtau)


@DENSE_AND_TILED
def test_mixed_batch_end_to_end(tile):
    """A2, and its controls: no mixing, lam 1 and 0, and the mistake of another lam for each modality."""
    x, y = double([[1, 0], [0, 1], [1, 1], [-1, 1]]), double([[2, 1], [1, 3], [0, 2], [-2, 1]])

    def loss(x, y):
        return info_nce(F.normalize(x, dim=1), F.normalize(y, dim=1), 0.07, tile=tile).item()

    def mixed(z, lam):
        return lam * z[:2] + (1 - lam) * z[2:]

    assert loss(mixed(x, 0.25), mixed(y, 0.25)) == pytest.approx(0.016428, abs=5e-7)
    assert loss(x, y) == pytest.approx(1.344825, abs=5e-7)
    assert loss(mixed(x, 1), mixed(y, 1)) == pytest.approx(0.000708, abs=5e-7)
    assert loss(mixed(x, 0), mixed(y, 0)) == pytest.approx(0.181092, abs=5e-7)
    assert loss(mixed(x, 0.25), mixed(y, 0.75)) == pytest.approx(0.091263, abs=5e-7)


@DENSE_AND_TILED
def test_worked_same_group(tile):
    masked = info_nce(*of_matrix(B2), 0.07, exclude=same_group(torch.tensor([7, 7, 9])), tile=tile)
    assert masked.item() == pytest.approx(0.172864, abs=5e-7)
    rows, columns = slow.rows_and_columns(B2, 0.07, excluded={(0, 1), (1, 0)})
    assert rows == pytest.approx([0.055844, 0.055844, 0.461118], abs=5e-7)
    assert columns == pytest.approx([0.027728, 0.313262, 0.123387], abs=5e-7)


@DENSE_AND_TILED
@pytest.mark.parametrize("rows", [1, 3, 20])
def test_equal_similarities_cost_log_b(rows, tile):
    same = torch.ones(rows, 4, dtype=torch.float64) / 2
    assert info_nce(same, same, 0.07, tile=tile).item() == pytest.approx(math.log(rows), abs=1e-12)


def test_equal_similarities_cost_log_b_at_the_paper_s_batch():
    zero = torch.zeros(20_480, 1)
    assert info_nce(zero, zero, 0.07).item() == pytest.approx(9.927204, abs=5e-6)


@DENSE_AND_TILED
def test_perfect_alignment_costs_nothing_at_low_temperature(tile):
    eye = torch.eye(5)
    loss, dx, dy, dtau = loss_and_gradients(eye, eye, 0.001, tile=tile)
    assert loss.item() == pytest.approx(0.0, abs=1e-6)
    assert all(g.isfinite().all() for g in (dx, dy, dtau))


@settings(max_examples=40)
@given(
    rows=st.integers(1, 12),
    tile=st.integers(1, 13),
    tau=st.sampled_from([0.005, 0.07, 0.5]),
    seed=st.integers(0, 10**6),
    sources=st.integers(2, 30),
)
def test_tiled_equals_dense_and_loops(rows, tile, tau, seed, sources):
    x, y, exclude = unit(rows, 4, seed), unit(rows, 4, seed + 1), blends(rows, sources, seed, ways=2)
    dense = loss_and_gradients(x, y, tau, exclude=exclude)
    tiled = loss_and_gradients(x, y, tau, exclude=exclude, tile=tile)
    for a, b in zip(dense, tiled, strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=1e-9)
    ways = [
        list(zip(first, second, exclude.weight_B.tolist(), strict=True))
        for first, second in zip(exclude.first_NB.tolist(), exclude.second_NB.tolist(), strict=True)
    ]
    expected = slow.info_nce((x @ y.T).tolist(), tau, slow.excluded_pairs(ways))
    assert dense[0].item() == pytest.approx(expected, abs=1e-8)


@settings(max_examples=20)
@given(rows=st.integers(2, 12), seed=st.integers(0, 10**6), tile=st.sampled_from([None, 3]))
def test_swap_permutation_and_scale(rows, seed, tile):
    x, y = unit(rows, 5, seed), unit(rows, 5, seed + 1)
    exclude = blends(rows, 9, seed)
    loss = info_nce(x, y, 0.1, exclude=exclude, tile=tile)
    torch.testing.assert_close(info_nce(y, x, 0.1, exclude=exclude, tile=tile), loss)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed))
    shuffled = info_nce(x[order], y[order], 0.1, exclude=exclude.select(order), tile=tile)
    torch.testing.assert_close(shuffled, loss)
    torch.testing.assert_close(info_nce(F.normalize(7 * x, dim=1), y, 0.1, exclude=exclude, tile=tile), loss)


@pytest.mark.parametrize("tau", [0.003, 0.07])
def test_gradcheck_with_temperature_and_exclusion(tau):
    x, y = unit(7, 3, 0).requires_grad_(), unit(7, 3, 1).requires_grad_()
    temperature = torch.tensor(tau, dtype=torch.float64, requires_grad=True)
    exclude = blends(7, 5, 2)
    assert len(exclude.pairs(slice(0, 7))[0]) > 0
    check = torch.autograd.gradcheck
    assert check(lambda a, b, t: info_nce(a, b, t, exclude=exclude, tile=3), (x, y, temperature), atol=1e-4, eps=1e-7)


@pytest.mark.parametrize("exclude", [None, same_group(torch.arange(1500) // 3)], ids=["plain", "groups"])
def test_many_rows_are_tiled_and_equal_the_dense_form(exclude):
    x, y = unit(1500, 16, 0, torch.float32), unit(1500, 16, 1, torch.float32)
    default = loss_and_gradients(x, y, 0.07, exclude=exclude)
    dense = loss_and_gradients(x.double(), y.double(), 0.07, exclude=exclude, tile=1500)
    logits = x.double() @ y.double().T / 0.07
    if exclude is not None:
        logits[exclude.pairs(slice(0, 1500))] = -torch.inf
    target = torch.arange(1500)
    plain = (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2
    assert dense[0].item() == pytest.approx(plain.item(), abs=1e-9)
    assert default[0].item() == pytest.approx(plain.item(), abs=1e-5)
    for a, b in zip(default[1:], dense[1:], strict=True):
        assert (a - b).norm() <= 3e-6 * b.norm()


@DENSE_AND_TILED
def test_products_in_bfloat16(tile):
    """Under autocast, and for bfloat16 rows: near the exact value, sums in fp32, gradients in the rows' type."""
    x, y = unit(64, 32, 0, torch.float32), unit(64, 32, 1, torch.float32)
    y = F.normalize(x + 0.3 * y, dim=1)
    exact = loss_and_gradients(x, y, 0.07, tile=tile)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = loss_and_gradients(x, y, 0.07, tile=tile)
    half = loss_and_gradients(x.bfloat16(), y.bfloat16(), 0.07, tile=tile)
    assert [g.dtype for g in cast] == [torch.float32] * 4
    assert [g.dtype for g in half] == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float32]
    for found in (cast, half):
        assert found[0].item() == pytest.approx(exact[0].item(), rel=0.02)
        for a, b in zip(found[1:3], exact[1:3], strict=True):
            assert (a - b).norm() <= 0.03 * b.norm()


def test_overlap_of_mixed_rows_by_hand():
    """One lam = 0.4: the second source alone is 0.6 and excludes, the first alone 0.4 does not, crossed pairs share
    0.4 each way and exclude together."""
    first, second = torch.tensor([[1, 9, 1, 2]]), torch.tensor([[2, 2, 8, 1]])
    pairs = Overlap(first, second, torch.full((4,), 0.4)).pairs(slice(0, 4))
    found = set(zip(*(p.tolist() for p in pairs), strict=True))
    assert found == {(0, 1), (1, 0), (0, 3), (3, 0)}


def test_overlap_tiles_cover_the_whole():
    exclude = blends(23, 12, 3, ways=2)
    whole = set(zip(*(p.tolist() for p in exclude.pairs(slice(0, 23))), strict=True))
    tiles = set()
    for start in range(0, 23, 5):
        i, j = exclude.pairs(slice(start, start + 5))
        tiles |= set(zip((i + start).tolist(), j.tolist(), strict=True))
    assert tiles == whole
    assert whole
    assert {(j, i) for i, j in whole} == whole


V, T, AUDIO = (
    [[1, 0], [0, 1], [1, 1], None],
    [[1, 0.2], [0.1, 1], [1, 0.5], [-1, 1]],
    [[0.9, 0.1], None, [0.4, 1], None],
)


def partly_present(fill):
    rows = {"video": V, "text": T, "audio": AUDIO}
    present = {m: torch.tensor([v is not None for v in r]) for m, r in rows.items()}
    z = {m: F.normalize(double([fill if v is None else v for v in r]), dim=1) for m, r in rows.items()}
    return {m: x.requires_grad_() for m, x in z.items()}, present, rows


def nce(x, y, exclude=None):
    return info_nce(x, y, 0.07, exclude=exclude)


def test_worked_pairwise():
    z, present, rows = partly_present([0.3, 0.4])
    found = pairwise(z, present, nce)
    assert found.total.item() == pytest.approx(0.339553, abs=5e-7)
    assert slow.pairwise(rows, 0.07) == pytest.approx(0.339553, abs=5e-7)
    terms = {("video", "text"): 0.171828, ("video", "audio"): 0.044255, ("text", "audio"): 0.802577}
    assert {k: pytest.approx(v.item(), abs=5e-7) for k, v in found.terms.items()} == terms


def test_absent_rows_have_no_influence_whatever_they_hold():
    z, present, _ = partly_present([float("nan"), float("inf")])
    found = pairwise(z, present, nce)
    found.total.backward()
    assert found.total.item() == pytest.approx(0.339553, abs=5e-7)
    assert all(x.grad[present[m]].isfinite().all() and (x.grad[~present[m]] == 0).all() for m, x in z.items())


def test_hub_pairs_only():
    z, present, _ = partly_present([1, 1])
    found = pairwise(z, present, nce, pairs=(("video", "text"), ("audio", "text")))
    assert set(found.terms) == {("video", "text"), ("audio", "text")}
    assert found.total.item() == pytest.approx((0.171828 + 0.802577) / 2, abs=1e-6)


def test_a_batch_that_lacks_a_modality_or_every_pair():
    z, present, _ = partly_present([1, 1])
    present["audio"] = torch.zeros(4, dtype=torch.bool)
    found = pairwise(z, present, nce)
    found.total.backward()
    assert list(found.terms) == [("video", "text")]
    assert all(x.grad.isfinite().all() for x in z.values())
    present["text"] = torch.tensor([True, False, False, False])
    z, _, _ = partly_present([1, 1])
    found = pairwise(z, present, nce)
    found.total.backward()
    assert found.total.item() == 0
    assert not found.terms
    assert all((x.grad == 0).all() for x in z.values())


def test_exclusion_follows_the_rows_of_a_pair():
    """Rows 0 and 3 share a group; in the pair video-text row 3 is absent, so nothing is excluded there."""
    z, present, _ = partly_present([1, 1])
    group = same_group(torch.tensor([5, 1, 2, 5]))
    plain = pairwise(z, present, nce).terms
    found = pairwise(z, present, nce, exclude=lambda p, q: group).terms
    assert found == plain
    group = same_group(torch.tensor([5, 1, 5, 0]))
    found = pairwise(z, present, nce, exclude=lambda p, q: group).terms
    assert found["video", "audio"].item() == pytest.approx(0.0, abs=1e-12)  # both its rows are of one group
    assert found["video", "text"] < plain["video", "text"]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"\(B, E\) alike"):
        info_nce(torch.ones(3, 2), torch.ones(4, 2), 0.07)
    with pytest.raises(ValueError, match="exclusion is of 2 rows, the batch has 3"):
        info_nce(torch.ones(3, 2), torch.ones(3, 2), 0.07, exclude=same_group(torch.tensor([1, 2])))
    with pytest.raises(ValueError, match="sources must be"):
        Overlap(torch.zeros(3), torch.zeros(3), torch.zeros(3))
