"""A disk that fills up at a random write; then room is made and the same command goes on: nothing is lost.

The disk is a tmpfs of a few MB in a mount namespace of its own (`unshare`), so that the real system call fails with
"No space left on device". Where the system allows no such mount, no file may grow beyond a random size instead (the
error is then "File too large"), and the table says so.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.faults.stages import STAGES, Reference
from tests.faults.outcome import ROOT, Outcome, outcome, run

_DISK = 64 * 2**20
_NAMESPACE = ["unshare", "--mount", *(["--map-root-user"] if os.geteuid() else [])]


def full_disk(folder: Path, *, each: int, seed: int) -> list[Outcome]:
    """`each`: full disks in every stage. In a process of its own, whose mount nobody else sees and ends with it."""
    mount = f"mount -t tmpfs -o size={_DISK} tmpfs"
    try:
        able = subprocess.run([*_NAMESPACE, "sh", "-c", f"{mount} /mnt"], capture_output=True).returncode == 0
    except FileNotFoundError:
        able = False
    disk = folder / "disk"
    disk.mkdir(parents=True)
    kind = "disk" if able else "size"
    inside = [sys.executable, "-m", "benchmarks.faults.full", str(disk), str(each), str(seed), kind]
    command = [*_NAMESPACE, "sh", "-c", f'{mount} "$1" && shift && exec "$@"', "sh", str(disk)] if able else []
    done = subprocess.run([*command, *inside], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        return [Outcome("full disk", wrong=[done.stderr[-2000:]])]
    return [Outcome(**found) for found in json.loads(done.stdout.splitlines()[-1])]


def _used(folder: Path) -> int:
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def _stage(reference: Reference, disk: Path, stage: str, each: int, chance: random.Random, how: str) -> Outcome:
    name = "no space left" if how == "disk" else "files limited in size"
    with outcome(f"{name} in {stage}, resumed") as found:
        after = reference.after_folder(stage)
        need = max(_used(after) - _used(reference.before[stage]), 2**16)
        largest = max(path.stat().st_size for path in after.rglob("*") if path.is_file())
        for _ in range(each):
            reference.work.copy_of(reference.before[stage])
            if how == "disk":
                ballast = disk / "ballast"
                ballast.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - chance.randrange(need))))
                failed = run(reference.work.words(stage))
                ballast.unlink()
            else:
                failed = run(reference.work.words(stage), {"FAULTS_LARGEST": str(chance.randrange(largest))})
            found.tried += 1
            found.numbers["ended before"] = found.numbers.get("ended before", 0) + (failed.status == 0)
            found.check(failed.status in (0, 2), f"status {failed.status}: {failed.complaint}")
            found.check(failed.status == 0 or failed.is_clear, f"not one clear line: {failed.complaint}")
            done = run(reference.work.words(stage, again=True))
            found.check(done.status == 0, f"with room again: status {done.status}: {done.complaint}")
            wrong = reference.differences(stage)
            found.check(not wrong, f"differs from a run with room: {', '.join(wrong)}")
            if failed.status:
                found.numbers["said"] = failed.complaint[:160]
    return found


def main(disk: Path, each: int, seed: int, how: str) -> list[Outcome]:
    reference = Reference(disk.parent / "reference", files=12, place=disk / "work")
    return [_stage(reference, disk, stage, each, random.Random(f"{seed} full {stage}"), how) for stage in STAGES]


if __name__ == "__main__":
    found = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    print(json.dumps([asdict(one) for one in found]))
