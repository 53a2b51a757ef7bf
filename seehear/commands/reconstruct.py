"""`reconstruct`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from seehear.commands.parsing import Flat, show
from seehear.encoders.base import Sample
from seehear.recipes.reconstruct import ReconstructOptions, reconstruct, save_reconstruction


@dataclass(frozen=True, kw_only=True)
class Reconstruct:
    """Hide most of a clip from a MAViL or DiffMAViL model, and look at what it tells of the rest.

    The picture shows frames and spectrogram as they are, as the model sees them, and as it restores them. Beside it, as
    .wav, are the sounds of the original and of the restored spectrogram: both by Griffin and Lim's way, so that they
    can be compared.

    Example: seehear reconstruct runs/diffmavil clip.mp4 --out clip.png
    """

    run_folder: Positional[Path]
    clip: Positional[Path]
    """A film, or a part of one."""
    out: Path = Path("reconstruction.png")
    """Where the picture is to be."""
    start: float = 0.0
    """Seconds into the film."""
    end: float = 0.0
    """Seconds; 0: its end."""
    options: Annotated[ReconstructOptions, Flat] = field(default_factory=ReconstructOptions)
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print errors and files as JSON."""

    def run(self) -> None:
        window = Sample(path=str(self.clip), start=self.start, end=self.end)
        made = reconstruct(self.run_folder, window, self.options, device=self.device)
        paths = save_reconstruction(made, self.out)
        if self.json:
            errors = {m: float(shots.error) for m, shots in made.shots.items()}
            show({"error": errors, "files": [str(path) for path in paths], "said": made.said}, as_json=True)
            return
        for m, shots in made.shots.items():
            print(f"{m}: error of hidden patches {shots.error:.3f} (1 = flat at their mean)")
        print("\n".join([made.said, *map(str, paths)]))
