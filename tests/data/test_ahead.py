import threading
import time
from itertools import chain

import pytest

from seehear.data.ahead import drawn_ahead


def numbers(count, drawn, closed=None):
    try:
        for n in range(count):
            drawn.append(n)
            yield n
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


def flat(batches):
    return list(chain.from_iterable(batches))


def test_all_in_order_and_in_batches_of_half_the_room():
    drawn = []
    with drawn_ahead(numbers(50, drawn), room=8) as batches:
        taken = [batch for batch in batches if batch]
    assert flat(taken) == drawn == list(range(50))
    assert max(map(len, taken)) <= 4


def test_draws_while_the_consumer_works_but_not_without_end():
    drawn = []
    with drawn_ahead(numbers(1000, drawn), room=6) as batches:
        first = next(batch for batch in batches if batch)
        time.sleep(0.3)
        assert len(first) < len(drawn) <= len(first) + 6 + 1


def test_errors_reach_the_consumer_after_what_came_before():
    def broken():
        yield 1
        raise KeyError("no more")

    taken = []
    with drawn_ahead(broken(), room=4) as batches, pytest.raises(KeyError, match="no more"):
        taken.extend(batches)
    assert flat(taken) == [1]


def test_leaving_early_closes_the_source_in_its_own_thread():
    drawn, closed = [], []
    with drawn_ahead(numbers(1000, drawn, closed), room=4) as batches:
        next(batches)
    assert len(closed) == 1
    assert closed[0] != threading.main_thread().name


def test_slow_source_yields_empty_batches_so_that_time_is_seen():
    def slow():
        time.sleep(0.7)
        yield 1

    with drawn_ahead(slow(), room=4) as batches:
        taken = list(batches)
    assert [] in taken
    assert flat(taken) == [1]
