"""Suggestions of the search box: frequent words of this library that are spoken, on screen, labels or seen."""

from __future__ import annotations

import heapq
import re
import threading
import time
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from itertools import islice, pairwise, zip_longest
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi import Query as Param
from pydantic import BaseModel, Field

from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables, Text, in_batches
from seehear.search.background import OpenIndex, kind_of_text
from seehear.search.calibrate import background_phrases
from seehear.serve.maps import stopwords
from seehear.serve.problems import Problem
from seehear.serve.state import State

WordKind = Literal["label", "seen", "spoken", "screen", "text"]
Words = dict[str, dict[str, int]]
"""{word or phrase: {kind: number of clips}}"""
_KINDS: tuple[WordKind, ...] = ("label", "seen", "spoken", "screen", "text")
MOST = 50
"""Largest number of suggestions."""
# Number of most frequent words to keep of each kind
_KEPT = 20_000
# Pairs of words in memory above which those counted once are dropped: in a large library most never recur
_MANY = 500_000
# Largest share of the clips with texts of a kind that a suggested word may have, from `_ENOUGH` such clips on
_COMMON = 0.1
_ENOUGH = 200
# Least number of clips for a phrase of two words
_PAIRS = 3
# Least confidence of a thing that counts as seen: seven of nine in the demo and in `shared/data/home` are right.
# Between 0.5 and 0.7 half are wrong, since most nouns occur in no library.
_SURE = 0.7
# Nouns in a batch: a stopping server waits for the current batch
_NOUNS = 32
# Pause between two counts of a library that changes, in multiples of the last count's duration; seconds that the
# first request waits for a count
PAUSE, _WAIT = 10.0, 2.0
_TOKEN = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")
_BREAK = re.compile(r"[^\w\s'’-]+")


class Suggestion(BaseModel):
    text: str
    found: dict[WordKind, int] = Field(
        description="number of clips by kind. label: of your own; text: in a caption; seen: most likely"
    )


class SuggestAnswer(BaseModel):
    suggestions: list[Suggestion] = Field(description="for an empty text the most frequent of each kind, kinds in turn")


# -- the vocabulary of a running server --------------------------------------------------------------------------------


class LibraryVocabulary:
    """Words of a server's library, counted in the background again when it has changed, and cached on disk."""

    def __init__(self, state: State):
        self._state = state
        self._lock = threading.Lock()
        self._counting: Future[None] | None = None
        self._key: Any = None
        self._due = 0.0
        self._lookup = Lookup({})

    def now(self) -> Lookup:
        """The words counted so far."""
        runs, standing = self._state.runs, self._state.progress
        about = runs.about()
        # While the folder is indexed, the index changes every few seconds: counting would slow the indexing down.
        settled = standing is None or standing().state != "working"
        indexes = [(name, own.get("changed"), own.get("background", {}).get("made")) for name, own in about.items()]
        key = (runs.uri, runs.library.table("clips").version, indexes if settled else None)
        with self._lock:
            idle = self._counting is None or self._counting.done()
            if key != self._key and idle and time.monotonic() >= self._due:
                self._counting = self._state.background.submit(self._count, key)
            first = self._counting if self._key is None else None
        if first is not None:
            # Typing goes on meanwhile, and the next letter may get them.
            with suppress(TimeoutError):
                first.result(timeout=_WAIT)
        return self._lookup

    def _count(self, key: tuple[Any, ...]) -> None:
        began, library, kept = time.monotonic(), self._state.runs.library, self._state.cache.value
        self._lookup = Lookup(words := kept("suggest", "words", *key[:2], make=lambda: library_words(library)))
        if key[2]:
            # No usable index: a search says why.
            with suppress(Problem, SeehearError):
                search = self._state.runs.together().search
                seen = kept("suggest", "seen", *key, make=lambda: seen_words(search.indexes, self._state.closing))
                self._lookup = Lookup(_merged(words, seen))
        self._key, self._due = key, time.monotonic() + PAUSE * (time.monotonic() - began)


router = APIRouter()


@router.get("/api/suggest", tags=["search"])
def suggest(
    request: Request,
    q: Annotated[str, Param(max_length=200)] = "",
    limit: Annotated[int, Param(ge=1, le=MOST)] = 10,
) -> SuggestAnswer:
    """Words and phrases of the library that begin with the text, or with its last word, ignoring accents and case."""
    vocabulary: LibraryVocabulary = request.app.state.vocabulary
    return SuggestAnswer(suggestions=vocabulary.now().suggest(q, limit))


def _merged(*parts: Words) -> Words:
    merged: Words = {}
    for part in parts:
        for text, found in part.items():
            own = merged.setdefault(text, {})
            own |= {kind: max(count, own.get(kind, 0)) for kind, count in found.items()}
    return merged


# -- counting ----------------------------------------------------------------------------------------------------------


def library_words(library: LibraryTables) -> Words:
    """Words and phrases of a library's texts, and its labels."""
    tallies: dict[str, _Tally] = {}
    labels: Counter[str] = Counter()
    rows = library.rows("clips", None, ["texts", "labels"])
    # Batches: as Python objects, all texts of a large library would take gigabytes.
    for batch in rows.to_batches(max_chunksize=8192):
        for texts, own in zip(batch["texts"].to_pylist(), batch["labels"].to_pylist(), strict=True):
            labels.update(set(own or ()))
            by_kind: dict[str, set[str]] = {}
            for text in (Text(t["text"], t["start"], kind=t["kind"]) for t in texts or ()):
                by_kind.setdefault(kind_of_text(text), set()).add(text.text)
            for kind, lines in by_kind.items():
                tallies.setdefault(kind, _Tally()).add(lines)
    words: Words = {label: {"label": count} for label, count in labels.most_common(_KEPT)}
    return _merged(words, *({text: {kind: n} for text, n in tally.words()} for kind, tally in tallies.items()))


class _Tally:
    """Numbers of clips in which the words and pairs of words of one kind of texts occur."""

    def __init__(self) -> None:
        self.clips = 0
        self._stop = {_folded(word) for word in stopwords()}
        self._counts: Counter[str] = Counter()
        self._pairs: Counter[tuple[str, str]] = Counter()
        self._spelled: dict[str, str] = {}

    def add(self, lines: Iterable[str]) -> None:
        """Counts all texts of a clip."""
        self.clips += 1
        words: set[str] = set()
        pairs: set[tuple[str, str]] = set()
        for part in (part for line in lines for part in _BREAK.split(line)):
            own = [self._word(token) for token in _TOKEN.findall(part)]
            words.update(own)
            # Not across a stop word, which is ''.
            pairs.update(pair for pair in pairwise(own) if all(pair))
        self._counts.update(words - {""})
        self._pairs.update(pairs)
        if len(self._pairs) > _MANY:
            # An approximation: a dropped pair counts from one again.
            self._pairs = Counter({pair: count for pair, count in self._pairs.items() if count > 1})

    def _word(self, token: str) -> str:
        """Normal form of a word; '' for a stop word, and for one that is too short or long."""
        token = max(re.split("['’]", token), key=len)  # l'eau, dog's
        word = _folded(token)
        if word in self._stop or not 3 <= len(word) <= 30:
            return ""
        # Rather 'dog' than the 'Dog' of the start of a sentence.
        if word not in self._spelled or token.islower():
            self._spelled[word] = token
        return word

    def words(self) -> Iterator[tuple[str, int]]:
        """(text, clips) of the most frequent words, and of phrases whose words mostly occur together."""
        common = _COMMON * self.clips if self.clips >= _ENOUGH else self.clips + 1
        counts = {word: count for word, count in self._counts.items() if count <= common}
        for word, count in heapq.nlargest(_KEPT, counts.items(), key=lambda item: item[1]):
            yield self._spelled[word], count
        for (one, two), count in self._pairs.items():
            if count >= _PAIRS and one in counts and two in counts and 3 * count >= min(counts[one], counts[two]):
                yield f"{self._spelled[one]} {self._spelled[two]}", count


def seen_words(indexes: Sequence[OpenIndex], ended: threading.Event) -> Words:
    """Nouns that indexes find with confidence."""
    # Background phrases: calibration was fitted to these very words, so the confidence is that of a search for them.
    nouns = [phrase for phrase in background_phrases() if phrase.isalpha()]
    seen: Words = {}
    for index in indexes:
        if not (index.frozen and "text" in index.space.modalities and "seen" in index.calibration.scales):
            continue
        for some in in_batches(nouns, _NOUNS):
            if ended.is_set():
                raise CancelledError
            counts = index.clips_found(index.space.encode_query(some), "seen", _SURE)
            for noun, clips in zip(some, counts, strict=True):
                if clips:
                    seen[noun] = {"seen": max(clips, seen.get(noun, {}).get("seen", 0))}
    return seen


# -- looking up --------------------------------------------------------------------------------------------------------


def _folded(text: str) -> str:
    """The text in lower case without accents."""
    if text.isascii():
        return text.lower()
    plain = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in plain if not unicodedata.combining(letter)).casefold()


class Lookup:
    """Suggestions by prefix of a word or phrase."""

    def __init__(self, words: Words):
        # Spellings that differ in accents and case only are one suggestion, under the first of them.
        names: dict[str, str] = {}
        same = _merged(*({names.setdefault(_folded(text), text): found} for text, found in words.items()))
        self._all = {_folded(text): Suggestion(text=text, found=found) for text, found in same.items()}  # type: ignore
        # Sorted suffixes from each word on: a prefix of any word is found by bisection.
        starts = {(key[at:], key) for key in self._all for at in (0, *(m.end() for m in re.finditer(r"\s+", key)))}
        self._starts = sorted(starts)
        columns = []
        for kind in _KINDS:
            # Words that are said or written only once are left out.
            least = 1 if kind in ("label", "seen") else 2
            counts = {key: word.found.get(kind, 0) for key, word in self._all.items()}
            own = [(-count, key) for key, count in counts.items() if count >= least]
            columns.append([key for _, key in heapq.nsmallest(MOST, own)])
        turns = dict.fromkeys(key for turn in zip_longest(*columns) for key in turn if key is not None)
        self._frequent = [self._all[key] for key in islice(turns, MOST)]

    def suggest(self, typed: str, limit: int) -> list[Suggestion]:
        """Completions of the text, then of its last word; for an empty text the most frequent words of each kind."""
        wanted = _folded(typed).lstrip()
        if not wanted:
            return self._frequent[:limit]
        completions = self._beginning(wanted, limit)
        head, space, last = typed.rpartition(" ")
        if space and len(last) > 1 and len(completions) < limit:
            ends = self._beginning(_folded(last), limit)
            completions += [Suggestion(text=f"{head} {end.text}".strip(), found=end.found) for end in ends]
        return completions[:limit]

    def _beginning(self, wanted: str, limit: int) -> list[Suggestion]:
        """Suggestions with a word that begins so: first matches of a whole word, then the most frequent."""
        keys: dict[str, bool] = {}
        for start, key in islice(self._starts, bisect_left(self._starts, (wanted,)), None):
            if not start.startswith(wanted):
                break
            keys[key] = keys.get(key, False) or start == key
        rank = {key: (not whole, -sum(self._all[key].found.values()), key) for key, whole in keys.items()}
        return [self._all[key] for key in heapq.nsmallest(limit, rank, key=rank.__getitem__)]
