"""VATT: Transformers for Multimodal Self-Supervised Learning from Raw Video, Audio and Text (arXiv 2104.11178).

Only linear maps stand between a signal and a Transformer, and everything is trained without labels:
    tokens       4 x 16 x 16 voxels x_n -> x_n W + e_t + e_v + e_h;  128 samples -> x_n W + e_n;  words -> their vectors
    DropToken    in training a random share of the tokens of video and audio is not computed
    encode       z_in = [x_AGG; tokens];  z' = MHA(LN(z)) + z;  z'' = MLP(LN(z')) + z';  f = LN(z_last) at AGG
    heads        z_v,va = BN W ReLU BN W f_v,  z_a,va = BN W f_a         fine space of video and audio, S_va
                 z_v,vt = BN W ReLU z_v,va,    z_t,vt = BN W f_t         coarse space with text, reached from S_va
    loss         NCE(z_v,va, z_a,va) + lambda MIL-NCE(z_v,vt, {z_t,vt}), of cosines over tau
Positives of a clip are its sound, and the K sentences spoken around it; negatives are the rest of the batch.

'specific' has an encoder for each modality, that of text with relative positions; 'agnostic' one for all, through which
each passes by itself between maps of its own.

Encoders read one clip at a time. Heads have batch norm: they are part of the objective, and read the whole batch. Their
batch norm collects the moments of a step in `BatchStatistics`, and its running statistics move after the step. So they
are those of the whole batch on any number of processes and with micro-batches, without rows that lack the modality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.losses.contrastive import Overlap, same_group, zero_of
from seehear.methods.base import Method
from seehear.methods.vatt_config import SIZES, Form, VATTConfig, VATTSpace, plan
from seehear.methods.vatt_layers import BatchStatistics, Head, HeadBatchNorm, LogMel, PatchTokens, WordTokens
from seehear.nn.random import Randomness
from seehear.nn.transformer import Style, Transformer, glorot
from seehear.types import Batch, Bool, Encoded, Float, Modality, StepOutput, Tensor, group_numbers, presence

__all__ = ["SIZES", "VATT", "VATTConfig"]

# Position of the aggregation token.
_AGG = slice(0, 1)


class VATT(Method):
    name = "vatt"
    reads_media = True
    # A batch norm of equal rows gives zeros, whose direction would have a huge gradient.
    shortest = 1e-3
    config_type = VATTConfig
    config: VATTConfig

    def __init__(self, config: VATTConfig):
        super().__init__()
        self.config, self._spaces = config, plan(config)
        self.spaces = {name: space.modalities for name, space in self._spaces.items()}
        self.tokens = nn.ModuleDict(
            {m: WordTokens(config) if m == "text" else PatchTokens(config, m) for m in config.modalities}
        )
        agnostic = config.variant == "agnostic"
        encoders = {"shared": None} if agnostic else dict.fromkeys(config.modalities)
        self.encoders = nn.ModuleDict({name: _encoder(config, name) for name in encoders})
        if agnostic:
            width = config.shared.width
            self.after = nn.ModuleDict({m: glorot(nn.Linear(width, width)) for m in config.modalities})
        if "audio" in config.modalities and config.sound == "spectrogram":
            self.mel = LogMel(config.mel, rate=config.rate)
        self.heads = nn.ModuleDict({name: _heads(config, name, space) for name, space in self._spaces.items()})
        if "coarse" in self._spaces:
            self.coarsen = Head((config.dim, self._spaces["coarse"].dim), norm=True, relu_first=True)

    def load_words(self, table_VD: Tensor) -> VATT:
        """Set the word vectors, word2vec's in the paper; row 0 is padding."""
        if "text" not in self.config.modalities:
            raise SeehearError("this model reads no text: it takes no word table")
        tokens = self.tokens["text"]
        assert isinstance(tokens, WordTokens)
        tokens.load(table_VD)
        return self

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        """Features before the heads: (B, D), of text (B, K, D). `rng` None: all tokens, and no dropout."""
        names = self.config.modalities
        present = presence(batch, names)
        features = {m: self._sentences(batch[m], rng) if m == "text" else self._signal(m, batch[m], rng) for m in names}
        context = {}
        if "text" in names:
            context["sentence"] = (batch["text"] != 0).any(dim=2) & present["text"][:, None]
            # A clip whose sentences are all padding has no text, whatever the batch says.
            present["text"] = context["sentence"].any(dim=1)
        if self.config.mask_same_group:
            context["group"] = group_numbers(batch)
        return Encoded(features, present, context)

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        """f at AGG (B, D); for text that of the first sentence that is not empty."""
        if m != "text":
            return self._signal(m, x, rng)
        _check_axes("text", x, 3, "(clips, sentences, words)")
        # A clip's own sentence comes first, and may be empty.
        first_B = (x != 0).any(dim=2).to(torch.uint8).argmax(dim=1)
        return self._sentences(x[torch.arange(len(x), device=x.device), first_B][:, None], rng)[:, 0]

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        """The weighted sum of the pairs' terms. A pair needs a clip with both modalities and, as its negative, another
        with one of them; without any such pair the loss and its gradient are zero."""
        # Batch norm and 1/tau would make the rounding errors of bf16 large.
        with torch.autocast(next(iter(encoded.features.values())).device.type, enabled=False):
            return self._objective(encoded)

    def _objective(self, encoded: Encoded) -> StepOutput:
        config, statistics, valid = self.config, BatchStatistics(), dict(encoded.present)
        if "text" in valid:
            valid["text"] = encoded.context["sentence"]  # (B, K)
        z = self._project(encoded.features, valid, statistics)
        exclude = same_group(encoded.context["group"]) if config.mask_same_group else None
        total = zero_of(encoded.features.values())
        terms, weights = {}, 0.0
        for name, space in self._spaces.items():
            for p, q in space.pairs:
                either, both = encoded.present[p] | encoded.present[q], encoded.present[p] & encoded.present[q]
                if both.any() and int(either.sum()) > 1:
                    x, y = (F.normalize(z[name][m], dim=-1, eps=self.shortest) for m in (p, q))
                    # NCE is MIL-NCE with one match a clip.
                    y_BKE, has_BK = (y, valid[q]) if q == "text" else (y[:, None], valid[q][:, None])
                    there = valid[p], has_BK
                    terms[p, q] = mil_nce(
                        x, y_BKE, config.temperature, present=there, form=config.form, exclude=exclude
                    )
                    weight = config.text_weight if q == "text" else 1.0
                    total, weights = total + weight * terms[p, q], weights + weight
        if config.form != "paper" and weights:
            total = total / weights
        metrics = {f"loss/{p}-{q}": term.detach() for (p, q), term in terms.items()}
        names, carry = {module: name for name, module in self.named_modules()}, dict[str, Tensor]()
        for norm, (mean, variance) in statistics.moments.items():
            carry |= {f"{names[norm]}/mean": mean, f"{names[norm]}/variance": variance}
        return StepOutput(total, metrics, carry)

    def place(self, features: Mapping[Modality, Tensor], space: str | None = None) -> dict[Modality, Tensor]:
        """Audio enters the coarse space by video's map, even where it was not trained there (as in MMV)."""
        return self._project(features, {}, None)[self.space_name(space)]

    @torch.no_grad()
    def after_step(self, out: StepOutput, progress: float) -> None:
        for name, norm in self.named_modules():
            if isinstance(norm, HeadBatchNorm) and f"{name}/mean" in out.carry:
                norm.move(out.carry[f"{name}/mean"], out.carry[f"{name}/variance"])

    # -- parts -------------------------------------------------------------------------------------------------------

    def _signal(self, m: Modality, x: Tensor, rng: Randomness | None) -> Tensor:
        """Features (B, D) of video (B, T, H, W, C) or audio (B, S)."""
        if m == "audio":
            _check_axes(m, x, 2, "(clips, samples)")
            x = (self.mel(x) if self.config.sound == "spectrogram" else x)[..., None]
        return self._aggregated(m, self.tokens[m](x, rng=rng, name=m), None, rng)

    def _sentences(self, text_BKL: Tensor, rng: Randomness | None) -> Tensor:
        """Features (B, K, D) of sentences."""
        _check_axes("text", text_BKL, 3, "(clips, sentences, words)")
        x_NLD, mask = self.tokens["text"](text_BKL.flatten(0, 1), rng=rng, name="text")
        return self._aggregated("text", x_NLD, mask, rng).unflatten(0, text_BKL.shape[:2])

    def _aggregated(self, m: Modality, x_NLD: Tensor, mask: Tensor | None, rng: Randomness | None) -> Tensor:
        """(N, D): the encoder's output at AGG."""
        encoder = self.encoders["shared" if self.config.variant == "agnostic" else m]
        # Only AGG is read: the last block computes no other token.
        f_ND = encoder(x_NLD, mask, rng=rng, name=m, asked=_AGG)[:, 0]
        if self.config.variant == "agnostic":
            f_ND = F.gelu(self.after[m](f_ND))
        return f_ND.to(next(self.parameters()).dtype)

    def _project(
        self, features: Mapping[Modality, Tensor], valid: Mapping[Modality, Tensor], statistics: BatchStatistics | None
    ) -> dict[str, dict[Modality, Tensor]]:
        """z by space and modality, of any length."""
        z: dict[str, dict[Modality, Tensor]] = {}
        for name, heads in self.heads.items():
            assert isinstance(heads, nn.ModuleDict)
            z[name] = {m: head(features[m], valid.get(m), statistics) for m, head in heads.items() if m in features}
        if "coarse" in z:
            # In training audio goes through only where it is aligned there: its rows would be in the map's batch norm.
            trained = {m for pair in self._spaces["coarse"].pairs for m in pair}
            through = [m for m in z["fine"] if statistics is None or m in trained]
            # One map for both: its batch norm needs the rows of both together.
            if through:
                x = torch.cat([z["fine"][m] for m in through])
                rows = torch.cat([valid[m] for m in through]) if valid else None
                sizes = [z["fine"][m].shape[0] for m in through]
                z["coarse"] |= dict(zip(through, self.coarsen(x, rows, statistics).split(sizes), strict=True))
        return z


def _encoder(config: VATTConfig, name: str) -> Transformer:
    """The encoder of a modality, or the 'shared' one."""
    size = config.shared if name == "shared" else config.size_of(name)
    # A shared encoder is a ViT for text as well, whose positions are absolute there.
    style: Style = "t5" if name == "text" else "vit"
    return Transformer(size, style=style, dropout=config.dropout, drop_path=config.drop_path)


def _heads(config: VATTConfig, name: str, space: VATTSpace) -> nn.ModuleDict:
    """Heads from features into a space: two maps for video, one for the others; in a joint space one for each, behind a
    ReLU."""
    norm, heads = config.batch_norm == "all", nn.ModuleDict()
    for m in space.modalities:
        width = config.size_of(m).width
        if name == "joint":
            heads[m] = Head((width, space.dim), norm=True, relu_first=True)
        elif m == "video" and name != "coarse":
            heads[m] = Head((width, config.dim, space.dim), norm=True)
        elif name != "coarse" or m == "text":
            heads[m] = Head((width, space.dim), norm=norm)
    return heads


def _check_axes(m: Modality, x: Tensor, axes: int, expected: str) -> None:
    if x.dim() != axes:
        raise SeehearError(f"{m} must be {expected}; got {tuple(x.shape)}")


# -- NCE and MIL-NCE (equations 4 and 5; MIL-NCE: arXiv 1912.06430) ----------------------------------------------------

# x_i is a clip, P(i) its one match (NCE) or its several sentences (MIL-NCE), s a cosine over tau:
#
#     p_i = log sum over t in P(i) of exp s(x_i, t)              its matches
#     r_i = log sum over t not in P(i) of exp s(x_i, t)          its row: the sentences of all other clips
#     c_i = log sum over t in P(i), j != i of exp s(x_j, t)      its columns: all other clips, for each of its sentences
#
#     paper        log(e^p + e^r + e^c) - p                       0 at best
#     code         log(2 e^p + e^r + e^c) - p                     the official code counts matches twice: ln 2 at best
#     symmetric    log(e^p + e^r) + log(e^p + e^c) - 2 p          two cross-entropies, added
#
# The mean is over clips that have both; a clip that lacks one of the two is still a negative with the other.

# Logit of a term that does not count: e^-10000 is 0, and unlike that of -inf its gradient is 0 and not NaN.
_NOTHING = -1e4


def mil_nce(
    x_BE: Float[Tensor, "b e"],
    y_BKE: Float[Tensor, "b k e"],
    temperature: Float[Tensor, ""] | float,
    *,
    present: tuple[Bool[Tensor, " b"], Bool[Tensor, "b k"]] | None = None,
    form: Form = "paper",
    exclude: Overlap | None = None,
) -> Float[Tensor, ""]:
    """MIL-NCE of unit rows, 1/temperature at most 1000; with K = 1 this is NCE. Rows and sentences that `present` names
    absent are dropped before anything is computed; zero, with a zero gradient, where no clip has both. Excluded pairs
    of clips are no negatives of each other."""
    _check(x_BE, y_BKE, exclude)
    has_x_B, has_y_BK = present or (torch.ones_like(axes[..., 0], dtype=torch.bool) for axes in (x_BE, y_BKE))
    clip_X, owner_Y = has_x_B.nonzero().squeeze(1), has_y_BK.nonzero()[:, 0]
    match_XY = clip_X[:, None] == owner_Y  # 1 = a sentence of this clip
    both_X = match_XY.any(dim=1)
    # Without a match the mean below would be 0 / 0.
    if not bool(both_X.any()):
        return zero_of((x_BE, y_BKE))
    products_XY = x_BE[clip_X] @ y_BKE[has_y_BK].T
    s_XY = products_XY.to(torch.promote_types(x_BE.dtype, torch.float32)) / temperature
    other_XY = ~match_XY
    if exclude is not None:
        excluded_BB = torch.zeros(len(x_BE), len(x_BE), dtype=torch.bool, device=x_BE.device)
        excluded_BB[exclude.pairs(slice(0, len(x_BE)))] = True
        other_XY &= ~excluded_BB[clip_X][:, owner_Y]
    match, row = _log_sum(s_XY, match_XY, dim=1), _log_sum(s_XY, other_XY, dim=1)
    column = _log_sum(_log_sum(s_XY, other_XY, dim=0).expand_as(s_XY), match_XY, dim=1)
    row, column = row - match, column - match
    # softplus(a) is log(1 + e^a); above its threshold it is a itself.
    if form == "symmetric":
        loss = F.softplus(row, threshold=50) + F.softplus(column, threshold=50)
    else:
        twice = math.log(2) if form == "code" else 0.0
        loss = F.softplus(torch.logaddexp(row, column) - twice, threshold=50) + twice
    return loss[both_X].mean()


def _log_sum(s: Tensor, counted: Tensor, *, dim: int) -> Tensor:
    return s.masked_fill(~counted, _NOTHING).logsumexp(dim=dim)


def _check(x_BE: Tensor, y_BKE: Tensor, exclude: Overlap | None) -> None:
    if x_BE.dim() != 2 or y_BKE.dim() != 3 or len(x_BE) != len(y_BKE) or x_BE.shape[1] != y_BKE.shape[2]:
        raise ValueError(f"x must be (B, E) and y (B, K, E); got {tuple(x_BE.shape)} and {tuple(y_BKE.shape)}")
    if exclude is not None and len(exclude) != len(x_BE):
        raise ValueError(f"the exclusion is of {len(exclude)} rows, the batch has {len(x_BE)}")
