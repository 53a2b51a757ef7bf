"""Made-up clips with features, sound and words of one hidden vector, of different lengths, some without a modality."""

from __future__ import annotations

import torch

from seehear.types import Batch, Tensor

BANDS, FRAMES, WORDS, WIDTH = 5, 24, 4, 12


class Clips:
    """Video as latents, audio as padded spectrograms, text as padded word vectors. Every fifth clip lacks audio."""

    heavy = False
    together = 1

    def __init__(self, n: int = 40, seed: int = 0):
        g = torch.Generator().manual_seed(seed)
        hidden = torch.randn(n, WIDTH, generator=g)
        self.groups = torch.arange(n) // 2
        self.length = torch.randint(8, FRAMES + 1, (n,), generator=g)
        count = torch.randint(1, WORDS + 1, (n,), generator=g)
        band, word = torch.randn(WIDTH, BANDS, generator=g), torch.randn(WIDTH, WIDTH, generator=g)
        wave = torch.randn(BANDS, FRAMES, generator=g)
        shift = torch.randn(WORDS, WIDTH, generator=g) / 4
        self.video = hidden @ torch.randn(WIDTH, WIDTH, generator=g)
        self.mel = (hidden @ band)[:, :, None] + 0.5 * wave
        self.mel[torch.arange(FRAMES) >= self.length[:, None, None].expand(n, BANDS, 1)] = 7.0  # must not matter
        self.words = (hidden @ word)[:, None] + shift
        self.words[torch.arange(WORDS) >= count[:, None]] = 0.0

    def __len__(self) -> int:
        return len(self.groups)

    def batch(self, indices: Tensor, *, seed: int = 0, epoch: int = 0) -> Batch:
        everywhere = torch.ones(len(indices), dtype=torch.bool)
        return {
            "video": self.video[indices],
            "audio": self.mel[indices],
            "text": self.words[indices],
            "length_audio": self.length[indices],
            "has_video": everywhere,
            "has_audio": indices % 5 != 4,
            "has_text": everywhere.clone(),
            "group": self.groups[indices],
        }
