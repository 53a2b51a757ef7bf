"""A kill at any step of saving a model: the run goes on, and its model is whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from seehear.recipes.data import LatentInputs
from seehear.recipes.run import finish
from seehear.train.files import has_model, save_model
from tests.recipes.test_run import data, small
from tests.toy import Toy

ROOT = Path(__file__).parents[2]

KILLED = """
import os, sys
from pathlib import Path
from seehear.recipes import run as module
from seehear.train import files
from tests.recipes.test_run import data, small

steps, saving = int(sys.argv[2]), False

def counted(call):
    def step(*args, **options):
        global steps
        if saving:
            steps -= 1
            if steps == 0:
                os._exit(7)
        return call(*args, **options)
    return step

def save(*args, save=module.save_model, **options):
    global saving
    saving = True
    save(*args, **options)

module.save_model = save
for name in ("write_tensors", "write_text"):
    setattr(files, name, counted(getattr(files, name)))
os.replace = counted(os.replace)
module.finish(LatentInputs(data()), small(epochs=1, evaluations=1), Path(sys.argv[1]))
"""


def train(folder: Path, kill_at: int) -> int:
    words = [sys.executable, "-c", KILLED, str(folder), str(kill_at)]
    return subprocess.run(words, cwd=ROOT, capture_output=True).returncode


@pytest.mark.parametrize(  # before each of the three files, and before the folder's rename
    "step", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 5, 7))]
)
def test_a_run_killed_while_it_saves_its_model_is_completed(tmp_path, step):
    assert train(tmp_path / "run", step) == 7
    assert not (tmp_path / "run" / "model").exists()
    finish(LatentInputs(data()), small(epochs=1, evaluations=1), tmp_path / "run")
    assert has_model(tmp_path / "run" / "model")
    assert not (tmp_path / "run" / ".model.part").exists()


def test_a_model_saved_into_a_folder_keeps_its_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".part").mkdir()
    for _ in range(2):
        save_model(tmp_path, Toy(), {}, files={"words.json": "{}"})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"notes.txt", "words.json", "README.md", "config.json", "model.safetensors"}


def test_weights_alone_are_no_model(tmp_path):
    save_model(tmp_path, Toy(), {})
    (tmp_path / "config.json").unlink()
    assert not has_model(tmp_path)
