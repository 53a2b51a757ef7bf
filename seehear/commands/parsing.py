"""From words to a command's dataclass, and from a result to what is printed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import tyro

from seehear.errors import unknown

Flat = tyro.conf.arg(name="")
"""`Annotated[Options, Flat]`: the fields of a nested dataclass without a prefix."""


def parse(command: Any, words: Sequence[str], *, prog: str) -> Any:
    """Raises `SeehearError` for an option that does not exist, with the nearest one that does; any other mistake tyro
    explains itself, and exits with status 2."""
    config = (tyro.conf.FlagCreatePairsOff,)
    options = tyro.extras.get_parser(command, prog=prog, config=config)._option_string_actions
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and option.replace("_", "-") not in options:
            raise unknown(f"option of '{prog}'", option, [o for o in options if o.startswith("--")])
    return tyro.cli(command, args=list(words), prog=prog, config=config)


def show(result: Any, *, as_json: bool) -> None:
    """A result as its own text, or as JSON."""
    if not as_json:
        print(result)
        return
    if isinstance(result, list):
        plain: Any = [one.plain() for one in result]
    elif hasattr(result, "plain"):
        plain = result.plain()
    else:
        plain = asdict(result) if is_dataclass(result) and not isinstance(result, type) else result
    print(json.dumps(plain, ensure_ascii=False, indent=1))
