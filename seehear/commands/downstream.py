"""`finetune` and `probe`: what a model trained on raw media is good for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from seehear import distributed
from seehear.commands.parsing import Flat, command_line, show
from seehear.downstream.finetune import finetune as fine_tune
from seehear.downstream.presets import FineTune, preset
from seehear.downstream.probe import ProbeOptions, probe, save
from seehear.downstream.tower import Pretrained
from seehear.library.tables import Library
from seehear.runs.evaluate import trained_on


@dataclass(frozen=True, kw_only=True)
class _FineTune:
    """Fine-tune a tower of a trained run to a label of its library's clips, and measure it on held-out clips.

    --preset chooses the defaults of all other options: base (ours, for small sets); vatt.video, vatt.audio, vatt.image;
    mavil.as2m, mavil.as20k, mavil.vggsound, mavil.esc50, mavil.speech-commands (docs/downstream.md). The classifier is
    in a run folder of its own: --resume goes on with it, 'seehear compare' compares two. --scratch starts from random
    weights.

    Example: seehear finetune runs/vatt.tiny --label colour --tower video --out runs/colour
    """

    run_folder: Positional[Path]
    label: str
    """A column of the library, the NAME of labels 'NAME=value', or 'labels': all of them, several a clip."""
    out: Path | None = None
    """Folder of the new run; RUN_FOLDER-LABEL when not given."""
    library: str | None = None
    """Another library than the one the run was trained on."""
    resume: bool = False
    """Go on with the run in that folder."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        folder = self.out or self.run_folder.with_name(f"{self.run_folder.name}-{self.label}")
        report = fine_tune(
            Pretrained.load(self.run_folder),
            Library.open(self.library or trained_on(self.run_folder)),
            self.label,
            self.options,  # type: ignore[attr-defined]  # added by `finetune`
            folder,
            resume=self.resume,
            command=command_line(self),
        )
        if report is not None:
            show(report, as_json=self.json)
        if distributed.rank() == 0 and not self.json:
            print(f"fine-tuned {folder / 'model'}")


def finetune(words: Sequence[str]) -> type[_FineTune]:
    """The preset decides the defaults of all other options, so it is looked for first."""
    options = ("options", Annotated[FineTune, Flat], field(default=preset(_preset_of(words))))
    made = make_dataclass("Finetune", [options], bases=(_FineTune,), frozen=True, kw_only=True)
    made.__doc__ = _FineTune.__doc__
    return made


def _preset_of(words: Sequence[str]) -> str:
    for at, word in enumerate(words):
        if word.startswith("--preset="):
            return word.removeprefix("--preset=")
        if word == "--preset" and at + 1 < len(words):
            return words[at + 1]
    return "base"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Probes on the frozen features of a trained run, beside the same network untrained.

    A probe learns from the middle of each training clip; validation clips choose its settings; of several views of a
    test clip the mean counts. The report is probe-LABEL.json in the run's folder.

    Example: seehear probe runs/vatt.tiny --label colour --probe linear knn --windows 4
    """

    run_folder: Positional[Path]
    label: str
    """A column of the library, the NAME of labels 'NAME=value', or 'labels': all of them, several a clip."""
    library: str | None = None
    """Another library than the one it was trained on."""
    options: Annotated[ProbeOptions, Flat] = field(default_factory=ProbeOptions)
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        library = Library.open(self.library or trained_on(self.run_folder))
        model = Pretrained.load(self.run_folder)
        report = probe(model, library, self.label, self.options, device=self.device, command=command_line(self))
        save(report, self.run_folder, self.label)
        show(report, as_json=self.json)
        if not self.json:
            for result in report.results:
                if "top1 over untrained" in result.details:
                    print(f"{result.task}: top1 over untrained {result.details['top1 over untrained']}")
