"""The commands: each a frozen dataclass of its options, parsed by type, with a `run`. Results go to standard output,
progress and notes to standard error; `--json` prints the result as JSON."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from seehear.errors import unknown


class Command(NamedTuple):
    where: str
    """Module and attribute below this package: a dataclass, or a function that chooses one by the words given to it."""
    example: str
    """Arguments of a call that is complete."""
    summary: str


GROUPS: dict[str, dict[str, Command]] = {
    "Everyday": {
        "open": Command("moments.Open", "~/recordings", "the search page of a folder, indexed while you search"),
        "find": Command(
            "moments.Find", '~/recordings "red truck"', "moments in a folder: seen, heard, spoken, written"
        ),
        "search": Command("search.Search", 'lib "a dog barks"', "clips of a library: words, --audio, --video, --image"),
        "serve": Command("search.Serve", "lib", "the search page of a library"),
        "mcp": Command("search.Mcp", "lib", "serve the library to an assistant"),
        "demo": Command("machine.Demo", "", "packaged films, photos and sounds, searched and scored"),
    },
    "Step by step": {
        "prepare": Command("library.Prepare", "~/recordings --library lib", "clips, with the words of their subtitles"),
        "import": Command("library.Import", "clotho --root DIR --library lib", "standard data sets, from their files"),
        "transcribe": Command("library.Transcribe", "lib", "speech, with its times; your own texts stay"),
        "ocr": Command("library.Ocr", "lib", "text on screen, with its times"),
        "encode": Command("library.Encode", "lib", "frozen encoders, once for each clip; resumes"),
        "index": Command("search.Index", "lib", "make it searchable, with or without a trained run"),
        "info": Command("library.Info", "lib", "content of the library"),
        "export": Command("export.Export", "lib --out tables", "as Parquet; of a run, its model as ONNX"),
        "drop": Command("library.Drop", "lib vectors_old", "delete the vectors of a deleted run"),
    },
    "Learning": {
        "plan": Command("model.Plan", "lib", "cost of each recipe here: memory, FLOPs, hours"),
        "train": Command("model.train", "lib", "train a shared space; kept only where it is better"),
        "evaluate": Command("model.Evaluate", "runs/fusemix", "held-out retrieval against chance and closed forms"),
        "report": Command("model.Report", "runs/fusemix", "write its page again: numbers, examples to see and hear"),
        "compare": Command("model.Compare", "runs/a runs/b", "two runs on the same queries, with intervals"),
    },
    "Research": {
        "study encoders": Command("study.Encoders", "lib", "which encoders will fuse well; --check trains them"),
        "study data": Command("study.Data", "lib", "would more clips help: recall by number of pairs"),
        "study selection": Command("study.SelectionStudy", "lib", "diverse, agreeing or any clips: which to train on"),
        "study modalities": Command("study.Modalities", "lib", "what each modality, pair, loss term and space adds"),
        "select": Command("study.Select", "lib --clips 1000", "choose training clips that differ most"),
        "leakage": Command("model.Leakage", "lib", "held-out clips that are also training clips"),
        "probe": Command("downstream.Probe", "runs/vatt --label colour", "classify labels by its frozen features"),
        "finetune": Command(
            "downstream.finetune", "runs/vatt --label colour", "a classifier that starts from the model"
        ),
        "reconstruct": Command(
            "downstream.Reconstruct", "runs/mavil clip.mp4", "a masked clip, as a model restores it"
        ),
        "generate": Command(
            "downstream.Generate", "runs/fusemix --audio x.wav", "a picture of a sound, words or a picture"
        ),
    },
    "This machine": {
        "doctor": Command("machine.Doctor", "", "try each part on this machine"),
        "completion": Command("machine.Completion", "bash", "completes commands and options; also zsh, fish"),
    },
}
"""Every command by its name, of one word or two, in the groups and the order of `seehear --help`. The dispatcher, the
help, the completion and the tests read it; a module is imported when its command is asked for."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}
_COLUMN = 38  # width of the column of calls


def usage(names: Iterable[str]) -> str:
    """A line for each of these commands, two where the call is long: a complete call, and what it is for."""
    calls = {f"seehear {name} {COMMANDS[name].example}".rstrip(): COMMANDS[name].summary for name in names}
    return "\n".join(
        f"    {call:<{_COLUMN}}  {summary}" if len(call) <= _COLUMN else f"    {call}\n    {'':<{_COLUMN}}  {summary}"
        for call, summary in calls.items()
    )


def every_usage() -> str:
    """Usage of all commands, by group."""
    return "\n\n".join(f"{title}\n{usage(group)}" for title, group in GROUPS.items())


def members(group: str) -> list[str]:
    """Names of the commands that begin with this word, if it is no command itself: 'study'."""
    return [name for name in COMMANDS if name.startswith(f"{group} ")]


def find(words: Sequence[str]) -> tuple[str, list[str]]:
    """Name of the command that a line calls, and the words that follow it."""
    # Two words first: 'study data' is a command, and 'study' alone is none.
    for count in (2, 1):
        if (name := " ".join(words[:count])) in COMMANDS:
            return name, list(words[count:])
    if group := members(words[0]):
        # `cli` answers the group's word alone with its usage, so there is a second word.
        raise unknown(words[0], words[1], [name.split()[1] for name in group])
    # First words only: a slip in 'study' is answered with 'study', and then with its own list.
    raise unknown("command", words[0], {name.split()[0] for name in COMMANDS})


def load(name: str, words: Sequence[str]) -> Any:
    """The dataclass of a command; of `train` and `finetune`, that which the words after the name decide."""
    # Imported here: all commands together would load torch, the database and the web framework for one --help.
    module, _, attribute = COMMANDS[name].where.partition(".")
    command = getattr(importlib.import_module(f"seehear.commands.{module}"), attribute)
    return command if isinstance(command, type) else command(words)
