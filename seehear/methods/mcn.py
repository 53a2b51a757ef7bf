"""MCN: Multimodal Clustering Networks for Self-supervised Learning from Unlabeled Videos (arXiv 2104.12671).

Frozen features x of video, audio and text; small branches h give z_x = h(x) in one space (or several).
    contrast     L_con = sum over pairs of MMS(z_p z_q')           all other clips of the batch are negatives
    cluster      m_i = mean of the present z_x,i;  k_i = argmax_k cos(m_i, C_k)         one label for a whole clip
                 L_x = -mean_i log softmax_k(z_x,i . C_k - delta [k = k_i])_{k_i};      L_clu = mean (paper: sum) of L_x
    reconstruct  L_rec = sum over modalities of mean_i MSE(decode(z_x,i), x_i)
    loss         L_con + L_clu + 50 L_rec
C are k-means centroids of the m of this batch and of a queue of earlier ones, refitted every `refit_every` steps from
their last values; they carry no gradient. A modality that a clip lacks is in no term of that clip.

Spaces: one for all ('joint'); one for each pair ('disjoint'); or video and audio in a fine one, from which a map leads
into a coarse one that holds the text ('fine_coarse'): clusters are then coarse, reconstruction of sight and sound fine.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from seehear.distributed import gather, world_size
from seehear.errors import SeehearError
from seehear.losses.contrastive import Overlap, mms, pairwise, same_group, zero_of
from seehear.methods.base import Method
from seehear.methods.linear import Latents, Present, statistics
from seehear.methods.mcn_config import MCNConfig, plan
from seehear.methods.mcn_layers import Branch, OnlineClusters, Sound, cluster_loss, clustering, evenly, fuse
from seehear.nn.davenet import DaveNet, valid_frames
from seehear.nn.kmeans import assign
from seehear.nn.latents import Standardise, Temperature, row_numbers
from seehear.nn.random import Randomness
from seehear.types import Batch, Encoded, Modality, StepOutput, Tensor, group_numbers, presence

__all__ = ["MCN", "MCNConfig"]


class MCN(Method):
    name = "mcn"
    # The paper ranks by raw products.
    compares_unit = False
    config_type = MCNConfig
    config: MCNConfig

    def __init__(self, config: MCNConfig):
        super().__init__()
        if not config.widths:
            raise ValueError("widths must say how wide the features of each modality are")
        self.config, self._spaces = config, plan(config)
        self.spaces = {name: space.modalities for name, space in self._spaces.items()}
        self.branches = nn.ModuleDict({m: Branch(config, m, self._spaces) for m in config.widths})
        self.clusters, self.temperatures = nn.ModuleDict(), nn.ModuleDict()
        for name, space in self._spaces.items():
            if config.cluster_weight and space.clustered:
                size = {"queue": config.queue, "every": config.refit_every, "iterations": config.iterations}
                self.clusters[name] = OnlineClusters(config.clusters, space.dim, **size)
            if config.similarity == "cosine":
                self.temperatures[name] = Temperature(config.temperature)
        if config.spaces == "fine_coarse":
            self.coarsen = nn.Linear(self._spaces["fine"].dim, self._spaces["coarse"].dim)

    @torch.no_grad()
    def fit(self, latents: Latents, present: Present | None = None) -> MCN:
        """Set the standardisation, where there is one, from the training latents."""
        if self.config.normalise == "standardise":
            chosen = {m: latents[m] for m in self.config.widths if self.config.input_of(m) == "latents"}
            for m, (mean, deviation) in statistics(chosen, present).items():
                stem = self._branch(m).stem
                assert isinstance(stem, Standardise)
                stem.set(mean, deviation, self.config.blocks.get(m, ()))
        return self

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        """Vectors 'space/modality' (B, E) and errors 'reconstruct/modality' (B,). `rng` None: batch norm uses its
        running statistics."""
        present, features = presence(batch, self.config.widths), dict[str, Tensor]()
        for m in self.config.widths:
            f_BD = self._stem(batch, m, learning=rng is not None)
            z = self._embed(m, f_BD)
            features |= {f"{space}/{m}": z_BE for space, z_BE in z.items()}
            if errors := self._branch(m).errors(z, f_BD):
                # The mean over spaces, so that the weight means the same for one space and for three.
                features[f"reconstruct/{m}"] = torch.stack(errors).mean(dim=0)
        return Encoded(features, present, self._same(batch))

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        config = self.config
        loss = zero_of(encoded.features.values())
        metrics: dict[str, Tensor] = {}
        carry: dict[str, Tensor] = {}
        for name, space in self._spaces.items():
            z = {m: encoded.features[f"{name}/{m}"] for m in space.modalities}
            present = {m: encoded.present[m] for m in space.modalities}
            if config.contrast_weight and space.pairs:
                contrast = partial(mms, margin=config.margin, temperature=self._temperature(name))
                exclude = partial(self._overlap, encoded.context)
                terms = pairwise(z, encoded.present, contrast, pairs=space.pairs, exclude=exclude).terms
                # The sum over pairs, as in the paper, and not the mean that `pairwise` also gives.
                loss = loss + config.contrast_weight * sum(terms.values(), loss.new_zeros(()))
                metrics |= {f"loss/{p}-{q}": term.detach() for (p, q), term in terms.items()}
            if name in self.clusters:
                term = self._cluster(name, z, present, rng)
                # The mean over spaces: the weight means the same for one space and for three.
                loss = loss + config.cluster_weight / len(self.clusters) * term.loss
                metrics, carry = metrics | term.metrics, carry | term.carry
            if name in self.temperatures:
                metrics[f"temperature/{name}"] = torch.as_tensor(self._temperature(name)).detach().clone()
        for m in config.widths:
            error_B = encoded.features.get(f"reconstruct/{m}")
            if error_B is not None and bool(encoded.present[m].any()):
                error = error_B[encoded.present[m]].mean()
                loss = loss + config.reconstruct_weight * error
                metrics[f"loss/reconstruct-{m}"] = error.detach()
        return StepOutput(loss, metrics, carry)

    def place(self, features: Mapping[Modality, Tensor], space: str | None = None) -> dict[Modality, Tensor]:
        """The vectors that the losses compare; the paper ranks by their products."""
        space = self.space_name(space)
        present = [m for m in self.spaces[space] if m in features]
        return {m: self._embed(m, self._stem(features, m, learning=False))[space] for m in present}

    @torch.no_grad()
    def raw(self, batch: Batch, space: str | None = None) -> dict[Modality, Tensor]:
        # `place` on the batch itself, and not on its features: sounds may have lengths there.
        return {m: self.finished(m, z_BE, space) for m, z_BE in self.place(batch, space).items()}

    @torch.no_grad()
    def after_step(self, out: StepOutput, progress: float) -> None:
        for name, clusters in self.clusters.items():
            assert isinstance(clusters, OnlineClusters)
            # Without centroids while there are fewer clips than clusters: rows are collected all the same.
            clusters.advance(out.carry.get(f"{name}/centroids"), out.carry[f"{name}/rows"])
        running = [x for m in self.modules() if isinstance(m, DaveNet) for x in m.running_statistics()]
        if running and world_size() > 1:
            # Each process has the statistics of its own rows; averaged, all of them embed alike.
            mean = gather(torch.cat(running)[None]).mean(dim=0)
            for x, part in zip(running, mean.split([len(x) for x in running]), strict=True):
                x.copy_(part)

    # -- branches ----------------------------------------------------------------------------------------------------

    def _stem(self, batch: Mapping[str, Tensor], m: Modality, *, learning: bool) -> Tensor:
        """f (B, D): input of the heads, target of the decoders. Raises `SeehearError` for an input of a wrong shape."""
        dtype, stem = next(self.parameters()).dtype, self._branch(m).stem
        x, length_B = batch[m].to(dtype), batch.get("length_audio")
        kind, width = self.config.input_of(m), self.config.widths[m]
        # Words (B, L, D) and mel (B, F, S) lie flat in a library.
        if x.dim() == 2 and kind in ("words", "mel") and x.shape[1] % width == 0:
            x = x.unflatten(1, (-1, width) if kind == "words" else (width, -1))
        expected = {"latents": (width,), "words": (None, width), "mel": (width, None), "waveform": (None,)}[kind]
        shape = tuple(x.shape[1:])
        if len(shape) != len(expected) or any(e not in (None, s) for e, s in zip(expected, shape, strict=True)):
            wanted = " x ".join("any" if e is None else str(e) for e in expected)
            size = " x ".join(str(s) for s in shape)
            raise SeehearError(f"{m} of a clip is {size}, this model was made for {kind} of {wanted}: another encoder?")
        if isinstance(stem, Sound):
            # Libraries store no lengths: padding lies below any real level, and shows where a sound ends.
            if length_B is None and kind == "mel":
                length_B = valid_frames(x)
            return stem(x, length_B, batch.get(f"has_{m}"), learning=learning).to(dtype)
        return stem(x).to(dtype)

    def _embed(self, m: Modality, f_BD: Tensor) -> dict[str, Tensor]:
        """z (B, E) in every space that holds the modality."""
        z = self._branch(m)(f_BD)
        if "fine" in z:
            # No batch norm here, unlike MMV: MCN's heads have none, so audio can pass in training too.
            z["coarse"] = self.coarsen(z["fine"].relu())
        if self.config.similarity == "cosine":
            z = {name: F.normalize(z_BE, dim=1) for name, z_BE in z.items()}
        return {name: z_BE.to(f_BD.dtype) for name, z_BE in z.items()}

    # -- terms -------------------------------------------------------------------------------------------------------

    def _cluster(
        self, name: str, z: Mapping[Modality, Tensor], present: Mapping[Modality, Tensor], rng: Randomness
    ) -> StepOutput:
        """L_clu in a space, its metrics, and the rows and centroids for `after_step`."""
        online, config = self.clusters[name], self.config
        assert isinstance(online, OnlineClusters)
        # Labels and centroids are targets: no gradient goes through them.
        fused_BE, any_B = fuse({m: z_BE.detach() for m, z_BE in z.items()}, present)
        rows_NE = fused_BE[any_B]
        carry = {f"{name}/rows": rows_NE[evenly(len(rows_NE), config.enqueue, rows_NE.device)]}
        # Shared draws: every process finds the same centroids from the same rows.
        centroids_KE = online.at(rows_NE, rng.shared(f"mcn/clusters/{name}"))
        if centroids_KE is None:
            return StepOutput(fused_BE.new_zeros(()), {}, carry)
        carry[f"{name}/centroids"] = centroids_KE
        # By the cosine even where the loss takes raw products, as in the paper's code: the two may choose differently.
        label_B = assign(fused_BE, centroids_KE)
        term = partial(
            cluster_loss,
            # Means of unit vectors are shorter than 1.
            centroids_KE=F.normalize(centroids_KE, dim=1) if config.similarity == "cosine" else centroids_KE,
            margin=config.margin,
            temperature=self._temperature(name),
        )
        loss = clustering(z, present, label_B, term, over=config.cluster_over)
        used = torch.tensor(len(label_B[any_B].unique()), device=loss.device)
        return StepOutput(loss, {f"loss/cluster-{name}": loss.detach(), f"clusters/{name}": used}, carry)

    def _temperature(self, name: str) -> Tensor | float:
        return self.temperatures[name]() if name in self.temperatures else 1.0

    def _same(self, batch: Batch) -> dict[str, Tensor]:
        """Numbers (B,) that are equal for rows which are no negatives of each other."""
        same = {"same/group": group_numbers(batch)} if self.config.mask_same_group else {}
        if self.config.mask_duplicates:
            compared = [m for m in self.config.widths if self.config.input_of(m) in ("latents", "words")]
            same |= {f"same/{m}": row_numbers(batch[m].flatten(1)) for m in compared}
        return same

    def _overlap(self, context: Mapping[str, Tensor], p: Modality, q: Modality) -> Overlap | None:
        numbers = [context[f"same/{way}"] for way in ("group", p, q) if f"same/{way}" in context]
        return same_group(*numbers) if numbers else None

    def _branch(self, m: Modality) -> Branch:
        branch = self.branches[m]
        assert isinstance(branch, Branch)
        return branch
