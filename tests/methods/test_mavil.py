"""MAViL as a method: sizes, the objective against loops, what reaches what, stage 2, missing modalities, use."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.methods.base import config_from
from seehear.methods.mavil import SIDES, SIZES, MAViL, MAViLConfig
from seehear.nn.random import Randomness
from seehear.nn.transformer import num_visible, take
from seehear.train.loop import OptimConfig, TrainConfig, fit
from seehear.types import Encoded
from tests.methods_under_test import mavil
from tests.raw_clips import RawClips
from tests.reference import mavil as slow

ROWS = 11  # clips 4 and 9 lack sound


def draws(rows=ROWS, step=0):
    return Randomness(0, step, 0, rows, rows)


def batch_of(rows=ROWS, **changes):
    batch = RawClips(rows).batch(torch.arange(rows))
    return {k: v for k, v in batch.items() if "text" not in k} | changes


def objective(model, batch, step=0):
    rng = draws(len(batch["group"]), step)
    return model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# -- the sheet --------------------------------------------------------------------------------------------------------


def of(model, m):
    return count(model.trunk.tokens[m], model.trunk.encoders[m]), count(model.decoders[m], model.places[m])


def test_parameters_of_the_base_model():
    with torch.device("meta"):
        model = MAViL(MAViLConfig())
        three = MAViL(MAViLConfig(fusion_layers=3))
        audio_head, both_head = nn.Linear(768, 527), nn.Linear(2 * 768, 527)
        norms = nn.LayerNorm(768), nn.LayerNorm(2 * 768)
    end = 2 * 768  # the norm at the end of the fusion, which the sheet's count leaves out
    assert of(model, "audio") == (85_252_608, 25_745_664)
    assert of(model, "video") == (86_235_648, 26_402_304)
    assert count(model.trunk.fusion) - end == 14_175_744
    assert count(three.trunk.fusion) - end == 21_263_616
    assert count(model) - end == 237_811_968
    assert of(model, "audio")[0] + count(audio_head, norms[0]) == 85_659_407
    assert count(three.trunk, both_head, norms[1]) - end == 193_564_943


@pytest.mark.parametrize(
    ("size", "audio", "video"), [("large", 302.6, 303.9), ("base", 85.3, 86.2), ("small", 21.4, 21.9)]
)
def test_parameters_of_the_encoders(size, audio, video):
    with torch.device("meta"):
        model = MAViL(MAViLConfig(size=SIZES[size]))
    assert [round(of(model, m)[0] / 1e6, 1) for m in ("audio", "video")] == [audio, video]


def test_lengths_at_full_size():
    config = MAViLConfig()
    assert (config.counts("audio"), config.values("audio")) == ((64, 8), 256)
    assert (config.counts("video"), config.values("video")) == ((4, 14, 14), 1536)
    kept = {m: num_visible(torch.Size(config.counts(m)).numel(), config.masking[m]) for m in SIDES}
    assert kept == {"audio": 102, "video": 156}
    assert (512 - kept["audio"], 784 - kept["video"]) == (410, 628)
    with torch.device("meta"):
        model = MAViL(config)
        a = model.trunk.encode("audio", torch.empty(2, 102, 256), torch.zeros(2, 102, dtype=torch.long))
        v = model.trunk.encode("video", torch.empty(2, 156, 1536), torch.zeros(2, 156, dtype=torch.long))
        ids = torch.zeros(2, 784, dtype=torch.long)
        told = model.decoders["video"](v, ids[:, :156], ids[:, 156:], torch.empty(2, 628, 512))
    assert (a.shape, v.shape, told.shape) == ((2, 103, 768), (2, 157, 768), (2, 628, 1536))


# -- the objective ----------------------------------------------------------------------------------------------------

X = torch.tensor([[1, 0], [0, 1], [0.5**0.5, 0.5**0.5]], dtype=torch.float64)
Y = F.normalize(torch.tensor([[1, 0.2], [0.1, 1], [0.7, 0.9]], dtype=torch.float64), dim=1)


def encoded(features, **absent):
    present = {m: torch.tensor(absent.get(m, [1, 1, 1])).bool() for m in SIDES}
    return Encoded({k: v.requires_grad_() for k, v in features.items()}, present)


def worked(**changes):
    errors = {"audio error": torch.full((3,), 0.7).double(), "video error": torch.full((3,), 0.5).double()}
    views = {"audio": X.clone(), "video": Y.clone(), "audio again": Y.clone(), "video again": X.clone()}
    return errors | views | changes


def test_the_total_of_the_sheet():
    out = mavil(inter_weight=0.1).objective(encoded(worked()), progress=0.0, rng=draws(3))
    expected = {"loss/audio": 0.7, "loss/video": 0.5, "loss/inter": 0.145187, "loss/intra": 0.848331}
    assert {k: v.item() for k, v in out.metrics.items()} == pytest.approx(expected, abs=1e-6)
    assert out.loss.item() == pytest.approx(1.2230020, abs=1e-6)
    assert slow.contrast(X.tolist(), Y.tolist(), 0.1) == pytest.approx(0.139726, abs=1e-6)
    assert slow.inter(X.tolist(), Y.tolist(), 1.0) == pytest.approx(0.848331, abs=1e-6)


def test_the_contrasts_are_those_of_loops():
    g = torch.Generator().manual_seed(0)
    names = ("audio", "video", "audio again", "video again")
    f = {n: torch.randn(5, 4, generator=g, dtype=torch.float64) for n in names}
    errors = {f"{m} error": torch.rand(5, generator=g, dtype=torch.float64) for m in SIDES}
    has = {"audio": [1, 1, 0, 1, 1], "video": [1, 1, 1, 1, 0]}
    model = mavil(inter_weight=0.3, intra_weight=0.2, video_weight=2.0, inter_temperature=0.2)
    out = model.objective(encoded(f | errors, **has), progress=0.0, rng=draws(5))
    rows = {m: [i for i in range(5) if v[i]] for m, v in has.items()}
    both = [i for i in rows["audio"] if i in rows["video"]]
    inter = slow.inter(f["audio"][both].tolist(), f["video"][both].tolist(), 0.2)
    intra = slow.intra(*(f[n][rows[n.split()[0]]].tolist() for n in ("audio", "audio again", "video", "video again")))
    raw = errors["audio error"][rows["audio"]].mean() + 2 * errors["video error"][rows["video"]].mean()
    assert out.loss.item() == pytest.approx(raw.item() + 0.3 * inter + 0.2 * intra, abs=1e-12)


def test_a_second_view_like_the_first_is_matched_as_well_as_can_be():
    same = worked(**{"audio again": X.clone(), "video again": Y.clone()})
    out = mavil().objective(encoded(same), progress=0.0, rng=draws(3))
    assert F.cosine_similarity(same["audio"], same["audio again"]).tolist() == pytest.approx([1, 1, 1])
    assert out.metrics["loss/intra"] < 0.848331


@pytest.mark.parametrize("standardise", [True, False])
def test_reconstruction_is_that_of_loops(standardise):
    model, batch = mavil(standardise=standardise, roll=False).double(), batch_of()
    rng = draws()
    seen, out = model.see(batch, rng=rng), model.encode(batch, rng=rng)
    for m, s in seen.items():
        patches = model.standard[m](s.patches_BNP)
        target = [[slow.standardised(p) for p in row] for row in patches.tolist()] if standardise else patches.tolist()
        told = torch.zeros_like(patches).scatter(
            1, s.hidden_BM[:, :, None].expand(-1, -1, patches.shape[2]), model.decode(m, s, rng=rng).detach()
        )
        mask = torch.ones(ROWS, patches.shape[1]).scatter(1, s.kept_BM, 0.0)
        assert mask.sum(dim=1).tolist() == [4] * ROWS
        expected = slow.masked_error(told.tolist(), target, mask.tolist())
        assert out.features[f"{m} error"].mean().item() == pytest.approx(expected, rel=1e-9)


def test_clips_of_one_recording_can_be_no_negatives():
    plain, masked = (objective(mavil(mask_same_group=m), batch_of()).metrics["loss/inter"] for m in (False, True))
    assert masked < plain
    with pytest.raises(ValueError, match="the batch has no 'group'"):
        mavil(mask_same_group=True).encode({k: v for k, v in batch_of().items() if k != "group"}, rng=draws())


# -- what reaches what ------------------------------------------------------------------------------------------------


def test_hidden_patches_never_enter():
    model, batch = mavil().double(), batch_of()
    batch["video"] = (batch["video"].double() / 255).requires_grad_()
    rng = draws()
    s = model.see(batch, rng=rng)["video"]
    model.encode(batch, rng=rng).features["video error"].sum().backward()
    moved, _ = model.patches("video", batch["video"].grad)
    assert not take(moved, s.hidden_BM).any()
    assert take(moved, s.kept_BM).abs().amax(dim=2).all()


def test_the_second_view_is_masked_by_draws_of_its_own_and_reconstructs_nothing():
    model, batch, rng = mavil().double(), batch_of(), draws()
    features = model.encode(batch, rng=rng).features
    assert not torch.allclose(features["audio"], features["audio again"])
    alone = mavil(intra_weight=0.0).double()
    alone.load_state_dict(model.state_dict())
    single = alone.encode(batch, rng=rng).features
    assert set(single) == {"audio", "video", "audio error", "video error"}
    assert all(torch.allclose(x, features[n], rtol=1e-12) for n, x in single.items())


def test_without_fusion_the_sides_know_nothing_of_each_other():
    model, batch, rng = mavil().double(), batch_of(), draws()
    other = batch | {"video": batch["video"].flip(0)}

    def told(model, batch):
        return model.decode("audio", model.see(batch, rng=rng)["audio"], rng=rng)

    assert not torch.allclose(told(model, batch)[0], told(model, other)[0])
    model.trunk.fusion.forward = lambda tokens, present, rng=None: tokens
    assert torch.equal(told(model, batch), told(model, other))


def test_contrast_vectors_do_not_know_the_other_side():
    model, batch, rng = mavil().double(), batch_of(), draws()
    before = model.encode(batch, rng=rng).features["audio"]
    assert torch.equal(before, model.encode(batch | {"video": batch["video"].flip(0)}, rng=rng).features["audio"])


def test_the_order_of_kept_tokens_is_no_matter():
    model, ids = mavil().double(), torch.tensor([[6, 1, 4]])
    patches = torch.randn(1, 3, 96, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    one = model.trunk.encode("video", patches, ids)[:, 1:].mean(dim=1)
    two = model.trunk.encode("video", patches[:, order], ids[:, order])[:, 1:].mean(dim=1)
    torch.testing.assert_close(one, two)


@pytest.mark.parametrize("fast", ["visible_only", "joined_views", "needed_only"])
@pytest.mark.parametrize("fusion", ["joint", "bottleneck"])
def test_short_cuts_keep_the_numbers(fast, fusion):
    found = []
    for on in (True, False):
        model = mavil(fusion=fusion)
        model.config = replace(model.config, fast=replace(model.config.fast, **{fast: on}))
        for decoder in model.decoders.values():
            decoder.needed_only = model.config.fast.needed_only
        out = objective(model.double(), batch_of())
        out.loss.backward()
        found.append((out.loss, {n: p.grad for n, p in model.named_parameters()}))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-13)


# -- stage 2 ----------------------------------------------------------------------------------------------------------


def stage2(**options):
    return mavil(teacher="runs/before", **options)


def test_the_teacher_sees_all_and_the_student_tells_its_tokens():
    model, rng = stage2(roll=False).double(), draws()
    seen, batch = model.see(batch_of(), rng=rng), batch_of()
    targets = model.targets(seen, {m: batch[f"has_{m}"] for m in SIDES})
    whole = {m: model.standard[m](model.patches(m, batch[m])[0]) for m in SIDES}
    fused = model.teacher(whole, {m: batch[f"has_{m}"] for m in SIDES})
    for m in SIDES:
        expected = fused[m][:, 1:] - fused[m][:, 1:].mean(dim=2, keepdim=True)
        expected = expected / (expected.square().mean(dim=2, keepdim=True) + 1e-5).sqrt()
        torch.testing.assert_close(targets[m], take(expected, seen[m].hidden_BM))
        assert model.decode(m, seen[m], rng=rng).shape == targets[m].shape


def test_the_teacher_does_not_depend_on_the_mask():
    model, batch = stage2(roll=False).double(), batch_of()
    at = []
    for step in (0, 1):
        seen = model.see(batch, rng=draws(step=step))
        targets = model.targets(seen, {m: batch[f"has_{m}"] for m in SIDES})["video"]
        hidden = seen["video"].hidden_BM
        at.append(
            torch.full((ROWS, 8, 16), torch.nan).double().scatter(1, hidden[..., None].expand(-1, -1, 16), targets)
        )
    both = ~(at[0].isnan() | at[1].isnan())
    assert both.any()
    torch.testing.assert_close(at[0][both], at[1][both])


def test_training_leaves_the_teacher_as_it_is(tmp_path):
    model = stage2()
    before = {k: v.clone() for k, v in model.teacher.state_dict().items()}
    student = {k: v.clone() for k, v in model.trunk.state_dict().items()}
    config = TrainConfig(steps=4, batch_size=8, device="cpu")
    fit(model, RawClips(20), config=config, optim=OptimConfig(lr=1e-2), folder=tmp_path / "run")
    assert all(torch.equal(v, model.teacher.state_dict()[k]) for k, v in before.items())
    assert all(p.grad is None and not p.requires_grad for p in model.teacher.parameters())
    assert not all(torch.equal(v, model.trunk.state_dict()[k]) for k, v in student.items())


def test_a_model_of_stage_2_holds_its_teacher():
    model = stage2()
    again = MAViL.from_config(json.loads(json.dumps(asdict(model.config))))
    assert again.config == model.config
    again.load_state_dict(model.state_dict())
    rng = draws()
    torch.testing.assert_close(again.encode(batch_of(), rng=rng).features, model.encode(batch_of(), rng=rng).features)


# -- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fusion", ["joint", "bottleneck"])
@pytest.mark.parametrize("absent", [(), ("audio",), ("video",), ("audio", "video")])
def test_a_whole_batch_without_a_modality(fusion, absent):
    model, none = mavil(fusion=fusion), torch.zeros(ROWS, dtype=torch.bool)
    out = objective(model, batch_of(**{f"has_{m}": none for m in absent}))
    out.loss.backward()
    terms = {f"loss/{m}" for m in SIDES if m not in absent}
    terms |= {"loss/inter"} if not absent else set()
    terms |= {"loss/intra"} if len(absent) < 2 else set()
    assert set(out.metrics) == terms
    assert out.loss.isfinite()
    assert (out.loss == 0) == (len(absent) == 2)
    for m in absent:
        for part in (model.trunk.tokens[m], model.trunk.encoders[m], model.decoders[m]):
            assert all(p.grad is None or not p.grad.any() for p in part.parameters())


def test_what_an_absent_modality_holds_has_no_influence():
    model, batch = mavil(roll=False), batch_of()
    before = objective(model, batch)
    silent = torch.where(batch["has_audio"][:, None], batch["audio"], 0.3)
    torch.testing.assert_close(objective(model, batch | {"audio": silent}).loss, before.loss)


# -- use --------------------------------------------------------------------------------------------------------------


def test_features_are_means_over_patches_and_rows_are_alone():
    model, batch = mavil(), batch_of()
    for m in SIDES:
        patches, _ = model.patches(m, batch[m])
        expected = model.trunk.encode(m, model.standard[m](patches))[:, 1:].mean(dim=1)
        found = model.features(m, batch[m])
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(model.features(m, batch[m][3:4]), found[3:4], rtol=1e-5, atol=1e-6)
        placed = model.place({m: found}, "joint")[m]
        torch.testing.assert_close(model.embed({m: batch[m]})[m], F.normalize(placed, dim=1))
    with pytest.raises(SeehearError, match="unknown space"):
        model.embed(batch, "nowhere")


def test_fused_features_know_both_sides_unless_one_is_absent():
    model, batch = mavil(), batch_of()
    before = model.fused(batch)
    after = model.fused(batch | {"video": batch["video"].flip(0)})
    assert before["audio"].shape == before["video"].shape == (ROWS, 16)
    assert not torch.allclose(before["audio"][0], after["audio"][0])
    heard, alone = batch["has_audio"], batch | {"has_video": torch.zeros(ROWS).bool()}
    flipped = alone | {"video": batch["video"].flip(0)}
    torch.testing.assert_close(model.fused(alone)["audio"][heard], model.fused(flipped)["audio"][heard])


def test_clips_of_another_size_and_length_are_read():
    model, g = mavil(), torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (2, 6, 12, 8, 3), generator=g).to(torch.uint8)
    z = model.embed({"video": video, "audio": torch.rand(2, 150, generator=g)})
    assert z["video"].shape == z["audio"].shape == (2, 16)
    torch.testing.assert_close(model.embed({"video": video.float() / 255})["video"], z["video"])


def test_fine_tuning_leaves_out_lines_and_tubes():
    model = mavil(drop_tokens=(0.5, 0.5, 0.25))
    batch, tokens = batch_of(), []
    model.trunk.encoders["audio"].register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0].shape[1]))
    model.trunk.encoders["video"].register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0].shape[1]))
    model.fused(batch, rng=draws())
    assert sorted(tokens) == [1 + 2, 1 + 6]  # CLS; 2 of 4 times and 1 of 2 bands; 6 of 8 tokens of video
    for m in SIDES:
        assert not torch.allclose(model.features(m, batch[m], rng=draws()), model.features(m, batch[m]))
        torch.testing.assert_close(mavil().features(m, batch[m], rng=draws()), mavil().features(m, batch[m]))
    assert {m: x.shape for m, x in model.fused(batch, rng=draws()).items()} == dict.fromkeys(SIDES, (ROWS, 16))


def test_short_sounds_are_padded_with_zeros_or_silence():
    batch = batch_of()
    for padding, level in (("zero", 0.0), ("silence", -15.942385)):
        found = mavil(mel_padding=padding).spectrogram(batch["audio"])
        assert found.shape == (ROWS, 8, 8)
        assert found[:, 6:].unique().tolist() == pytest.approx([level])


@pytest.mark.parametrize("options", [{}, {"teacher": "runs/before"}])
def test_in_bf16_it_is_nearly_the_same(options):
    model, batch, rng = mavil(roll=False, **options), batch_of(), draws()
    plain = model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)
    with torch.autocast("cpu", torch.bfloat16):
        features = model.encode(batch, rng=rng)
        out = model.objective(features, progress=0.0, rng=rng)
    assert {x.dtype for x in features.features.values()} == {torch.float32}
    assert {k: v.item() for k, v in out.metrics.items()} == pytest.approx(
        {k: v.item() for k, v in plain.metrics.items()}, rel=0.03
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute")  # inside torch
def test_as_a_compiler_sees_it_it_is_the_same():
    """Graphs, guards and changing shapes; what is made of the graphs is torch's matter, and takes minutes."""
    model, batch, rng = mavil(), batch_of(), draws()
    compiled = torch.compile(model.encode, backend="eager")
    for ratio in (0.5, 0.75):  # a curriculum
        model.masking = dict.fromkeys(SIDES, ratio)
        torch.testing.assert_close(compiled(batch, rng=rng).features, model.encode(batch, rng=rng).features)


# -- settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masking": {"video": 0.8}}, "masking needs a value for video and one for audio"),
        ({"masking": {"video": 1.0, "audio": 0.8}}, r"masking must be in \(0, 1\)"),
        ({"decoded": {"video": 0.5, "audio": 1.0}}, "a joint decoder decodes all"),
        ({"frames": (1, 224, 224)}, "video has no whole patch"),
        ({"mel_frames": 8}, "audio has no whole patch"),
        ({"inter_temperature": 0.0}, "temperatures must be"),
        ({"drop_path": 1.0}, "drop_path and drop_tokens must be in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(SeehearError, match=message):
        replace(MAViLConfig(), **changes)
    with pytest.raises(SeehearError, match="unknown MAViL option 'sizes'"):
        config_from(MAViLConfig, {"sizes": 3})


def test_batches_of_the_wrong_shape_are_refused():
    model, batch = mavil(), batch_of()
    with pytest.raises(SeehearError, match="video must be"):
        model.embed({"video": batch["video"][..., :1]})
    with pytest.raises(SeehearError, match="audio must be"):
        model.embed({"audio": batch["audio"][:, None]})
    with pytest.raises(SeehearError, match="take longer clips"):
        model.embed({"video": batch["video"][:, :1]})
    with pytest.raises(ValueError, match="the batch has no audio"):
        model.encode({"video": batch["video"], "has_video": batch["has_video"]}, rng=draws())
    with pytest.raises(ValueError, match="encode needs rng"):
        model.encode(batch, rng=None)
