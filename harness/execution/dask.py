"""A comparison on the workers of a dask cluster: ``bench run --executor dask``.

The unit is the group: all its frameworks on one machine, interleaved. The parent hands the groups
out, one at a time to a worker (of a run with speeds: to a machine), and it alone writes into the
run's folder: a worker trains in a folder of its own and sends every file as soon as it is there.
The group of a worker that is lost goes to another, with the checkpoints that have come back. A data
set goes to a machine once, by its SHA-256.

A worker talks to the parent through two queues of the scheduler: one to the parent, one back. What
goes through them is plain data (msgpack).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import secrets
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import __version__, variables
from harness.config import available_cpus
from harness.console import terminal
from harness.errors import BenchError
from harness.execution.observer import Observer
from harness.execution.stop import Stop
from harness.files import exclusive, file_sha256, replacing, write_atomically
from harness.measure.environment import collect
from harness.paths import cache_dir
from harness.plan import Cell, Group
from harness.plugins import find_backend
from harness.results.folder import Manifest, RunFolder
from harness.results.records import CellResult, Epoch, MachinePeak, Phases

if TYPE_CHECKING:
    from distributed import Client, Future

    from harness.execution.runner import Comparison

CHUNK_BYTES = 2**24
"""Of a data set, in one message."""
SEND_EVERY_S = 1.0
"""Files go to the parent at most so often, but at the end of a cell."""
ATTEMPTS = 5
"""Workers that may be lost with one group before the run gives up."""
CONNECT_S = 20.0
"""For a scheduler to answer."""
WAIT_S = 30.0
"""Without any worker, after which a person is told."""
_LOCAL = {
    # One process a worker, no thread settings of its own: those of a framework are the harness's.
    "distributed.nanny.pre-spawn-environ": {},
    "distributed.worker.daemon": False,
}


# --- in the parent ----------------------------------------------------------------------------


def run_on_dask(comparison: Comparison, scheduler: str | None) -> list[CellResult]:
    """Execute the plan on the cluster of ``scheduler``, or on one of this machine's processes.

    Raises:
        BenchError: dask is not installed, the scheduler does not answer, or a worker cannot train.
        KeyboardInterrupt: it was told to stop; finished cells are kept.
    """
    try:
        with _client(comparison, scheduler) as client:
            return _Parent(comparison, client).run()
    finally:
        comparison.folder.unlock()


@contextlib.contextmanager
def _client(comparison: Comparison, scheduler: str | None) -> Iterator[Client]:
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError:
        raise BenchError(
            "--executor dask needs dask.distributed: pip install 'pipeline-bench[dask]'"
        ) from None
    # What goes wrong is said by the parent in a line, not by these in tracebacks.
    for name in ("asyncio", "distributed", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(dask.config.set(_LOCAL))
            scheduler = stack.enter_context(
                LocalCluster(
                    n_workers=_places(comparison),
                    threads_per_worker=1,
                    processes=True,
                    dashboard_address=None,
                    silence_logs="CRITICAL",
                )
            )
        try:
            client = Client(scheduler, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise BenchError(f"no dask scheduler answers at {scheduler}: {error}") from error
        yield stack.enter_context(client)


def _places(comparison: Comparison) -> int:
    """How many groups may train at a time on this machine."""
    experiment = comparison.folder.manifest.experiment
    return len(available_cpus()) // experiment.threads if experiment.accuracy_only else 1


@dataclass
class _Attempt:
    """A group at work."""

    group: Group
    future: Future
    answers: str
    """The queue to it, which names it."""
    host: str
    place: int
    """Of its host: which CPUs it has."""


@dataclass
class _Parent:
    """Hands out groups and keeps what comes back."""

    comparison: Comparison
    client: Client
    name: str = field(default_factory=lambda: f"pipeline-bench-{secrets.token_hex(8)}")
    working: dict[str, _Attempt] = field(default_factory=dict)
    """By the address of the worker."""
    lost: dict[Group, int] = field(default_factory=dict)
    ended: dict[Cell, CellResult] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    """Of what has begun on workers; see ``RunFolder.environments``."""

    def __post_init__(self) -> None:
        from distributed import Event, Queue

        self.folder = self.comparison.folder
        self.cells = {cell.id: cell for cell in self.comparison.cells}
        self.queue = Queue(self.name, client=self.client)
        self.stop = Event(f"{self.name}-stop", client=self.client)
        manifest = self.folder.manifest
        self.files = {entry.sha256: Path(entry.path) for entry in manifest.datasets.values()}
        initial = manifest.experiment.training.initial_weights
        if initial is not None and manifest.initial_weights_sha256 is not None:
            self.files[manifest.initial_weights_sha256] = initial

    def run(self) -> list[CellResult]:
        pending = deque(self._pending())
        told, idle_since = False, time.monotonic()
        try:
            while pending or self.working:
                workers = self.client.nthreads()
                self._recover(pending, workers)
                self._hand_out(pending, workers)
                self._hear(wait_s=0.5)
                self._collect()
                if workers:
                    idle_since = time.monotonic()
                elif not told and time.monotonic() - idle_since > WAIT_S:
                    told = True
                    terminal.warn("the dask cluster has no workers; waiting for one")
        except BaseException:
            self.stop.set()
            raise
        return [self.ended[cell] for cell in self.comparison.cells]

    def _pending(self) -> Iterator[Group]:
        """Groups with anything to do; results that are complete are kept."""
        for group in self.comparison.groups:
            rest = []
            for cell in group:
                kept = self.folder.read_result(cell)
                if kept is not None and kept.status == "ok" and not kept.unfinished:
                    self.ended[cell] = kept
                    self.comparison.observer.cell_ended(kept, resumed=True)
                else:
                    rest.append(cell)
            if rest:
                yield tuple(rest)

    def _recover(self, pending: deque[Group], workers: Mapping[str, int]) -> None:
        """Take back the groups of workers that are gone."""
        gone = [a for a, each in self.working.items() if a not in workers or _is_lost(each.future)]
        for address in gone:
            self._hear(wait_s=0.0)  # what it has sent before
            attempt = self.working.pop(address)
            attempt.future.cancel()
            self.lost[attempt.group] = self.lost.get(attempt.group, 0) + 1
            if self.lost[attempt.group] >= ATTEMPTS:
                raise BenchError(
                    f"{ATTEMPTS} dask workers were lost while they trained {attempt.group[0]}: "
                    "their logs say why; add --resume to go on"
                )
            terminal.warn(f"the dask worker {address} was lost; its group goes to another")
            left = tuple(cell for cell in attempt.group if cell not in self.ended)
            if left:
                pending.appendleft(left)

    def _hand_out(self, pending: deque[Group], workers: Mapping[str, int]) -> None:
        """A group to every worker that is free."""
        from distributed.comm.addressing import get_address_host

        accuracy_only = self.folder.manifest.experiment.accuracy_only
        for address in workers:
            host = get_address_host(address)
            there = [each.place for each in self.working.values() if each.host == host]
            if address in self.working or (there and not accuracy_only) or not pending:
                continue
            group = pending.popleft()
            place = next(n for n in range(len(there) + 1) if n not in there)
            job = Job(
                queue=self.name,
                answers=f"{self.name}-{secrets.token_hex(8)}",
                version=__version__,
                manifest=self.folder.manifest.model_dump_json(),
                cells=tuple(cell.id for cell in group),
                files=self._kept(group),
                place=place,
            )
            future = self.client.submit(
                train, job, workers=[address], allow_other_workers=False, pure=False, retries=0
            )
            self.working[address] = _Attempt(group, future, job.answers, host, place)

    def _kept(self, group: Group) -> dict[str, bytes]:
        """Results and checkpoints of the group that an earlier attempt has left."""
        paths = [path for cell in group for path in self.folder.all_files(cell).values()]
        return {path.relative_to(self.folder.path).as_posix(): path.read_bytes() for path in paths}

    def _collect(self) -> None:
        """What of the groups has come to its end."""
        for address, attempt in list(self.working.items()):
            if not attempt.future.done() or _is_lost(attempt.future):
                continue
            if attempt.future.status == "error":
                error = attempt.future.exception()
                if isinstance(error, BenchError):
                    raise BenchError(f"dask worker {address}: {error}") from error
                raise BenchError(
                    f"dask worker {address}: {type(error).__name__}: {error}"
                ) from error
            self._hear(wait_s=0.0)
            del self.working[address]
            for cell in attempt.group:
                result = self.folder.read_result(cell)
                if result is None:
                    raise BenchError(f"dask worker {address} has sent no result of {cell}")
                self.ended[cell] = result

    # What workers say

    def _hear(self, *, wait_s: float) -> None:
        """Every message there is; waits so long for the first."""
        while True:
            try:
                message = self.queue.get(timeout=wait_s or 0.05)
            except TimeoutError:
                return
            wait_s = 0.0
            kind, answers, payload = message["kind"], message["answers"], message["payload"]
            if kind == "read":  # answered even to one that is thought lost: it waits
                self._send(answers, payload)
            elif any(each.answers == answers for each in self.working.values()):
                getattr(self, f"_on_{kind}")(payload)

    def _send(self, answers: str, payload: Mapping[str, Any]) -> None:
        from distributed import Queue

        path = self.files[payload["sha256"]]
        with path.open("rb") as file:
            file.seek(payload["offset"])
            Queue(answers, client=self.client).put(file.read(CHUNK_BYTES))

    def _on_environment(self, payload: Mapping[str, Any]) -> None:
        self.names.add(payload["name"])
        self.folder.begin_elsewhere(payload["name"], json.loads(payload["environment"]))

    def _on_machine(self, payload: Mapping[str, Any]) -> None:
        """Kept while all workers have one kind of processor: the peak is of one."""
        environments = self.folder.environments
        if len({str(environments[name].get("cpu")) for name in self.names}) == 1:
            peak = MachinePeak.model_validate_json(payload["peak"])
            known = self.folder.machine
            self.folder.write_machine(peak if known is None else known.better_of(peak))

    def _on_files(self, payload: Mapping[str, Any]) -> None:
        """As they are in the folder of the worker: what is gone there goes here."""
        for name, content in payload["changed"].items():
            write_atomically(self._path(name), content)
        for name in payload["gone"]:
            self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        """Of a file of a cell of this run, and of no other."""
        folder, _, base = name.partition("/")
        known = any(base.startswith(f"{cell}.") for cell in self.cells)
        if folder not in ("cells", "logs") or "/" in base or not known:
            raise BenchError(f"a dask worker has sent a file that is no cell's: {name!r:.200}")
        return self.folder.path / folder / base

    def _on_phase(self, payload: Mapping[str, Any]) -> None:
        self.comparison.observer.phase_started(self.cells[payload["cell"]], payload["phase"])

    def _on_start(self, payload: Mapping[str, Any]) -> None:
        phases = Phases.model_validate_json(payload["phases"])
        self.comparison.observer.cell_started(self.cells[payload["cell"]], phases)

    def _on_epoch(self, payload: Mapping[str, Any]) -> None:
        epoch = Epoch.model_validate_json(payload["epoch"])
        observer = self.comparison.observer
        observer.epoch_ended(self.cells[payload["cell"]], payload["number"], epoch)

    def _on_work(self, payload: Mapping[str, Any]) -> None:
        self.comparison.observer.work_ended(self.cells[payload["cell"]], payload["work"])

    def _on_end(self, payload: Mapping[str, Any]) -> None:
        cell = self.cells[payload["cell"]]
        result = self.folder.read_result(cell)
        if result is not None and cell not in self.ended:
            self.ended[cell] = result
            self.comparison.observer.cell_ended(result, resumed=False)


def _is_lost(future: Future) -> bool:
    """Whether it ended because its worker did."""
    if future.status != "error":
        return future.status in ("cancelled", "lost")
    return type(future.exception()).__name__ in ("KilledWorker", "CommClosedError")


# --- in a worker ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """A group for a worker."""

    queue: str
    answers: str
    version: str
    manifest: str
    cells: tuple[str, ...]
    files: dict[str, bytes]
    """What there is of them already, by name below the run's folder."""
    place: int


def train(job: Job) -> None:
    """Train the group of ``job`` here, and send what comes of it.

    Raises:
        BenchError: this machine cannot train it.
    """
    from distributed import get_worker

    from harness.execution.runner import Comparison, finish_group

    if job.version != __version__:
        raise BenchError(f"it has pipeline-bench {__version__}, and the parent has {job.version}")
    manifest = Manifest.model_validate_json(job.manifest)
    group = tuple(cell for cell in manifest.cells if cell.id in job.cells)
    backends = {cell.framework: find_backend(cell.framework) for cell in group}
    for spec in backends.values():
        if (missing := spec.missing()) is not None:
            raise BenchError(f"{spec.name} is not ready there: {missing}")
    experiment = manifest.experiment
    cpus = available_cpus()
    first = job.place * experiment.threads
    own = cpus[first : first + experiment.threads]
    if len(own) < experiment.threads:  # it has been given CPUs of its own, as by Slurm
        own = cpus
    parent = _Line(job)
    with (
        tempfile.TemporaryDirectory(dir=get_worker().local_directory) as temporary,
        parent.stopping() as stop,
    ):
        local = _with_local_files(manifest, parent)
        versions = {name: v for spec in backends.values() for name, v in spec.versions().items()}
        environment = collect(versions, variables.recorded(os.environ))
        folder = RunFolder.create(Path(temporary) / "run", local, environment)
        for name, content in job.files.items():
            write_atomically(folder.path / name, content)
        name = f"{manifest.created}-{secrets.token_hex(8)}"
        folder.begin(name, environment)
        parent.say("environment", name=name, environment=json.dumps(environment))
        mirror = _Mirror(folder, group, parent, set(job.files))
        comparison = Comparison(
            folder=folder, backends=backends, groups=(group,), observer=_Reports(parent, mirror)
        )
        # dask would end the process; the parent has stopped, and waits for nothing.
        with contextlib.suppress(KeyboardInterrupt):
            finish_group(comparison, group, own, stop)
            mirror.send()
        if folder.machine is not None:
            parent.say("machine", peak=folder.machine.model_dump_json())


class _Line:
    """The line to the parent."""

    def __init__(self, job: Job) -> None:
        from distributed import Queue, get_client

        self._job = job
        self._client = get_client()
        self._queue = Queue(job.queue, client=self._client)
        self._answers = Queue(job.answers, client=self._client)

    def say(self, kind: str, **payload: Any) -> None:
        self._queue.put({"kind": kind, "answers": self._job.answers, "payload": payload})

    def read(self, sha256: str, offset: int) -> bytes:
        """A part of a file of the parent; empty at its end."""
        self.say("read", sha256=sha256, offset=offset)
        return bytes(self._answers.get())

    @contextlib.contextmanager
    def stopping(self) -> Iterator[Stop]:
        """Told when the parent stops."""
        from distributed import Event

        stop, over = Stop(), threading.Event()
        event = Event(f"{self._job.queue}-stop", client=self._client)

        def watch() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError, asyncio.TimeoutError, OSError):
                    if event.wait(timeout=5):
                        stop.tell()
                        return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield stop
        finally:
            over.set()


def _with_local_files(manifest: Manifest, parent: _Line) -> Manifest:
    """The same with the paths of this machine."""
    datasets = {
        name: entry.model_copy(update={"path": str(_fetched(entry.sha256, ".h5", parent))})
        for name, entry in manifest.datasets.items()
    }
    experiment = manifest.experiment
    initial = experiment.training.initial_weights
    if initial is not None and manifest.initial_weights_sha256 is not None:
        path = _fetched(manifest.initial_weights_sha256, initial.suffix, parent)
        training = experiment.training.model_copy(update={"initial_weights": path})
        experiment = experiment.model_copy(update={"training": training})
    return manifest.model_copy(update={"datasets": datasets, "experiment": experiment})


def _fetched(sha256: str, suffix: str, parent: _Line) -> Path:
    """A file of the parent in this machine's cache, where it stays for the next run.

    Raises:
        BenchError: what arrived is not what was to be sent.
    """
    path = cache_dir() / "data" / f"{sha256}{suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(path.with_suffix(".lock")):  # of several workers of a machine, one fetches
        if path.exists() and file_sha256(path) == sha256:
            return path
        digest = hashlib.sha256()
        with replacing(path) as temporary, temporary.open("wb") as file:
            while content := parent.read(sha256, file.tell()):
                digest.update(content)
                file.write(content)
            if digest.hexdigest() != sha256:
                raise BenchError(f"{path}: what arrived has another SHA-256 than what was sent")
    return path


class _Mirror:
    """Sends what changes of the group's files."""

    def __init__(self, folder: RunFolder, group: Group, parent: _Line, known: set[str]) -> None:
        self._folder, self._group, self._parent = folder, group, parent
        self._seen: dict[str, tuple[int, int]] = {}
        self._there = known
        self._last = 0.0

    def send(self) -> None:
        """Whatever is new; results last, because what has one has the rest."""
        files = {
            path.relative_to(self._folder.path).as_posix(): path
            for cell in self._group
            for path in self._folder.all_files(cell).values()
        }
        changed = {}
        for name, path in sorted(files.items(), key=lambda item: item[0].endswith(".json")):
            status = path.stat()
            stamp = status.st_mtime_ns, status.st_size
            if self._seen.get(name) != stamp:
                self._seen[name] = stamp
                changed[name] = path.read_bytes()
        gone = sorted(self._there - files.keys())
        self._there = set(files)
        self._last = time.monotonic()
        if changed or gone:
            self._parent.say("files", changed=changed, gone=gone)

    def send_now_and_then(self) -> None:
        if time.monotonic() - self._last > SEND_EVERY_S:
            self.send()


class _Reports(Observer):
    """Tells the parent what its own observer would hear."""

    def __init__(self, parent: _Line, mirror: _Mirror) -> None:
        self._parent, self._mirror = parent, mirror

    def phase_started(self, cell: Cell, phase: str) -> None:
        self._parent.say("phase", cell=cell.id, phase=phase)
        self._mirror.send_now_and_then()

    def cell_started(self, cell: Cell, phases: Phases) -> None:
        self._parent.say("start", cell=cell.id, phases=phases.model_dump_json())

    def epoch_ended(self, cell: Cell, number: int, epoch: Epoch) -> None:
        shown = epoch.model_dump_json()
        self._parent.say("epoch", cell=cell.id, number=number, epoch=shown)
        self._mirror.send_now_and_then()

    def work_ended(self, cell: Cell, kind: str) -> None:
        self._parent.say("work", cell=cell.id, work=kind)

    def cell_ended(self, result: CellResult, *, resumed: bool) -> None:
        self._mirror.send()
        self._parent.say("end", cell=result.cell.id)
