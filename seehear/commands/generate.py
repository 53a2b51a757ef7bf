"""`generate` and `reconstruct`: pictures from a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from seehear import distributed
from seehear.commands.parsing import Flat, command_line, show
from seehear.downstream.generate import KINDS, Generated, GenerateOptions, generate, save_pictures
from seehear.downstream.painting import FOLDER, PainterOptions, learn_painter
from seehear.downstream.reconstruct import ReconstructOptions, reconstruct, save_reconstruction
from seehear.encoders.base import Sample
from seehear.errors import SeehearError, check_range, near, require
from seehear.library.tables import Library
from seehear.runs.evaluate import trained_on
from seehear.space import model_folder, read_config

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Generate:
    """Paint what a sound, words or a picture mean to a trained model; of several, their mean.

    --learn first makes the run a small painter of its own, from the pictures of its training clips. With --pipeline and
    --condition any pipeline of diffusers paints that takes embeddings (pip install 'seehear[generate]').

    Example: seehear generate runs/fusemix --audio rain.wav --out rain.png
    """

    run_folder: Positional[Path]
    audio: Path | None = None
    text: str = ""
    image: Path | None = None
    out: Path = Path("picture.png")
    """File of the grid: the query, the painted pictures, and the nearest pictures of the library."""
    learn: bool = False
    """Learn the run's painter, into RUN/painter."""
    resume: bool = False
    """Go on with a painter whose learning was stopped."""
    library: str | None = None
    """Another library than the one the run was trained on."""
    options: Annotated[GenerateOptions, Flat] = field(default_factory=GenerateOptions)
    painter: PainterOptions = field(default_factory=PainterOptions)
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the result as JSON."""

    def __post_init__(self) -> None:
        _check_picture(self.out)

    def run(self) -> None:
        query, library = self._query(), Library.open(self.library or trained_on(self.run_folder))
        plain: dict[str, Any] = {}
        if self.learn:
            learn_painter(
                self.run_folder,
                library,
                self.painter,
                device=self.device,
                resume=self.resume,
                command=command_line(self),
            )
            plain["painter"] = str(self.run_folder / FOLDER / "model")
        if distributed.rank() == 0 and (query or not self.learn):
            made = generate(self.run_folder, query, self.options, library=library, device=self.device)
            plain |= _plain(made, save_pictures(made, self.out))
        if distributed.rank() == 0:
            show(plain if self.json else _lines(plain), as_json=self.json)

    def _query(self) -> dict[str, str]:
        for path in (self.audio, self.image):
            if path is not None and not path.is_file():
                raise SeehearError(f"no file {path}")
        given = {"text": self.text, "audio": self.audio, "image": self.image}
        query = {kind: str(value) for kind, value in given.items() if value}
        if not query and not self.learn:
            raise SeehearError("nothing to paint: give --audio, --text or --image")
        known = read_config(model_folder(self.run_folder))["encoders"] if self.run_folder.is_dir() else ()
        for kind in query:  # before a painter is learned, which takes minutes
            if known and KINDS[kind] not in known:
                raise SeehearError(f"--{kind}: {self.run_folder} knows no {KINDS[kind]} (it has {', '.join(known)})")
        return query


def _check_picture(out: Path) -> None:
    """Checks the figure's suffix and its drawing library before any work, though it is drawn last."""
    if out.suffix.lower() not in _PICTURES:
        raise SeehearError(f"--out {out}: the name of a picture ends in {', '.join(_PICTURES)}")
    require("matplotlib.figure", "studies")


def _plain(made: Generated, paths: list[Path]) -> dict[str, Any]:
    found = {"query": made.query, "said": made.said, "grid": str(paths[0]), "pictures": [str(p) for p in paths[1:]]}
    return found | {"nearest": [asdict(near) for near in made.nearest]}


def _lines(plain: dict[str, Any]) -> str:
    lines = [f"learnt {plain['painter']}"] if "painter" in plain else []
    if "grid" in plain:
        lines += [plain["said"], *(f"nearest  {n['score']:.3f}  {n['path']}  {n['text']}" for n in plain["nearest"])]
        lines += [plain["grid"], *plain["pictures"]]
    return "\n".join(lines)


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
    """File of the picture."""
    start: float = 0.0
    """Seconds into the film."""
    end: float = 0.0
    """Seconds; 0: its end."""
    options: Annotated[ReconstructOptions, Flat] = field(default_factory=ReconstructOptions)
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print errors and files as JSON."""

    def __post_init__(self) -> None:
        check_range(self, "[0, inf)", "start", "end")
        if 0 < self.end <= self.start:
            raise SeehearError(f"--end {self.end:g} is not after --start {self.start:g}")
        _check_picture(self.out)

    def run(self) -> None:
        if not self.clip.is_file():
            raise SeehearError(f"no file {self.clip}{near(self.clip)}")
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
