"""The command line: `seehear COMMAND ...`. One line for an error a user can mend, status 2; status 130 on Ctrl-C."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext

from seehear.errors import SeehearError, refusal, unknown
from seehear.progress import hushed, took
from seehear.stopping import Interrupted

COMMANDS = {
    "demo": "demo.Demo",
    "prepare": "library.Prepare",
    "transcribe": "texts.Transcribe",
    "ocr": "texts.Ocr",
    "encode": "library.Encode",
    "info": "library.Info",
    "drop": "library.Drop",
    "import": "library.Import",
    "plan": "plan.Plan",
    "train": "model.train",
    "evaluate": "model.Evaluate",
    "finetune": "downstream.finetune",
    "probe": "downstream.Probe",
    "report": "model.Report",
    "compare": "trust.Compare",
    "leakage": "trust.Leakage",
    "select": "study.Select",
    "study": "study.study",
    "index": "search.Index",
    "search": "search.Search",
    "reconstruct": "reconstruct.Reconstruct",
    "generate": "generate.Generate",
    "doctor": "doctor.Doctor",
    "completion": "completion.Completion",
    "serve": "serve.Serve",
}
"""Command -> where it is in `seehear.commands`; imported when it is asked for."""

_USAGE = """\
seehear: turn a folder of your own videos into a tested, searchable model of what is seen, heard and said

    seehear prepare ~/recordings --library lib    cut into clips, read subtitles, set bad files aside
    seehear transcribe lib                        what is said, with its times; your own texts stay
    seehear ocr     lib                           what stands written in films and pictures
    seehear encode  lib                           frozen encoders -> cached latents; resumes where it stopped
    seehear plan    lib                           what each recipe would cost here: memory, FLOPs, hours
    seehear train   lib fusemix                   one shared space -> runs/fusemix
    seehear evaluate runs/fusemix                 held-out retrieval against chance and closed forms
    seehear probe   runs/vatt --label colour      what its frozen features tell apart; linear, knn, svm, lrc
    seehear finetune runs/vatt --label colour     a classifier that starts from it -> runs/vatt-colour
    seehear report  runs/fusemix                  its page again: numbers, and examples to see and hear
    seehear compare runs/a runs/b                 the same queries, paired: differences, intervals, p values
    seehear leakage lib                           held-out clips that training has seen under another name
    seehear study encoders lib                    which encoders fuse well; also data, selection, modalities
    seehear select  lib --clips 1000              the training clips that differ most
    seehear index   lib runs/fusemix              the vectors that search reads
    seehear search  lib "a dog barks"             or --audio x.wav, --video x.mp4, --image x.jpg
    seehear serve   lib                           the same as a page in the browser, with players
    seehear reconstruct runs/diffmavil clip.mp4   a clip hidden for the most part, as the model restores it
    seehear generate runs/fusemix --audio x.wav   a picture of a sound, of words, of a picture
    seehear info    lib                           what the library holds
    seehear drop    lib vectors_old               take out the vectors of a run that is gone
    seehear import  clotho --root ~/clotho --library clotho-lib    standard data sets, from their official files
    seehear doctor                                what works on this machine, each part tried
    seehear completion bash                       what makes a shell complete all this; also zsh, fish
    seehear demo                                  all of it, on clips that ship with the package

'seehear COMMAND --help' lists a command's options. Anywhere: --quiet silences progress;
--verbose says where an error came from, and what a command took."""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `seehear` command."""
    # Threads that wait for each other by spinning take the core that another process needs; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # letters that the locale lacks
    verbose, words = "--verbose" in words, [w for w in words if w != "--verbose"]
    with hushed() if "--quiet" in words else nullcontext(), took() if verbose else nullcontext():
        return _status([w for w in words if w != "--quiet"], verbose=verbose)


def _status(words: Sequence[str], *, verbose: bool = False) -> int:
    """Run a command; its exit status, and a line where it could not be done."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(_USAGE)
        return 0
    try:
        if words[0] == "--version":
            return _version()
        if sys.platform == "win32":  # file locks use fcntl
            raise SeehearError("Windows is not supported yet: run seehear on Linux or macOS, or inside WSL 2")
        _run(words[0], list(words[1:]))
    except Interrupted as stopped:
        print(f"seehear: {stopped}", file=sys.stderr)
        return 130
    except SeehearError as error:
        if verbose:
            traceback.print_exc()
        print(f"seehear: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("seehear: interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except Exception as error:
        if (said := refusal(error)) is None or verbose:
            raise
        print(f"seehear: {said}; once that is mended, the same command goes on where it stopped", file=sys.stderr)
        return 2
    return 0


def _run(name: str, words: list[str]) -> None:
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    module, _, attribute = COMMANDS[name].partition(".")
    command = getattr(importlib.import_module(f"seehear.commands.{module}"), attribute)
    if isinstance(command, type):
        from seehear.commands.parsing import parse

        parse(command, words, prog=f"seehear {name}").run()
    else:
        command(words)


def _version() -> int:
    from importlib.metadata import version

    print(f"seehear {version('seehear')}")
    return 0
