"""The benchmark of a million clips with twenty thousand: every step is done, once, and finds what it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent


def run(work: Path) -> dict:
    command = [sys.executable, str(ROOT / "benchmarks" / "million.py"), "--clips", "20000", "--steps", "20"]
    command += ["--work", str(work), "--out", str(work / "found.json")]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((work / "found.json").read_text())


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_step(tmp_path):
    (tmp_path / "work").mkdir()
    found = run(tmp_path / "work")
    steps = found["steps"]
    assert (steps["prepared"]["clips"], steps["indexed"]["rows"]) == (20_000, 40_000)
    assert steps["trained"]["validation_score"] > 0.3  # by chance 0.003: two views of one vector
    assert steps["approximate"]["recall_at_10"] >= 0.9
    assert max(step["peak_memory_gb"] for step in steps.values()) < 2.0
    (tmp_path / "work" / "searched.json").unlink()
    again = run(tmp_path / "work")
    assert {n: s for n, s in again["steps"].items() if n != "searched"} == {
        n: s for n, s in steps.items() if n != "searched"
    }
