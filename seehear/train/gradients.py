"""One step's loss and gradients, in one piece, with exact gradient caching, or of a method cut over the processes.

Cached (`micro_batch`): encode micro-batches without graph and keep only the features; take the objective of the whole
batch and its gradient with respect to them; encode each micro-batch again, now with graph, and send that gradient back
through it. Randomness is a function of a row's position (`nn/random.py`), so both passes draw the same, and the
result equals the full batch to rounding. Memory: one micro-batch's graph and the features. Time: one more encoding.

Cut (`shard`): parameters, gradients and optimiser state lie in parts on the processes (FSDP2), for methods too large to
be held by each. A method is no single `forward`: `encode`, `objective` and `embed` call its parts. So the parts are
sharded: the blocks of every ModuleList (a transformer's layers), and elsewhere each module that has parameters of its
own. A part is put together when it is called and taken apart again afterwards. What hangs on the method itself and
numbers without a dimension (temperatures) stay whole on every process, and their gradients are averaged as without
sharding. Checkpoints hold whole tensors: any number of processes, sharded or not, goes on from them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager

import torch
from torch import nn
from torch.nn.utils import get_total_norm

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


# -- cut over processes ------------------------------------------------------------------------------------------------


def sharded_copy(method: Method, device: torch.device) -> Method:
    """The method as training holds it; the one given stays whole, where it is, and takes the result in the end."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.world_size(),))
    copied = copy.deepcopy(method).to(device)
    distributed.broadcast_module(copied)
    for part in reversed(list(_parts(copied))):  # from the inside outwards
        fully_shard(part, mesh=mesh, ignored_params={p for p in part.parameters() if p.ndim == 0})
    return copied


def _parts(module: nn.Module) -> Iterator[nn.Module]:
    """Blocks of lists, and elsewhere each module with parameters of its own."""
    for child in module.children():
        own = any(p.ndim for p in child.parameters(recurse=isinstance(module, nn.ModuleList)))
        if own:
            yield child
        if not (own and isinstance(module, nn.ModuleList)):
            yield from _parts(child)


def whole_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """On the CPU, put together where they are sharded: all processes must ask at the same time."""
    return {name: _full(tensor).detach().cpu() for name, tensor in tensors.items()}


def _full(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if distributed.is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def cut_as(like: Tensor, tensor: Tensor) -> Tensor:
    """A whole tensor, the same on all processes, cut as `like` is."""
    if not distributed.is_sharded(like) or tensor.ndim == 0:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)  # type: ignore[attr-defined]


def load_whole(method: Method, state: Mapping[str, Tensor]) -> None:
    """`load_state_dict` of whole tensors into a method that may be sharded."""
    own = method.state_dict()
    method.load_state_dict({name: cut_as(own[name], t) if name in own else t for name, t in state.items()})


def gradient_norm(gradients: Iterable[Tensor]) -> Tensor:
    """Of all gradients together, over all processes."""
    kinds: dict[bool, list[Tensor]] = {}
    for gradient in gradients:
        kinds.setdefault(distributed.is_sharded(gradient), []).append(gradient)
    norms = [_full(get_total_norm(same)) for same in kinds.values()]
    return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))


@torch.no_grad()
def clip_gradients(parameters: Iterable[nn.Parameter], most: float, norm: Tensor) -> None:
    """Scale the gradients so that their norm is `most` at most; each process scales what it holds of them."""
    scale = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grads_with_norm_
    for gradient in (p.grad for p in parameters if p.grad is not None):
        own = gradient.to_local() if distributed.is_sharded(gradient) else gradient  # type: ignore[attr-defined]
        own.mul_(scale)


def is_finite(gradient: Tensor) -> bool:
    return bool(_full(gradient).isfinite().all())
