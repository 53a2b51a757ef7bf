"""`finetune`, `probe`, `generate`, `reconstruct`: uses of a trained model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional

from seehear import distributed
from seehear.commands.parsing import Flat, OnDevice, Printed, command_line
from seehear.downstream.finetune import Pretrained
from seehear.downstream.finetune import finetune as fine_tune
from seehear.downstream.generate import KINDS, Generated, GenerateOptions, generate, save_pictures
from seehear.downstream.painting import FOLDER, PainterOptions, learn_painter
from seehear.downstream.presets import FineTune, preset
from seehear.downstream.probe import ProbeOptions, probe, save
from seehear.downstream.reconstruct import ReconstructOptions, reconstruct, save_reconstruction
from seehear.encoders.base import Sample
from seehear.errors import SeehearError, check_range, near, require
from seehear.library.tables import LibraryTables
from seehear.runs.evaluate import trained_on
from seehear.space import model_folder, read_config
from seehear.train.config import RunFolder


@dataclass(frozen=True, kw_only=True)
class _FineTune(Printed):
    """Fine-tune a tower of a trained run to a label of its library's clips, and measure it on held-out clips.

    --preset chooses the defaults of all other options: base (ours, for small sets); vatt.video, vatt.audio, vatt.image;
    mavil.as2m, mavil.as20k, mavil.vggsound, mavil.esc50, mavil.speech-commands (docs/downstream.md). The classifier is
    a run of its own: --resume continues it, 'seehear compare' compares two. --scratch starts from random weights.

    Example: seehear finetune runs/vatt.tiny --label colour --tower video --out runs/colour
    """

    run_folder: Positional[Path]
    label: str
    """Column of the library, NAME of labels 'NAME=value', or 'labels' for all of them, several a clip."""
    out: Path | None = None
    """Folder of the new run; RUN_FOLDER-LABEL by default."""
    library: str | None = None
    """Library, if not the one of the training."""
    resume: bool = False
    """Continue the run in that folder."""

    def run(self) -> None:
        # Beside the pretrained run and not in it: the classifier is a run of its own.
        folder = self.out or self.run_folder.with_name(f"{self.run_folder.name}-{self.label}")
        report = fine_tune(
            Pretrained.load(self.run_folder),
            LibraryTables.open(self.library or trained_on(self.run_folder)),
            self.label,
            self.options,  # type: ignore[attr-defined]  # added by `finetune`
            RunFolder(folder, resume=self.resume),
            command=command_line(self),
        )
        # None without test clips, and on all processes of torchrun but the first.
        if report is not None:
            self.show(report)
        if distributed.rank() == 0 and not self.json:
            print(f"fine-tuned {folder / 'model'}")


def finetune(words: Sequence[str]) -> type[_FineTune]:
    """Command class with the options of the preset among the words, which decides all other defaults."""
    # Read before the words are parsed: the preset decides the defaults that --help shows.
    name = "base"
    # No break at the first: of a repeated option the last one counts, for tyro too.
    for at, word in enumerate(words):
        if word.startswith("--preset="):
            name = word.removeprefix("--preset=")
        elif word == "--preset" and at + 1 < len(words):
            name = words[at + 1]
    options = ("options", Annotated[FineTune, Flat], field(default=preset(name)))
    made = make_dataclass("Finetune", [options], bases=(_FineTune,), frozen=True, kw_only=True)
    made.__doc__ = _FineTune.__doc__
    return made


@dataclass(frozen=True, kw_only=True)
class Probe(OnDevice, Printed):
    """Train probes on the frozen features of a run, beside the same network untrained.

    A probe is trained on the middle of each training clip; validation clips choose its settings; several views of a
    test clip are averaged. The report is probe-LABEL.json in the run's folder.

    Example: seehear probe runs/vatt.tiny --label colour --probe linear knn --windows 4
    """

    run_folder: Positional[Path]
    label: str
    """Column of the library, NAME of labels 'NAME=value', or 'labels' for all of them, several a clip."""
    library: str | None = None
    """Library, if not the one of the training."""
    options: Annotated[ProbeOptions, Flat] = field(default_factory=ProbeOptions)

    def run(self) -> None:
        library = LibraryTables.open(self.library or trained_on(self.run_folder))
        model = Pretrained.load(self.run_folder)
        report = probe(model, library, self.label, self.options, device=self.device, command=command_line(self))
        save(report, self.run_folder, self.label)
        self.show(report)
        if not self.json:
            for result in report.results:
                if "top1 over untrained" in result.details:
                    print(f"{result.task}: top1 over untrained {result.details['top1 over untrained']}")


# ----------------------------------------------------------------------------------------------------------------------
# Pictures from a model.

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")


@dataclass(frozen=True, kw_only=True)
class Generate(OnDevice, Printed):
    """Paint a picture of a sound, words or a picture, as a trained model embeds it; several are averaged.

    --learn first trains a small painter on the pictures of the run's training clips. --pipeline and --condition use any
    pipeline of diffusers that takes embeddings instead (pip install 'seehear[generate]').

    Example: seehear generate runs/fusemix --audio rain.wav --out rain.png
    """

    run_folder: Positional[Path]
    audio: Path | None = None
    text: str = ""
    image: Path | None = None
    out: Path = Path("picture.png")
    """File of the grid: the query, the painted pictures, and the nearest pictures of the library."""
    learn: bool = False
    """Train the run's painter, into RUN/painter."""
    resume: bool = False
    """Continue training a painter."""
    library: str | None = None
    """Library, if not the one of the training."""
    options: Annotated[GenerateOptions, Flat] = field(default_factory=GenerateOptions)
    # With the prefix --painter: `steps`, `size` and `seed` are options of painting, too.
    painter: PainterOptions = field(default_factory=PainterOptions)

    def __post_init__(self) -> None:
        _check_picture(self.out)

    def run(self) -> None:
        query, library = self._query(), LibraryTables.open(self.library or trained_on(self.run_folder))
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
        # All of torchrun's processes train the painter, and one of them paints.
        if distributed.rank() == 0 and (query or not self.learn):
            made = generate(self.run_folder, query, self.options, library=library, device=self.device)
            plain |= _plain(made, save_pictures(made, self.out))
        if distributed.rank() == 0:
            self.show(plain if self.json else _lines(plain))

    def _query(self) -> dict[str, str]:
        for path in (self.audio, self.image):
            if path is not None and not path.is_file():
                raise SeehearError(f"no file {path}")
        given = {"text": self.text, "audio": self.audio, "image": self.image}
        query = {kind: str(value) for kind, value in given.items() if value}
        if not query and not self.learn:
            raise SeehearError("nothing to paint: give --audio, --text or --image")
        known = read_config(model_folder(self.run_folder))["encoders"] if self.run_folder.is_dir() else ()
        # Checked before a painter is learned, which takes minutes.
        for kind in query:
            if known and KINDS[kind] not in known:
                raise SeehearError(
                    f"--{kind}: {self.run_folder} was trained without {KINDS[kind]}, on {', '.join(known)}"
                )
        return query


def _check_picture(out: Path) -> None:
    """Checks the figure's suffix and its drawing library before any work."""
    if out.suffix.lower() not in _PICTURES:
        raise SeehearError(f"--out {out}: the name of a picture ends in {', '.join(_PICTURES)}")
    require("matplotlib.figure", "studies")


def _plain(made: Generated, paths: list[Path]) -> dict[str, Any]:
    found = {"query": made.query, "said": made.said, "grid": str(paths[0]), "pictures": [str(p) for p in paths[1:]]}
    return found | {"nearest": [asdict(near) for near in made.nearest]}


def _lines(plain: dict[str, Any]) -> str:
    lines = [f"painter: {plain['painter']}"] if "painter" in plain else []
    if "grid" in plain:
        lines += [plain["said"], *(f"nearest  {n['score']:.3f}  {n['path']}  {n['text']}" for n in plain["nearest"])]
        lines += [plain["grid"], *plain["pictures"]]
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Reconstruct(OnDevice, Printed):
    """Mask most of a clip and let a MAViL or DiffMAViL model restore it.

    The picture shows original, masked and restored frames and spectrogram. The .wav files beside it are the original
    and the restored spectrogram, both inverted by Griffin-Lim so that they can be compared.

    Example: seehear reconstruct runs/diffmavil clip.mp4 --out clip.png
    """

    run_folder: Positional[Path]
    clip: Positional[Path]
    """Film."""
    out: Path = Path("reconstruction.png")
    """File of the picture."""
    start: float = 0.0
    """Start of the clip in the film, seconds."""
    end: float = 0.0
    """End of the clip in the film, seconds; 0 for the end of the film."""
    options: Annotated[ReconstructOptions, Flat] = field(default_factory=ReconstructOptions)

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
            self.show({"error": errors, "files": [str(path) for path in paths], "said": made.said})
            return
        for m, shots in made.shots.items():
            print(f"{m}: error of hidden patches {shots.error:.3f} (1 = flat at their mean)")
        print("\n".join([made.said, *map(str, paths)]))
