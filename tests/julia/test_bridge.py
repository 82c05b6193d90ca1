"""Julia inside a Python process: what crosses, what comes back, how errors arrive.

Each test runs in a process of its own, as the backends do.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from harness.backends.julia import installation
from harness.plugins import backends

START = """
import sys
import numpy as np
from harness.backends.julia.bridge import LibjuliaBridge
from harness.backends.julia.installation import find_julia
from harness.errors import WorkerError
from harness.backends.julia.packages import REFERENCE, SHARED, folder
bridge = LibjuliaBridge(find_julia(), [folder(SHARED), folder(REFERENCE)])
bridge.evaluate("import PipelineBenchReference; 0")
"""
BUILD = """
bridge.call(
    "reference.build", "lenet5", "tanh", "average", 12, 12, 1, 3, "float64",
    np.array([0.5]), np.array([0.25]), np.empty(0), "sgd", 0.9, 0.9, 0.999, 1e-8, 0.0,
)
"""
Run = Callable[..., str]


@pytest.fixture(scope="module")
def run() -> Run:
    """Runs Python code after ``START`` with two threads; returns what it prints."""
    if (reason := backends()["julia-reference"].missing()) is not None:
        pytest.skip(f"julia {reason}")
    settings = installation.environment(installation.find_julia(), 2)

    def run(code: str, timeout: int = 170) -> str:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", START + code],
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # Julia compiles the package here if it has changed, so that no test's time goes into that.
    run("", timeout=600)
    return run


def test_arrays_cross_without_a_copy_and_with_their_axes_reversed(run: Run) -> None:
    output = run("""
bridge.evaluate('''
    @eval module Probe
        describe(array) = "$(size(array)) $(eltype(array)) $(Int(pointer(array)))"
        fill!(array) = (array[2, 1] = 7; nothing)
    end; PipelineBench.Bridge.register("probe", Probe); 0''')
for dtype in ("uint8", "int64", "float32", "float64"):
    array = np.zeros((5, 3), dtype)
    size, name, address = bridge.call("probe.describe", array).rsplit(" ", 2)
    assert (size, name) == ("(3, 5)", dtype.title().replace("Ui", "UI")), (size, name)
    assert int(address) == array.ctypes.data
    bridge.call("probe.fill!", array)
    assert array[0, 1] == 7 and array.sum() == 7
print("done")
""")
    assert output == "done\n"


def test_numbers_and_text_cross_both_ways(run: Run) -> None:
    output = run("""
bridge.evaluate('''
    @eval module Probe
        half(n::Int) = n / 2
        twice(x::Float64) = 2x
        shout(text::String) = uppercase(text)
        nothing_at_all() = nothing
    end; PipelineBench.Bridge.register("probe", Probe); 0''')
print(bridge.call("probe.half", -7), bridge.call("probe.twice", 0.1))
print(bridge.call("probe.shout", "brücke \\\\ $x"), bridge.call("probe.nothing_at_all"))
""")
    assert output == "-3.5 0.2\nBRÜCKE \\ $X None\n"


def test_a_julia_exception_arrives_with_its_message_and_trace(run: Run) -> None:
    output = run(
        BUILD
        + """
for attempt in range(3):  # again and again: nothing is left behind by the first
    try:
        bridge.call("reference.get_parameter", "conv9.weight", np.zeros(3))
    except WorkerError as error:
        assert "Stacktrace" in error.details and "train.jl" in error.details
        print(error)
"""
    )
    assert output == "Julia: the network has no parameter conv9.weight\n" * 3


def test_indices_and_labels_out_of_range_are_errors_and_no_crash(run: Run) -> None:
    output = run(
        BUILD
        + """
pixels, rates, losses = np.zeros((4, 1, 12, 12), np.uint8), np.zeros(1), np.zeros(1)
for label, last in ((0, 4), (0, -1), (3, 3)):
    try:
        order = np.array([[0, 1, 2, last]])
        labels = np.full(4, label, np.uint8)
        bridge.call("reference.hand_over", "all", pixels, labels)
        bridge.call("reference.train", "all", order, rates, np.empty((0, 0, 0), np.int64), losses)
    except WorkerError as error:
        print(str(error).replace("(", " ").replace(":", "").split()[1])
"""
    )
    assert output.split() == ["BoundsError", "BoundsError", "DimensionMismatch"]


def test_what_does_not_exist_and_what_cannot_cross(run: Run) -> None:
    output = run("""
for attempt in (
    lambda: bridge.call("reference.no_such_function"),
    lambda: bridge.call("nowhere.train"),
    lambda: bridge.evaluate("this is not Julia"),
    lambda: bridge.evaluate("import NoSuchPackage; 0"),
    lambda: bridge.call("reference.predict", np.zeros((3, 4))[:, ::2]),
    lambda: bridge.call("reference.predict", np.zeros(3, np.complex128)),
):
    try:
        attempt()
    except (WorkerError, ValueError) as error:
        print(type(error).__name__)
""")
    assert output.split() == ["WorkerError"] * 4 + ["ValueError"] * 2


def test_threads_follow_the_protocol_and_torch_stays_out(run: Run) -> None:
    output = run("""
print(bridge.evaluate("Threads.nthreads()"), "torch" in sys.modules)
bridge.stop()
""")
    assert output == "2 False\n"
