"""Tables of a library: their owners and their removal."""

import json

import numpy as np
import pytest

from seehear.cli import main
from seehear.commands.library import Stored, stored
from seehear.library.tables import LibraryTables, Vectors


@pytest.fixture
def made(tmp_path):
    """An encoder's latents, a tower's of a run that is there, and latents and an index of one that is not."""
    library = LibraryTables.create(tmp_path / "lib")
    (tmp_path / "there").mkdir()
    about = {
        ("latents", "eyes"): {},
        ("latents", "vatt-1.video"): {"model": str(tmp_path / "there")},
        ("latents", "vatt-2.video"): {"model": str(tmp_path / "gone")},
        ("vectors", "old"): {"model": str(tmp_path / "gone")},
    }
    for (kind, name), said in about.items():
        library.set_about(f"{'encoder' if kind == 'latents' else 'index'}:{name}", json.dumps(said))
        rows = Vectors(["a"], np.zeros(1, np.int32), ["video"], np.ones((1, 4), np.float16), ["f" * 16], ["c"])
        library.vectors(kind, name, 4).append(rows)
    return library


def test_the_tables_of_a_run_that_is_gone_are_told(made, tmp_path, capsys):
    assert [s.table for s in stored(made) if s.gone] == ["latents_vatt-2.video", "vectors_old"]
    assert Stored(table="latents_eyes", rows=1) in stored(made)
    assert main(["info", made.uri]) == 0
    said = capsys.readouterr().out
    assert f"of the deleted run {tmp_path / 'gone'}: seehear drop {made.uri} vectors_old" in said
    assert said.count("of the deleted run") == 2
    assert main(["info", made.uri, "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)["gone"]) == {"latents_vatt-2.video", "vectors_old"}


def test_a_dropped_table_leaves_nothing(made, capsys):
    assert main(["drop", made.uri, "latents_vatt-2.video", "vectors_old"]) == 0
    left = LibraryTables.open(made.uri)
    assert [s.table for s in stored(left)] == ["latents_eyes", "latents_vatt-1.video"]
    assert set(left.about()) == {"encoder:eyes", "encoder:vatt-1.video", "format"}
    assert main(["drop", made.uri, "latents_eye"]) == 2
    assert "did you mean latents_eyes?" in capsys.readouterr().err.replace("'", "")
    assert main(["drop", made.uri, "clips"]) == 2
