"""The command line: `seehear COMMAND ...`. One line for an error a user can mend, status 2; status 130 on Ctrl-C."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext

from seehear.commands import every_usage, find, load, members, usage
from seehear.errors import SeehearError, refusal
from seehear.progress import Interrupted, hushed, took

_USAGE = """\
seehear: search your own recordings by what is seen, heard, spoken and written, and learn from them

{commands}

'seehear COMMAND --help' lists a command's options. Anywhere: --quiet silences progress;
--verbose says where an error came from, and what a command took."""
_HELP = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of the `seehear` command."""
    # Threads that wait for each other by spinning take the core that another process needs; read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # letters that the locale lacks
    # These two may stand anywhere on the line, and no command's parser knows them.
    verbose, words = "--verbose" in words, [w for w in words if w != "--verbose"]
    with hushed() if "--quiet" in words else nullcontext(), took() if verbose else nullcontext():
        return _status([w for w in words if w != "--quiet"], verbose=verbose)


def _status(words: Sequence[str], *, verbose: bool) -> int:
    """Exit status of a command; an error is printed as one line."""
    if not words or words[0] in _HELP:
        print(_USAGE.format(commands=every_usage()))
        return 0
    if (group := members(words[0])) and (len(words) == 1 or words[1] in _HELP):
        print(f"{usage(group)}\n\n'seehear {words[0]} NAME --help' lists the options of one.")
        return 0
    try:
        if words[0] == "--version":
            from importlib.metadata import version

            print(f"seehear {version('seehear')}")
            return 0
        _run(words)
    # Before `SeehearError`, of which it is a kind.
    except Interrupted as stopped:
        print(f"seehear: {stopped}", file=sys.stderr)
        return 130
    except SeehearError as error:
        if verbose:
            traceback.print_exc()
        print(f"seehear: {error}", file=sys.stderr)
        return 2
    # Of commands without work to save: those that save first raise `Interrupted`.
    except KeyboardInterrupt:
        print("seehear: interrupted: run the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # `| head` has read enough. Python flushes once more at its end, and would complain on standard error.
        sys.stderr.close()
        return 0
    except Exception as error:
        # An error that no user can mend is a fault of seehear: its traceback is what a report needs.
        if (said := refusal(error)) is None or verbose:
            raise
        print(f"seehear: {said}; when that is mended, run the same command again to continue", file=sys.stderr)
        return 2
    return 0


def _run(words: Sequence[str]) -> None:
    # Imported here: the list of commands and --version need no parser.
    from seehear.commands.parsing import parse

    name, rest = find(words)
    parse(load(name, rest), rest, prog=f"seehear {name}").run()
