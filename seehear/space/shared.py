"""The shared space of words, pictures, films and sounds.

    space = SharedSpace.from_pretrained("runs/fusemix")
    v = space.encode([{"video": "clip.mp4", "start": 3.0, "end": 8.0}, "photo.jpg"])
    t = space.encode_query("a dog barks")
    space.similarity(t, v)  # (1, 2), cosine

`encode` and its relatives follow sentence-transformers 6: the same inputs (`items.py`), options and names.

The vector of a file or text does not depend on the other inputs of a call, and equals that of the library's index up to
float16 rounding: latents are rounded as the library stores them, and the model runs on blocks of a fixed size.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from seehear.encoders.base import Sample
from seehear.errors import SeehearError, hub_unreachable, read_json, require, unknown
from seehear.nn.unit import unit
from seehear.progress import Progress, progress, say
from seehear.space.form import Form, check_form, formed
from seehear.space.items import KINDS, Items, is_one
from seehear.space.model import SpaceModel
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.types import Tensor


class SharedSpace(SpaceModel):
    """A trained or frozen space: loading, saving, encoding of words, media and arrays, similarities."""

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
        `revision` being a branch, tag or commit; or 'frozen:LIBRARY#NAME', a space of untrained joint encoders."""
        from seehear.space.saved import load_method, model_folder

        if _is_hub_id(str(folder)):
            folder = _download(str(folder), revision)
        method, config, inputs = load_method(folder)
        if not method.spaces:
            raise SeehearError(f"{folder} is a {method.name}, which has no space that is searched or compared in")
        made = cls(method, config["encoders"], space=space, device=device, inputs=inputs)
        made._facts = {name: config[name] for name in ("metrics", "training", "verdict") if name in config}
        # Read only when the space is saved: an evaluation may be newer than the model.
        made._evaluation = Path(folder) / "evaluation.json"
        if not made.encoders:
            raise SeehearError(
                f"{model_folder(folder) / 'config.json'} names no encoders of the space {made.space!r}: copy the model "
                "again, or train it on a library"
            )
        # Latents of a tower name the model that made them.
        for tower in made._towers.values():
            tower.model = str(Path(folder).resolve())
        # Weights of others: their licence and their biases are not ours.
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
        from seehear.train.files import model_card, model_config, save_model

        own, results = self._inputs, []
        facts = ({"encoders": self._all_encoders} if own is None else own.facts(self.method)) | self._facts
        if self._evaluation is not None and self._evaluation.is_file():
            results = list(read_json(self._evaluation, "evaluate again").get("results", []))
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
        """Uploads the folder of `save_pretrained` to 'user/name' of the model hub, and returns the commit's address. A
        missing repository is created. Needs `hf auth login`, HF_TOKEN or `token`."""
        hub = require("huggingface_hub", "hub")
        api: Any = hub.HfApi(token=token)
        with tempfile.TemporaryDirectory(prefix="seehear-push-") as folder:
            self.save_pretrained(folder, licence=licence, where=repo_id)
            try:
                api.create_repo(repo_id, private=private, exist_ok=True)
                if revision is not None:
                    api.create_branch(repo_id, branch=revision, exist_ok=True)
                options = {"commit_message": commit_message, "revision": revision, "ignore_patterns": [".*"]}
                made = api.upload_folder(repo_id=repo_id, folder_path=folder, **options)
            except Exception as error:
                # The hub raises errors of its network library, which changes with its version.
                raise SeehearError(f"{repo_id} cannot be written on the hub: {error}") from error
        return str(made.commit_url)

    def export_onnx(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Writes the encoders and heads as ONNX graphs, and model.json, which lists them; returns its content."""
        from seehear.space.onnx import export_onnx

        return export_onnx(self, Path(folder))

    @property
    def modalities(self) -> tuple[str, ...]:
        """Kinds of input that can be encoded: 'text', 'image', 'video', 'audio'. Pictures and films share encoders."""
        return tuple(kind for m in self.encoders for kind in (("video", "image") if m == "video" else (m,)))

    def supports(self, modality: str | tuple[str, ...]) -> bool:
        """True if modalities can be encoded ('audio', ('image', 'text') together) or searched ('audio+text->image')."""
        sides = modality.split("->") if isinstance(modality, str) else modality
        names = [name.strip() for side in sides for name in side.split("+")]
        for name in names:
            if name not in KINDS:
                raise unknown("modality", name, KINDS)
        return all(KINDS[name] in self.encoders for name in names)

    def __repr__(self) -> str:
        return f"SharedSpace({self.method.name}, {', '.join(self.modalities)}, dim {self.dim})"

    def encode(
        self,
        inputs: Any,
        prompt_name: str | None = None,
        prompt: str | None = None,
        batch_size: int = 32,
        show_progress_bar: bool | None = None,
        **form: Unpack[Form],
    ) -> Any:
        """(N, E) float32 unit vectors of N inputs, (E,) of one: `items.py` lists the kinds of input.

        inputs: one, or a list. An input with several modalities has the mean of their vectors, made unit.
        prompt: prefix of every text. `prompt_name`, 'query' or 'document', selects the prompt of the text encoders;
            `encode_query` is 'query'.
        batch_size: number of inputs in a batch of an encoder; the result does not depend on it.
        show_progress_bar: shows progress on standard error.
        form: options on the vectors' form (`seehear.space.form.Form`): `precision`, `convert_to_numpy`,
            `convert_to_tensor`, `device`, `normalize_embeddings`, `truncate_dim`.

        Raises `SeehearError` for an input of a modality that the space lacks, `DecodeError` for unreadable media.
        """
        if batch_size < 1:
            raise SeehearError(f"batch_size must be 1 or more; got {batch_size}")
        if prompt_name not in (None, *self.prompts):
            raise unknown("prompt", str(prompt_name), self.prompts)
        check_form(form)
        if device := form.get("device"):
            self.to(device)
        one = is_one(inputs)
        items = [inputs] if one else list(inputs)
        names = [f"item {n}" if len(items) > 1 else "" for n in range(len(items))]
        with Items(self.encoders) as reading:
            samples = [reading.samples(item, name, prompt or "") for item, name in zip(items, names, strict=True)]
            parts = sum(map(len, samples))
            with progress("encoding", parts, "parts of inputs") if show_progress_bar else nullcontext() as bar:
                vectors_NE = self._encode(samples, batch_size, query=prompt_name == "query" and prompt is None, bar=bar)
        vectors = formed(vectors_NE, form, self.device)
        return vectors[0] if one else vectors

    def encode_query(self, inputs: Any, prompt_name: str | None = None, **options: Any) -> Any:
        """`encode` with the prompt of queries, which some text encoders have."""
        return self.encode(inputs, prompt_name or "query", **options)

    def encode_document(self, inputs: Any, prompt_name: str | None = None, **options: Any) -> Any:
        """`encode` with the prompt of documents."""
        return self.encode(inputs, prompt_name or "document", **options)

    def _encode(
        self, samples: Sequence[Mapping[Modality, Sample]], batch_size: int, *, query: bool, bar: Progress | None
    ) -> np.ndarray:
        """(N, E) mean over modalities of the vectors of each item, made unit."""
        total = np.zeros((len(samples), self.dim), np.float32)
        for m in self.encoders:
            # Texts of like length together: a short one is not padded to the length of a long one.
            rows = sorted((i for i, own in enumerate(samples) if m in own), key=lambda i: len(samples[i][m].text))
            for at in range(0, len(rows), batch_size):
                some = rows[at : at + batch_size]
                total[some] += self._encode_samples(m, [samples[i][m] for i in some], query=query)
                if bar is not None:
                    bar.advance(len(some))
        return unit(total)

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


def _unit_rows(x: Any) -> Tensor:
    """(N, E) float32 of an array, a tensor, or a list of either; a vector is one row."""
    import torch

    rows = torch.stack([torch.as_tensor(row) for row in x]) if isinstance(x, list | tuple) else torch.as_tensor(x)
    return torch.nn.functional.normalize(torch.atleast_2d(rows).float(), dim=-1)


# ----------------------------------------------------------------------------------------------------------------------
# Download of spaces from a model hub.

_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
# Nothing else is downloaded: repositories also hold pickles, and weights of other frameworks.
_FILES = ["*.json", "*.safetensors", "*.md", "*.txt", "model/*"]


def _is_hub_id(address: str) -> bool:
    """True for an address 'user/name' of a hub, unless a local folder has that name."""
    return bool(_ID.fullmatch(address)) and not Path(address).exists()


def _download(address: str, revision: str | None) -> Path:
    """Folder of a hub model in the hub's cache. Raises `SeehearError` for an unknown model, or without network."""
    hub = require("huggingface_hub", "hub")
    try:
        return Path(hub.snapshot_download(address, revision=revision, allow_patterns=_FILES))
    except hub.errors.RepositoryNotFoundError as error:
        raise SeehearError(f"{address} is neither a folder here nor a model of the hub") from error
    except hub.errors.RevisionNotFoundError as error:
        raise SeehearError(f"{address} has no revision {revision!r} on the hub") from error
    except Exception as error:
        # The hub raises errors of its network library, which changes with its version.
        raise hub_unreachable(address, error, "train it, or try again with a network") from error
