"""Layers and clusters of MCN: a branch for each modality, clusters over a stream of batches, and their loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.losses.contrastive import zero_of
from seehear.methods.mcn_config import MCNConfig, MCNSpace, Over
from seehear.nn.davenet import DaveMel, DaveNet
from seehear.nn.kmeans import kmeans, starting_points
from seehear.nn.latents import Standardise
from seehear.types import Bool, Float, Int, Modality, Tensor

# -- layers of a branch: each row by itself ----------------------------------------------------------------------------


class UnitBlocks(nn.Module):
    """Concatenated latents, those of each encoder at unit length."""

    def __init__(self, blocks: tuple[int, ...]):
        super().__init__()
        self.blocks = blocks

    def forward(self, x_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return torch.cat([F.normalize(x, dim=1) for x in x_BD.split(self.blocks, dim=1)], dim=1)


class GatedUnit(nn.Module):
    """y = W1 x + b1,   out = y * sigmoid(W2 y + b2): every dimension is gated by all the others."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(width, dim)
        self.gate = nn.Linear(dim, dim)

    def forward(self, x_BD: Float[Tensor, "b d"]) -> Float[Tensor, "b e"]:
        y_BE = self.linear(x_BD)
        return y_BE * torch.sigmoid(self.gate(y_BE))


class MaxWords(nn.Module):
    """max over words of ReLU(W x + b). A row of zeros is padding; a text without words gives zeros."""

    def __init__(self, width: int, dim: int):
        super().__init__()
        self.linear = nn.Linear(width, dim)

    def forward(self, words_BLD: Float[Tensor, "b l d"]) -> Float[Tensor, "b e"]:
        word_BL = (words_BLD != 0).any(dim=2)  # 1 = a word, 0 = padding
        # In MCN's code the rows of padding take part in the maximum.
        y_BLE = self.linear(words_BLD).masked_fill(~word_BL[:, :, None], -torch.inf)
        # The ReLU of the maximum is the maximum of ReLUs, and turns the -inf of a text without words to 0.
        return y_BLE.max(dim=1).values.relu()


class Branch(nn.Module):
    """One modality: a stem from the input to one vector f, heads from f into spaces, and decoders back to f."""

    def __init__(self, config: MCNConfig, m: Modality, spaces: Mapping[str, MCNSpace]):
        super().__init__()
        kind, width = config.input_of(m), config.widths[m]
        stem: nn.Module = nn.Identity()
        if kind == "words":
            stem, width = MaxWords(width, config.dim), config.dim
        elif kind != "latents":
            network = DaveNet(width, channels=config.channels, norm=config.audio_norm)
            stem, width = Sound(network, DaveMel(width) if kind == "waveform" else None), network.width
        elif config.normalise == "standardise":
            stem = Standardise(width)
        elif config.normalise == "l2":
            stem = UnitBlocks(config.blocks.get(m, (width,)))
        self.stem = stem
        self.heads, self.decoders = nn.ModuleDict(), nn.ModuleDict()
        own = {name: space.dim for name, space in spaces.items() if m in space.own}
        for name, dim in own.items():
            # Sound is gated before it is widened, which is steadier in half precision.
            narrow = kind in ("mel", "waveform")
            self.heads[name] = (
                nn.Sequential(GatedUnit(width, width), nn.Linear(width, dim)) if narrow else GatedUnit(width, dim)
            )
        # A target that is never negative is decoded through one more ReLU.
        last = [nn.ReLU()] if kind != "latents" or m in config.nonnegative else []
        for name, dim in own.items() if config.reconstruct_weight else ():
            layers = [nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, width)]
            self.decoders[name] = nn.Sequential(*layers, *last)

    def forward(self, f_BD: Float[Tensor, "b d"]) -> dict[str, Tensor]:
        """z (B, E) by space."""
        return {name: head(f_BD) for name, head in self.heads.items()}

    def errors(self, z: Mapping[str, Tensor], f_BD: Float[Tensor, "b d"]) -> list[Tensor]:
        """Mean squared reconstruction errors of f (B,), one for each space."""
        rebuilt = [decoder(z[name]) for name, decoder in self.decoders.items()]
        # f is not detached: where the stem learns, the code does not stop its gradient either.
        return [(r_BD.to(f_BD.dtype) - f_BD).square().mean(dim=1) for r_BD in rebuilt]


class Sound(nn.Module):
    """DAVEnet over spectrograms, or over waveforms that it makes them of."""

    def __init__(self, network: DaveNet, mel: DaveMel | None):
        super().__init__()
        self.network, self.mel, self.width = network, mel, network.width

    def forward(self, x: Tensor, length_B: Tensor | None, has_B: Tensor | None, *, learning: bool) -> Tensor:
        """(B, F, S), or (B, N), to (B, C). `length_B`: frames, or samples, of each row that are its own; None: all. Of
        a row that is absent (0 in `has_B`) nothing is: batch norm does not see it."""
        # Batch norm needs lengths in any case: an absent row is one of length 0.
        if length_B is None and (self.mel is not None or self.network.kind == "batch"):
            length_B = torch.full((len(x),), x.shape[-1], device=x.device)
        if self.mel is not None and length_B is not None:
            x, length_B = self.mel(x, length_B)
        if length_B is not None and has_B is not None:
            length_B = length_B * has_B
        return self.network(x, length_B, learning=learning)


# -- clusters ----------------------------------------------------------------------------------------------------------


class OnlineClusters(nn.Module):
    """Centroids of the last rows of a stream: fitted every `every` steps, from the last centroids, to the rows of that
    step and those of a queue. All state is in buffers."""

    centroids: Tensor
    queue: Tensor
    written: Tensor
    steps: Tensor
    fitted: Tensor

    def __init__(self, clusters: int, dim: int, *, queue: int, every: int, iterations: int = 100):
        super().__init__()
        self.every, self.iterations = every, iterations
        self.register_buffer("centroids", torch.zeros(clusters, dim))
        self.register_buffer("queue", torch.zeros(queue, dim))
        self.register_buffer("written", torch.zeros((), dtype=torch.int64))
        """Rows that ever came into the queue; the next one goes to this place, modulo its length."""
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("fitted", torch.zeros((), dtype=torch.int64))

    def known(self, rows_NE: Float[Tensor, "n e"]) -> Float[Tensor, "m e"]:
        """Rows to cluster: those in the queue, and these."""
        # Rows of zeros have no direction: the part that is not filled yet stays out.
        filled = min(int(self.written), len(self.queue))
        return torch.cat([self.queue[:filled], rows_NE.to(self.queue)])

    def at(self, rows_NE: Float[Tensor, "n e"], generator: torch.Generator) -> Tensor | None:
        """The centroids of this step; None while there are fewer rows than clusters, and more to come. Changes nothing:
        `advance` does."""
        fitted = bool(self.fitted)
        if fitted and int(self.steps) % self.every:
            return self.centroids
        known_ME, clusters = self.known(rows_NE), len(self.centroids)
        if fitted and len(known_ME) < clusters:
            return self.centroids
        if len(known_ME) < clusters <= len(self.queue) + len(rows_NE):
            return None
        if len(known_ME) < clusters:
            raise SeehearError(
                f"{clusters} clusters need as many clips; a batch of {len(rows_NE)} and a queue of {len(self.queue)} "
                "hold fewer: take fewer clusters, or a longer queue"
            )
        start_KE = self.centroids if fitted else starting_points(known_ME, clusters, generator)
        return kmeans(known_ME, start_KE, iterations=self.iterations).centroids_KE

    @torch.no_grad()
    def advance(self, centroids_KE: Float[Tensor, "k e"] | None, rows_NE: Float[Tensor, "n e"]) -> None:
        """The step is over: keep its centroids, and these of its rows in place of the oldest ones of the queue."""
        if centroids_KE is not None:
            self.fitted.fill_(1)
            self.centroids.copy_(centroids_KE)
        self.steps += 1
        # A batch may be longer than the queue.
        rows_NE = rows_NE[max(len(rows_NE) - len(self.queue), 0) :]
        if len(rows_NE):
            places_N = (self.written + torch.arange(len(rows_NE), device=self.written.device)) % len(self.queue)
            self.queue[places_N] = rows_NE.to(self.queue)
            self.written += len(rows_NE)


def evenly(rows: int, share: float, device: torch.device) -> Int[Tensor, " n"]:
    """Numbers of a share of the rows, evenly spread: where clips of a video are neighbours, each video has some."""
    # MCN's code takes the first 16 of the 32 clips of each video, and holds for that batch alone.
    return (torch.arange(round(rows * share), device=device) / share).long()


def fuse(
    z: Mapping[Modality, Float[Tensor, "b e"]], present: Mapping[Modality, Bool[Tensor, " b"]]
) -> tuple[Float[Tensor, "b e"], Bool[Tensor, " b"]]:
    """(mean of each row's present modalities, whether it has any)"""
    count_B = torch.stack([present[m] for m in z]).sum(dim=0)
    total_BE = torch.stack([z_BE * present[m][:, None] for m, z_BE in z.items()]).sum(dim=0)
    # A row without any modality is divided by 1, and marked as having none.
    return total_BE / count_B.clamp(min=1)[:, None], count_B > 0


def cluster_loss(
    x_BE: Float[Tensor, "b e"],
    label_B: Int[Tensor, " b"],
    centroids_KE: Float[Tensor, "k e"],
    *,
    margin: float = 0.001,
    temperature: Float[Tensor, ""] | float = 1.0,
) -> Float[Tensor, " b"]:
    """Cross-entropy of x C' / temperature by row, with the margin subtracted from the own cluster's logit: log(K) when
    all are equal and there is no margin. The centroids get no gradient."""
    # Without autocast, as in MMS.
    with torch.autocast(x_BE.device.type, enabled=False):
        logits_BK = x_BE @ centroids_KE.detach().to(x_BE.dtype).T / temperature
    own_BK = F.one_hot(label_B, len(centroids_KE)).to(logits_BK.dtype)
    return F.cross_entropy(logits_BK - margin * own_BK, label_B, reduction="none")


def clustering(
    z: Mapping[Modality, Float[Tensor, "b e"]],
    present: Mapping[Modality, Bool[Tensor, " b"]],
    label_B: Int[Tensor, " b"],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    over: Over = "mean",
) -> Float[Tensor, ""]:
    """Mean or sum over modalities of the mean `loss` (`cluster_loss` of rows and labels) of the rows that have it, or
    the loss of the fused rows alone. A modality that no row has is left out; without any the loss is zero, with a zero
    gradient."""
    if over == "fused":
        fused_BE, any_B = fuse(z, present)
        z, present = {"fused": fused_BE}, {"fused": any_B}
    terms = []
    for m, z_BE in z.items():
        x_NE, label_N = z_BE[present[m]], label_B[present[m]]
        if len(x_NE):
            terms.append(loss(x_NE, label_N).mean())
    if not terms:
        return zero_of(z.values())
    total = torch.stack(terms).sum()
    return total if over == "sum" else total / len(terms)
