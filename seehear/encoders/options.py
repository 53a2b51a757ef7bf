"""An encoder's name with options: 'aisfx#pool=mean+std', 'hub:facebook/dinov2-base#layer=-2,pool=mean'."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from seehear.errors import SeehearError, unknown

Options = TypeVar("Options")
_READERS = {"int": int, "float": float, "str": str}


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """Shared by the encoders of texts."""

    clean: str = ""
    """captions: texts are cleaned as FuseMix's authors clean captions (`prepare.ReadText`)."""

    def __post_init__(self) -> None:
        if self.clean not in ("", "captions"):
            raise SeehearError(f"clean must be captions, or left out; got {self.clean!r}")

    def for_fingerprint(self) -> dict[str, Any]:
        """All options. `clean` came later: where it is off, fingerprints are those from before it."""
        return {name: value for name, value in asdict(self).items() if name != "clean" or value}


def split_name(name: str) -> tuple[str, dict[str, str]]:
    """'a#k=v,l=w' -> ('a', {'k': 'v', 'l': 'w'})."""
    base, _, rest = name.partition("#")
    given: dict[str, str] = {}
    for item in filter(None, rest.split(",")):
        key, equals, value = item.partition("=")
        if not equals or not value:
            raise SeehearError(f"encoder {name!r}: options are written NAME#key=value,key=value; got {item!r}")
        given[key.strip()] = value.strip()
    return base.strip(), given


def read_options(kind: type[Options], base: str, given: dict[str, str]) -> Options:
    """The options dataclass of an encoder, from text; unknown names and values of the wrong type are refused."""
    types = {f.name: str(f.type) for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, text in given.items():
        if key not in types:
            raise unknown(f"option of encoder {base!r}:", key, types)
        try:
            values[key] = _READERS[types[key]](text)
        except ValueError as error:
            raise SeehearError(f"encoder {base!r}: {key} must be {types[key]}; got {text!r}") from error
    return kind(**values)


def full_name(base: str, options: Any) -> str:
    """The one name of an encoder: options that are at their default are left out, the others sorted."""
    changed = {f.name: getattr(options, f.name) for f in fields(options)}
    changed = {f.name: changed[f.name] for f in fields(options) if changed[f.name] != f.default}
    said = (f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in sorted(changed.items()))
    return base + "#" * bool(changed) + ",".join(said)
