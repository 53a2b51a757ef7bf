"""Everything that needs CUDA, in at most 12 minutes on one H200 with 16 cores.

    python benchmarks/gpu.py [--parts NAME ...]            # benchmarks/results/gpu-cuda.json
    OMP_NUM_THREADS=1 python benchmarks/gpu.py --dry       # on a CPU: every part starts and ends, at tiny sizes

Each part is a process of its own with a limit of its own. What it finds is written as it is found; a part that fails,
or is stopped at its limit, keeps what it had, with its error, and the others go on. The numbers are those of the other
benchmarks here, called with other sizes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parent.parent
Found = Iterator[dict[str, Any]]
"""Parts of a result, as they are found."""


@dataclass(frozen=True)
class Part:
    run: Callable[[bool], Found]
    """Of `dry`."""
    seconds: int
    """Limit, the start of its process included."""


# -- parts: each imports what it needs, so that a package that is missing stops it alone -------------------------------


def tests(dry: bool) -> Found:
    """The tests marked `gpu`; dry, the same on the CPU."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/test_cuda.py", "-m", "not gpu" if dry else "gpu"]
    # Without the project's plugins and conftest, which need more than pytest.
    bare = ["-o", "addopts=", "-o", "filterwarnings=", "--noconftest", "--import-mode=importlib", "-pno:cacheprovider"]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run([*command, *bare], cwd=ROOT, env=environment, capture_output=True, text=True)
    lines = done.stdout.strip().splitlines()
    yield {"outcome": lines[-1] if lines else "", "failed": [line for line in lines if line.startswith("FAILED")]}
    if done.returncode:
        raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def fusemix(dry: bool) -> Found:
    """A step at the paper's batch beside its peers, and the loss alone."""
    import infonce
    import peers

    size, kinds = ((32, 16, 24), ("fp32",)) if dry else (peers.PAPER, ("medium", "bf16"))
    steps: list[dict[str, Any]] = []
    for row in peers.step([size], repeats=1 if dry else 3, kinds=kinds):
        steps.append(row)
        yield {"step": steps}
    yield {"loss": infonce.measure(64 if dry else 20_480, 1 if dry else 3)}


def droptoken(dry: bool) -> Found:
    import vatt_cost

    yield vatt_cost.wall_clock("tiny" if dry else "paper", 1 if dry else 5, rows=2 if dry else 16)


def claim(dry: bool) -> Found:
    """The table of DiffMAViL's claim: ViT-B at the paper's shapes."""
    import diffmavil_claim

    options = argparse.Namespace(rows=2 if dry else None, repeats=1 if dry else 3, memory=False)
    yield diffmavil_claim.measured("tiny" if dry else "base", options)


def clusters(dry: bool) -> Found:
    """An iteration of k-means at MCN's size and at a million rows, beside its products alone."""
    import common
    import kmeans

    for name, (rows, dim, count) in {"dry": (600, 32, 8)}.items() if dry else kmeans.SIZES.items():
        x_NE = kmeans.world(rows, dim, count).to(common.DEVICE)
        start_KE = x_NE[torch.randperm(rows, generator=torch.Generator().manual_seed(1))[:count]].clone()
        cases: dict[str, Callable[[], object]] = {
            "ours": lambda x=x_NE, c=start_KE: kmeans.ours(x, c, 4),  # type: ignore[misc]
            "products": lambda x=x_NE, c=start_KE: [part @ c.T for part in x.split(65_536)],  # type: ignore[misc]
        }
        times = common.interleaved(cases, repeats=1 if dry else 3)
        reached = kmeans.objective(x_NE, kmeans.ours(x_NE, start_KE, 4))
        own = {"seconds_an_iteration": times["ours"] / 4, "ours_over_products": times["ours"] / 4 / times["products"]}
        yield {name: own | {"objective": {"start": kmeans.objective(x_NE, start_KE), "ours": reached}}}


def encoding(dry: bool) -> Found:
    """Clips a second of random models of SigLIP's, CLAP's and Whisper's size, decoded on all cores."""
    import encode

    from seehear.encoders import load_encoder
    from seehear.progress import set_quiet
    from tests.encoders import large, tiny

    set_quiet(True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        encode.make_library(folder, 15 if dry else 240)
        for family, modality in (("siglip", "video"), ("clap", "audio"), ("whisper", "audio")):
            made = (tiny if dry else large).make(family, folder / family)
            encoder = load_encoder(f"hub:{made}", modality=modality)
            workers = 1 if dry else os.cpu_count() or 1
            yield {family: encode.measure(encoder, folder, workers=workers, repeats=1)}


def searching(dry: bool) -> Found:
    """Exact search of 10^7 vectors on all cores; the same products in half precision on the device beside it."""
    import common
    import search

    rows, repeats = (10_000, 1) if dry else (10_000_000, 2)
    half = torch.bfloat16 if dry else torch.float16
    x = torch.nn.functional.normalize(torch.randn(rows, search.WIDTH, device=common.DEVICE), dim=1).to(half)
    query = x[:1]
    cases = {"one query": lambda: [torch.topk(query @ part.T, search.K) for part in x.split(1 << 20)]}
    times = common.interleaved(cases, repeats=repeats)
    yield {"on the device": {f"milliseconds of {n}": round(1e3 * t, 3) for n, t in times.items()}}
    del x, cases
    vectors = search.vectors(rows)
    yield {"one query": search.one_query(vectors, repeats)}


PARTS = {
    "tests": Part(tests, 90),
    "FuseMix at 20,480": Part(fusemix, 80),
    "VATT DropToken": Part(droptoken, 60),
    "DiffMAViL's claim in bf16": Part(claim, 180),
    "k-means": Part(clusters, 50),
    "encode": Part(encoding, 130),
    "search": Part(searching, 120),
}
LIMIT = 720
"""Seconds of all parts together."""


def run_part(name: str, out: Path, *, dry: bool) -> None:
    """Runs a part in this process; `out` has what it found so far."""
    found: dict[str, Any] = {}
    for more in PARTS[name].run(dry):
        found |= more
        out.write_text(json.dumps(found))


def apart(name: str, seconds: float, *, dry: bool) -> dict[str, Any]:
    """Result of a part in a process of its own, stopped after so many seconds."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "found.json", Path(folder) / "log"
        command = [sys.executable, __file__, "--part", name, str(out), *(["--dry"] if dry else [])]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        with log.open("wb") as file:
            # A session of its own: the workers that a part has started are stopped with it.
            process = subprocess.Popen(command, stdout=file, stderr=file, env=environment, start_new_session=True)
            try:
                code = process.wait(max(1.0, seconds))
                error = "" if code == 0 else f"ended with {code}: {log.read_text(errors='replace')[-1500:]}"
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait()
                error = f"stopped after {seconds:.0f} s: {log.read_text(errors='replace')[-500:]}"
        found = json.loads(out.read_text()) if out.is_file() else {}
    return {"seconds": round(time.monotonic() - began, 1), "found": found} | ({"error": error} if error else {})


def run(names: Sequence[str], out: Path | None, *, dry: bool) -> dict[str, Any]:
    from common import write

    ends, results = time.monotonic() + LIMIT, {}
    for name in names:
        left = ends - time.monotonic()
        results[name] = apart(name, LIMIT if dry else min(PARTS[name].seconds, left), dry=dry)
        print(f"{name}: {results[name]['seconds']} s", results[name].get("error", "done"), flush=True)
        write("gpu-dry" if dry else "gpu", {"dry": dry, "parts": results}, out)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="tiny sizes, on the CPU too")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", nargs=2, metavar=("NAME", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        run_part(options.part[0], Path(options.part[1]), dry=options.dry)
        return
    if not options.dry and not torch.cuda.is_available():
        sys.exit("no CUDA device here: `--dry` proves on the CPU that every part starts")
    failed = [name for name, result in run(options.parts, options.out, dry=options.dry).items() if "error" in result]
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
