"""From a spectrogram to sound and back to its spectrogram."""

import math

import torch

from seehear.downstream.reconstruct import sound_of
from seehear.nn.mel import KaldiMel

MEL = KaldiMel()


def tone(hertz, seconds=1.0, height=0.5):
    return height * torch.sin(2 * math.pi * hertz * torch.arange(int(16_000 * seconds)) / 16_000)


def test_a_tone_comes_back_as_loud_and_as_high():
    sound = tone(1000)
    level = MEL(sound[None])[0]
    back = sound_of(level, MEL)
    assert len(back) == 97 * 160 + 400
    again = MEL(back[None])[0]
    assert set(again.argmax(dim=1)[5:-5].tolist()) <= {43, 44}  # 1000 Hz lies between them
    assert float((again - level)[5:-5, 40:47].abs().mean()) < 0.2
    assert abs(float(back.std() / sound.std()) - 1) < 0.1


def test_the_spectrogram_of_what_comes_back_is_near():
    """Two tones that come one after the other, and noise; beside it phases as they were drawn."""
    generator = torch.Generator().manual_seed(0)
    sound = torch.cat([tone(400, 0.5), tone(2500, 0.5, 0.2)]) + 0.01 * torch.randn(16_000, generator=generator)
    level = MEL(sound[None])[0]

    def distance(rounds):
        return float((MEL(sound_of(level, MEL, rounds=rounds)[None])[0] - level).abs().mean())

    assert distance(60) < 0.25
    assert distance(60) < 0.7 * distance(0)


def test_the_same_seed_is_the_same_sound():
    level = MEL(tone(300)[None])[0]
    first, same, other = (sound_of(level, MEL, rounds=5, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.allclose(first, other)


def test_silence_stays_silent():
    back = sound_of(MEL(torch.zeros(1, 8000))[0], MEL, rounds=3)
    assert bool(back.isfinite().all())
    assert float(back.abs().max()) < 1e-3
