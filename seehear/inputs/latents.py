"""Cached latents of frozen encoders in memory, joined by clip, to train on and to evaluate.

Rows stay float16 as they are stored; a batch is float32. Training from arrays needs torch, numpy and safetensors only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.library.current import read_current
from seehear.library.records import Clip, Source, is_learned, learned_texts
from seehear.library.vectors import Vectors, side_by_side
from seehear.nn.random import TextWeights, seed_of, some_of
from seehear.progress import say
from seehear.types import MODALITIES, Batch, Float, Int, Modality, Tensor

if TYPE_CHECKING:
    from seehear.library.tables import LibraryTables

# {name, fingerprint, width, modality} of an encoder, and {shape} of one that gives sequences.
EncoderInfo = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The latents of one modality: clip n owns rows [first[n], first[n] + count[n]); several texts are several rows."""

    vectors: Tensor
    """(R, D), in the order of the clips."""
    first: Tensor
    """(N,) int64; some row where the clip has none."""
    count: Tensor
    """(N,) int64; 0 where the clip lacks the modality."""
    encoders: tuple[EncoderInfo, ...]
    """Encoders of the vectors, concatenated in this order."""
    weights: TextWeights | None = None
    """Confidence of texts; None where all are certain."""

    @property
    def widths(self) -> tuple[int, ...]:
        return tuple(int(e["width"]) for e in self.encoders)


class LatentData:
    """Clips and their latents. A batch has one of a clip's texts, drawn anew each epoch."""

    heavy = False
    together = 1

    def __init__(self, rows: Mapping[Modality, Rows], *, ids: np.ndarray, splits: np.ndarray, groups: Tensor):
        self.rows = {m: rows[m] for m in MODALITIES if m in rows}
        self.ids, self.splits, self.groups = ids, splits, groups
        self._several = {m: bool((r.count > 1).any()) for m, r in self.rows.items()}
        self._draw: tuple[tuple[int, int], Tensor] | None = None

    @classmethod
    def from_arrays(
        cls,
        latents: Mapping[Modality, np.ndarray | Tensor],
        *,
        owner: Mapping[Modality, np.ndarray | Tensor] | None = None,
        groups: np.ndarray | Tensor | None = None,
        ids: Sequence[str] | np.ndarray | None = None,
        splits: Sequence[str] | np.ndarray | None = None,
        encoders: Mapping[Modality, Sequence[EncoderInfo]] | None = None,
    ) -> LatentData:
        """Data of a (N, D) array a modality, row n being clip n; or, where `owner` names the modality, of (R, D) with
        the clip number of each row: clips may then lack the modality, or have several texts."""
        own = {m: torch.as_tensor(v, dtype=torch.int64) for m, v in (owner or {}).items()}
        exact = {len(v) for v in (groups, ids, splits) if v is not None}
        exact |= {len(v) for m, v in latents.items() if m not in own}
        if len(exact) > 1:
            raise ValueError(f"arrays of one row a clip differ in length: {sorted(exact)}")
        named = max((int(o.max()) + 1 for o in own.values() if len(o)), default=0)
        n = exact.pop() if exact else named
        if named > n:
            raise ValueError(f"`owner` names clip {named - 1}, but there are {n} clips")
        rows = {}
        for m, vectors in latents.items():
            x_RD = torch.as_tensor(vectors)
            if not len(x_RD):
                raise SeehearError(f"no clip has {m}: leave that modality out, or add some")
            unnamed = {"name": "unnamed", "modality": m, "width": x_RD.shape[1], "fingerprint": ""}
            info = tuple(encoders[m]) if encoders else (unnamed,)
            rows[m] = _rows(x_RD, own.get(m, torch.arange(n)), n, info)
        return cls(
            rows,
            ids=np.array([str(i) for i in range(n)] if ids is None else ids, dtype=object),
            splits=np.array(["train"] * n if splits is None else splits, dtype=object),
            groups=torch.arange(n) if groups is None else torch.as_tensor(groups, dtype=torch.int64),
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        return tuple(self.rows)

    @property
    def widths(self) -> dict[Modality, tuple[int, ...]]:
        """Widths of the encoders of each modality, side by side in its vectors."""
        return {m: rows.widths for m, rows in self.rows.items()}

    @property
    def encoders(self) -> dict[Modality, tuple[EncoderInfo, ...]]:
        return {m: rows.encoders for m, rows in self.rows.items()}

    def has(self, modality: Modality) -> Tensor:
        """(N,) bool."""
        return self.rows[modality].count > 0

    def owner(self, modality: Modality) -> Int[Tensor, " r"]:
        """Clip number of each vector of `every`."""
        count = self.rows[modality].count
        return torch.repeat_interleave(torch.arange(len(self), device=count.device), count)

    def every(self, modality: Modality) -> Tensor:
        """All vectors of a modality as stored, every text of every clip, clip by clip."""
        # Not all rows as they lie: after `take`, `rows` may also hold those of clips left out.
        rows, owner = self.rows[modality], self.owner(modality)
        within = torch.arange(len(owner), device=owner.device) - (rows.count.cumsum(0) - rows.count)[owner]
        return rows.vectors[rows.first[owner] + within]

    def one_each(self, modality: Modality) -> Float[np.ndarray, "n d"]:
        """A float32 row a clip: the mean of several, zeros for none."""
        vectors, owner = self.every(modality).float(), self.owner(modality)
        total = torch.zeros(len(self), vectors.shape[1]).index_add_(0, owner, vectors)
        return (total / self.rows[modality].count.clamp(min=1)[:, None]).numpy()

    def aligned(self) -> tuple[dict[Modality, Tensor], dict[Modality, Tensor]]:
        """(latents as stored, present) for the closed forms: a row a text, the clip's other modalities repeated."""
        clip_R = self.aligned_owner()
        # Position of each row within its clip, as `clip_R` is sorted.
        within_R = torch.arange(len(clip_R), device=clip_R.device) - torch.searchsorted(clip_R, clip_R)
        at = {m: r.first[clip_R] + within_R % r.count[clip_R].clamp(min=1) for m, r in self.rows.items()}
        return {m: r.vectors[at[m]] for m, r in self.rows.items()}, {m: self.has(m)[clip_R] for m in self.rows}

    def aligned_owner(self) -> Int[Tensor, " r"]:
        """Clip number of each row of `aligned`, ascending."""
        rows_N = torch.stack([r.count for r in self.rows.values()]).amax(0).clamp(min=1)
        return torch.repeat_interleave(torch.arange(len(self), device=rows_N.device), rows_N)

    # -- training ----------------------------------------------------------------------------------------------------

    def batch(self, indices: Int[Tensor, " b"], *, seed: int = 0, epoch: int = 0) -> Batch:
        batch: Batch = {}
        for m, rows in self.rows.items():
            at = indices.to(rows.first.device)
            first, count = rows.first[at], rows.count[at]
            if self._several[m]:
                # One draw an epoch, for all clips.
                if self._draw is None or self._draw[0] != (seed, epoch):
                    generator = torch.Generator().manual_seed(seed_of(seed, "texts", epoch))
                    self._draw = ((seed, epoch), torch.rand(len(self), generator=generator))
                first = first + (self._draw[1][indices.cpu()].to(first.device) * count).long()
            # Stored in half the memory; layers and losses compute in float32.
            x_BD = rows.vectors[first]
            batch[m] = x_BD.float() if x_BD.dtype == torch.float16 else x_BD
            batch[f"has_{m}"] = count > 0
            if rows.weights is not None:
                part_R = rows.weights.taking_part(seed, epoch)
                batch[f"has_{m}"] &= part_R[first.cpu()].to(first.device)
        batch["group"] = self.groups[indices.to(self.groups.device)]
        return batch

    def to(self, device: torch.device | str) -> LatentData:
        """Keep the latents on a device: no step then moves them."""
        moved = ("vectors", "first", "count")
        rows = {m: replace(r, **{k: getattr(r, k).to(device) for k in moved}) for m, r in self.rows.items()}
        return LatentData(rows, ids=self.ids, splits=self.splits, groups=self.groups.to(device))

    def take(self, keep: np.ndarray | Tensor) -> LatentData:
        """Clips chosen by a mask or by number. The vectors are shared, not copied."""
        at = torch.as_tensor(keep)
        at = at.nonzero().squeeze(1) if at.dtype == torch.bool else at.long()
        here = at.cpu().numpy()
        groups = self.groups[at.to(self.groups.device)]
        rows = {}
        for m, r in self.rows.items():
            own = at.to(r.first.device)
            rows[m] = replace(r, first=r.first[own], count=r.count[own])
        return LatentData(rows, ids=self.ids[here], splits=self.splits[here], groups=groups)

    def only(self, modalities: Collection[Modality]) -> LatentData:
        """All clips, with these modalities only."""
        return self._with({m: r for m, r in self.rows.items() if m in modalities})

    def weighted(self, confidence_R: np.ndarray | Tensor) -> LatentData:
        """The data with a confidence in [0, 1] for each text, in the order of `every("text")`."""
        sure_R, text = torch.as_tensor(confidence_R), self.rows["text"]
        if sure_R.shape != (rows := len(text.vectors),):
            raise ValueError(f"`confidence` must be a number a row of text: {rows} rows, got {len(sure_R)}")
        weights = TextWeights(sure_R) if bool((sure_R < 1).any()) else None
        return self._with(self.rows | {"text": replace(text, weights=weights)})

    def _with(self, rows: Mapping[Modality, Rows]) -> LatentData:
        return LatentData(rows, ids=self.ids, splits=self.splits, groups=self.groups)

    def by_text(self) -> LatentData:
        """A row for each text, with the clip's other modalities repeated, and one for each clip without text."""
        if "text" not in self.rows:
            return self
        count = self.rows["text"].count
        owner_R = torch.repeat_interleave(torch.arange(len(self), device=count.device), count.clamp(min=1))
        rows = self.take(owner_R)
        within_R = torch.arange(len(owner_R), device=count.device) - torch.searchsorted(owner_R, owner_R)
        text = rows.rows["text"]
        one = replace(text, first=text.first + within_R, count=text.count.clamp(max=1))
        return rows._with(rows.rows | {"text": one})

    def sample(self, at_most: int, seed: int) -> LatentData:
        """At most `at_most` clips, drawn by the seed, in their order."""
        return self if len(self) <= at_most else self.take(some_of(len(self), at_most, seed))

    def split(self, name: str) -> LatentData:
        return self.take(self.splits == name)

    def joined(self, at_least: int = 2) -> LatentData:
        """Clips with at least so many of the modalities."""
        have = torch.stack([self.has(m).long() for m in self.modalities]).sum(0)
        return self.take(have >= at_least)


def _rows(x_RD: Tensor, owner: Tensor, n: int, encoders: tuple[EncoderInfo, ...]) -> Rows:
    if len(owner) != len(x_RD):
        raise ValueError(f"`owner` must have a clip number a row: {len(x_RD)} rows, {len(owner)} numbers")
    if not bool((owner[1:] >= owner[:-1]).all()):
        order = owner.argsort(stable=True)
        x_RD, owner = x_RD[order], owner[order]
    count = torch.bincount(owner, minlength=n)
    # Clips without a row point to some row; their count says that it is not theirs.
    first = (count.cumsum(0) - count).clamp(max=len(x_RD) - 1)
    return Rows(vectors=x_RD, first=first, count=count, encoders=encoders)


# -- from a library ----------------------------------------------------------------------------------------------------


def load_latents(
    library: LibraryTables,
    *,
    encoders: Mapping[Modality, Sequence[str]] | None = None,
    where: str | None = None,
    prefix: str = "",
    sequences: bool = False,
) -> LatentData:
    """Latents of the library's current encoders for all clips, or those that meet an SQL condition; or only of clips
    whose ids begin with `prefix`, with any number of modalities. `encoders`: names by modality, several of one
    concatenated; None takes every encoder with vectors of its own (not those that map another's), or with `sequences`
    a modality's words or frames alone where it has them. A text, a video or a sound is present where all encoders of
    its modality have it."""
    about, clips = library.encoders(), library.clips(f"id LIKE '{prefix}%'" if prefix else where)
    chosen = _choose(library.uri, about, encoders, sequences=sequences)
    if not clips:
        raise SeehearError(f"no clip of {library.uri}" + (f" meets {where!r}" if where else ": run 'seehear prepare'"))
    by_id, sources = {clip.id: clip for clip in clips}, library.sources()
    if any(clip.texts for clip in clips) and not any(map(learned_texts, clips)):
        # All texts are read on screen or without confidence: models learn from none of them.
        chosen.pop("text", None)
    rows = {m: _read(library, infos, by_id, sources, prefix) for m, infos in chosen.items()}
    place = {clip.id: n for n, clip in enumerate(clips)}
    owner = {m: np.array([place[i] for i in own.ids], np.int64) for m, own in rows.items()}
    data = LatentData.from_arrays(
        {m: own.vectors for m, own in rows.items()},
        owner=owner,
        ids=list(by_id),
        splits=[clip.split for clip in clips],
        groups=np.unique([clip.recording for clip in clips], return_inverse=True)[1],
        encoders=chosen,
    )
    if text := rows.get("text"):
        sure = [by_id[i].texts[item].confidence for i, item in zip(text.ids, text.items.tolist(), strict=True)]
        data = data.weighted(np.array(sure, np.float32)[np.argsort(owner["text"], kind="stable")])
    if (together := len(data.joined())) < 2 and not prefix:
        counts = ", ".join(f"{m} {int(data.has(m).sum()):,}" for m in data.modalities)
        needed = f"training needs at least two clips with two modalities each, and has {together}"
        raise SeehearError(f"{library.uri}: {needed} (clips with latents: {counts})")
    return data


def _choose(
    uri: str, about: Mapping[str, EncoderInfo], encoders: Mapping[Modality, Sequence[str]] | None, *, sequences: bool
) -> dict[Modality, list[EncoderInfo]]:
    """Records of the chosen encoders, by modality."""
    if not any(encoders or not info.get("of_run") for info in about.values()):
        raise SeehearError(f"{uri} has no latents yet: run 'seehear encode {uri}'")
    if not encoders:
        encoders = {m: encoders_of(about, m, sequences=sequences) for m in MODALITIES}
    for name in (name for names in encoders.values() for name in names):
        if name not in about:
            raise SeehearError(f"{uri} has no latents of encoder {name!r} (it has: {', '.join(sorted(about))})")
    chosen = {m: [{"name": n, **about[n]} for n in names] for m, names in encoders.items() if names}
    if len(chosen) < 2:
        raise SeehearError(
            f"{uri} has latents of {', '.join(chosen)} only, training joins two modalities: encode another"
        )
    return chosen


def encoders_of(about: Mapping[str, EncoderInfo], modality: Modality, *, sequences: bool = False) -> list[str]:
    """Names of the default encoders of a modality; `about` as of `Library.encoders`."""
    # Encoders with a source map other latents, and add nothing to them.
    free = {name: info for name, info in about.items() if not info.get("of_run") and not info.get("source")}
    names = sorted(name for name, info in free.items() if info["modality"] == modality)
    laid_flat = [name for name in names if about[name].get("shape")]
    return laid_flat if sequences and laid_flat else [name for name in names if name not in laid_flat]


def _read(
    library: LibraryTables,
    infos: Sequence[EncoderInfo],
    clips: Mapping[str, Clip],
    sources: Mapping[str, Source],
    prefix: str,
) -> Vectors:
    """Current latents of a modality, its encoders side by side."""
    parts, m = [], infos[0]["modality"]
    for info in infos:
        rows, stale = read_current(library, info, clips, sources, prefix=prefix)
        if stale:
            say(f"{stale:,} latents of {info['name']} are of changed files or texts: left out until they are encoded")
        if m == "text":
            keys = enumerate(zip(rows.ids, rows.items.tolist(), strict=True))
            learned = [n for n, (i, item) in keys if is_learned(clips[i].texts[item])]
            rows = rows.take(learned) if len(learned) < len(rows) else rows
        if not (finite := np.isfinite(rows.vectors).all(axis=1)).all():
            raise SeehearError(
                f"encoder {info['name']!r} gave {int((~finite).sum()):,} vectors that are not finite, the first of "
                f"clip {rows.ids[int(finite.argmin())]}: it cannot be trained on in float16"
            )
        parts.append(rows)
    if not len(rows := side_by_side(parts)):
        have = sum(clip.has(m) for clip in clips.values())
        raise SeehearError(
            f"{library.uri} has no {m} latents for these clips ({have:,} of {len(clips):,} have {m}): "
            f"run 'seehear encode {library.uri}', or leave {m} out"
        )
    return rows
