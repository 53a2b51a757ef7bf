import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from seehear.encoders.frozen import pool_time, pooled_width
from seehear.errors import SeehearError

X = torch.tensor([[0.0, 1.0], [2.0, 1.0], [4.0, 7.0], [6.0, 7.0]])


def test_by_hand():
    assert pool_time(X, "mean").tolist() == [3.0, 4.0]
    assert pool_time(X, "mean+std").tolist() == pytest.approx([3.0, 4.0, 5**0.5, 3.0])
    assert pool_time(X, "segments:2").tolist() == [1.0, 1.0, 5.0, 7.0]
    assert pool_time(X[:3], "segments:2").tolist() == [0.0, 1.0, 3.0, 4.0]  # steps 0 | 1, 2


def test_one_step_fills_every_segment_and_does_not_deviate():
    assert pool_time(X[:1], "segments:3").tolist() == [0.0, 1.0] * 3
    assert pool_time(X[:1], "mean+std").tolist() == [0.0, 1.0, 0.0, 0.0]


@given(steps=st.integers(1, 30), parts=st.integers(1, 12))
def test_segments_cover_time_in_order(steps, parts):
    x = torch.arange(steps, dtype=torch.float32)[:, None]
    pooled = pool_time(x, f"segments:{parts}")
    assert len(pooled) == pooled_width(f"segments:{parts}", 1) == parts
    assert (pooled.diff() >= 0).all()
    if steps % parts == 0:
        assert pooled.mean() == pytest.approx(float(x.mean()))


@pytest.mark.parametrize("how", ["max", "segments", "segments:0", "segments:100", "segments:x", ""])
def test_unknown_pooling(how):
    with pytest.raises(SeehearError, match="unknown pooling"):
        pooled_width(how, 4)
