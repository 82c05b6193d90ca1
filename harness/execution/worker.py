"""One process for each framework run, and the handle that drives it from outside.

Why a process each: frameworks that share one can crash (LLVM symbols), share thread pools and
hide each other's memory. What crosses is NumPy arrays and plain data, over a socket pair.

The child is ``python -m harness.execution.worker FD PARENT``; it sets its CPU affinity before it
imports the framework, because some size their thread pool by affinity and read no OMP_NUM_THREADS.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import importlib
import io
import os
import pickle
import resource
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from harness.backends.base import Backend, TrainingJob
from harness.backends.spec import BackendSpec
from harness.console import plural
from harness.cpus import move_threads, permitted_cpus, quiet_cpus
from harness.data.reader import open_dataset
from harness.errors import BenchError, WorkerError, WorkerTimeoutError
from harness.files import file_sha256
from harness.measure.operations import Operation
from harness.measure.warmup import InferenceBudget, timed_calls
from harness.plugins import find_model
from harness.processes import follow_parent, kill, start, thread_settings, time_limit
from harness.protocol.optimizer import OptimizerState
from harness.protocol.received import Digests, Received, combined, hashed_rows
from harness.protocol.weights import Weights
from harness.variables import for_worker

_STOP_GRACE_S = 10.0
_RETURNED = {"builtins", "collections", "harness", "numpy", "pathlib"}
"""Packages whose classes may cross: reading another one would import its package, a framework
perhaps, into the process that measures."""
TIME_LIMIT_S = 24 * 3600.0
"""Of one request, where nobody sets another."""


class Worker:
    """A backend in a process of its own. Use as a context manager.

    Every method that trains or evaluates returns seconds measured inside the child, around the
    framework's work alone: the transfer of arrays is never part of a measurement.

    A request that is not answered within ``limit_s`` seconds ends the process, even one that is
    stopped, and raises WorkerTimeoutError. The attribute may be changed between requests.
    """

    def __init__(
        self,
        spec: BackendSpec,
        *,
        threads: int,
        cpus: tuple[int, ...] = (),
        log: IO[bytes] | None = None,
        environment: Mapping[str, str] | None = None,
        limit_s: float = TIME_LIMIT_S,
    ) -> None:
        """Start the process; its output goes to ``log``.

        It stays on the first ``threads`` of ``cpus``. Without these it is on quiet ones while the
        framework starts and then, where its threads are so many, on any: nothing is timed there,
        and what runs beside it may come and go.
        """
        self.spec = spec
        self.limit_s = limit_s
        self._expired = False
        settings = {
            **for_worker(os.environ),
            **thread_settings(threads),
            # Nothing in the current folder is imported, by children of the worker neither.
            "PYTHONSAFEPATH": "1",
            **spec.environment(threads),
            **(environment or {}),
        }
        started = time.perf_counter()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._process = start(
                "harness.execution.worker",
                str(theirs.fileno()),
                fds=[theirs.fileno()],
                env=settings,
                stdin=subprocess.DEVNULL,
                stdout=log or subprocess.DEVNULL,
                stderr=subprocess.STDOUT,
            )
            self._connection = Connection(ours.detach())
        try:
            if cpus:
                self._call("pin", tuple(cpus[:threads]))
            else:
                self._call("pin", quiet_cpus(threads)[:threads], permitted_cpus())
        except BaseException:
            self.kill()
            raise
        self.start_s = time.perf_counter() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.stop()
        else:  # nobody waits for it any more
            self.kill()

    def import_framework(self) -> float:
        """Import the backend's module and start what it needs; seconds."""
        seconds: float = self._call("import_framework", self.spec.factory)
        return seconds

    def check(self, device: str) -> None:
        """Ask the framework, once imported, whether it can use ``device`` here.

        Raises:
            BenchError: it cannot.
        """
        self._call("check", device)

    def build(self, job: TrainingJob, weights: Weights) -> tuple[float, Weights]:
        """Open the data, build the model, load ``weights``.

        Returns the seconds it took and the weights as read back from the framework.
        """
        network = self.spec.find_network(find_model(job.model)) or ""
        seconds, echoed = self._call("build", replace(job, network=network), weights)
        return seconds, echoed

    def load_weights(self, weights: Weights) -> None:
        """Start over from ``weights``: optimiser state is forgotten."""
        self._call("load_weights", weights)

    def save_weights(self) -> Weights:
        weights: Weights = self._call("save_weights")
        return weights

    def save_optimizer(self) -> OptimizerState | None:
        """See :meth:`harness.backends.base.Backend.save_optimizer`."""
        state: OptimizerState | None = self._call("save_optimizer")
        return state

    def load_optimizer(self, state: OptimizerState) -> None:
        """Go on from ``state``, after :meth:`load_weights` of the weights saved with it."""
        self._call("load_optimizer", state)

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None = None,
    ) -> tuple[float, NDArray[np.float64]]:
        """Train on ``order`` (steps, batch) at ``rates`` (steps,); seconds and losses (steps,)."""
        seconds, losses = self._call("train_epoch", order, rates, augmentation)
        return seconds, losses

    def predict(self, split: str) -> tuple[float, NDArray[np.floating]]:
        """Seconds and logits (N, classes) of a split."""
        seconds, logits = self._call("predict", split)
        return seconds, logits

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        """Logits, loss and gradients of one training batch (B,), nothing updated."""
        logits, loss, gradients = self._call("loss_and_gradients", batch)
        return logits, loss, gradients

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        """Grad-CAM (N, h, w) of images ``rows`` (N,) for the logits ``outputs`` (N,)."""
        maps: NDArray[np.floating] = self._call("activation_maps", split, rows, outputs)
        return maps

    def received(self) -> Digests:
        """Of what was trained on since the weights were loaded, computed where it arrived."""
        digests: Digests = self._call("received")
        return digests

    def data_sha256(self) -> str:
        """Of the data set's file as the process reads it."""
        digest: str = self._call("data_sha256")
        return digest

    def execute(
        self,
        source: str,
        x: NDArray[np.floating],
        parameters: list[NDArray[np.floating]],
        cotangent: NDArray[np.floating],
    ) -> list[NDArray[np.floating]]:
        """What ``compute`` of a program returns: see :class:`harness.backends.dialect.Dialect`."""
        found: list[NDArray[np.floating]] = self._call("execute", source, x, parameters, cotangent)
        return found

    def images_digest(self) -> str:
        """Of the pixels and labels of all splits as the framework holds them; empty where it
        cannot tell. Equal to :func:`harness.execution.inputs.images_digest` of the same file.
        """
        digest: str = self._call("images_digest")
        return digest

    def prepare_training(
        self, order: NDArray[np.int64], augmentation: NDArray[np.int64] | None
    ) -> int:
        """See :meth:`harness.backends.base.Backend.prepare_training`."""
        steps: int = self._call("prepare_training", order, augmentation)
        return steps

    def warm_up_prediction(self, split: str) -> float:
        """Run every batch shape that evaluation of ``split`` has; seconds."""
        seconds: float = self._call("warm_up_prediction", split)
        return seconds

    def forbid_compilation(self) -> None:
        """From now on, a compilation in what is timed is an error that names the timed region."""
        self._call("forbid_compilation")

    def infer(self, split: str, batch_size: int, budget: InferenceBudget) -> list[float]:
        """Seconds of calls with ``batch_size`` images of a split: the first, cold one, then those
        after a warm-up.
        """
        timed: list[float] = self._call("infer", split, batch_size, budget)
        return timed

    def inference_logits(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """Logits (B, classes) of images ``rows`` (B,) of a split, as inference computes them."""
        logits: NDArray[np.floating] = self._call("inference_logits", split, rows)
        return logits

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        """Seconds by operation while training on ``order`` (steps, batch)."""
        operations: dict[Operation, float] = self._call("profile", order, rates)
        return operations

    def facts(self) -> dict[str, str]:
        facts: dict[str, str] = self._call("facts")
        return facts

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def peak_rss_bytes(self) -> int:
        """Largest resident set of the process so far."""
        peak: int = self._call("peak_rss_bytes")
        return peak

    @property
    def alive(self) -> bool:
        """Whether it can be asked something."""
        return not self._connection.closed and self._process.poll() is None

    def stop(self) -> None:
        """End the process, by force if it does not answer."""
        if not self._connection.closed:
            with contextlib.suppress(OSError), time_limit(_STOP_GRACE_S, self._expire):
                self._connection.send(("stop", ()))
            self._connection.close()
        try:
            self._process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the process by force; it may be stopped or hang."""
        kill(self._process)
        self._connection.close()

    def abort(self) -> None:
        """End the process from another thread: whoever waits for an answer hears of it."""
        kill(self._process)

    def _expire(self) -> None:
        self._expired = True
        kill(self._process)
        # Should a child of its own hold the other end open, or the kernel keep it from dying.
        with (
            contextlib.suppress(OSError),
            socket.socket(fileno=os.dup(self._connection.fileno())) as held,
        ):
            held.shutdown(socket.SHUT_RDWR)

    def _call(self, method: str, *arguments: object) -> Any:
        try:
            with time_limit(self.limit_s, self._expire):
                self._connection.send((method, arguments))
                outcome = _Reader(io.BytesIO(self._connection.recv_bytes())).load()
        except (EOFError, OSError):
            raise self._death(method) from None
        except Exception as error:  # of unpickling
            message = f"{self.spec.name} returned what cannot be read: {error}".splitlines()[0]
            raise WorkerError(message) from error
        if isinstance(outcome, _Failure):
            if outcome.by_user:
                raise BenchError(outcome.message)
            raise WorkerError(outcome.message, outcome.details)
        return outcome

    def _death(self, method: str) -> WorkerError:
        if self._expired:
            kill(self._process)  # which another thread is about to have done
            return WorkerTimeoutError(
                f"the {self.spec.name} process did not finish {method} within {self.limit_s:g} s "
                "and was ended (--timeout)"
            )
        try:
            code = self._process.wait(_STOP_GRACE_S)
        except subprocess.TimeoutExpired:
            how = "closed its connection"
        else:
            how = f"ended with exit code {code}"
            if code < 0:
                how = f"was killed by signal {-code}"
            if code == -signal.SIGKILL:
                how += " (out of memory?)"
        return WorkerError(f"the {self.spec.name} process {how} during {method}")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in _RETURNED:
            raise pickle.UnpicklingError(f"a {module}.{name} (plain data and NumPy arrays can)")
        return super().find_class(module, name)


@dataclass(frozen=True)
class _Failure:
    message: str
    details: str
    by_user: bool


class _Server:
    """The child's side: one method for each request."""

    backend_class: type[Backend]
    backend: Backend
    dataset: Path
    arrived: Received
    told: Digests | None = None
    """By the backend, where its language is another one."""
    compilation_forbidden = False
    later: tuple[int, ...] = ()
    """The processors to run on once the framework has its threads; none: where it is."""

    def pin(self, cpus: tuple[int, ...], later: tuple[int, ...] = ()) -> None:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, cpus)
            self.later = later

    def import_framework(self, factory: str) -> float:
        module, _, name = factory.partition(":")
        start = time.perf_counter()
        self.backend_class = getattr(importlib.import_module(module), name)
        self.backend_class.start()
        return time.perf_counter() - start

    def check(self, device: str) -> None:
        self.backend_class.check(device)

    def build(self, job: TrainingJob, weights: Weights) -> tuple[float, Weights]:
        start = time.perf_counter()
        self.dataset = job.dataset
        self.backend = self.backend_class(job)
        self.load_weights(weights)
        seconds = time.perf_counter() - start
        if self.later:
            move_threads(self.later)
            self.later = ()
        return seconds, self.backend.save_weights()

    def load_weights(self, weights: Weights) -> None:
        self.backend.load_weights(weights)
        self.arrived = Received()

    def save_weights(self) -> Weights:
        return self.backend.save_weights()

    def save_optimizer(self) -> OptimizerState | None:
        return self.backend.save_optimizer()

    def load_optimizer(self, state: OptimizerState) -> None:
        self.backend.load_optimizer(state)

    def train_epoch(
        self,
        order: NDArray[np.int64],
        rates: NDArray[np.float64],
        augmentation: NDArray[np.int64] | None,
    ) -> tuple[float, NDArray[np.float64]]:
        with self._no_compilation("training"):
            start = time.perf_counter()
            losses = self.backend.train_epoch(order, rates, augmentation)
            seconds = time.perf_counter() - start
        # Afterwards: what the backend may have done to the arrays shows too.
        self.arrived.add(order, rates, augmentation)
        self.told = self.backend.received()
        return seconds, losses

    def received(self) -> Digests:
        return self.told or self.arrived.digests()

    def execute(
        self,
        source: str,
        x: NDArray[np.floating],
        parameters: list[NDArray[np.floating]],
        cotangent: NDArray[np.floating],
    ) -> list[NDArray[np.floating]]:
        return self.backend_class.execute(source, x, parameters, cotangent)

    def data_sha256(self) -> str:
        return file_sha256(self.dataset)

    def images_digest(self) -> str:
        with open_dataset(self.dataset, memory_budget=0) as data:
            rows = hashed_rows(data)
        found = [self.backend.images_digest(split, chosen) for split, chosen in rows.items()]
        return combined([each for each in found if each]) if all(found) else ""

    def predict(self, split: str) -> tuple[float, NDArray[np.floating]]:
        with self._no_compilation(f"evaluation on {split}"):
            start = time.perf_counter()
            logits = self.backend.predict(split)
            seconds = time.perf_counter() - start
        return seconds, logits

    def prepare_training(
        self, order: NDArray[np.int64], augmentation: NDArray[np.int64] | None
    ) -> int:
        return self.backend.prepare_training(order, augmentation)

    def warm_up_prediction(self, split: str) -> float:
        start = time.perf_counter()
        self.backend.warm_up_prediction(split)
        return time.perf_counter() - start

    def forbid_compilation(self) -> None:
        self.compilation_forbidden = True

    @contextlib.contextmanager
    def _no_compilation(self, region: str) -> Iterator[None]:
        """A region that is timed.

        Raises:
            RuntimeError: the framework compiled in it although that is forbidden.
        """
        before = self.backend.compilations()
        yield
        compiled = self.backend.compilations() - before
        if compiled and self.compilation_forbidden:
            raise RuntimeError(
                f"{plural(compiled, 'program', 'was')} compiled while {region} was timed: the "
                "warm-up has left out a shape, which is a fault of the harness"
            )

    def loss_and_gradients(
        self, batch: NDArray[np.int64]
    ) -> tuple[NDArray[np.floating], float, Weights]:
        return self.backend.loss_and_gradients(batch)

    def activation_maps(
        self, split: str, rows: NDArray[np.int64], outputs: NDArray[np.int64]
    ) -> NDArray[np.floating]:
        return self.backend.activation_maps(split, rows, outputs)

    def infer(self, split: str, batch_size: int, budget: InferenceBudget) -> list[float]:
        with open_dataset(self.dataset, memory_budget=0) as data:
            reader = data.split(split)
            images = reader.images(np.arange(batch_size) % len(reader))

        def call() -> None:
            logits = self.backend.infer(images)
            if len(logits) != batch_size:
                raise ValueError(f"{len(logits)} answers for {batch_size} images")

        first = timed_calls(call, least=1, most=1, seconds=0)
        timed_calls(call, least=budget.warm_up_calls, most=None, seconds=budget.warm_up_s)
        with self._no_compilation(f"inference of {batch_size} images"):
            later = timed_calls(call, least=budget.least, most=budget.most, seconds=budget.seconds)
        return first + later

    def inference_logits(self, split: str, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        with open_dataset(self.dataset, memory_budget=0) as data:
            return self.backend.infer(data.split(split).images(rows))

    def profile(
        self, order: NDArray[np.int64], rates: NDArray[np.float64]
    ) -> dict[Operation, float]:
        return self.backend.profile(order, rates)

    def facts(self) -> dict[str, str]:
        facts = {name: str(fact) for name, fact in self.backend.facts().items()}
        if hasattr(os, "sched_getaffinity"):
            facts["CPUs"] = ",".join(map(str, sorted(os.sched_getaffinity(0))))
        return facts

    def peak_rss_bytes(self) -> int:
        # Not getrusage where it can be helped: Linux carries the parent's peak over exec into it.
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def serve(connection: Connection) -> None:
    """Answer requests until told to stop or until the other side is gone."""
    server = _Server()
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:
            return
        if method == "stop":
            return
        outcome: object
        try:
            outcome = getattr(server, method)(*arguments)
        except BenchError as error:
            outcome = _Failure(str(error), "", by_user=True)
        except Exception as error:
            traceback.print_exc()
            message = f"{type(error).__name__}: {error}".splitlines()[0]
            outcome = _Failure(message, traceback.format_exc(), by_user=False)
        connection.send(outcome)


if __name__ == "__main__":
    # Under its real name, so that what crosses unpickles to the same classes on both sides.
    from harness.execution.worker import serve as _serve

    faulthandler.enable()  # where a crash happened, into the log
    follow_parent(sys.argv[2])
    _serve(Connection(int(sys.argv[1])))
    # What was registered to end runs; taking the interpreter apart, a second with a framework in
    # it, does not.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
