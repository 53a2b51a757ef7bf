"""The demo: real films, photos and sounds without one subtitle, found by typed words in four ways.

A folder as anyone has one is searched as `seehear find` and `seehear open` do it. Questions with known answers, which
ship beside the media and were written before anything was measured, say how well each way works; then the library
learns from itself, and the same questions say what that adds. Names of files are not read.
"""

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
from seehear.library.tables import Clip, Library
from seehear.progress import say
from seehear.runs.run import recipe, train_run
from seehear.search.answer import Moment
from seehear.search.background import kind_of_text
from seehear.search.filters import Filters
from seehear.search.moments import MomentSearch

ASSETS = Path(__file__).parent / "assets" / "demo"
MEDIA = ASSETS / "media"
WAYS = {"seen": "seen", "heard": "heard", "spoken": "spoken", "screen": "written on screen"}
"""How words find a moment -> what it is called."""
ANY = "any"
"""The questions about what is seen, spoken and written, asked without saying which."""
SHOWN = ("a polar bear", "a dog barking", "that password is too weak", "price of a dozen eggs")
LEARNING = "fusemix.bind"
"""What is learnt: sounds into the space of words and pictures, from films alone."""
_SOUNDS = "sounds/*"  # heard on their own: what is heard in films is what is learnt from
_DEPTH = 3


@dataclass(frozen=True)
class Question:
    way: str
    words: str
    answers: tuple[tuple[str, float, float], ...]
    """File, start and end in seconds of each right answer; 0 and infinity for a whole file."""

    def right(self, hit: Moment | Clip) -> bool:
        """Whether what plays first of a moment or clip, after a second or in its middle, is one of the answers. The
        whole moment would be no measure: neighbours that look alike are one."""
        file = hit.source_of("audio" if self.way == "heard" else "video") if isinstance(hit, Clip) else hit.source
        shown = hit.start + min((hit.end - hit.start) / 2, 1.0)
        return any(file == source and start <= shown <= end for source, start, end in self.answers)


@dataclass(frozen=True)
class Score:
    """Questions of one way; shares in [0, 1]."""

    way: str
    first: float
    """Share whose first hit is right."""
    among: float
    """Share with a right one among the first three."""
    chance: float
    """Expected share of right first hits in random order."""
    questions: int
    moments: int
    """Number of moments that can answer."""

    def __str__(self) -> str:
        if not self.moments:
            return f"  {WAYS[self.way]:<24}not read: see above for what to install"
        name = WAYS.get(self.way, "any but heard, not told")
        shares = "".join(f"{f'{100 * share:.0f} %':>{n}}" for share, n in ((self.first, 8), (self.among, 12)))
        return f"  {name:<24}{shares}{f'{100 * self.chance:.0f} %':>9}{self.questions:>11}{self.moments:>9}"


@dataclass(frozen=True)
class DemoReport:
    media: str
    """The folder that is searched, a copy of the packaged one."""
    library: str
    files: int
    scores: tuple[Score, ...]
    """Before anything is learnt; the last one where the way is not given."""
    learnt: Score | None
    """What is heard, after learning; None where nothing could be learnt."""
    hits: dict[str, Moment]
    seconds: dict[str, float] = field(default_factory=dict)
    """Wall clock by stage."""

    def plain(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        lines = [
            "",
            f"{self.files} films, photos and sounds without one subtitle: {100 * self.scores[-1].first:.0f} % of "
            "questions about what is seen, spoken or written there bring up the right moment first "
            f"(chance {100 * self.scores[-1].chance:.0f} %).",
            "",
            "  words for what is         first  in first 3   chance  questions  moments",
            *map(str, self.scores),
            "",
            *(f'  "{words}"  {_told(hit)}' for words, hit in self.hits.items()),
            "",
            f"What learning adds: {self._added()}",
            "",
        ]
        stages = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in self.seconds.items())
        lines += [f"{sum(self.seconds.values()):.0f} s in all: {stages}. Media: {MEDIA.parent / 'ATTRIBUTION.md'}"]
        return "\n".join([*lines, f"next: seehear open {self.media} --library {self.library}"])

    def _added(self) -> str:
        heard = next(score for score in self.scores if score.way == "heard")
        if self.learnt is None:
            return "nothing, as there was too little to learn from: see above. No words find sounds without it."
        return (
            f"words find sounds that nobody described: {100 * self.learnt.first:.0f} % of first hits, "
            f"{100 * self.learnt.among:.0f} % in three, were {100 * heard.first:.0f} % and {100 * heard.among:.0f} %; "
            f"chance {100 * self.learnt.chance:.0f} %. It learnt from what is seen and heard together in the films."
        )


def demo(folder: Path) -> DemoReport:
    """All of it, from media to answers, in `folder`; what is there already is not done again."""
    seconds: dict[str, float] = {}

    def stage(name: str, work: Callable[[], Any]) -> Any:
        started = time.monotonic()
        result = work()
        seconds[name] = time.monotonic() - started
        return result

    media, uri = folder / "media", str(folder / "library")
    if not media.is_dir():
        shutil.copytree(MEDIA, media)
    stage("reading", lambda: bring_up_to_date(media, uri))
    library, asked = Library.open(uri), questions()
    scores, hits = stage("asking", lambda: ask(frozen_search(library), asked))
    learnt = stage("learning", lambda: learn(library, folder / "run", asked))
    files = len({source for clip in library.clips() for source in (clip.source, clip.audio_source) if source})
    report = DemoReport(str(media), uri, files, tuple(scores), learnt, hits, seconds)
    (folder / "demo.json").write_text(json.dumps(report.plain(), indent=1, ensure_ascii=False), encoding="utf-8")
    return report


def learn(library: Library, folder: Path, asked: Sequence[Question]) -> Score | None:
    """Train on the library as `seehear train` does, index what came out, and ask again for what is heard."""
    if not (folder / "model").is_dir():
        try:
            train_run(library, recipe(LEARNING), folder, command=f"seehear train {library.uri} {LEARNING}")
        except SeehearError as error:
            say(f"nothing is learnt: {error}")
            return None
    index_run(library, folder, name="learnt")
    return score("heard", open_library(library), asked)


# -- measured ----------------------------------------------------------------------------------------------------------


def questions() -> list[Question]:
    with (ASSETS / "queries.csv").open(newline="", encoding="utf-8") as file:
        return [
            Question(r["way"], r["query"], tuple(map(_place, r["answers"].split("|")))) for r in csv.DictReader(file)
        ]


def _place(answer: str) -> tuple[str, float, float]:
    """'films/a.mp4@3-6.5' -> its file, start and end."""
    file, _, times = answer.partition("@")
    start, _, end = times.partition("-")
    return file, float(start or 0), float(end or "inf")


def frozen_search(library: Library) -> MomentSearch:
    """The library as it is searched before anything is learnt, also when something has been since."""
    spaces = {index.name: index.space for index in open_library(library).indexes if index.frozen}
    return MomentSearch(library, spaces)


def ask(searcher: MomentSearch, asked: Sequence[Question]) -> tuple[list[Score], dict[str, Moment]]:
    """A score for each way and for the questions together, and some first hits to show."""
    hits = {words: searcher.search(words, k=1).hits for words in SHOWN}
    shown = {words: found[0] for words, found in hits.items() if found}
    return [score(way, searcher, asked) for way in (*WAYS, ANY)], shown


def score(way: str, searcher: MomentSearch, asked: Sequence[Question]) -> Score:
    """The questions of one way, asked of what can answer in that way; or of all ways but one, asked of everything."""
    own = [q for q in asked if (q.way != "heard" if way == ANY else q.way == way)]
    filters = Filters(source=_SOUNDS) if way == "heard" else None
    can = [clip for clip in searcher.clips.values() if way == ANY or _can_answer(clip, way)]
    kinds = () if way == ANY else (way,)
    ranks = [_rank(question, searcher, kinds, filters) for question in own]
    chance = [sum(map(question.right, can)) / max(len(can), 1) for question in own]
    first, among = (_mean([rank <= depth for rank in ranks]) for depth in (1, _DEPTH))
    return Score(way, first, among, _mean(chance), len(own), len(can))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0


def _rank(question: Question, searcher: MomentSearch, kinds: Sequence[str], filters: Filters | None) -> float:
    """Place of the first right hit; infinity where there is none."""
    try:
        hits = searcher.search(question.words, k=_DEPTH, kinds=kinds, filters=filters).hits
    except SeehearError:  # nothing can answer words in this way
        return np.inf
    return next((n for n, hit in enumerate(hits, start=1) if question.right(hit)), np.inf)


def _can_answer(clip: Clip, way: str) -> bool:
    if way == "seen":
        return clip.has_video
    if way == "heard":
        return clip.source_of("audio").startswith(_SOUNDS.rstrip("*"))
    return any(kind_of_text(text) == way for text in clip.texts)


def _told(hit: Moment) -> str:
    times = "" if hit.start == hit.end else f" {hit.start:.1f}-{hit.end:.1f} s"
    said = f': "{hit.text}"' if hit.kind in ("spoken", "screen") else ""
    return f"{hit.kind}, {hit.words}: {hit.source}{times}{said}"
