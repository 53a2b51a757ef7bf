"""`export`: a library or a model in formats of other tools."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from seehear.commands.parsing import Printed
from seehear.errors import SeehearError
from seehear.space.frozen import FROZEN


@dataclass(frozen=True, kw_only=True)
class Export(Printed):
    """Write a library as Parquet, or a model as ONNX.

    A library gives clips.parquet, sources.parquet, and the current vectors of each encoder and index, for DuckDB,
    pandas and Spark. Any other name is a model: a run, a model folder, 'user/name' of a model hub, 'frozen:LIBRARY', or
    'frozen:ENCODER' for a packaged encoder (frozen:minilm, frozen:wordtower). A model gives an ONNX graph of each
    encoder that can be exported and of each head, and model.json with their inputs and outputs; needs the extra 'onnx'.

    Example: seehear export lib --out tables
    """

    what: Positional[str]
    """A library or a model."""
    out: Path
    """New folder."""

    def run(self) -> None:
        if self.out.is_dir() and any(self.out.iterdir()):
            # Files of an earlier export would stand among the new ones.
            raise SeehearError(f"{self.out} is not empty: name a new folder")
        # A library is known by its table of clips, or by an address; everything else names a model.
        if (Path(self.what) / "clips.lance").is_dir() or ("://" in self.what and not self.what.startswith(FROZEN)):
            self._library()
        else:
            self._model()

    def _library(self) -> None:
        from seehear.facade import Library

        files = Library.open(self.what).to_parquet(self.out)
        lines = [f"{path}: {count:,} row{'' if count == 1 else 's'}" for path, count in files.items()]
        self.show({"files": files} if self.json else "\n".join(lines))

    def _model(self) -> None:
        from seehear.space import SharedSpace

        # On the CPU, where each graph is run to be compared with torch.
        about = SharedSpace.from_pretrained(self.what, device="cpu").export_onnx(self.out)
        lines = [
            f"{self.out / graph['file']}: {', '.join(graph['inputs'])} -> {graph['output']}"
            for graph in about["graphs"]
        ]
        lines += [f"not exported: {name}: {reason}" for name, reason in about["not_exported"].items()]
        self.show(about if self.json else "\n".join(lines))
