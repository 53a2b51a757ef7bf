"""VATT as a method: sizes, the objective against loops, spaces, missing modalities, use, and what is refused."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch import nn

from seehear.errors import SeehearError
from seehear.inputs.raw import RawConfig
from seehear.methods.base import config_from
from seehear.methods.vatt import SIZES, VATT, BatchStatistics, VATTConfig
from seehear.nn.random import Randomness
from seehear.types import Encoded
from tests.methods_under_test import vatt
from tests.raw_clips import VOCABULARY, RawClips
from tests.reference import vatt as slow

ROWS = 11  # clips 4 and 9 lack sound, 10 lacks words


def draws(rows=ROWS, step=0):
    return Randomness(0, step, 0, rows, rows)


def batch_of(rows=ROWS, **changes):
    return RawClips(rows).batch(torch.arange(rows)) | changes


def objective(model, batch, step=0):
    rng = draws(len(batch["group"]), step)
    return model.objective(model.encode(batch, rng=rng), progress=0.0, rng=rng)


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


# -- the sheet --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "bare", "with_classes"),
    [
        ("small", 20.509, 20.816),
        ("base", 87.446, 87.907),
        ("medium", 154.343, 154.958),
        ("large", 305.498, 306.113),
    ],
)
def test_parameters_of_a_video_encoder(size, bare, with_classes):
    with torch.device("meta"):
        model = VATT(VATTConfig(modalities=("video", "audio"), video=SIZES[size]))
        classes = nn.Linear(SIZES[size].width, 600)
    found = count(model.tokens["video"], model.encoders["video"])
    assert round(found / 1e6, 3) == bare
    assert round((found + count(classes)) / 1e6, 3) == with_classes


def test_parameters_of_the_rest():
    with torch.device("meta"):
        model, shared = VATT(VATTConfig(batch_norm="video")), VATT(VATTConfig(variant="agnostic"))
    assert round(count(model.tokens["audio"], model.encoders["audio"]) / 1e6, 3) == 86.079
    words = model.tokens["text"].table.weight.numel()
    assert words == 65_536 * 300
    assert round((count(model.tokens["text"], model.encoders["text"]) - words) / 1e6, 2) == 19.04
    assert round(count(model.heads, model.coarsen) / 1e6, 2) == 1.45  # of the official code
    assert list(shared.encoders) == ["shared"]
    assert count(shared.encoders) == count(model.encoders["video"])


def test_lengths_at_full_size():
    with torch.device("meta"):
        model = VATT(VATTConfig(modalities=("video", "audio"), dropout=0.0))
        video, audio = torch.empty(2, 32, 224, 224, 3, dtype=torch.uint8), torch.empty(2, 153_600, 1)
        finer = torch.empty(2, 32, 320, 320, 3, dtype=torch.uint8)
    rng = draws(2)
    assert model.tokens["video"](video, rng=rng, name="video").shape == (2, 785, 1024)
    assert model.tokens["audio"](audio, rng=rng, name="audio").shape == (2, 601, 768)
    assert model.tokens["video"](video, rng=None, name="video").shape == (2, 1569, 1024)
    assert model.tokens["audio"](audio, rng=None, name="audio").shape == (2, 1201, 768)
    assert model.tokens["video"](finer, rng=None, name="video").shape == (2, 3201, 1024)
    with torch.device("meta"):
        model, sentences = VATT(VATTConfig()), torch.empty(2 * 5, 16, dtype=torch.long)
    words, mask = model.tokens["text"](sentences, rng=None, name="text")
    assert (words.shape, mask.shape) == ((10, 17, 512), (10, 17))
    assert RawConfig().samples == 153_600  # 3.2 s


def test_the_spectrogram_has_144_tokens_and_drops_none():
    config = VATTConfig(sound="spectrogram", dropout=0.0)
    assert config.grid_of("audio") == ((150, 80), (16, 5))
    assert (config.keep_of("audio"), config.keep_of("video")) == (1.0, 0.5)
    with torch.device("meta"):
        tokens = VATT(config).tokens["audio"]
        assert tokens(torch.empty(2, 150, 80, 1), rng=draws(2), name="audio").shape == (2, 145, 768)


# -- the objective ----------------------------------------------------------------------------------------------------


def features(model, seed=0):
    g = torch.Generator().manual_seed(seed)
    shapes = {"video": (6, 16), "audio": (6, 16), "text": (6, 2, 16)}
    return {m: torch.randn(*s, generator=g, dtype=torch.float64).requires_grad_() for m, s in shapes.items()}


def encoded(model):
    has = {"video": [1, 1, 1, 1, 0, 1], "audio": [1, 0, 1, 1, 1, 1]}
    present = {m: torch.tensor(v).bool() for m, v in has.items()}
    sentence = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0], [1, 1], [1, 1]]).bool()
    return Encoded(features(model), present | {"text": sentence.any(dim=1)}, {"sentence": sentence})


def by_loops(model, given, form):
    f = {m: x.detach().flatten(0, -2).numpy() for m, x in given.features.items()}
    valid = {"video": given.present["video"], "audio": given.present["audio"], "text": given.context["sentence"]}
    weights = {
        "video1": model.heads["fine"]["video"].maps[0],
        "video2": model.heads["fine"]["video"].maps[1],
        "coarse": model.coarsen.maps[0],
        "audio": model.heads["fine"]["audio"].maps[0],
        "text": model.heads["coarse"]["text"].maps[0],
    }
    weights = {k: v.weight.detach().numpy() for k, v in weights.items()}
    v_va, a_va, v_vt, t_vt = slow.fac_heads(f, weights, {m: v.flatten().tolist() for m, v in valid.items()})
    a, t = a_va[:, None], t_vt.reshape(6, 2, -1)
    has_v = valid["video"].tolist()
    fine = slow.mil_nce(slow.cosines(v_va, a), 0.07, form, has_v, valid["audio"][:, None].tolist())
    return slow.mean(fine), slow.mean(slow.mil_nce(slow.cosines(v_vt, t), 0.07, form, has_v, valid["text"].tolist()))


@pytest.mark.parametrize("form", ["paper", "code", "symmetric"])
def test_the_objective_is_that_of_loops(form):
    model = vatt(form=form, text_weight=2.0).double()
    given = encoded(model)
    out = model.objective(given, progress=0.0, rng=draws(6))
    fine, coarse = by_loops(model, given, form)
    assert {k: v.item() for k, v in out.metrics.items()} == pytest.approx(
        {"loss/video-audio": fine, "loss/video-text": coarse}, abs=1e-9
    )
    assert out.loss.item() == pytest.approx((fine + 2 * coarse) / (1 if form == "paper" else 3), abs=1e-9)


def test_statistics_move_after_the_step_and_not_before():
    model = vatt().double()
    given, norm = encoded(model), model.heads["fine"]["audio"].norms[0]
    out = model.objective(given, progress=0.0, rng=draws(6))
    assert torch.equal(norm.running_mean, torch.zeros(16))
    model.after_step(out, 0.0)
    x = model.heads["fine"]["audio"].maps[0](given.features["audio"][given.present["audio"]])
    torch.testing.assert_close(norm.running_mean, 0.1 * x.mean(dim=0))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * x.var(dim=0))


def test_only_the_norms_of_video_where_the_official_code_has_them():
    model = vatt(batch_norm="video")
    heads = [model.heads["fine"]["video"], model.coarsen, model.heads["fine"]["audio"], model.heads["coarse"]["text"]]
    assert [head.norms is not None for head in heads] == [True, True, False, False]
    assert [head.maps[0].bias is not None for head in heads] == [False, False, True, True]


def test_clips_of_one_recording_can_be_no_negatives():
    plain, masked = (objective(vatt(mask_same_group=m), batch_of()).loss for m in (False, True))
    assert masked < plain
    with pytest.raises(ValueError, match="the batch has no 'group'"):
        vatt(mask_same_group=True).encode({k: v for k, v in batch_of().items() if k != "group"}, rng=None)


# -- what is missing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spaces", ["fine_coarse", "joint", "disjoint"])
@pytest.mark.parametrize("form", ["paper", "code"])
@pytest.mark.parametrize("absent", [(), ("audio",), ("text",), ("video",), ("audio", "text")])
def test_a_whole_batch_without_a_modality(spaces, form, absent):
    model = vatt(spaces=spaces, form=form)
    batch = batch_of(**{f"has_{m}": torch.zeros(ROWS, dtype=torch.bool) for m in absent})
    out = objective(model, batch)
    out.loss.backward()
    expected = {f"loss/{p}-{q}" for p, q in model.config.pairs if p not in absent and q not in absent}
    assert set(out.metrics) == expected
    assert out.loss.isfinite()
    assert expected or out.loss == 0
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    for m in absent:
        grads = [p.grad for p in model.encoders[m].parameters()]
        assert all(g is None or not g.any() for g in grads)
    model.after_step(out, 0.0)
    assert all(b.isfinite().all() for b in model.buffers())


def test_what_an_absent_modality_holds_has_no_influence():
    model, batch = vatt(), batch_of()
    before = objective(model, batch)
    batch["audio"] = torch.where(batch["has_audio"][:, None], batch["audio"], 9.0)
    batch["text"] = torch.where(batch["has_text"][:, None, None], batch["text"], 3)
    after = objective(model, batch)
    assert torch.equal(before.loss, after.loss)
    assert all(torch.equal(before.carry[k], after.carry[k]) for k in before.carry)


def test_equal_words_everywhere_give_no_wild_gradient():
    model, batch = vatt(), batch_of()
    batch["text"] = torch.ones_like(batch["text"])
    objective(model, batch).loss.backward()
    assert all(p.grad is None or p.grad.abs().max() < 1e6 for p in model.parameters())


def test_a_model_without_text_or_without_sound():
    heard = vatt(modalities=("audio", "video"))
    assert heard.spaces == {"fine": ("video", "audio")}
    assert set(objective(heard, batch_of()).metrics) == {"loss/video-audio"}
    with pytest.raises(SeehearError, match="reads no text"):
        heard.load_words(torch.zeros(VOCABULARY, 8))
    said = vatt(modalities=("video", "text"), pairs=(("text", "video"),), spaces="joint")
    assert set(objective(said, batch_of()).metrics) == {"loss/video-text"}
    with pytest.raises(ValueError, match="the batch has no audio"):
        heard.encode({"video": batch_of()["video"], "has_video": torch.ones(ROWS)}, rng=None)


# -- spaces and use ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "spaces"),
    [
        ({}, {"coarse": {"video": 8, "audio": 8, "text": 8}, "fine": {"video": 16, "audio": 16}}),
        ({"spaces": "joint", "coarse_dim": 4}, {"joint": {"video": 16, "audio": 16, "text": 16}}),
        ({"spaces": "disjoint"}, {"video-audio": {"video": 16, "audio": 16}, "video-text": {"video": 8, "text": 8}}),
        (
            {"coarse_dim": 5, "pairs": ()},
            {"coarse": {"video": 5, "audio": 5, "text": 5}, "fine": {"video": 16, "audio": 16}},
        ),
    ],
)
def test_vectors_for_use_are_unit_and_of_their_space(options, spaces):
    model, batch = vatt(**options), batch_of()
    assert list(model.spaces) == list(spaces)
    for name, widths in spaces.items():
        z = model.embed(batch, name)
        assert {m: x.shape[1] for m, x in z.items()} == widths
        assert set(model.spaces[name]) == set(widths)
        for x in z.values():
            torch.testing.assert_close(x.norm(dim=1), torch.ones(ROWS))
    assert set(model.embed({"audio": batch["audio"]})) <= {"audio"}
    with pytest.raises(SeehearError, match="unknown space"):
        model.embed(batch, "nowhere")


def test_sound_meets_words_by_the_map_of_video_and_trains_it_if_asked():
    for pairs in ((("video", "audio"), ("video", "text")), ()):
        model = vatt(pairs=pairs)
        assert ("loss/audio-text" in objective(model, batch_of()).metrics) == (not pairs)
        z = model.raw(batch_of(), "fine")["audio"]
        torch.testing.assert_close(model.raw(batch_of())["audio"], model.coarsen(z))


def test_the_first_sentence_that_there_is_stands_for_a_clip():
    model, text = vatt(), RawClips(4).text
    text[2, 0] = 0
    z = model.embed({"text": text})["text"]
    alone = torch.stack([text[0, 0], text[1, 0], text[2, 1], text[3, 0]])[:, None]
    torch.testing.assert_close(z, model.embed({"text": alone})["text"])
    assert model.features("text", text).shape == (4, 16)
    longer = torch.cat([alone, torch.zeros(4, 1, 3, dtype=torch.long)], dim=2)
    torch.testing.assert_close(z, model.embed({"text": longer})["text"])  # padding is nothing


@pytest.mark.parametrize("options", [{}, {"variant": "agnostic"}, {"sound": "spectrogram"}])
def test_clips_of_another_size_and_length_are_read(options):
    model, g = vatt(**options), torch.Generator().manual_seed(0)
    video = torch.randint(0, 256, (2, 6, 12, 8, 3), generator=g).to(torch.uint8)
    z = model.embed({"video": video, "audio": torch.rand(2, 150, generator=g)})
    assert z["video"].shape == z["audio"].shape == (2, 8)
    scaled = model.embed({"video": video.double() * 2 / 255 - 1})["video"]
    torch.testing.assert_close(scaled, z["video"])


@pytest.mark.parametrize("options", [{}, {"variant": "agnostic", "spaces": "joint", "form": "code"}])
def test_another_order_of_the_clips_is_the_same_step(options):
    """The keep set is one for the whole batch; without dropout a clip's place in it says nothing."""
    model, batch = vatt(dropout=0.0, **options).double(), batch_of()
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
    moved = {k: x[order] for k, x in batch.items()}
    one, two = (model.encode(b, rng=draws()) for b in (batch, moved))
    for m, f in one.features.items():
        torch.testing.assert_close(two.features[m], f[order])
    found = []
    for given in (batch, moved):
        model.zero_grad()
        out = objective(model, given)
        out.loss.backward()
        found.append((out.loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}))
    torch.testing.assert_close(found[1], found[0])
    z, moved_z = (model.embed(b) for b in (batch, moved))
    for m, x in z.items():
        torch.testing.assert_close(moved_z[m], x[order])


def test_without_words_only_the_term_of_sound_is_left():
    """And with a batch of nothing but words, none."""
    batch = batch_of(has_text=torch.zeros(ROWS, dtype=torch.bool))
    model, alone = vatt(dropout=0.0), vatt(dropout=0.0, modalities=("video", "audio"))
    alone.load_state_dict({k: v for k, v in model.state_dict().items() if k in alone.state_dict()})
    out, expected = objective(model, batch), objective(alone, batch)
    assert torch.equal(out.loss, out.metrics["loss/video-audio"])
    torch.testing.assert_close(out.loss, expected.loss)
    out.loss.backward()
    expected.loss.backward()
    for n, p in alone.named_parameters():
        torch.testing.assert_close(model.get_parameter(n).grad, p.grad)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_one_clip_with_words_keeps_the_term_of_text(form):
    """Its negatives are the pictures of the other clips. Two sentences here: batch norm needs two rows."""
    model = vatt(form=form).double()
    given = encoded(model)
    sentence = torch.zeros(6, 2, dtype=torch.bool)
    sentence[2] = True
    given = replace(given, present=given.present | {"text": sentence.any(dim=1)}, context={"sentence": sentence})
    out = model.objective(given, progress=0.0, rng=draws(6))
    assert out.metrics["loss/video-text"].item() == pytest.approx(by_loops(model, given, form)[1], abs=1e-9)
    out.loss.backward()
    assert given.features["text"].grad[2].any()


def test_a_single_sentence_is_normalised_by_the_running_statistics():
    """One row says nothing of a deviation: normalised by itself it would be zero, and its gradient wild."""
    model = vatt().double()
    given = encoded(model)
    sentence = torch.zeros(6, 2, dtype=torch.bool)
    sentence[2, 1] = True
    given = replace(given, present=given.present | {"text": sentence.any(dim=1)}, context={"sentence": sentence})
    head = model.heads["coarse"]["text"]
    expected = head(given.features["text"][2, 1:].detach())[0]
    z = model._project(given.features, {**given.present, "text": sentence}, BatchStatistics())["coarse"]["text"][2, 1]
    torch.testing.assert_close(z, expected)
    out = model.objective(given, progress=0.0, rng=draws(6))
    assert not any("coarse.text" in name for name in out.carry)  # what moves no statistics
    out.loss.backward()
    assert 0 < given.features["text"].grad[2, 1].abs().max() < 100


def test_the_length_of_a_vector_says_nothing():
    model = vatt().double()
    given = encoded(model)
    before = model.objective(given, progress=0.0, rng=draws(6)).loss
    with torch.no_grad():
        for parameter in model.heads["fine"]["audio"].norms.parameters():
            parameter *= 3
    torch.testing.assert_close(model.objective(given, progress=0.0, rng=draws(6)).loss, before)


def test_rows_do_not_see_each_other_in_use():
    model, batch = vatt(), batch_of()
    whole = model.embed(batch)
    one = model.embed({m: batch[m][3:4] for m in ("video", "audio", "text")})
    for m, x in one.items():
        torch.testing.assert_close(x, whole[m][3:4], rtol=1e-5, atol=1e-6)


def test_dropping_tokens_changes_training_and_not_use():
    model, batch = vatt(dropout=0.0), batch_of()
    first, second = (model.encode(batch, rng=draws(step=s)).features for s in (0, 1))
    assert not torch.allclose(first["video"], second["video"])
    assert not torch.allclose(first["audio"], second["audio"])
    assert torch.equal(first["text"], second["text"])  # never dropped, and no dropout here
    use = model.encode(batch, rng=None).features["video"]
    assert torch.equal(use, model.features("video", batch["video"]))


def test_one_encoder_for_all_learns_from_each():
    model = vatt(variant="agnostic")
    names = [n for n, _ in model.encoders.named_parameters()]
    assert all(n.startswith("shared.") for n in names)
    for m in ("video", "audio", "text"):
        model.zero_grad()
        model.features(m, batch_of()[m]).square().sum().backward()
        assert all(p.grad is not None for p in model.encoders.parameters())
        assert not [n for n, p in model.tokens.named_parameters() if p.grad is not None and not n.startswith(m)]


# -- settings ---------------------------------------------------------------------------------------------------------


def test_a_model_comes_back_from_json():
    model = vatt(keep={"video": 0.25}, sound="spectrogram")
    again = VATT.from_config(json.loads(json.dumps(asdict(model.config))))
    assert again.config == model.config
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again.embed(batch_of()), model.embed(batch_of()))


def test_word_vectors_are_taken_and_stay():
    model, table = vatt(), torch.randn(VOCABULARY, 8)
    assert model.load_words(table) is model
    objective(model, batch_of()).loss.backward()
    assert model.tokens["text"].table.weight.grad is None
    torch.testing.assert_close(model.tokens["text"].table.weight.detach(), table)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modalities": ("video",)}, "two modalities at least; got video"),
        ({"modalities": ("video", "smell")}, "unknown modality 'smell'"),
        ({"modalities": ("audio", "text")}, "audio, text is in no pair"),
        ({"pairs": (("video", "audio"),)}, "text is in no pair"),
        ({"modalities": ("video", "text")}, "fine_coarse needs video and audio"),
        ({"keep": {"video": 0.0}}, "got 0.0 for video"),
        ({"keep": {"text": 0.5}}, "got 0.5 for text"),
        ({"temperature": 0.0}, "temperature must be 0.001 at least"),
        ({"dropout": 1.0}, "dropout and drop_path in"),
    ],
)
def test_settings_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(SeehearError, match=message):
        replace(VATTConfig(), **changes)
    with pytest.raises(SeehearError, match="unknown VATT option 'sizes'"):
        config_from(VATTConfig, {"sizes": 3})


def test_batches_of_the_wrong_shape_are_refused():
    model, batch = vatt(), batch_of()
    wrong = {"video": batch["video"][..., :1], "audio": batch["audio"][:, None], "text": batch["text"][:, 0]}
    messages = {"video": "reads 3 axes and 3 channels", "audio": "must be .clips, samples.", "text": "sentences, words"}
    for m, x in wrong.items():
        with pytest.raises(SeehearError, match=messages[m]):
            model.embed({m: x})
