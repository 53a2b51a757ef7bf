"""`plan`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from tyro.conf import Positional

from seehear.commands.parsing import Flat, show
from seehear.data.library import Library
from seehear.recipes.plan import PlanOptions, plan


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What each recipe would cost on a library and this machine, before anything is spent.

    A few steps of the real training on the library's own clips, in a process of their own and never kept: parameters,
    floating-point operations, memory and hours of the whole run, and why a recipe does not fit. Times that are scaled
    or estimated, and not measured, say so. Ctrl-C ends it with what is known by then.

    Example: seehear plan lib --recipes fusemix vatt.tiny
    """

    library: Positional[str]
    options: Annotated[PlanOptions, Flat] = field(default_factory=PlanOptions)
    json: bool = False
    """Print as JSON."""

    def run(self) -> None:
        show(plan(Library.open(self.library), self.options), as_json=self.json)
