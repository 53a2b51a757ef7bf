"""Parameters, request bodies and response bodies of the API, with the descriptions for OpenAPI."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Modality = Literal["video", "audio", "text"]
Kind = Literal["seen", "heard", "spoken", "screen", "text"]
TextKind = Literal["spoken", "screen", "subtitle", "caption"]
Words = Literal["strong", "fair", "weak", "nothing close"]
# No database takes them.
NO_ZERO_BYTES = "^[^\\x00]*$"
Name = Annotated[str, Field(max_length=4096, pattern=NO_ZERO_BYTES)]
"""Id of a clip, name of a run, or words of a query."""
NonEmpty = Annotated[Name, Field(min_length=1)]
"""Path of a file as the library names it, or words."""
Second = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Responses = dict[int | str, dict[str, Any]]
MEDIA: Responses = {
    200: {"content": {"*/*": {}}, "description": "the file"},
    206: {"description": "the requested range"},
}
"""Answers of a route that sends a file, whole or by ranges of bytes."""
KEPT = {"cache-control": "private, max-age=3600"}
"""Headers of a file that browsers may keep."""


class StrictModel(BaseModel):
    """Base of request bodies: unknown fields and numbers that are not finite are refused."""

    # JSON has no infinity and no NaN, but Python's reader accepts them.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ProblemAnswer(BaseModel):
    code: str
    message: str
    todo: str = Field(description="remedy: a sentence or a command; '' if there is none")


# -- requests ----------------------------------------------------------------------------------------------------------


class _Part(StrictModel):
    weight: float = Field(default=1.0, ge=-10, le=10, description="below 0: less like this")


class TextPart(_Part):
    text: NonEmpty


class ClipPart(_Part):
    clip: Name = Field(description="id of a clip: more like this")


class UploadPart(_Part):
    upload: Name = Field(description="id that POST /api/uploads gave, for the same run or for all together")
    modality: Literal["video", "audio"] | None = Field(default=None, description="only its pictures, or only its sound")


class QueryFilters(StrictModel):
    source: Name = Field(default="", description="pattern of the path: * for anything, ? for one character")
    labels: list[Name] = Field(default=[], max_length=50, description="has one of them")
    splits: list[Literal["train", "val", "test"]] = Field(default=[], max_length=3)
    min_seconds: Second | None = None
    max_seconds: Second | None = None
    says: Name = Field(default="", description="a text of the clip holds all these words")


class Query(StrictModel):
    parts: list[TextPart | ClipPart | UploadPart] = Field(min_length=1, max_length=16)
    run: Name = Field(default="", description="one index alone, by its cosines; all together by default")
    k: int = Field(default=24, ge=1, le=200)
    kinds: list[Kind] = Field(
        default=[], max_length=5, description="of all together: kinds of match to allow; all by default"
    )
    fulltext: bool = Field(default=True, description="of all together: also full-text search")
    by: Literal["moment", "film"] = Field(
        default="moment",
        description="of all together: k moments, or k films, sounds and pictures with the moments of each",
    )
    filters: QueryFilters = QueryFilters()
    modalities: list[Modality] = Field(
        default=[], max_length=3, description="of one index: modalities of a clip that may match; all by default"
    )
    hybrid: bool = Field(default=False, description="of one index: also full-text search, the two rankings joined")


class ClipList(StrictModel):
    ids: list[Name] = Field(max_length=200)


# -- answers -----------------------------------------------------------------------------------------------------------


class RunView(BaseModel):
    name: str
    title: str = Field(description="name for people, with the date of training")
    made: str
    modalities: list[str]
    together: bool = Field(description="searched when no run is named")
    dim: int
    recall: float | None = Field(description="recall@10 of an approximate index; null if search is exact")
    behind: str = Field(description="clips that are not indexed yet and the commands that index them; '' for none")


class Status(BaseModel):
    library: str
    clips: int
    runs: list[RunView] = Field(description="newest first")
    labels: dict[str, int] = Field(description="clips of each of the most frequent labels")
    splits: dict[str, int]
    folders: list[str]
    upload_mb: float
    problem: ProblemAnswer | None = Field(description="why a search is not possible yet")


class ProgressView(BaseModel):
    state: Literal["working", "waiting", "ready"] = Field(description="waiting: for files, or for the reason in `line`")
    step: str
    done: float = Field(description="seconds of work since the start")
    total: float | None = Field(description="`done` plus the estimated rest; null while that is not known")
    seconds_left: float | None
    searchable: int = Field(description="clips that can be searched")
    line: str = Field(description="all of the above as one line for the user")


class TextView(BaseModel):
    text: str
    kind: TextKind
    start: float | None = Field(description="seconds of the file; null for a text of the whole clip or file")
    end: float | None
    machine: bool = Field(description="transcribed by a machine, not written by the user")


class ClipView(BaseModel):
    id: str
    source: str
    kind: Literal["video", "picture", "sound", "text"]
    start: float
    end: float
    has_sound: bool
    separate_sound: bool = Field(description="the sound is in a separate file")
    played: bool = Field(description="browsers play files of this kind; else ask for /api/preview")
    missing: bool = Field(description="the file has moved, or may not be served")
    texts: list[TextView]
    labels: list[str]
    group: str
    split: str


class HitView(BaseModel):
    clip: ClipView
    kind: Kind = Field(description="kind of match; text: a caption of the user's own")
    score: float = Field(
        description="orders the hits, in [0, 1]; of one index the cosine, if hybrid the sum of reciprocal ranks"
    )
    confidence: float | None = Field(
        description="share of hits of this confidence that are right; of one index null for other queries than words "
        "alone, for hybrid searches and without a calibration"
    )
    words: Words | None = Field(description="the confidence in words")
    modality: Modality = Field(description="modality of the clip that matched")
    start: float = Field(
        description="seconds: the time of the matching text if it has one, else of the clip, around the matching "
        "frame where the clip is long; a moment extends over neighbours that look or sound alike"
    )
    end: float
    still: float = Field(description="seconds: the matching frame, else the middle")
    text: str
    file: str
    also: list[str] = Field(description="other places of the same file")


class FilmMoment(BaseModel):
    """Short form of a hit, for the timeline of its film."""

    clip: str = Field(description="id of the clip")
    kind: Kind
    start: float
    end: float
    still: float
    text: str
    confidence: float
    words: Words


class FilmAnswer(BaseModel):
    source: str
    seconds: float = Field(description="length of the film or sound; 0 of a picture")
    clip: ClipView = Field(description="of the best moment")
    hits: list[FilmMoment] = Field(description="best first")
    also: list[str] = Field(description="other places of the same file")


class SearchAnswer(BaseModel):
    run: str = Field(description="'' for all together")
    query: str
    words: Words | None = Field(description="the highest confidence in words; null if no hit has one")
    hits: list[HitView] = Field(description="empty for queries by film")
    films: list[FilmAnswer] | None = Field(
        default=None, description="with `by`: 'film', in the order of their best moments"
    )
    indexed: int | None = Field(default=None, description="clips that can be searched; null of one index")
    clips: int | None = Field(default=None, description="all clips of the library; null of one index")
    milliseconds: float


class UploadView(BaseModel):
    id: str
    run: str = Field(description="'' for all together")
    kind: Literal["picture", "sound", "video"]
    seconds: float = Field(description="length of the part that is searched for")
    modalities: list[str]


class ClipsAnswer(BaseModel):
    clips: list[ClipView]


class Peaks(BaseModel):
    start: float
    end: float
    peaks: list[float] = Field(description="largest amplitude of equal parts, in [0, 1]")


class MapColours(BaseModel):
    names: list[str]
    of: list[int] = Field(description="for each clip the index of its group in `names`")


class MapView(BaseModel):
    run: str
    method: Literal["pca", "tsne"]
    total: int = Field(description="clips of the library; of very many a sample is drawn")
    note: str = Field(description="why the map is empty or a single point; '' otherwise")
    ids: list[str]
    x: list[float]
    y: list[float]
    colours: dict[str, MapColours]
