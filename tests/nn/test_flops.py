import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from seehear.nn.flops import count_flops
from seehear.nn.transformer import Size, Transformer


def block(n, d):
    """Multiply-adds of a Transformer block of n tokens."""
    return 12 * n * d**2 + 2 * n**2 * d


def test_a_product_is_two_operations_a_multiply_add():
    assert count_flops(lambda: torch.ones(3, 5) @ torch.ones(5, 7)) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("kernel", [SDPBackend.FLASH_ATTENTION, SDPBackend.MATH])
@pytest.mark.parametrize("keys", [11, 4])
def test_attention_counts_alike_with_every_kernel(kernel, keys):
    q, k, v = (torch.randn(3, 2, n, 8, requires_grad=True) for n in (11, keys, keys))
    forward = 2 * 2 * 3 * 2 * 11 * keys * 8
    with sdpa_kernel(kernel):
        assert count_flops(lambda: F.scaled_dot_product_attention(q, k, v)) == forward
        assert count_flops(lambda: F.scaled_dot_product_attention(q, k, v).sum().backward()) == 3 * forward


def test_a_masked_product_counts_in_full():
    q, k, v = (torch.randn(1, 2, 6, 8) for _ in range(3))
    mask = torch.ones(6, 6, dtype=torch.bool).tril()
    assert count_flops(lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask)) == 2 * 2 * 2 * 6 * 6 * 8


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_an_encoder_is_its_closed_formula(device):
    encoder = Transformer(Size(layers=3, width=32, hidden=128, heads=4)).to(device)
    x = torch.zeros(2, 10, 32, device=device, requires_grad=True)
    assert count_flops(lambda: encoder(x)) == 2 * 2 * 3 * block(10, 32)
    assert count_flops(lambda: encoder(x).sum().backward()) == 3 * 2 * 2 * 3 * block(10, 32)


def test_counting_leaves_the_result_and_earlier_counts_alone():
    kept = []
    first = count_flops(lambda: kept.append(torch.eye(2) @ torch.full((2, 2), 3.0)))
    assert torch.equal(kept[0], torch.full((2, 2), 3.0))
    assert count_flops(lambda: torch.eye(2) @ torch.eye(2)) == first


def test_what_runs_without_gradient_is_counted_too():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.rows = nn.Parameter(torch.zeros(3, 4))

        def forward(self):
            return self.rows.expand(2, 3, 4)

    table, to = Table(), torch.ones(4, 5)
    with torch.no_grad():
        assert count_flops(lambda: table() @ to) == 2 * 2 * 3 * 4 * 5
