"""DiffMAViL by the invariants of its sheet (section 12): what noise reaches and what not, and each switch by itself."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import cache

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from seehear.errors import SeehearError
from seehear.inputs.loader import Loader, Sampling
from seehear.inputs.raw import RawConfig
from seehear.methods.base import config_from
from seehear.methods.diffmavil import Batches, Curriculum, DiffMAViL, DiffMAViLConfig
from seehear.methods.mavil import SIDES, MAViL, MAViLConfig
from seehear.nn.diffusion import Schedule, alpha_bars
from seehear.nn.random import Randomness
from seehear.nn.transformer import num_visible, take
from seehear.space import load_method
from seehear.train.files import save_model
from tests.methods_under_test import diffmavil
from tests.raw_clips import RawClips

ROWS = 6


def lively(**options):
    """Diffused patches start as nothing: here they are something, as after training."""
    model, generator = diffmavil(**options), torch.Generator().manual_seed(7)
    for place in model.places.values():
        for parameter in place.parameters():
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@cache
def clips():
    return RawClips(ROWS).batch(torch.arange(ROWS))


def draws(kind=Randomness, step=0):
    return kind(0, step, 0, ROWS, ROWS)


class OtherNoise(Randomness):
    def normal(self, name, *shape):
        return super().normal(name, *shape) + name.endswith("/noise")


class OtherStep(Randomness):
    def uniform(self, name, *shape):
        drawn = super().uniform(name, *shape)
        return 1 - drawn if name.endswith("places/t") else drawn


class LastStep(Randomness):
    """t = 999 for all."""

    def uniform(self, name, *shape):
        drawn = super().uniform(name, *shape)
        return torch.full_like(drawn, 0.9999) if name.endswith("places/t") else drawn


@pytest.mark.parametrize("other", [OtherNoise, OtherStep])
def test_neither_noise_nor_step_reaches_encoders_fusion_or_contrasts(other):
    model = lively()
    one, two = (model.see(clips(), rng=draws(kind)) for kind in (Randomness, other))
    for m in SIDES:
        for field in ("patches_BNP", "kept_BM", "hidden_BM", "pooled_BVD", "fused_BLD"):
            assert torch.equal(getattr(one[m], field), getattr(two[m], field))
    first, second = (model.encode(clips(), rng=draws(kind)) for kind in (Randomness, other))
    for name, x in first.features.items():
        assert torch.equal(x, second.features[name]) != name.endswith("error"), name
    loss = [model.objective(e, progress=0, rng=draws()).metrics for e in (first, second)]
    for name in ("loss/inter", "loss/intra"):
        assert torch.equal(loss[0][name], loss[1][name])
    assert not torch.equal(loss[0]["loss/video"], loss[1]["loss/video"])


def test_what_is_seen_and_what_is_diffused_change_what_is_told():
    model = lively().double()
    seen, rng = model.see(clips(), rng=draws()), draws()
    for m in SIDES:
        told = model.decode(m, seen[m], rng=rng)
        other = clips()[m].clone() if m == "video" else clips()[m] + 0.3 * torch.sin(torch.arange(64.0))
        if m == "video":
            other = 255 - other
        again = model.see(clips() | {m: other}, rng=draws())[m]
        swapped = replace(again, patches_BNP=seen[m].patches_BNP)  # what is hidden is as it was
        assert torch.equal(swapped.hidden_BM, seen[m].hidden_BM)
        assert not torch.allclose(model.decode(m, swapped, rng=rng), told)


@pytest.mark.parametrize("kind", ["cross", "cross-self", "joint"])
def test_hidden_patches_see_each_other_unless_the_decoder_is_cross(kind):
    model = lively(decoders=dict.fromkeys(SIDES, kind)).double()
    seen = model.see(clips(), rng=draws())["video"]
    place, decoder = model.places["video"], model.decoders["video"]
    x_BMP = torch.randn(*seen.hidden_BM.shape, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    t_B = torch.full((ROWS,), 300)
    other_BMP = x_BMP.clone()
    other_BMP[:, 1] += torch.linspace(-1, 1, 96)
    one, two = (decoder(seen.fused_BLD, seen.kept_BM, seen.hidden_BM, place.tokens(x, t_B)) for x in (x_BMP, other_BMP))
    rest = [i for i in range(x_BMP.shape[1]) if i != 1]
    assert torch.equal(one[:, rest], two[:, rest]) == (kind == "cross")
    assert not torch.allclose(one[:, 1], two[:, 1])


def test_reconstruction_moves_encoders_and_every_weight_learns():
    model = diffmavil()
    encoded = model.encode(clips(), rng=draws())
    errors = encoded.features["video error"].mean() + encoded.features["audio error"].mean()
    errors.backward(retain_graph=True)
    for m in SIDES:
        weights = dict(model.trunk.encoders[m].named_parameters())
        assert all(float(p.grad.abs().max()) > 0 for n, p in weights.items() if n.endswith("weight"))
    model.objective(encoded, progress=0, rng=draws()).loss.backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None]


def test_at_the_last_step_nothing_of_a_hidden_patch_is_left():
    model = lively()
    seen = model.see(clips(), rng=draws())
    for m in SIDES:
        hidden = seen[m].hidden_BM[:, :, None].expand(-1, -1, seen[m].patches_BNP.shape[2])
        patches = seen[m].patches_BNP.float() / (255 if m == "video" else 1)
        changed = replace(seen[m], patches_BNP=patches.scatter(1, hidden, -patches.gather(1, hidden)))
        told = [model.decode(m, s, rng=draws(LastStep)) for s in (seen[m], changed)]
        torch.testing.assert_close(told[0], told[1], rtol=0, atol=1e-4)  # sqrt(abar) is 4e-6
        told = [model.decode(m, s, rng=draws()) for s in (seen[m], changed)]
        assert float((told[0] - told[1]).abs().max().detach()) > 1e-2


def test_what_is_used_afterwards_is_mavils_alone():
    model = diffmavil()
    before = model.embed(clips())
    kept = {n for n, _ in model.named_parameters() if n.startswith("trunk.")}
    dropped = {n for n, _ in model.named_parameters()} - kept
    assert {n.split(".")[0] for n in dropped} == {"places", "decoders"}
    assert not [n for n in kept if "time" in n or "places" in n or "decoder" in n]
    with torch.no_grad():
        for n, p in model.named_parameters():
            if n in dropped:
                p.fill_(torch.nan)
    after = model.embed(clips())
    assert all(torch.equal(before[m], after[m]) for m in SIDES)


def test_a_diffused_token_by_hand():
    """W (sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps) + b + W2 silu(W1 [cos, sin](t w) + b1) + b2."""
    model = lively().double()
    place, rng = model.places["audio"], draws()
    x0 = torch.randn(ROWS, 3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = place(x0, rng=rng, name="audio/places").detach().numpy()
    t = (rng.uniform("audio/places/t").numpy() * 1000).astype(int)
    noise, abar = rng.normal("audio/places/noise", 3, 8).double().numpy(), alpha_bars(Schedule()).numpy()
    weight = {n: p.detach().numpy() for n, p in place.named_parameters()}
    for b in range(ROWS):
        x = np.sqrt(abar[t[b]]) * x0[b].numpy() + np.sqrt(1 - abar[t[b]]) * noise[b]
        angle = t[b] * 10_000.0 ** (-np.arange(128) / 128)
        hidden = weight["time.up.weight"] @ np.concatenate([np.cos(angle), np.sin(angle)]) + weight["time.up.bias"]
        step = weight["time.down.weight"] @ (hidden / (1 + np.exp(-hidden))) + weight["time.down.bias"]
        token = x @ weight["project.weight"].T + weight["project.bias"] + step
        np.testing.assert_allclose(found[b], token, rtol=1e-3, atol=1e-3)  # angles in single precision


def test_with_everything_off_it_is_mavil():
    off = Curriculum(start=0.5, shape="constant")
    model = diffmavil(diffuse=(), decoders=dict.fromkeys(SIDES, "joint"), curriculum=off)
    options = asdict(model.config) | {"masking": dict.fromkeys(SIDES, 0.5)}
    plain = MAViL.from_config({k: v for k, v in options.items() if k in asdict(MAViLConfig())})
    plain.load_state_dict(model.state_dict())
    for one, two in zip(*(m.encode(clips(), rng=draws()).features.items() for m in (model, plain)), strict=True):
        assert one[0] == two[0]
        assert torch.equal(one[1], two[1])


def test_a_hidden_place_starts_as_a_position_only():
    model = diffmavil()
    for m in SIDES:
        x_BMP = torch.randn(ROWS, 3, model.config.values(m), generator=torch.Generator().manual_seed(0))
        assert not model.places[m](x_BMP, rng=draws(), name=f"{m}/places").any()


@pytest.mark.parametrize(
    ("options", "tokens"),
    [({}, set()), ({"diffuse": ("video",)}, {"audio"}), ({"diffuse": ()}, {"audio", "video"})],
)
def test_there_is_no_mask_token_where_patches_are_diffused(options, tokens):
    names = [n for n, _ in diffmavil(**options).named_parameters()]
    assert {n.split(".")[1] for n in names if n.endswith(".token")} == tokens
    assert {n.split(".")[1] for n in names if ".time." in n} == set(SIDES) - tokens


def test_steps_are_drawn_for_each_clip_and_modality_or_shared():
    rng = draws()
    alone, shared = (diffmavil(shared_step=s).places for s in (False, True))
    steps = {}
    for name, places in (("alone", alone), ("shared", shared)):
        for m in SIDES:
            places[m].tokens = lambda x, t, key=(name, m): steps.update({key: t}) or x
            places[m](torch.zeros(ROWS, 2, 96 if m == "video" else 8), rng=rng, name=f"{m}/places")
    assert len(set(steps["alone", "video"].tolist())) > 1
    assert not torch.equal(steps["alone", "video"], steps["alone", "audio"])
    assert torch.equal(steps["shared", "video"], steps["shared", "audio"])


def test_spaces_of_noise_and_target():
    """Patches as they are, or standardised first: then a constant one is noise alone. All stays finite."""
    silent = clips() | {"audio": torch.zeros_like(clips()["audio"])}
    for options in ({"standardise": False}, {}, {"noise_space": "patch"}):
        encoded = diffmavil(**options).encode(silent, rng=draws())
        assert all(bool(x.isfinite().all()) for x in encoded.features.values())
    patches, got = torch.full((ROWS, 2, 8), 5.0), {}
    for space in ("dataset", "patch"):
        place = diffmavil(noise_space=space).places["audio"]
        place.tokens = lambda x, t, space=space: got.update({space: x}) or x
        place(patches, rng=draws(), name="audio/places")
    t = (draws().uniform("audio/places/t") * 1000).long()
    moved = (got["dataset"] - got["patch"]) / alpha_bars(Schedule())[t].sqrt().float()[:, None, None]
    early = t < 500  # later the signal is lost in the rounding of the noise
    torch.testing.assert_close(moved[early], patches[early], rtol=1e-3, atol=1e-3)


def test_the_ratio_follows_the_curriculum():
    model = diffmavil(curriculum=Curriculum(start=0.75, end=0.5, parts=3))
    seen = []
    for progress in (0.0, 0.34, 0.99):
        model.before_step(progress)
        seen.append([x.kept_BM.shape[1] for x in model.see(clips(), rng=draws()).values()])
    assert seen == [[2, 2], [3, 3], [4, 4]]


def test_counts_of_the_sheet():
    kept = {0.95: (25, 39), 0.9: (51, 78), 0.875: (64, 98), 0.85: (76, 117), 0.842105: (80, 123), 0.8: (102, 156)}
    for ratio, counts in (kept | {0.75: (128, 196)}).items():
        assert (num_visible(512, ratio), num_visible(784, ratio)) == counts


def test_parameters_of_the_sheet():
    with torch.device("meta"):
        model = DiffMAViL(DiffMAViLConfig())

    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(model.decoders["video"].transformer.blocks) == 25_227_264
    assert count(model.decoders["video"]) + count(model.places["video"].project) == 27_196_928
    assert count(model.decoders["audio"]) == 25_745_664 - 512
    assert [count(model.places[m].project) for m in SIDES] == [786_944, 131_584]
    assert count(model.places["audio"].time) == 394_240
    assert count(model.trunk) == 85_252_608 + 86_235_648 + 14_175_744 + 1536  # one LayerNorm ends the fusion


def test_clips_seen_in_an_epoch_are_the_same_up_to_the_last_batch():
    arms = [Loader(RawClips(40), Sampling(batch_size=b, seed=0, epochs=3)) for b in (8, (16, 12, 8))]
    for run, least in zip(arms, (40, 32), strict=True):
        clips_of = [0] * 3
        for step in range(run.steps):
            clips_of[run.place(step).epoch] += run.place(step).rows
        assert all(least <= n <= 40 for n in clips_of)


def test_config_round_trip_and_weights():
    config = diffmavil(curriculum=Curriculum(start=0.75, end=0.5, reverse=True), noise=Schedule(rho=0.6)).config
    again = DiffMAViL.from_config(asdict(config))
    assert again.config == config
    model = diffmavil(curriculum=config.curriculum, noise=config.noise)
    again.load_state_dict(model.state_dict())
    assert all(torch.equal(model.embed(clips())[m], again.embed(clips())[m]) for m in SIDES)


def test_stage_2_tells_a_teachers_tokens_from_diffused_patches():
    model = diffmavil(teacher="runs/before")
    model.teacher.load_state_dict(diffmavil().trunk.state_dict())
    model.encode(clips(), rng=draws()).features["video error"].sum().backward()
    assert all(p.grad is None for p in model.teacher.parameters())
    assert float(model.places["video"].project.weight.grad.abs().max()) > 0


def test_settings_that_cannot_be():
    for options, said in [
        ({"diffuse": ("pictures",)}, "unknown modality 'pictures'"),
        ({"decoders": {"video": "crossed", "audio": "joint"}}, "unknown decoder 'crossed'"),
        ({"masking": dict.fromkeys(SIDES, 0.9)}, "curriculum.start"),
        ({"noise_space": "patch", "standardise": False}, "needs standardise"),
    ]:
        with pytest.raises(SeehearError, match=said):
            DiffMAViLConfig(**options)
    with pytest.raises(SeehearError, match="unknown DiffMAViL option 'noize'"):
        config_from(DiffMAViLConfig, {"noize": {}})
    with pytest.raises(SeehearError, match="multiple 1 at least"):
        Batches(multiple=0)
    with pytest.raises(ValueError, match="need rng"):
        diffmavil().places["video"](torch.zeros(1, 1, 96), rng=None, name="x")


def test_a_part_of_the_hidden_patches_can_be_decoded():
    model = diffmavil(decoders=dict.fromkeys(SIDES, "cross"), decoded=dict.fromkeys(SIDES, 0.5))
    whole = diffmavil(decoders=dict.fromkeys(SIDES, "cross"))
    seen, all_seen = (m.see(clips(), rng=draws()) for m in (model, whole))
    for m in SIDES:
        count = seen[m].hidden_BM.shape[1]
        assert count == all_seen[m].hidden_BM.shape[1] // 2
        assert torch.equal(seen[m].hidden_BM, all_seen[m].hidden_BM[:, :count])
        told = model.decode(m, seen[m], rng=draws())
        assert told.shape[:2] == take(seen[m].patches_BNP, seen[m].hidden_BM).shape[:2]


def test_a_model_saved_while_it_held_a_mavil_is_read(tmp_path):
    """Tensor names then began with `mavil.`."""
    model = diffmavil()
    save_model(tmp_path, model, {"shown": {}})
    tensors = {f"mavil.{name}": tensor for name, tensor in load_file(tmp_path / "model.safetensors").items()}
    save_file(tensors, tmp_path / "model.safetensors")
    config = json.loads((tmp_path / "config.json").read_text())
    shown = {"raw": asdict(RawConfig(modalities=SIDES)), "windows": 1, "crops": 1}
    (tmp_path / "config.json").write_text(json.dumps(config | {"shown": shown}))
    again = load_method(tmp_path)[0]
    for name, tensor in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
