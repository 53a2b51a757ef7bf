"""A process that a training run needs is lost in the middle of an epoch: one rank of two, one worker that loads data.
The run ends by itself, and goes on to what an undisturbed one gives, bit for bit."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.faults.stages import Reference, run_digests
from tests.faults.outcome import ROOT, TIME_LIMIT, Outcome, outcome

_STEPS = 300


def ranks(reference: Reference, *, times: int, seed: int) -> list[Outcome]:
    chance = random.Random(f"{seed} ranks")
    with outcome("one rank of two killed in an epoch, resumed") as found:
        reference.work.copy_of(reference.before["train"])
        undisturbed = _ranks(reference)
        found.check(undisturbed.wait(TIME_LIMIT) == 0, "the undisturbed run failed")
        wanted = run_digests(reference.work.run)
        for _ in range(times):
            reference.work.copy_of(reference.before["train"])
            process = _ranks(reference)
            at = chance.randrange(1, _STEPS - 50)
            if _reached(process, reference.work.run / "checkpoints", at):
                os.kill(chance.choice(_children(process.pid)), signal.SIGKILL)
                found.tried += 1
            found.check(process.wait(TIME_LIMIT) != 0, "it ended as if nothing had happened")
            again = _ranks(reference, "--resume")
            found.check(again.wait(TIME_LIMIT) == 0, "it could not go on")
            found.check(run_digests(reference.work.run) == wanted, f"differs from the undisturbed run (step {at})")
    return [found]


def _ranks(reference: Reference, *more: str) -> subprocess.Popen[bytes]:
    words = reference.work.words("train")
    words[words.index("--train.steps") + 1] = str(_STEPS)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return _program([*launcher, "-m", "tests.faults.child", *words, *more])


def loader(folder: Path, *, times: int, seed: int) -> list[Outcome]:
    chance = random.Random(f"{seed} loader")
    with outcome("a loading worker killed in an epoch, resumed") as found:
        whole = folder / "whole"
        shutil.rmtree(folder, ignore_errors=True)
        found.check(_heavy(whole).wait(TIME_LIMIT) == 0, "the undisturbed run failed")
        for n in range(times):
            run = folder / f"run {n}"
            process = _heavy(run)
            at = chance.randrange(1, 25)
            if _reached(process, run / "checkpoints", at):
                os.kill(chance.choice(_workers(process.pid)), signal.SIGKILL)
                found.tried += 1
            found.check(process.wait(TIME_LIMIT) == 2, f"status {process.returncode}, not an error of its own")
            found.check(_heavy(run).wait(TIME_LIMIT) == 0, "it could not go on")
            found.check(
                (run / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes(),
                f"differs from the undisturbed run (killed after step {at})",
            )
    return [found]


def _heavy(run: Path) -> subprocess.Popen[bytes]:
    return _program([sys.executable, "-m", "benchmarks.faults.heavy", str(run)])


def _program(command: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _reached(process: subprocess.Popen[bytes], checkpoints: Path, step: int) -> bool:
    """Waits for a checkpoint of the step or a later one; False when the run ended before."""
    deadline = time.monotonic() + TIME_LIMIT
    while process.poll() is None and time.monotonic() < deadline:
        if any(int(path.stem.removeprefix("step-")) >= step for path in checkpoints.glob("step-*.safetensors")):
            return True
        time.sleep(0.01)
    return False


def _children(pid: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(number) for number in listed.split()]


def _workers(pid: int) -> list[int]:
    """Child processes that load batches: `spawn` has a process of its own besides, to count what is shared."""
    return [child for child in _children(pid) if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()]
