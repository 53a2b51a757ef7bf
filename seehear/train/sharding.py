"""Parameters, gradients and optimiser state cut over the processes (FSDP2), for methods too large to be held by each.

A method is no single `forward`: `encode`, `objective` and `embed` call its parts. So the parts are sharded: the blocks
of every ModuleList (a transformer's layers), and elsewhere each module that has parameters of its own. A part is put
together when it is called and taken apart again afterwards. What hangs on the method itself and numbers without a
dimension (temperatures) stay whole on every process, and their gradients are averaged as without sharding. Checkpoints
hold whole tensors: any number of processes, sharded or not, goes on from them.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn
from torch.nn.utils import get_total_norm

from seehear import distributed
from seehear.methods.base import Method
from seehear.types import Tensor


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


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
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
def clip(parameters: Iterable[nn.Parameter], most: float, norm: Tensor) -> None:
    """Scale the gradients so that their norm is `most` at most; each process scales what it holds of them."""
    scale = (most / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grads_with_norm_
    for gradient in (p.grad for p in parameters if p.grad is not None):
        own = gradient.to_local() if distributed.is_sharded(gradient) else gradient  # type: ignore[attr-defined]
        own.mul_(scale)


def finite(gradient: Tensor) -> bool:
    return bool(_full(gradient).isfinite().all())
