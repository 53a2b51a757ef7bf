"""Training clips of MCN as its official code makes them, with loops; words alone are in the order of time here."""

import numpy as np


def context(start, end, clip, least):
    """Numbers of the clips of one recording (in order) that `clip` is extended to."""
    if end[clip] <= start[clip]:
        return [clip]
    low = high = clip

    def span(low, high):
        return max(end[low : high + 1]) - start[low]

    while span(low, high) < least:
        ways = []
        if low > 0:
            ways.append((span(low - 1, high), "a", low - 1, high))  # "a" before "b": ties go to the earlier one
        if high < len(start) - 1:
            ways.append((span(low, high + 1), "b", low, high + 1))
        if not ways:
            break
        _, _, low, high = min(ways)
    return list(range(low, high + 1))


def pooled(vectors, how):
    """Of a list of vectors, one at least."""
    return np.max(vectors, axis=0) if how == "max" else np.mean(vectors, axis=0)


def words(texts, room):
    """(L, D) arrays, each with zeros behind its words."""
    found = np.zeros_like(texts[0])[:0]
    for text in texts:
        found = np.concatenate([found, text[np.any(text != 0, axis=1)]])
    out = np.zeros((room, texts[0].shape[1]))
    out[: min(room, len(found))] = found[:room]
    return out


def frames(sounds, starts, ends, room, padding=-120.0):
    """(F, S) arrays, padded; what was heard before is not heard again."""
    heard, found = -np.inf, []
    for sound, start, end in zip(sounds, starts, ends, strict=True):
        own = [sound[:, s] for s in range(sound.shape[1]) if np.any(sound[:, s] != padding)]
        found += own[max(0, int(np.round((heard - start) * 100))) if heard > start else 0 :]
        heard = max(heard, end)
    out = np.full((sounds[0].shape[0], room), padding)
    for s, frame in enumerate(found[:room]):
        out[:, s] = frame
    return out
