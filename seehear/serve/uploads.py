"""Sounds, pictures and videos sent as queries: encoded from a temporary file, which is then deleted."""

from __future__ import annotations

import os
import secrets
import tempfile
import threading
from collections import OrderedDict
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seehear.errors import DecodeError
from seehear.library.workers import WorkerDied
from seehear.nn.unit import unit
from seehear.serve import decoders
from seehear.serve.decoders import Decoders
from seehear.serve.problems import Problem
from seehear.serve.runs import OpenRun, broken

_KEPT = 256  # queries whose vectors are kept


@dataclass(frozen=True)
class _Uploaded:
    id: str
    models: dict[str, str]
    """{run: fingerprint of its space} of the runs it was sent for."""
    facts: decoders.Facts
    seconds: float
    """Length of the encoded part."""
    by_run: dict[str, dict[str, np.ndarray]]
    """{run: {modality: (E,)}} of the runs that know one of its modalities."""

    @property
    def modalities(self) -> list[str]:
        return list(dict.fromkeys(m for own in self.by_run.values() for m in own))

    def vectors(self, modality: str = "") -> dict[str, dict[str, np.ndarray]]:
        """{run: {modality: (E,)}}, limited to one modality unless ''."""
        if modality and modality not in self.modalities:
            raise Problem(422, "no_such_modality", f"the file gave {', '.join(self.modalities)}, not {modality}")
        return {name: {m: v for m, v in own.items() if modality in ("", m)} for name, own in self.by_run.items()}

    def vector(self, run: str, modality: str = "") -> np.ndarray:
        """(E,) vector in the space of one run: of one modality, or the mean of all."""
        return unit(np.mean(list(self.vectors(modality)[run].values()), axis=0))


class Uploads:
    """Vectors of the last uploads. `folder` is deleted with the server, each file in it with its request."""

    def __init__(self, decoders: Decoders, *, megabytes: float, seconds: float):
        self.decoders, self.limit, self.seconds = decoders, int(megabytes * 1e6), seconds
        self.folder = tempfile.TemporaryDirectory(prefix="seehear-")
        self._known: OrderedDict[str, _Uploaded] = OrderedDict()
        self._lock = threading.Lock()

    async def receive(self, body: AsyncIterable[bytes], length: str | None) -> Path:
        """The request's body as a file, which the caller deletes. Raises `Problem` (413) as soon as it is too large."""
        if length is not None and length.isdecimal() and int(length) > self.limit:
            raise self._too_large()
        # The announced length may be wrong or missing, so the bytes are counted too.
        handle, name = tempfile.mkstemp(dir=self.folder.name)
        size = 0
        try:
            with os.fdopen(handle, "wb") as file:
                async for part in body:
                    size += len(part)
                    if size > self.limit:
                        raise self._too_large()
                    file.write(part)
            if not size:
                raise Problem(422, "empty", "the file is empty")
        except BaseException:
            # Also a cancelled request, which is no `Exception`.
            os.unlink(name)
            raise
        return Path(name)

    def encode(self, path: Path, runs: Sequence[OpenRun]) -> _Uploaded:
        """The file's vectors in each run that knows one of its modalities. Raises `Problem` if none does."""
        try:
            facts = self.decoders(decoders.look, str(path))
        except (DecodeError, WorkerDied) as error:
            raise broken(error, path) from error
        seconds = min(facts.seconds, self.seconds)
        fitting = [run for run in runs if set(facts.modalities) & set(run.space.modalities)]
        by_run = {
            run.name: run.encode_file(str(path), facts.kind, seconds, facts.modalities)
            # The first run reports why no run fits.
            for run in fitting or runs[:1]
        }
        models = {run.name: run.space.fingerprint for run in runs}
        # An id that cannot be guessed: no client can search with another one's file.
        made = _Uploaded(secrets.token_urlsafe(12), models, facts, seconds, by_run)
        with self._lock:
            self._known[made.id] = made
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return made

    def get(self, name: str, runs: Sequence[OpenRun]) -> _Uploaded:
        with self._lock:
            upload = self._known.get(name)
        # A run may have been trained again: vectors of its former model mean nothing in the new space.
        if upload is None or any(upload.models.get(run.name) != run.space.fingerprint for run in runs):
            raise Problem(404, "upload_gone", "that file is no longer known to this run", "send it again")
        return upload

    def close(self) -> None:
        self.folder.cleanup()

    def _too_large(self) -> Problem:
        message = f"the file is larger than {self.limit / 1e6:g} MB"
        return Problem(413, "too_large", message, "cut a part of it out, or start with a larger --upload-mb")
