"""A library on object storage: every command, against an S3 server on this machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from seehear.cli import main
from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables

server = pytest.importorskip("moto.server", reason="no S3 server to test against: pip install 'seehear[dev]'")

WORDS = ("a dog barks", "rain falls", "a bell rings", "a man speaks")


@pytest.fixture(scope="module")
def bucket():
    with pytest.MonkeyPatch.context() as patch:
        running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        running.start()
        host, port = running.get_host_and_port()
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_REGION", "us-east-1")
        import boto3

        boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="media")
        yield "s3://media"
        running.stop()


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Twenty-four sounds with a caption and a split each."""
    folder = tmp_path_factory.mktemp("recordings")
    rows = ["file,text,labels,split"]
    for n in range(24):
        tone(folder / f"{n}.wav", 200.0 * (1 + n % 4) + n)
        rows.append(f"{n}.wav,{WORDS[n % 4]} {n},{WORDS[n % 4].split()[1]},{('train', 'train', 'val', 'test')[n // 6]}")
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")
    return folder


def tone(path: Path, pitch: float) -> None:
    wave = 0.5 * np.sin(2 * np.pi * pitch * np.arange(16000) / 16000)
    soundfile.write(path, wave, 16000)


def said(capsys, *words):
    assert main([*words, "--quiet"]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_command(bucket, recordings, tmp_path, capsys, few_phrases):
    library, run = f"{bucket}/libraries/small", str(tmp_path / "run")
    said(capsys, "prepare", str(recordings / "clips.csv"), "--library", library)
    made = said(capsys, "encode", library, "--encoders", "logmel", "minilm", "--workers", "1")
    assert "logmel (audio, " in made
    again = json.loads(said(capsys, "encode", library, "--encoders", "logmel", "minilm", "--json"))
    assert [(e["made"], e["kept"]) for e in again["encoders"]] == [(0, 24), (0, 24)]
    said(capsys, "train", library, "fusemix", "--out", run, "--train.steps", "3", "--method.dim", "8")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["library"] == library
    said(capsys, "evaluate", run, "--no-closed-forms", "--no-probes", "--examples", "1")
    said(capsys, "index", library, run)
    found = json.loads(said(capsys, "search", library, "a bell rings 2", "--k", "3", "--labels", "bell", "--json"))
    assert len(found["hits"]) == 3
    assert all("bell" in hit["file"] or "bell" in hit["text"] for hit in found["hits"])
    found = json.loads(said(capsys, "info", library, "--json"))
    assert (found["clips"], found["tables"]) == (24, {"latents_logmel": 24, "latents_minilm": 24, "vectors_run": 48})
    said(capsys, "prepare", str(recordings / "clips.csv"), "--library", library)  # nothing to do, nothing lost
    assert LibraryTables.open(library).count_clips() == 24


def test_the_rows_are_those_of_a_library_on_disk(bucket, recordings, tmp_path, capsys):
    tables = []
    for library in (f"{bucket}/same", str(tmp_path / "lib")):
        said(capsys, "prepare", str(recordings / "clips.csv"), "--library", library)
        said(capsys, "encode", library, "--encoders", "logmel", "--workers", "0")
        tables.append(LibraryTables.open(library).vectors("latents", "logmel").read())
    assert tables[0].ids == tables[1].ids
    assert np.array_equal(tables[0].vectors, tables[1].vectors)
    assert tables[0].contents == tables[1].contents


def test_what_cannot_be_reached_is_one_line(bucket):
    with pytest.raises(SeehearError, match=r"cannot reach s3://nobody/lib: The specified bucket does not exist"):
        LibraryTables.open("s3://nobody/lib")
    with pytest.raises(SeehearError, match=r"s3://media/empty is not a seehear library: make one with 'seehear prep"):
        LibraryTables.open(f"{bucket}/empty")
