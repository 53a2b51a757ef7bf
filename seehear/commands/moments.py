"""`find`: from a folder and words to moments, in one command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from seehear.commands.search import Query, behind_lines, show_answer
from seehear.data.library import Library
from seehear.errors import SeehearError
from seehear.progress import say
from seehear.search.index import indexes


@dataclass(frozen=True, kw_only=True)
class Find(Query):
    """Find moments in a folder of films, sounds and pictures: what is seen, heard, spoken or written there. Nothing has
    to be prepared or trained.

    The first call cuts the folder into clips, reads speech and text on screen with what is installed, and indexes it.
    That stops after 45 seconds, answers from what is indexed, and goes on at the next call; --wait finishes first.

    Example: seehear find ~/recordings "red truck"
    """

    folder: Positional[Path]
    words: Positional[str] = ""
    """What to look for."""
    library: str = ""
    """Where the library of the folder is, or is to be; in your cache folder (~/.cache/seehear/libraries) when not
    given."""
    preset: Literal["", "light", "strong", "best"] = ""
    """Encoders: light are packaged, strong and best come from the model hub. The strongest at hand when not given."""
    wait: bool = False
    """Finish indexing before answering."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""
    json: bool = False
    """Print the answer as JSON."""

    def run(self) -> None:
        from seehear.recipes import find

        if not self.folder.is_dir():
            raise SeehearError(f"no folder {self.folder}")
        if not self.parts(self.words):
            raise SeehearError("nothing to search for: give words, --audio, --image, --video or --like")
        uri = self.library or find.library_of(self.folder)
        if not self.library and not Path(uri).is_dir():
            say(f"library: {uri}")
        Path(uri).parent.mkdir(parents=True, exist_ok=True)
        seconds = None if self.wait else find.WORK_SECONDS
        done = find.bring_up_to_date(self.folder, uri, preset=self.preset, device=self.device, seconds=seconds)
        library = Library.open(uri)
        if not done and not indexes(library):
            raise SeehearError(f"nothing of {self.folder} is indexed yet: the same command goes on, --wait finishes it")
        searcher = find.open_library(library, device=self.device)
        answer = self.answer(searcher, self.words)
        if not done:
            left = answer.clips - answer.indexed
            what = f"{left:,} of {answer.clips:,} clips are not indexed" if left else "speech and text are not all read"
            say(f"{what} yet: the same command goes on, --wait finishes it")
        else:
            for line in behind_lines(library, [index.name for index in searcher.indexes]):
                say(line)
        show_answer(answer, as_json=self.json)
