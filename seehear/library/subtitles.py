"""Timed texts of a media file: subtitle files beside it, text streams inside it, captions in .txt and .json files.

Subtitle files of the real world come in any encoding, with markup, and, where a machine wrote them, with every line
shown two or three times while it rolls up. `tidy` makes of them what was said, once, with its time.
"""

from __future__ import annotations

import html
import json
import math
import re
import warnings
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seehear.errors import DecodeError, SeehearError, require
from seehear.library.records import Text, split_name
from seehear.media.container import opened

SUFFIXES = (".srt", ".vtt", ".ass", ".ssa")
_MAX_BYTES = 64 * 2**20
_MAX_LINES = 500_000
_MAX_WORK = 10**10
"""Sum of the squared lengths of lines, in characters: pysubs2 may read a line once from each of its characters on."""
_ROLLED = 100
"""Most lines of a cue that the next may repeat."""
_FORMATS = ("srt", "vtt", "ass", "ssa", "microdvd", "mpl2", "tmp")
"""Formats of pysubs2 that it reads line by line; files beside a film are in no other."""
_ADJACENT = 0.2
"""Seconds between two cues up to which the second may repeat the first."""
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>|<[ /]+(?:[bisu]|font) *>")
_SCALE = re.compile(r"\\p(\d)")


@dataclass(frozen=True)
class Cue:
    """What is on the screen from start to end, line by line."""

    start: float
    end: float
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What a .json file beside a media file may say: `texts` or `captions` (strings, or {text, start, end}), `labels`,
    `group`, `split`; any other value is kept with the clip."""

    texts: tuple[Text, ...] = ()
    labels: tuple[str, ...] = ()
    group: str = ""
    split: str = ""
    meta: dict[str, str] = field(default_factory=dict)


# -- files -------------------------------------------------------------------------------------------------------------


def read_subtitles(path: str | Path) -> list[Text]:
    """The lines of a .srt, .vtt, .ass or .ssa file. Raises `SeehearError` when it is none."""
    pysubs2 = require("pysubs2")
    content = decode_text(_bytes(path))
    if not content.strip():
        return []
    _check_lines(path, [len(line) for line in content.split("\n")])
    try:
        with warnings.catch_warnings():  # pysubs2's name no file; what matters is raised or counted
            warnings.simplefilter("ignore")
            events = _events(content, Path(path).suffix.lower())
    except (pysubs2.Pysubs2Error, ValueError, IndexError, KeyError, OverflowError, AttributeError) as error:
        raise SeehearError(f"{path}: is no subtitle file that can be read ({type(error).__name__})") from error
    shown = (event for event in events if event.type == "Dialogue")
    return tidy(Cue(event.start / 1000, event.end / 1000, _lines(_plain(event.text))) for event in shown)


def _events(content: str, suffix: str) -> Any:
    """By what the content looks like; by the file's suffix where it looks like nothing known, if that finds any."""
    pysubs2 = require("pysubs2")
    content = re.sub(r"\n{3,}", "\n\n", content)  # pysubs2 reads a run of line feeds once from each of them on
    try:
        name, known = pysubs2.formats.autodetect_format(content[:10_000]), True
    except pysubs2.FormatAutodetectionError:
        name, known = suffix[1:], False
    if name not in _FORMATS:
        raise ValueError(f"a file of the format {name!r}")
    events = pysubs2.SSAFile.from_string(content, format_=name, keep_html_tags=True)  # `clean` takes them out
    if not known and not len(events):
        raise ValueError("no format that is known")
    return events


def _plain(text: str) -> str:
    """The text of an event of pysubs2 without override tags; '' for a drawing. One pass, where pysubs2's own
    `plaintext` and `is_drawing` read the text, or all tags so far, again for each tag."""
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
    """Raises `SeehearError` for lines that no subtitles have, which could take the time of the whole film."""
    if len(lengths) > _MAX_LINES:
        raise SeehearError(f"{path}: has {len(lengths):,} lines: no subtitles have more than {_MAX_LINES:,}")
    if sum(n * n for n in lengths) > _MAX_WORK:
        raise SeehearError(f"{path}: has lines of up to {max(lengths):,} characters: no subtitles have such long ones")


def read_embedded(path: str | Path, index: int) -> list[Text]:
    """The lines of a stream of text inside a media file. Raises `DecodeError`, and `SeehearError` for lines that no
    subtitles have."""
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
                said = [shown.dialogue for shown in packet.decode() if shown.type in (b"ass", b"text")]
            except av.FFmpegError:
                continue
            lengths.append(sum(map(len, said)))
            if lengths[-1] ** 2 > _MAX_WORK or len(lengths) > _MAX_LINES:  # not only when all have been read
                break
            text = "\n".join(_plain(line.decode("utf-8", "replace")) for line in said)
            cues.append(Cue(start, start + float(packet.duration * stream.time_base), _lines(text)))
    _check_lines(path, lengths)
    return tidy(cues)


def read_captions(path: str | Path) -> list[Text]:
    """Each line of a .txt file that is not empty: a caption of the whole media file."""
    lines = (clean(line) for line in decode_text(_bytes(path)).splitlines())
    return [Text(line) for line in dict.fromkeys(lines) if line]


def read_json(path: str | Path) -> Sidecar:
    """Raises `SeehearError` that says which field is wrong."""
    try:
        said = json.loads(decode_text(_bytes(path)))
    except (ValueError, RecursionError) as error:
        raise SeehearError(f"{path}: is no JSON ({error})") from error
    if not isinstance(said, dict):
        raise SeehearError(f"{path}: expected an object {{...}}; got {type(said).__name__}")
    try:
        texts = [text for name in ("texts", "captions") for text in as_texts(said.pop(name, None))]
        labels = as_strings(said.pop("labels", None))
        group, split = as_string(said.pop("group", None)), split_name(as_string(said.pop("split", None)))
    except SeehearError as error:
        raise SeehearError(f"{path}: {error}") from error
    meta = {str(name): as_string(value) for name, value in said.items() if value is not None}
    return Sidecar(texts=tuple(dict.fromkeys(texts)), labels=labels, group=group, split=split, meta=meta)


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
    """UTF-8 or UTF-16 if it is that, else the western Windows encoding, which most other subtitle files are in."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1")


# -- fields ------------------------------------------------------------------------------------------------------------


def as_texts(value: Any) -> list[Text]:
    """A string, or a list of strings and {text, start, end}."""
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
    """Any value of JSON as a text: lists and objects as JSON."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "replace").decode()  # JSON can spell characters that are none


def seconds(value: Any) -> float | None:
    """12.5, '12.5' or '0:12.5' -> 12.5; None and '' -> None."""
    if value is None or value == "":
        return None
    try:
        parts = [float(part) for part in str(value).split(":", 3)]
    except ValueError:
        parts = [math.nan]
    total = sum(part * 60.0**i for i, part in enumerate(reversed(parts)))
    if not (0.0 <= total < 1e9) or len(parts) > 3 or isinstance(value, bool):
        raise SeehearError(f"{value!r} is no time: expected seconds, or hours:minutes:seconds")
    return total


def clean(text: str) -> str:
    """One line, without markup."""
    if "<" in text or "&" in text:
        text = _TAG.sub("", text)
        with suppress(ValueError):  # Python reads no number of more than 4,300 digits
            text = html.unescape(text)
    return " ".join(text.split())


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line for raw in text.splitlines() if (line := clean(raw)))


# -- from cues to texts ------------------------------------------------------------------------------------------------


def tidy(cues: Iterable[Cue]) -> list[Text]:
    """What the cues say, each thing once, in order of time. Cues of the same time become one text; a cue that repeats
    the last lines of the one before (captions that roll up, or grow word by word) adds only what is new."""
    texts: list[Text] = []
    shown: tuple[str, ...] = ()
    for cue in _by_time(cues):
        last = texts[-1] if texts else None
        follows = last is not None and last.end is not None and cue.start - last.end <= _ADJACENT
        new = cue.lines[_overlap(shown, cue.lines) :] if follows else cue.lines
        shown = cue.lines
        said = " ".join(new)
        if last is not None and not new:
            texts[-1] = Text(last.text, last.start, max(last.end or 0.0, cue.end))
        elif last is not None and follows and said.startswith(last.text + " "):
            texts[-1] = Text(said, last.start, max(last.end or 0.0, cue.end))
        else:
            texts.append(Text(said, cue.start, cue.end))
    return texts


def _by_time(cues: Iterable[Cue]) -> list[Cue]:
    """Sorted, without empty ones, those of exactly the same time joined."""
    joined: dict[tuple[float, float], list[str]] = {}
    known: dict[tuple[float, float], set[str]] = {}
    for cue in cues:
        time = (max(cue.start, 0.0), cue.end)
        if cue.lines and time[1] > time[0]:
            before = known.setdefault(time, set())
            joined.setdefault(time, []).extend(line for line in cue.lines if line not in before)
            before.update(cue.lines)
    return [Cue(*time, tuple(lines)) for time, lines in sorted(joined.items(), key=lambda item: item[0])]


def _overlap(before: tuple[str, ...], lines: tuple[str, ...]) -> int:
    """How many of the first lines repeat the last lines of the cue before."""
    most = min(len(before), len(lines), _ROLLED)
    return next((n for n in range(most, 0, -1) if before[-n:] == lines[:n]), 0)
