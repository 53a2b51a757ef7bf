"""Write docs/protocols.md from the table of protocols: python tools/make_protocols_page.py"""

from __future__ import annotations

from pathlib import Path

from seehear.datasets.protocols import to_markdown

if __name__ == "__main__":
    page = Path(__file__).parent.parent / "docs" / "protocols.md"
    page.write_text(to_markdown(), encoding="utf-8")
    print(page)
