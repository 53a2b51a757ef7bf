"""A library as Parquet files, read by DuckDB and pandas."""

import json
from dataclasses import replace

import duckdb
import numpy as np
import pandas
import pytest

from seehear import Library
from seehear.cli import main
from seehear.folders import export as parquet
from seehear.library.tables import Text
from seehear.search.index import build_index
from tests.search import toy


@pytest.fixture
def library(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS", 7)  # several parts of each table
    library = toy.library(tmp_path)
    for m in ("video", "audio", "text"):
        about = {"modality": m, "width": toy.WIDTH, "fingerprint": "f1"}
        library.set_about(f"encoder:toy-{m}", json.dumps(about))
    build_index(library, toy.Space(), name="toy")
    return library


def test_duckdb_and_pandas_read_clips_and_vectors(library, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", library.uri, "--out", str(out), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)["files"]
    assert written[str(out / "clips.parquet")] == 24
    assert {path.name for path in out.iterdir()} == {
        *("clips.parquet", "sources.parquet", "vectors_toy.parquet"),
        *(f"latents_toy-{m}.parquet" for m in ("audio", "text", "video")),
    }
    clips = pandas.read_parquet(out / "clips.parquet")
    assert list(clips.loc[clips.id == "dog00", "labels"].item()) == ["dog", "it's loud"]
    latents = pandas.read_parquet(out / "latents_toy-video.parquet")
    stored = library.vectors("latents", "toy-video").read()
    assert np.array_equal(np.stack(latents.sort_values("id").vector), stored.vectors.astype(np.float32))
    nearest = duckdb.sql(f"""
        SELECT other.id FROM '{out}/vectors_toy.parquet' AS own, '{out}/vectors_toy.parquet' AS other
        JOIN '{out}/clips.parquet' AS clips ON clips.id = other.id
        WHERE own.id = 'dog00' AND own.modality = 'video' AND other.modality = 'video' AND clips.split = 'test'
        ORDER BY list_cosine_similarity(own.vector, other.vector) DESC LIMIT 1""").fetchall()
    assert nearest == [("dog18",)]


def test_vectors_that_are_out_of_date_are_left_out(library, tmp_path):
    library.put_clips([replace(toy.clip(0), texts=(Text("here a dog number 0"), Text("another text")))])
    library.set_about("encoder:toy-audio", json.dumps({"modality": "audio", "width": toy.WIDTH, "fingerprint": "f2"}))
    written = Library(library.uri).to_parquet(tmp_path / "out")
    rows = {path.rpartition("/")[2]: count for path, count in written.items()}
    assert (rows["latents_toy-text.parquet"], rows["latents_toy-audio.parquet"]) == (47, 0)
    table = pandas.read_parquet(tmp_path / "out" / "vectors_toy.parquet").query("modality == 'text' and id == 'dog00'")
    assert table.item.tolist() == [0]


def test_a_folder_that_holds_something_is_left_alone(library, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    assert main(["export", library.uri, "--out", str(tmp_path / "out")]) == 2
    assert "is not empty: name a new folder" in capsys.readouterr().err
