"""Speech to timed lines: `seehear transcribe`.

A recording is read in parts of about two minutes, cut where it is quiet: a stopped run loses one part, and memory is
bounded. Segments that Whisper invents on music and noise are dropped; the words of the others become lines of about a
sentence, by pauses and punctuation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np

from seehear.encoders.whisper import EXTRA, RATE, Segment, SpokenWord, Whisper, find_weights, has_gpu
from seehear.errors import DecodeError, SeehearError, require, unknown
from seehear.library.engines import LOCAL, EngineOptions
from seehear.library.recordings import Portion, Recording, TextsReport, read_recordings
from seehear.library.records import digest
from seehear.library.tables import LibraryTables
from seehear.library.transcripts import Task, TimedLine, Transcript, Word
from seehear.media.files import read_window

# Version of the code that turns segments into lines. Another version reads all recordings again.
_VERSION = "2"
# Length of a part, and of the stretch at its end in which it is cut, in seconds.
PIECE, TAIL = 120.0, 30.0
# Seconds between two words that end a line.
_PAUSE = 1.0
# Seconds from which a line ends at the end of a sentence, and from which it ends at any word.
_LINE, _LONG = 2.0, 10.0
# Bounds on the log-probability, on it less the probability of no speech, and on the compression; chosen on half of
# ESC-10 and spoken digits, so that noises give no words and short answers stay (`benchmarks/words.py`).
_LEAST_LOG, _LEAST_SURE, _LOOP = -1.0, -1.2, 2.4
_STOCK = {"thank you", "thanks", "thank you very much", "thanks for watching", "thank you for watching", "you", "bye"}
_STOCK |= {"bye bye", "okay", "oh", "yeah", "the end", "so", "hmm", "i'm sorry"}
"""Phrases that Whisper, trained on subtitles of the web, reads in noise; kept where the sound surely is speech."""
_CREDITS = ["thanks for watching", "thank you for watching", "subscribe", "subtitles by", "amara org"]
_CREDITS += ["untertitel", "sous titres", "subtítulos"]
_SENTENCE = re.compile(r"[.!?…。！？]['\"”»)\]]*$")


class Transcriber:
    """A reader of recordings (`recordings.TextReader`)."""

    command = "transcribe"

    def __init__(self, recogniser: Whisper, *, name: str, weights: str, language: str = "", translate: bool = False):
        """`weights`: fingerprint of the model."""
        self.recogniser, self.name, self.language = recogniser, name, language
        self.tasks: tuple[Task, ...] = ("speech", "translation") if translate else ("speech",)
        self.by = digest(weights, language, _VERSION)

    def time_limit(self, recording: Recording) -> float:
        """Ten times as long as a large model takes on one core."""
        return 600.0 + 30.0 * recording.duration * len(recording.tasks)

    def __call__(self, recording: Recording) -> list[Transcript]:
        language = self.language or recording.language
        segments: dict[Task, list[Segment]] = {task: [] for task in recording.tasks}
        start, samples, end = _part(recording)
        for task, so_far in segments.items():
            # English needs no translation.
            if samples is None or (task == "translation" and language == "en"):
                continue
            detected, new = self.recogniser(samples, language=language, translate=task == "translation")
            # The first language holds for all of the recording.
            language = language or detected
            # Times from the start of the file, not of the part.
            for segment in new:
                begin, stop = segment.start + start, segment.end + start
                words = tuple(replace(w, start=w.start + start, end=w.end + start) for w in segment.words)
                so_far.append(replace(segment, start=begin, end=stop, words=words))
        return [
            Transcript(
                source=recording.source,
                task=task,
                by=self.by,
                content=recording.content,
                language="en" if task == "translation" else language,
                lines=tuple(lines_of(without_inventions(new))),
                until=end if end < recording.duration else None,
            )
            for task, new in segments.items()
        ]

    def joined(self, before: Transcript, part: Transcript, duration: float) -> tuple[TimedLine, ...]:
        return before.lines + part.lines


def transcribe(
    library: LibraryTables,
    *,
    model: str = "",
    language: str = "",
    translate: bool = False,
    options: EngineOptions = LOCAL,
    portion: Portion | None = None,
) -> TextsReport:
    """Adds the speech of the clips of a library as texts of the kind 'speech'. `model`: a name or a folder, by default
    the strongest at hand. `language`: a code such as 'de', by default detected in each recording. `translate` adds an
    English line beside each line in another language."""
    require("faster_whisper", EXTRA)
    # faster-whisper has no public list of them.
    codes = require("faster_whisper.tokenizer", EXTRA)._LANGUAGE_CODES
    if language and language not in codes:
        raise unknown("language", language, codes)
    gpu = has_gpu()
    weights = find_weights(model, gpu=gpu)
    if weights.name.endswith(".en") and (translate or language not in ("", "en")):
        raise SeehearError(f"the speech model {weights.name} knows English only: --model base knows 99 languages")
    reader = Transcriber(
        Whisper(weights, gpu=gpu),
        name=f"Whisper {weights.name}",
        weights=weights.fingerprint,
        language=language,
        translate=translate,
    )
    # Each process loads the model: several would share the memory of one GPU.
    if gpu and options.workers is None:
        options = replace(options, workers=1)
    return read_recordings(library, reader, options, portion)


# -- sound -------------------------------------------------------------------------------------------------------------


def _part(recording: Recording) -> tuple[float, np.ndarray | None, float]:
    """(start in seconds, (S,) samples at `RATE`, end in seconds) of the next part that has sound; the samples are None
    if there is no more sound up to the end."""
    start, error, duration = recording.start, None, recording.duration
    while start < duration:
        end = start + PIECE if duration - start > PIECE + TAIL else duration
        try:
            samples = read_window(recording.path, start, end, rate=RATE).waveform
        except DecodeError as wrong:
            # A film may have stretches without sound: the next piece is tried.
            error, samples = error or wrong, None
        if samples is not None:
            if end < duration:
                samples = samples[: _quietest(samples)]
                end = start + len(samples) / RATE
            return start, samples, end
        start = end
    if not recording.start and error is not None:
        raise error
    return start, None, duration


def _quietest(samples: np.ndarray) -> int:
    """Number of the sample in the last `TAIL` seconds of a part around which half a second is quietest."""
    step = RATE // 10
    tail = samples[-round(TAIL * RATE) :]
    energy = np.square(tail[: len(tail) // step * step]).reshape(-1, step).sum(axis=1, dtype=np.float64)
    around = np.convolve(energy, np.ones(5), mode="valid")
    return len(samples) - len(tail) + (int(around.argmin()) + 2) * step + step // 2


# -- invented segments -------------------------------------------------------------------------------------------------


def without_inventions(segments: Sequence[Segment]) -> list[Segment]:
    """Segments that are likely speech, and no inventions on music or noise. The third and later copies of a text in a
    row are a loop, and dropped."""
    kept: list[Segment] = []
    for segment in segments:
        words = _plain(segment.text).split()
        text = " ".join(words)
        looped = len(kept) > 1 and all(_plain(before.text) == text for before in kept[-2:])
        # Whisper repeats one word, or a pair of words, over and over on music.
        repeats = len(words) >= 6 and len(set(words)) <= 2
        unlikely = (
            segment.log_probability < _LEAST_LOG
            or segment.log_probability - segment.no_speech < _LEAST_SURE
            or segment.compression > _LOOP
        )
        stock = segment.no_speech > 0.3 and (text in _STOCK or any(phrase in text for phrase in _CREDITS))
        if words and not (looped or repeats or unlikely or stock):
            kept.append(segment)
    return kept


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


# -- lines -------------------------------------------------------------------------------------------------------------


def lines_of(segments: Sequence[Segment]) -> list[TimedLine]:
    """Lines by pauses, ends of sentences and length; a segment without words is a line."""
    lines: list[TimedLine] = []
    words: list[SpokenWord] = []
    for segment in segments:
        if not segment.words:
            lines += [_line(words)] if words else []
            words = []
            text, sure = " ".join(segment.text.split()), round(segment.confidence, 3)
            lines.append(TimedLine(text, round(segment.start, 2), round(segment.end, 2), confidence=sure))
        for word in segment.words:
            if words and _ends(words, word):
                lines.append(_line(words))
                words = []
            words.append(word)
    return lines + ([_line(words)] if words else [])


def _ends(words: Sequence[SpokenWord], following: SpokenWord) -> bool:
    """True if a line ends before the following word."""
    last, length = words[-1], words[-1].end - words[0].start
    if following.start - last.end >= _PAUSE:
        return True
    return (length >= _LINE and bool(_SENTENCE.search(last.text.strip()))) or length >= _LONG


def _line(words: Sequence[SpokenWord]) -> TimedLine:
    timed = tuple(Word(word.text.strip(), round(word.start, 2), round(word.end, 2)) for word in words)
    text = " ".join("".join(word.text for word in words).split())
    sure = round(fmean(word.confidence for word in words), 3)
    return TimedLine(text, timed[0].start, timed[-1].end, timed, sure)
