"""From words to a command's dataclass, and from a result to what is printed."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, asdict, fields, is_dataclass
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import tyro

from seehear.errors import unknown

_WORDS = "_words"  # of a parsed command, beside its fields
Flat = tyro.conf.arg(name="")
"""`Annotated[Options, Flat]`: the fields of a nested dataclass without a prefix."""


def parse(command: Any, words: Sequence[str], *, prog: str) -> Any:
    """Raises `SeehearError` for an option that does not exist, with the nearest one that does; any other mistake tyro
    explains itself, and exits with status 2."""
    options = {"--help", *option_names(command)}
    for word in words:
        option = word.split("=")[0].replace("_", "-")
        if option.startswith("--") and option not in options:
            raise unknown(f"option of '{prog}'", option, options, listed="--help lists them")
    made = tyro.cli(command, args=list(words), prog=prog, config=(tyro.conf.FlagCreatePairsOff,))
    object.__setattr__(made, _WORDS, shlex.join([*prog.split(), *words]))
    return made


def command_line(command: Any) -> str:
    """The words that a command was parsed from, for a shell; '' for one that was made in Python."""
    return getattr(command, _WORDS, "")


def option_names(kind: Any, prefix: str = "--", *, default: Any = None) -> Iterator[str]:
    """'--library', '--optim.lr', ... of a dataclass and of those nested in it; of a generic one, as `kind` fills it.
    Of a switch both '--x' and '--no-x': which of them there is depends on its default. Of a table that has entries
    (in `default`, an instance, or as the class has it) each entry: '--method.masking.video'."""
    filled = dict(zip(getattr(get_origin(kind), "__parameters__", ()), get_args(kind), strict=True))
    kind = get_origin(kind) or kind
    hints = get_type_hints(kind, include_extras=True)
    for one in fields(kind):
        hint, flat = hints[one.name], False
        if get_origin(hint) is Annotated:
            if tyro.conf.Fixed in get_args(hint):
                continue
            flat = Flat in get_args(hint)
            hint = get_args(hint)[0]
        name = prefix + one.name.replace("_", "-")
        value = _default(one) if default is None else getattr(default, one.name)
        if isinstance(hint, TypeVar):
            hint = filled.get(hint, type(value))
        if is_dataclass(get_origin(hint) or hint):
            yield from option_names(hint, prefix if flat else f"{name}.", default=value)
        elif isinstance(value, Mapping) and value:
            yield from (f"{name}.{key}" for key in value)
        else:
            yield name
            if hint is bool:
                yield f"{prefix}no-{one.name.replace('_', '-')}"


def _default(one: Field[Any]) -> Any:
    if one.default_factory is not MISSING:
        return one.default_factory()
    return None if one.default is MISSING else one.default


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
