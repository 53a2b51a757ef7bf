"""Spectrograms as latents: how long they are, what pads them, and DAVEnet's lengths."""

import numpy as np
import pytest
import torch

from seehear.encoders import Sample, load_encoder
from seehear.errors import SeehearError
from seehear.nn.davemel import PADDING_DB, DaveMel, valid_frames
from seehear.nn.davenet import DaveNet
from tests.library.makers import sound

RATE = 16_000


def noise(seconds, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def levels(encoder, *sounds):
    return torch.from_numpy(encoder.encode(list(sounds))).view(len(sounds), *encoder.shape)


def test_length_and_padding():
    """Frame s begins at sample 160 s and lasts 400: 1 s has 98, 10 s have 998, and 1000 need 15 ms more."""
    encoder = load_encoder("melframes", device="cpu")
    assert (encoder.shape, encoder.width, encoder.modality) == ((40, 1000), 40_000, "audio")
    x = levels(encoder, noise(1), noise(10), noise(10.015), noise(12), noise(0.001), np.zeros(RATE, np.float32))
    assert valid_frames(x).tolist() == [98, 998, 1000, 1000, 1, 98]
    assert valid_frames(x.half()).tolist() == valid_frames(x).tolist()
    assert (x[0, :, 98:] == PADDING_DB).all()
    assert x[0, :, :98].min() >= -80
    assert x.amax(dim=(1, 2)).tolist() == [0.0] * 6
    assert (x[5, :, :98] == 0).all()  # silence: all as loud as its loudest


def test_it_is_davenet_s_spectrogram():
    encoder = load_encoder("melframes#seconds=2", device="cpu")
    waveform = noise(1.5)
    expected, frames = DaveMel()(torch.from_numpy(waveform)[None], torch.tensor([len(waveform)]))
    assert torch.equal(levels(encoder, waveform)[0, :, : int(frames)], expected[0])


@pytest.mark.parametrize(("seconds", "steps"), [(8, 50), (10, 63), (10.24, 64), (30.72, 192), (51.2, 320)])
def test_davenet_s_lengths(seconds, steps):
    """Section 11 of the reference: 800, 1000, 1024, 3072 and 5120 frames."""
    encoder = load_encoder(f"melframes#seconds={seconds}", device="cpu")
    net = DaveNet(channels=(2, 2, 2, 2))
    assert net.frames_left(torch.tensor(encoder.shape[1])).item() == steps
    assert net.maps(torch.zeros(1, *encoder.shape), None, learning=False).shape[2] == steps


def test_only_what_is_kept_is_decoded(tmp_path):
    path = str(sound(tmp_path / "a.wav", seconds=3.0, rate=RATE))
    encoder = load_encoder("melframes#seconds=1", device="cpu")
    assert len(encoder.prepare(Sample(path, 0.5, 3.0))) == 99 * 160 + 400
    assert len(encoder.prepare(Sample(path, 0.5, 1.0))) == RATE // 2
    a, b = levels(encoder, encoder.prepare(Sample(path, 0.0, 3.0)), encoder.prepare(Sample(path, 0.0, 1.015)))
    assert torch.equal(a, b)


def test_seconds_must_make_sense():
    for wrong in ("0", "-1", "inf", "nan", "1e9"):
        with pytest.raises(SeehearError, match=r"seconds must be from 0\.01 to 600"):
            load_encoder(f"melframes#seconds={wrong}")
