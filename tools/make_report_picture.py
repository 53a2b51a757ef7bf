"""Draw docs/figures/report.png, the head of a report as a browser shows it:
`python tools/make_report_picture.py runs/fusemix/report.html`. Needs Chromium or Chrome on the PATH."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

OUT = Path(__file__).parent.parent / "docs" / "figures" / "report.png"
SIZE = (1200, 2640)
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


def main() -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is installed")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            f"--user-data-dir={folder}/profile",
        ]
        options += [f"--window-size={SIZE[0]},{SIZE[1]}", "--virtual-time-budget=3000", f"--screenshot={shot}"]
        page = Path(sys.argv[1]).resolve().as_uri()
        subprocess.run([browser, *options, page], check=True, capture_output=True)
        picture = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")
    picture.quantize(96).save(OUT, optimize=True)
    print(f"written: {OUT} ({OUT.stat().st_size / 1000:.0f} KB)")


if __name__ == "__main__":
    main()
