"""Time to accuracy, inference, hardware utilisation and operations."""

from __future__ import annotations

import pytest

from harness.analysis import inference, operations, utilisation
from harness.analysis.summary import RunSummary
from harness.analysis.time_to_accuracy import time_to
from harness.measure.conditions import Conditions
from harness.plugins import models
from harness.results.records import Latency, MachinePeak

PEAK = MachinePeak(threads=1, gemm_gflops={"float32": 100.0, "float64": 50.0}, bandwidth_gb_s=20.0)
SHAPE = (1, 28, 28)
ONCE = 0.05 + 0.02  # build and first prediction of a made-up cell; its first step comes on top


def first_step(framework):
    return 0.3 * (1 + len(framework))


def only(folder):
    (each,) = RunSummary.read(folder).workloads
    return each


def test_time_to_accuracy_counts_from_the_first_touch_of_data(make_run):
    each = only(
        make_run(
            frameworks=("torch", "jax"),
            seeds=(0,),
            epochs=4,
            speeds={"torch": [512.0] * 4, "jax": [256.0] * 4},
            validation={"torch": [0.5, 0.7, 0.901, 0.9], "jax": [0.95, 0.9, 0.8, 0.7]},
        )
    )
    assert (each.target.value, each.target.chosen) == (0.901, False)
    torch, jax = (outcome.trained[0] for outcome in each.workload.finished)
    assert time_to(torch, each.target) == (
        pytest.approx(ONCE + first_step("torch") + 3 * (1 + 0.01)), 3,
    )  # fmt: skip
    assert time_to(jax, each.target) == (pytest.approx(ONCE + first_step("jax") + 2 + 0.01), 1)
    found = each.reached[0]
    assert (found.epochs, found.startup_s) == ((3,), (pytest.approx(ONCE + first_step("torch")),))


def test_a_target_that_was_asked_for_may_be_missed(make_run):
    each = only(
        make_run(
            frameworks=("torch", "jax"),
            seeds=(0, 1),
            epochs=2,
            validation={"torch": [0.5, 0.99], "jax": [0.5, 0.6]},
            settings={"target": 0.98},
        )
    )
    assert each.target.chosen
    assert [(len(found.seconds), found.seeds) for found in each.reached] == [(2, 2), (0, 2)]


def test_shares_are_of_the_fastest_matrix_product_seen(make_run):
    speeds = {"torch": [1000.0] * 8}
    make = {"frameworks": ("torch",), "seeds": (0,), "machine": PEAK, "speeds": speeds}
    each = only(make_run("calm", **make))
    flops = models()["lenet5"].training_flops(SHAPE, 10)
    reached = utilisation.gflops(each.workload, each.workload.finished[0])
    assert reached.value == pytest.approx(1000 * flops / 1e9)
    assert utilisation.peak_gflops(each.run) == 100
    each = only(
        make_run("faster", conditions=lambda cell, n: Conditions(gemm_gflops=100.0 + n), **make)
    )
    assert utilisation.peak_gflops(each.run) == 107


def test_a_record_of_another_precision_gives_no_share(make_run):
    double = MachinePeak(threads=1, gemm_gflops={"float64": 50.0}, bandwidth_gb_s=20.0)
    each = only(make_run(frameworks=("torch",), seeds=(0,), machine=double))
    assert each.run.peak_gflops is None
    assert not utilisation.measured(each.run, each.workload)


def test_energy_is_known_where_it_was_read(make_run):
    def conditions(cell, number):
        joules = 5.12 if cell.framework == "torch" else None
        return Conditions(gemm_gflops=100.0, energy_j=joules)

    each = only(make_run(frameworks=("torch", "jax"), machine=PEAK, conditions=conditions))
    torch, jax = map(utilisation.joules_per_image, each.workload.finished)
    assert torch.value == pytest.approx(5.12 / 512)
    assert jax is None


def test_latency_and_throughput_come_from_the_calls(make_run):
    calls = tuple(float(ms) / 1e3 for ms in range(1, 302))
    latencies = (
        Latency(batch_size=1, first_s=0.5, seconds=calls),
        Latency(batch_size=64, first_s=0.5, seconds=(0.25, 0.5)),
    )
    each = only(make_run(frameworks=("torch", "jax"), inference={"torch": latencies}))
    (timed,) = inference.timed(each.workload)
    assert timed.framework == "torch"
    assert inference.sizes(each.workload) == [1, 64]
    one, many = inference.latencies(timed).values()
    assert inference.images_per_second(one) == pytest.approx(1 / 0.151)
    assert [one.percentile(p) for p in inference.PERCENTILES] == pytest.approx(
        [0.151, 0.271, 0.298]
    )
    assert many.percentile(50) is None  # two calls have no percentile


def test_operations_make_the_difference(make_run):
    each = only(
        make_run(
            frameworks=("torch", "jax"),
            seeds=(0,),
            speeds={"torch": [1e4] * 8, "jax": [1e3] * 8},
            operations={
                "torch": {"convolution": 0.5, "matrix product": 0.5},
                "jax": {"convolution": 8.0, "matrix product": 1.0, "other": 1.0},
            },
        )
    )
    torch, jax = each.workload.finished
    assert operations.microseconds(torch)["convolution"] == pytest.approx(50)
    assert operations.shares(jax)["other"] == pytest.approx(0.1)
    assert operations.fastest(each.workload) is torch
    (slower,) = operations.slower(each.workload)
    assert slower.microseconds == pytest.approx(900)
    assert dict(slower.operations) == {
        "convolution": pytest.approx(750),
        "other": pytest.approx(100),
    }
