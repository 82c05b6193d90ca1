"""Reading the next batch while the last one is being computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def read_ahead(batches: Iterable[T]) -> Iterator[T]:
    """The same ``batches``, each made in a thread of its own while the one before it is used.

    HDF5 and NumPy let go of Python's lock while they copy, so reading costs no time as long as it
    is faster than what is done with the batches.
    """
    coming, end = iter(batches), object()
    with ThreadPoolExecutor(max_workers=1) as pool:
        ahead = pool.submit(next, coming, end)
        while (batch := ahead.result()) is not end:
            ahead = pool.submit(next, coming, end)
            yield batch  # type: ignore[misc]
