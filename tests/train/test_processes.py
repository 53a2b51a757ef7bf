"""Two real processes (gloo) do what one does. With torchrun itself: `test_torchrun.py`."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from seehear.train.files import Checkpoints
from tests.faults.outcome import Command
from tests.methods_under_test import METHODS
from tests.train.test_loop import CONFIG, losses
from tests.train.two_processes import collectives, gradient, main, trained

# One method of each kind: mixed rows that every process assembles, latents, clusters that are gathered, media, teacher.
KINDS = ("toy", "mixing", "fusemix", "mcn", "vatt", "mavil")
EACH = [name if name in KINDS else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]


class Pair:
    """What two processes did with some of the methods, in the environment that torchrun gives its processes."""

    def __init__(self, folder: Path, names: tuple[str, ...]):
        self.folder = folder
        store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port)}
        world["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # the ranks meet at our store, on a port that is free
        ranks = [Command(partial(main, folder, names), world | {"RANK": f"{r}", "LOCAL_RANK": f"{r}"}) for r in (0, 1)]
        for ended in [rank.ended() for rank in ranks]:
            assert ended.status == 0, ended.err[-4000:]
        self.ranks = [torch.load(folder / f"rank{r}.pt", weights_only=True) for r in range(2)]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("kinds"), KINDS)


@pytest.fixture(scope="module")
def others(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("others"), tuple(n for n in METHODS if n not in KINDS))


@pytest.fixture
def pair(name, request):
    """The two processes that ran a test's method."""
    return request.getfixturevalue("kinds" if name in KINDS else "others")


def test_gathered_rows_and_their_gradient(kinds):
    alone = collectives()
    for of_rank in kinds.ranks:
        for name, tensor in of_rank["collectives"].items():
            if name == "equal shares":
                assert tensor.tolist() == [[0.0], [0.0], [1.0], [1.0]]
            else:
                torch.testing.assert_close(tensor, alone[name], msg=lambda m, name=name: f"{name}: {m}")


@pytest.mark.parametrize("name", EACH)
def test_gradients_are_equal(pair, name):
    alone = gradient(name, None)
    for of_rank in pair.ranks:
        for micro_batch in (None, 4):
            both = of_rank["gradients"][name, micro_batch]
            assert both.keys() == alone.keys()
            for n in alone:
                torch.testing.assert_close(both[n], alone[n], rtol=1e-6, atol=1e-9, msg=lambda m, n=n: f"{n}: {m}")


@pytest.mark.parametrize("name", EACH)
def test_a_whole_run_is_equal(pair, name, tmp_path):
    parameters = trained(name, tmp_path / "one", CONFIG)
    assert losses(pair.folder / name) == pytest.approx(losses(tmp_path / "one"), rel=1e-9)
    for a, b, c in zip(parameters, *(of_rank["parameters"][name] for of_rank in pair.ranks), strict=True):
        assert torch.equal(b, c)  # the two processes end with the same weights to the bit
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)


def test_a_run_of_two_processes_goes_on_with_one(kinds, tmp_path):
    assert Checkpoints(kinds.folder / "half" / "checkpoints").steps() == [1, 2, 3, 4, 5]
    whole = trained("toy", tmp_path / "one", CONFIG)
    resumed = trained("toy", kinds.folder / "half", CONFIG, resume=True)
    assert losses(kinds.folder / "half") == pytest.approx(losses(tmp_path / "one"), rel=1e-9)
    for a, b in zip(whole, resumed, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-7, atol=1e-9)
