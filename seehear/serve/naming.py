"""Names of groups of clips on the map: the user's labels, what is seen, words that are spoken or written there.

A name must tell a group from the rest: a label most of its clips have, a thing that the word tower sees in it and less
elsewhere, words whose log-odds against the other clips are sure (Monroe, Colaresi and Quinn 2008, with the library's
own words as the prior). Words of seven languages that are no names are left out (`assets/names/stopwords.txt`); of any
language those that a large share of all clips has.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np

from seehear.library.tables import Clip
from seehear.nn.unit import unit
from seehear.search.background import Calibration
from seehear.search.calibrate import PICTURES, WORDS, confidence, evidence, heights
from seehear.types import Float, Int

_PRIOR = 10.0  # words
_SURE = 2.0  # standard deviations of the log-odds
_SHARE, _EVERYWHERE = 0.1, 0.4  # of a group's clips with words that a name is in at least; of all clips, at most
_FEW = 10  # clips with words below which none is said to be everywhere
_LABEL = 0.5  # share of a group's clips that have its label
_HIGHER = 1.5  # spreads; on the films of `../shared/data/home` names of no group are higher by chance
_MOST = 2  # names of a kind
_WORD = re.compile(r"[^\W\d_][^\W\d_'’-]{2,23}")
_ARTICLE = re.compile(r"^an? ")
_WEAK = WORDS[-1][0]
_LOOKED_AT = 4000  # clips
SOUNDS = (
    "people talking", "a crowd cheering", "applause", "laughter", "a baby crying", "singing", "music", "a guitar",
    "a piano", "drums", "a violin", "a trumpet", "a dog barking", "a cat meowing", "birds singing", "a rooster",
    "a cow", "a horse", "sheep", "frogs", "insects", "rain", "thunder", "wind", "sea waves", "running water", "fire",
    "footsteps", "a door closing", "a bell ringing", "a telephone ringing", "an alarm", "a siren", "a car", "a train",
    "an aeroplane", "a helicopter", "an engine", "a chainsaw", "fireworks", "a gunshot", "breaking glass", "typing",
)  # fmt: skip
"""Names that sounds may have."""
_KINDS = {(True, True): "films with sound", (True, False): "pictures", (False, True): "sounds", (False, False): "texts"}


def group_names(
    clips: Sequence[Clip], groups_N: Int[np.ndarray, " n"], found: dict[int, list[str]] | None = None
) -> dict[int, str]:
    """Name of each group, all different. `found`: names of things seen or heard in a group, from `things_found`."""
    words = [_words(clip) for clip in clips]
    labels = [set(clip.labels) for clip in clips]
    names: dict[int, str] = {}
    for group in np.unique(groups_N).tolist():
        inside_N = groups_N == group
        label, things = _label(labels, inside_N), [_ARTICLE.sub("", name) for name in (found or {}).get(group, [])]
        spoken = _distinctive(words, inside_N)
        named = [label] if label else (_distinctive(labels, inside_N) or things)[:_MOST]
        parts = [", ".join(named)] if named else []
        if spoken and not label:
            parts.append(f"“{', '.join(spoken[:_MOST])}”")
        names[group] = " · ".join(parts) or _kind([clips[n] for n in np.flatnonzero(inside_N).tolist()])
    return _all_different(names)


def things_found(
    vectors_NE: Float[np.ndarray, "n e"],
    groups_N: Int[np.ndarray, " n"],
    names: Sequence[str],
    encode: Callable[[list[str]], Float[np.ndarray, "w e"]],
    calibration: Calibration,
    kind: str,
) -> dict[int, list[str]]:
    """Names by group, the clearest first. `encode`: words into the space of the vectors; `kind`: the calibrated kind of
    row that the vectors stand for. A name counts where it stands higher, in spreads of what background queries reach,
    in the group than elsewhere; in a single group where a quarter of the clips would be weak hits for it."""
    if len(vectors_NE) > _LOOKED_AT:
        drawn = np.sort(np.random.default_rng(0).choice(len(vectors_NE), _LOOKED_AT, replace=False))
        vectors_NE, groups_N = vectors_NE[drawn], groups_N[drawn]
    rows_NE = unit(vectors_NE)
    mean_E, scale = calibration.mean_E, calibration.scales[kind]
    heights_NW = np.stack([heights(rows_NE, word_E, mean_E, scale) for word_E in encode(list(names))], axis=1)
    found = {}
    for group in np.unique(groups_N).tolist():
        inside_N = groups_N == group
        if inside_N.all():
            clear_W = confidence(evidence(np.quantile(heights_NW, 0.75, axis=0), PICTURES)) - _WEAK
        else:
            clear_W = heights_NW[inside_N].mean(axis=0) - heights_NW[~inside_N].mean(axis=0) - _HIGHER
        found[group] = [names[w] for w in np.argsort(-clear_W, kind="stable").tolist() if clear_W[w] >= 0]
    return found


@cache
def things() -> list[str]:
    """Names that seen things may have."""
    return _asset("seen.txt").splitlines()


@cache
def _stopwords() -> frozenset[str]:
    return frozenset(_asset("stopwords.txt").split())


def _asset(name: str) -> str:
    return (files("seehear") / "assets" / "names" / name).read_text(encoding="utf-8")


def _words(clip: Clip) -> set[str]:
    """Words of a clip's texts that may be a name."""
    found = {word.rstrip("'’-") for text in clip.texts for word in _WORD.findall(text.text.lower().replace("’", "'"))}
    return {word for word in found if len(word) > 2 and word not in _stopwords()}


def _label(labels: Sequence[set[str]], inside_N: np.ndarray) -> str:
    """The label that most of a group has, where the rest has it less; '' where there is none."""
    here = Counter(label for own, inside in zip(labels, inside_N, strict=True) if inside for label in own)
    rest = Counter(label for own, inside in zip(labels, inside_N, strict=True) if not inside for label in own)
    inside, outside = int(inside_N.sum()), max(1, int((~inside_N).sum()))
    good = [n for n, count in here.items() if count >= _LABEL * inside and rest[n] / outside < 0.5 * count / inside]
    return min(good, key=lambda name: (-here[name], name), default="")


def _distinctive(words: Sequence[set[str]], inside_N: np.ndarray) -> list[str]:
    """Words that are significantly more frequent in a group than elsewhere, the most significant first."""
    here = Counter(w for own, inside in zip(words, inside_N, strict=True) if inside for w in own)
    everywhere = Counter(w for own in words for w in own)
    worded = sum(bool(own) for own in words)
    inside = sum(bool(own) for own, is_in in zip(words, inside_N, strict=True) if is_in)
    total, size = sum(everywhere.values()), sum(here.values())
    sure: dict[str, float] = {}
    for word, count in here.items():
        share = everywhere[word] / worded
        if count < max(2, _SHARE * inside) or (worded >= _FEW and share > _EVERYWHERE and inside < worded):
            continue
        prior, rest = _PRIOR * everywhere[word] / total, everywhere[word] - count
        # The prior of all other words is one larger: of a single word it would be nothing.
        odds = np.log((count + prior) / (size - count + _PRIOR + 1 - prior))
        odds -= np.log((rest + prior) / (total - size - rest + _PRIOR + 1 - prior))
        deviations = odds / np.sqrt(1 / (count + prior) + 1 / (rest + prior))
        if deviations >= _SURE or inside == worded:  # a single group with words has nothing to differ from
            sure[word] = float(deviations) if inside < worded else float(count)
    return sorted(sure, key=lambda word: (-sure[word], word))


def _kind(clips: Sequence[Clip]) -> str:
    """Fallback name: the kind of most clips of a group."""
    return Counter(_KINDS[clip.has_video, clip.has_audio] for clip in clips).most_common(1)[0][0]


def _all_different(names: dict[int, str]) -> dict[int, str]:
    """The names, with equal ones numbered."""
    often, seen, found = Counter(names.values()), Counter[str](), {}
    for group, name in names.items():
        seen[name] += 1
        found[group] = name if often[name] == 1 else f"{name} ({seen[name]})"
    return found
