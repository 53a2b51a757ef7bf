"""One space for what is seen, heard and said.

    space = SharedSpace.from_pretrained("runs/fusemix")
    v = space.encode([{"video": "clip.mp4", "start": 3.0, "end": 8.0}])
    t = space.encode(["a dog barks"])
    space.similarity(t, v)  # (1, 1), cosine

A file or text has the same vector every time, whatever it is encoded with, and the one that the library's index holds
to float16 rounding: latents are rounded as the library stores them, and the model runs on blocks of a fixed size.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from seehear.encoders.base import Encoder, Sample
from seehear.encoders.weights import tensors_hash
from seehear.errors import SeehearError, unknown
from seehear.methods.base import Method
from seehear.nn.unit import unit
from seehear.progress import say
from seehear.space.saved import load_method, model_folder
from seehear.train.files import save_model
from seehear.types import Batch, Float, Modality, Tensor

if TYPE_CHECKING:
    from seehear.data.library import Library
    from seehear.space.towers import InputSpec, Tower

Item = str | Mapping[str, Any]
"""A text, or {"text"}, {"video"}, {"audio"}, {"image"} alone or together, with "start" and "end" in seconds."""

_KINDS: dict[str, Modality] = {"text": "text", "audio": "audio", "video": "video", "image": "video"}
_BLOCK = 16  # rows the model always sees at once: a row's result then depends on that row alone
_ENCODERS = dict[Modality, list[dict[str, Any]]]


class SharedSpace:
    """A trained method with the encoders it was trained on. `space` picks one of a method that has several."""

    def __init__(
        self,
        method: Method,
        encoders: _ENCODERS,
        *,
        space: str | None = None,
        device: str = "auto",
        inputs: InputSpec | None = None,
    ):
        """`inputs`: of a method that reads media, which is its own encoder, what it is shown of them."""
        from seehear.encoders.registry import pick_device

        if space is not None and space not in method.spaces:
            raise unknown("space", space, method.spaces)
        self.device = pick_device(device)
        self.method = method.eval().requires_grad_(False).to(self.device)
        self.space = space or next(iter(method.spaces))
        self._inputs = inputs
        self._towers: dict[Modality, Tower] = {}
        if inputs is not None:
            from seehear.space.towers import towers_of

            self._towers = towers_of(method, inputs)
        self.encoders: _ENCODERS = {m: list(encoders[m]) for m in method.spaces[self.space] if encoders.get(m)}
        self._all_encoders = {m: list(infos) for m, infos in encoders.items()}
        self._loaded: dict[str, Encoder] = {tower.name: tower for tower in self._towers.values()}
        self._working = threading.Lock()  # the models serve one thread at a time; decoding holds up nobody

    @classmethod
    def from_pretrained(
        cls, folder: str | os.PathLike[str], *, space: str | None = None, device: str = "auto"
    ) -> SharedSpace:
        """From a run folder, its `model/`, or any folder that `save_pretrained` wrote; or 'frozen:LIBRARY#NAME', what
        joint encoders give without training."""
        method, config, inputs = load_method(folder)
        if not method.spaces:
            raise SeehearError(f"{folder} is a {method.name}, which has no space that is searched or compared in")
        made = cls(method, config["encoders"], space=space, device=device, inputs=inputs)
        if not made.encoders:
            raise SeehearError(
                f"{model_folder(folder) / 'config.json'} names no encoders of the space {made.space!r}: copy the model "
                "again, or train it on a library"
            )
        for tower in made._towers.values():
            tower.model = str(Path(folder).resolve())
        foreign = [info["name"] for infos in made.encoders.values() for info in infos if "hub:" in info["name"]]
        if foreign:
            say(f"{folder} uses models that are not part of seehear: {', '.join(dict.fromkeys(foreign))}")
        return made

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        own = self._inputs
        facts = {"encoders": self._all_encoders} if own is None else own.facts(self.method)
        save_model(Path(folder), self.method, facts, files=own.files if own else None)

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """What can be encoded; a picture counts as video."""
        return tuple(self.encoders)

    @property
    def locked(self) -> tuple[Modality, ...]:
        """Modalities whose vectors are those of their encoders, which training kept as they are."""
        return getattr(self.method.config, "locked", ())

    def supports(self, direction: str) -> bool:
        """Whether 'text->audio', or 'audio+text->image', can be asked."""
        sides = direction.split("->")
        if len(sides) != 2:
            raise ValueError(f"a direction is written 'text->audio'; got {direction!r}")
        names = [name.strip() for side in sides for name in side.split("+")]
        for name in names:
            if name not in _KINDS:
                raise unknown("modality", name, _KINDS)
        return all(_KINDS[name] in self.encoders for name in names)

    @cached_property
    def dim(self) -> int:
        """Width of the space."""
        m, infos = next(iter(self.encoders.items()))
        width = sum(info["width"] for info in infos)
        return int(self.encode_latents({m: np.zeros((1, width), np.float32)})[m].shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the weights, the settings and the encoders: another one is another space."""
        encoders = {m: [e["fingerprint"] for e in infos] for m, infos in sorted(self.encoders.items())}
        settings = {"method": self.method.name, "config": asdict(self.method.config), "space": self.space}
        return tensors_hash(self.method.state_dict(), about=json.dumps([settings, encoders], sort_keys=True))

    def __repr__(self) -> str:
        return f"SharedSpace({self.method.name}, {', '.join(self.modalities)}, dim {self.dim})"

    def encode_library(self, library: Library) -> None:
        """Bring the library's latents of this model's own encoders up to date, where it has such: a method that reads
        media is its own encoder."""
        from seehear.data.encode import encode_library

        clips = library.clips() if self._towers else []
        there = [tower for m, tower in self._towers.items() if any(clip.has(m) for clip in clips)]
        if there:
            encode_library(library, there)

    # -- encoding ----------------------------------------------------------------------------------------------------

    def encode(self, items: Sequence[Item] | Item, *, batch_size: int = 32) -> Float[np.ndarray, "n e"]:
        """(N, E) float32 unit vectors; of an item with several modalities the mean of theirs, made unit."""
        return self._encode(items, batch_size)

    def encode_query(self, items: Sequence[Item] | Item, *, batch_size: int = 32) -> Float[np.ndarray, "n e"]:
        """The same of what is searched with: some text encoders want another prompt there than for documents."""
        return self._encode(items, batch_size, query=True)

    def _encode(self, items: Sequence[Item] | Item, batch_size: int, *, query: bool = False) -> np.ndarray:
        items = [items] if isinstance(items, str | Mapping) else list(items)
        several = len(items) > 1
        samples = [self._samples(item, f"item {n}" if several else "the item") for n, item in enumerate(items)]
        total = np.zeros((len(items), self.dim), np.float32)
        for m in self.modalities:
            rows = [i for i, own in enumerate(samples) if m in own]
            for at in range(0, len(rows), batch_size):
                some = rows[at : at + batch_size]
                total[some] += self._encode_samples(m, [samples[i][m] for i in some], query=query)
        return unit(total)

    def encode_latents(self, latents: Mapping[Modality, Any]) -> dict[Modality, Float[np.ndarray, "b e"]]:
        """Vectors of latents that are at hand: {modality: (B, D)} -> {modality: (B, E) float32}."""
        found = {}
        for m, rows in latents.items():
            if m not in self.encoders:
                raise unknown("modality", m, self.encoders)
            x_BD = torch.as_tensor(np.asarray(rows, np.float32)).to(self.device)
            found[m] = self.embed({m: x_BD, f"has_{m}": torch.ones(len(x_BD), dtype=torch.bool)})[m].cpu().numpy()
        return found

    @torch.inference_mode()
    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, E)} float32 unit vectors of latents as the library stores them: (B, W D) of W windows."""
        return {m: F.normalize(z, dim=-1, eps=self.method.shortest).float() for m, z in self.raw(batch, space).items()}

    @torch.inference_mode()
    def raw(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """The same before it is made unit."""
        space = space or self.space
        windows = {m: tower.windows for m, tower in self._towers.items()}
        here = [m for m in self.method.spaces[space] if m in batch]
        with self._working:
            return {
                m: self.method.place_windows(m, batch[m].unflatten(1, (windows.get(m, 1), -1)), space) for m in here
            }

    def parameters(self) -> Iterator[Tensor]:
        """Those of the method: they say which device its inputs belong on."""
        return self.method.parameters()

    @staticmethod
    def similarity(a: Any, b: Any) -> Float[np.ndarray, "n m"]:
        """Cosine of every row of `a` with every row of `b`."""
        a, b = (unit(np.atleast_2d(x)) for x in (a, b))
        return a @ b.T

    def text_latents(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """What the text encoders say of texts, (N, D) float16 as the library would store it."""
        if "text" not in self.encoders:
            raise SeehearError(f"this space has no text (it has {', '.join(self.modalities)})")
        return self._latents("text", [Sample(text=t) for t in texts])

    def prepare(self, preparation: Callable[[Sample], Any], sample: Sample) -> Any:
        """Decode a sample for an encoder. Where files are not to be trusted, a subclass does it in another process."""
        return preparation(sample)

    def _latents(self, m: Modality, samples: Sequence[Sample], *, query: bool = False) -> np.ndarray:
        parts = []
        for info in self.encoders[m]:
            with self._working:
                encoder = self._encoder(m, info)
            prepare = encoder.query_preparation() if query else encoder.preparation()
            inputs = [self.prepare(prepare, sample) for sample in samples]
            with self._working:
                parts.append(encoder.encode(inputs))
        return np.concatenate(parts, axis=1).astype(np.float16)

    def _encode_samples(self, m: Modality, samples: Sequence[Sample], *, query: bool) -> np.ndarray:
        stored_BD = self._latents(m, samples, query=query)
        vectors = []
        for at in range(0, len(stored_BD), _BLOCK):
            block = np.zeros((_BLOCK, stored_BD.shape[1]), np.float32)
            rows = stored_BD[at : at + _BLOCK]
            block[: len(rows)] = rows
            vectors.append(self.encode_latents({m: block})[m][: len(rows)])
        return np.concatenate(vectors)

    def _encoder(self, m: Modality, info: Mapping[str, Any]) -> Encoder:
        from seehear.encoders.registry import load_encoder

        name = info["name"]
        if name not in self._loaded:
            encoder = load_encoder(name, modality=m, device=self.device)
            if encoder.fingerprint != info["fingerprint"]:
                raise SeehearError(
                    f"encoder {name!r} is not the one this model was trained on (fingerprint {encoder.fingerprint}, "
                    f"then {info['fingerprint']}): use the encoder of that time, or train again"
                )
            self._loaded[name] = encoder
        return self._loaded[name]

    def _samples(self, item: Item, name: str) -> dict[Modality, Sample]:
        given: dict[str, Any] = {"text": item} if isinstance(item, str) else dict(item)
        start, end = given.pop("start", None), given.pop("end", None)
        samples: dict[Modality, Sample] = {}
        for kind, value in given.items():
            if kind not in _KINDS:
                raise unknown(f"key of {name}", kind, [*_KINDS, "start", "end"])
            m = _KINDS[kind]
            if m not in self.encoders:
                where = f"{name}: " if name != "the item" else ""
                raise SeehearError(f"{where}this space has no {m} (it has {', '.join(self.modalities)})")
            if m in samples:
                raise SeehearError(f"{name} has both an image and a video: give one")
            samples[m] = Sample(text=value) if kind == "text" else _window(str(value), kind, start, end)
        if not samples:
            raise SeehearError(f"{name} is empty: give {', '.join(_KINDS)}")
        return samples


def _window(path: str, kind: str, start: float | None, end: float | None) -> Sample:
    """A stretch of a file; what is not said is the file's own beginning and end."""
    from seehear.media.files import probe

    if end is None and kind != "image":
        end = probe(path).duration
    return Sample(path=path, start=float(start or 0.0), end=float(end or 0.0))
