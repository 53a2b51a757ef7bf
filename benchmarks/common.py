"""What every benchmark shares: interleaved medians, the GEMM peak of this machine, peak memory, and a JSON with it all.

On a CPU times are process CPU time (run with OMP_NUM_THREADS=1: another load then hardly moves them), on CUDA wall time
around synchronised calls. Ratios are between numbers of one run.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PRECISIONS = ("fp32", "medium", "bf16")
"""fp32 as it comes; fp32 with `torch.set_float32_matmul_precision('medium')`; bf16 autocast."""


def machine() -> dict[str, Any]:
    """The kind of machine, not which one."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        found = {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in cpuinfo.read_text().splitlines())}
        model = f"{found.get('model name', model)}, family {found.get('cpu family')} model {found.get('model')}"
    info = {"cpu": model, "cores": os.cpu_count(), "threads": torch.get_num_threads()}
    info |= {"python": platform.python_version(), "torch": torch.__version__}
    return info | ({"gpu": torch.cuda.get_device_name()} if DEVICE.type == "cuda" else {})


def precision(name: str) -> AbstractContextManager[Any]:
    """Set the matmul precision and give the autocast context of one of `PRECISIONS`."""
    torch.set_float32_matmul_precision("medium" if name == "medium" else "highest")
    return torch.autocast(DEVICE.type, torch.bfloat16) if name == "bf16" else nullcontext()


def seconds(work: Callable[[], object]) -> float:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        return time.perf_counter() - start
    start = time.process_time()
    work()
    return time.process_time() - start


def interleaved(cases: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, float]:
    """Median seconds of each case. One round runs every case once, so what disturbs one disturbs all; a round before
    the first is not counted."""
    times: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, work in cases.items():
            taken = seconds(work)
            if turn:
                times[name].append(taken)
    return {name: statistics.median(taken) for name, taken in times.items()}


def gemm(name: str, size: int = 2048) -> tuple[Callable[[], object], float]:
    """A square product in one of `PRECISIONS`, and its floating-point operations: the limit of all that is matmul."""
    a, b = (torch.randn(size, size, device=DEVICE) for _ in range(2))
    if name == "bf16":
        a, b = a.bfloat16(), b.bfloat16()

    def work() -> object:
        with precision(name):
            return a @ b

    return work, 2.0 * size**3


def peak_bytes(work: Callable[[], object]) -> int:
    """How far memory rose while `work` ran. On a CPU of the process: call it once in a fresh one."""
    if DEVICE.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    before = _kilobytes("VmRSS")
    work()
    return (_kilobytes("VmHWM") - before) * 1024


def memory_apart(memory: Callable[..., int], script: str, *arguments: str | float) -> int:
    """`memory(*arguments)` in a process of its own, by `script --memory-of ARGUMENTS`, which prints it: a CPU process
    keeps no other record of its peak."""
    if DEVICE.type == "cuda":
        return memory(*arguments)
    command = [sys.executable, script, "--memory-of", *map(str, arguments)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def _kilobytes(field: str) -> int:
    """From /proc, not getrusage: that one's peak is inherited from the parent process. So Linux only."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


def write(name: str, results: Mapping[str, Any], out: Path | None) -> None:
    """`results` with the machine, as JSON into `out`, or into benchmarks/results/NAME-DEVICE.json."""
    out = out or RESULTS / f"{name}-{DEVICE.type}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps({"benchmark": name, "machine": machine(), **results}, indent=2) + "\n")
    print(f"written: {out}")
