"""Stopping trainings that other threads wait for."""

from __future__ import annotations

import threading
from weakref import WeakSet

from harness.execution.worker import Worker


class Stop:
    """Told once, it ends every worker that was shown to it, and lets no other begin."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._told = False
        self._workers: WeakSet[Worker] = WeakSet()

    def show(self, worker: Worker) -> None:
        """``worker`` has started."""
        with self._lock:
            self._workers.add(worker)
        self.check()

    def tell(self) -> None:
        """End them; may be called from any thread."""
        with self._lock:
            self._told = True
            workers = list(self._workers)
        for worker in workers:
            worker.abort()

    def check(self) -> None:
        """Go no further once it was told.

        Raises:
            KeyboardInterrupt: as in the thread that a person interrupts.
        """
        if self._told:
            raise KeyboardInterrupt
