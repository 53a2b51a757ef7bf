import pytest

from seehear.encoders import registry
from seehear.runs.evaluate import EvaluateOptions, evaluate_run
from tests.report import world


@pytest.fixture(autouse=True)
def encoder(monkeypatch):
    monkeypatch.setattr(registry, "load_encoder", lambda name, *, modality=None, device="auto": world.Says())


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    """(library, run, its evaluation)"""
    folder = tmp_path_factory.mktemp("report")
    library = world.make_library(folder)
    run = world.train(library, folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "load_encoder", lambda name, *, modality=None, device="auto": world.Says())
        report = evaluate_run(run, library, EvaluateOptions(), device="cpu", command="seehear evaluate 'a <run>'")
    return library, run, report
