"""Prefetching: the next batch is read while the last one is being computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetch(batches: Iterable[T]) -> Iterator[T]:
    """The same ``batches``, each made in a thread of its own while the one before it is used.

    HDF5 and NumPy let go of Python's lock while they copy, so reading costs no time as long as it
    is faster than what is done with the batches.
    """
    iterator, end = iter(batches), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, iterator, end)
        while (batch := following.result()) is not end:
            following = pool.submit(next, iterator, end)
            yield batch  # type: ignore[misc]
