"""One step's loss and gradients, in one piece or with exact gradient caching.

Cached (`micro_batch`): encode micro-batches without graph and keep only the features; take the objective of the whole
batch and its gradient with respect to them; encode each micro-batch again, now with graph, and send that gradient back
through it. Randomness is a function of a row's position (`nn/random.py`), so both passes draw the same, and the
result equals the full batch to rounding. Memory: one micro-batch's graph and the features. Time: one more encoding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch

from seehear import distributed
from seehear.distributed import gather_tree, share
from seehear.errors import SeehearError
from seehear.methods.base import Method
from seehear.nn.random import Randomness
from seehear.types import Batch, Encoded, StepOutput, Tensor

Encode = Callable[..., Encoded]
Autocast = Callable[[], AbstractContextManager[None]]


def gradients(
    method: Method,
    batch: Batch,
    *,
    progress: float,
    rng: Randomness,
    micro_batch: int | None,
    autocast: Autocast,
    encode: Encode | None = None,
) -> StepOutput:
    """Add the gradient of one global batch, of which `batch` is this rank's rows, to `.grad`: the mean over ranks.

    `encode` stands in for `method.encode` (compiled, say).
    """
    encode = encode or method.encode
    if method.assembles:
        batch, rng = assemble(method, batch, rng)
    if micro_batch is not None and micro_batch < len(first(batch)):
        out = _cached(method, encode, batch, progress=progress, rng=rng, rows=micro_batch, autocast=autocast)
    else:
        with autocast():
            encoded = encode(batch, rng=rng)
        out = _objective(method, encoded, progress=progress, rng=rng, autocast=autocast)
    distributed.average_gradients(method.parameters())
    return StepOutput(out.loss.detach(), {k: v.detach() for k, v in out.metrics.items()}, out.carry)


@torch.no_grad()
def assemble(method: Method, batch: Batch, rng: Randomness) -> tuple[Batch, Randomness]:
    """This rank's rows of what the method makes of the whole batch, and the draws for them."""
    whole = method.assemble(gather_tree(batch, total=rng.total), rng=rng.whole())
    total = len(first(whole))
    own = share(total)
    return {k: v[own] for k, v in whole.items()}, rng.resized(own.start, own.stop, total)


def first(batch: Batch) -> Tensor:
    return next(iter(batch.values()))


def _objective(method: Method, encoded: Encoded, *, progress: float, rng: Randomness, autocast: Autocast) -> StepOutput:
    with autocast():
        out = method.objective(gather_tree(encoded, total=rng.total), progress=progress, rng=rng.whole())
    out.loss.backward()
    return out


def _cached(
    method: Method, encode: Encode, batch: Batch, *, progress: float, rng: Randomness, rows: int, autocast: Autocast
) -> StepOutput:
    _check_shares(method, rng.total)
    cuts = [(at, min(at + rows, len(first(batch)))) for at in range(0, len(first(batch)), rows)]

    def part(start: int, stop: int) -> Encoded:
        with autocast():
            return encode({k: v[start:stop] for k, v in batch.items()}, rng=rng.narrow(start, stop))

    with torch.no_grad():
        encoded = _joined([part(*cut) for cut in cuts])
    leaves = {k: v.detach().requires_grad_(v.is_floating_point()) for k, v in encoded.features.items()}
    out = _objective(method, encoded.replace_features(leaves), progress=progress, rng=rng, autocast=autocast)
    for start, stop in cuts:
        features = part(start, stop).features
        used = [k for k, f in features.items() if f.requires_grad and leaves[k].grad is not None]
        if not used:  # nothing in `encode` learns
            break
        torch.autograd.backward([features[k] for k in used], [leaves[k].grad[start:stop] for k in used])  # type: ignore[index]
    return out


def _check_shares(method: Method, total: int) -> None:
    """A sharded method is put together anew for every micro-batch, so all processes must have equally many."""
    processes = distributed.world_size()
    if total % processes and any(distributed.is_sharded(p) for p in method.parameters()):
        raise SeehearError(
            f"a sharded method with micro-batches needs batches that can be cut alike: {total} rows do not go over "
            f"{processes} processes, choose another --train.batch-size"
        )


def _joined(parts: list[Encoded]) -> Encoded:
    def cat(trees: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return {k: torch.cat([tree[k] for tree in trees]) for k in trees[0]}

    features, present, context = ([getattr(p, field) for p in parts] for field in ("features", "present", "context"))
    return Encoded(cat(features), cat(present), cat(context))
