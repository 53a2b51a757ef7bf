"""Made-up raw clips: frames, waveforms and word numbers; some without sound, without words, or with one sentence."""

from __future__ import annotations

import torch

from seehear.types import Batch, Tensor

FRAMES, SAMPLES, SENTENCES, WORDS, VOCABULARY = (4, 8, 8), 64, 2, 4, 20


class RawClips:
    heavy = False
    together = 1

    def __init__(self, n: int = 40, seed: int = 0):
        g = torch.Generator().manual_seed(seed)
        self.groups = torch.arange(n) // 2
        colour, shade = torch.rand(n, 1, 1, 1, 3, generator=g), torch.rand(n, *FRAMES, 3, generator=g)
        self.video = (215 * colour + 40 * shade).to(torch.uint8)
        tone = torch.rand(n, SAMPLES // 8, generator=g).repeat(1, 8)
        self.audio = tone + torch.rand(n, SAMPLES, generator=g) / 4 - 0.625
        word = torch.randint(1, VOCABULARY, (n, WORDS), generator=g)
        self.text = word[:, None].repeat(
            1, SENTENCES, 1
        )  # one alone of several matches satisfies MIL-NCE: they are alike
        self.text[:, 1:, -1] = 0  # a word less
        self.text[1::4, 1] = 0  # a sentence less

    def __len__(self) -> int:
        return len(self.groups)

    def batch(self, indices: Tensor, *, seed: int = 0, epoch: int = 0) -> Batch:
        return {
            "video": self.video[indices],
            "audio": self.audio[indices],
            "text": self.text[indices],
            "has_video": torch.ones(len(indices), dtype=torch.bool),
            "has_audio": indices % 5 != 4,
            "has_text": indices % 11 != 10,
            "group": self.groups[indices],
        }
