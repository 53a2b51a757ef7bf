"""`completion`: what the shell needs to complete commands, options, recipes and files."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tyro.conf import Positional

from seehear.commands.parsing import option_names
from seehear.errors import SeehearError

GLOBAL = ("--help", "--quiet", "--verbose")

_BASH = """\
_seehear() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" list=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
        return
    fi
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    case "$word" in
        -*) COMPREPLY=($(compgen -W "$list" -- "$word")) ;;
        *) COMPREPLY=($(compgen -W "$names" -- "$word") $(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _seehear seehear
"""


@dataclass(frozen=True, kw_only=True)
class Completion:
    """Print what makes a shell complete seehear's commands and options.

    Example: seehear completion bash >> ~/.bashrc
    """

    shell: Positional[Literal["bash", "zsh", "fish"]]

    def run(self) -> None:
        print(script(self.shell), end="")


def script(shell: str) -> str:
    """For zsh that of bash, which it understands."""
    words, names = _options(), _names()
    if shell == "fish":
        return _fish(words, names)
    cases = "\n".join(
        f'        {command}) list="{" ".join(options)}" names="{" ".join(names.get(command, ()))}" ;;'
        for command, options in words.items()
    )
    made = _BASH.format(commands=" ".join(words), cases=cases)
    return made if shell == "bash" else "autoload -U +X bashcompinit && bashcompinit\n" + made


def _fish(words: Mapping[str, Iterable[str]], names: Mapping[str, Iterable[str]]) -> str:
    lines = [f"complete -c seehear -n __fish_use_subcommand -a '{' '.join(words)}'"]
    for command, options in words.items():
        seen = f"-n '__fish_seen_subcommand_from {command}'"
        lines += [f"complete -c seehear {seen} -l {option[2:]}" for option in options]
        if command in names:
            lines.append(f"complete -c seehear {seen} -a '{' '.join(names[command])}'")
    return "\n".join(lines) + "\n"


def _options() -> dict[str, list[str]]:
    """Of every command; of one that begins with a name (a recipe, a study), those that all or its first one has."""
    from seehear.cli import COMMANDS

    found = {}
    for command, where in COMMANDS.items():
        module, _, attribute = where.partition(".")
        try:
            kind = getattr(importlib.import_module(f"seehear.commands.{module}"), attribute)
            found[command] = [*sorted(set(_of(kind))), *GLOBAL]
        except SeehearError:  # a command of an extra that is not installed
            found[command] = list(GLOBAL)
    return found


def _of(kind: object) -> Iterable[str]:
    if isinstance(kind, type):
        return (name for name in option_names(kind) if name != "--help")
    return ("--out", "--resume", "--json")


def _names() -> dict[str, list[str]]:
    """What may stand beside files after a command."""
    from seehear.commands.study import STUDIES
    from seehear.data.importers.registry import IMPORTERS
    from seehear.recipes.run import recipes

    return {"train": sorted(recipes()), "study": sorted(STUDIES), "import": sorted(IMPORTERS)}
