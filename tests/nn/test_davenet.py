"""DAVEnet: lengths and sizes of the sheet, loops, padding that has no influence, norms; and its spectrogram."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seehear.methods.mcn_layers import Sound
from seehear.nn.davenet import DaveMel, DaveNet, GroupNorm, ValidBatchNorm
from seehear.nn.mel import mel_filters
from tests.reference import mcn as slow

NORMS = pytest.mark.parametrize("norm", ["group", "batch"])


def small(norm="group", channels=(16, 32), bands=6):
    torch.manual_seed(0)
    return DaveNet(bands, channels=channels, norm=norm).double()


def mel(rows=3, bands=6, frames=50, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(rows, bands, frames, generator=g, dtype=torch.float64)


def moved(net):
    """Norms that do something: none of their parameters and statistics as it starts."""
    g = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, x in [*net.named_parameters(), *net.named_buffers()]:
            if x.dim() == 1:
                x.copy_(0.5 + torch.rand(x.shape, generator=g) if "bias" not in name else torch.rand(1, generator=g))
    return net


@pytest.mark.parametrize(("frames", "left"), [(800, 50), (1000, 63), (1024, 64), (3072, 192), (5120, 320), (1, 1)])
def test_lengths(frames, left):
    net = DaveNet(2, channels=(2, 2, 2, 2))
    assert net.frames_left(torch.tensor(frames)).item() == left
    assert net.maps(torch.randn(1, 2, frames), None, learning=False).shape == (1, 2, left)


@NORMS
def test_size(norm):
    """The sheet's 44,670,978 counts two parameters of a norm that is never applied."""
    with torch.device("meta"):
        assert sum(p.numel() for p in DaveNet(norm=norm).parameters()) == 44_670_978 - 2


def test_initial_weights():
    net = DaveNet()
    for conv, expected in ((net.first, (2 / 128) ** 0.5), (net.blocks[7].conv2, (2 / (9 * 1024)) ** 0.5)):
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.05)
        assert conv.bias is None


def test_against_loops():
    net, x = moved(small()), mel(rows=1, frames=11)

    def norm(y, module):
        return slow.group_norm(y, module.weight.detach().numpy(), module.bias.detach().numpy(), module.groups)

    def conv(y, module):
        return slow.convolve(y, module.weight.detach().numpy(), module.stride[0])

    y = np.maximum(norm(conv(x[0].numpy(), net.first), net.norm), 0)
    for block in net.blocks:
        z = norm(conv(np.maximum(norm(conv(y, block.conv1), block.norm1), 0), block.conv2), block.norm2)
        y = norm(conv(y, block.shortcut), block.shortcut_norm) if block.stride == 2 else y
        y = np.maximum(y + z, 0)
    np.testing.assert_allclose(net(x)[0].detach().numpy(), y.mean(axis=1), rtol=1e-10)


@NORMS
def test_a_clip_is_the_same_however_it_is_padded(norm):
    net, x, length = moved(small(norm)), mel(), torch.tensor([50, 31, 1])
    for filler in (0.0, 1e4):
        for row, n in enumerate(length):
            x[row, :, n:] = filler
        found = net(x, length)
        for row, n in enumerate(length):
            torch.testing.assert_close(found[row], net(x[row : row + 1, :, :n])[0])
    longer = F.pad(x, (0, 30), value=7.0)
    torch.testing.assert_close(net(longer, length), found)


@NORMS
@pytest.mark.parametrize("learning", [True, False])
def test_nothing_at_all_is_finite(norm, learning):
    net = moved(small(norm))
    before = [x.clone() for x in net.buffers()]
    found = net(mel(), torch.zeros(3, dtype=torch.int64), learning=learning)
    found.sum().backward()
    assert found.abs().sum() == 0
    assert all(p.grad.isfinite().all() for p in net.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, net.buffers(), strict=True))


def test_group_norm_is_torchs_where_nothing_is_padded():
    norm, x = moved(GroupNorm(32).double()), mel(bands=32)
    everything = torch.ones(3, 1, 50, dtype=torch.bool)
    torch.testing.assert_close(norm(x, everything, True), norm(x, None, True))
    torch.testing.assert_close(norm(x, None, True), F.group_norm(x, 2, norm.weight, norm.bias))


def test_batch_norm_is_torchs_where_nothing_is_padded():
    ours, theirs, x = ValidBatchNorm(5).double(), torch.nn.BatchNorm1d(5).double(), mel(bands=5)
    for _ in range(3):
        torch.testing.assert_close(ours(x, None, True), theirs(x))
        x = x * 2 + 1
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    torch.testing.assert_close(ours(x, None, False), theirs.eval()(x))


def test_rows_see_each_other_in_batch_norm_alone():
    """What the documentation says of micro-batches: with batch norm they change the result, with group norm not."""
    for norm, same in (("group", True), ("batch", False)):
        net, x = moved(small(norm)), mel()
        whole = net(x, None, learning=True)
        parts = torch.cat([net(x[:2], None, learning=True), net(x[2:], None, learning=True)])
        assert torch.allclose(whole, parts, rtol=1e-9) is same
        torch.testing.assert_close(net(x)[:1], net(x[:1]))  # in use no row sees another


def test_running_statistics_move_only_with_a_gradient():
    net, x = small("batch"), mel()
    before = [s.clone() for s in net.running_statistics()]
    assert len(before) == 2 * 11
    net(x)
    with torch.no_grad():
        net(x, learning=True)
    assert all(torch.equal(a, b) for a, b in zip(before, net.running_statistics(), strict=True))
    net(x, learning=True)
    assert not any(torch.equal(a, b) for a, b in zip(before, net.running_statistics(), strict=True))
    assert list(small("group").running_statistics()) == []


def test_absent_rows_are_in_no_statistic():
    x, has = mel(), torch.tensor([True, False, True])
    sound = Sound(small("batch"), None)
    found = sound(x, None, has, learning=True)
    x[1] = 1e6
    torch.testing.assert_close(sound(x, None, has, learning=True)[has], found[has])
    torch.testing.assert_close(found[has], sound.network(x[has], None, learning=True))


# -- the spectrogram --------------------------------------------------------------------------------------------------


def waves(rows=2, samples=4000):
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_filters_are_slaneys():
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(201, 40, 20.0, 8000.0, 16000, norm="slaney", mel_scale="slaney")
    filters = mel_filters(16_000, 400, 40, low=20.0, high=8_000.0, scale="slaney")
    np.testing.assert_allclose(filters.numpy(), theirs.T, atol=1e-8)


def test_spectrogram_against_direct_sums():
    front, x = DaveMel().double(), waves()
    length = torch.tensor([4000, 2345])
    found, frames = front(x, length)
    for row, n in enumerate(length):
        expected = slow.log_mel(x[row, :n].numpy(), front.filters.numpy())
        assert frames[row] == expected.shape[1]
        np.testing.assert_allclose(found[row, :, : frames[row]].numpy(), expected, atol=1e-4)  # its window is fp32


def test_ten_seconds_are_998_frames():
    assert DaveMel().frames(torch.tensor([160_000, 16_000, 400, 100, 0])).tolist() == [998, 98, 1, 1, 1]
    assert DaveMel()(torch.zeros(1, 160_000), torch.tensor([160_000]))[0].shape == (1, 40, 998)


def test_short_silent_and_half_precision_sounds_are_finite():
    front = DaveMel()
    for x in (torch.zeros(1, 5000), torch.ones(1, 3), torch.randn(1, 500).half()):
        found, frames = front(x, torch.tensor([x.shape[1]]))
        assert found.isfinite().all()
        assert 1 <= frames <= found.shape[2]
        assert -80 <= found.min() <= found.max() <= 0


def test_waveforms_of_any_padding_give_one_vector():
    sound = Sound(small(bands=40), DaveMel().double())
    x, length = waves(), torch.tensor([4000, 1000])
    found = sound(x, length, None, learning=False)
    torch.testing.assert_close(found[1], sound(x[1:, :1000], None, None, learning=False)[0])
    louder = sound(3 * x, length, None, learning=False)
    torch.testing.assert_close(louder, found)
