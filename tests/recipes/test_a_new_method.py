"""What a new method takes: its file, its presets, and one line in the registry. Then it is trained, saved, read back,
planned and offered by the command line like any other."""

import sys
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from seehear.cli import main
from seehear.inputs.latents import LatentData
from seehear.methods import base as registry
from seehear.methods.base import Method, MethodConfig, seeded
from seehear.runs import config as presets
from seehear.runs import run as runs
from seehear.runs.config import LatentInputs, LatentsConfig, Run
from seehear.space import load_method
from seehear.train.config import TrainConfig
from seehear.types import StepOutput
from tests.runs.test_run import data

# -- seehear/methods/toy.py --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ToyConfig(MethodConfig):
    name: ClassVar = "toy"
    widths: dict[str, int] = field(default_factory=dict)
    dim: int = 8
    pairs: tuple = ()


class Toy(Method):
    """A linear map a modality; the matching clip is the right one of the batch."""

    name = "toy"
    config_type = ToyConfig

    def __init__(self, config):
        super().__init__()
        self.config, self.spaces = config, {"joint": tuple(config.widths)}
        self.heads = torch.nn.ModuleDict({m: torch.nn.Linear(d, config.dim) for m, d in config.widths.items()})

    def encode(self, batch, *, rng):
        return {m: batch[m] for m in self.config.widths}

    def objective(self, encoded, *, progress, rng):
        a, b = (F.normalize(z, dim=1) for z in self.place(encoded).values())
        return StepOutput(F.cross_entropy(10 * a @ b.T, torch.arange(len(a))))

    def place(self, features, space=None):
        return {m: self.heads[m](x) for m, x in features.items()}


# -- seehear/recipes/toy.py --------------------------------------------------------------------------------------------


def base():
    return Run(recipe="toy.base", method=ToyConfig(), data=LatentsConfig(), train=TrainConfig(epochs=30, batch_size=40))


def build(config, inputs: LatentInputs, *, seed, batch_size):
    widths = {m: sum(w) for m, w in inputs.clips.widths.items()}
    return seeded(Toy, replace(config, widths=widths), seed)


@pytest.fixture
def toy(monkeypatch):
    """As if the two files were there, and the one line."""
    for name, made in {"methods": {"Toy": Toy}, "recipes": {"PRESETS": {"base": base}, "build": build}}.items():
        module = ModuleType(f"seehear.{name}.toy")
        vars(module).update(made)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.METHODS, "toy", "toy.Toy")
    presets.recipes.cache_clear()
    yield
    presets.recipes.cache_clear()


def test_it_is_trained_saved_and_read_back(toy, tmp_path):
    clips: LatentData = data()
    run = presets.recipe("toy")
    result = runs.train_on(LatentInputs(clips), replace(run, train=replace(run.train, device="cpu")), tmp_path / "run")
    assert result.score > 0.4  # chance is 0.275: 0.05 at R@1, 0.5 at R@10
    method, config, inputs = load_method(tmp_path / "run")
    assert (method.name, config["training"]["recipe"], inputs) == ("toy", "toy.base", None)
    again = runs.validation_score(method.eval(), inputs=LatentInputs(clips), clips=LatentInputs(clips).validation)
    np.testing.assert_allclose(again["score"], result.score)


def test_the_command_line_offers_it(toy, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["train", "lib", "toy", "--help"])
    assert "--method.dim" in capsys.readouterr().out
