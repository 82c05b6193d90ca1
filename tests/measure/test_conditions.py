"""Readings of the machine, against a system of our own making and against the real one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import psutil
import pytest

from harness.measure import conditions
from harness.measure.conditions import Conditions, is_disturbed, watching
from harness.measure.probe import MachineProbe

CPUS = tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else (0,)


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Writes files of /proc and /sys."""
    monkeypatch.setattr(conditions, "SYSTEM", tmp_path)

    def write(path, content):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{content}\n", encoding="utf-8")

    return write


def test_energy_of_packages_once_and_over_the_end_of_the_counter(system):
    zones = "sys/class/powercap"
    system(f"{zones}/intel-rapl:0/energy_uj", 9_000_000)
    system(f"{zones}/intel-rapl:0/max_energy_range_uj", 10_000_000)
    system(f"{zones}/intel-rapl:0:0/energy_uj", 5)  # the cores are part of the package
    system(f"{zones}/intel-rapl:1/energy_uj", 100)
    with watching(os.getpid(), CPUS, 1.0) as watch:
        system(f"{zones}/intel-rapl:0/energy_uj", 1_000_000)
        system(f"{zones}/intel-rapl:0:0/energy_uj", 9_999)
        system(f"{zones}/intel-rapl:1/energy_uj", 500_100)
    assert watch.conditions.energy_j == pytest.approx(2.5)


def test_heat_swap_and_clock(system, monkeypatch):
    for cpu in CPUS:
        core = f"sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count"
        system(core, 3)
    clocks = [SimpleNamespace(current=1000.0 + 500 * n) for n in range(max(CPUS) + 1)]
    monkeypatch.setattr(psutil, "cpu_freq", lambda percpu: clocks)
    moved = SimpleNamespace(sin=4096, sout=8192)
    monkeypatch.setattr(psutil, "swap_memory", lambda: moved)
    with watching(os.getpid(), CPUS[:1], 1.0) as watch:
        system(core, 5)
        moved.sin += 4096
        moved.sout += 8192
    found = watch.conditions
    assert found.throttled == 2
    assert found.swapped_bytes == 3 * 4096
    assert found.clock_mhz == 1000 + 500 * CPUS[0]


def test_a_system_that_tells_nothing_is_no_error(system, monkeypatch):
    def nothing():
        warnings.warn("no counters", RuntimeWarning, stacklevel=2)

    monkeypatch.setattr(psutil, "swap_memory", nothing)
    monkeypatch.delattr(psutil, "cpu_freq")
    with watching(os.getpid(), CPUS, 7.0) as watch:
        pass
    found = watch.conditions
    assert found.gemm_gflops == 7
    assert (found.clock_mhz, found.throttled, found.swapped_bytes, found.energy_j) == (None,) * 4


SPIN = f"""
import os
os.sched_setaffinity(0, [{CPUS[0]}])
print(os.getpid(), flush=True)
while True:
    pass
"""
PARENT = f"""
import subprocess, sys
subprocess.call([sys.executable, "-c", {SPIN!r}])
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs processor affinity")
@pytest.mark.parametrize("code", [SPIN, PARENT], ids=["itself", "its child"])
def test_other_work_is_seen_and_that_of_the_worker_is_not(code):
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    sleeper = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        spinning = psutil.Process(int(child.stdout.readline()))
        enough = spinning.cpu_times().user + 0.2
        with (
            watching(child.pid, CPUS[:1], 1.0) as as_worker,
            watching(sleeper.pid, CPUS[:1], 1.0) as as_stranger,
        ):
            start = time.perf_counter()
            while spinning.cpu_times().user < enough:
                time.sleep(0.05)
            seconds = time.perf_counter() - start
    finally:
        # No SIGINT: whoever started the tests in the background has them ignore it.
        for process in (*psutil.Process(child.pid).children(), child):
            process.kill()
        child.communicate()
        sleeper.communicate(b"\n")
    # At the same time, so that whatever else runs counts in both.
    seen = as_stranger.conditions.other_load - as_worker.conditions.other_load
    assert seen * seconds > 0.1


@pytest.mark.parametrize(
    ("seconds", "load", "threads", "disturbed"),
    [
        (10.0, 0.6, 2, True),
        (10.0, 0.4, 2, False),
        (10.0, 0.6, 4, False),
        (0.06, 0.8, 1, False),  # one tick of the kernel's counters makes as much
        (10.0, None, 1, False),
    ],
)
def test_the_load_alone_decides_whether_a_round_is_disturbed(seconds, load, threads, disturbed):
    found = Conditions(gemm_gflops=1.0, other_load=load)
    assert is_disturbed(seconds, found, threads) == disturbed
    assert not is_disturbed(seconds, None, threads)


def test_the_gauge_measures_on_the_processors_it_was_given():
    with MachineProbe(threads=1, cpus=CPUS) as probe:
        speeds = [probe.gemm_gflops("float32"), probe.peak_gemm_gflops("float64")]
        assert all(0.1 < speed < 1e5 for speed in speeds)
        assert 0.1 < probe.bandwidth_gb_s() < 1e5
        if hasattr(os, "sched_getaffinity"):
            assert os.sched_getaffinity(probe._child.pid) == {CPUS[0]}
        child = probe._child
    assert child.poll() is not None
