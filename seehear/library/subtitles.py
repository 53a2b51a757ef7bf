"""Timed texts of a media file: subtitle files beside it, text streams inside it, captions in .txt and .json files.

Subtitle files come in any encoding, with markup, and machine-written ones show every line two or three times while it
rolls up. `tidy` keeps each line once, with its time.
"""

from __future__ import annotations

import html
import json
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seehear.errors import DecodeError, SeehearError, require
from seehear.library.records import Annotations, Text, split_name
from seehear.media.container import opened

SUFFIXES = (".srt", ".vtt", ".ass", ".ssa")
# A film that is named like subtitles must not fill the memory.
_MAX_BYTES = 64 * 2**20
_MAX_LINES = 500_000
# Largest sum of squared line lengths, in characters: pysubs2 may read a line once from each of its characters on.
_MAX_WORK = 10**10
# Largest number of lines of a cue that the next may repeat.
_ROLLED = 100
# Formats that pysubs2 reads line by line; files beside a film are in no other.
_FORMATS = ("srt", "vtt", "ass", "ssa", "microdvd", "mpl2", "tmp")
# Largest gap in seconds between two cues of which the second may repeat the first.
_ADJACENT = 0.2
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>|<[ /]+(?:[bisu]|font) *>")
# Scale of a drawing in an .ass line; 0 ends it.
_SCALE = re.compile(r"\\p(\d)")


@dataclass(frozen=True)
class Cue:
    """Lines shown from start to end, in seconds."""

    start: float
    end: float
    lines: tuple[str, ...]


# -- files -------------------------------------------------------------------------------------------------------------


def read_subtitles(path: str | Path) -> list[Text]:
    """Lines of a .srt, .vtt, .ass or .ssa file. Raises `SeehearError` for another file."""
    pysubs2 = require("pysubs2")
    content = decode_text(_bytes(path))
    if not content.strip():
        return []
    _check_lines(path, [len(line) for line in content.split("\n")])
    try:
        # pysubs2's name no file; what matters is raised or counted.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            events = _events(content, Path(path).suffix.lower())
    except (pysubs2.Pysubs2Error, ValueError, IndexError, KeyError, OverflowError, AttributeError) as error:
        raise SeehearError(f"{path}: is no subtitle file that can be read ({type(error).__name__})") from error
    shown = (event for event in events if event.type == "Dialogue")
    return tidy(Cue(event.start / 1000, event.end / 1000, _lines(_plain(event.text))) for event in shown)


def _events(content: str, suffix: str) -> Any:
    """Events of pysubs2, by the format of the content; if that is unknown, by the suffix, if it gives any."""
    pysubs2 = require("pysubs2")
    # pysubs2 reads a run of line feeds once from each of them on.
    content = re.sub(r"\n{3,}", "\n\n", content)
    try:
        name, is_known = pysubs2.formats.autodetect_format(content[:10_000]), True
    except pysubs2.FormatAutodetectionError:
        name, is_known = suffix[1:], False
    if name not in _FORMATS:
        raise ValueError(f"a file of the format {name!r}")
    # Tags are kept here, as `clean` takes them out; pysubs2 reads the text again for each.
    events = pysubs2.SSAFile.from_string(content, format_=name, keep_html_tags=True)
    if not is_known and not len(events):
        raise ValueError("no format that is known")
    return events


def _plain(text: str) -> str:
    """Text of an event of pysubs2 without override tags; '' for a drawing."""
    # One pass: pysubs2's own `plaintext` and `is_drawing` read the text, or all tags so far, again for each tag.
    *blocks, rest = text.split("}")
    shown = []
    for block in blocks:
        before, brace, tags = block.partition("{")
        scales = _SCALE.findall(tags)
        if scales and scales[-1] != "0":
            return ""
        shown.append(before if brace else block + "}")
    return "".join([*shown, rest]).replace(r"\h", " ").replace(r"\n", "\n").replace(r"\N", "\n")


def _check_lines(path: str | Path, lengths: Sequence[int]) -> None:
    """Raises `SeehearError` for lines that no subtitles have: reading them could take hours."""
    if len(lengths) > _MAX_LINES:
        raise SeehearError(f"{path}: has {len(lengths):,} lines: no subtitles have more than {_MAX_LINES:,}")
    if sum(n * n for n in lengths) > _MAX_WORK:
        raise SeehearError(f"{path}: has lines of up to {max(lengths):,} characters: no subtitles have such long ones")


def read_embedded(path: str | Path, index: int) -> list[Text]:
    """Lines of a text stream inside a media file. Raises `DecodeError`, and `SeehearError` for lines that no subtitles
    have."""
    av = require("av")
    cues: list[Cue] = []
    lengths: list[int] = []
    with opened(path) as media:
        stream = media.container.streams[index]
        for packet in media.packets(stream):
            if packet.pts is None or not packet.duration:
                continue
            start = media.seconds(packet.pts, stream)
            try:
                lines = [event.dialogue for event in packet.decode() if event.type in (b"ass", b"text")]
            except av.FFmpegError:
                continue
            lengths.append(sum(map(len, lines)))
            # Refused below, without reading the rest.
            if lengths[-1] ** 2 > _MAX_WORK or len(lengths) > _MAX_LINES:
                break
            text = "\n".join(_plain(line.decode("utf-8", "replace")) for line in lines)
            cues.append(Cue(start, start + float(packet.duration * stream.time_base), _lines(text)))
    _check_lines(path, lengths)
    return tidy(cues)


def read_captions(path: str | Path) -> list[Text]:
    """Captions of the whole media file: the lines of a .txt file that are not empty."""
    lines = (clean(line) for line in decode_text(_bytes(path)).splitlines())
    return [Text(line) for line in dict.fromkeys(lines) if line]


def read_json(path: str | Path) -> Annotations:
    """A .json file beside a media file: `texts` or `captions` (strings, or {text, start, end}), `labels`, `group`,
    `split`; any other value is kept with the clip. Raises `SeehearError` that names the wrong field."""
    try:
        facts = json.loads(decode_text(_bytes(path)))
    except (ValueError, RecursionError) as error:
        raise SeehearError(f"{path}: is no JSON ({error})") from error
    if not isinstance(facts, dict):
        raise SeehearError(f"{path}: expected an object {{...}}; got {type(facts).__name__}")
    try:
        texts = [text for name in ("texts", "captions") for text in as_texts(facts.pop(name, None))]
        labels = as_strings(facts.pop("labels", None))
        group, split = as_string(facts.pop("group", None)), split_name(as_string(facts.pop("split", None)))
    except SeehearError as error:
        raise SeehearError(f"{path}: {error}") from error
    meta = {str(name): as_string(value) for name, value in facts.items() if value is not None}
    return Annotations(texts=tuple(dict.fromkeys(texts)), labels=labels, group=group, split=split, meta=meta)


def _bytes(path: str | Path) -> bytes:
    try:
        with open(path, "rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise DecodeError(f"{path}: cannot be read ({error.strerror})") from error
    if len(content) > _MAX_BYTES:
        raise SeehearError(f"{path}: is larger than {_MAX_BYTES >> 20} MB: no text file beside a film is")
    return content


def decode_text(content: bytes) -> str:
    """Text in UTF-8 or UTF-16, else in the western Windows encoding of most other subtitle files."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    # cp1252 leaves five bytes undefined.
    return content.decode("latin-1")


# -- fields ------------------------------------------------------------------------------------------------------------


def as_texts(value: Any) -> list[Text]:
    """Texts from a string, or a list of strings and {text, start, end}."""
    texts = []
    for item in value if isinstance(value, list | tuple) else [value]:
        fields = item if isinstance(item, dict) else {"text": item}
        text = clean(as_string(fields.get("text")))
        start, end = seconds(fields.get("start")), seconds(fields.get("end"))
        if start is not None and end is not None and end <= start:
            raise SeehearError(f"the text {text!r} ends at {end:g} s, before it starts at {start:g} s")
        if text:
            texts.append(Text(text, start, end) if start is not None and end is not None else Text(text))
    return texts


def as_strings(value: Any) -> tuple[str, ...]:
    items = value if isinstance(value, list | tuple) else [value]
    return tuple(dict.fromkeys(text for item in items if (text := clean(as_string(item)))))


def as_string(value: Any) -> str:
    """A JSON value as text; lists and objects as JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    # JSON can spell surrogates.
    return text.encode("utf-8", "replace").decode()


def seconds(value: Any) -> float | None:
    """Seconds of a time: 12.5, '12.5' or '0:12.5' -> 12.5; None and '' -> None."""
    if value is None or value == "":
        return None
    try:
        parts = [float(part) for part in str(value).split(":", 3)]
    except ValueError:
        parts = [math.nan]
    total = sum(part * 60.0**i for i, part in enumerate(reversed(parts)))
    if not (0.0 <= total < 1e9) or len(parts) > 3:
        raise SeehearError(f"{value!r} is no time: expected seconds, or hours:minutes:seconds")
    return total


def clean(text: str) -> str:
    """Text in one line, without markup."""
    if "<" in text or "&" in text:
        text = _TAG.sub("", text)
        # Python reads no number of more than 4,300 digits.
        with suppress(ValueError):
            text = html.unescape(text)
    return " ".join(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for raw in text.splitlines() if (line := clean(raw)))


# -- from cues to texts ------------------------------------------------------------------------------------------------


def tidy(cues: Iterable[Cue]) -> list[Text]:
    """Texts of cues without repetitions, in order of time. Cues with the same times become one text; a cue that repeats
    the last lines of the one before (captions that roll up, or grow word by word) adds only its new lines."""
    texts: list[Text] = []
    shown: tuple[str, ...] = ()
    for cue in _by_time(cues):
        last = texts[-1] if texts else None
        follows = last is not None and last.end is not None and cue.start - last.end <= _ADJACENT
        new = cue.lines[_overlap(shown, cue.lines) :] if follows else cue.lines
        shown = cue.lines
        text = " ".join(new)
        if last is not None and not new:
            texts[-1] = Text(last.text, last.start, max(last.end or 0.0, cue.end))
        elif last is not None and follows and text.startswith(last.text + " "):
            texts[-1] = Text(text, last.start, max(last.end or 0.0, cue.end))
        else:
            texts.append(Text(text, cue.start, cue.end))
    return texts


def _by_time(cues: Iterable[Cue]) -> list[Cue]:
    """Cues in order of time, without empty ones; cues with exactly the same times joined."""
    joined: dict[tuple[float, float], list[str]] = {}
    # Sets beside the lists: a damaged file may have all of its lines at one time.
    known: dict[tuple[float, float], set[str]] = {}
    for cue in cues:
        time = (max(cue.start, 0.0), cue.end)
        if cue.lines and time[1] > time[0]:
            before = known.setdefault(time, set())
            joined.setdefault(time, []).extend(line for line in cue.lines if line not in before)
            before.update(cue.lines)
    return [Cue(*time, tuple(lines)) for time, lines in sorted(joined.items(), key=lambda item: item[0])]


def _overlap(before: tuple[str, ...], lines: tuple[str, ...]) -> int:
    """Number of first lines that repeat the last lines of the cue before."""
    most = min(len(before), len(lines), _ROLLED)
    return next((n for n in range(most, 0, -1) if before[-n:] == lines[:n]), 0)
