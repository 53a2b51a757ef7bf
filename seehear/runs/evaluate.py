"""Evaluation of a run, or of the closed forms alone, on a library: a report in the folder of `evaluation_folder`.

Numbers come from the chosen split only. The training split fits the closed forms and the probes, the validation split
chooses their settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seehear.errors import SeehearError, near, read_json
from seehear.evaluation.bootstrap import group_warnings
from seehear.evaluation.embedded import embed_latents
from seehear.evaluation.report import JSON_NAME, EvaluationReport, provenance
from seehear.evaluation.results import TaskResult
from seehear.inputs.latents import EncoderInfo, LatentData, load_latents
from seehear.library.records import learned_texts
from seehear.library.tables import SPLITS, LibraryTables
from seehear.library.transcripts import machine_made
from seehear.progress import counted
from seehear.runs.bench import Bench, EvaluateOptions, baseline_results, model_results
from seehear.runs.verdict import TRAINING, encoders_of_towers, frozen_spaces
from seehear.space.frozen import FROZEN
from seehear.space.saved import verdict_of
from seehear.types import Modality

if TYPE_CHECKING:
    from seehear.space import SharedSpace

__all__ = ["EvaluateOptions", "code_revision", "data_revision", "evaluate_run"]


def evaluate_run(
    run: str | Path,
    library: LibraryTables | str | Path | None = None,
    options: EvaluateOptions | None = None,
    *,
    device: str = "auto",
    command: str = "",
    out: str | Path | None = None,
) -> EvaluationReport:
    """The report of a run, saved in `out`, or where `evaluation_folder` says. Without a library, the one it was trained
    on."""
    from seehear.space import SharedSpace

    run, options = Path(run), options or EvaluateOptions()
    folder = evaluation_folder(run, library, options.split) if out is None else Path(out)
    library = library if isinstance(library, LibraryTables) else LibraryTables.open(library or trained_on(run))
    space = SharedSpace.from_pretrained(run, device=device)
    # A method that reads media is its own encoder: its latents may not be in the library yet.
    space.encode_library(library)
    data = latents_of(library, space)
    bench = Bench(data, labels_of(library, data), options, space)
    about = _about(library, bench, command or f"seehear evaluate {run}")
    about |= {"model_name": str(run), "model_revision": space.fingerprint}
    if verdict := verdict_of(run):
        about["verdict"] = verdict["words"]
        about |= {} if verdict.get("kept") in (None, TRAINING) else {"kept": verdict["kept"]}
    # Beside the run: a number without what needs no training says little.
    baselines = [*_frozen_results(library, bench), *baseline_results(bench)] if options.closed_forms else []
    results = [*model_results(bench), *baselines]
    if not results:
        counts = ", ".join(f"{s} {n:,}" for s, n in about["clips"].items())
        raise SeehearError(
            f"no clip of the split {options.split!r} in {library.uri} has two modalities of this run: choose another "
            f"with --split (clips with latents: {counts}), or another --library"
        )
    report = EvaluationReport(
        split=options.split, results=tuple(results), warnings=tuple(_warnings(bench)), about=about
    )
    report.save(folder)
    return report


def _frozen_results(library: LibraryTables, bench: Bench) -> Iterator[TaskResult]:
    """Results of the library's joint encoders without training, on the clips of `bench`; encoders of `bench` itself are
    among its closed forms."""
    from seehear.space import SharedSpace

    used = {info["name"] for infos in bench.data.encoders.values() for info in infos}
    for name, towers in frozen_spaces(library).items():
        encoders = encoders_of_towers(library, towers)
        if {encoder for (encoder,) in encoders.values()} <= used:
            continue
        data = load_latents(library, encoders=encoders)
        space = SharedSpace.from_pretrained(f"{FROZEN}{library.uri}#{name}", device="cpu")
        frozen = Bench(data, labels_of(library, data), bench.options, space)
        # Other clips would be another task, whose numbers do not stand beside these.
        if set(data.split(bench.options.split).ids.tolist()) == set(bench.test.ids.tolist()):
            yield from frozen.results(f"frozen {name}", embed_latents(space, frozen.test), frozen.classes(space))


def evaluation_folder(run: str | Path, library: LibraryTables | str | Path | None, split: str) -> Path:
    """The run's folder for the test split of its own library; else RUN/evaluations/LIBRARY, /SPLIT or /LIBRARY-SPLIT,
    so that other numbers never replace those of the run."""
    run = Path(run)
    uri = library.uri if isinstance(library, LibraryTables) else None if library is None else str(library)
    own = uri is None or _place(uri) == _place(_settings(run).get("library") or "")
    # The numbers of the run itself are never replaced by those of another library or split.
    names = [*([] if own else [_place(str(uri)).rsplit("/", 1)[-1]]), *([] if split == "test" else [split])]
    if not names:
        return run
    folder = run / "evaluations" / "-".join(names)
    if (folder / JSON_NAME).is_file():
        about = EvaluationReport.load(folder).about
        other = str(about.get("dataset_name", ""))
        if _place(other) != _place(uri or trained_on(run)):
            raise SeehearError(f"{folder} holds an evaluation on {other}: say another folder with --out")
    return folder


def _place(uri: str) -> str:
    return uri.rstrip("/") if "://" in uri else Path(uri).resolve().as_posix()


# -- where the numbers come from ---------------------------------------------------------------------------------------


def trained_on(run: Path) -> str:
    if not run.exists():
        raise SeehearError(f"no run at {run}{near(run)}")
    if not (run / "config.json").is_file():
        raise SeehearError(f"{run} is not the folder of a run: it has no config.json")
    if not (library := _settings(run).get("library")):
        raise SeehearError(f"{run} does not say which library it was trained on: give it with --library")
    return str(library)


def _settings(run: Path) -> dict[str, Any]:
    path = run / "config.json"
    return read_json(path, "copy it again from where the run was trained") if path.is_file() else {}


def latents_of(library: LibraryTables, space: SharedSpace) -> LatentData:
    """The latents of a run's encoders, but for those that only queries need: words where no clip has text."""
    known, clips = library.encoders(), library.clips()
    queries = {m for m, (first, *_) in space.encoders.items() if first["name"] not in known}
    used = {m: infos for m, infos in space.encoders.items() if m not in queries or any(c.has(m) for c in clips)}
    data = load_latents(library, encoders={m: [info["name"] for info in infos] for m, infos in used.items()})
    same_encoders(data, space.encoders, library)
    return data


def same_encoders(
    data: LatentData, trained_on: Mapping[Modality, Sequence[EncoderInfo]], library: LibraryTables
) -> None:
    """Raises `SeehearError` where the library's latents are of other encoders than a model was trained on."""
    for m, infos in trained_on.items():
        if m not in data.encoders:
            continue
        now = {info["name"]: info["fingerprint"] for info in data.encoders[m]}
        for info in infos:
            # The name stays when a model is updated; its latents are others.
            if now[info["name"]] != info["fingerprint"]:
                raise SeehearError(
                    f"the latents of {info['name']} in {library.uri} are not of the encoder this run was trained on "
                    f"(fingerprint {now[info['name']]}, then {info['fingerprint']}): train again"
                )


def labels_of(library: LibraryTables, data: LatentData) -> list[tuple[str, ...]]:
    labels = {clip.id: clip.labels for clip in library.clips("array_length(labels) > 0")}
    return [labels.get(i, ()) for i in data.ids.tolist()]


def _warnings(bench: Bench) -> Iterator[str]:
    yield from group_warnings(bench.test.groups.tolist(), bench.options.split)
    train = set(bench.data.split("train").groups.tolist())
    # Clips of one recording have one place, one camera and one voice.
    shared = train & set(bench.test.groups.tolist()) if bench.options.split != "train" else set()
    if shared:
        both = f"{counted(len(shared), 'group')} {'is' if len(shared) == 1 else 'are'} in both train and"
        yield f"{both} {bench.options.split}: the numbers are too good"
    lost = ["closed forms have default settings"] if bench.options.closed_forms else []
    lost += ["there are no probes"] if bench.options.probes else []
    if lost and not len(bench.data.split("val")):
        yield f"there are no validation clips: {', and '.join(lost)}"
    if bench.options.split != "test":
        # An evaluation of train or val is allowed, to look for overfitting.
        yield f"numbers on the split {bench.options.split!r} say nothing of new data: training has seen or chosen by it"


def _about(library: LibraryTables, bench: Bench, command: str) -> dict[str, Any]:
    data, test = bench.data, bench.test
    encoders = {m: [{k: e[k] for k in ("name", "fingerprint", "width")} for e in es] for m, es in data.encoders.items()}
    about = provenance(command) | {"code_revision": code_revision(), "seed": bench.options.seed}
    about |= {"dataset_name": library.uri, "dataset_revision": data_revision(test)}
    about |= {"encoders": encoders, "clips": {s: int((data.splits == s).sum()) for s in SPLITS}}
    here = set(test.ids[test.has("text").numpy()].tolist()) if "text" in test.modalities else set()
    texts = [text for clip in library.clips() if clip.id in here for text in learned_texts(clip)] if here else []
    made = machine_made(library, texts)
    return about | ({"machine_texts": made} if made else {})


def data_revision(data: LatentData) -> str:
    """16 hex digits over clips and latents: the same numbers can only come from the same data."""
    found = hashlib.blake2b("\n".join(data.ids.tolist()).encode(), digest_size=8)
    for m in data.modalities:
        found.update(m.encode() + data.every(m).numpy().tobytes() + data.owner(m).numpy().tobytes())
    return found.hexdigest()


def code_revision() -> str:
    """16 hex digits over this package's source."""
    folder = Path(__file__).parent.parent
    found = hashlib.blake2b(digest_size=8)
    # In one order on every file system.
    for path in sorted(folder.rglob("*.py")):
        found.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return found.hexdigest()
