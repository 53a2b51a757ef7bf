"""Memory that is free, and the most that was held: of the process on a CPU, of the device on any other."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

import torch

_MEMINFO, _STATUS = Path("/proc/meminfo"), Path("/proc/self/status")
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Of a container, in two generations of Linux. (Their own count of what is used holds cached files too.)"""


def available_bytes(device: torch.device) -> int:
    """What this process may still take; on a CPU what it holds already counts as available too."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
    free = _field(_MEMINFO, "MemAvailable") or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free += _field(_STATUS, "VmRSS")
    limits = (path.read_text().strip() for path in _LIMITS if path.exists())
    return min([free, *(int(text) for text in limits if text.isdigit())])


def peak_bytes(device: torch.device) -> int:
    """The most at once, since the process began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    # getrusage last: on Linux its peak is inherited from the parent process
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return _field(_STATUS, "VmHWM") or largest


def _field(path: Path, name: str) -> int:
    """Bytes of a field of /proc; 0 where there is none."""
    if not path.exists():
        return 0
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) * 1024 for words in lines if words and words[0] == f"{name}:"), 0)
