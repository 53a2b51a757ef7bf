"""Answer to a query: moments of a library's media, best first."""

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
    """Seconds; of the matching text if it has times, else of the clip, or of a window around the matching frame."""
    end: float
    kind: str
    """seen, heard, spoken, screen; text for a caption by the user."""
    text: str
    """Matching text, else the clip's first."""
    score: float
    """Score in [0, 1] that falls with the rank."""
    confidence: float
    """Share of hits of this confidence that are right, in [0, 1]."""
    clip: str
    source: str
    """Name of the file in the library."""
    labels: tuple[str, ...] = ()
    also: tuple[str, ...] = ()
    """Other places of the same file."""
    still: float = 0.0
    """Seconds of the matching frame, else the middle."""
    film: str = ""
    """`source`, but the film where its sound is a separate file."""

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
        return {name: getattr(self, name) for name in names} | ({"also": list(self.also)} if self.also else {})


@dataclass(frozen=True)
class FilmHits:
    """Moments of one film, sound or picture, best first."""

    source: str
    """Name of the file in the library; '' for a clip of text alone."""
    hits: list[Moment]


@dataclass(frozen=True)
class Answer:
    query: str
    hits: list[Moment]
    indexed: int
    """Number of indexed clips."""
    clips: int
    """Number of clips in the library."""

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, place: int) -> Moment:
        return self.hits[place]

    @property
    def words(self) -> str:
        """Largest confidence in words; 'nothing close' where the best moment is no answer."""
        # Not of the first hit: the order follows the words of texts as well, and the confidence need not.
        return in_words(max((hit.confidence for hit in self.hits), default=0.0))

    @property
    def films(self) -> list[FilmHits]:
        """Moments by file, ordered by the best of each."""
        # A clip of text alone has no film, and stands for itself.
        films: dict[str, FilmHits] = {}
        for hit in self.hits:
            films.setdefault(hit.film or hit.clip, FilmHits(hit.film, [])).hits.append(hit)
        return list(films.values())

    def plain(self) -> dict[str, Any]:
        hits = [hit.plain() for hit in self.hits]
        return {"query": self.query, "words": self.words, "hits": hits, "indexed": self.indexed, "clips": self.clips}
