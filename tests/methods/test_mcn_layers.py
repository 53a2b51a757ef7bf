"""Parts of MCN's branches against the sheet's worked unit and against loops."""

import pytest
import torch

from seehear.methods.mcn_config import MCNConfig, plan
from seehear.methods.mcn_layers import Branch, GatedUnit, MaxWords, UnitBlocks
from tests.reference import mcn as slow


def double(rows):
    return torch.tensor(rows, dtype=torch.float64)


def branch(m, **options):
    torch.manual_seed(0)
    config = MCNConfig(normalise="none", **options)
    return Branch(config, m, plan(config))


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
    options = {"widths": {"video": 5, "text": 5}, "dim": 4, "hidden": 8, "nonnegative": ("video",)}
    never, sometimes = (branch(m, **options).decoders["joint"](torch.randn(200, 4)).min() for m in ("video", "text"))
    assert never == 0 > sometimes


def test_the_worked_reconstruction():
    predicted, target = [[0.5, 0, 1], [0.2, 0.4, 0]], [[0.4, 0.1, 0.7], [0, 0.5, 0.3]]
    each = [slow.squared_error(p, t) for p, t in zip(predicted, target, strict=True)]
    assert each == pytest.approx([0.036667, 0.046667], abs=5e-7)
    assert 50 * sum(each) / 2 == pytest.approx(2.083333, abs=5e-7)
    video = branch("video", widths={"video": 3, "text": 3}, dim=3, hidden=3, nonnegative=("video",)).double()
    eye, zero = torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    video.decoders["joint"].load_state_dict({"0.weight": eye, "0.bias": zero, "2.weight": eye, "2.bias": zero})
    found = video.errors({"joint": double(predicted)}, double(target))
    assert found[0].tolist() == pytest.approx(each)


def test_a_branch_leads_into_every_space_and_back():
    widths = {"video": 6, "audio": 8, "text": 6}
    options = {"widths": widths, "inputs": {"audio": "mel"}, "channels": (6,), "spaces": "disjoint", "dim": 4}
    audio, f = branch("audio", hidden=5, **options), torch.randn(2, 6)
    z = audio(f)
    assert {name: tuple(x.shape) for name, x in z.items()} == {"video-audio": (2, 4), "audio-text": (2, 4)}
    assert [tuple(e.shape) for e in audio.errors(z, f)] == [(2,), (2,)]
    assert audio.heads["video-audio"][0].gate.weight.shape == (6, 6)
    assert branch("audio", reconstruct_weight=0.0, **options).errors(z, f) == []
