"""The sentences of a library by recording and time: which belong to a clip, and which stand around it.

A clip's texts come first: lines with times in the order of their distance from the window, captions of the whole clip
in an order that is drawn. Behind them stand the sentences of the same recording nearest in time. All of them are
positives for methods that learn from several (MIL-NCE), and rows of zeros mean that there are no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from seehear.data.records import Clip
from seehear.data.vocabulary import UNKNOWN, Vocabulary
from seehear.types import Int


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Those with a known word, in the order of (recording, time of their middle)."""

    tokens: np.ndarray
    """(R, L) int32."""
    middle: np.ndarray
    """(R,) float64, seconds."""
    first: np.ndarray
    """(V + 1,) int64: recording v has rows first[v] to first[v + 1]."""
    own: np.ndarray
    """(R,) int64: rows clip by clip."""
    own_first: np.ndarray
    """(N + 1,) int64: clip n has own[own_first[n]] to own[own_first[n + 1]]."""
    timed: np.ndarray
    """(N,) bool: the texts of the clip follow each other in time."""

    def has(self) -> np.ndarray:
        """(N,) bool."""
        return np.diff(self.own_first) > 0

    def around(
        self, clip: int, recording: int, middle: float, count: int, draws: np.random.Generator | None
    ) -> Int[np.ndarray, "k l"]:
        """int64: the clip's own, then its neighbours, as they lie around `middle`; nothing for a clip without text."""
        own = self.own[self.own_first[clip] : self.own_first[clip + 1]]
        found = np.zeros((count, self.tokens.shape[1]), np.int64)
        if not len(own):
            return found
        if self.timed[clip]:
            own = own[np.argsort(np.abs(self.middle[own] - middle), kind="stable")]
        elif draws is not None:
            own = draws.permutation(own)
        chosen = own[:count]
        if len(chosen) < count:
            chosen = np.concatenate([chosen, self._near(own, recording, middle, count - len(chosen))])
        found[: len(chosen)] = self.tokens[chosen]
        return found

    def _near(self, own: np.ndarray, recording: int, middle: float, count: int) -> np.ndarray:
        """Rows of a recording that are not the clip's own, the nearest first; of two as near the earlier."""
        low, high = self.first[recording : recording + 2]
        place, reach = low + np.searchsorted(self.middle[low:high], middle), count + len(own)
        rows = np.arange(max(low, place - reach), min(high, place + reach))
        rows = rows[~np.isin(rows, own)]
        return rows[np.argsort(np.abs(self.middle[rows] - middle), kind="stable")][:count]


def sentences_of(clips: Sequence[Clip], recordings: np.ndarray, vocabulary: Vocabulary, words: int) -> Sentences:
    """Of clips and the number of each one's recording. A text of the whole clip lies in its middle."""
    tokens, middle, clip = [], [], []
    timed = np.zeros(len(clips), bool)
    for n, c in enumerate(clips):
        timed[n] = bool(c.texts) and all(text.start is not None for text in c.texts)
        for text in c.texts:
            row = vocabulary.encode(text.text, words)
            if (row > UNKNOWN).any():
                start = c.start if text.start is None else text.start
                end = text.end if text.end is not None else c.end if text.start is None else start
                tokens.append(row)
                middle.append((start + end) / 2)
                clip.append(n)
    clip_R, middle_R = np.array(clip, np.int64), np.array(middle, np.float64)
    video_R = np.asarray(recordings, np.int64)[clip_R]
    order = np.lexsort((clip_R, middle_R, video_R))
    clip_R = clip_R[order]
    many = int(np.max(recordings, initial=-1)) + 1
    return Sentences(
        tokens=np.array(tokens, np.int32).reshape(len(clip_R), words)[order],
        middle=middle_R[order],
        first=np.searchsorted(video_R[order], np.arange(many + 1)),
        own=np.argsort(clip_R, kind="stable"),
        own_first=np.searchsorted(np.sort(clip_R), np.arange(len(clips) + 1)),
        timed=timed,
    )
