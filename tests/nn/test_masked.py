"""Pieces of masked autoencoders: positions, masks, tokens, decoders, fusion."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.methods.mavil_layers import BottleneckFusion, JointFusion
from seehear.nn.masked import FixedTokens, MaskedDecoder, MaskToken, Places, Standard, line, sincos
from seehear.nn.mel import rolled
from seehear.nn.random import Randomness
from seehear.nn.transformer import Size, Transformer, keep_lines, num_visible, shuffle, take
from tests.reference import mavil as slow

SIZE = Size(layers=2, width=16, hidden=32, heads=2)


def draws(rows, step=0):
    return Randomness(0, step, 0, rows, rows)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


# -- positions --------------------------------------------------------------------------------------------------------


def test_one_axis():
    found = line(torch.tensor([3.0], dtype=torch.float64), 8)[0]
    expected = [0.141120, 0.295520, 0.029996, 0.003000, -0.989992, 0.955336, 0.999550, 0.999996]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)


def test_three_axes_of_the_sheet():
    code = sincos((4, 14, 14), 768)
    token = code[227]  # (1, 2, 3)
    expected = {0: 0.841471, 96: 0.540302, 192: 0.141120, 336: -0.989992, 480: 0.909297, 624: -0.416147}
    assert {i: token[i].item() for i in expected} == pytest.approx(expected, abs=1e-6)
    assert code.shape == (784, 768)


@pytest.mark.parametrize("counts", [(5,), (4, 3), (2, 3, 4)])
def test_positions_are_those_of_loops(counts):
    slowly = {1: slow.position_1d, 2: slow.position_2d, 3: slow.position_3d}[len(counts)]
    expected = [slowly(*map(int, place), 32) for place in np.ndindex(*counts)]
    np.testing.assert_allclose(sincos(counts, 32).numpy(), expected, atol=1e-6)


def test_every_place_has_a_code_of_its_own():
    assert len(sincos((64, 8), 768).unique(dim=0)) == 512
    assert len(sincos((4, 14, 14), 512).unique(dim=0)) == 784


def test_a_width_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match="width 20 cannot be shared among 3 axes"):
        sincos((2, 2, 2), 20)


def test_places_of_other_grids_and_of_stills():
    places = Places((2, 3, 4), 16)
    assert torch.equal(places()[0], sincos((2, 3, 4), 16))
    assert torch.equal(places(counts=(5, 3, 4))[0], sincos((5, 3, 4), 16))
    ids = torch.tensor([[5, 0], [23, 1]])
    assert torch.equal(places(ids), sincos((2, 3, 4), 16)[ids])
    assert torch.equal(Places((2, 3, 4), 16, still=True)()[0], sincos((3, 4), 16).repeat(2, 1))


# -- masks ------------------------------------------------------------------------------------------------------------


def test_the_mask_of_the_sheet():
    order = shuffle(torch.tensor([[0.7, 0.1, 0.9, 0.4, 0.2, 0.8, 0.3, 0.6, 0.5, 0.05]]), 2)
    assert order.order_BN.tolist() == [[9, 1, 4, 6, 3, 8, 7, 0, 5, 2]]
    assert (order.kept.tolist(), order.hidden.tolist()) == ([[9, 1]], [[4, 6, 3, 8, 7, 0, 5, 2]])


@given(u=st.lists(st.floats(0, 1, width=32), min_size=3, max_size=20), data=st.data())
def test_masks_are_those_of_loops_and_come_back(u, data):
    keep = data.draw(st.integers(1, len(u) - 1))
    order = shuffle(torch.tensor([u]), keep)
    expected = slow.masked(u, keep)  # sorted() keeps equal draws in order, too
    restore = order.order_BN.argsort(dim=1)
    found = (order.order_BN, restore, order.kept, (restore >= keep).long())
    assert [x[0].tolist() for x in found] == [list(e) for e in expected]
    x = torch.arange(len(u))[None, :, None].float()
    back = torch.cat([take(x, order.kept), take(x, order.hidden)], dim=1)
    assert torch.equal(take(back, restore), x)


@pytest.mark.parametrize(
    ("ratio", "audio", "video"),
    [(0.95, 25, 39), (0.9, 51, 78), (0.875, 64, 98), (0.85, 76, 117), (0.8, 102, 156), (0.75, 128, 196)],
)
def test_patches_that_stay(ratio, audio, video):
    assert (num_visible(512, ratio), num_visible(784, ratio)) == (audio, video)


def test_counts_do_not_suffer_from_rounding():
    assert [num_visible(400, 0.9), num_visible(400, 0.8), num_visible(10, 0.9), num_visible(512, 0.842105)] == [
        40,
        80,
        1,
        80,
    ]
    for total, ratio in ((4, 0.8), (4, 0.0)):
        with pytest.raises(SeehearError, match="some, not all, must be"):
            num_visible(total, ratio)


def test_lines_of_a_spectrogram_are_left_out():
    kept = keep_lines(draws(3), "drop", (64, 8), (0.2, 0.2))
    assert kept.shape == (3, 51 * 6)
    assert keep_lines(draws(1), "drop", (64, 8), (0.7, 0.3)).shape == (1, 19 * 5)  # 81.4 % are left out
    for row in kept.tolist():
        assert row == sorted(set(row))
        assert (len({n // 8 for n in row}), len({n % 8 for n in row})) == (51, 6)
    assert len(kept.unique(dim=0)) == 3
    assert torch.equal(keep_lines(draws(3).narrow(1, 2), "drop", (64, 8), (0.2, 0.2)), kept[1:2])


# -- sound ------------------------------------------------------------------------------------------------------------


def test_sounds_are_turned_round_and_made_louder_or_softer():
    sound = torch.arange(1.0, 51.0).repeat(400, 1)
    out = rolled(sound, draws(400), "roll")
    gain = out.sum(dim=1) / sound.sum(dim=1)
    assert 0.6 < gain.min() < 0.85
    assert 1.15 < gain.max() < 1.4
    assert gain.mean().item() == pytest.approx(1.0, abs=0.02)
    assert gain.var().item() == pytest.approx(1 / 84, rel=0.2)  # of Beta(10, 10)
    first = (out[:, 0] / gain).round().long()
    assert first.unique().tolist() == list(range(1, 51))  # Audio-MAE's offset is always 0
    torch.testing.assert_close(out[0].roll(-int(out[0].argmin())), gain[0] * sound[0])
    torch.testing.assert_close(rolled(sound[7:9], draws(400).narrow(7, 9), "roll"), out[7:9])


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_patches_in_standard_units():
    standard = Standard((0.5, 0.25), (0.5, 2.0), values=6)
    bytes_111 = torch.tensor([[[255, 255, 0, 0, 51, 51]]], dtype=torch.uint8)
    expected = torch.tensor([[[1.0, 0.375, -1.0, -0.125, -0.6, -0.025]]])
    torch.testing.assert_close(standard(bytes_111), expected)
    torch.testing.assert_close(standard(bytes_111.float() / 255), expected)
    torch.testing.assert_close(standard.inverse(expected), bytes_111.float() / 255)


def test_tokens_of_some_patches_are_those_among_all():
    tokens = FixedTokens((2, 3, 4), values=5, width=16)
    patches, ids = torch.randn(2, 24, 5, generator=seeded()), torch.tensor([[3, 20, 7], [0, 1, 23]])
    whole, some = tokens(patches), tokens(take(patches, ids), ids)
    assert whole.shape == (2, 25, 16)
    torch.testing.assert_close(some[:, 1:], take(whole[:, 1:], ids))
    assert torch.equal(whole[:, 0], tokens.cls.expand(2, -1))  # its position is zero


# -- decoders ---------------------------------------------------------------------------------------------------------


def decoder(kind="joint", **options):
    torch.manual_seed(0)
    return MaskedDecoder(SIZE, (3, 4), source=8, values=5, kind=kind, **options).double()


def given_to(model, hidden=8, seed=0):
    g = seeded(seed)
    order = shuffle(torch.rand(2, 12, generator=g), 4)
    seen = torch.randn(2, 5, 8, generator=g, dtype=torch.float64)
    place = torch.randn(2, hidden, 16, generator=g, dtype=torch.float64)
    return seen, order.kept, order.hidden[:, :hidden], place


def by_the_ancestors(model, seen, kept, hidden, place):
    """Un-shuffle, add positions to the whole grid, attend, tell every token: MAE's decoder as it is published."""
    x = model.embed(seen)
    grid = torch.cat([x[:, 1:], place], dim=1)
    restore = torch.cat([kept, hidden], dim=1).argsort(dim=1)
    grid = take(grid, restore) + model.places()
    told = model.head(model.transformer(torch.cat([x[:, :1], grid], dim=1)))[:, 1:]
    return take(told, hidden)


@pytest.mark.parametrize("needed_only", [True, False])
def test_the_joint_decoder_is_that_of_mae(needed_only):
    model = decoder(needed_only=needed_only)
    arguments = given_to(model)
    torch.testing.assert_close(model(*arguments), by_the_ancestors(model, *arguments), rtol=1e-12, atol=1e-12)


def test_only_what_is_needed_is_computed_and_learns_the_same():
    gradients = []
    for needed_only in (True, False):
        model = decoder(needed_only=needed_only)
        model(*given_to(model)).square().sum().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", ["joint", "cross", "cross-self"])
def test_who_sees_whom_in_a_decoder(kind):
    model = decoder(kind)
    seen, kept, hidden, place = given_to(model)
    before = model(seen, kept, hidden, place)
    other = place.clone()
    other[0, 3] = torch.randn(16, generator=seeded(1))
    changed = (model(seen, kept, hidden, other) - before).abs().amax(dim=2) > 1e-12
    assert changed[0, 3]
    assert not changed[1].any()
    assert changed[0, [0, 1, 2, 4]].all() == (kind != "cross")
    assert ((model(2 * seen, kept, hidden, place) - before).abs().amax(dim=2) > 1e-12).all()


def test_a_part_of_the_hidden_patches_can_be_decoded_where_they_do_not_meet():
    model = decoder("cross")
    seen, kept, hidden, place = given_to(model)
    torch.testing.assert_close(model(seen, kept, hidden, place)[:, :3], model(seen, kept, hidden[:, :3], place[:, :3]))


def test_the_mask_token_stands_everywhere():
    token = MaskToken(4)
    assert torch.equal(token(torch.zeros(2, 3, 9), rng=None, name=""), token.token.expand(2, 3, 4))


@pytest.mark.parametrize("asked", [slice(1), slice(-3, None), slice(None)])
@pytest.mark.parametrize("style", ["vit", "t5"])
def test_only_the_tokens_asked_for(style, asked):
    torch.manual_seed(0)
    model, x = Transformer(SIZE, style=style).double(), torch.randn(2, 7, 16, dtype=torch.float64, generator=seeded())
    mask = torch.ones(2, 7, dtype=torch.bool)
    mask[0, :2] = False
    torch.testing.assert_close(model(x, mask, asked=asked), model(x, mask)[:, asked], rtol=1e-12, atol=1e-12)


# -- fusion -----------------------------------------------------------------------------------------------------------


def fusions():
    torch.manual_seed(0)
    sides = ("video", "audio")
    return {
        "joint": JointFusion(SIZE, layers=2).double(),
        "bottleneck": BottleneckFusion(SIZE, sides, layers=2).double(),
    }


def tokens_of(seed=0):
    g = seeded(seed)
    shapes = {"video": (3, 5, 16), "audio": (3, 4, 16)}
    return {m: torch.randn(*shape, generator=g, dtype=torch.float64) for m, shape in shapes.items()}


def here(video=(1, 1, 1), audio=(1, 1, 1)):
    return {"video": torch.tensor(video).bool(), "audio": torch.tensor(audio).bool()}


@pytest.mark.parametrize("kind", ["joint", "bottleneck"])
def test_each_hears_of_the_other_and_no_row_of_another(kind):
    fusion, tokens = fusions()[kind], tokens_of()
    before = fusion(tokens, here())
    other = tokens["audio"].clone()
    other[0] = tokens_of(seed=1)["audio"][0]
    after = fusion(tokens | {"audio": other}, here())
    assert (after["video"][0] - before["video"][0]).abs().max() > 1e-6
    assert torch.equal(after["video"][1:], before["video"][1:])
    assert {m: x.shape for m, x in before.items()} == {m: x.shape for m, x in tokens.items()}


@pytest.mark.parametrize("kind", ["joint", "bottleneck"])
def test_what_is_absent_is_not_heard(kind):
    fusion, tokens = fusions()[kind], tokens_of()
    before = fusion(tokens, here(audio=(0, 1, 1), video=(1, 1, 0)))
    louder = tokens | {"audio": tokens["audio"].clone()}
    louder["audio"][0] = 9.0
    torch.testing.assert_close(fusion(louder, here(audio=(0, 1, 1), video=(1, 1, 0)))["video"], before["video"])
    alone = fusion({"video": tokens["video"][:1]}, {"video": torch.ones(1).bool()})
    torch.testing.assert_close(before["video"][:1], alone["video"])
    nothing = fusion(tokens, here(audio=(0, 1, 1), video=(0, 1, 1)))
    assert all(x.isfinite().all() for x in nothing.values())


def test_the_shared_tokens_are_the_mean_of_what_either_made_of_them():
    fusion, tokens = fusions()["bottleneck"], tokens_of()
    layer, shared = fusion.layers[0], fusion.shared(3)
    out, found = layer(tokens, shared, here(), rng=None, name="")
    made = {m: layer.sides[m](torch.cat([shared, x], dim=1)) for m, x in tokens.items()}
    torch.testing.assert_close(found, (made["video"][:, :4] + made["audio"][:, :4]) / 2)
    torch.testing.assert_close(out["audio"], made["audio"][:, 4:])


@settings(max_examples=25)
@given(order=st.permutations(range(6)))
def test_the_order_of_tokens_is_no_matter(order):
    torch.manual_seed(0)
    model, x = Transformer(SIZE, final_norm=False).double(), torch.randn(1, 6, 16, generator=seeded()).double()
    torch.testing.assert_close(model(x[:, order]).mean(dim=1), model(x).mean(dim=1))
