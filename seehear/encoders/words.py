"""A text as the vectors of its words, in order, for methods that pool words themselves (MCN).

Words are runs of letters, digits and apostrophes, their case kept, as MCN has them; the first `max` known ones are
taken, rows behind the last are zero. A text without a known word is all zeros: it stays in the library and counts as a
query, and methods that train on sequences treat it as absent.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Self

import numpy as np

from seehear.encoders.base import Encoder, ReadText, full_name
from seehear.encoders.minilm import MiniLM, TextOptions
from seehear.encoders.weights import fingerprint, remembered_hash
from seehear.encoders.wordfiles import WordFile, open_word_file
from seehear.errors import SeehearError
from seehear.types import Float

_WORD = re.compile(r"[\w']+")
# Vectors of words: 80 MB.
_REMEMBERED = 50_000


@dataclass(frozen=True, kw_only=True)
class WordOptions:
    max: int = 20
    """Words; later ones are cut."""
    lower: str = "never"
    """unknown: a word that the table lacks is looked up once more in lower case."""

    def __post_init__(self) -> None:
        if not 1 <= self.max <= 1000:
            raise SeehearError(f"encoder 'words': max must be from 1 to 1000; got {self.max}")
        if self.lower not in ("never", "unknown"):
            raise SeehearError(f"encoder 'words': lower must be never or unknown; got {self.lower!r}")


class Words(Encoder):
    """(L, D), flat. 'words:minilm': each word alone through the packaged MiniLM. 'words:PATH': a file of vectors."""

    modality = "text"
    shape: tuple[int, int]

    def __init__(self, base: str, options: WordOptions):
        self.options, self.name = options, full_name(base, options)
        source = base.removeprefix("words:")
        self._minilm = MiniLM(TextOptions()) if source == "minilm" else None
        self._table: WordFile | _MiniLMWords
        if self._minilm is not None:
            self._table, made_of = _MiniLMWords(self._minilm), self._minilm.fingerprint
        else:
            if not source:
                raise SeehearError("'words:' needs a table after it: words:minilm, or words:PATH of a word2vec file")
            self._table, made_of = open_word_file(Path(source).expanduser()), remembered_hash(Path(source).expanduser())
        self.shape = (options.max, self._table.width)
        self.width = options.max * self._table.width
        # `rules` goes up when texts are cut into words otherwise: stored latents are then another encoder's.
        self.fingerprint = fingerprint(words=made_of, rules=1, **asdict(options))

    def to(self, device: str) -> Self:
        if self._minilm is not None:
            self._minilm.to(device)
        return self

    def preparation(self) -> ReadText:
        return ReadText()

    def encode(self, prepared: Sequence[str]) -> np.ndarray:
        known = [list(islice(self._known(text), self.options.max)) for text in prepared]
        # Each word is encoded once, however many texts have it.
        # Sorted: a set has another order in every run, and a vector's last digits depend on its batch.
        distinct = sorted({word for words in known for word in words})
        number = {word: n for n, word in enumerate(distinct)}
        vectors_ND = self._table.vectors(distinct)
        found_BLD = np.zeros((len(prepared), *self.shape), np.float32)
        for row_LD, words in zip(found_BLD, known, strict=True):
            row_LD[: len(words)] = vectors_ND[[number[word] for word in words]]
        return found_BLD.reshape(len(prepared), self.width)

    def _known(self, text: str) -> Iterator[str]:
        """Words of a text as the table spells them, without the unknown ones."""
        for word in _WORD.findall(text):
            if self._table.knows(word):
                yield word
            elif self.options.lower == "unknown" and self._table.knows(word.lower()):
                yield word.lower()


class _MiniLMWords:
    """MiniLM's vector of each word as a text of its own, which says more of a word than its word pieces do."""

    def __init__(self, encoder: MiniLM):
        self.width, self._encoder = encoder.width, encoder
        self._found: dict[str, np.ndarray] = {}

    def knows(self, word: str) -> bool:
        return word in self._found or self._encoder.reads(word)

    def vectors(self, words: Sequence[str]) -> Float[np.ndarray, "n d"]:
        if new := [word for word in words if word not in self._found]:
            if len(self._found) + len(new) > _REMEMBERED:
                self._found.clear()
                # Those that were known are forgotten as well: all words of this call are encoded.
                new = list(words)
            self._found |= dict(zip(new, self._encoder.encode(new), strict=True))
        return np.stack([self._found[word] for word in words]) if words else np.zeros((0, self.width), np.float32)
