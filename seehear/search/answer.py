"""The answer to a query: moments of a library's media, the best first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from seehear.search.calibrate import in_words


@dataclass(frozen=True)
class Moment:
    file: str
    """Path of the file; '' for a clip of text alone."""
    start: float
    """Seconds: of the text that answers where it has times, else of the clip, around the frame where it is long."""
    end: float
    kind: str
    """seen, heard, spoken, screen; text for a caption of the user's own."""
    text: str
    """The text that answers, else the clip's first."""
    score: float
    """Orders the moments; in [0, 1]."""
    confidence: float
    """Share of hits of this confidence that are right, in [0, 1]."""
    clip: str
    source: str
    """The file as the library names it."""
    labels: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Other places of the same file."""
    still: float = 0.0
    """Seconds: the frame that answers, else the middle."""
    film: str = ""
    """`source`, but the film where what is heard is in a file of its own."""

    @property
    def words(self) -> str:
        """The confidence in words."""
        return in_words(self.confidence)

    @property
    def why(self) -> str:
        """Kind of match, confidence, and the matching text."""
        text = f": {self.text}" if self.text else ""
        return f"{self.kind}, {self.words}{text}"

    def plain(self) -> dict[str, Any]:
        names = ("file", "start", "end", "kind", "text", "score", "confidence", "words")
        places = {"also": list(self.also)} if self.also else {}
        return {name: getattr(self, name) for name in names} | places


@dataclass(frozen=True)
class FilmHits:
    """Moments of one film, sound or picture, the best first."""

    source: str
    """The file as the library names it; '' for a clip of text alone."""
    hits: list[Moment]


@dataclass(frozen=True)
class Answer:
    query: str
    hits: list[Moment]
    indexed: int
    """Clips that a search can find."""
    clips: int
    """All clips of the library."""

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, place: int) -> Moment:
        return self.hits[place]

    @property
    def words(self) -> str:
        """The confidence of its surest moment in words: 'nothing close' where the nearest is no answer."""
        return in_words(max((hit.confidence for hit in self.hits), default=0.0))

    @property
    def films(self) -> list[FilmHits]:
        """The moments by file, in the order of the best of each."""
        found: dict[str, FilmHits] = {}
        for hit in self.hits:
            found.setdefault(hit.film or hit.clip, FilmHits(hit.film, [])).hits.append(hit)
        return list(found.values())

    def plain(self) -> dict[str, Any]:
        return {
            "query": self.query,
            "words": self.words,
            "hits": [hit.plain() for hit in self.hits],
            "indexed": self.indexed,
            "clips": self.clips,
        }
