"""Runs of DiffMAViL: batches of the sheet's table (section 5.2), a ratio an epoch, the arms."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from seehear.errors import SeehearError
from seehear.methods.diffmavil import Batches, Curriculum, DiffMAViLConfig
from seehear.methods.mavil_config import SIDES, FastPaths
from seehear.methods.mavil_cost import training
from seehear.recipes import diffmavil, mavil

ROOT = Path(__file__).parents[2]
PLAIN = FastPaths(visible_only=False, joined_views=False, needed_only=False)
"""As the sheet counts: all patches embedded, all tokens decoded."""
TABLES = {
    (0.9, 0.8): ((704, 704, *[640] * 5, *[576] * 5, *[512] * 8), 69_913),
    (0.95, 0.8): ((896, 832, 832, 768, 768, *[704] * 3, *[640] * 3, *[576] * 4, *[512] * 5), 63_559),
    (0.95, 0.85): ((896, *[832] * 3, *[768] * 3, *[704] * 4, *[640] * 5, *[576] * 4), 58_126),
}


def config(start, end, **options):
    return DiffMAViLConfig(fast=PLAIN, curriculum=Curriculum(start=start, end=end), batches=Batches(**options))


def scheduled(run):
    return run.method.scheduled(run)


def with_(run, **changes):
    return replace(run, method=replace(run.method, **changes))


@pytest.mark.parametrize(("ends", "batches", "steps"), [(k, *v) for k, v in TABLES.items()])
def test_batches_and_steps_of_the_sheet(ends, batches, steps):
    assert config(*ends, follow="compute").batch_sizes(512) == batches
    assert sum(2_000_000 // rows for rows in batches) == steps


def test_batches_of_eight_processes():
    rows = config(0.95, 0.8, follow="compute", multiple=8).batch_sizes(64)
    assert [rows[e] for e in (0, 5, 10, 15, 19)] == [112, 88, 80, 64, 64]


def test_memory_grows_slower_than_compute_falls():
    memory = config(0.95, 0.8, follow="memory", multiple=1).batch_sizes(512)
    compute = config(0.95, 0.8, follow="compute", multiple=1).batch_sizes(512)
    assert (memory[0], memory[-1]) == (780, 512)
    assert all(m <= c for m, c in zip(memory, compute, strict=True))


def test_a_run_as_it_is_trained():
    run = diffmavil.base()
    made = scheduled(replace(run, train=replace(run.train, epochs=5)))
    assert made.method.curriculum.parts == 5
    assert len(made.train.batch_size) == 5
    assert made.train.batch_size[-1] == 512
    assert list(made.train.batch_size) == sorted(made.train.batch_size, reverse=True)
    assert scheduled(made) == made
    fixed = scheduled(with_(run, curriculum=Curriculum(start=0.9, shape="constant")))
    assert set(fixed.method.curriculum.ratios()) == {0.9}
    back = scheduled(replace(run, method=replace(run.method, curriculum=Curriculum(reverse=True))))
    assert back.train.batch_size == scheduled(run).train.batch_size[::-1]


def test_batches_that_cannot_follow():
    run = diffmavil.base()
    every_step = replace(run.method, curriculum=Curriculum(parts=0))
    for wrong in (replace(run, method=every_step), replace(run, train=replace(run.train, steps=100))):
        with pytest.raises(SeehearError, match="one an epoch"):
            scheduled(wrong)


def test_recipes_are_those_of_mavil_but_for_the_ingredients():
    for name in ("tiny", "small", "base"):
        plain, run = getattr(mavil, name)(), getattr(diffmavil, name)()
        assert run.recipe == f"diffmavil.{name}"
        assert (run.data, run.optim, run.train) == (plain.data, plain.optim, plain.train)
        assert run.method.decoders == {"video": "cross", "audio": "joint"}
        assert (run.method.size, run.method.decoder) == (plain.method.size, plain.method.decoder)


def test_every_arm_can_be_run(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    arms = importlib.import_module("mavil_arms").ARMS
    for changes in arms.values():
        scheduled(with_(diffmavil.tiny(), **changes))
    only = with_(diffmavil.tiny(), **arms["cross"]).method
    assert (only.diffuse, only.decoders["video"], set(only.curriculum.ratios())) == ((), "cross", {0.8})
    assert with_(diffmavil.tiny(), **arms["diffused"]).method.decoders == dict.fromkeys(SIDES, "joint")


def test_lean_costs_less_than_half_of_mavil_and_hides_as_much():
    plain, run = mavil.small(), scheduled(diffmavil.lean())
    method = run.method.reading(run.data.raw)
    assert (run.recipe, run.data, run.optim, run.train) == ("diffmavil.lean", plain.data, plain.optim, plain.train)
    assert set(method.curriculum.ratios()) == set(plain.method.masking.values()) == {0.8}
    cost = sum(training(method, 0.8).values())
    assert cost < 0.5 * sum(training(plain.method.reading(plain.data.raw), 0.8).values())


def test_the_rate_follows_the_batch_where_batches_follow_the_ratio():
    tiny = diffmavil.tiny()
    run = scheduled(with_(tiny, batches=replace(tiny.method.batches, follow="compute")))
    assert run.optim.lr_rows == diffmavil.tiny().train.batch_size
    assert run.train.batch_size[0] > run.train.batch_size[-1]
    assert all(rows % 8 == 0 for rows in run.train.batch_size)
    assert scheduled(diffmavil.tiny()).optim.lr_rows is None
    assert scheduled(diffmavil.base()).optim.lr_rows == 512
