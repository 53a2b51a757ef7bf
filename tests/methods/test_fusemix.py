"""FuseMix as a method: mixing of a batch, masking, missing modalities, the start from a closed form, and training."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.losses.contrastive import info_nce
from seehear.methods.base import config_from
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.methods.linear import canonical, cca, moments
from seehear.methods.tuning import bound
from seehear.nn.random import Randomness
from tests.reference import infonce as slow
from tests.reference import linear as worlds

WIDTHS = {"video": 12, "audio": 7, "text": 9}
SMALL = FuseMixConfig(widths=WIDTHS, dim=6, depth=1, expansion=2, standardise=False)


def draws(rows, step=0, seed=0):
    return Randomness(seed, step, 0, rows, rows)


def batch_of(rows=16, *, widths=WIDTHS, seed=0, absent=0.0):
    g = torch.Generator().manual_seed(seed)
    batch = {m: torch.randn(rows, d, generator=g) for m, d in widths.items()}
    has = {f"has_{m}": torch.rand(rows, generator=g) >= absent for m in widths}
    return {**batch, **has, "group": torch.arange(rows)}


def made(config=SMALL, **changes):
    torch.manual_seed(0)
    return FuseMix(replace(config, **changes))


def step(model, batch, *, number=0):
    rng = draws(len(batch["group"]), number)
    mixed = model.assemble(batch, rng=rng)
    rows = len(mixed["video"])
    rng = rng.resized(0, rows, rows)
    return model.objective(model.encode(mixed, rng=rng), progress=0.0, rng=rng)


@pytest.mark.parametrize("mix", ["halves", "permutation"])
@pytest.mark.parametrize("per", ["batch", "row"])
def test_one_partner_and_one_weight_for_all_modalities(mix, per):
    """Two modalities hold the same latents: they must stay the same."""
    batch = batch_of(20, widths={"video": 5, "text": 5})
    batch["text"] = batch["video"].clone()
    model = made(FuseMixConfig(widths={"video": 5, "text": 5}, dim=4, depth=1), mix=mix, lambda_per=per)
    mixed = model.assemble(batch, rng=draws(20))
    assert torch.equal(mixed["video"], mixed["text"])
    assert len(mixed["video"]) == (10 if mix == "halves" else 20)
    assert len(mixed["weight"].unique()) == (1 if per == "batch" else len(mixed["weight"]))
    assert not torch.equal(mixed["video"], batch["video"][: len(mixed["video"])])


def test_halves_mix_the_first_half_with_the_second():
    batch = batch_of(8)
    mixed = made().assemble(batch, rng=draws(8))
    lam = mixed["weight"][0]
    for m in WIDTHS:
        torch.testing.assert_close(mixed[m], lam * batch[m][:4] + (1 - lam) * batch[m][4:])


def test_assembly_is_a_function_of_seed_and_step():
    batch = batch_of(20, absent=0.3)
    model = made(mix="permutation")
    first, again = (model.assemble(batch, rng=draws(20, step=5)) for _ in range(2))
    assert all(torch.equal(first[k], again[k]) for k in first)
    for other in (draws(20, step=6), draws(20, step=5, seed=1)):
        assert not torch.equal(model.assemble(batch, rng=other)["video"], first["video"])


def test_lambda_is_beta():
    model = made(alpha=0.5, lambda_per="row", mix="permutation")
    weight = model.assemble(batch_of(4000), rng=draws(4000))["weight"]
    assert weight.mean().item() == pytest.approx(0.5, abs=0.02)
    assert weight.var().item() == pytest.approx(1 / 8, abs=0.01)  # Beta(1/2, 1/2)


def test_a_mixed_row_has_what_both_sources_have():
    batch = batch_of(40, absent=0.4)
    has = torch.stack([batch[f"has_{m}"] for m in WIDTHS], dim=1)
    mixed = made(mask_duplicates=False, mask_same_group=True).assemble(batch, rng=draws(40))
    first, second = mixed["first"].squeeze(1), mixed["second"].squeeze(1)  # group numbers are row numbers here
    assert sorted([*first.tolist(), *second.tolist()]) == list(range(40))
    found = torch.stack([mixed[f"has_{m}"] for m in WIDTHS], dim=1)
    assert torch.equal(found, has[first] & has[second])
    sets = len(has.unique(dim=0))
    assert int((has[first] != has[second]).any(dim=1).sum()) <= sets // 2


@pytest.mark.parametrize("mix", ["halves", "none"])
def test_objective_is_the_loss_over_pairs(mix):
    model = made(mix=mix, mask_duplicates=False)
    batch = batch_of(24, absent=0.3)
    mixed = model.assemble(batch, rng=draws(24))
    z = {m: v.double() for m, v in model.embed(mixed).items()}
    rows = {m: [v if has else None for v, has in zip(z[m].tolist(), mixed[f"has_{m}"], strict=True)] for m in z}
    out = model.objective(model.encode(mixed, rng=None), progress=0.0, rng=draws(12))
    assert out.loss.item() == pytest.approx(slow.pairwise(rows, 0.07), rel=1e-5)
    assert set(out.metrics) == {"loss/video-audio", "loss/video-text", "loss/audio-text", "temperature"}
    assert out.loss.item() == pytest.approx(
        np.mean([v.item() for k, v in out.metrics.items() if "loss" in k]), rel=1e-5
    )


def test_hub_pairs_leave_the_third_pair_out():
    model = made(pairs=(("video", "text"), ("audio", "text")))
    assert set(step(model, batch_of()).metrics) == {"loss/video-text", "loss/audio-text", "temperature"}


@pytest.mark.parametrize("absent", ["video", "audio"])
def test_a_batch_without_a_modality_has_finite_gradients(absent):
    model = made()
    batch = batch_of()
    batch[f"has_{absent}"] = torch.zeros(16, dtype=torch.bool)
    batch[absent] = torch.zeros_like(batch[absent])
    out = step(model, batch)
    out.loss.backward()
    assert len(out.metrics) == 2
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_captions_of_several_clips_are_no_negatives_of_each_other():
    """Rows 0 and 5 have one caption: masked in the pairs with text, not between video and audio."""
    model = made(mix="none")
    batch = batch_of(8)
    batch["text"][5] = batch["text"][0]
    z = model.embed(batch)
    expected = {
        (p, q): slow.info_nce((z[p] @ z[q].T).tolist(), 0.07, {(0, 5), (5, 0)} if "text" in (p, q) else ())
        for p, q in (("video", "audio"), ("video", "text"), ("audio", "text"))
    }
    encoded = model.encode(model.assemble(batch, rng=draws(8)), rng=None)
    out = model.objective(encoded, progress=0.0, rng=draws(8))
    for (p, q), value in expected.items():
        assert out.metrics[f"loss/{p}-{q}"].item() == pytest.approx(value, rel=1e-4)
    batch["has_text"][[0, 5]] = False  # absent rows all hold the same filler: that makes them no duplicates
    mixed = model.assemble(batch, rng=draws(8))
    assert len(mixed["first"].T[2].unique()) == 8


@pytest.mark.parametrize("mix", ["halves", "permutation"])
def test_mixed_rows_that_share_most_of_their_sources_are_masked(mix):
    model = made(mix=mix, mask_same_group=True, mask_duplicates=False, lambda_per="row")
    batch = batch_of(24)
    batch["group"] = torch.arange(24) % 5
    mixed = model.assemble(batch, rng=draws(24))
    blends = list(
        zip(mixed["first"][:, 0].tolist(), mixed["second"][:, 0].tolist(), mixed["weight"].tolist(), strict=True)
    )
    z = model.embed(mixed)
    expected = slow.info_nce((z["video"] @ z["text"].T).tolist(), 0.07, slow.excluded_pairs([blends]))
    out = model.objective(model.encode(mixed, rng=None), progress=0.0, rng=draws(12))
    assert out.metrics["loss/video-text"].item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"mix": "none"}, marks=pytest.mark.slow),
        pytest.param({"lambda_per": "row"}, marks=pytest.mark.slow),
        {"standardise": True, "blocks": {"video": (8, 4)}},
        pytest.param({"head": "skip"}, marks=pytest.mark.slow),
        {"head": "linear"},
    ],
    ids=lambda c: "-".join(c),
)
def test_every_option_learns(changes):
    """Eight rows, three views of one hidden vector: after 100 steps every row finds its partner."""
    g = torch.Generator().manual_seed(0)
    hidden = torch.randn(8, 7, generator=g)
    batch = {m: hidden @ torch.randn(7, d, generator=g) for m, d in WIDTHS.items()}
    batch |= {f"has_{m}": torch.ones(8, dtype=torch.bool) for m in WIDTHS} | {"group": torch.arange(8)}
    model = made(**{"dim": 16, "dropout": 0.1, "mix": "permutation", **changes})
    model.fit({m: batch[m] for m in WIDTHS})
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for number in range(100):
        optimizer.zero_grad()
        out = step(model, batch, number=number)
        out.loss.backward()
        optimizer.step()
    z = model.embed(batch)
    for p, q in (("video", "text"), ("audio", "video")):
        assert (z[p] @ z[q].T).argmax(dim=1).tolist() == list(range(8))


def test_same_seed_same_trajectory_and_no_gradient_to_latents():
    def losses():
        model, batch = made(head="skip"), batch_of()
        kept = {m: batch[m].clone() for m in WIDTHS}
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
        found = []
        for number in range(5):
            optimizer.zero_grad()
            out = step(model, batch, number=number)
            out.loss.backward()
            optimizer.step()
            found.append(out.loss.item())
        assert all(torch.equal(batch[m], kept[m]) and batch[m].grad is None for m in WIDTHS)
        return found

    assert losses() == losses()


def test_embedding_is_deterministic_unit_and_takes_what_there_is():
    model = made()
    batch = batch_of()
    first, again = model.embed(batch), model.embed({"text": batch["text"].half()})
    assert list(again) == ["text"]
    torch.testing.assert_close(again["text"], first["text"], atol=2e-3, rtol=0)
    assert all(torch.equal(first[m], model.embed(batch)[m]) for m in WIDTHS)
    for z in first.values():
        torch.testing.assert_close(z.norm(dim=1), torch.ones(16))


def test_standardisation_commutes_with_mixing_and_is_taken_from_present_rows():
    batch = batch_of(60, absent=0.3)
    batch["video"] = torch.where(batch["has_video"][:, None], batch["video"] * 5 + 2, torch.full((), 1e6))
    model = made(standardise=True)
    model.fit({m: batch[m] for m in WIDTHS}, {m: batch[f"has_{m}"] for m in WIDTHS})
    rows = batch["video"][batch["has_video"]]
    module = model.standardise["video"]
    torch.testing.assert_close(module.mean, rows.mean(dim=0))
    torch.testing.assert_close(1 / module.scale, rows.std(dim=0, correction=0))


def world(rows, seed):
    x, y = worlds.smooth_world(rows, seed)
    return {"video": torch.from_numpy(x).float(), "text": torch.from_numpy(y).float()}


@pytest.mark.parametrize("dim", [48, 96, 128])
@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("head", ["skip", "linear"])
def test_before_training_a_linear_start_is_the_closed_form(dim, standardise, head):
    """Similarities, and so every ranking, are those of CCA: for fewer, as many and more dimensions than it has."""
    train, test = world(300, 0), world(50, 1)
    start = cca(moments(train), shrinkage=0.1)
    model = made(FuseMixConfig(widths={"video": 128, "text": 96}, dim=dim, depth=1, head=head, standardise=standardise))
    model.fit(train, start=start)
    found, expected = model.embed(test), start.truncated(dim).embed(test)
    similar, by_cca = (z["video"] @ z["text"].T for z in (found, expected))
    torch.testing.assert_close(similar, by_cca, atol=2e-6, rtol=0)
    assert torch.equal(similar.argsort(dim=1), by_cca.argsort(dim=1))
    assert all(z.shape == (50, dim) for z in found.values())


def test_three_modalities_start_from_generalised_cca():
    batch = batch_of(80, absent=0.3)
    latents, present = {m: batch[m] for m in WIDTHS}, {m: batch[f"has_{m}"] for m in WIDTHS}
    model = made(head="skip", standardise=True, dim=7)
    found = model.fit(latents, present).embed(batch)
    expected = canonical(moments(latents, present).standardised()).embed(batch)
    for p, q in (("video", "audio"), ("audio", "text")):
        torch.testing.assert_close(found[p] @ found[q].T, expected[p] @ expected[q].T, atol=1e-5, rtol=0)


def test_learning_rate_of_the_linear_map():
    model = made(head="skip", linear_lr=0.1)
    slowed = {n for n, _ in model.named_parameters() if model.lr_multiplier(n) == 0.1}
    assert slowed == {f"heads.{m}.linear.weight" for m in WIDTHS}


def test_paper_size_with_its_temperature():
    with torch.device("meta"):
        model = FuseMix(FuseMixConfig(widths={"video": 1536, "text": 1024}))
    assert sum(p.numel() for p in model.parameters()) == 110_440_449


def test_config_survives_json_and_state_loads_strictly():
    config = replace(SMALL, pairs=(("video", "text"),), standardise=True, blocks={"video": (8, 4)}, head="skip")
    again = FuseMix.from_config(json.loads(json.dumps(asdict(config))))
    assert again.config == config
    model, batch = FuseMix(config), batch_of(30)
    model.fit({m: batch[m] for m in WIDTHS})
    again.load_state_dict(model.state_dict(), strict=True)
    assert all(torch.equal(a, b) for a, b in zip(again.embed(batch).values(), model.embed(batch).values(), strict=True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"widths": {"video": 3}}, "two modalities at least"),
        ({"pairs": (("video", "sound"),)}, "unknown modality 'sound'"),
        ({"blocks": {"video": (3, 3)}, "standardise": True}, "blocks of video must add up to 12"),
        ({"alpha": 0.0}, "alpha must be > 0"),
        ({"dropout": 1.0}, r"dropout in \[0, 1\)"),
    ],
)
def test_bad_configs_are_named(changes, words):
    with pytest.raises(SeehearError, match=words):
        replace(SMALL, **changes)


def test_options_of_earlier_versions_are_read_and_left_out():
    saved = asdict(SMALL) | {"matryoshka": [3, 6], "weighting": "pairs", "linear_shrinkage": 0.1}
    assert FuseMix.from_config(json.loads(json.dumps(saved))).config == SMALL


def test_widths_may_be_left_to_the_data_but_not_by_the_model():
    recipe = replace(SMALL, widths={}, standardise=True, blocks={"video": (8, 4)}, pairs=(("video", "text"),))
    assert replace(recipe, widths=WIDTHS).blocks == {"video": (8, 4)}
    with pytest.raises(ValueError, match="widths must say"):
        FuseMix(recipe)


def test_bad_batches_are_named():
    with pytest.raises(SeehearError, match="even number of loaded rows; got 7"):
        made().assemble(batch_of(7), rng=draws(7))
    with pytest.raises(SeehearError, match="1 row after mixing"):
        made().assemble(batch_of(2), rng=draws(2))
    with pytest.raises(SeehearError, match="7 wide, this model was made for 9"):
        made().embed({"text": torch.ones(2, 7)})
    with pytest.raises(ValueError, match="no audio"):
        made().assemble({k: v for k, v in batch_of().items() if k != "audio"}, rng=draws(16))
    with pytest.raises(SeehearError, match="unknown FuseMix option 'dept'; did you mean 'depth'"):
        config_from(FuseMixConfig, {"widths": WIDTHS, "dept": 3})
    with pytest.raises(ValueError, match="no 'group'"):
        made(mask_same_group=True).assemble({k: v for k, v in batch_of().items() if k != "group"}, rng=draws(16))


def test_odd_rows_train_without_halves():
    assert step(made(mix="permutation"), batch_of(7)).loss.isfinite()


def trained(config, train, *, steps, rows, lr=1e-3):
    model = made(config).fit(train)
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.1},
            {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=lr,
    )
    warm = steps // 8
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: (s + 1) / warm if s < warm else 0.5 + 0.5 * np.cos(np.pi * (s - warm) / (steps - warm))
    )
    g = torch.Generator().manual_seed(0)
    has = {"has_video": torch.ones(rows, dtype=torch.bool), "has_text": torch.ones(rows, dtype=torch.bool)}
    for number in range(steps):
        chosen = torch.randperm(len(train["video"]), generator=g)[:rows]
        batch = {m: x[chosen] for m, x in train.items()} | has | {"group": chosen}
        optimizer.zero_grad()
        step(model, batch, number=number).loss.backward()
        optimizer.step()
        schedule.step()
    return model


@pytest.mark.slow
def test_smooth_world_at_reduced_cost():
    """Section 11.9 at N = 300: heads that start from CCA keep what it knows and gain by training; one from scratch
    stays far below. No order between augmentations is asserted: toy data do not decide that."""
    train, test = world(300, 0), world(1000, 99)

    def recall(embed):
        return worlds.recall_at_1(*(z.numpy() for z in embed(test).values()))

    base = FuseMixConfig(
        widths={"video": 128, "text": 96}, dim=48, depth=2, mix="permutation", lambda_per="row", standardise=False
    )
    start = cca(moments(train), shrinkage=0.1, rank=48)
    found = {
        h: recall(trained(replace(base, head=h), train, steps=400, rows=300).embed)
        for h in ("adapter", "linear", "skip")
    }
    closed = recall(start.embed)
    print({"cca": closed, **found})
    assert found["adapter"] < closed - 20
    assert min(found["linear"], found["skip"]) > closed + 1


def test_a_few_steps_from_the_closed_form_do_not_lose_it():
    train, test = world(300, 0), world(300, 99)
    config = FuseMixConfig(
        widths={"video": 128, "text": 96}, dim=48, depth=1, mix="permutation", head="skip", standardise=False
    )
    before = made(config).fit(train)
    after = trained(config, train, steps=40, rows=300)

    def loss(model):
        z = model.embed(test)
        return info_nce(F.normalize(z["video"], dim=1), z["text"], 0.07).item()

    assert loss(after) < loss(before)


LOCKED = FuseMixConfig(
    widths=WIDTHS | {"text": 12}, dim=12, head="skip", depth=1, expansion=2, locked=("video", "text")
)


def test_a_locked_space_stays_as_it_is_and_has_no_parameters():
    model, batch = made(LOCKED), batch_of(widths=LOCKED.widths)
    before = model.embed(batch)
    torch.testing.assert_close(before["video"], F.normalize(batch["video"], dim=1))
    assert all(".audio." in name or name.startswith("logits") for name, _ in model.named_parameters())
    step(model, batch).loss.backward()
    with torch.no_grad():
        for p in model.parameters():
            p.sub_(0.1 * p.grad) if p.grad is not None else None
    after = model.embed(batch)
    assert torch.equal(after["text"], before["text"])
    assert not torch.equal(after["audio"], before["audio"])


def test_only_pairs_with_a_head_are_learned_and_words_may_be_for_queries_alone():
    model, batch = made(LOCKED), batch_of(widths=LOCKED.widths)
    assert {k for k in step(model, batch).metrics if k.startswith("loss/")} == {"loss/video-audio", "loss/audio-text"}
    del batch["text"], batch["has_text"]
    assert {k for k in step(model, batch).metrics if k.startswith("loss/")} == {"loss/video-audio"}
    with pytest.raises(ValueError, match="the batch has no audio"):
        model.assemble({"video": batch["video"]}, rng=draws(16))


def test_binding_starts_as_ridge_onto_the_locked_latents():
    """Against the normal equations, on raw vectors: the locked side is neither centred nor scaled."""
    g = torch.Generator().manual_seed(1)
    sound = torch.randn(50, 7, generator=g, dtype=torch.float64) * torch.arange(1, 8) + 3
    seen = sound @ torch.randn(7, 12, generator=g, dtype=torch.float64) + 5
    latents = {"video": seen, "audio": sound}
    maps = bound(moments(latents).standardised(), locked=("video",), shrinkage=0.5)
    model = made(LOCKED).fit(latents, start=maps)
    x = (sound - sound.mean(0)) / sound.std(0, correction=0)
    inverse = torch.linalg.inv(x.T @ x / 50 + 0.5 * torch.eye(7))
    expected = x @ inverse @ x.T @ (seen - seen.mean(0)) / 50
    found = model.embed({m: z.float() for m, z in latents.items()})
    torch.testing.assert_close(found["audio"], F.normalize(expected, dim=1).float(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["video"], F.normalize(seen, dim=1).float())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"locked": ("video", "audio", "text")}, "no head is left to train"),
        ({"dim": 6}, "video is 12 wide, dim is 6"),
        ({"locked": ("smell",)}, "unknown modality 'smell'"),
        ({"pairs": (("video", "text"),)}, "no pair binds"),
    ],
)
def test_a_lock_that_leaves_nothing_to_learn_is_refused(changes, message):
    with pytest.raises(SeehearError, match=message):
        replace(LOCKED, **changes)
