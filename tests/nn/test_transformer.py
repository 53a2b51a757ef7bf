"""Transformer blocks against loops, T5's buckets, drop path, and rows that never see each other."""

import numpy as np
import pytest
import torch

from seehear.errors import SeehearError
from seehear.nn.flops import count_flops
from seehear.nn.random import Randomness
from seehear.nn.transformer import Attention, RelativeBias, Size, Transformer, bucket, glorot
from tests.reference import vatt as slow

SMALL = Size(layers=2, width=8, hidden=12, heads=2)


def draws(rows, step=0):
    return Randomness(0, step, 0, rows, rows)


def made(style="vit", **options):
    torch.manual_seed(0)
    return Transformer(SMALL, style=style, **options).double()


def tokens(rows=3, length=5, seed=0):
    return torch.randn(rows, length, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_buckets_of_the_sheet():
    before = {0: 0, 1: 1, 7: 7, 8: 8, 10: 8, 11: 9, 13: 9, 14: 10, 16: 10, 20: 11, 32: 13, 63: 15, 64: 15, 500: 15}
    assert {m: int(bucket(torch.tensor(-m))) for m in before} == before
    after = {1: 17, 7: 23, 8: 24, 10: 24, 11: 25, 13: 25, 14: 26, 16: 26, 20: 27, 32: 29, 63: 31, 500: 31}
    assert {m: int(bucket(torch.tensor(m))) for m in after} == after
    offsets = torch.arange(-200, 201)
    assert bucket(offsets).tolist() == [slow.bucket(n) for n in offsets.tolist()]


@pytest.mark.parametrize("scaled", [True, False])
def test_fused_attention_is_that_of_loops(scaled):
    torch.manual_seed(0)
    layer, x = Attention(8, 2, bias=scaled, scaled=scaled).double(), tokens(1)
    bias = None if scaled else torch.randn(1, 2, 5, 5, dtype=torch.float64)
    weight = layer.into.weight.detach().numpy()
    offset = layer.into.bias.detach().numpy() if scaled else np.zeros(24)
    added = None if bias is None else bias[0].tolist()
    mixed = slow.attention(x[0].numpy(), weight, offset, 2, 0.5 if scaled else 1.0, added)
    torch.testing.assert_close(layer(x, bias)[0], layer.out(torch.from_numpy(mixed)))


def test_relative_bias_is_a_table_of_buckets_shared_by_all_layers():
    torch.manual_seed(0)
    relative = RelativeBias(2).double()
    bias = relative(5)
    for i in range(5):
        for j in range(5):
            assert torch.equal(bias[:, i, j], relative.table.weight[slow.bucket(j - i)])
    model = made("t5")
    before, model.relative.table.weight.data[1] = model(tokens()), 3.0
    assert not torch.allclose(before, model(tokens()))
    assert sum(isinstance(m, RelativeBias) for m in model.modules()) == 1
    assert not [n for n, _ in model.blocks.named_parameters() if n.endswith("bias") and "norm2" not in n]


@pytest.mark.parametrize("style", ["vit", "t5"])
def test_padding_changes_nothing_and_rows_do_not_see_each_other(style):
    model, x = made(style), tokens()
    mask = torch.tensor([[True, True, True, False, False]]).expand(3, 5)
    found = model(x, mask)
    torch.testing.assert_close(found[:, :3], model(x[:, :3]))
    x[:, 3:] = 100.0
    x[1] = 7.0
    again = model(x, mask)
    torch.testing.assert_close(again[[0, 2], :3], found[[0, 2], :3])


@pytest.mark.parametrize("style", ["vit", "t5"])
@pytest.mark.parametrize("asked", [slice(0, 1), slice(-2, None)])
def test_tokens_that_are_asked_for_come_out_as_they_are_among_all(style, asked):
    model, x = made(style, drop_path=0.5), tokens()
    mask = torch.tensor([[True, True, True, False, True]]).expand(3, 5)
    for rng in (None, draws(3)):
        torch.testing.assert_close(model(x, mask, rng=rng, asked=asked), model(x, mask, rng=rng)[:, asked])
    plain = model(x, asked=asked)
    torch.testing.assert_close(plain, model(x)[:, asked])
    whole, part = (count_flops(lambda a=a: model(x, asked=a)) for a in (None, asked))
    assert part < 0.9 * whole


@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"drop_path": 0.6}])
def test_draws_depend_on_the_place_in_the_batch_only(options):
    model, x, rng = made(**options), tokens(6), draws(6)
    whole = model(x, rng=rng)
    assert not torch.allclose(whole, model(x))
    torch.testing.assert_close(model(x[2:5], rng=rng.narrow(2, 5)), whole[2:5])
    folded = model(x, rng=draws(3))  # two sentences a clip
    torch.testing.assert_close(model(x[2:], rng=draws(3).narrow(1, 3)), folded[2:])


def test_drop_path_leaves_out_whole_branches_and_scales_the_rest():
    torch.manual_seed(0)
    model, rows = Transformer(SMALL, drop_path=0.5).double(), 400
    x = tokens(1).expand(rows, -1, -1)
    assert [block.drop_path for block in model.blocks] == [0.0, 0.5]
    block = model.blocks[1]
    z = block.attention(block.norm1(x))
    branch = block._branch(z, draws(rows), "b")
    kept = branch.flatten(1).abs().amax(dim=1) > 0
    assert 0.4 < kept.double().mean() < 0.6
    torch.testing.assert_close(branch[kept], 2 * z[kept])


def test_sizes_and_starting_weights():
    with pytest.raises(SeehearError, match="multiple of the heads"):
        Size(layers=1, width=10, hidden=8, heads=4)
    torch.manual_seed(0)
    into = glorot(torch.nn.Linear(64, 192), parts=3).weight
    limit = (6 / 128) ** 0.5  # of each of the three by itself
    assert all(0.98 * limit < part.abs().max() <= limit for part in into.chunk(3))
