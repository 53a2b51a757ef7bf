"""README.md of a model folder: the model card that model hubs show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seehear.methods.base import Method

_LOADED = """```python
from seehear import SharedSpace

space = SharedSpace.from_pretrained("{where}")
space.similarity(space.encode_query("a dog barks"), space.encode([{{"video": "clip.mp4", "start": 3.0, "end": 8.0}}]))
```

With sentence-transformers: `SentenceTransformer("{where}", trust_remote_code=True)`; seehear must be installed.
"""


def model_card(
    method: Method,
    config: Mapping[str, Any],
    *,
    where: str = "path/to/this/folder",
    licence: str = "other",
    results: Iterable[Mapping[str, Any]] = (),
) -> str:
    """Text of the model card. `config`: contents of config.json. `where`: address of the model in its examples.
    `results`: results of an evaluation, as in evaluation.json; those of the model's own method are shown."""
    modalities = sorted({m for names in method.spaces.values() for m in names})
    encoders = [(m, e) for m, infos in config["encoders"].items() for e in infos]
    parameters = sum(p.numel() for p in method.parameters())
    parts = [
        _front_matter(licence, [e["name"] for _, e in encoders]),
        f"# {method.name} over {', '.join(modalities)}",
        f"One space for {', '.join(modalities)}, trained with seehear {config['seehear']} by the method "
        f"`{method.name}`; {parameters:,} parameters beside its encoders.",
        _LOADED.format(where=where).strip(),
        "## Encoders\n\n" + _table(["modality", "encoder", "width", "fingerprint"], map(_encoder_row, encoders)),
    ]
    if training := config.get("training"):
        facts = {"recipe": training.get("recipe"), "step": training.get("step"), "seconds": training.get("seconds")}
        rows = [[name, str(value)] for name, value in facts.items() if value is not None]
        rows += [[f"clips, {split}", f"{n:,}"] for split, n in _clips(training).items()]
        parts.append("## Training\n\n" + _table(["", ""], rows))
    if words := (config.get("verdict") or {}).get("words"):
        parts.append(f"On validation clips: {words}")
    if metrics := config.get("metrics"):
        parts.append("## Validation\n\n" + _table(["metric", "value"], ([k, f"{v:.4f}"] for k, v in metrics.items())))
    own = [r for r in results if r["model_name"] == method.name and r["task_type"] == "retrieval"]
    if own:
        shown = ("R@1", "R@5", "R@10", "median_rank")
        rows = [[r["task_name"], *(f"{r['metrics'][k]:.3g}" for k in shown), str(r["counts"]["queries"])] for r in own]
        parts.append(
            "## Test\n\nClips of recordings that training never saw.\n\n" + _table(["task", *shown, "queries"], rows)
        )
    return "\n\n".join(parts) + "\n"


def _front_matter(licence: str, encoders: Sequence[str]) -> str:
    """YAML that model hubs read, with the encoders that are models of a hub as `base_model`."""
    names = [name.removeprefix("hub:").split("#")[0] for name in encoders if name.startswith("hub:")]
    hub_ids = list(dict.fromkeys(name for name in names if name.count("/") == 1 and not name.startswith((".", "/"))))
    head = ["library_name: seehear", f"license: {licence}", "pipeline_tag: feature-extraction"]
    head += ["tags:", *(f"- {tag}" for tag in ("seehear", "sentence-transformers", "multimodal", "retrieval"))]
    head += ["base_model:", *(f"- {name}" for name in hub_ids)] if hub_ids else []
    return "---\n" + "\n".join(head) + "\n---"


def _encoder_row(encoder: tuple[str, Mapping[str, Any]]) -> list[str]:
    modality, about = encoder
    return [modality, about["name"], str(about["width"]), f"`{about['fingerprint']}`"]


def _clips(training: Mapping[str, Any]) -> dict[str, int]:
    clips = training.get("clips")
    return {"train": clips} if isinstance(clips, int) else dict(clips or {})


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
