import pytest
import torch

from seehear.encoders.frozen import padded_batches, run_parts


def test_parts_go_through_alone_on_a_cpu():
    seen = []

    def double(x):
        seen.append(len(x))
        return 2 * x

    parts = [torch.full((n, 2), float(n)) for n in (3, 1, 5)]
    results = list(run_parts(parts, double, at_once=4))
    assert [r.tolist() for r in results] == [(2 * p).tolist() for p in parts]
    assert seen == [3, 1, 4, 1]


def test_parts_share_batches_elsewhere():
    """The meta device stands for a GPU: shapes are all there is."""
    seen = []

    def widen(x):
        seen.append(len(x))
        return x.new_empty(len(x), 7)

    parts = [torch.empty(n, 2, device="meta") for n in (3, 1, 5)]
    results = list(run_parts(parts, widen, at_once=4))
    assert [tuple(r.shape) for r in results] == [(3, 7), (1, 7), (5, 7)]
    assert seen == [4, 4, 1]


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_padded_batches_keep_the_order_and_see_no_padding(at_once):
    generator = torch.Generator().manual_seed(0)
    lengths = [5, 1, 3, 3, 8]
    rows = [torch.randint(1, 9, (n,), generator=generator) for n in lengths]

    def total(tokens_BL, seen_BL):
        assert (tokens_BL[~seen_BL] == 99).all()
        return torch.stack([(tokens_BL * seen_BL).sum(1), seen_BL.sum(1)], dim=1)

    result = padded_batches(rows, total, device="cpu", at_once=at_once, pad=99)
    assert result.tolist() == [[int(row.sum()), len(row)] for row in rows]
