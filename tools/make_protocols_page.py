"""Write docs/protocols.md from the table of protocols: python tools/make_protocols_page.py"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from seehear.datasets.protocols import PROTOCOLS, TAGS, PublishedNumber
from seehear.datasets.run import IMPORTERS


def to_markdown() -> str:
    """Text of docs/protocols.md."""
    lines = [
        "# Protocols and data sets",
        "",
        "Made from `seehear/assets/protocols.toml` by `python tools/make_protocols_page.py`.",
        "",
        "Numbers below are published ones, in per cent, none of them measured by seehear. The evidence for each:",
        "",
        *(f"- **{tag}**: {meaning}" for tag, meaning in TAGS.items()),
        "",
        "`seehear import NAME --root DIR --library LIB` reads a set's own files and looks for its media below DIR. It",
        "downloads nothing and reports missing files. Reports call a picture a video of one frame.",
    ]
    for wanted in PROTOCOLS.values():
        split = f"Split: {wanted.split}." if wanted.split else f"Mean over {wanted.folds} official folds or lists."
        lines += [
            "",
            f"## {wanted.title}",
            "",
            f"`{wanted.name}`, imported as `{wanted.importer}`. Queries: {wanted.queries}. Against: {wanted.gallery}.",
            f"Metrics: {', '.join(wanted.metrics)}. {split}",
            "",
            *(f"- {note}" for note in wanted.notes),
            *(("", *_table(wanted.published)) if wanted.published else ()),
        ]
    lines += ["", "## Files of the sets", ""]
    lines += ["| set | files, in DIR or its usual folders | media, at any depth |", "|---|---|---|"]
    lines += [f"| `{i.name}`: {i.title} | {'; '.join(i.annotations)} | {i.media} |" for i in IMPORTERS.values()]
    return "\n".join(lines) + "\n"


def _table(published: tuple[PublishedNumber, ...]) -> Iterator[str]:
    metrics = dict.fromkeys(metric for row in published for metric in row.values)
    directions = list(dict.fromkeys(metric.split(" ")[0] for metric in metrics))
    columns = sorted(metrics, key=lambda metric: directions.index(metric.split(" ")[0]))
    yield f"| method | {' | '.join(columns)} | source | seen in | |"
    yield f"|---|{'---|' * (len(columns) + 3)}"
    for row in published:
        cells = [_cell(row.values[column]) if column in row.values else "" for column in columns]
        link = f"[{row.source}](https://{'' if '/' in row.source else 'arxiv.org/abs/'}{row.source})"
        yield f"| {row.method} | {' | '.join(cells)} | {link} | {row.tag} | {row.note} |"


def _cell(value: float) -> str:
    """One decimal, as in papers; d' has three."""
    return f"{value:.1f}" if round(value, 1) == value else f"{value:g}"


if __name__ == "__main__":
    page = Path(__file__).parent.parent / "docs" / "protocols.md"
    page.write_text(to_markdown(), encoding="utf-8")
    print(page)
