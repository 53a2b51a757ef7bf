"""MAViL: Masked Audio-Video Learners (arXiv 2212.08071).

One ViT reads sound, one pictures, each a random fifth of its patches; the hidden ones are reconstructed from both:
    patches      a of the spectrogram, v of the film (2 x 16 x 16), in standard units; a', v' the visible ones
    encoders     a_um = f_a(a'), v_um = f_v(v');   p_a, p_v their means over patches
    fusion       (a_mm, v_mm) = g(a_um, v_um)
    decoders     a^ = d_a(a_mm, places of the hidden patches), v^ = d_v(v_mm, ...)

    L_raw        mean over hidden patches of (a^ - norm(a))^2, and lambda_v times the same of video
    L_inter      InfoNCE(p_a, p_v), tau 0.1
    L_intra      mean of InfoNCE(p_a, q_a) and InfoNCE(p_v, q_v), tau 1;  q of a second mask of the same clip
    L            L_raw + alpha L_inter + beta L_intra

In stage 2 a frozen teacher, a model of stage 1 or of an earlier round, reads the whole clip, and the decoders predict
its LN(g_T(f_T(.))) at the hidden places instead of pixels. The teacher is part of the model's state.

Only the contrasts compare clips: `encode` returns the reconstruction error of each clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from seehear.errors import SeehearError
from seehear.losses.contrastive import info_nce, pairwise, same_group, zero_of
from seehear.methods.base import Method
from seehear.methods.mavil_config import SIDES, SIZES, FastPaths, MAViLConfig
from seehear.methods.mavil_layers import ImageMAE, Trunk
from seehear.nn.masked import MaskedDecoder, MaskToken, Standard, patch_error, standardised
from seehear.nn.mel import QUIETEST, KaldiMel, fitted, rolled
from seehear.nn.random import Randomness
from seehear.nn.transformer import Shuffle, cut, grid, keep_lines, keep_set, num_visible, shuffle, take
from seehear.types import Batch, Encoded, Modality, StepOutput, Tensor, group_numbers, presence

__all__ = ["SIDES", "SIZES", "FastPaths", "MAViL", "MAViLConfig", "MaskedViews"]

# Mean and deviation of ImageNet, which an image MAE was trained with.
_COLOURS = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class MaskedViews:
    """One modality of a masked batch, encoded and fused."""

    patches_BNP: Tensor
    """All patches, before they are in standard units."""
    kept_BM: Tensor
    """Numbers of the visible patches of the first view."""
    hidden_BM: Tensor
    """Numbers of the hidden patches to decode."""
    pooled_BVD: Tensor
    """Means over patches, one for each view."""
    fused_BLD: Tensor
    """CLS and the visible patches of the first view, after fusion."""


class MAViL(Method):
    """`places`: by modality, a module (hidden patches, rng=, name=) -> (B, M, width of the decoder) that makes the
    decoder's input at the hidden places; a learned token by default."""

    name = "mavil"
    reads_media = True
    config_type = MAViLConfig
    config: MAViLConfig
    masking: dict[Modality, float]
    """Share of the patches that is hidden; a schedule may change it before a step."""

    def __init__(self, config: MAViLConfig, *, places: Mapping[Modality, nn.Module] | None = None):
        super().__init__()
        self.config, self.spaces, self.masking = config, {"joint": SIDES}, dict(config.masking)
        self.mel = KaldiMel(rate=config.rate, bands=config.mel_bands)
        self.standard = nn.ModuleDict({m: _standard(config, m) for m in SIDES})
        self.trunk = Trunk(config)
        if config.teacher:
            self.teacher = Trunk(config).requires_grad_(False)
        places = places or {m: MaskToken(config.decoder.width) for m in SIDES}
        self.places = nn.ModuleDict(dict(places))
        self.decoders = nn.ModuleDict({m: _decoder(config, m) for m in SIDES})

    def start_from(self, mae: ImageMAE) -> MAViL:
        """Take an image MAE's weights for video and fusion, and for audio if the settings say so."""
        sides = SIDES if self.config.image_mae_audio else ("video",)
        self.trunk.start_from(mae, {m: self.config.patch_of(m) for m in sides})
        return self

    # -- a step ------------------------------------------------------------------------------------------------------

    def encode(self, batch: Batch, *, rng: Randomness | None) -> Encoded:
        """Returns pooled features (B, D) 'video', 'audio' and, of the second view, 'video again', 'audio again';
        reconstruction errors (B,) 'video error', 'audio error'. Masks are random, so `rng` is required."""
        if rng is None:
            raise ValueError("MAViL hides patches at random: encode needs rng; features and embed see all")
        seen, present = self.see(batch, rng=rng), presence(batch, SIDES)
        targets = self.targets(seen, present)
        features = {}
        for m, s in seen.items():
            features[f"{m} error"] = patch_error(self.decode(m, s, rng=rng), targets[m])
            views = s.pooled_BVD.to(features[f"{m} error"].dtype).unbind(1)
            # Not strict: without the contrast of views there is one view only.
            features |= dict(zip((m, f"{m} again"), views, strict=False))
        context = {"group": group_numbers(batch)} if self.config.mask_same_group else {}
        return Encoded(features, present, context)

    def see(self, batch: Batch, *, rng: Randomness) -> dict[Modality, MaskedViews]:
        """Mask, encode and fuse. Every view has a mask of its own; only the first is fused and decoded."""
        present, patches, orders = presence(batch, SIDES), {}, {}
        for m in SIDES:
            # Once for both views: they differ in their masks only.
            x = rolled(batch[m], rng, "audio/roll") if m == "audio" and self.config.roll else batch[m]
            patches[m] = self.patches(m, x)[0]
            total = patches[m].shape[1]
            # Without the contrast of views nothing reads a second one.
            visible, views = num_visible(total, self.masking[m]), 2 if self.config.intra_weight else 1
            orders[m] = [shuffle(rng.uniform(f"{m}/mask/{view}", total), visible) for view in range(views)]
        encoded = {m: self._encoded(m, patches[m], orders[m], rng) for m in SIDES}
        fused = self.trunk.fusion({m: x_BVLD[:, 0] for m, x_BVLD in encoded.items()}, present, rng=rng)
        seen = {}
        for m, (first, *_) in orders.items():
            # The order is random, so its first hidden patches are a random share of them.
            # 1e-6: a product that is whole but for rounding loses no patch (`mavil_cost.patch_counts` counts the same).
            decoded = max(1, int(self.config.decoded[m] * first.hidden.shape[1] + 1e-6))
            # Before fusion: behind it a video token knows the sound, and the contrast would be trivial.
            pooled_BVD = encoded[m][:, :, 1:].mean(dim=2)
            seen[m] = MaskedViews(patches[m], first.kept, first.hidden[:, :decoded], pooled_BVD, fused[m])
        return seen

    def decode(self, m: Modality, seen: MaskedViews, *, rng: Randomness | None) -> Tensor:
        """Predictions (B, M, P) of the hidden patches, or (B, M, D) of the teacher's tokens."""
        hidden_BMP = self.standard[m](take(seen.patches_BNP, seen.hidden_BM))
        place_BMD = self.places[m](hidden_BMP, rng=rng, name=f"{m}/places")
        return self.decoders[m](seen.fused_BLD, seen.kept_BM, seen.hidden_BM, place_BMD)

    @torch.no_grad()
    def targets(
        self, seen: Mapping[Modality, MaskedViews], present: Mapping[Modality, Tensor]
    ) -> dict[Modality, Tensor]:
        """Targets of `decode` at the hidden places."""
        if self.config.teacher:
            whole = {m: self.standard[m](s.patches_BNP) for m, s in seen.items()}
            # LayerNorm without weights, as in data2vec: how the paper scales its targets is not known.
            tokens = self.teacher(whole, present)
            return {m: take(F.layer_norm(x[:, 1:], x.shape[-1:]), seen[m].hidden_BM) for m, x in tokens.items()}
        hidden = {m: self.standard[m](take(s.patches_BNP, s.hidden_BM)) for m, s in seen.items()}
        return {m: standardised(x) if self.config.standardise else x for m, x in hidden.items()}

    def objective(self, encoded: Encoded, *, progress: float, rng: Randomness) -> StepOutput:
        """The sum of the terms that a clip of the batch has."""
        # 1/tau would make the rounding errors of bf16 large.
        with torch.autocast(next(iter(encoded.features.values())).device.type, enabled=False):
            return self._objective(encoded)

    def _objective(self, encoded: Encoded) -> StepOutput:
        config, f = self.config, encoded.features
        total, metrics = zero_of(f.values()), {}
        for m, weight in (("audio", 1.0), ("video", config.video_weight)):
            if len(errors := f[f"{m} error"][encoded.present[m]]):
                metrics[f"loss/{m}"] = errors.mean()
                total = total + weight * errors.mean()
        overlap = same_group(encoded.context["group"]) if config.mask_same_group else None
        views = {name: x for name, x in f.items() if not name.endswith("error")}
        # Without a projection head: what is public of the paper mentions none.
        z = {name: F.normalize(x, dim=-1) for name, x in views.items()}
        present = {name: encoded.present[name.removesuffix(" again")] for name in z}
        terms = {"inter": ([("audio", "video")], config.inter_temperature, config.inter_weight)}
        if config.intra_weight:
            # `info_nce` goes both ways, L_intra one: the views are alike, so the mean is the same with less noise.
            both = [(m, f"{m} again") for m in SIDES]
            terms["intra"] = (both, config.intra_temperature, config.intra_weight)
        for name, (pairs, tau, weight) in terms.items():
            loss = partial(info_nce, temperature=tau)
            contrast = pairwise(z, present, loss, pairs=pairs, exclude=lambda p, q: overlap)
            if contrast.terms:
                metrics[f"loss/{name}"] = contrast.total
                total = total + weight * contrast.total
        return StepOutput(total, {k: v.detach() for k, v in metrics.items()})

    # -- use ---------------------------------------------------------------------------------------------------------

    def features(self, m: Modality, x: Tensor, *, rng: Randomness | None = None) -> Tensor:
        """(B, D): mean over the patch tokens of the modality's encoder, before fusion. With `rng`, as in fine-tuning:
        with `drop_path`, and without `drop_tokens`."""
        # Without CLS, as the released code pools for fine-tuning.
        return self._tokens(m, x, rng)[:, 1:].mean(dim=1)

    def fused(
        self, batch: Batch, modalities: Sequence[Modality] = SIDES, *, rng: Randomness | None = None
    ) -> dict[Modality, Tensor]:
        """The same after the fusion encoder, which needs both modalities."""
        tokens = {m: self._tokens(m, batch[m], rng) for m in SIDES}
        fused = self.trunk.fusion(tokens, presence(batch, SIDES), rng=rng)
        return {m: fused[m][:, 1:].mean(dim=1) for m in modalities}

    def _tokens(self, m: Modality, x: Tensor, rng: Randomness | None) -> Tensor:
        """(B, 1 + N, D) tokens of the modality's encoder, CLS first."""
        patches_BNP, counts = self.patches(m, x)
        keep_BM, (time, band, tube) = None, self.config.drop_tokens
        # Fine-tuning drops whole times and bands of a spectrogram, and single tokens of video, as the released code
        # does.
        if rng is not None and m == "audio" and (time or band):
            keep_BM = keep_lines(rng, "audio/drop", counts, (time, band))
        elif rng is not None and m == "video" and tube:
            total = patches_BNP.shape[1]
            keep_BM = keep_set(rng, "video/drop", total, rate=1 - tube, per_sample=True, device=rng.device)
        if keep_BM is not None:
            patches_BNP = take(patches_BNP, keep_BM)
        return self.trunk.encode(m, self.standard[m](patches_BNP), keep_BM, counts=counts, rng=rng)

    # -- parts -------------------------------------------------------------------------------------------------------

    def patches(self, m: Modality, x: Tensor) -> tuple[Tensor, tuple[int, ...]]:
        """Patches (B, N, P) of frames, or of the spectrogram of samples, in the order of their grid and before they are
        in standard units; and the counts of the grid."""
        axes, expected = (5, "(clips, frames, height, width, 3)") if m == "video" else (2, "(clips, samples)")
        if x.dim() != axes or (m == "video" and x.shape[-1] != 3):
            raise SeehearError(f"{m} must be {expected}; got {tuple(x.shape)}")
        if m == "audio":
            x = self.spectrogram(x)[..., None]
        counts, patch = grid(x.shape[1:-1], self.config.patch_of(m)), self.config.patch_of(m)
        if 0 in counts:
            raise SeehearError(f"{m} of a clip is {tuple(x.shape[1:-1])}, a patch alone {patch}: take longer clips")
        return cut(x, patch), counts

    def spectrogram(self, sound_BN: Tensor) -> Tensor:
        """Log-mel levels (B, S, F), cut or padded to the model's length."""
        level = torch.tensor(QUIETEST).log().item() if self.config.mel_padding == "silence" else 0.0
        return fitted(self.mel(sound_BN), self.config.mel_frames, padding=level)

    def _encoded(self, m: Modality, patches_BNP: Tensor, orders: list[Shuffle], rng: Randomness) -> Tensor:
        """Tokens (B, V, 1 + M, D) of every view, CLS first."""
        kept_BVM, fast, standard = torch.stack([o.kept for o in orders], dim=1), self.config.fast, self.standard[m]
        if not fast.visible_only:
            all_BLD = self.trunk.tokens[m](standard(patches_BNP))
            views = [torch.cat([all_BLD[:, :1], take(all_BLD[:, 1:], o.kept)], dim=1) for o in orders]
            return torch.stack([self.trunk.encoders[m](x, rng=rng, name=m) for x in views], dim=1)
        if not fast.joined_views:
            each = [self.trunk.encode(m, standard(take(patches_BNP, o.kept)), o.kept, rng=rng) for o in orders]
            return torch.stack(each, dim=1)
        chosen_BMP = standard(take(patches_BNP, kept_BVM.flatten(1))).unflatten(1, kept_BVM.shape[1:])
        joined = self.trunk.encode(m, chosen_BMP.flatten(0, 1), kept_BVM.flatten(0, 1), rng=rng)
        return joined.unflatten(0, kept_BVM.shape[:2])


def _standard(config: MAViLConfig, m: Modality) -> Standard:
    # One mean for all sounds: one a clip costs six points of AudioSet's mAP (a comment of av-superb's code).
    mean, deviation = _COLOURS if m == "video" else ((config.mel_mean,), (2 * config.mel_std,))
    return Standard(mean, deviation, values=config.values(m))


def _decoder(config: MAViLConfig, m: Modality) -> MaskedDecoder:
    return MaskedDecoder(
        config.decoder,
        config.counts(m),
        source=config.size.width,
        # Stage 2 predicts the teacher's tokens, which are as wide as its encoders.
        values=config.size.width if config.teacher else config.values(m),
        kind=config.decoders[m],
        needed_only=config.fast.needed_only,
    )
