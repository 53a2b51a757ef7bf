"""Windows of the clips of a file, and the split of each: pure functions of the file's contents."""

from __future__ import annotations

import hashlib
import math
import re
from bisect import bisect, insort
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

from seehear.errors import SeehearError, check_range
from seehear.library.records import SPLITS, Annotations, Clip, Text, bare, clip_id, digest
from seehear.library.workers import cores

# Seconds from which a file is long, so that finding its scenes and pauses takes a while.
COARSE_FROM = 60.0
# Largest number of clips of a long file before that, and their length: a twentieth of the cost of the file.
_COARSE_CLIPS, _COARSE_SECONDS = 6, 2.0


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """Options of cutting media into clips. A change of any but `workers` and `time_limit` cuts the library anew."""

    clips: Literal["auto", "subtitles", "scenes", "fixed", "whole"] = "auto"
    """subtitles: a clip for each line; scenes: films at cuts, long scenes and sounds at pauses; fixed: pieces of
    `seconds`; whole: a clip for each file; auto: lines if there are any, whole files up to `max_seconds` that have a
    caption or label, else scenes."""
    seconds: float = 10.0
    """Length of fixed clips; longest scene or piece of sound. Under `auto`, sounds up to this length and films up to
    half of it stay whole."""
    min_seconds: float = 1.0
    """Shortest clip: a shorter subtitle line is widened, a shorter scene joins its neighbour, a shorter rest of a file
    is left out."""
    max_seconds: float = 30.0
    """Longest whole file under `auto` with a caption or label; a longer subtitle line ends here."""
    pad: float = 0.0
    """Seconds added on each side of a subtitle line."""
    language: str = ""
    """Language of the subtitles ('de') of a file with several. Empty: those without a language, else English."""
    group: str = ""
    """Regular expression over paths: files with the same match (its first bracket, if it has one) are one recording,
    and in one split. Empty: every file is its own."""
    splits: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, val and test among the clips. A recording falls into one as a whole, and stays there when files
    are added; three recordings or fewer are each divided in time."""
    seed: int = 0
    """Seed of the splits."""
    columns: dict[str, str] = field(default_factory=dict)
    """Manifest columns by role, for other names than the usual ones: `--columns text title_en`."""
    media: Path | None = None
    """Folder that the paths in a manifest begin in; by default the manifest's own."""
    workers: int = field(default_factory=cores)
    """Processes that read files. 0: this one, unprotected from files that crash a decoder."""
    time_limit: float = 300.0
    """Seconds after which a file that is still being read is set aside."""

    def __post_init__(self) -> None:
        check_range(self, "(0, inf)", "max_seconds", "time_limit")
        if not 0 < self.min_seconds <= min(self.seconds, self.max_seconds):
            raise SeehearError(
                f"min_seconds must be above 0, and at most seconds and max_seconds; got {self.min_seconds:g}, "
                f"{self.seconds:g} and {self.max_seconds:g}"
            )
        if min(self.splits) < 0 or sum(self.splits) <= 0:
            raise SeehearError(f"splits are shares of train, val and test, none negative; got {self.splits}")
        check_range(self, "[0, inf)", "pad", "workers")
        try:
            re.compile(self.group)
        except re.error as error:
            raise SeehearError(f"group {self.group!r} is no regular expression: {error}") from error

    def recipe(self) -> str:
        """16 hex digits over all options that decide the clips of a file."""
        # What only changes the speed, and the place of the media, cuts no clip differently.
        return digest(repr(replace(self, workers=0, time_limit=1.0, media=None)))


def cut(
    whole: Clip,
    given: Annotations,
    options: PrepareOptions,
    scenes: Callable[[Clip], list[tuple[float, float]]] | None = None,
) -> list[Clip]:
    """The clips of one file; none only where subtitles are asked for and it has no lines. `whole` is all of it: its
    files, modalities and [0, duration). Lines after its end are left out. `scenes` finds windows, if needed."""
    captions = given.captions
    # Subtitles of a longer edition go on after the end of the file.
    lines = [line for line in given.lines if whole.end == 0 or _times(line)[0] < whole.end]
    whole = replace(whole, labels=given.labels, meta=given.meta)
    whole = placed(whole, given.group, given.split, options)
    name = given.id or whole.source
    how: str = options.clips
    # A picture has no duration.
    if whole.end == 0:
        how = "whole"
    elif how == "auto" and lines:
        how = "subtitles"
    elif how == "auto":
        # In a file of a few seconds the search for scenes costs more than it gives.
        short = options.seconds / 2 if whole.has_video else options.seconds
        how = "whole" if whole.end <= (options.max_seconds if captions or given.labels else short) else "scenes"
    texts: dict[tuple[float, float], list[Text]] = {}
    if how == "subtitles":
        # Lines with the same window, after padding, share a clip.
        for line in lines:
            texts.setdefault(line_window(*_times(line), whole.end, options), []).append(line)
    elif how != "whole":
        windows = scenes(whole) if how == "scenes" and scenes is not None else fixed_windows(whole.end, options)
        # A single scene is the whole file, whose id has no times.
        if how == "fixed" or len(windows) > 1:
            for start, end in windows:
                # A line belongs to the window that holds its middle: to one, wherever the cuts are.
                inside = [line for line in lines if start <= sum(_times(line)) / 2 < end]
                texts[start, end] = [*captions, *inside]
    if not texts and how != "subtitles":
        return [replace(whole, id=name, texts=(*captions, *lines))]
    return [
        replace(whole, id=clip_id(name, start, end), start=start, end=end, texts=tuple(own))
        for (start, end), own in texts.items()
    ]


def _times(line: Text) -> tuple[float, float]:
    start, end = line.start, line.end
    assert start is not None, "a line has times"
    assert end is not None, "a line has times"
    return start, end


def line_window(start: float, end: float, duration: float, options: PrepareOptions) -> tuple[float, float]:
    """The window of a subtitle line, in whole milliseconds: padded, widened around its centre to `min_seconds`, cut at
    `max_seconds` and at the ends of the file."""
    end = min(end, start + options.max_seconds) + options.pad
    start, end = max(0.0, start - options.pad), min(end, duration)
    least = min(options.min_seconds, duration)
    if end - start < least:
        start = min(max(0.0, (start + end - least) / 2), duration - least)
        end = start + least
    # Whole milliseconds, as the id of a clip has three decimals.
    return round(start, 3), round(end, 3)


def fixed_windows(duration: float, options: PrepareOptions) -> list[tuple[float, float]]:
    """[0, s), [s, 2s), ... and the rest if it is `min_seconds` long; one window for a file shorter than that."""
    # The tolerance is for durations as containers round them: 29.9999999 s are three pieces of 10 s.
    count = int(duration / options.seconds + 1e-6)
    windows = [(i * options.seconds, (i + 1) * options.seconds) for i in range(count)]
    rest = duration - count * options.seconds
    if rest >= options.min_seconds or not windows:
        windows.append((count * options.seconds, duration))
    return windows


def coarse_windows(duration: float) -> list[tuple[float, float]]:
    """Short windows spread evenly over a long file: its clips until it is cut."""
    count = min(_COARSE_CLIPS, max(2, int(duration / COARSE_FROM)))
    starts = [round((n + 0.5) * duration / count - _COARSE_SECONDS / 2, 3) for n in range(count)]
    return [(start, round(start + _COARSE_SECONDS, 3)) for start in starts]


def scene_windows(
    duration: float, cuts: Sequence[tuple[float, float]], options: PrepareOptions
) -> list[tuple[float, float]]:
    """Scenes between cuts (time, strength), in whole milliseconds. The strongest cuts are taken first; a cut that would
    leave a scene shorter than `min_seconds` is dropped."""
    edges = [0.0, duration]
    # Equally strong cuts in order of time: the same film is always cut alike.
    for at, _ in sorted(cuts, key=lambda cut: (-cut[1], cut[0])):
        at = round(at, 3)
        n = bisect(edges, at)
        if 0 < n < len(edges) and min(at - edges[n - 1], edges[n] - at) >= options.min_seconds:
            insort(edges, at)
    return list(pairwise(edges))


def divided(
    windows: Sequence[tuple[float, float]], loudness_N: Sequence[int], step: float, options: PrepareOptions
) -> list[tuple[float, float]]:
    """Windows of at most `seconds`: longer ones are cut at the quietest moment of the second half of that, without
    sound into equal parts. `loudness_N`: one value every `step` seconds of the file, none without sound."""
    pieces: list[tuple[float, float]] = []
    for begin, end in windows:
        parts = math.ceil((end - begin) / options.seconds - 1e-6)
        # Without sound there is no pause to cut at.
        if parts > 1 and not len(loudness_N):
            edges = [round(begin + (end - begin) * n / parts, 3) for n in range(1, parts)]
            pieces += pairwise([begin, *edges, end])
            continue
        while end - begin > options.seconds + 1e-6:
            low, high = begin + options.seconds / 2, min(begin + options.seconds, end - options.min_seconds)
            first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
            # Between two quiet steps; of equally quiet moments the latest.
            quiet = min(
                range(max(1, first), min(last, len(loudness_N) - 1) + 1),
                key=lambda n: (loudness_N[n - 1] + loudness_N[n], -n),
                default=0,
            )
            at = round(quiet * step if quiet else max(low, high), 3)
            pieces.append((begin, at))
            begin = at
        pieces.append((begin, end))
    return pieces


# -- groups and splits -------------------------------------------------------------------------------------------------


def placed(clip: Clip, group: str, split: str, options: PrepareOptions) -> Clip:
    """The clip with its group and split: those given, else by `options`."""
    group = group or group_of(clip.source, options) or clip.id
    return replace(clip, group=group, split=split or split_of(bare(group), options.splits, options.seed))


def group_of(source: str, options: PrepareOptions) -> str:
    """Recording that a file belongs to: the first bracket, or the match, of `options.group`; by default the file."""
    match = re.search(options.group, bare(source)) if options.group else None
    if match is None:
        return source
    return next((part for part in match.groups() if part is not None), match[0]) or source


def hash_of(group: str, seed: int) -> bytes:
    """8 uniform bytes: the order of groups, and the split of one by its name alone."""
    # A hash and no generator: the split of a recording must not depend on the other recordings.
    return hashlib.blake2b(f"{seed}\x1f{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def split_of(group: str, shares: Sequence[float], seed: int) -> str:
    """The split of a group by its name and the seed: a uniform hash in [0, 1), divided by the shares."""
    at = int.from_bytes(hash_of(group, seed), "big") / 2**64 * sum(shares)
    # From the end: train takes the rest, with whatever rounding leaves.
    for name, share in zip(SPLITS[::-1], shares[::-1], strict=True):
        if at < share:
            return name
        at -= share
    return SPLITS[0]
