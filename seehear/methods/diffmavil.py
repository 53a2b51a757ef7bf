"""DiffMAViL: Diffusion Models as Masked Audio-Video Learners (arXiv 2310.03937).

MAViL with another decoder and another mask schedule; its body is not public, so this is a re-derivation:
    diffused     x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps stands at a hidden patch's place, not a learned token;
                 t uniform for each clip and modality;   token = W x_t + MLP(sinusoid(t)) + position
    L_diff       mean over hidden patches of (x_0 - d(x_t, t, g(f(visible))))^2, in place of L_raw: the clean patch is
                 told, not the noise
    decoders     video: hidden patches read the seen ones and not each other;  audio: joint, as in MAViL
    curriculum   the part that is hidden falls during the run
    batches      grow where much is hidden (`recipes/diffmavil.py`: that is the run's matter)

Encoders, fusion and contrasts see clean patches only: neither t nor eps reaches them, and what is used after training
is MAViL's.
"""

from __future__ import annotations

from torch import nn

from seehear.losses.reconstruction import standardised
from seehear.methods.diffmavil_config import Batches, DiffMAViLConfig
from seehear.methods.mavil import MAViL
from seehear.methods.mavil_config import SIDES
from seehear.nn.diffusion import Diffusion, TimeEmbedding
from seehear.nn.masked import MaskToken
from seehear.nn.random import Randomness
from seehear.types import Float, Int, Modality, Tensor

__all__ = ["Batches", "DiffMAViL", "DiffMAViLConfig", "DiffusedPatches"]


class DiffMAViL(MAViL):
    name = "diffmavil"
    config_type = DiffMAViLConfig
    config: DiffMAViLConfig

    def __init__(self, config: DiffMAViLConfig):
        width = config.decoder.width
        places = {m: DiffusedPatches(config, m) if m in config.diffuse else MaskToken(width) for m in SIDES}
        super().__init__(config, places=places)
        self.before_step(0.0)

    def current_name(self, saved: str) -> str:
        """Models saved while DiffMAViL held a MAViL, and was none itself, have all names under `mavil.`."""
        return saved.removeprefix("mavil.")

    def before_step(self, progress: float) -> None:
        self.masking = dict.fromkeys(SIDES, self.config.curriculum.ratio(progress))


class DiffusedPatches(nn.Module):
    """What stands at hidden places: the patches themselves, diffused, through a linear map of their own, with the
    diffusion step added. Both start at zero, as a mask token nearly does: noise would drown the positions, and the
    decoder would be long in finding out where a patch belongs."""

    def __init__(self, config: DiffMAViLConfig, m: Modality):
        super().__init__()
        width = config.decoder.width
        self.schedule, self.shared = config.noise, config.shared_step
        self.standardise = config.noise_space == "patch"
        self.diffusion = Diffusion(config.noise)
        self.project = nn.Linear(config.values(m), width)
        self.time = TimeEmbedding(width)
        for parameter in (*self.project.parameters(), *self.time.down.parameters()):
            nn.init.zeros_(parameter)

    def forward(
        self, patches_BMP: Float[Tensor, "b m p"], *, rng: Randomness | None, name: str
    ) -> Float[Tensor, "b m d"]:
        """Of patches in units of the data set."""
        if rng is None:
            raise ValueError("noise is drawn at random: diffused patches need rng")
        x0_BMP = standardised(patches_BMP) if self.standardise else patches_BMP
        t_B = self.diffusion.draw(rng, "t" if self.shared else f"{name}/t")
        noise_BMP = rng.normal(f"{name}/noise", *x0_BMP.shape[1:]).to(x0_BMP.device)
        return self.tokens(self.diffusion(x0_BMP, t_B, noise_BMP), t_B)

    def tokens(self, x_BMP: Float[Tensor, "b m p"], t_B: Int[Tensor, " b"]) -> Float[Tensor, "b m d"]:
        return self.project(x_BMP) + self.time(t_B)[:, None]
