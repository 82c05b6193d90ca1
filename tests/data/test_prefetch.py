from __future__ import annotations

import threading

import pytest

from harness.data.prefetch import prefetch


def test_all_come_in_order():
    assert list(prefetch(range(50))) == list(range(50))
    assert list(prefetch([])) == []
    assert list(prefetch([None, 0, ""])) == [None, 0, ""]


def test_the_next_is_made_while_one_is_used():
    made = [threading.Event() for _ in range(3)]

    def batches():
        for number, event in enumerate(made):
            event.set()
            yield number

    coming = prefetch(batches())
    assert next(coming) == 0
    assert made[1].wait(timeout=10)
    assert not made[2].wait(timeout=0.05), "more than one batch ahead fills the memory"
    assert list(coming) == [1, 2]


def test_an_error_reaches_whoever_asks():
    def batches():
        yield 1
        raise OSError("the disk is gone")

    coming = prefetch(batches())
    assert next(coming) == 1
    with pytest.raises(OSError, match="the disk is gone"):
        next(coming)


def test_who_stops_early_leaves_no_thread():
    before = threading.active_count()
    coming = prefetch(range(100))
    next(coming)
    coming.close()
    assert threading.active_count() == before
