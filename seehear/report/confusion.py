"""Which labels are taken for which: the whole table where it is small, else the labels that fare worst."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from seehear.evaluation.report import Report
from seehear.evaluation.results import TaskResult
from seehear.report.markup import Markup, element
from seehear.report.numbers import direction
from seehear.report.page import captioned, folded, paragraph, percent, table

_LARGEST = 25  # classes of a table that one can still read
_WORST = 15


def confusion_section(report: Report, own: Sequence[str]) -> list[Markup]:
    """Of the run's own classifications; the first stands open."""
    found: list[Markup] = []
    for result in report.results:
        if result.model in own and len(result.said):
            shown = list(_confusions(result))
            top = percent(result.metrics["top1"], result.intervals.get("top1"))
            found.append(folded(f"{direction(result.task)}, {result.model}: {top} right", *shown, open_=not found))
        elif result.model in own and result.details.get("hardest"):
            hardest = ", ".join(f"{name} {percent(value)}" for name, value in result.details["hardest"].items())
            found.append(paragraph(f"{direction(result.task)}: labels with the least average precision: {hardest}."))
    return found


def _confusions(result: TaskResult) -> Iterator[Markup]:
    count = Counter(zip(result.truth.tolist(), result.said.tolist(), strict=True))
    classes = sorted({name for pair in count for name in pair})
    if len(classes) <= _LARGEST:
        yield _heat(count, classes)
        return
    wrong = sorted(((n, pair) for pair, n in count.items() if pair[0] != pair[1]), key=lambda one: (-one[0], one[1]))
    rows = [(true, said, n) for n, (true, said) in wrong[:_WORST]]
    yield table(["label", "taken for", "clips"], rows, caption="The commonest confusions.", words=2)
    yield _by_label(result)


def _heat(count: Counter[tuple[str, str]], classes: Sequence[str]) -> Markup:
    total = Counter(true for (true, _), n in count.items() for _ in range(n))
    names = ["label \\ taken for", *classes, "right"]
    head = element("tr", *(element("th", name, scope="col") for name in names))
    rows = []
    for true in classes:
        cells = []
        for said in classes:
            n = count[true, said]
            share = n / total[true] if total[true] else 0.0
            colour = f"background: rgba(var(--heat), {0.65 * share:.2f})" if n else None
            cells.append(element("td", n or "", style=colour, title=f"{true} taken for {said}: {n} of {total[true]}"))
        right = element("td", percent(count[true, true] / total[true]) if total[true] else "-", class_="n")
        rows.append(element("tr", element("th", true, scope="row"), *cells, right))
    caption = "Rows: the label; columns: the class it was taken for; a cell: clips."
    return captioned(caption, element("table", element("thead", head), element("tbody", *rows), class_="heat"))


def _by_label(result: TaskResult) -> Markup:
    clips, right = Counter(result.truth.tolist()), Counter(result.truth[result.truth == result.said].tolist())
    worst = sorted(clips, key=lambda name: (right[name] / clips[name], name))
    rows = [(name, f"{clips[name]:,}", percent(right[name] / clips[name])) for name in worst[:_WORST]]
    more = f" The {_WORST} worst of {len(worst)}." if len(worst) > _WORST else ""
    return table(["label", "clips", "right"], rows, caption=f"Right at once, by label, the worst first.{more}")
