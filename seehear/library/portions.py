"""Recordings that are to be read, and how many of them one call reads."""

from __future__ import annotations

from dataclasses import dataclass, field

from seehear.library.transcripts import Task


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One media file to read, and the tasks that its transcripts are missing for."""

    source: str
    path: str
    duration: float
    """Seconds; 0 for a picture."""
    content: str
    """Fingerprint of the file."""
    tasks: tuple[Task, ...]
    language: str = ""
    """Known from an earlier transcript or part."""
    start: float = 0.0
    """Seconds of the file that have been read before."""


def seconds_of(recording: Recording, until: float | None = None) -> int:
    """As the progress counts: a picture as one second."""
    return max(1, round(recording.duration if until is None else until) - round(recording.start))


@dataclass(kw_only=True)
class Portion:
    """What one of several calls reads, so that other work can be done in between."""

    seconds: float
    """Of media, roughly: the shortest recordings first, one at least."""
    tried: set[tuple[str, str]] = field(default_factory=set)
    """(source, fingerprint) of the recordings that such calls were given: none is tried twice."""
    taken: float = 0.0
    """Seconds of media that the last call was given."""
    left: float = 0.0
    """Seconds of media that it left."""

    def of(self, jobs: list[Recording]) -> list[Recording]:
        """The recordings of the next call."""
        todo = sorted((j for j in jobs if (j.source, j.content) not in self.tried), key=lambda job: job.duration)
        total, count = 0.0, 0
        while count < len(todo) and total < self.seconds:
            total += seconds_of(todo[count])
            count += 1
        self.tried |= {(job.source, job.content) for job in todo[:count]}
        self.taken, self.left = total, float(sum(map(seconds_of, todo[count:])))
        return todo[:count]
