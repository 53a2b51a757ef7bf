"""Blocks that read a memory: against loops, who sees whom, and how many numbers they have."""

import math

import numpy as np
import torch

from seehear.nn.masked import CrossAttention, CrossBlock, CrossTransformer
from seehear.nn.transformer import Size

SMALL = Size(layers=2, width=8, hidden=16, heads=2)


def made(talk=False):
    torch.manual_seed(0)
    return CrossTransformer(SMALL, talk=talk).double()


def numbers(rows, tokens, seed):
    return torch.randn(rows, tokens, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_attention_is_that_of_loops():
    torch.manual_seed(0)
    layer, q, m = CrossAttention(8, 2).double(), numbers(1, 3, 1), numbers(1, 5, 2)
    asked = layer.ask(q)[0].detach().numpy()
    keys, values = (x.detach().numpy() for x in layer.read(m)[0].split(8, dim=1))
    mixed = np.zeros((3, 8))
    for head in (slice(0, 4), slice(4, 8)):
        for i in range(3):
            logits = [float(asked[i, head] @ keys[j, head]) / math.sqrt(4) for j in range(5)]
            weights = np.exp(logits) / np.exp(logits).sum()
            mixed[i, head] = sum(w * values[j, head] for j, w in enumerate(weights))
    torch.testing.assert_close(layer(q, m)[0], layer.out(torch.from_numpy(mixed)))


def test_queries_see_the_memory_and_each_other_only_where_they_talk():
    q, m = numbers(2, 4, 1), numbers(2, 5, 2)
    other = q.clone()
    other[:, 1, 0] += 1.0
    for talk in (False, True):
        model = made(talk)
        before, after = model(q, m), model(other, m)
        rest = [0, 2, 3]
        assert torch.equal(before[:, rest], after[:, rest]) != talk
        assert not torch.allclose(before[:, 1], after[:, 1])
        changed = m.clone()
        changed[0, 2, 0] += 1.0
        again = model(q, changed)
        assert not torch.allclose(before[0], again[0])
        assert torch.equal(before[1], again[1])


def test_parameters_of_the_sheet():
    size = Size(layers=8, width=512, hidden=2048, heads=16)
    with torch.device("meta"):
        assert sum(p.numel() for p in CrossBlock(size, talk=False).parameters()) == 3_153_408
        blocks = CrossTransformer(size).blocks
    assert sum(p.numel() for p in blocks.parameters()) == 25_227_264
