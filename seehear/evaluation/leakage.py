"""What a test split shares with training: clips that are the same, or nearly, make numbers too good.

Exact: one file or recording on both sides, or the same words. Near: vectors of a frozen encoder whose cosine is
unlikely of different things, fingerprints of picture and sound (`fingerprints.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from seehear.nn.unit import unit
from seehear.progress import counted
from seehear.types import Float

NEAR = 0.95
"""Cosine of frozen latents from which two items count as near-duplicates."""
_BLOCK = 1 << 24  # scores held at once


@dataclass(frozen=True)
class Leak:
    kind: str
    """file, recording, text, near video, near audio, near text, same picture or same sound."""
    test: str
    """Clip id."""
    train: str
    """Clip id, or the group for 'recording'."""
    score: float = 1.0
    """Cosine, or the share of bits that agree."""


@dataclass(frozen=True)
class LeakageReport:
    split: str
    clips: int
    """In the test split."""
    leaks: tuple[Leak, ...]

    def affected(self, kind: str | None = None) -> set[str]:
        """Test clips with a leak."""
        return {leak.test for leak in self.leaks if kind in (None, leak.kind)}

    def plain(self) -> dict[str, Any]:
        counts = {kind: len(self.affected(kind)) for kind in dict.fromkeys(leak.kind for leak in self.leaks)}
        leaks = [asdict(leak) for leak in self.leaks]
        return {"split": self.split, "clips": self.clips, "affected": counts, "leaks": leaks}

    def __str__(self) -> str:
        if not self.leaks:
            return f"{self.split}: none of {self.clips:,} clips was found among the training clips"
        lines = [f"{self.split}: {len(self.affected()):,} of {self.clips:,} clips were found among the training clips"]
        for kind in dict.fromkeys(leak.kind for leak in self.leaks):
            own = [leak for leak in self.leaks if leak.kind == kind]
            shown = ", ".join(f"{leak.test} ~ {leak.train}" for leak in own[:3])
            lines.append(
                f"  {kind}: {counted(len(self.affected(kind)), 'clip')} ({shown}{', ...' if len(own) > 3 else ''})"
            )
        return "\n".join(lines)


def equal_values(kind: str, test: dict[str, Sequence[str]], train: dict[str, Sequence[str]]) -> list[Leak]:
    """Clips that share a value (a file's fingerprint, a text): {clip: its values}. One training clip is named for each
    test clip."""
    owner: dict[str, str] = {}
    for clip, values in train.items():
        for value in values:
            owner.setdefault(value, clip)
    found = []
    for clip, values in test.items():
        shared = next((owner[value] for value in values if value in owner), None)
        if shared is not None:
            found.append(Leak(kind, clip, shared))
    return found


def near_duplicates(
    kind: str,
    test_NE: Float[np.ndarray, "n e"],
    train_ME: Float[np.ndarray, "m e"],
    *,
    test: Sequence[str],
    train: Sequence[str],
    threshold: float = NEAR,
) -> list[Leak]:
    """The nearest training row of each test row, where the cosine reaches the threshold; the best row of each clip.

    Latents are centred on the training mean first: encoders whose vectors all point one way would call everything near.
    """
    if not len(test_NE) or not len(train_ME):
        return []
    mean = np.asarray(train_ME, np.float32).mean(axis=0)
    test_NE, train_ME = unit(np.asarray(test_NE, np.float32) - mean), unit(np.asarray(train_ME, np.float32) - mean)
    best: dict[str, Leak] = {}
    block = max(1, _BLOCK // len(train_ME))
    for at in range(0, len(test_NE), block):
        scores = test_NE[at : at + block] @ train_ME.T
        nearest = scores.argmax(axis=1)
        for i in np.flatnonzero(scores.max(axis=1) >= threshold):
            leak = Leak(kind, test[at + int(i)], train[int(nearest[i])], float(scores[i, nearest[i]]))
            if leak.test not in best or leak.score > best[leak.test].score:
                best[leak.test] = leak
    return list(best.values())
