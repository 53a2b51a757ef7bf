"""Parts of MCN's branches against the sheet's worked unit and against loops."""

import pytest
import torch

from seehear.methods.mcn import Branch, FeatureDecoder, GatedUnit, MaxWords, UnitBlocks
from tests.reference import mcn as slow


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_the_worked_unit():
    w1, b1 = [[0.5, -0.5], [1, 0], [0, 0.25]], [0.1, 0, -0.2]
    w2, b2 = [[1, 0, 0], [0, -1, 0], [0.5, 0.5, 0.5]], [0, 0.1, 0]
    y, gate, out = slow.gated_unit([1, -2], w1, b1, w2, b2)
    assert y == pytest.approx([1.6, 1, -0.7])
    assert gate == pytest.approx([1.6, -0.9, 0.95])
    assert out == pytest.approx([1.331229, 0.289050, -0.504781], abs=5e-7)
    unit = GatedUnit(2, 3).double()
    unit.load_state_dict(
        {"linear.weight": double(w1), "linear.bias": double(b1), "gate.weight": double(w2), "gate.bias": double(b2)}
    )
    assert unit(double([[1, -2]]))[0].tolist() == pytest.approx(out)


def test_words_are_pooled_without_their_padding():
    torch.manual_seed(0)
    pool, words = MaxWords(3, 5).double(), torch.randn(4, 6, 3, dtype=torch.float64)
    with torch.no_grad():
        pool.linear.bias.fill_(2.0)  # so that a padded slot would often win
    words[1, 2:], words[2, :] = 0, 0
    weight, bias = pool.linear.weight.tolist(), pool.linear.bias.tolist()
    found = pool(words.requires_grad_())
    for row, expected in zip(found, words.tolist(), strict=True):
        assert row.tolist() == pytest.approx(slow.max_words(expected, weight, bias))
    torch.testing.assert_close(found[1], pool(words[1:2, :2])[0])
    assert found[2].abs().sum() == 0
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in pool.parameters())
    assert words.grad.isfinite().all()


def test_encoders_side_by_side_each_of_unit_length():
    x = torch.rand(3, 7)
    y = UnitBlocks((4, 3))(x)
    torch.testing.assert_close(y.norm(dim=1), torch.full((3,), 2**0.5))
    torch.testing.assert_close(y[:, 4:], x[:, 4:] / x[:, 4:].norm(dim=1, keepdim=True))
    assert UnitBlocks((4, 3))(torch.zeros(1, 7)).isfinite().all()


def test_a_decoder_ends_in_a_relu_only_for_what_is_never_negative():
    torch.manual_seed(0)
    x = torch.randn(200, 4)
    assert FeatureDecoder(4, 8, 5, nonnegative=True)(x).min() == 0
    assert FeatureDecoder(4, 8, 5, nonnegative=False)(x).min() < 0


def test_the_worked_reconstruction():
    predicted, target = [[0.5, 0, 1], [0.2, 0.4, 0]], [[0.4, 0.1, 0.7], [0, 0.5, 0.3]]
    each = [slow.squared_error(p, t) for p, t in zip(predicted, target, strict=True)]
    assert each == pytest.approx([0.036667, 0.046667], abs=5e-7)
    assert 50 * sum(each) / 2 == pytest.approx(2.083333, abs=5e-7)
    branch = Branch(torch.nn.Identity(), 3, {"joint": 3}, narrow=False, hidden=3, nonnegative=True).double()
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    branch.decoders["joint"].load_state_dict({"0.weight": eye, "0.bias": zero, "2.weight": eye, "2.bias": zero})
    found = branch.errors({"joint": double(predicted)}, double(target))
    assert found[0].tolist() == pytest.approx(each)


def test_a_branch_leads_into_every_space_and_back():
    branch = Branch(torch.nn.Identity(), 6, {"a": 4, "b": 3}, narrow=True, hidden=5, nonnegative=False)
    f = torch.randn(2, 6)
    z = branch(f)
    assert {name: tuple(x.shape) for name, x in z.items()} == {"a": (2, 4), "b": (2, 3)}
    assert [tuple(e.shape) for e in branch.errors(z, f)] == [(2,), (2,)]
    assert branch.heads["a"][0].gate.weight.shape == (6, 6)
    assert Branch(torch.nn.Identity(), 6, {"a": 4}, narrow=False, hidden=0, nonnegative=False).errors(z, f) == []
