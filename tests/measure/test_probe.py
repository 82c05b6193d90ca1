"""The process that measures the machine: it may stop, die, or not answer."""

from __future__ import annotations

import os
import signal

import pytest

from harness.config import available_cpus
from harness.errors import ProbeError
from harness.measure.probe import MachineProbe


@pytest.fixture
def probe():
    with MachineProbe(threads=1, cpus=available_cpus(), limit_s=10.0) as probe:
        yield probe


@pytest.fixture
def children(probe, monkeypatch):
    """Every process that it starts."""
    children, start = [], probe._start

    def started():
        children.append(start())
        return children[-1]

    monkeypatch.setattr(probe, "_start", started)
    return children


@pytest.mark.parametrize("how", [signal.SIGSTOP, signal.SIGKILL])
def test_a_process_that_does_not_answer_is_replaced(probe, children, how):
    probe.gemm_gflops("float32")
    os.kill(children[0].pid, how)
    assert probe.gemm_gflops("float32") > 0
    assert [child.returncode for child in children] == [-signal.SIGKILL, None]


def test_a_process_that_never_answers_is_given_up_and_leaves_nothing(probe, children):
    probe.gemm_gflops("float32")
    probe._limit_s = 0.01
    for _ in range(2):
        for child in children:
            if child.returncode is None:
                os.kill(child.pid, signal.SIGSTOP)
        with pytest.raises(ProbeError, match=r"did not answer within 0\.01 s"):
            probe.gemm_gflops("float32")
    # The second could not even be imported in that time; no third is tried.
    assert [child.returncode for child in children] == [-signal.SIGKILL] * 2


def test_a_process_that_is_stopped_can_be_ended(probe, children, monkeypatch):
    probe.gemm_gflops("float32")
    monkeypatch.setattr("harness.measure.probe.STOP_GRACE_S", 0.2)
    os.kill(children[0].pid, signal.SIGSTOP)
    probe.stop()
    assert children[0].returncode == -signal.SIGKILL
    probe.stop()  # again is no harm
