"""`study NAME LIB` and `select`: experiments on the data of a library."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from tyro.conf import Positional

from seehear.commands.parsing import Flat, Printed, command_line
from seehear.errors import SeehearError, check_range
from seehear.library.tables import LibraryTables
from seehear.progress import say
from seehear.report.study import write_study
from seehear.studies.encoders import EncoderStudyOptions, encoder_study
from seehear.studies.learning import DataStudyOptions, data_study
from seehear.studies.modalities import ModalityOptions, study_modalities
from seehear.studies.selection import (
    SelectionStudyOptions,
    SelectOptions,
    mark,
    select,
    selection_study,
    write_ids,
)
from seehear.studies.table import Study


@dataclass(frozen=True, kw_only=True)
class _Study:
    library: Positional[str]
    out: Path
    """Folder of the study; finished measurements there are not repeated."""
    # Each study declares its own type, from which tyro reads the options.
    options: Any
    details: bool = False
    """Print all tables of the report."""
    # Without annotations these two are no fields, and so no options.
    kind = ""
    then = "train {library}"
    """Next command."""
    measure: ClassVar[Callable[..., Study]]

    def run(self) -> None:
        """Prints the outcome and the path of the report."""
        # `type(self)`: a function that is an attribute of the class would be bound to the instance.
        study = type(self).measure(LibraryTables.open(self.library), self.out, self.options)
        print(study if self.details else study.summary())
        say(f"report: {write_study(study, kind=self.kind, command=command_line(self))}")
        say(f"next: seehear {self.then.format(library=shlex.quote(self.library))}")


@dataclass(frozen=True, kw_only=True)
class Encoders(_Study):
    """Predict which encoders of the library fuse well: mutual k-NN, CKA and cross-validated CCA retrieval of every pair
    of encoders of two modalities (layers by name: 'encode --encoders x#layer=9'), on training clips, in seconds.

    --check trains every pair and compares the prediction with the result.

    Example: seehear study encoders lib --check
    """

    out: Path = Path("studies/encoders")
    options: Annotated[EncoderStudyOptions, Flat] = field(default_factory=EncoderStudyOptions)
    kind, measure = "encoders", encoder_study


@dataclass(frozen=True, kw_only=True)
class Data(_Study):
    """Predict whether more pairs help: recall by number of training clips, nested by recording, extrapolated to twice
    and ten times as many, with intervals, after a back-test on the measured sizes.

    Example: seehear study data lib --model closed
    """

    out: Path = Path("studies/data")
    options: Annotated[DataStudyOptions, Flat] = field(default_factory=DataStudyOptions)
    kind, measure = "data", data_study


@dataclass(frozen=True, kw_only=True)
class SelectionStudy(_Study):
    """Compare choices of training clips: diverse (k-DPP on each modality), of agreeing modalities, or random, at
    several numbers of clips, each trained and measured on held-out clips.

    Example: seehear study selection lib --sizes 200 400 800
    """

    out: Path = Path("studies/selection")
    options: Annotated[SelectionStudyOptions, Flat] = field(default_factory=SelectionStudyOptions)
    kind, measure, then = "selection", selection_study, "select {library} --clips 1000"


@dataclass(frozen=True, kw_only=True)
class Modalities(_Study):
    """Measure what each modality adds: every combination, each pair and each term of MCN's loss dropped, one space or
    several, on the same clips, steps and seeds; retrieval, probes, clusters against labels, and a verdict in words.

    --test-on tests every row, zero-shot, on another library.

    Example: seehear study modalities lib --methods mcn fusemix --seeds 3
    """

    out: Path = Path("studies/modalities")
    options: Annotated[ModalityOptions, Flat] = field(default_factory=ModalityOptions)
    kind, measure = "modalities", study_modalities


@dataclass(frozen=True, kw_only=True)
class Select(Printed):
    """Choose training clips: a diverse subset (greedy k-DPP), those whose modalities agree best, or a random draw.

    Prints their ids in the order of choice, or writes them to --out. --column marks them in the library and prints the
    command that trains on them. Held-out clips are not used and stay.

    Example: seehear select lib --clips 1000 --by kdpp --out subset.txt --column diverse
    """

    library: Positional[str]
    clips: int
    """Number of clips to choose."""
    options: Annotated[SelectOptions, Flat] = field(default_factory=SelectOptions)
    out: Path | None = None
    """File for the ids, one a line."""
    column: str = ""
    """Column of the clips to mark the choice in, replacing an earlier one."""

    def __post_init__(self) -> None:
        check_range(self, "[1, inf)", "clips")

    def run(self) -> None:
        # Checked before the choice, which takes minutes.
        if self.column and not self.column.isidentifier():
            raise SeehearError(f"--column {self.column!r}: a name of letters, digits and underscores")
        library = LibraryTables.open(self.library)
        found = select(library, self.clips, self.options)
        if self.out is not None:
            write_ids(self.out, found)
        if self.column:
            where = mark(library, found.ids, self.column)
        if self.json or (self.out is None and not self.column):
            self.show(found)
            return
        print(found.said + (f": {self.out}" if self.out is not None else ""))
        if self.column:
            print(f"next: seehear train {self.library} fusemix --data.where {shlex.quote(where)}")
