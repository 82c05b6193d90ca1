"""``bench parity --random``: the cases, what they should give, and that faults are found."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings

from harness import plugins
from harness.backends.dialect import Dialect
from harness.backends.jax.operations import DIALECT as JAX
from harness.backends.julia.operations import KNET
from harness.backends.torch.operations import DIALECT as TORCH
from harness.cli import main
from harness.parity.random import plain
from harness.parity.random import search as searching
from harness.parity.random.cases import KNOWN, LOSSES, Case, Step, cases
from harness.parity.random.expected import OPERATIONS, compute, expected, largest_deviation
from harness.parity.random.program import reproducer

TOLERANT = settings(
    max_examples=80, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)


@pytest.mark.parametrize(
    ("dialect", "lacking"),
    [(TORCH, set()), (JAX, set()), (KNET, {"convolution_channels_last", *LOSSES})],
    ids=["torch", "jax", "knet"],
)
def test_every_operation_can_be_written(dialect, lacking) -> None:
    assert OPERATIONS.keys() - dialect.operations.keys() == lacking


@TOLERANT
@given(cases())
def test_the_plain_functions_compute_what_the_reference_does(case: Case) -> None:
    """Those whose source stands in the programs; and every case that is drawn can be computed."""
    program = reproducer(case, TORCH, 0, (), 1e-6)
    functions = program[program.index("# The same in NumPy") : program.index("draw = ")]
    namespace: dict = {"np": np}
    exec(functions, namespace)
    x, parameters, cotangent = (
        [np.asarray(a, np.float64) for a in part] if isinstance(part, list) else part.astype(float)
        for part in case.arrays()
    )
    result, *gradients = compute(case, [x, *parameters], cotangent)
    assert largest_deviation(namespace["expected"](x, *parameters), result)[0] < 1e-9
    assert [g.shape for g in gradients] == [x.shape, *(p.shape for p in parameters)]
    wanted = expected(case)
    assert all(np.isfinite(array).all() for array in wanted.arrays)
    assert all(0 < tolerance < np.inf for tolerance in wanted.tolerances)


def test_a_gradient_is_that_of_the_result() -> None:
    """By central differences, in one case that has most operations."""
    steps = (
        Step("convolution", (("window", 3), ("stride", 2), ("padding", 1), ("outputs", 2))),
        Step("batch_norm"),
        Step("average_pool", (("window", 2), ("stride", 1), ("padding", 1))),
        Step("softplus"),
        Step("flatten"),
        Step("dense", (("outputs", 3),)),
        Step("logsumexp"),
    )
    case = Case("images", "float64", (2, 2, 5, 6), steps)
    x, parameters, cotangent = case.arrays()
    _, *gradients = compute(case, [x, *parameters], cotangent)
    for number, gradient in enumerate(gradients):
        where = np.unravel_index(int(np.abs(gradient).argmax()), gradient.shape)
        sums = []
        for step in (1e-6, -1e-6):
            given_ = [x.copy(), *(p.copy() for p in parameters)]
            given_[number][where] += step
            sums.append(float((compute(case, given_, cotangent)[0] * cotangent).sum()))
        assert gradient[where] == pytest.approx((sums[0] - sums[1]) / 2e-6, rel=1e-5, abs=1e-7)


def test_a_sum_that_cancels_may_leave_its_rounding() -> None:
    """A bias that batch normalisation takes away again: what PyTorch 2.13 returned for it."""
    window = (("window", 1), ("stride", 1), ("padding", 0))
    found = {"float32": (0, 2, 2.8e-5), "float64": (1, 1, 1.9e-13)}
    for dtype, (seed, outputs, deviation) in found.items():
        steps = (Step("convolution", (*window, ("outputs", outputs))), Step("batch_norm"))
        tolerances = expected(Case("images", dtype, (2, 1, 1, 1), steps, seed=seed)).tolerances
        assert deviation < tolerances[3] < 1e3 * deviation
        assert tolerances[0] < 1e-3


FAULTS = {
    # Another function beyond a threshold; a gradient that is not that of the result.
    "softplus": ("F.softplus({x}, threshold=1)", 0),
    "tanh": ("torch.tanh({x}).detach() + 0.5 * ({x} - {x}.detach())", 1),
}


@pytest.fixture(scope="module")
def faults(ready: Callable) -> tuple[Dialect, list[dict[str, Any]]]:
    """PyTorch with all of them, and what a search finds."""
    ready("torch")
    words = {operation: fault for operation, (fault, _) in FAULTS.items()}
    faulty = replace(TORCH, operations={**TORCH.operations, **words})
    options = ["parity", "--random", "500", "--frameworks", "torch", "--threads", "1", "--json"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "dialect_of", lambda spec: faulty)
        got = CliRunner().invoke(main, options)
    assert got.exit_code == 1, got.output
    return faulty, json.loads(got.stdout)


@pytest.mark.parametrize("operation", FAULTS)
def test_a_fault_is_found_reduced_and_reproduced(
    faults: tuple[Dialect, list[dict[str, Any]]], tmp_path: Path, operation: str
) -> None:
    faulty, rows = faults
    array = FAULTS[operation][1]
    found = [row for row in rows if operation in row["case"]]
    (row,) = [row for row in found if "float32" in row["case"]][:1] or found[:1]
    assert row["known"] is None
    assert ("gradient" in row["what"]) == bool(array)
    assert row["case"].count(operation) == 1
    assert row["case"].split(": ")[1] == operation, "other operations were not taken away"

    # The program needs neither the harness nor this folder, and fails; not so without the fault.
    def run(program: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)

    failed = run(row["program"])
    assert "AssertionError" in failed.stderr, failed.stderr
    assert failed.stdout.startswith("found ")
    right = TORCH.operations[operation].format(x="x")
    fixed = row["program"].replace(faulty.operations[operation].format(x="x"), right)
    assert run(fixed).returncode == 0


def test_the_known_problems_of_jax_are_found_and_named(ready: Callable) -> None:
    ready("jax")
    if importlib.metadata.version("jaxlib") != "0.10.2":
        pytest.skip("a problem of jax 0.10.2 alone")
    got = CliRunner().invoke(main, ["parity", "--random", "2", "--frameworks", "jax"])
    assert got.exit_code == 0, got.output
    assert "known: jax 0.10.2 returns wrong values" in got.stdout
    assert "known: jax 0.10.2 returns a wrong gradient" in got.stdout
    assert "3 disagreements, 0 of them new" in got.stderr


def test_a_known_problem_explains_the_arrays_that_it_can_reach() -> None:
    """And no other: a second fault in the same case is new."""
    window = (("window", 2), ("stride", 1), ("padding", 0))
    convolution = Step("convolution", (*window, ("outputs", 2)))
    steps = (convolution, Step("max_pool", window), convolution)
    case = Case("images", "float32", (2, 3, 6, 6), steps)
    (pooling,) = plugins.backends()["knet"].known_problems
    assert pooling.shown_by
    assert [pooling.shown_by(case, n) for n in range(6)] == [False, True, True, True, False, False]
    products, padding = plugins.backends()["jax"].known_problems
    for number, problem in ((0, products), (2, padding)):
        shown = [case for case in KNOWN if problem.shown_by and problem.shown_by(case, number)]
        assert len(shown) == (2 if problem is products else 1)
        assert not any(problem.shown_by(case, n) for case in shown for n in range(3) if n != number)
        assert not problem.shown_by(replace(case, steps=steps[:1]), number)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--models", "lenet5"), "leave --models out"),
        (("--frameworks", "julia-reference"), "declares operations"),
    ],
)
def test_what_a_person_can_fix(words: tuple[str, ...], message: str) -> None:
    got = CliRunner().invoke(main, ["parity", "--random", "5", *words])
    assert got.exit_code == 2
    assert message in got.stderr


def test_options_of_the_search_need_it() -> None:
    got = CliRunner().invoke(main, ["parity", "--seed", "3"])
    assert got.exit_code == 2
    assert "--seed is of --random" in got.stderr


def test_the_functions_in_programs_are_all_used() -> None:
    own = {name for name in vars(plain) if not name.startswith("_")} - {"np", "annotations"}
    assert own == OPERATIONS.keys() - {"convolution_channels_last"}
