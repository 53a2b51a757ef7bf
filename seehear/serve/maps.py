"""The map: every clip at the mean of its vectors in two dimensions, with clusters that have names.

A name distinguishes a cluster from the rest: a label of most of its clips, a thing that the text encoder finds in it
and less elsewhere, or words with significant log-odds against the other clips (Monroe, Colaresi and Quinn 2008, with
the library's own words as the prior). Stop words of seven languages (`assets/names/stopwords.txt`) and words that a
large share of all clips has are left out.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from seehear.errors import require
from seehear.library.tables import Clip, LibraryTables, in_batches, one_of
from seehear.nn.unit import unit
from seehear.search.background import Calibration
from seehear.search.calibrate import PICTURES, WORDS, confidence, evidence, heights
from seehear.types import Float, Int

MOST = {"pca": 20_000, "tsne": 4_000}
"""Largest number of clips to draw; of more, a sample is chosen by a hash of their ids."""
_GROUPS = 11  # colours
_REDUCED = 50  # dimensions for clustering and t-SNE
_ALIKE = 1e-5  # rounding error between unit vectors in half precision
_OTHER, _NONE = "others", "none"

_PRIOR = 10.0  # words
_SURE = 2.0  # standard deviations of the log-odds
_SHARE, _EVERYWHERE = 0.1, 0.4  # least share of a cluster's clips with a word; largest share of all clips
_FEW = 10  # clips with words below which no word counts as being everywhere
_LABEL = 0.5  # share of a cluster's clips that have its label
# Spreads; on the films of `../shared/data/home` no random group scores higher.
_HIGHER = 1.5
_MOST_NAMES = 2
_WORD = re.compile(r"[^\W\d_][^\W\d_'’-]{2,23}")
_ARTICLE = re.compile(r"^an? ")
_WEAK = WORDS[-1][0]
_SAMPLED = 4000  # clips to compare with names
SOUNDS = (
    "people talking", "a crowd cheering", "applause", "laughter", "a baby crying", "singing", "music", "a guitar",
    "a piano", "drums", "a violin", "a trumpet", "a dog barking", "a cat meowing", "birds singing", "a rooster",
    "a cow", "a horse", "sheep", "frogs", "insects", "rain", "thunder", "wind", "sea waves", "running water", "fire",
    "footsteps", "a door closing", "a bell ringing", "a telephone ringing", "an alarm", "a siren", "a car", "a train",
    "an aeroplane", "a helicopter", "an engine", "a chainsaw", "fireworks", "a gunshot", "breaking glass", "typing",
)  # fmt: skip
"""Names of sounds."""
_KINDS = {(True, True): "films with sound", (True, False): "pictures", (False, True): "sounds", (False, False): "texts"}
_SENSES = {(True, True): "seen and heard", (True, False): "seen", (False, True): "heard", (False, False): "said"}


# -- coordinates -------------------------------------------------------------------------------------------------------


def clip_vectors(
    library: LibraryTables, name: str, most: int, where: str | None = None
) -> tuple[list[str], np.ndarray]:
    """(ids, (N, E) mean unit vector of each clip) of the index rows that an SQL condition keeps."""
    table = library.vectors("vectors", name)
    every = max(1, math.ceil(library.count_clips() / most))
    sums: dict[str, np.ndarray] = {}
    for part in table.scan(where):
        for clip, vector_E in zip(part.ids, unit(part.vectors), strict=True):
            if not np.isfinite(vector_E).all():
                continue
            # CRC32 and not hash(): the sample must be the same in every process.
            if every == 1 or zlib.crc32(clip.encode()) % every == 0:
                sums[clip] = sums[clip] + vector_E if clip in sums else vector_E
    # By id and not in the order of the table: k-means and t-SNE depend on the order of their rows.
    ids = sorted(sums)
    return ids, unit(np.stack([sums[i] for i in ids])) if ids else np.zeros((0, table.width), np.float32)


def project(vectors_NE: np.ndarray, how: str) -> tuple[np.ndarray, np.ndarray]:
    """((N, 2) coordinates in [0, 1], (N,) cluster). `how`: pca or tsne."""
    centred = vectors_NE - vectors_NE.mean(axis=0)
    # All clips alike: t-SNE and k-means would fit rounding errors.
    if np.abs(centred).max() < _ALIKE:
        return np.full((len(vectors_NE), 2), 0.5), np.zeros(len(vectors_NE), np.int64)
    # The matrix is E x E, however many clips there are. `eigh` sorts ascending, so the columns are reversed.
    directions_EE = np.linalg.eigh(centred.T @ centred)[1][:, ::-1]
    reduced = centred @ directions_EE[:, :_REDUCED]
    num = len(reduced)
    # At most as many as there are colours, with that of 'others'.
    clusters = int(np.clip(round(math.sqrt(num / 20)), 1, 12))
    kmeans = require("sklearn.cluster").KMeans(clusters, n_init=4, random_state=0)
    xy = reduced[:, :2]
    if how == "tsne" and num > 8:
        # scikit-learn refuses a perplexity that is not below the number of rows.
        perplexity = min(30.0, (num - 1) / 3)
        xy = require("sklearn.manifold").TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(reduced)
    low, high = xy.min(axis=0), xy.max(axis=0)
    # Points on one line have no extent in the other direction.
    return (xy - low) / np.maximum(high - low, 1e-9), kmeans.fit_predict(reduced)


def clips_in_order(library: LibraryTables, ids: Sequence[str]) -> list[Clip | None]:
    """The clip of each id; None if it no longer exists."""
    clips: dict[str, Clip] = {}
    for some in in_batches(ids, 1000):
        clips |= {c.id: c for c in library.clips(one_of("id", some))}
    return [clips.get(i) for i in ids]


def draw(
    ids: Sequence[str],
    clips: Sequence[Clip | None],
    xy_N2: np.ndarray,
    cluster_N: np.ndarray,
    seen: dict[int, list[str]] | None = None,
) -> dict[str, Any]:
    """Fields of `MapView`: coordinates, and for each colouring the names of its groups and the group of each clip.
    `seen`: names of things seen or heard in each cluster."""
    here = [n for n, clip in enumerate(clips) if clip is not None]
    own = [clip for clip in clips if clip is not None]
    xy_N2, clusters = xy_N2[here], cluster_N[here]
    names = group_names(own, clusters, seen)
    colours = {
        "label": [clip.labels[0] if clip.labels else _NONE for clip in own],
        "cluster": [names[c] for c in clusters],
        "source": _folders([clip.source for clip in own]),
        "kind": [_SENSES[clip.has_video, clip.has_audio] for clip in own],
        "split": [clip.split for clip in own],
    }
    note = ""
    if not len(xy_N2):
        note = "No clip is indexed yet, so there is nothing to draw"
    elif len(xy_N2) == 1:
        note = "There is one clip: a map needs others to compare it with"
    elif not (xy_N2 != xy_N2[0]).any():
        note = "All clips are alike here, so they lie on one point"
    return {
        "note": note,
        "ids": [ids[n] for n in here],
        "x": [round(float(x), 4) for x in xy_N2[:, 0]],
        "y": [round(float(y), 4) for y in xy_N2[:, 1]],
        "colours": {name: _grouped(values) for name, values in colours.items()},
    }


def _grouped(values: Sequence[str]) -> dict[str, Any]:
    """The largest groups first, the rest together; 'none' last."""
    counts = Counter(v for v in values if v != _NONE)
    # A single remaining group keeps its name: 'others' would take its colour anyway.
    names = [name for name, _ in counts.most_common(_GROUPS if len(counts) > _GROUPS + 1 else _GROUPS + 1)]
    names += [_OTHER] if len(counts) > len(names) else []
    names += [_NONE] if _NONE in values else []
    place = {name: n for n, name in enumerate(names)}
    return {"names": names, "of": [place.get(v, place.get(_OTHER, 0)) for v in values]}


def _folders(sources: Sequence[str]) -> list[str]:
    """First part of each path that differs between some of them, with the parts before it."""
    parts = [source.split("/")[:-1] for source in sources]
    depth = next((d for d in range(3) if len({tuple(p[: d + 1]) for p in parts}) > 1), 0)
    return [
        "/".join(p[: depth + 1]) or ("top folder" if s else "text alone") for p, s in zip(parts, sources, strict=True)
    ]


# -- names -------------------------------------------------------------------------------------------------------------


def group_names(
    clips: Sequence[Clip], groups_N: Int[np.ndarray, " n"], seen: dict[int, list[str]] | None = None
) -> dict[int, str]:
    """Name of each group, all different. `seen`: names of things seen or heard in each, from `things_in`."""
    words = [_words(clip) for clip in clips]
    labels = [set(clip.labels) for clip in clips]
    names: dict[int, str] = {}
    for group in np.unique(groups_N).tolist():
        inside_N = groups_N == group
        label, own = _label(labels, inside_N), [_ARTICLE.sub("", name) for name in (seen or {}).get(group, [])]
        spoken = _distinctive(words, inside_N)
        named = [label] if label else (_distinctive(labels, inside_N) or own)[:_MOST_NAMES]
        parts = [", ".join(named)] if named else []
        if spoken and not label:
            parts.append(f"“{', '.join(spoken[:_MOST_NAMES])}”")
        kinds = Counter(_KINDS[clips[n].has_video, clips[n].has_audio] for n in np.flatnonzero(inside_N).tolist())
        names[group] = " · ".join(parts) or kinds.most_common(1)[0][0]
    # Groups of one name would have one colour.
    often, count = Counter(names.values()), Counter[str]()
    for group, name in names.items():
        count[name] += 1
        names[group] = name if often[name] == 1 else f"{name} ({count[name]})"
    return names


def things_in(
    vectors_NE: Float[np.ndarray, "n e"],
    groups_N: Int[np.ndarray, " n"],
    names: Sequence[str],
    encode: Callable[[list[str]], Float[np.ndarray, "w e"]],
    calibration: Calibration,
    kind: str,
) -> dict[int, list[str]]:
    """Names by group, the most distinct first. `encode`: words into the space of the vectors; `kind`: calibrated kind
    of the vectors' rows. A name counts if it scores higher in the group than elsewhere, in spreads of the scores of
    background queries; in a single group, if a quarter of the clips would be weak hits for it."""
    # A fixed sample: the same library gives the same names.
    if len(vectors_NE) > _SAMPLED:
        drawn = np.sort(np.random.default_rng(0).choice(len(vectors_NE), _SAMPLED, replace=False))
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
    """Names of things that can be seen."""
    return (files("seehear") / "assets" / "names" / "seen.txt").read_text(encoding="utf-8").splitlines()


@cache
def stopwords() -> frozenset[str]:
    """Words that neither name a group nor are searched for, in seven languages."""
    return frozenset((files("seehear") / "assets" / "names" / "stopwords.txt").read_text(encoding="utf-8").split())


def _words(clip: Clip) -> set[str]:
    """Words of a clip's texts that may be a name."""
    words = {word.rstrip("'’-") for text in clip.texts for word in _WORD.findall(text.text.lower().replace("’", "'"))}
    return {word for word in words if len(word) > 2 and word not in stopwords()}


def _counted(words: Sequence[set[str]], inside_N: np.ndarray) -> Counter[str]:
    """Number of clips of a group that have each word."""
    return Counter(word for own, inside in zip(words, inside_N, strict=True) if inside for word in own)


def _label(labels: Sequence[set[str]], inside_N: np.ndarray) -> str:
    """The label that most of a group has, and a smaller share of the rest; '' if there is none."""
    here, rest = _counted(labels, inside_N), _counted(labels, ~inside_N)
    inside, outside = int(inside_N.sum()), max(1, int((~inside_N).sum()))
    good = [n for n, count in here.items() if count >= _LABEL * inside and rest[n] / outside < 0.5 * count / inside]
    return min(good, key=lambda name: (-here[name], name), default="")


def _distinctive(words: Sequence[set[str]], inside_N: np.ndarray) -> list[str]:
    """Words that are significantly more frequent in a group than elsewhere, the most significant first."""
    here, everywhere = _counted(words, inside_N), Counter(w for own in words for w in own)
    worded = sum(bool(own) for own in words)
    inside = sum(bool(own) for own, is_in in zip(words, inside_N, strict=True) if is_in)
    total, size = sum(everywhere.values()), sum(here.values())
    sure: dict[str, float] = {}
    for word, count in here.items():
        share = everywhere[word] / worded
        if count < max(2, _SHARE * inside) or (worded >= _FEW and share > _EVERYWHERE and inside < worded):
            continue
        prior, rest = _PRIOR * everywhere[word] / total, everywhere[word] - count
        # The prior of all other words is one larger: for a vocabulary of one word it would be 0.
        odds = np.log((count + prior) / (size - count + _PRIOR + 1 - prior))
        odds -= np.log((rest + prior) / (total - size - rest + _PRIOR + 1 - prior))
        deviations = odds / np.sqrt(1 / (count + prior) + 1 / (rest + prior))
        # A single group with words has nothing to differ from.
        if deviations >= _SURE or inside == worded:
            sure[word] = float(deviations) if inside < worded else float(count)
    return sorted(sure, key=lambda word: (-sure[word], word))
