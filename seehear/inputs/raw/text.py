"""Words as numbers, and the sentences of a library by recording and time.

Words are separated by white space, punctuation and symbols; apostrophes inside a word are kept. 0 is padding, 1 an
unknown word, and the rest are in the order of frequency: the same texts give the same numbers.

A clip's texts come first: timed lines by distance from the window, captions of the whole clip in random order; then the
sentences of the recording nearest in time. All are positives for methods that learn from several (MIL-NCE); rows of
zeros pad their number.
"""

from __future__ import annotations

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from seehear.encoders.weights import fingerprint
from seehear.errors import SeehearError, read_json
from seehear.library.records import Clip, learned_texts
from seehear.nn.random import TextWeights
from seehear.types import Float, Int

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables


PADDING, UNKNOWN = 0, 1
_NAMES = ("<padding>", "<unknown>")
_FORMAT = 1


class _Kept(dict[int, int | str | None]):
    """Table for `str.translate`: keeps letters, marks and digits, drops invisible signs, makes all else a space."""

    def __missing__(self, code: int) -> int | str | None:
        # Stored in the table, so that each character is looked up once.
        kind = unicodedata.category(chr(code))
        self[code] = code if kind[0] in "LMN" else None if kind == "Cf" else " "
        return self[code]


# Apostrophes of all kinds are one.
_KEPT = _Kept({ord(c): "'" for c in "'\u2018\u2019\u02bc"})


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    words: int = 65_534
    """Largest number of words; 2^16 with padding and the unknown word, as in the paper."""
    min_count: int = 1
    """Frequency in the library's texts below which a word is unknown."""
    lower: bool = True
    """Ignore case."""
    table: str = ""
    """File of word vectors (word2vec .bin or .txt, .npz, .safetensors). The words are then those of the library that it
    knows, filled up with its first ones."""

    def __post_init__(self) -> None:
        if self.words < 1 or self.min_count < 1:
            raise SeehearError(
                f"vocabulary: words and min_count must be 1 or more; got {self.words} and {self.min_count}"
            )


class Vocabulary:
    """Numbers of words."""

    def __init__(self, words: Sequence[str], *, lower: bool, by_byte: bool = False):
        """`by_byte`: each byte of a text is a word, for encoders that split texts themselves."""
        self.words, self.lower, self.by_byte = tuple(words), lower, by_byte
        self._number = {word: n for n, word in enumerate(self.words, start=len(_NAMES))}
        if len(self._number) != len(self.words):
            raise ValueError("a word comes twice")

    def __len__(self) -> int:
        """Rows of an embedding: the words, padding and the unknown word."""
        return len(_NAMES) + len(self.words)

    @property
    def fingerprint(self) -> str:
        # Only where it holds: the fingerprints of older vocabularies stay as they are.
        more = {"by_byte": True} if self.by_byte else {}
        return fingerprint(words=self.words, lower=self.lower, format=_FORMAT, **more)

    def split(self, text: str) -> list[str]:
        """The words of a text, as the vocabulary spells them."""
        if self.by_byte:
            # latin-1 gives each byte a letter of its own.
            # White space is folded, as in `ReadText`: the encoder sees the same text.
            return list(" ".join(text.split()).encode().decode("latin-1"))
        # One spelling for letters that are composed or decomposed.
        text = unicodedata.normalize("NFC", text.lower() if self.lower else text)
        return [word for part in text.translate(_KEPT).split() if (word := part.strip("'"))]

    def encode(self, text: str, length: int) -> Int[np.ndarray, " l"]:
        """int64: numbers of the first `length` words, then padding."""
        row = np.full(length, PADDING, np.int64)
        for at, word in enumerate(self.split(text)[:length]):
            row[at] = self._number.get(word, UNKNOWN)
        return row

    def vectors(self, table: str | Path) -> Float[np.ndarray, "v d"]:
        """float32 vectors of a file of word vectors, a row a number. Padding is zero; the unknown word, and words that
        the file lacks, are the mean of all others."""
        from seehear.encoders.wordfiles import open_word_file

        file = open_word_file(Path(table).expanduser())
        known = [n for n, word in enumerate(self.words, start=len(_NAMES)) if file.knows(word)]
        if not known:
            raise SeehearError(f"{table} knows none of the vocabulary's {len(self.words):,} words")
        found_VD = np.zeros((len(self), file.width), np.float32)
        found_VD[known] = file.vectors([self.words[n - len(_NAMES)] for n in known])
        # The mean and not zeros, which are padding.
        found_VD[np.setdiff1d(np.arange(1, len(self)), known)] = found_VD[known].mean(axis=0)
        return found_VD

    # -- on disk -----------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_json(), encoding="utf-8")

    def to_json(self) -> str:
        content = {"format": _FORMAT, "fingerprint": self.fingerprint, "lower": self.lower, "words": self.words}
        content |= {"by_byte": True} if self.by_byte else {}
        return json.dumps(content, ensure_ascii=False, indent=0) + "\n"

    @classmethod
    def load(cls, path: str | Path, *, expected: str = "") -> Vocabulary:
        """Loads the JSON of `save`. `expected`: fingerprint of the vocabulary that a model was trained with."""
        if not Path(path).is_file():
            raise SeehearError(f"{path}: there is no such vocabulary; it is kept beside the model")
        try:
            content = read_json(path, "it is no vocabulary of seehear")
            by_byte = bool(content.get("by_byte", False))
            words = content["words"]
            if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
                raise ValueError("`words` must be a list of text")
            made = cls(words, lower=bool(content["lower"]), by_byte=by_byte)
            recorded, version = content["fingerprint"], content["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise SeehearError(f"{path}: is no vocabulary of seehear ({str(error).splitlines()[0]})") from error
        if version != _FORMAT:
            raise SeehearError(f"{path}: is a vocabulary of format {version}, this seehear reads {_FORMAT}")
        if made.fingerprint != recorded:
            raise SeehearError(f"{path}: was changed by hand or is damaged: its words are not those it was saved with")
        if expected and made.fingerprint != expected:
            raise SeehearError(
                f"{path}: is another vocabulary (of {len(made):,} words, {recorded}) than the one the model was "
                f"trained with ({expected}): use the file that was saved beside the model"
            )
        return made


def bytes_of_texts() -> Vocabulary:
    """Vocabulary of UTF-8 bytes, which `encoders/learning.py` reads."""
    return Vocabulary([chr(byte) for byte in range(256)], lower=False, by_byte=True)


# -- learning ----------------------------------------------------------------------------------------------------------


def learn_vocabulary(texts: Iterable[str], config: VocabularyConfig | None = None) -> Vocabulary:
    """The most frequent words of some texts, equal ones in alphabetical order."""
    config = config or VocabularyConfig()
    splitter = Vocabulary((), lower=config.lower)
    count = Counter(word for text in texts for word in splitter.split(text))
    # Ties by letter: the same texts give the same numbers.
    frequent = sorted((w for w, n in count.items() if n >= config.min_count), key=lambda w: (-count[w], w))
    if config.table:
        from seehear.encoders.wordfiles import open_word_file

        table = open_word_file(Path(config.table).expanduser())
        frequent = [word for word in frequent if table.knows(word)]
        # Filled up with words of the table; those that no text can have are left out.
        if len(frequent) < config.words:
            more = (word for word in table.in_order() if splitter.split(word) == [word])
            frequent = list(islice(dict.fromkeys((*frequent, *more)), config.words))
    if not frequent:
        where = f" that {config.table} knows" if config.table else ""
        raise SeehearError(f"vocabulary: the texts hold no word{where} at least {config.min_count} times")
    return Vocabulary(frequent[: config.words], lower=config.lower)


def library_vocabulary(library: LibraryTables, config: VocabularyConfig | None = None) -> Vocabulary:
    """Vocabulary of the texts of a library's training clips."""
    # Held-out clips do not decide which words are known.
    clips = library.clips("split = 'train'")
    return learn_vocabulary((text.text for clip in clips for text in learned_texts(clip)), config)


# -- sentences ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Sentences:
    """Sentences with a known word, in the order of (recording, time of their middle)."""

    tokens: np.ndarray
    """(R, L) int32."""
    middle: np.ndarray
    """(R,) float64, seconds."""
    first: np.ndarray
    """(V + 1,) int64: recording v has rows first[v] to first[v + 1]."""
    own: np.ndarray
    """(R,) int64: rows clip by clip."""
    own_first: np.ndarray
    """(N + 1,) int64: clip n has own[own_first[n]] to own[own_first[n + 1]]."""
    timed: np.ndarray
    """(N,) bool: the texts of the clip follow each other in time."""
    weights: TextWeights | None = None
    """Confidence of the rows; None where all are certain."""

    def has(self) -> np.ndarray:
        """(N,) bool."""
        return np.diff(self.own_first) > 0

    def around(
        self,
        clip: int,
        recording: int,
        middle: float,
        count: int,
        draws: np.random.Generator | None,
        *,
        part_R: np.ndarray | None = None,
    ) -> Int[np.ndarray, "k l"]:
        """int64: the clip's own sentences, then those of its recording nearest to `middle`; zeros without text.
        `part_R`: rows that take part, all by default."""
        own = self.own[self.own_first[clip] : self.own_first[clip + 1]]
        found = np.zeros((count, self.tokens.shape[1]), np.int64)
        if part_R is not None:
            own = own[part_R[own]]
        if not len(own):
            return found
        if self.timed[clip]:
            own = own[np.argsort(np.abs(self.middle[own] - middle), kind="stable")]
        elif draws is not None:
            own = draws.permutation(own)
        chosen = own[:count]
        if len(chosen) < count:
            near = self._near(own, recording, middle, count - len(chosen), part_R)
            chosen = np.concatenate([chosen, near])
        found[: len(chosen)] = self.tokens[chosen]
        return found

    def _near(
        self, own: np.ndarray, recording: int, middle: float, count: int, part_R: np.ndarray | None
    ) -> np.ndarray:
        """Rows of a recording that are not the clip's own, the nearest first; of equal ones the earlier."""
        low, high = self.first[recording : recording + 2]
        place, reach = low + np.searchsorted(self.middle[low:high], middle), count + len(own)
        # The nearest lie in this window even if it holds all of the own ones: a recording may have thousands.
        rows = np.arange(max(low, place - reach), min(high, place + reach))
        rows = rows[~np.isin(rows, own)]
        rows = rows if part_R is None else rows[part_R[rows]]
        return rows[np.argsort(np.abs(self.middle[rows] - middle), kind="stable")][:count]


def sentences_of(clips: Sequence[Clip], recordings: np.ndarray, vocabulary: Vocabulary, words: int) -> Sentences:
    """Sentences of clips, given the number of each one's recording. An untimed text lies in the clip's middle."""
    tokens, middle, clip, sure = [], [], [], []
    timed = np.zeros(len(clips), bool)
    for n, c in enumerate(clips):
        texts = learned_texts(c)
        timed[n] = bool(texts) and all(text.start is not None for text in texts)
        for text in texts:
            row = vocabulary.encode(text.text, words)
            if (row > UNKNOWN).any():
                start = c.start if text.start is None else text.start
                end = text.end if text.end is not None else c.end if text.start is None else start
                tokens.append(row)
                middle.append((start + end) / 2)
                clip.append(n)
                sure.append(text.confidence)
    clip_R, middle_R = np.array(clip, np.int64), np.array(middle, np.float64)
    video_R = np.asarray(recordings, np.int64)[clip_R]
    # By clip in the end, so that lines of the same time have one order in every run.
    order = np.lexsort((clip_R, middle_R, video_R))
    clip_R = clip_R[order]
    many = int(np.max(recordings, initial=-1)) + 1
    return Sentences(
        tokens=np.array(tokens, np.int32).reshape(len(clip_R), words)[order],
        middle=middle_R[order],
        first=np.searchsorted(video_R[order], np.arange(many + 1)),
        own=np.argsort(clip_R, kind="stable"),
        own_first=np.searchsorted(np.sort(clip_R), np.arange(len(clips) + 1)),
        timed=timed,
        weights=TextWeights(np.array(sure)[order]) if min(sure, default=1.0) < 1 else None,
    )
