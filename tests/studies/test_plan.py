"""What a run would cost: from the library it is meant for, on this machine, and in words."""

from __future__ import annotations

import json
from dataclasses import replace
from multiprocessing import active_children
from types import SimpleNamespace

import numpy as np
import pytest

from seehear.commands.parsing import Printed
from seehear.errors import SeehearError
from seehear.library.tables import LibraryTables
from seehear.methods.diffmavil import Batches, Curriculum, DiffMAViLConfig
from seehear.methods.mavil_config import MAViLConfig
from seehear.methods.mavil_cost import mean
from seehear.nn.transformer import Size
from seehear.progress import StopRequest
from seehear.runs.config import MediaConfig, Run, recipe, recipes
from seehear.runs.run import build, train_run
from seehear.studies import estimate
from seehear.studies import plan as planning
from seehear.studies.estimate import CostEstimate, estimates
from seehear.studies.plan import CostPlan, PlanOptions, duration, plan
from seehear.train.config import TrainConfig
from tests.faults.outcome import fork_server
from tests.inputs.raw_library import PLAIN, clip, library
from tests.library.makers import film
from tests.studies.worlds import films_with_texts

WIDTHS = {"video": 12, "text": 16}


@pytest.fixture(scope="module")
def latents(tmp_path_factory):
    """80 clips without media, latents of two modalities; 60 to train on."""
    rng = np.random.default_rng(0)
    video, text = (rng.normal(size=(80, WIDTHS[m])).astype(np.float16) for m in ("video", "text"))
    return films_with_texts(tmp_path_factory.mktemp("latents") / "lib", video, text)


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Seven films of 4 s, five of them to train on; no texts."""
    folder = tmp_path_factory.mktemp("films")
    names = [f"film{n}" for n in range(7)]
    for n, name in enumerate(names):
        film(folder / f"{name}.mp4", gop=100, colours=n % 2 == 0)
    splits = ["train"] * 5 + ["val"] * 2
    return library(folder, folder, [clip(name, split=split) for name, split in zip(names, splits, strict=True)])


def masked(**options) -> Run:
    size, decoder = (Size(layers=1, width=32, hidden=128, heads=2) for _ in range(2))
    method = options.pop("method", MAViLConfig)(
        size=size, decoder=decoder, fusion_layers=1, patch=(2, 8, 8), mel_bands=32, **options
    )
    train = TrainConfig(epochs=4, batch_size=4, workers=0, evaluations=2, device="cpu")
    raw = replace(PLAIN, modalities=("video", "audio"), rate=16_000, size=32)
    return Run(recipe="masked", method=method, data=MediaConfig(raw=raw), train=train)


def best(made: LibraryTables, run, **options) -> CostEstimate:
    return list(estimates(made, run, **({"steps": 3, "seconds": 60.0} | options)))[-1]


def small(name: str = "fusemix"):
    run = recipe(name)
    return replace(run, method=replace(run.method, dim=8), train=replace(run.train, device="cpu", epochs=20))


# -- one run ----------------------------------------------------------------------------------------------------------


def test_latents_are_measured_in_whole_batches(latents):
    found = list(estimates(latents, small(), steps=3, seconds=60))
    assert [e.how for e in found] == ["", "estimated", "scaled", "measured", "measured"]
    last = found[-1]
    assert (last.clips, last.rows, last.steps, last.measured_steps) == (60, 60, 20, 3)
    assert last.flops == pytest.approx(last.flops_step * 20)
    assert last.seconds > last.step_seconds * 20
    assert last.seconds > found[-2].seconds  # with its evaluations
    assert 0 < last.bytes < last.free_bytes
    assert last.fits


def test_media_are_first_tried_with_two_clips(films):
    found = list(estimates(films, masked(), steps=3, seconds=60))
    assert [e.how for e in found] == ["", "estimated", "scaled", "measured", "measured"]
    assert [e.measured_rows for e in found] == [0, 2, 2, 4, 4]
    assert (found[-1].clips, found[-1].steps, found[-1].rows) == (5, 4, 4)


def test_as_many_steps_are_foretold_as_training_takes(films, tmp_path):
    run = masked()
    done = train_run(films, run, tmp_path / "run")
    assert done.steps == next(estimates(films, run, steps=3, seconds=60)).steps


def test_operations_are_those_of_the_curriculum(films):
    """A ratio an epoch, from much hidden to little: the closed form's mean over the run, contrasts beside it."""
    curriculum = Curriculum(start=0.9, end=0.6)
    run = masked(method=DiffMAViLConfig, curriculum=curriculum)
    found = best(films, run)
    config = build(run.data.load(films, run.method), run.method.scheduled(run)).config
    ratios = replace(curriculum, parts=4).ratios()
    exact = 2 * mean(config, ratios, samples=run.data.raw.samples)
    assert found.flops_step / found.rows == pytest.approx(exact, rel=0.03)
    constant = best(films, masked(method=DiffMAViLConfig, curriculum=replace(curriculum, shape="constant")))
    assert found.flops > 1.1 * constant.flops


def test_batches_that_follow_the_ratio_count_as_they_are(films):
    batches = Batches(follow="compute", multiple=1)
    run = masked(method=DiffMAViLConfig, curriculum=Curriculum(start=0.8, end=0.7), batches=batches)
    run = replace(run, train=replace(run.train, batch_size=4))
    sizes = run.method.scheduled(run).train.batch_size
    assert len(sizes) == 4
    assert max(sizes) > min(sizes)
    found = best(films, run)
    whole = [min(size, 5) for size in sizes]
    assert found.steps == sum(5 // rows for rows in whole)
    assert found.rows == pytest.approx(sum(5 // rows * rows for rows in whole) / found.steps)


def test_a_batch_too_dear_for_the_time_is_made_smaller(films):
    found = best(films, replace(masked(), train=replace(masked().train, batch_size=5)), seconds=0.001)
    assert (found.how, found.measured_rows, found.measured_steps) == ("scaled", 2, 1)
    assert found.rows == 5


def test_with_a_cache_only_the_first_pass_decodes(films, tmp_path, monkeypatch):
    run = replace(masked(), data=masked().data.cached_in(tmp_path / "cache"))
    rehearsals = []
    monkeypatch.setattr(estimate, "rehearse", lambda *a, **k: rehearsals.append(k) or real(*a, **k))
    best(films, run)
    assert len(rehearsals) == 3
    assert any((tmp_path / "cache").iterdir())


real = estimate.rehearse


def test_weights_that_do_not_fit_are_said_before_a_step(films, monkeypatch):
    monkeypatch.setattr(estimate, "available_bytes", lambda device: 1000)
    found = list(estimates(films, masked(), steps=3, seconds=60))
    assert len(found) == 1
    assert "weights, gradients and optimiser alone need 0.0 GB" in found[0].why_not
    assert not found[0].fits


def test_what_the_library_lacks_is_an_error_in_one_line(films, latents):
    with pytest.raises(SeehearError, match="no latents yet: run 'seehear encode"):
        best(films, small())
    with pytest.raises(SeehearError, match="a window of 40 s is asked for"):
        best(films, replace(masked(), data=MediaConfig(raw=replace(masked().data.raw, fps=0.1, frames=4))))
    with pytest.raises(SeehearError):
        best(latents, masked())


# -- all of them, each in a process ------------------------------------------------------------------------------------


@pytest.fixture
def forked(monkeypatch):
    """Processes that do not import everything again, as spawned ones do."""
    server = fork_server()
    monkeypatch.setattr(planning.multiprocessing, "get_context", lambda how: server)


def test_a_plan_of_a_library(latents, capsys, forked):
    """mcn.tiny and fusemix run on latents; there are no media for MAViL."""
    found = plan(latents, PlanOptions(recipes=("mcn.tiny", "mavil.tiny"), steps_measured=2, seconds=300))
    assert [e.recipe for e in found.recipes] == ["mcn.tiny", "mavil.tiny"]
    assert found.recipes[0].how == "measured"
    assert found.recipes[1].why_not
    said = str(found)
    assert "start with mcn.tiny: " in said
    assert f"mavil.tiny: {found.recipes[1].why_not}" in said
    assert "'seehear train' trains nothing: " in said
    assert said.endswith(f"next: seehear index {latents.uri}")
    Printed(json=True).show(found)
    plain = json.loads(capsys.readouterr().out)
    assert plain["recipes"][0]["fits"] is True
    assert plain["recommendation"] == found.recommendation()
    assert not active_children()


def test_it_can_be_interrupted(latents):
    asked = StopRequest()
    asked.name = "SIGINT"
    planning._tried(latents.uri, recipe("fusemix"), 20, 60.0, asked, fork_server())
    assert not active_children()


def test_what_takes_too_long_is_ended(latents, monkeypatch):
    monkeypatch.setattr(planning, "LATE", -0.2)
    found = planning._tried(latents.uri, recipe("fusemix"), 20, 0.3, StopRequest(), fork_server())
    assert found.why_not == "not a step in 0 s: use more --seconds, or fewer --recipes"
    assert not active_children()


def test_the_recipes_share_the_time_and_what_is_left_goes_to_the_next(monkeypatch):
    """With a clock that a recipe moves: ten seconds for five recipes, of which the first two take one each."""
    now, given = [100.0], []

    def tried(uri, run, steps, seconds, stop, server):
        given.append(round(seconds, 2))
        now[0] += min(seconds, 1.0 if len(given) < 3 else 60.0)
        return one(run.recipe, 1.0) if seconds > 0 else real_tried(uri, run, steps, seconds, stop, server)

    real_tried = planning._tried
    monkeypatch.setattr(planning, "_tried", tried)
    monkeypatch.setattr(planning, "_server", lambda stop: None)
    monkeypatch.setattr(planning, "choose", lambda library: planning.Choice("mcn", "words"))
    monkeypatch.setattr(planning, "time", SimpleNamespace(monotonic=lambda: now[0]))
    names = ("fusemix", "fusemix.bind", "mcn", "mcn.tiny", "mcn.paper")
    found = planning.plan(SimpleNamespace(uri="lib"), PlanOptions(recipes=names, seconds=10.0))
    assert given == [10.0, 9.0, 8.0, 0.0, 0.0]  # all of it for what is taken
    order = ["fusemix.base", "fusemix.bind", "mcn.base", "mcn.tiny", "mcn.paper"]
    assert [e.recipe for e in found.recipes] == order
    assert [e.unmeasured for e in found.recipes] == [False, False, False, True, True]  # mcn.base was tried first
    assert "mcn.tiny, mcn.paper: not measured, the time was over: use more --seconds" in str(found)


def test_a_run_of_two_names_is_tried_once(monkeypatch):
    tried = []
    monkeypatch.setattr(planning, "_tried", lambda uri, run, *rest: tried.append(run.recipe) or one(run.recipe, 9.0))
    monkeypatch.setattr(planning, "_server", lambda stop: None)
    monkeypatch.setattr(planning, "choose", lambda library: planning.Choice("", ""))
    names = ("vatt.medium", "vatt.paper", "vatt.base")
    found = planning.plan(SimpleNamespace(uri="lib"), PlanOptions(recipes=names))
    assert tried == ["vatt.medium", "vatt.base"]
    assert [(e.recipe, e.seconds) for e in found.recipes] == [(name, 9.0) for name in names]


def test_options_that_cannot_be():
    with pytest.raises(SeehearError, match="must be positive"):
        PlanOptions(seconds=0)
    with pytest.raises(SeehearError, match="unknown recipe"):
        plan(None, PlanOptions(recipes=("fusemx",)))


# -- words -------------------------------------------------------------------------------------------------------------


def one(name: str, seconds: float, **options) -> CostEstimate:
    known = {"how": "measured", "parameters": 10**6, "bytes": 1e9, "free_bytes": 10**10, "measured_steps": 20}
    return CostEstimate(recipe=name, seconds=seconds, **(known | options))


def advice(*recipes: CostEstimate, **options) -> str:
    return CostPlan(library="lib", machine="CPU, 2 cores", recipes=list(recipes), **options).recommendation()


def test_advice_in_plain_words():
    found = advice(one("fusemix.base", 120), one("mcn.base", 30), one("vatt.tiny", 840), one("diffmavil.base", 1.05e7))
    assert found == (
        "On this machine (CPU, 2 cores) start with fusemix.base: 2 min. Then mcn.base: 30 s, vatt.tiny: 14 min. "
        "diffmavil.base would take 4.0 months."
    )


def test_advice_names_what_keeps_a_recipe_from_running():
    large = one("mavil.base", 100, bytes=4e10)
    assert "needs 40 GB of memory, and 10 are free" in advice(large)
    assert "nothing is done within a day" in advice(one("vatt.paper", 1e9))
    assert "Nothing can be trained" in advice(CostEstimate(recipe="mcn", why_not="no latents"))
    assert "vatt.tiny waits for clips to be decoded" in advice(one("vatt.tiny", 840, waiting=0.6))
    assert "Nothing was measured in the time" in advice(CostEstimate(recipe="mcn", why_not="late", unmeasured=True))
    assert "Interrupted" in advice(one("mcn", 1), stopped=True)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (40, "40 s"),
        (0.2, "0 s"),
        (89, "89 s"),
        (120, "2 min"),
        (5400, "1.5 h"),
        (86_400 * 3, "3.0 days"),
        (1e9, "32 years"),
    ],
)
def test_durations(seconds, said):
    assert duration(seconds) == said


def test_every_recipe_says_what_it_is():
    assert {make().recipe for make in recipes().values()} <= set(recipes())


def test_operations_of_a_run_are_the_integral_over_it(latents, monkeypatch):
    """Simpson's rule is exact up to cubes: 1 + p + p^3 over [0, 1] is 1.75."""
    monkeypatch.setattr(estimate, "forward_flops", lambda *_, progress: 60 * (1 + progress + progress**3))
    _, forward, *_ = estimates(latents, small(), steps=1, seconds=60)
    clips = forward.rows * forward.steps
    assert forward.measured_rows == 60
    assert forward.flops == pytest.approx(3 * 1.75 * clips, rel=1e-3)
    assert forward.flops_step == pytest.approx(3 * 1.75 * forward.rows, rel=1e-3)
