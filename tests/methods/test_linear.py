"""Closed forms: section 12.1's invariants and worked rotation, generalised CCA (12.9 c), missing rows, tuning."""

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.methods import linear, tuning
from seehear.methods.fusemix import FuseMixConfig
from seehear.methods.linear import (
    LinearMaps,
    canonical,
    cca,
    gcca,
    moments,
    procrustes,
    ridge,
)
from seehear.methods.tuning import TuningFold, reciprocal_ranks, tuned, tuned_blocks, tuned_ridge
from seehear.recipes.fusemix import start_of
from seehear.runs.closed_forms import Asif
from tests.reference import linear as slow


def pair(rows=400, dims=(6, 4), seed=0, shared=3):
    draw = np.random.default_rng(seed)
    z = draw.normal(size=(rows, shared))
    x, y = (z @ draw.normal(size=(shared, d)) + draw.normal(size=(rows, d)) + 3 for d in dims)
    return {"video": x, "text": y}


def recall(maps, latents):
    return slow.recall_at_1(*(v.numpy() for v in maps.embed(latents).values()))


def test_cca_whitens_and_diagonalises():
    latents = pair()
    maps = cca(moments(latents), shrinkage=0.0, root=False)
    wx, wy, rho = maps.weight["video"].numpy(), maps.weight["text"].numpy(), maps.strength.numpy()
    cx, cy, cxy = slow.covariances(latents["video"], latents["text"], 0.0)
    np.testing.assert_allclose(wx.T @ cx @ wx, np.eye(4), atol=1e-13)
    np.testing.assert_allclose(wy.T @ cy @ wy, np.eye(4), atol=1e-13)
    np.testing.assert_allclose(wx.T @ cxy @ wy, np.diag(rho), atol=1e-13)


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_cca_is_the_stacked_eigenproblem(shrinkage):
    latents = pair()
    rho = cca(moments(latents), shrinkage=shrinkage).strength.numpy()
    values, _ = slow.stacked(*slow.covariances(latents["video"], latents["text"], shrinkage))
    np.testing.assert_allclose(values, [*(1 + rho), 1, 1, *(1 - rho[::-1])], atol=1e-12)


def test_root_weighting_ranks_by_correlation_weighted_products():
    latents = pair()
    plain, rooted = (cca(moments(latents), root=root) for root in (False, True))
    for m in latents:
        torch.testing.assert_close(rooted.weight[m], plain.weight[m] * plain.strength.sqrt())


@pytest.mark.parametrize("shrinkage", [0.0, 0.1])
def test_generalised_cca_of_two_views_is_cca(shrinkage):
    m = moments(pair())
    two, general = cca(m, shrinkage=shrinkage), gcca(m, shrinkage=shrinkage)
    torch.testing.assert_close(general.strength, two.strength)
    for name in two.weight:
        torch.testing.assert_close(general.weight[name].abs(), two.weight[name].abs(), atol=1e-9, rtol=1e-9)
    assert torch.equal(canonical(m).weight["text"], cca(m).weight["text"])


def test_generalised_cca_aligns_pairs_that_never_meet():
    """Video and audio share no training row; text is in all. All three are near-copies of one latent."""
    draw = np.random.default_rng(0)
    z = draw.normal(size=(700, 5))
    latents = {
        m: z @ draw.normal(size=(5, d)) + 0.05 * draw.normal(size=(700, d))
        for m, d in (("video", 9), ("audio", 7), ("text", 6))
    }
    half = np.arange(600) < 300
    absent = {m: x[:600].copy() for m, x in latents.items()}
    absent["video"][~half] = np.nan
    absent["audio"][half] = np.inf
    m = moments(absent, {"video": half, "audio": ~half})
    assert ("video", "audio") not in m.covariance
    maps = gcca(m, shrinkage=0.01, rank=5)
    assert recall(maps, {k: latents[k][600:] for k in ("video", "audio")}) > 90
    full = {k: x[:600] for k, x in latents.items()}
    hub = moments(full, pairs=(("text", "video"), ("audio", "text")))
    assert set(hub.covariance) == {(p, p) for p in latents} | {("video", "text"), ("audio", "text")}


def test_moments_are_those_of_the_rows_that_have_both_sides_over_any_chunks(monkeypatch):
    latents = pair(rows=50)
    present = {"video": np.arange(50) % 3 > 0, "text": np.arange(50) % 4 > 0}
    both = present["video"] & present["text"]
    whole = moments(latents, present)
    monkeypatch.setattr("seehear.methods.linear.CHUNK", 7)
    chunked = moments(latents, present)
    for key, c in whole.covariance.items():
        torch.testing.assert_close(chunked.covariance[key], c)
    np.testing.assert_allclose(whole.mean["video"], latents["video"][present["video"]].mean(axis=0))
    x, y = latents["video"][both], latents["text"][both]
    expected = (x - x.mean(axis=0)).T @ (y - y.mean(axis=0)) / both.sum()
    np.testing.assert_allclose(whole.covariance["video", "text"], expected, atol=1e-12)


def test_standardising_is_undone_by_the_maps():
    """Maps of standardised moments act on raw latents as maps of standardised latents act on those."""
    latents = pair()
    scaled = {m: (x - x.mean(axis=0)) / x.std(axis=0) for m, x in latents.items()}
    raw, direct = cca(moments(latents).standardised()), cca(moments(scaled))
    for m, vectors in raw.embed(latents).items():
        torch.testing.assert_close(vectors.abs(), direct.embed(scaled)[m].abs(), atol=1e-9, rtol=1e-9)


def test_worked_procrustes():
    latents = {
        "video": np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], dtype=float),
        "text": np.array([[2, 1], [-1, 2], [-2, 0], [1, -3]], dtype=float),
    }
    m = moments(latents)
    singular = torch.linalg.svdvals(4 * m.covariance["video", "text"])
    assert singular.tolist() == pytest.approx([5.450523, 4.036310], abs=5e-7)
    rotation = procrustes(m).weight["video"]
    expected = [[0.948683, 0.316228], [-0.316228, 0.948683]]
    torch.testing.assert_close(rotation, torch.tensor(expected, dtype=torch.float64), atol=5e-7, rtol=0)


def test_procrustes_of_unequal_widths_is_a_rotation_after_pca():
    maps = procrustes(moments(pair()))
    for w in maps.weight.values():
        torch.testing.assert_close(w.T @ w, torch.eye(4, dtype=torch.float64))


def test_ridge_is_least_squares_towards_the_hub():
    latents = pair()
    x, y = (v - v.mean(axis=0) for v in latents.values())
    plain = ridge(moments(latents), shrinkage=0.0)
    np.testing.assert_allclose(plain.weight["video"], np.linalg.lstsq(x, y, rcond=None)[0], atol=1e-10)
    cx = x.T @ x / len(x)
    shrunk = np.linalg.solve(cx + 0.3 * np.trace(cx) / 6 * np.eye(6), x.T @ y / len(x))
    np.testing.assert_allclose(ridge(moments(latents), shrinkage=0.3).weight["video"], shrunk, atol=1e-10)
    assert ridge(moments(latents), hub="video").weight["video"].shape == (6, 6)


def test_whitening_removes_private_variance_and_rotations_cannot():
    """The order of section 12.1's synthetic check."""
    train, test = (dict(zip(("video", "text"), slow.private_world(n, n), strict=True)) for n in (1000, 200))
    m = moments(train)
    found = [
        recall(maps, test) for maps in (procrustes(m), ridge(m, shrinkage=0.001), cca(m, shrinkage=0.001, rank=16))
    ]
    assert found[0] + 10 < found[1]
    assert found[1] + 10 < found[2]
    assert found[2] > 97


@pytest.mark.parametrize(
    ("rows", "plain", "rooted"),
    [
        (300, (36.4, 51.2, 24.2), (41.4, 60.5, 30.1)),
        pytest.param(2000, (97.5, 97.5, 77.3), (99.3, 99.5, 88.5), marks=pytest.mark.slow),
    ],
)
def test_shrinkage_and_root_weights_in_the_smooth_world(rows, plain, rooted):
    """Section 11.9, measured there to about 1 or 2 points; its maps are drawn anew here, so within 6."""
    test = dict(zip(("video", "text"), slow.smooth_world(1000, 99), strict=True))
    m = moments(dict(zip(("video", "text"), slow.smooth_world(rows, 0), strict=True)))
    for root, expected in ((False, plain), (True, rooted)):
        found = [recall(cca(m, shrinkage=r, rank=48, root=root), test) for r in (0.01, 0.1, 1.0)]
        assert found == pytest.approx(list(expected), abs=6)


def test_tuning_takes_the_best_on_validation():
    train, validation = (dict(zip(("video", "text"), slow.smooth_world(n, n), strict=True)) for n in (300, 200))
    m = moments(train)
    chosen = tuned(m, [TuningFold(m, validation)], shrinkages=(0.01, 0.1, 1.0), ranks=(None, 48))
    assert chosen.settings == {"shrinkage": 0.1, "rank": 48}


def test_an_easy_pair_does_not_outvote_a_hard_one():
    """By the mean of 0.9 + 0.1 and 0.8 + 0.19 the first wins, by the share of the best in each pair the second."""
    eye = torch.eye(40, dtype=torch.float64)
    rows = {m: eye.clone() for m in ("video", "audio", "text")}

    def made(easy, hard):
        """Maps that find so many of 40 partners between audio and text, and between video and the others."""
        audio, video = eye.clone(), eye.clone()
        for w, right in ((audio, easy), (video, hard)):
            w[right:] = w[right:].roll(1, 0)
        zero = {m: torch.zeros(40, dtype=torch.float64) for m in rows}
        return LinearMaps("made", zero, {"video": video, "audio": audio, "text": eye})

    pairs = (("video", "text"), ("audio", "text"))
    favoured, fair = made(36, 2), made(32, 5)
    means = [np.mean(list(reciprocal_ranks(maps, rows, pairs=pairs).values())) for maps in (favoured, fair)]
    assert means[0] > means[1]
    train = moments(rows)
    assert tuning.chosen(lambda _: [favoured, fair], train, [TuningFold(train, rows)], pairs=pairs) is fair


def test_reciprocal_ranks_by_hand_with_ties_shared():
    maps = procrustes(moments(pair(dims=(2, 2))))
    eye = {m: torch.eye(2, dtype=torch.float64) for m in maps.weight}
    zero = {m: torch.zeros(2, dtype=torch.float64) for m in maps.weight}
    maps = type(maps)("given", zero, eye)

    def mrr(rows):
        return reciprocal_ranks(maps, rows)["video", "text"]

    x = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert mrr({"video": x, "text": x}) == pytest.approx(1.0)
    assert mrr({"video": x, "text": x[[1, 0, 2]]}) == pytest.approx((1 / 3 + 1 / 3 + 1) / 3)
    constant = torch.ones(3, 2)
    assert mrr({"video": constant, "text": constant}) == pytest.approx(1 / 2)


def test_embeddings_are_unit_and_of_the_modalities_given():
    latents = pair()
    maps = canonical(moments(latents)).truncated(2)
    found = maps.embed({"text": latents["text"][:3].astype(np.float16), "audio": latents["video"]})
    assert list(found) == ["text"]
    assert found["text"].shape == (3, 2)
    torch.testing.assert_close(found["text"].norm(dim=1), torch.ones(3))


def test_asif_by_hand():
    """Anchors around the point (1, 1, 1), which is their mean."""
    anchors = {
        m: 1 + np.concatenate([np.eye(3)[order], -np.eye(3)])
        for m, order in (("video", [0, 1, 2]), ("text", [1, 2, 0]))
    }
    asif = Asif(anchors, keep=2, power=2)
    query = 1 + np.array([[2.0, 1.0, 0.0]])
    expected = [4 / 17**0.5, 1 / 17**0.5, 0, 0, 0, 0]
    assert asif.embed({"video": query})["video"][0].tolist() == pytest.approx(expected, abs=1e-6)
    assert asif.embed({"text": 1 + np.array([[0.0, 5.0, 0.0]])})["text"][0].tolist() == [1, 0, 0, 0, 0, 0]


def test_asif_finds_where_all_vectors_of_a_modality_share_a_large_part():
    """Latents of sound do: without their mean taken out, all anchors are equally similar to every query."""
    draw = np.random.default_rng(0)
    z, rotation = draw.normal(size=(300, 12)), np.linalg.qr(draw.normal(size=(12, 12)))[0]
    latents = {"audio": z + 20, "text": z @ rotation}
    asif = Asif({m: x[:200] for m, x in latents.items()})
    assert recall(asif, {m: x[200:] for m, x in latents.items()}) > 95


def test_asif_matches_rotated_copies_without_fitting():
    draw = np.random.default_rng(0)
    z, rotation = draw.normal(size=(300, 12)), np.linalg.qr(draw.normal(size=(12, 12)))[0]
    asif = Asif({"video": z[:200], "text": z[:200] @ rotation}, keep=100)
    assert recall(asif, {"video": z[200:], "text": z[200:] @ rotation}) == 100


def test_bad_input_is_named():
    latents = pair(rows=10)
    with pytest.raises(ValueError, match="one N for all"):
        moments({"video": latents["video"], "text": latents["text"][:9]})
    with pytest.raises(SeehearError, match="no pairs to learn from"):
        moments(latents, {"video": np.arange(10) < 5, "text": np.arange(10) >= 5})
    with pytest.raises(SeehearError, match="1 training rows have video"):
        moments(latents, {"video": np.arange(10) < 1})
    broken = {**latents, "text": latents["text"] * np.nan}
    with pytest.raises(SeehearError, match="text hold NaN"):
        moments(broken)
    three = {**pair(rows=10), "audio": latents["text"]}
    with pytest.raises(ValueError, match="two modalities"):
        cca(moments(three))
    with pytest.raises(SeehearError, match="no training row has both video and audio"):
        ridge(moments(three, pairs=(("video", "text"),)), hub="audio")
    with pytest.raises(SeehearError, match="nothing to choose by"):
        tuned(moments(latents), [TuningFold(moments(latents), latents, {"video": np.zeros(10, dtype=bool)})])


def test_a_dimension_that_never_varies_changes_nothing():
    latents = pair()
    constant = {**latents, "video": np.insert(latents["video"], 2, 7.0, axis=1)}
    for m, c in (
        (moments(latents), moments(constant)),
        (moments(latents).standardised(), moments(constant).standardised()),
    ):
        expected, found = cca(m, shrinkage=0.0).embed(latents), cca(c, shrinkage=0.0).embed(constant)
        torch.testing.assert_close(found["video"] @ found["text"].T, expected["video"] @ expected["text"].T)


def test_each_modality_of_a_ridge_may_have_its_own_shrinkage():
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 8))
    text = shared @ rng.normal(size=(8, 12))
    clean, noisy = shared @ rng.normal(size=(8, 16)), shared @ rng.normal(size=(8, 16)) + 4 * rng.normal(size=(400, 16))
    latents = {"video": torch.tensor(clean), "audio": torch.tensor(noisy), "text": torch.tensor(text)}
    train, held = {m: x[:40] for m, x in latents.items()}, {m: x[40:] for m, x in latents.items()}
    moments = linear.moments(train).standardised()
    tuned = tuning.tuned_ridge(moments, [TuningFold(moments, held)], hub="text")
    assert tuned.settings["shrinkage of video"] < tuned.settings["shrinkage of audio"]
    for m in ("video", "audio"):
        alone = linear.ridge(moments, shrinkage=tuned.settings[f"shrinkage of {m}"], hub="text")
        torch.testing.assert_close(tuned.embed(held)[m], alone.embed(held)[m])


# -- a block a pair ----------------------------------------------------------------------------------------------------


def three_views(rows, seed):
    """Sound and words share much, a face and its voice little, a face and words nothing."""
    draw = np.random.default_rng(seed)
    a, b = draw.normal(size=(rows, 12)), draw.normal(size=(rows, 4))
    noise = {m: draw.normal(size=(rows, 16)) for m in ("video", "audio", "text")}
    mixing = np.random.default_rng(99)
    maps = {m: mixing.normal(size=(16, 16)) for m in noise}
    parts = {"video": [0 * a, b], "audio": [a, b], "text": [a, 0 * b]}
    return {m: torch.from_numpy((np.hstack(parts[m]) + 0.3 * noise[m]) @ maps[m]) for m in noise}


def test_in_blocks_a_pair_is_cca_of_that_pair_alone():
    train, validation = three_views(300, 0), three_views(200, 1)
    m = moments(train).standardised()
    blocks = tuned_blocks(m, [TuningFold(m, validation)], dim=48)
    assert {len(w.T) for w in blocks.weight.values()} == {48}
    found = blocks.embed(validation)
    for p, q in (("video", "audio"), ("audio", "text")):
        part = m.only(p, q)
        alone = tuned(part, [TuningFold(part, validation)], ranks=(16,), pairs=((p, q),)).embed(validation)
        similar, wanted = found[p] @ found[q].T, alone[p] @ alone[q].T
        assert np.corrcoef(similar.flatten(), wanted.flatten())[0, 1] > 0.9
    for name, weight in blocks.weight.items():
        z = (train[name] - m.mean[name]) @ weight
        squares = z.square().mean(dim=0).reshape(3, 16).sum(dim=1)
        assert sorted(squares.tolist()) == pytest.approx([0.0, 1.0, 1.0], abs=1e-9)


def test_blocks_keep_what_a_hub_throws_away():
    train, validation, test = (three_views(300, seed) for seed in (0, 1, 2))
    m = moments(train).standardised()
    pair_of_interest, held_out = (("video", "audio"),), [TuningFold(m, validation)]
    ridged = reciprocal_ranks(tuned_ridge(m, held_out, hub="text"), test, pairs=pair_of_interest)
    blocked = reciprocal_ranks(tuned_blocks(m, held_out, dim=48), test, pairs=pair_of_interest)
    assert blocked["video", "audio"] > 3 * ridged["video", "audio"]


def test_a_pair_that_is_not_known_has_no_block():
    train, validation = three_views(300, 0), three_views(200, 1)
    hubbed = moments(train, pairs=(("video", "audio"), ("audio", "text"))).standardised()
    blocks = tuned_blocks(hubbed, [TuningFold(hubbed, validation)], dim=32)
    found = blocks.embed(validation)
    assert (found["video"] * found["text"]).abs().max() == 0


def test_a_run_starts_from_blocks_where_one_pair_would_pay_for_another():
    views = [three_views(300, seed) for seed in (0, 1)]
    data = LatentData.from_arrays(
        {m: torch.cat([v[m] for v in views]) for m in views[0]}, splits=["train"] * 300 + ["val"] * 300
    )
    assert start_of(FuseMixConfig(head="linear", dim=48), data).name == "blocks"
    hubbed = FuseMixConfig(head="linear", dim=48, pairs=(("video", "text"), ("audio", "text")))
    assert start_of(hubbed, data).name == "ridge"
