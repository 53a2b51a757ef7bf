"""A study goes on where it stopped, measures no cell twice, and mixes no two sorts of data."""

from __future__ import annotations

import json
import math
import os
import signal
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seehear.errors import SeehearError
from seehear.progress import Interrupted
from seehear.studies.grid import cell_key, run_grid
from tests.faults.outcome import Command

CELLS = [{"pairs": n, "seed": seed} for n in (10, 20) for seed in (0, 1)]


class Counting:
    """What was asked for, and an answer that says it."""

    def __init__(self, fail=()):
        self.asked, self.fail = [], fail

    def __call__(self, cell):
        self.asked.append((cell["pairs"], cell["seed"]))
        if (cell["pairs"], cell["seed"]) in self.fail:
            raise SeehearError("too few pairs")
        return {"recall": cell["pairs"] / 100 + cell["seed"], "none": math.nan}


def test_results_come_in_the_order_of_the_cells_and_none_is_measured_twice(tmp_path):
    first, second = Counting(), Counting()
    half = run_grid(tmp_path, CELLS[2:], first, about={"data": "a"})
    whole = run_grid(tmp_path, CELLS, second, about={"data": "a"})
    assert [r.cell for r in whole] == CELLS
    assert second.asked == [(10, 0), (10, 1)]
    assert [r.values["recall"] for r in whole] == [0.1, 1.1, 0.2, 1.2]
    assert math.isnan(whole[3].values["none"])
    assert whole[2].values["recall"] == half[0].values["recall"]


def test_cells_of_other_data_are_refused_with_the_setting_or_measured_anew(tmp_path, capsys):
    run_grid(tmp_path, CELLS[:2], Counting(), about={"data": {"revision": "a"}, "k": 10})
    other = {"data": {"revision": "b"}, "k": 10}
    with pytest.raises(SeehearError, match=r'data.revision = "a", now it is "b": .*--redo'):
        run_grid(tmp_path, CELLS[:2], Counting(), about=other)
    again = Counting()
    run_grid(tmp_path, CELLS[:2], again, about=other, redo=True)
    assert len(again.asked) == 2
    assert "measured again" in capsys.readouterr().err
    run_grid(tmp_path, CELLS[:2], again, about=other)
    assert len(again.asked) == 2


def test_a_cell_that_fails_is_set_aside_counted_and_tried_again(tmp_path, capsys):
    found = run_grid(tmp_path, CELLS, Counting(fail={(10, 1)}), about={})
    assert [r.error for r in found] == ["", "too few pairs", "", ""]
    assert found[1].values == {}
    assert "1 of 4 cells could not be measured" in capsys.readouterr().err
    reason = json.loads(next((tmp_path / "failed").iterdir()).read_text())
    assert (reason["cell"], reason["error"]) == (CELLS[1], "too few pairs")
    mended = Counting()
    assert run_grid(tmp_path, CELLS, mended, about={})[1].values["recall"] == 1.1
    assert mended.asked == [(10, 1)]
    assert not list((tmp_path / "failed").iterdir())


def test_a_bug_in_a_cell_is_no_failed_cell_and_loses_that_cell_only(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run_grid(tmp_path, CELLS, lambda cell: {"x": 1 / (cell["pairs"] - 20)}, about={})
    rest = Counting()
    assert not any(r.error for r in run_grid(tmp_path, CELLS, rest, about={}))
    assert rest.asked == [(20, 0), (20, 1)]


def test_a_broken_cell_is_measured_again(tmp_path, capsys):
    run_grid(tmp_path, CELLS, Counting(), about={})
    broken = tmp_path / "cells" / f"{cell_key(CELLS[0])}.json"
    broken.write_text(broken.read_text()[:40])
    again = Counting()
    run_grid(tmp_path, CELLS, again, about={})
    assert again.asked == [(10, 0)]
    assert "is not a cell" in capsys.readouterr().err


def test_the_same_cell_twice_is_a_mistake(tmp_path):
    with pytest.raises(ValueError, match="twice"):
        run_grid(tmp_path, [CELLS[0], CELLS[0]], Counting(), about={})


def test_what_cells_do_is_hushed_unless_asked_for(tmp_path, capsys):
    from seehear.progress import say

    def talks(cell):
        say("inside")
        return {"x": 1.0}

    run_grid(tmp_path / "a", CELLS[:1], talks, about={})
    assert "inside" not in (err := capsys.readouterr().err)
    assert "cell 1 of 1 (pairs 10, seed 0)" in err
    run_grid(tmp_path / "b", CELLS[:1], talks, about={}, verbose=True)
    assert "inside" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_study_after_its_cell(tmp_path, number):
    def signalled(cell):
        os.kill(os.getpid(), number)
        return {"x": float(cell["seed"])}

    with pytest.raises(Interrupted, match="3 cells left"):
        run_grid(tmp_path, CELLS, signalled, about={})
    assert len(list((tmp_path / "cells").glob("*.json"))) == 1
    rest = Counting()
    assert len(run_grid(tmp_path, CELLS, rest, about={})) == 4
    assert rest.asked == [(10, 1), (20, 0), (20, 1)]


def test_an_interrupted_training_inside_a_cell_is_no_failed_cell(tmp_path):
    def interrupted(cell):
        raise Interrupted("saved, go on with --resume")

    with pytest.raises(Interrupted, match="run the same command again to continue"):
        run_grid(tmp_path, CELLS, interrupted, about={})
    assert not list((tmp_path / "failed").iterdir())


def squares(folder: Path, die: bool) -> list[float]:
    def run(cell):
        if cell["n"] == 2 and die:
            os.kill(os.getpid(), signal.SIGKILL)
        print(cell["n"], flush=True)
        return {"x": cell["n"] ** 2}

    return [r.values["x"] for r in run_grid(folder, [{"n": n} for n in range(5)], run, about={})]


@pytest.mark.slow  # starts a process; an exception in the middle of a cell is above
def test_kill_minus_9_in_the_middle_of_a_cell_loses_that_cell_only(tmp_path, capsys):
    killed = Command(partial(squares, tmp_path, True)).ended()
    assert (killed.status, killed.out.split()) == (-signal.SIGKILL, ["0", "1"])
    assert squares(tmp_path, die=False) == [0.0, 1.0, 4.0, 9.0, 16.0]
    assert capsys.readouterr().out.split() == ["2", "3", "4"]


plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=30))
cells = st.dictionaries(st.text(max_size=12), plain, max_size=5)


@given(cells, cells)
@settings(max_examples=60)
def test_keys_are_file_names_and_tell_cells_apart(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (cell_key(one) == cell_key(other)) == same
    assert set(cell_key(one)) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789=.+-")
    assert len(cell_key(one)) < 120


def test_the_order_of_settings_does_not_matter_for_what_a_cell_is(tmp_path):
    run_grid(tmp_path, [{"a": 1, "b": 2}], lambda cell: {"x": 1.0}, about={})
    again = Counting()
    assert run_grid(tmp_path, [{"b": 2, "a": 1}], again, about={})[0].values == {"x": 1.0}
