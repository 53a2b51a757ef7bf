"""One space for what is seen, heard and said.

    space = SharedSpace.from_pretrained("runs/fusemix")
    v = space.encode([{"video": "clip.mp4", "start": 3.0, "end": 8.0}, "photo.jpg"])
    t = space.encode_query("a dog barks")
    space.similarity(t, v)  # (1, 2), cosine

`encode` and its relatives follow sentence-transformers 6: the same inputs (`items.py`), options and names.

A file or text has the same vector every time, whatever it is encoded with, and the one that the library's index holds
to float16 rounding: latents are rounded as the library stores them, and the model runs on blocks of a fixed size.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from seehear.encoders.base import Encoder, Sample
from seehear.errors import SeehearError, read_json, unknown
from seehear.nn.unit import unit
from seehear.progress import progress, say
from seehear.space.hub import download, is_hub_id, upload
from seehear.space.items import KINDS, Items, is_one
from seehear.space.precision import PRECISIONS, Precision, quantized
from seehear.types import Batch, Float, Modality

if TYPE_CHECKING:
    import torch

    from seehear.data.library import Library
    from seehear.methods.base import Method
    from seehear.space.towers import InputSpec, Tower
    from seehear.types import Tensor

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
            from seehear.space.towers import towers_of

            self._towers = towers_of(method, inputs)
        self.encoders: _ENCODERS = {m: list(encoders[m]) for m in method.spaces[self.space] if encoders.get(m)}
        self._all_encoders = {m: list(infos) for m, infos in encoders.items()}
        self._loaded: dict[str, Encoder] = {tower.name: tower for tower in self._towers.values()}
        self._facts: dict[str, Any] = {}
        """Facts about the training, from config.json."""
        self._evaluation: Path | None = None
        self._working = threading.Lock()  # the models serve one thread at a time; decoding holds up nobody

    @classmethod
    def from_pretrained(
        cls,
        folder: str | os.PathLike[str],
        *,
        space: str | None = None,
        device: str = "auto",
        revision: str | None = None,
    ) -> SharedSpace:
        """Loads a run folder, its `model/`, or any folder that `save_pretrained` wrote; 'user/name' of a model hub,
        `revision` being a branch, tag or commit; or 'frozen:LIBRARY#NAME', the space of joint encoders without training."""
        from seehear.space.saved import load_method, model_folder

        if is_hub_id(str(folder)):
            folder = download(str(folder), revision)
        method, config, inputs = load_method(folder)
        if not method.spaces:
            raise SeehearError(f"{folder} is a {method.name}, which has no space that is searched or compared in")
        made = cls(method, config["encoders"], space=space, device=device, inputs=inputs)
        made._facts = {name: config[name] for name in ("metrics", "training", "verdict") if name in config}
        made._evaluation = Path(folder) / "evaluation.json"
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

    prompts = MappingProxyType({"query": "", "document": ""})
    """Prompt names of `encode`. The prompts themselves belong to the encoders: each has its own."""
    similarity_fn_name = "cosine"

    def save_pretrained(
        self, folder: str | os.PathLike[str], *, licence: str = "other", where: str = "path/to/this/folder"
    ) -> None:
        """The model as a folder that `from_pretrained` and sentence-transformers load, with a model card. `licence`:
        of the weights, as model hubs spell it ('apache-2.0'). `where`: address in the card's examples."""
        from seehear.train.card import model_card
        from seehear.train.files import model_config, save_model

        own = self._inputs
        facts = ({"encoders": self._all_encoders} if own is None else own.facts(self.method)) | self._facts
        evaluation = self._evaluation
        results = () if evaluation is None or not evaluation.is_file() else _results(evaluation)
        card = model_card(self.method, model_config(self.method, facts), where=where, licence=licence, results=results)
        save_model(Path(folder), self.method, facts, card=card, files=own.files if own else None)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        licence: str = "other",
        private: bool = False,
        commit_message: str = "Add a seehear model",
        revision: str | None = None,
        token: str | None = None,
    ) -> str:
        """Uploads what `save_pretrained` writes to 'user/name' of the model hub and gives the commit's address. The
        repository is made where it is missing. Needs `hf auth login`, HF_TOKEN or `token`."""
        save = partial(self.save_pretrained, licence=licence, where=repo_id)
        return upload(repo_id, save, private=private, message=commit_message, revision=revision, token=token)

    # -- properties --------------------------------------------------------------------------------------------------

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those of 'text', 'image', 'video', 'audio' that can be encoded. Pictures and films have the same encoders."""
        return tuple(kind for m in self.encoders for kind in (("video", "image") if m == "video" else (m,)))

    @property
    def locked(self) -> tuple[Modality, ...]:
        """Modalities whose vectors are those of their encoders, which training kept as they are."""
        return getattr(self.method.config, "locked", ())

    def supports(self, modality: str | tuple[str, ...]) -> bool:
        """True if modalities can be encoded ('audio', or ('image', 'text') together) or searched ('audio+text->image')."""
        sides = modality.split("->") if isinstance(modality, str) else modality
        names = [name.strip() for side in sides for name in side.split("+")]
        for name in names:
            if name not in KINDS:
                raise unknown("modality", name, KINDS)
        return all(KINDS[name] in self.encoders for name in names)

    @property
    def dim(self) -> int:
        """Width of the space."""
        return self._dim

    def get_embedding_dimension(self) -> int:
        """`dim`, by its name in sentence-transformers."""
        return self._dim

    @cached_property
    def _dim(self) -> int:
        m, infos = next(iter(self.encoders.items()))
        width = sum(info["width"] for info in infos)
        return int(self.encode_latents({m: np.zeros((1, width), np.float32)})[m].shape[1])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over the weights, the settings and the encoders: another one is another space."""
        from seehear.encoders.weights import tensors_hash

        encoders = {m: [e["fingerprint"] for e in infos] for m, infos in sorted(self.encoders.items())}
        settings = {"method": self.method.name, "config": asdict(self.method.config), "space": self.space}
        return tensors_hash(self.method.state_dict(), about=json.dumps([settings, encoders], sort_keys=True))

    def __repr__(self) -> str:
        return f"SharedSpace({self.method.name}, {', '.join(self.modalities)}, dim {self.dim})"

    def encode_library(self, library: Library) -> None:
        """Brings the library's latents of this model's own encoders up to date: a method that reads media is its own
        encoder, others have none."""
        from seehear.data.encode import encode_library

        clips = library.clips() if self._towers else []
        there = [tower for m, tower in self._towers.items() if any(clip.has(m) for clip in clips)]
        if there:
            encode_library(library, there)

    # -- encoding ----------------------------------------------------------------------------------------------------

    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        precision: Precision = "float32",
        convert_to_numpy: bool = True,
        convert_to_tensor: bool = False,
        device: str | None = None,
        normalize_embeddings: bool = False,
        truncate_dim: int | None = None,
    ) -> Any:
        """(N, E) float32 unit vectors of N inputs, (E,) of one: `items.py` lists the kinds of input.

        inputs: one, or a list. An input with several modalities has the mean of their vectors, made unit.
        prompt: prefix of every text. `prompt_name` is 'query' or 'document': the prompt that the text encoders of this
            space have for it; 'query' is `encode_query`.
        batch_size: inputs that go through an encoder at once; the result does not depend on it.
        show_progress_bar: shows progress on standard error.
        precision: 'int8', 'uint8', 'binary', 'ubinary' give smaller vectors as `quantize_embeddings` of
            sentence-transformers does; ranges are those of the inputs.
        convert_to_tensor: gives a tensor on the device of the space; `convert_to_numpy=False` alone a list of tensors.
        device: moves the space there first.
        normalize_embeddings: makes truncated vectors unit again; whole ones are.
        truncate_dim: keeps the first numbers of each vector.

        Raises `SeehearError` for an input of a modality that the space does not have, `DecodeError` for media that
        cannot be read.
        """
        if batch_size < 1:
            raise SeehearError(f"batch_size must be 1 or more; got {batch_size}")
        if precision not in PRECISIONS:
            raise unknown("precision", precision, PRECISIONS)
        if prompt_name not in (None, *self.prompts):
            raise unknown("prompt", str(prompt_name), self.prompts)
        if device is not None:
            self.to(device)
        one = is_one(inputs)
        items = [inputs] if one else list(inputs)
        with (
            Items(self.encoders) as reading,
            progress("encoding", len(items), "inputs") if show_progress_bar else (nullcontext()) as advancing,
        ):
            names = [f"item {n}" for n in range(len(items))] if len(items) > 1 else [""]
            samples = [reading.samples(item, name, prompt or "") for item, name in zip(items, names, strict=False)]
            vectors_NE = self._encode(samples, batch_size, query=prompt_name == "query" and prompt is None)
            if advancing is not None:
                advancing.advance(len(items))
        vectors_NE = vectors_NE[:, :truncate_dim]
        if normalize_embeddings and truncate_dim:
            vectors_NE = unit(vectors_NE)
        vectors: Any = quantized(vectors_NE, precision)
        if convert_to_tensor or not convert_to_numpy:
            import torch

            vectors = torch.from_numpy(vectors)
            vectors = vectors.to(self.device) if convert_to_tensor else list(vectors)
        return vectors[0] if one else vectors

    def encode_query(self, inputs: Any, prompt_name: str | None = None, **options: Any) -> Any:
        """`encode` of a query: some text encoders have another prompt for it than for documents."""
        return self.encode(inputs, prompt_name or "query", **options)

    def encode_document(self, inputs: Any, prompt_name: str | None = None, **options: Any) -> Any:
        """`encode` of a document: the same as `encode`."""
        return self.encode(inputs, prompt_name or "document", **options)

    def _encode(self, samples: Sequence[Mapping[Modality, Sample]], batch_size: int, *, query: bool) -> np.ndarray:
        total = np.zeros((len(samples), self.dim), np.float32)
        for m in self.encoders:
            rows = [i for i, own in enumerate(samples) if m in own]
            for at in range(0, len(rows), batch_size):
                some = rows[at : at + batch_size]
                total[some] += self._encode_samples(m, [samples[i][m] for i in some], query=query)
        return unit(total)

    def encode_latents(self, latents: Mapping[Modality, Any]) -> dict[Modality, Float[np.ndarray, "b e"]]:
        """Vectors of latents: {modality: (B, D)} -> {modality: (B, E) float32}."""
        import torch

        found = {}
        for m, rows in latents.items():
            if m not in self.encoders:
                raise unknown("modality", m, self.encoders)
            x_BD = torch.as_tensor(np.asarray(rows, np.float32)).to(self.device)
            found[m] = self.embed({m: x_BD, f"has_{m}": torch.ones(len(x_BD), dtype=torch.bool)})[m].cpu().numpy()
        return found

    def embed(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        """{modality: (B, E)} float32 unit vectors of latents as the library stores them: (B, W D) of W windows."""
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

    def to(self, device: str | torch.device) -> SharedSpace:
        """Moves the method and its encoders; 'auto' is the best device at hand."""
        from seehear.encoders.registry import pick_device

        self.device = pick_device(str(device))
        with self._working:
            self.method.to(self.device)
            for encoder in self._loaded.values():
                encoder.to(self.device)
        return self

    def half(self) -> SharedSpace:
        """The method in half precision: vectors move by about 0.001. Encoders stay as they are."""
        self.method.half()
        return self

    @staticmethod
    def similarity(embeddings1: Any, embeddings2: Any) -> Tensor:
        """(N, M) cosine of every row of one with every row of the other."""
        a, b = (_unit_rows(x) for x in (embeddings1, embeddings2))
        return a @ b.T

    @staticmethod
    def similarity_pairwise(embeddings1: Any, embeddings2: Any) -> Tensor:
        """(N,) cosine of row i of one with row i of the other."""
        a, b = (_unit_rows(x) for x in (embeddings1, embeddings2))
        return (a * b).sum(dim=-1)

    def text_latents(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        """(N, D) latents of texts, float16 as the library stores them."""
        if "text" not in self.encoders:
            raise SeehearError(f"this space has no text (it has {', '.join(self.encoders)})")
        return self._latents("text", [Sample(text=t) for t in texts])

    def prepare(self, preparation: Callable[[Sample], Any], sample: Sample) -> Any:
        """Decodes a sample for an encoder. For untrusted files a subclass does so in another process."""
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


def _results(path: Path) -> list[dict[str, Any]]:
    return list(read_json(path, "evaluate again").get("results", []))


def _unit_rows(x: Any) -> Tensor:
    """(N, E) float32 of an array, a tensor, or a list of either; a vector is one row."""
    import torch

    rows = torch.stack([torch.as_tensor(row) for row in x]) if isinstance(x, list | tuple) else torch.as_tensor(x)
    return torch.nn.functional.normalize(torch.atleast_2d(rows).float(), dim=-1)
