"""`doctor`, `demo` and `completion`: whether seehear works on this machine, and its words in a shell."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tyro.conf import Positional

from seehear.commands import COMMANDS, load, members
from seehear.commands.parsing import Printed, option_names
from seehear.errors import SeehearError


@dataclass(frozen=True, kw_only=True)
class Doctor(Printed):
    """Try each part on this machine: versions, devices, extras, decoding a film, writing a library, training steps.

    Example: seehear doctor lib
    """

    library: Positional[str] = ""
    """Library to check as well: whether its media are still in place, and what is encoded."""
    device: str = "auto"
    """Device of the training steps: auto, cpu, cuda or mps."""

    def run(self) -> None:
        from seehear.doctor import diagnose

        found = diagnose(self.library, device=self.device)
        # All checks are printed before the error, which is for the status of the command.
        self.show(found)
        if not found.works:
            wrong = [check.name for check in found.checks if check.state == "wrong"]
            raise SeehearError(f"not everything works: {', '.join(wrong)}")


@dataclass(frozen=True, kw_only=True)
class Demo(Printed):
    """Search the packaged films, photos and sounds, none with subtitles, by typed words: seen, heard, spoken, written
    on screen. Each way is scored on questions with known answers, before and after learning.

    Example: seehear demo --out seehear-demo
    """

    out: Path = Path("seehear-demo")
    """Folder of the media, the library and the run; finished parts are not repeated."""

    def run(self) -> None:
        from seehear.demo import demo

        self.show(demo(self.out))


# ----------------------------------------------------------------------------------------------------------------------
# `completion`: a script that makes a shell complete commands, options, recipes and files.

# Blanks around the line and in every pattern: a recipe matches as a word, not as a part of a file's name.
_BASH = """\
_seehear() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" options="" names=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case " ${{COMP_WORDS[*]:1:COMP_CWORD-1}} " in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "$options" -- "$word")) ;;
        *) COMPREPLY=($(compgen -W "$names" -- "$word") $(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _seehear seehear
"""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print a script that completes commands and options in a shell. It lists the options of this version: print it
    again after an upgrade.

    Example: seehear completion bash >> ~/.bashrc
    """

    shell: Positional[Literal["bash", "zsh", "fish"]]

    def run(self) -> None:
        print(script(self.shell), end="")


class _Context(NamedTuple):
    """Words on the command line, and the options and names that may follow them."""

    command: str
    """First word."""
    after: tuple[str, ...]
    """Later words, one of which is present; empty: none of those of the command's other contexts."""
    options: list[str]
    names: list[str]


def script(shell: str) -> str:
    """Completion script of a shell. zsh reads that of bash."""
    # Not a set: in the order of --help, and the same script from every process.
    commands = list(dict.fromkeys(name.split()[0] for name in COMMANDS))
    contexts = [context for command in commands for context in _contexts(command)]
    if shell == "fish":
        lines = [f"complete -c seehear -n __fish_use_subcommand -f -a '{' '.join(commands)}'"]
        return "\n".join([*lines, *(line for context in contexts for line in _fish(context, contexts))]) + "\n"
    cases = ""
    # `case` takes the first pattern that fits: contexts of a recipe stand before the plain one of their command.
    for c in contexts:
        pattern = "|".join(f'" {c.command}"*" {word} "*' for word in c.after) or f'" {c.command} "*'
        cases += f"        {pattern}) options='{' '.join(c.options)}' names='{' '.join(c.names)}' ;;\n"
    made = _BASH.format(commands=" ".join(commands), cases=cases.rstrip("\n"))
    return made if shell == "bash" else "autoload -U +X bashcompinit && bashcompinit\n" + made


def _fish(context: _Context, contexts: Iterable[_Context]) -> list[str]:
    words = context.after or [word for other in contexts if other.command == context.command for word in other.after]
    seen = f"__fish_seen_subcommand_from {context.command}"
    if words:
        # fish tries all rules and has no first match: the plain context has to exclude the words of the others.
        seen += f"; and {'' if context.after else 'not '}__fish_seen_subcommand_from {' '.join(words)}"
    # fish adds the hyphens of a long option itself.
    lines = [f"complete -c seehear -n '{seen}' -l {option[2:]}" for option in context.options]
    return lines + ([f"complete -c seehear -n '{seen}' -a '{' '.join(context.names)}'"] if context.names else [])


def _contexts(command: str) -> list[_Context]:
    """Recipes and studies with the same options share a context; the last context is the one without such a word."""
    from seehear.datasets.run import IMPORTERS
    from seehear.runs.config import recipes

    names = {"train": sorted(recipes()), "import": sorted(IMPORTERS)}.get(command, [])
    if group := members(command):
        names = [name.split()[1] for name in group]
        options = {name.split()[1]: option_names(load(name, [])) for name in group}
        plain = {"--help"}
    else:
        plain = option_names(load(command, []))
        # The empty word stands for the library, after which `train` looks for its recipe.
        options = {name: option_names(load(command, ["", name])) for name in names if command == "train"}
    # Many recipes have the same options: one context for each would make the script many times as long.
    after: dict[frozenset[str], list[str]] = {}
    for name, known in options.items():
        if known != plain:
            after.setdefault(frozenset(known), []).append(name)
    # Taken by `cli.main` before a parser sees the words, and so unknown to it.
    every = ["--quiet", "--verbose"]
    contexts = [_Context(command, tuple(words), sorted(known) + every, []) for known, words in after.items()]
    return [*contexts, _Context(command, (), sorted(plain) + every, names)]
