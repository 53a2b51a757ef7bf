"""`transcribe`, `ocr`: texts that a machine reads out of recordings."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from seehear.commands.parsing import show
from seehear.errors import SeehearError
from seehear.library.tables import Library
from seehear.progress import counted


@dataclass(frozen=True, kw_only=True)
class Transcribe:
    """Read what is said in recordings, with Whisper, so that words find it. Each file is read once, and clips get the
    lines that are spoken in them, with their times. It resumes where it stopped; your own texts stay as they are.

    Example: seehear transcribe lib
    """

    library: Positional[str]
    model: str = ""
    """Whisper model: a name (tiny.en, base, small, large-v3-turbo), or a folder. Empty: the strongest at hand."""
    language: str = ""
    """Code of the language spoken ('de'). Empty: detected in each recording."""
    translate: bool = False
    """Add an English line beside every line in another language."""
    export: tuple[str, ...] = ()
    """'srt', and a folder if you like: also write subtitle files; into LIBRARY-srt here by default."""
    workers: int | None = None
    """Processes, each with the model and a core; one a core by default."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: the cluster that RAY_ADDRESS names, or one started here; media on a shared path."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        from seehear.library.transcribe import transcribe
        from seehear.library.transcripts import write_subtitles

        if self.export and (self.export[0] != "srt" or len(self.export) > 2):
            raise SeehearError(f"--export takes 'srt' and a folder; got {' '.join(self.export)}")
        library = Library.open(self.library)
        report = transcribe(
            library,
            model=self.model,
            language=self.language,
            translate=self.translate,
            workers=self.workers,
            engine=self.engine,
        )
        if self.export:
            name = self.library.rstrip("/").rpartition("/")[2]
            folder = Path(self.export[1] if len(self.export) > 1 else f"{name}-srt")
            files = write_subtitles(library, folder)
            if not self.json:
                print(f"{counted(files, 'subtitle file')} in {folder}")
        show(report, as_json=self.json)


@dataclass(frozen=True, kw_only=True)
class Ocr:
    """Read what stands written in films and pictures, so that words find it. Frames are looked at where the picture
    changes; clips get the lines with their times. It resumes where it stopped; your own texts stay as they are.

    Example: seehear ocr lib
    """

    library: Positional[str]
    workers: int | None = None
    """Processes, each with the models and a core; one a core by default."""
    engine: Literal["local", "ray"] = "local"
    """local: this machine. ray: the cluster that RAY_ADDRESS names, or one started here; media on a shared path."""
    json: bool = False
    """Print the report as JSON."""

    def run(self) -> None:
        from seehear.library.ocr import ocr

        show(ocr(Library.open(self.library), workers=self.workers, engine=self.engine), as_json=self.json)
