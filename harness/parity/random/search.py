"""The search: draw cases, compare, reduce what disagrees."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from harness.backends.dialect import Dialect
from harness.backends.spec import BackendSpec, KnownProblem
from harness.errors import BenchError, WorkerError
from harness.execution.worker import Worker
from harness.parity.random.cases import KNOWN, WITH_KINKS, Case, cases
from harness.parity.random.expected import expected, largest_deviation
from harness.parity.random.program import can_write, reproducer, source

CONFIRMATIONS = 2
"""Other numbers with which a gradient must be wrong too, where rounding may make it jump."""
MOST_FINDINGS = 20
"""Of a framework, after which the search ends: one fault may have many faces."""


@dataclass(frozen=True)
class Disagreement:
    """What a framework computes otherwise than the reference."""

    framework: str
    case: Case
    array: int
    """0: the result, 1: the gradient in the input, then those in the parameters."""
    where: tuple[int, ...]
    deviation: float
    """Relative to the largest magnitude of the array."""
    tolerance: float
    failure: str = ""
    """In a line, where the framework failed."""
    known: KnownProblem | None = None
    """The problem that its release is known for, and that this is."""
    program: str = ""

    @property
    def what(self) -> str:
        if self.failure:
            return self.failure
        names = ["the result", "the gradient in the input"]
        name = (
            names[self.array] if self.array < 2 else f"the gradient in parameter {self.array - 2}"
        )
        at = f" at {self.where}" if self.where else ""
        return f"{name} deviates by {self.deviation:.1e}{at}, tolerance {self.tolerance:.0e}"


@dataclass(frozen=True)
class Search:
    """What was found."""

    drawn: int
    """Cases, each computed in every framework."""
    seconds: float
    found: list[Disagreement]

    @property
    def new(self) -> list[Disagreement]:
        """Those of no known problem."""
        return [each for each in self.found if each.known is None]


def dialect_of(spec: BackendSpec) -> Dialect | None:
    """How the framework writes computations down; None where its package does not say."""
    if not spec.operations:
        return None
    module, _, name = spec.operations.partition(":")
    found = getattr(import_module(module), name)
    assert isinstance(found, Dialect)
    return found


def check_available() -> None:
    """Raises BenchError where the package that draws and shrinks is missing."""
    if find_spec("hypothesis") is None:
        raise BenchError("--random needs hypothesis: pip install hypothesis")


def search(
    specs: Sequence[BackendSpec],
    workers: Callable[[BackendSpec], Worker],
    *,
    count: int,
    seed: int,
    seconds: float,
    progress: Callable[[int], None],
) -> Search:
    """Compute ``count`` random cases, or as many as ``seconds`` allow, in every framework.

    A case that disagrees is reduced, and what it shows (framework, operations, dtype) is not
    looked for again.
    """
    began = time.monotonic()
    found: list[Disagreement] = []
    dialects = {spec.name: dialect for spec in specs if (dialect := dialect_of(spec)) is not None}
    laboratory = _Laboratory([s for s in specs if s.name in dialects], dialects, workers, found)
    drawn = 0
    for case in KNOWN:
        drawn += 1
        laboratory.look(case)
    progress(drawn)
    while drawn < count and time.monotonic() - began < seconds and len(found) < MOST_FINDINGS:
        drawn += laboratory.draw(count - drawn, seed + drawn, began + seconds, progress)
    return Search(drawn, time.monotonic() - began, [laboratory.told(each) for each in found])


class _OutOfTimeError(Exception):
    """No time is left."""


class _Laboratory:
    """Runs cases in every framework, and remembers what it has seen disagree."""

    def __init__(
        self,
        specs: Sequence[BackendSpec],
        dialects: Mapping[str, Dialect],
        workers: Callable[[BackendSpec], Worker],
        found: list[Disagreement],
    ) -> None:
        self.specs = specs
        self.dialects = dialects
        self.workers = workers
        self.found = found

    def look(self, case: Case) -> None:
        """Note what disagrees in ``case``, as it is."""
        for spec in self.specs:
            one = self.disagreement(spec, case)
            if one is not None and not self.is_seen(one):
                self.found.append(one)

    def draw(self, count: int, seed: int, end: float, progress: Callable[[int], None]) -> int:
        """Draw until something disagrees; returns the number of cases drawn until then."""
        from hypothesis import HealthCheck, Phase, errors, given, settings
        from hypothesis import seed as seeded

        drawn = 0
        smallest: Disagreement | None = None

        def compute(case: Case) -> None:
            nonlocal drawn, smallest
            if time.monotonic() > end:
                if smallest is None:
                    raise _OutOfTimeError
                return  # what is not reduced by now stays as it is
            if smallest is None:
                drawn += 1
                progress(1)
            for spec in self.specs:
                one = self.disagreement(spec, case)
                if one is not None and not self.is_seen(one):
                    # Shrinking ends with the smallest case, which is computed last.
                    smallest = one
                    raise AssertionError(spec.name)

        test = seeded(seed)(
            settings(
                max_examples=count,
                database=None,
                deadline=None,
                print_blob=False,
                report_multiple_bugs=False,
                phases=[Phase.generate, Phase.shrink],
                suppress_health_check=list(HealthCheck),
            )(given(cases())(compute))
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                test()
        except (AssertionError, _OutOfTimeError, errors.HypothesisException):
            pass
        if smallest is not None:
            self.found.append(smallest)
        elif drawn == 0:
            return count  # nothing is left to draw
        return drawn

    def is_seen(self, one: Disagreement) -> bool:
        """Whether this framework was found to have the same known problem, or, where that is none,
        to fail with some of these operations."""
        return any(_same(one, other) for other in self.found)

    def disagreement(self, spec: BackendSpec, case: Case) -> Disagreement | None:
        """What ``spec`` computes otherwise in ``case``.

        A gradient that jumps counts only if it is wrong with other numbers too.
        """
        if not can_write(case, self.dialects[spec.name]):
            return None
        one = self._difference(spec, case)
        if one is not None and one.array and set(WITH_KINKS) & set(case.operations):
            others = (replace(case, seed=case.seed + 10 + n) for n in range(CONFIRMATIONS))
            if not all(self._difference(spec, other) for other in others):
                return None
        if one is None:
            return None
        return replace(one, known=known_problem(spec, one))

    def _difference(self, spec: BackendSpec, case: Case) -> Disagreement | None:
        x, parameters, cotangent = case.arrays()
        wanted = expected(case)
        try:
            found = self.workers(spec).execute(
                source(case, self.dialects[spec.name]), x, parameters, cotangent
            )
        except WorkerError as error:
            failure = " ".join(str(error).split())
            return Disagreement(spec.name, case, 0, (), np.inf, 0.0, failure=failure)
        for number, (array, exact, tolerance) in enumerate(
            zip(found, wanted.arrays, wanted.tolerances, strict=True)
        ):
            deviation, where = largest_deviation(array, exact)
            if not deviation <= tolerance:
                return Disagreement(spec.name, case, number, where, deviation, tolerance)
        return None

    def told(self, one: Disagreement) -> Disagreement:
        """With the program that shows it."""
        dialect = self.dialects[one.framework]
        program = reproducer(one.case, dialect, one.array, one.where, one.tolerance)
        return replace(one, program=program)


def _same(one: Disagreement, found: Disagreement) -> bool:
    if (one.framework, one.known) != (found.framework, found.known):
        return False
    alike = (one.case.kind, one.case.dtype, bool(one.failure)) == (
        found.case.kind,
        found.case.dtype,
        bool(found.failure),
    )
    # More operations around those of an earlier finding may be the same fault.
    return alike and set(one.case.operations) >= (
        set() if one.known else set(found.case.operations)
    )


def known_problem(spec: BackendSpec, one: Disagreement) -> KnownProblem | None:
    """The problem of the installed release that ``one`` shows; that a framework fails is none."""
    if one.failure:
        return None
    problems = [p for p in spec.present_problems() if p.shown_by is not None]
    return next((p for p in problems if p.shown_by and p.shown_by(one.case, one.array)), None)
