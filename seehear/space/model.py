"""The networks of a space: a trained method with its encoders, from samples and latents to vectors."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from seehear.encoders.base import Encoder, Sample
from seehear.errors import SeehearError, unknown
from seehear.types import Batch, Float, Modality

if TYPE_CHECKING:
    import torch

    from seehear.library.tables import LibraryTables
    from seehear.methods.base import Method
    from seehear.space.saved import InputSpec, Tower
    from seehear.types import Tensor

# Rows of every forward pass: with a fixed number, the result of a row depends on that row alone.
_BLOCK = 16
_ENCODERS = dict[Modality, list[dict[str, Any]]]


class SpaceModel:
    """A trained method with its encoders. `space` picks one of a method that has several."""

    def __init__(
        self,
        method: Method,
        encoders: _ENCODERS,
        *,
        space: str | None = None,
        device: str = "auto",
        inputs: InputSpec | None = None,
    ):
        """`inputs`: input specification of a method that reads media, which is its own encoder."""
        from seehear.encoders.registry import pick_device

        if space is not None and space not in method.spaces:
            raise unknown("space", space, method.spaces)
        self.device = pick_device(device)
        self.method = method.eval().requires_grad_(False).to(self.device)
        self.space = space or next(iter(method.spaces))
        self._inputs = inputs
        self._towers: dict[Modality, Tower] = {}
        if inputs is not None:
            from seehear.space.saved import towers_of

            self._towers = towers_of(method, inputs)
        self.encoders: _ENCODERS = {m: list(encoders[m]) for m in method.spaces[self.space] if encoders.get(m)}
        self._all_encoders = {m: list(infos) for m, infos in encoders.items()}
        self._loaded: dict[str, Encoder] = {tower.name: tower for tower in self._towers.values()}
        # Facts about the training, from config.json.
        self._facts: dict[str, Any] = {}
        self._evaluation: Path | None = None
        # Models serve one thread at a time; decoding needs no lock.
        self._working = threading.Lock()

    @property
    def locked(self) -> tuple[Modality, ...]:
        """Modalities whose vectors are those of their encoders, unchanged by training."""
        return getattr(self.method.config, "locked", ())

    def get_embedding_dimension(self) -> int:
        """`dim`, by its name in sentence-transformers."""
        return self.dim

    @cached_property
    def dim(self) -> int:
        """Width of the space."""
        m, infos = next(iter(self.encoders.items()))
        width = sum(info["width"] for info in infos)
        return int(self.encode_latents({m: np.zeros((1, width), np.float32)})[m].shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the weights, the settings and the encoders."""
        from seehear.encoders.weights import tensors_hash

        encoders = {m: [e["fingerprint"] for e in infos] for m, infos in sorted(self.encoders.items())}
        # With the settings: the same weights under another temperature or pooling give other vectors.
        settings = {"method": self.method.name, "config": asdict(self.method.config), "space": self.space}
        return tensors_hash(self.method.state_dict(), about=json.dumps([settings, encoders], sort_keys=True))

    def encode_library(self, library: LibraryTables) -> None:
        """Brings the library's latents of this model's towers up to date; only a method that reads media has some."""
        from seehear.library.encode import encode_library

        clips = library.clips() if self._towers else []
        # A tower without any clip would make an empty table.
        if towers := [tower for m, tower in self._towers.items() if any(clip.has(m) for clip in clips)]:
            encode_library(library, towers)

    def encode_latents(self, latents: Mapping[Modality, Any]) -> dict[Modality, Float[np.ndarray, "b e"]]:
        """(B, E) float32 vectors of (B, D) latents, by modality."""
        import torch

        found = {}
        for m, rows in latents.items():
            if m not in self.encoders:
                raise unknown("modality", m, self.encoders)
            x_BD = torch.as_tensor(np.asarray(rows, np.float32)).to(self.device)
            found[m] = self.embed({m: x_BD, f"has_{m}": torch.ones(len(x_BD), dtype=torch.bool)})[m].cpu().numpy()
        return found

    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """(B, E) float32 unit vectors of (B, W D) latents of W windows, as the library stores them, by modality."""
        from torch.nn.functional import normalize

        return {m: normalize(z, dim=-1, eps=self.method.shortest).float() for m, z in self.raw(batch, space).items()}

    def raw(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """`embed` before normalisation."""
        import torch

        space = space or self.space
        windows = {m: tower.windows for m, tower in self._towers.items()}
        here = [m for m in self.method.spaces[space] if m in batch]
        dtype = next(iter(p.dtype for p in self.method.parameters()), torch.float32)
        with self._working, torch.inference_mode():
            return {
                m: self.method.place_windows(m, batch[m].to(dtype).unflatten(1, (windows.get(m, 1), -1)), space)
                for m in here
            }

    def parameters(self) -> Iterator[Tensor]:
        """Parameters of the method: they tell the device of its inputs."""
        return self.method.parameters()

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors of the method; encoders are frozen and have their own."""
        return self.method.state_dict()

    def to(self, device: str | torch.device) -> Self:
        """Moves the method and its encoders; 'auto' is the best available device."""
        from seehear.encoders.registry import pick_device

        self.device = pick_device(str(device))
        with self._working:
            self.method.to(self.device)
            # Encoders that are loaded later are made on the new device.
            for encoder in self._loaded.values():
                encoder.to(self.device)
        return self

    def half(self) -> Self:
        """The space with its method in half precision, which moves vectors by about 0.001; encoders are unchanged."""
        self.method.half()
        return self

    def text_latents(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """(N, D) latents of texts, float16 as the library stores them."""
        if "text" not in self.encoders:
            raise SeehearError(f"this space has no text (it has {', '.join(self.encoders)})")
        return self._latents("text", [Sample(text=t) for t in texts])

    def prepare(self, preparation: Callable[[Sample], Any], sample: Sample) -> Any:
        """Decodes a sample for an encoder. For untrusted files a subclass does so in another process."""
        return preparation(sample)

    def _latents(self, m: Modality, samples: Sequence[Sample], *, query: bool = False) -> np.ndarray:
        """(B, D) float16 latents of samples, of all encoders of the modality."""
        parts = []
        for info in self.encoders[m]:
            with self._working:
                encoder = self.encoder(m, info)
            # Decoded outside of the lock: it takes longest, and in another process for untrusted files.
            prepare = encoder.query_preparation() if query else encoder.preparation()
            inputs = [self.prepare(prepare, sample) for sample in samples]
            with self._working:
                parts.append(encoder.encode(inputs))
        # Rounded as the library stores them, or a query would differ from the same clip in the index.
        return np.concatenate(parts, axis=1).astype(np.float16)

    def _encode_samples(self, m: Modality, samples: Sequence[Sample], *, query: bool) -> np.ndarray:
        """(B, E) float32 vectors of samples."""
        stored_BD = self._latents(m, samples, query=query)
        vectors = []
        for at in range(0, len(stored_BD), _BLOCK):
            # Zeros fill the last block: a smaller matrix product may round in another way.
            block = np.zeros((_BLOCK, stored_BD.shape[1]), np.float32)
            rows = stored_BD[at : at + _BLOCK]
            block[: len(rows)] = rows
            vectors.append(self.encode_latents({m: block})[m][: len(rows)])
        return np.concatenate(vectors)

    def encoder(self, m: Modality, info: Mapping[str, Any]) -> Encoder:
        """One of `encoders[m]`, loaded."""
        from seehear.encoders.registry import load_encoder

        name = info["name"]
        if name not in self._loaded:
            encoder = load_encoder(name, modality=m, device=self.device)
            # Other weights under the same name give vectors of another space.
            if encoder.fingerprint != info["fingerprint"]:
                raise SeehearError(
                    f"encoder {name!r} is not the one this model was trained on (fingerprint {encoder.fingerprint}, "
                    f"then {info['fingerprint']}): use the encoder of that time, or train again"
                )
            self._loaded[name] = encoder
        return self._loaded[name]
