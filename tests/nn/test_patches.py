"""What `cut` takes apart, `joined` puts together."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.nn.transformer import cut, grid, joined


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3), st.integers(1, 3))
def test_there_and_back(axes, channels):
    counts, patch = zip(*axes, strict=True)
    shape = tuple(n * p for n, p in axes)
    x = torch.arange(2 * torch.Size(shape).numel() * channels).view(2, *shape, channels)
    assert grid(shape, patch) == counts
    assert torch.equal(joined(cut(x, patch), counts, patch), x)
