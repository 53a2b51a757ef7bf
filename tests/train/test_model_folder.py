"""A kill at any step of saving a model: the run goes on, and its model is whole."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from seehear.runs import run
from seehear.runs.config import LatentInputs
from seehear.train import files
from seehear.train.files import has_model, save_model
from tests.faults.outcome import Command
from tests.runs.test_run import data, small
from tests.toy import Toy


def killed(folder: Path, steps: int) -> int:
    """Trains, and dies before so many steps of saving the model."""
    saving = False

    def counted(call):
        def step(*args, **options):
            nonlocal steps
            steps -= saving
            if steps == 0:
                os._exit(7)
            return call(*args, **options)

        return step

    def save(*args, save=run.save_model, **options):
        nonlocal saving
        saving = True
        save(*args, **options)

    run.save_model = save
    for name in ("write_tensors", "write_text"):
        setattr(files, name, counted(getattr(files, name)))
    os.replace = counted(os.replace)
    run.finish(LatentInputs(data()), small(epochs=1, evaluations=1), folder)
    return 0


@pytest.mark.parametrize(  # before each of the three files, and before the folder's rename
    "step", [3, *(pytest.param(step, marks=pytest.mark.slow) for step in (1, 5, 7))]
)
def test_a_run_killed_while_it_saves_its_model_is_completed(tmp_path, step):
    assert Command(partial(killed, tmp_path / "run", step)).ended().status == 7
    assert not (tmp_path / "run" / "model").exists()
    run.finish(LatentInputs(data()), small(epochs=1, evaluations=1), tmp_path / "run")
    assert has_model(tmp_path / "run" / "model")
    assert not (tmp_path / "run" / ".model.part").exists()


def test_a_model_saved_into_a_folder_keeps_its_other_files(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".part").mkdir()
    for _ in range(2):
        save_model(tmp_path, Toy(), {}, files={"words.json": "{}"})
    names = {path.name for path in tmp_path.iterdir()}
    others = {"modules.json", "config_sentence_transformers.json"}  # sentence-transformers loads the folder by them
    assert names == others | {"notes.txt", "words.json", "README.md", "config.json", "model.safetensors"}


def test_weights_alone_are_no_model(tmp_path):
    save_model(tmp_path, Toy(), {})
    (tmp_path / "config.json").unlink()
    assert not has_model(tmp_path)
