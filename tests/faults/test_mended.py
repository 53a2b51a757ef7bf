"""Faults found by the campaign and mended: each test failed on the code of before."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
import torch

from seehear import cli
from seehear.errors import SeehearError, refusal
from seehear.library.locking import writing
from seehear.library.manifest import read_manifest
from seehear.library.prepare import PrepareOptions, prepare
from seehear.library.tables import LibraryTables
from seehear.media.files import probe
from seehear.methods.fusemix import FuseMix, FuseMixConfig
from seehear.space import SharedSpace
from seehear.train.config import RunFolder, read_metrics
from seehear.train.files import Checkpoints, Counters, save_model
from seehear.train.loop import fit
from tests.faults.outcome import ROOT
from tests.library.makers import film, sound
from tests.toy import Data, Toy
from tests.train.test_loop import CONFIG, OPTIM, DiesAt, Killed


def save(checkpoints: Checkpoints, step: int) -> None:
    checkpoints.save(Counters(step=step), model={"w": torch.full((2,), float(step))}, optimizer={}, best=None)


def test_a_table_that_a_kill_left_half_made_is_made_again(tmp_path):
    """LanceDB lists a folder without a version as a table, and then cannot open it."""
    (tmp_path / "clips.lance" / "data").mkdir(parents=True)
    library = LibraryTables.create(tmp_path)
    assert library.count_clips() == 0
    (tmp_path / "latents_x.lance").mkdir()
    assert "latents_x" not in LibraryTables.open(tmp_path).tables()
    assert len(LibraryTables.open(tmp_path).vectors("latents", "x", 4)) == 0


def test_a_library_has_one_writer(tmp_path):
    code = (
        "import sys; from seehear.library.locking import writing\n"
        "with writing(sys.argv[1]): print(1, flush=True); input()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "lib")]
    other = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    other.stdout.readline()
    sound(tmp_path / "media.wav", seconds=0.2, rate=8000)
    with pytest.raises(SeehearError, match="is being written by another process"):
        prepare(tmp_path, tmp_path / "lib", PrepareOptions(workers=0))
    other.kill()
    other.communicate()
    assert prepare(tmp_path, tmp_path / "lib", PrepareOptions(workers=0)).clips == 1


def test_tables_of_a_library_have_a_writer_each(tmp_path):
    with writing(tmp_path, "latents_a"), writing(tmp_path, "latents_b"):
        with pytest.raises(SeehearError, match="latents_a"), writing(tmp_path, "latents_a"):
            pass
        with pytest.raises(SeehearError, match="another process"), writing(tmp_path):
            pass


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "lib/x"),
        RuntimeError("lance error: LanceError(IO): Unable to copy data to file: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_one_line(error, monkeypatch, capsys):
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(cli, "_run", fails)
    assert cli.main(["prepare"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("seehear: No space left on device")
    assert said.count("\n") == 1
    assert refusal(RuntimeError("a bug")) is None


def test_a_kill_while_the_first_file_of_a_run_is_written_leaves_a_folder_of_use(tmp_path):
    (tmp_path / ".config.json.part").write_text("{")
    with RunFolder(tmp_path, {"a": 1}, resume=True).open():
        pass
    (tmp_path / "config.json").unlink()
    (tmp_path / ".config.json.part").write_text("{")
    with RunFolder(tmp_path, {"a": 1}, resume=False).open():
        pass
    (tmp_path / "config.json").write_bytes(b"\x80\x04")
    with pytest.raises(SeehearError, match="is not JSON"), RunFolder(tmp_path, {"a": 1}, resume=True).open():
        pass


def test_what_kills_leave_beside_checkpoints_is_cleared(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    (tmp_path / ".step-00000001.safetensors.part").write_bytes(bytes(9))
    save(checkpoints, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002.safetensors"]


def test_a_damaged_checkpoint_is_no_end_to_saving(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 9):
        save(checkpoints, step)
    checkpoints.path(2).write_bytes(b"damaged")
    checkpoints.path(9).write_bytes(b"damaged")
    loaded = checkpoints.load()
    assert loaded is not None
    assert loaded[0].step == 1
    save(checkpoints, 3)
    assert checkpoints.steps() == [1, 3]


def test_a_run_killed_before_its_first_checkpoint_logs_its_start_once(tmp_path):
    def validate(_: object) -> dict[str, float]:
        return {"score": 1.0}

    with pytest.raises(Killed):
        fit(Toy(), DiesAt(Data(20), 2), config=CONFIG, optim=OPTIM, folder=tmp_path, validate=validate)
    fit(Toy(), Data(20), config=CONFIG, optim=OPTIM, folder=RunFolder(tmp_path, resume=True), validate=validate)
    scores = [entry["step"] for entry in read_metrics(tmp_path / "metrics.jsonl") if "val/score" in entry]
    assert scores == sorted(set(scores))


def test_a_time_stamp_of_thirty_years_is_not_believed(tmp_path):
    """It made a hundred million clips of one small file."""
    info = probe(film(tmp_path / "long.mkv", audio=None, times=[0.0, 0.1, 0.2, 1e9]))
    assert info.duration < 1
    assert "claims" in info.errors[0]
    hours = probe(film(tmp_path / "slow.mkv", audio=None, times=[0.0, 600.0, 1200.0]))
    assert hours.duration >= 1200


@pytest.mark.parametrize("environment", [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}])
def test_names_do_not_depend_on_the_locale(environment):
    code = (
        "import os\nfrom seehear.library.records import printable, unprintable\n"
        "name = os.fsdecode(b'caf\\xc3\\xa9 \\xff.mp4')\n"
        "print(ascii(printable(name)), unprintable(printable(name)) == name)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert done.stdout == "'caf\\xe9 \\uf7ff.mp4' True\n"


def test_bytes_that_are_no_text_in_parquet(tmp_path):
    column = pa.array([b"\xec\xff"], pa.binary()).view(pa.binary())
    text = pa.Array.from_buffers(pa.string(), 1, column.buffers())
    pa.parquet.write_table(pa.table({"file": text}), tmp_path / "m.parquet")
    with pytest.raises(SeehearError, match="is no Parquet file that can be read"):
        list(read_manifest(tmp_path / "m.parquet"))


def test_a_pipe_in_a_folder_is_set_aside_at_once(tmp_path):
    media = tmp_path / "media"
    media.mkdir()
    sound(media / "a.wav", seconds=0.2, rate=8000)
    os.mkfifo(media / "pipe.wav")
    report = prepare(media, tmp_path / "lib", PrepareOptions(workers=1, time_limit=60.0))
    assert report.clips == 1
    assert [reject.reason for reject in LibraryTables.open(tmp_path / "lib").rejects()] == ["is no regular file"]
    assert Path(media / "pipe.wav").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dim": 10**9}, "does not fit its config.json"),
        ({"widths": {"video": 10**12, "text": 16}}, "describes no fusemix model"),
        ({"dim": "wide"}, "describes no fusemix model"),
    ],
)
def test_a_model_needs_no_more_memory_than_its_file_has(tmp_path, change, said):
    method = FuseMix(FuseMixConfig(widths={"video": 4, "text": 3}, dim=4, depth=1))
    save_model(tmp_path, method, {})
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"config": config["config"] | change}))
    with pytest.raises(SeehearError, match=said):
        SharedSpace.from_pretrained(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", '{"method": 1, "config": 2, "encoders": 3}'])
def test_settings_of_a_model_that_are_none(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(SeehearError, match=r"config\.json"):
        SharedSpace.from_pretrained(tmp_path)
