"""The pack of CUDA measurements: its parts fit its limit, a part that fails does not stop the others, and every part
starts and ends on a CPU."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture
def pack(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("gpu")


def test_all_parts_fit_in_twelve_minutes(pack):
    assert sum(part.seconds for part in pack.PARTS.values()) <= pack.LIMIT <= 12 * 60


def test_a_part_keeps_what_it_found_before_it_failed(pack, tmp_path, monkeypatch):
    def half(dry):
        yield {"a": 1}
        raise ValueError("no more")

    monkeypatch.setitem(pack.PARTS, "half", pack.Part(half, 1))
    with pytest.raises(ValueError, match="no more"):
        pack.run_part("half", tmp_path / "found.json", dry=True)
    assert json.loads((tmp_path / "found.json").read_text()) == {"a": 1}


def test_a_part_that_fails_or_overruns_is_recorded_and_the_next_goes_on(pack, tmp_path, monkeypatch):
    """Parts stood in for by a program that writes what it found and then fails, hangs or ends."""
    (tmp_path / "part.py").write_text(
        "import sys, pathlib, time\n"
        "name, out = sys.argv[2:4]\n"
        "pathlib.Path(out).write_text('{\"a\": 1}')\n"
        "sys.exit('broken') if name == 'tests' else time.sleep(60) if name == 'encode' else None\n"
    )
    monkeypatch.setattr(pack, "__file__", str(tmp_path / "part.py"))
    monkeypatch.setitem(pack.PARTS, "encode", pack.Part(pack.encoding, 1))
    results = pack.run(["tests", "encode", "search"], tmp_path / "out.json", dry=False)
    assert results["tests"]["found"] == results["search"]["found"] == {"a": 1}
    assert "broken" in results["tests"]["error"]
    assert results["encode"]["error"].startswith("stopped after 1 s")
    assert "error" not in results["search"]
    assert json.loads((tmp_path / "out.json").read_text())["parts"].keys() == results.keys()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_starts_and_ends_on_a_cpu(pack, tmp_path):
    command = [sys.executable, "benchmarks/gpu.py", "--dry", "--out", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    parts = json.loads((tmp_path / "out.json").read_text())["parts"]
    assert parts.keys() == pack.PARTS.keys()
    assert all(result["found"] for result in parts.values())
