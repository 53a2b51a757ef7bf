"""The order of samples: what it depends on, and what it leaves out."""

from __future__ import annotations

import multiprocessing
import os
import sys
from functools import partialmethod
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import dataloader

from seehear.errors import SeehearError
from seehear.inputs import loader as module
from seehear.inputs.loader import Loader, Sampling, batches_of_epoch
from tests.toy import Data, HeavyData


def loader(n: int = 10, **options):
    return Loader(Data(n), Sampling(**{"batch_size": 4, "seed": 1, "epochs": 3} | options))


def test_an_epoch_is_a_permutation_without_its_remainder():
    order = batches_of_epoch(torch.arange(10), 4, seed=0, epoch=0)
    assert order.shape == (2, 4)
    assert len(set(order.flatten().tolist())) == 8


def test_the_order_is_a_function_of_seed_and_epoch():
    def order(seed, epoch):
        return batches_of_epoch(torch.arange(50), 10, seed=seed, epoch=epoch).flatten().tolist()

    assert order(1, 2) == order(1, 2)
    assert len({tuple(order(s, e)) for s in range(3) for e in range(3)}) == 9
    assert order(0, 0)[:6] == [11, 30, 44, 32, 2, 9], "a change of order breaks the resumption of runs"


@given(
    sizes=st.lists(st.integers(1, 12), min_size=2, max_size=12),
    rows=st.integers(2, 8),
    epoch=st.integers(0, 5),
)
def test_distinct_groups(sizes, rows, epoch):
    """No group twice in a batch, no sample twice in an epoch, full batches."""
    groups = torch.repeat_interleave(torch.arange(len(sizes)) * 7, torch.tensor(sizes))
    rows = min(rows, len(sizes))
    order = batches_of_epoch(groups, rows, seed=0, epoch=epoch, distinct=True)
    assert order.shape[1] == rows
    assert len(order) >= 1
    assert len(set(order.flatten().tolist())) == order.numel()
    for batch in order:
        assert len(set(groups[batch].tolist())) == rows


def test_distinct_groups_use_nearly_all_where_they_can():
    groups = torch.arange(100) // 4
    order = batches_of_epoch(groups, 8, seed=0, epoch=0, distinct=True)
    assert order.shape == (12, 8)
    largest = torch.cat([torch.zeros(80, dtype=torch.int64), torch.arange(1, 21)])
    epochs = [batches_of_epoch(largest, 5, seed=0, epoch=e, distinct=True) for e in range(2)]
    assert all(e.shape == (5, 5) for e in epochs)
    ones = [{int(i) for i in e.flatten() if i < 80} for e in epochs]
    assert ones[0] != ones[1]  # another few of the large group each epoch


def test_a_run_can_start_at_any_step():
    data = [b["video"] for b in loader().batches()]
    assert len(data) == loader().steps == 6
    for start in range(6):
        for a, b in zip(loader().batches(start), data[start:], strict=True):
            assert torch.equal(a["video"], b)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_give_the_same_batches_in_order():
    here = list(Loader(HeavyData(13), Sampling(batch_size=5, seed=1, epochs=3)).batches(1))
    away = list(Loader(HeavyData(13), Sampling(batch_size=5, seed=1, epochs=3), workers=2).batches(1))
    assert len(here) == len(away) == 5
    for a, b in zip(here, away, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal tells of a death there")
def test_a_worker_that_dies_is_an_error_of_the_next_batch_only(monkeypatch):
    """A signal would raise it in whatever runs then: in a step, or while a checkpoint is written."""
    fetching = dataloader._MultiProcessingDataLoaderIter
    soon = partialmethod(fetching._try_get_data, 0.05)  # seconds between its looks at the workers, 5 as a rule
    monkeypatch.setattr(fetching, "_try_get_data", soon)
    others = set(multiprocessing.active_children())
    batches = Loader(HeavyData(64), Sampling(batch_size=1, seed=1, epochs=1), workers=1).batches(0)
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - others
    worker.kill()
    os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet known to be
    with pytest.raises(SeehearError, match=r"a process that loads batches died.*--resume"):
        list(batches)


def test_ranks_share_each_batch(monkeypatch):
    whole = [b["video"] for b in loader(n=11, batch_size=5).batches()]
    monkeypatch.setattr("seehear.distributed.world_size", lambda: 3)
    parts = []
    for rank in range(3):
        monkeypatch.setattr("seehear.distributed.rank", lambda rank=rank: rank)
        parts.append([b["video"] for b in loader(n=11, batch_size=5).batches()])
    for step, expected in enumerate(whole):
        assert torch.equal(torch.cat([p[step] for p in parts]), expected)


def test_more_ranks_than_rows(monkeypatch):
    monkeypatch.setattr("seehear.distributed.world_size", lambda: 8)
    with pytest.raises(SeehearError, match="batch of 4 rows cannot be cut over 8 processes"):
        loader()


def test_length_by_steps_and_by_epochs():
    assert loader(n=10, epochs=3).steps == 6
    assert loader(n=10, steps=5).steps == 5
    assert loader(n=10, steps=9).place(8).epoch == 4
    assert loader(n=3, epochs=2).steps == 2  # a set smaller than the batch
    assert loader(n=3, epochs=2).place(0).rows == 3


def test_even_batches():
    assert [len(b["group"]) for b in loader(n=7, batch_size=100, even=True, epochs=2).batches()] == [6, 6]
    assert [len(b["group"]) for b in loader(n=20, batch_size=5, even=True, epochs=1).batches()] == [4] * 5


def test_a_batch_size_for_each_epoch():
    """Progress counts epochs, so that a schedule over them does not depend on how many steps each has."""
    growing = loader(n=24, batch_size=(4, 6, 12))
    assert growing.steps == 6 + 4 + 2
    assert [len(b["group"]) for b in growing.batches()] == [4] * 6 + [6] * 4 + [12] * 2
    assert [growing.progress(s) for s in (0, 3, 6, 8, 10, 11, 12)] == pytest.approx(
        [0, 1 / 6, 1 / 3, 1 / 2, 2 / 3, 5 / 6, 1]
    )
    assert (growing.place(11).epoch, growing.place(11).within, growing.place(11).steps) == (2, 1, 2)


def test_progress_rises_from_0_to_1():
    for run in (loader(), loader(steps=7), loader(batch_size=(2, 3, 5))):
        values = [run.progress(s) for s in range(run.steps + 1)]
        assert (values[0], values[-1]) == (0.0, 1.0)
        assert all(a < b for a, b in pairwise(values))


def test_too_few_to_compare():
    with pytest.raises(SeehearError, match="two at least, here is 1 sample"):
        Loader(Data(1), Sampling(batch_size=4, seed=0))
    with pytest.raises(SeehearError, match="two at least, here is 1 source recording"):
        Loader(Data(6, per_group=6), Sampling(batch_size=4, seed=0, distinct_groups=True))


class Together(Data):
    together = 4


def together(n: int = 40, **options):
    data = Together(n, per_group=options.pop("per_group", 4))
    return Loader(data, Sampling(**{"batch_size": 12, "seed": 1, "epochs": 3} | options))


def test_samples_that_come_together():
    run = together()
    assert (run.steps, run.place(0).rows) == (9, 12)
    for epoch in range(3):
        lots = torch.cat([run.indices(3 * epoch + step) for step in range(3)]).view(9, 4)
        assert len(set(lots[:, 0].tolist())) == 9
        assert torch.equal(lots, lots[:, :1] + torch.arange(4))
        assert all(int(first) % 4 == 0 for first in lots[:, 0])
    assert together(n=8, batch_size=64).place(0).rows == 8
    assert together(even=True, batch_size=20).place(0).rows == 20


def test_a_batch_holds_whole_lots():
    with pytest.raises(
        SeehearError, match=r"the 4 training clips of a recording .* batch_size must be a multiple of 4, got 6"
    ):
        together(batch_size=(12, 6, 12))


def test_lots_of_different_recordings():
    """Two lots a recording: never both in a batch."""
    run = together(per_group=8, distinct_groups=True)
    assert run.steps > 0
    for step in range(run.steps):
        assert len(set((run.indices(step) // 8).tolist())) == 3
    with pytest.raises(SeehearError, match="two at least, here is 1 source recording"):
        together(n=8, per_group=8, distinct_groups=True)


def test_no_more_processes_than_processors_are_started(monkeypatch):
    """torch warns of more, into the middle of what a command prints."""
    monkeypatch.setattr(module, "cores", lambda: 1)
    started = []
    monkeypatch.setattr(module, "DataLoader", lambda *_, **options: started.append(options["num_workers"]) or [])
    data = Data(8)
    data.heavy = True
    list(module.in_order(data, rows=4, workers=12))
    assert started == [1]
