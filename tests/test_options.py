"""Every option of every command: a value that it cannot have is refused in one line that names it."""

from dataclasses import MISSING, fields, is_dataclass, replace
from math import nan

import pytest

from seehear.commands import COMMANDS, load
from seehear.errors import SeehearError, check_range

FAMILIES = ("fusemix", "mcn", "vatt", "diffmavil")
ANY_NUMBER = {"seed", "mel_mean"}


def nested(options):
    """The options and those inside of them."""
    yield options
    for field in fields(options):
        if is_dataclass(value := getattr(options, field.name)):
            yield from nested(value)


def option_classes():
    """A default instance of each class that commands take options from."""
    found = {}
    for name in COMMANDS:
        for words in [["lib", family] for family in FAMILIES] if name == "train" else [[]]:
            for field in fields(load(name, words)):
                default = field.default if field.default_factory is MISSING else field.default_factory()
                if is_dataclass(default):
                    found |= {type(options): options for options in nested(default)}
    return list(found.values())


def numbers(options):
    """Names of the fields that hold a number, or may."""
    for field in fields(options):
        if field.type != "bool" and any(kind in str(field.type).split(" ") for kind in ("int", "float")):
            yield field.name


OPTIONS = [(options, name) for options in option_classes() for name in numbers(options) if name not in ANY_NUMBER]


@pytest.mark.parametrize(("options", "name"), OPTIONS, ids=[f"{type(o).__name__}.{name}" for o, name in OPTIONS])
def test_no_option_below_its_range_is_accepted(options, name):
    for value in (-1, nan) if "float" in str(options.__dataclass_fields__[name].type) else (-1,):
        with pytest.raises(SeehearError) as refused:
            replace(options, **{name: value})
        assert "\n" not in str(refused.value)
        assert name in str(refused.value).replace("-", "_")


@pytest.mark.parametrize(
    ("interval", "value", "said"),
    [
        ("[1, inf)", 0, "size must be at least 1; got 0"),
        ("(0, inf)", 0.0, "size must be above 0; got 0.0"),
        ("[0, 1)", 1, "size must be in [0, 1); got 1"),
        ("[0, 1]", (0.5, 1.5), "size must be in [0, 1]; got 1.5"),
        ("(0, 1]", {"video": 0}, "size must be in (0, 1]; got 0"),
        ("[0, inf)", nan, "size must be at least 0; got nan"),
        ("[0, inf)", float("inf"), "size must be at least 0; got inf"),
    ],
)
def test_an_interval(interval, value, said):
    class Options:
        size = value

    with pytest.raises(SeehearError) as refused:
        check_range(Options(), interval, "size")
    assert str(refused.value) == said


def test_ends_that_belong_to_an_interval_and_none_pass():
    class Options:
        least, most, both, none = 0, 1.0, (0, 1), None

    check_range(Options(), "[0, 1]", "least", "most", "both", "none")
