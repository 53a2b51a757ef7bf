import threading
from itertools import chain

import pytest

from seehear.library.workers import drawn_ahead

PATIENCE = 60.0  # seconds that the other thread has, on a busy machine


def numbers(count, drawn, closed=None, reached=None, at=0):
    """The numbers below `count`; `reached` is set when number `at` is drawn."""
    try:
        for n in range(count):
            drawn.append(n)
            if reached is not None and n == at:
                reached.set()
            yield n
    finally:
        if closed is not None:
            closed.append(threading.current_thread().name)


def flat(batches):
    return list(chain.from_iterable(batches))


def test_all_in_order_and_in_batches_of_half_the_room():
    drawn = []
    with drawn_ahead(lambda _: numbers(50, drawn), room=8) as batches:
        taken = [batch for batch in batches if batch]
    assert flat(taken) == drawn == list(range(50))
    assert max(map(len, taken)) <= 4


def test_draws_while_the_consumer_works_but_not_without_end():
    drawn, reached = [], threading.Event()
    with drawn_ahead(lambda _: numbers(1000, drawn, reached=reached, at=6), room=6) as batches:
        first = next(batch for batch in batches if batch)
        assert reached.wait(PATIENCE)  # the consumer takes nothing meanwhile
        assert len(first) < len(drawn) <= len(first) + 6 + 1


def test_errors_reach_the_consumer_after_what_came_before():
    def broken(_):
        yield 1
        raise KeyError("no more")

    taken = []
    with drawn_ahead(broken, room=4) as batches, pytest.raises(KeyError, match="no more"):
        taken.extend(batches)
    assert flat(taken) == [1]


def test_leaving_early_closes_the_source_in_its_own_thread():
    drawn, closed = [], []
    with drawn_ahead(lambda _: numbers(1000, drawn, closed), room=4) as batches:
        next(batches)
    assert len(closed) == 1
    assert closed[0] != threading.main_thread().name


def test_slow_source_yields_empty_batches_so_that_time_is_seen():
    asked = threading.Event()

    def slow(_):
        assert asked.wait(PATIENCE)
        yield 1

    taken = []
    with drawn_ahead(slow, room=4) as batches:
        for batch in batches:
            taken.append(batch)
            asked.set()  # after the first batch, which is empty: nothing can have been drawn
    assert taken[0] == []
    assert flat(taken) == [1]
