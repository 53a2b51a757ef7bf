"""Where a file is cut into clips, and which split each falls into. Pure functions of what was read."""

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
from seehear.library.records import SPLITS, Clip, Text, bare, clip_id, digest
from seehear.library.workers import cores

COARSE_FROM = 60.0
"""Seconds from which a file is long: finding its scenes and pauses takes a while."""
_COARSE_CLIPS, _COARSE_SECONDS = 6, 2.0
"""Most clips of a long file before that, and the length of each: they cost a twentieth of what the file does."""


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How media become clips. Another value of anything but `workers` and `time_limit` cuts the library anew."""

    clips: Literal["auto", "subtitles", "scenes", "fixed", "whole"] = "auto"
    """subtitles: a clip a line; scenes: films where the picture changes, long scenes and sounds at pauses; fixed: every
    `seconds`; whole: a clip a file; auto: lines where there are any, whole files up to `max_seconds` where a caption or
    label is about all of them, else scenes."""
    seconds: float = 10.0
    """Length of fixed clips; the longest of scenes and of pieces of sound. Shorter sounds stay whole, and films of half
    of it."""
    min_seconds: float = 1.0
    """A clip of a shorter subtitle line is widened to this; a shorter scene is part of its neighbour; a shorter rest of
    a file is left out."""
    max_seconds: float = 30.0
    """Longest whole file under `auto` with a caption or label; a longer subtitle line ends here."""
    pad: float = 0.0
    """Seconds added on each side of a subtitle line."""
    language: str = ""
    """Language of the subtitles ('de'), where a file has several. Empty: those without a language, else English."""
    group: str = ""
    """Regular expression over paths: files for which it finds the same text (its first bracket, if it has one) are one
    recording, and never on both sides of a split. Empty: every file is its own."""
    splits: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of train, val and test among the clips. A recording falls into one as a whole, and stays there when files
    are added; three recordings or fewer are each divided in time (`splits.py`)."""
    seed: int = 0
    """Of the splits."""
    columns: dict[str, str] = field(default_factory=dict)
    """Manifest columns by role, where their names do not say it: {"text": "title_en"}."""
    media: Path | None = None
    """Folder that the paths in a manifest begin in; its own when not given."""
    workers: int = field(default_factory=cores)
    """Processes that read files. 0: this one, unprotected from files that crash a decoder."""
    time_limit: float = 300.0
    """Seconds after which a file that is still being read is set aside."""

    def __post_init__(self) -> None:
        check_range(self, "(0, inf)", "max_seconds", "time_limit")
        if not 0 < self.min_seconds <= min(self.seconds, self.max_seconds):
            raise SeehearError("need 0 < min_seconds <= seconds and max_seconds")
        if min(self.splits) < 0 or sum(self.splits) <= 0:
            raise SeehearError(f"splits are shares of train, val and test, none negative; got {self.splits}")
        check_range(self, "[0, inf)", "pad", "workers")
        try:
            re.compile(self.group)
        except re.error as error:
            raise SeehearError(f"group {self.group!r} is no regular expression: {error}") from error

    def recipe(self) -> str:
        """16 hex digits over all that decides what clips a file gives."""
        return digest(repr(replace(self, workers=0, time_limit=1.0, media=None)))


@dataclass(frozen=True, kw_only=True)
class Said:
    """What is known of a file or a row besides its content."""

    captions: tuple[Text, ...] = ()
    """Of the whole."""
    lines: tuple[Text, ...] = ()
    """With times: subtitles, narration."""
    labels: tuple[str, ...] = ()
    group: str = ""
    split: str = ""
    meta: dict[str, str] = field(default_factory=dict)
    id: str = ""
    """Given by the user."""


def cut(
    whole: Clip,
    said: Said,
    options: PrepareOptions,
    scenes: Callable[[Clip], list[tuple[float, float]]] | None = None,
) -> list[Clip]:
    """The clips of one file. `whole` is all of it: its files, its modalities and [0, duration). Lines behind its end
    are left out; there is no clip only where subtitles are asked for and there are none. `scenes` finds windows, and is
    called where they are wanted."""
    said = replace(said, lines=tuple(line for line in said.lines if whole.end == 0 or _start(line) < whole.end))
    whole = replace(whole, labels=said.labels, meta=said.meta)
    whole = placed(whole, said.group, said.split, options)
    name = said.id or whole.source
    how = _how(whole, said, options)
    if how == "whole":
        return [replace(whole, id=name, texts=said.captions + said.lines)]
    if how == "subtitles":
        return _by_line(whole, said, name, options)
    windows = scenes(whole) if how == "scenes" and scenes is not None else fixed_windows(whole.end, options)
    if how == "scenes" and len(windows) == 1:
        return [replace(whole, id=name, texts=said.captions + said.lines)]
    return [
        replace(
            whole, id=clip_id(name, start, end), start=start, end=end, texts=said.captions + _within(said, start, end)
        )
        for start, end in windows
    ]


def _how(whole: Clip, said: Said, options: PrepareOptions) -> str:
    if whole.end == 0:  # a picture
        return "whole"
    if options.clips != "auto":
        return options.clips
    if said.lines:
        return "subtitles"
    # A cut that no one sees in a file of a few seconds is not worth a search.
    short = options.seconds / 2 if whole.has_video else options.seconds
    return "whole" if whole.end <= (options.max_seconds if said.captions or said.labels else short) else "scenes"


def _by_line(whole: Clip, said: Said, name: str, options: PrepareOptions) -> list[Clip]:
    """A clip a line; lines with the same window, after padding, share one."""
    texts: dict[tuple[float, float], tuple[Text, ...]] = {}
    for line in said.lines:
        window = line_window(_start(line), _end(line), whole.end, options)
        texts[window] = (*texts.get(window, ()), line)
    return [
        replace(whole, id=clip_id(name, start, end), start=start, end=end, texts=lines)
        for (start, end), lines in texts.items()
    ]


def _start(line: Text) -> float:
    assert line.start is not None, "a line has times"
    return line.start


def _end(line: Text) -> float:
    assert line.end is not None, "a line has times"
    return line.end


def line_window(start: float, end: float, duration: float, options: PrepareOptions) -> tuple[float, float]:
    """The window of a subtitle line, in whole milliseconds: padded, widened around its centre to `min_seconds`, cut at
    `max_seconds` and at the ends of the file."""
    end = min(end, start + options.max_seconds) + options.pad
    start, end = max(0.0, start - options.pad), min(end, duration)
    least = min(options.min_seconds, duration)
    if end - start < least:
        start = min(max(0.0, (start + end - least) / 2), duration - least)
        end = start + least
    return round(start, 3), round(end, 3)


def fixed_windows(duration: float, options: PrepareOptions) -> list[tuple[float, float]]:
    """[0, s), [s, 2s), ... and the rest if it is `min_seconds` long; one window for a file shorter than that."""
    count = int(duration / options.seconds + 1e-6)
    windows = [(i * options.seconds, (i + 1) * options.seconds) for i in range(count)]
    rest = duration - count * options.seconds
    if rest >= options.min_seconds or not windows:
        windows.append((count * options.seconds, duration))
    return windows


def coarse_windows(duration: float) -> list[tuple[float, float]]:
    """Short windows spread evenly over a long file: what it is searched by until it is cut."""
    count = min(_COARSE_CLIPS, max(2, int(duration / COARSE_FROM)))
    starts = [round((n + 0.5) * duration / count - _COARSE_SECONDS / 2, 3) for n in range(count)]
    return [(start, round(start + _COARSE_SECONDS, 3)) for start in starts]


def scene_windows(
    duration: float, cuts: Sequence[tuple[float, float]], options: PrepareOptions
) -> list[tuple[float, float]]:
    """The scenes between cuts (time, strength), in whole milliseconds. The strongest cuts come first, and none leaves a
    scene that is shorter than `min_seconds`."""
    edges = [0.0, duration]
    for at, _ in sorted(cuts, key=lambda cut: (-cut[1], cut[0])):
        at = round(at, 3)
        n = bisect(edges, at)
        if 0 < n < len(edges) and min(at - edges[n - 1], edges[n] - at) >= options.min_seconds:
            insort(edges, at)
    return list(pairwise(edges))


def divided(
    windows: Sequence[tuple[float, float]], loudness_N: Sequence[int], step: float, options: PrepareOptions
) -> list[tuple[float, float]]:
    """Windows of at most `seconds`: longer ones end at the quietest moment of the second half of that, or in equal
    parts where there is no sound. `loudness_N`: one value every `step` seconds of the file, none without sound."""
    found: list[tuple[float, float]] = []
    for begin, end in windows:
        parts = math.ceil((end - begin) / options.seconds - 1e-6)
        if parts > 1 and not len(loudness_N):
            edges = [round(begin + (end - begin) * n / parts, 3) for n in range(1, parts)]
            found += pairwise([begin, *edges, end])
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
            found.append((begin, at))
            begin = at
        found.append((begin, end))
    return found


def _within(said: Said, start: float, end: float) -> tuple[Text, ...]:
    """Lines whose middle lies in the window."""
    return tuple(line for line in said.lines if start <= (_start(line) + _end(line)) / 2 < end)


# -- groups and splits -------------------------------------------------------------------------------------------------


def placed(clip: Clip, group: str, split: str, options: PrepareOptions) -> Clip:
    """The clip in its group and split: those given, else by `options`."""
    group = group or group_of(clip.source, options) or clip.id
    return replace(clip, group=group, split=split or split_of(bare(group), options.splits, options.seed))


def group_of(source: str, options: PrepareOptions) -> str:
    found = re.search(options.group, bare(source)) if options.group else None
    if found is None:
        return source
    return next((part for part in found.groups() if part is not None), found[0]) or source


def hash_of(group: str, seed: int) -> bytes:
    """8 bytes spread evenly: the order of groups, and the split that one falls into by its name alone."""
    return hashlib.blake2b(f"{seed}\x1f{group}".encode("utf-8", "surrogatepass"), digest_size=8).digest()


def split_of(group: str, shares: Sequence[float], seed: int) -> str:
    """A function of the group's name and the seed: a hash spread evenly over [0, 1), cut into the shares."""
    at = int.from_bytes(hash_of(group, seed), "big") / 2**64 * sum(shares)
    for name, share in zip(SPLITS[::-1], shares[::-1], strict=True):
        if at < share:
            return name
        at -= share
    return SPLITS[0]
