"""The demo: real films, photos and sounds without subtitles, searched by words in four ways.

A folder is searched as by `seehear find` and `seehear open`. Questions with known answers, which ship with the media
and were written before any measurement, measure each way. Then a run is trained on the library, and the same questions
measure its gain. Names of files are not used."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seehear.errors import SeehearError
from seehear.folders.find import bring_up_to_date, open_library
from seehear.folders.indexes import index_run
from seehear.library.tables import Clip, LibraryTables
from seehear.progress import say
from seehear.runs.config import recipe
from seehear.runs.run import train_run
from seehear.search.answer import Moment
from seehear.search.background import kind_of_text
from seehear.search.filters import Filters
from seehear.search.moments import MomentSearch

ASSETS = Path(__file__).parent / "assets" / "demo"
MEDIA = ASSETS / "media"
WAYS = {"seen": "seen", "heard": "heard", "spoken": "spoken", "screen": "written on screen"}
"""Label of each way in which words match a moment."""
ANY = "any"
"""All questions but those about sounds, asked without their way."""
SHOWN = ("a polar bear", "a dog barking", "that password is too weak", "price of a dozen eggs")
LEARNING = "fusemix.bind"
"""Recipe that binds sounds to the space of words and pictures, trained on films alone."""
# Sounds without a film: those of films are trained on.
_SOUNDS = "sounds/*"
_DEPTH = 3


@dataclass(frozen=True)
class Question:
    way: str
    words: str
    answers: tuple[tuple[str, float, float], ...]
    """File, start and end (seconds) of each right answer; 0 and infinity for a whole file."""

    def right(self, hit: Moment | Clip) -> bool:
        """True if the beginning of a moment or clip, after a second or in its middle, is in an answer. The whole moment
        would be no measure, as similar neighbours are merged."""
        file = hit.source_of("audio" if self.way == "heard" else "video") if isinstance(hit, Clip) else hit.source
        shown = hit.start + min((hit.end - hit.start) / 2, 1.0)
        return any(file == source and start <= shown <= end for source, start, end in self.answers)


@dataclass(frozen=True)
class Score:
    """Scores of the questions of one way, shares in [0, 1]."""

    way: str
    first: float
    """Share of questions with a right first hit."""
    among: float
    """Share of questions with a right hit among the first three."""
    chance: float
    """Expected share of right first hits in random order."""
    questions: int
    moments: int
    """Number of moments that can match in this way."""

    def __str__(self) -> str:
        if not self.moments:
            return f"  {WAYS[self.way]:<24}not read: see above for what to install"
        name = WAYS.get(self.way, "any but heard, not told")
        shares = "".join(f"{f'{100 * share:.0f} %':>{n}}" for share, n in ((self.first, 8), (self.among, 12)))
        return f"  {name:<24}{shares}{f'{100 * self.chance:.0f} %':>9}{self.questions:>11}{self.moments:>9}"


@dataclass(frozen=True)
class _DemoReport:
    media: str
    """Searched folder, a copy of the packaged one."""
    library: str
    files: int
    scores: tuple[Score, ...]
    """Scores before training; the last one is `ANY`."""
    learnt: Score | None
    """Score of sounds after training; None for too little data."""
    hits: dict[str, Moment]
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall-clock seconds by stage."""

    def __str__(self) -> str:
        heard, learnt = next(score for score in self.scores if score.way == "heard"), self.learnt
        added = "nothing, as there was too little to learn from: see above. No words find sounds without it."
        if learnt is not None:
            added = (
                f"words find sounds that nobody described: {100 * learnt.first:.0f} % of first hits, "
                f"{100 * learnt.among:.0f} % in three, were {100 * heard.first:.0f} % and {100 * heard.among:.0f} %; "
                f"chance {100 * learnt.chance:.0f} %. It learnt from what is seen and heard together in the films."
            )
        lines = [
            "",
            f"{self.files} films, photos and sounds without one subtitle: {100 * self.scores[-1].first:.0f} % of "
            "questions about what is seen, spoken or written there bring up the right moment first "
            f"(chance {100 * self.scores[-1].chance:.0f} %).",
            "",
            "  words for what is         first  in first 3   chance  questions  moments",
            *map(str, self.scores),
            "",
            *(f'  "{words}"  {_shown(hit)}' for words, hit in self.hits.items()),
            "",
            f"What learning adds: {added}",
            "",
        ]
        stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        lines += [f"{sum(self.seconds.values()):.0f} s in all: {stages}. Media: {MEDIA.parent / 'ATTRIBUTION.md'}"]
        return "\n".join([*lines, f"next: seehear open {self.media} --library {self.library}"])


def own_media(folder: Path) -> Path:
    """The media of the demo, copied into `folder` once."""
    media, part = folder / "media", folder / "media.part"
    if not media.is_dir():
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(MEDIA, part)
        part.rename(media)  # a copy that was cut short never has the name of a whole one
    return media


def demo(folder: Path) -> _DemoReport:
    """Runs the whole demo in `folder`; finished stages are not repeated."""
    seconds: dict[str, float] = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        result = work()
        seconds[name] = time.monotonic() - started
        return result

    media, uri = own_media(folder), str(folder / "library")
    stage("reading", lambda: bring_up_to_date(media, uri))
    library, asked = LibraryTables.open(uri), questions()

    def before() -> tuple[list[Score], dict[str, Moment]]:
        # The frozen indexes alone: on a second call the trained one is there too.
        spaces = {index.name: index.space for index in open_library(library).indexes if index.frozen}
        return _ask(MomentSearch(library, spaces), asked)

    scores, hits = stage("asking", before)
    learnt = stage("learning", lambda: _learn(library, folder / "run", asked))
    files = len({source for clip in library.clips() for source in (clip.source, clip.audio_source) if source})
    report = _DemoReport(str(media), uri, files, tuple(scores), learnt, hits, seconds)
    (folder / "demo.json").write_text(json.dumps(asdict(report), indent=1, ensure_ascii=False), encoding="utf-8")
    return report


def _learn(library: LibraryTables, folder: Path, asked: Sequence[Question]) -> Score | None:
    """Trains on the library as `seehear train` does, indexes the run, and scores sounds again; None for too little
    data."""
    if not (folder / "model").is_dir():
        try:
            train_run(library, recipe(LEARNING), folder, command=f"seehear train {library.uri} {LEARNING}")
        except SeehearError as error:
            say(f"nothing is learnt: {error}")
            return None
    # On every call: an existing index gets new clips only.
    index_run(library, folder, name="learnt")
    return score("heard", open_library(library), asked)


def questions() -> list[Question]:
    """Questions of the packaged table, with answers such as 'films/a.mp4@3-6.5|photos/b.jpg'."""

    def place(answer: str) -> tuple[str, float, float]:
        file, _, times = answer.partition("@")
        start, _, end = times.partition("-")
        return file, float(start or 0), float(end or "inf")

    with (ASSETS / "queries.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [Question(row["way"], row["query"], tuple(map(place, row["answers"].split("|")))) for row in rows]


def _ask(searcher: MomentSearch, asked: Sequence[Question]) -> tuple[list[Score], dict[str, Moment]]:
    """Scores of each way and of `ANY`, and the first hits of `SHOWN`."""
    hits = {words: searcher.search(words, k=1).hits for words in SHOWN}
    shown = {words: found[0] for words, found in hits.items() if found}
    return [score(way, searcher, asked) for way in (*WAYS, ANY)], shown


def score(way: str, searcher: MomentSearch, asked: Sequence[Question]) -> Score:
    """Score of the questions of one way among the moments of that way; of `ANY` among all moments."""
    own = [q for q in asked if (q.way != "heard" if way == ANY else q.way == way)]
    # Sounds of films were learned from; sounds without a film are the test.
    filters = Filters(source=_SOUNDS) if way == "heard" else None

    def can_match(clip: Clip) -> bool:
        if way in ("seen", ANY):
            return clip.has_video or way == ANY
        if way == "heard":
            return clip.source_of("audio").startswith(_SOUNDS.rstrip("*"))
        return any(kind_of_text(text) == way for text in clip.texts)

    can = list(filter(can_match, searcher.clips.values()))
    kinds = () if way == ANY else (way,)
    ranks = [_rank(question, searcher, kinds, filters) for question in own]
    # A question may have several right moments: its chance is their share.
    chance = [sum(map(question.right, can)) / max(len(can), 1) for question in own]
    first, among = (_mean([rank <= depth for rank in ranks]) for depth in (1, _DEPTH))
    return Score(way, first, among, _mean(chance), len(own), len(can))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _rank(question: Question, searcher: MomentSearch, kinds: Sequence[str], filters: Filters | None) -> float:
    """Rank of the first right hit, infinity for none."""
    try:
        hits = searcher.search(question.words, k=_DEPTH, kinds=kinds, filters=filters).hits
    except SeehearError:
        # No index compares words in this way.
        return np.inf
    # Ranks beyond the third are not told apart, as no score asks for them.
    return next((n for n, hit in enumerate(hits, start=1) if question.right(hit)), np.inf)


def _shown(hit: Moment) -> str:
    times = "" if hit.start == hit.end else f" {hit.start:.1f}-{hit.end:.1f} s"
    said = f': "{hit.text}"' if hit.kind in ("spoken", "screen") else ""
    return f"{hit.kind}, {hit.words}: {hit.source}{times}{said}"
