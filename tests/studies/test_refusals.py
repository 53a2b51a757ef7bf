"""What a study cannot measure, it says before the first cell."""

import numpy as np
import pytest

from seehear.errors import SeehearError
from seehear.inputs.latents import LatentData
from seehear.studies import encoders, learning, selection
from seehear.studies.encoders import EncoderStudyOptions, encoder_pairs
from seehear.studies.learning import DataStudyOptions, learning_curve
from seehear.studies.selection import SelectionStudyOptions, selection_study


def latents(**clips):
    """So many clips of every split, with pictures and words."""
    splits = [split for split, n in clips.items() for _ in range(n)]
    rows = np.random.default_rng(0).normal(size=(len(splits), 4))
    return LatentData.from_arrays({"video": rows, "text": rows}, splits=splits, groups=np.arange(len(splits)))


@pytest.fixture(autouse=True)
def no_cell(monkeypatch):
    for study in (encoders, learning, selection):
        monkeypatch.setattr(study, "run_grid", lambda *_, **__: pytest.fail("a cell was measured"))


STUDIES = {
    "data": lambda data, folder: learning_curve(data, folder, DataStudyOptions(sizes=(10, 20, 30))),
    "encoders": lambda data, folder: encoder_pairs(data, folder, EncoderStudyOptions(check=True)),
    "selection": lambda data, folder: selection_study(None, folder, SelectionStudyOptions()),
}


@pytest.mark.parametrize("study", STUDIES)
@pytest.mark.parametrize("clips", [{"train": 40, "val": 1, "test": 9}, {"train": 40, "val": 9}])
def test_without_clips_to_measure_on(tmp_path, monkeypatch, study, clips):
    data = latents(**clips)
    monkeypatch.setattr(selection, "latents_of", lambda *_: data)
    with pytest.raises(SeehearError, match="two clips with latents of two modalities in every split; train has 40"):
        STUDIES[study](data, tmp_path)


def test_a_selection_among_few_clips(tmp_path, monkeypatch):
    monkeypatch.setattr(selection, "latents_of", lambda *_: latents(train=8, val=4, test=4))
    with pytest.raises(SeehearError, match="the study needs 16 training clips with two modalities"):
        selection_study(None, tmp_path, SelectionStudyOptions())
