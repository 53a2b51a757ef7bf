"""The spectrogram of Audio-MAE and MAViL: the sheet's check values, and loops."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode

from seehear.errors import SeehearError
from seehear.nn.mel import QUIETEST, KaldiMel, fitted
from tests.reference import mavil as slow

EMPTY = 3  # of 128 bands at 16 kHz, the one between two points of the transform
MEAN, STD = -4.2677393, 4.5689974


def sine(seconds=10.0, amplitude=0.5):
    n = torch.arange(int(seconds * 16_000), dtype=torch.float64)
    return (amplitude * torch.sin(2 * math.pi * 1000 * n / 16_000))[None]


@pytest.fixture(scope="module")
def mel():
    return KaldiMel().double()


def test_it_is_made_where_tensors_have_no_values():
    """Operations are counted there (`benchmarks/diffmavil_claim.py`)."""
    with FakeTensorMode():
        assert KaldiMel(bands=40).filters.shape[1] == 40


@pytest.mark.parametrize(("samples", "frames"), [(160_000, 998), (163_840, 1022), (80_000, 498), (16_000, 98)])
def test_frames(mel, samples, frames):
    assert mel.frames(samples) == frames
    assert mel(torch.zeros(1, samples, dtype=torch.float64)).shape == (1, frames, 128)


def test_a_sine_of_1_khz(mel):
    found = mel(sine())[0]
    assert found.shape == (998, 128)
    assert divmod(int(found.argmax()), 128)[1] == 43
    assert found.max().item() == pytest.approx(5.626636, abs=1e-5)
    quieter = mel(sine(amplitude=0.05))[0]
    assert quieter.max().item() == pytest.approx(1.021466, abs=1e-5)


def test_in_single_precision_it_is_nearly_the_same():
    found = KaldiMel()(sine().float())[0]
    assert found[:, 43].max().item() == pytest.approx(5.626636, abs=1e-4)


def test_one_band_holds_nothing(mel):
    sound = torch.randn(2, 16_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = mel(sound)
    assert found[..., EMPTY].min().item() == pytest.approx(-15.942385, abs=1e-6)
    assert found[..., EMPTY].max() == found[..., EMPTY].min()
    assert (torch.cat([found[..., :EMPTY], found[..., EMPTY + 1 :]], dim=2) > -15).all()
    assert (math.log(QUIETEST) - MEAN) / (2 * STD) == pytest.approx(-1.277594, abs=1e-6)


def test_padding_with_zero_is_louder_than_silence(mel):
    silence = mel(torch.zeros(1, 16_000, dtype=torch.float64))
    padded = (fitted(silence, 128, padding=0.0) - MEAN) / (2 * STD)
    assert padded.shape == (1, 128, 128)
    assert padded[:, :98].unique().item() == pytest.approx(-1.277594, abs=1e-6)
    assert padded[:, 98:].unique().item() == pytest.approx(0.467032, abs=1e-6)
    assert torch.equal(fitted(silence, 50, padding=0.0), silence[:, :50])


@pytest.mark.parametrize(("rate", "bands"), [(16_000, 128), (16_000, 80), (8_000, 40)])
def test_it_is_that_of_loops(rate, bands):
    g = torch.Generator().manual_seed(1)
    sound = torch.randn(2, rate // 8, generator=g, dtype=torch.float64).cumsum(1) / 10
    found = KaldiMel(rate=rate, bands=bands).double()(sound)
    for row, expected in zip(found, sound.numpy(), strict=True):
        np.testing.assert_allclose(row.numpy(), slow.filterbank(expected, rate, bands), atol=2e-6)


@settings(max_examples=20)
@given(offset=st.floats(-3, 3), gain=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_an_offset_is_nothing_and_a_gain_a_shift(offset, gain, seed):
    mel, g = KaldiMel().double(), torch.Generator().manual_seed(seed)
    sound = torch.randn(1, 1600, generator=g, dtype=torch.float64)
    before, after = mel(sound), mel(gain * sound + offset)
    loud = before > math.log(QUIETEST) + 8  # well above the floor
    torch.testing.assert_close(after[loud], before[loud] + 2 * math.log(gain), rtol=0, atol=1e-6)


def test_rows_do_not_see_each_other(mel):
    sound = torch.randn(3, 4000, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(mel(sound)[1:2], mel(sound[1:2]))


def test_a_sound_shorter_than_a_frame_is_refused(mel):
    with pytest.raises(SeehearError, match="399 samples is shorter than a frame of 400"):
        mel(torch.zeros(1, 399))
