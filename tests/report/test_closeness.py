"""Time to accuracy, answering, share of the machine, operations, and warnings of noise."""

from __future__ import annotations

import numpy as np
import pytest

from harness.analysis.comparison import Run
from harness.measure.conditions import Conditions
from harness.plugins import models
from harness.report import closeness, inference, profile, target
from harness.report.identity import findings
from harness.report.render import render
from harness.results.records import Latency, MachinePeak

PEAK = MachinePeak(threads=1, gemm_gflops={"float32": 100.0, "float64": 50.0}, bandwidth_gb_s=20.0)
SHAPE = (1, 28, 28)
ONCE = 0.05 + 0.02  # build and first prediction of a made-up cell; its first step comes on top


def first_step(framework):
    return 0.3 * (1 + len(framework))


def read(folder):
    run = Run.read(folder)
    (group,) = run.groups
    return run, group


def row(markdown, name):
    (line,) = [line for line in markdown.splitlines() if line.startswith(f"| {name} ")]
    return [cell.strip() for cell in line.split("|")[2:-1]]


def test_time_to_target_counts_from_the_first_touch_of_data(make_run):
    run, group = read(
        make_run(
            frameworks=("torch", "jax"),
            seeds=(0,),
            epochs=4,
            speeds={"torch": [512.0] * 4, "jax": [256.0] * 4},
            validation={"torch": [0.5, 0.7, 0.901, 0.9], "jax": [0.95, 0.9, 0.8, 0.7]},
        )
    )
    aim = target.target_of(run, group)
    assert (aim.value, aim.chosen) == (0.901, False)
    torch, jax = (outcome.trained[0] for outcome in group.finished)
    assert target.time_to(torch, aim) == (
        pytest.approx(ONCE + first_step("torch") + 3 * (1 + 0.01)), 3,
    )  # fmt: skip
    assert target.time_to(jax, aim) == (pytest.approx(ONCE + first_step("jax") + 2 + 0.01), 1)
    shown = row(target.times(run, group, aim), "PyTorch")
    assert shown[1:] == ["3", f"{ONCE + first_step('torch'):.2f}", "1 of 1"]


def test_a_target_that_was_asked_for_may_be_missed(make_run):
    folder = make_run(
        frameworks=("torch", "jax"),
        seeds=(0, 1),
        epochs=2,
        validation={"torch": [0.5, 0.99], "jax": [0.5, 0.6]},
        settings={"target": 0.98},
    )
    run, group = read(folder)
    aim = target.target_of(run, group)
    table = target.times(run, group, aim)
    assert row(table, "JAX (Flax NNX)") == ["not reached", "—", "—", "0 of 2"]
    assert row(table, "PyTorch")[-1] == "2 of 2"
    assert "best that every training" not in target.sentence(aim, group)
    report = render(folder.path).read_text(encoding="utf-8")
    assert "not reached" in report
    assert (folder.path / "figures/digits-lenet5-target.svg").is_file()


def test_shares_are_of_the_fastest_matrix_product_seen(make_run):
    speeds = {"torch": [1000.0] * 8}
    make = {"frameworks": ("torch",), "seeds": (0,), "machine": PEAK, "speeds": speeds}
    run, group = read(make_run("calm", **make))
    flops = models()["lenet5"].training_flops(SHAPE, 10)
    assert closeness.gflops(group, group.finished[0]).value == pytest.approx(1000 * flops / 1e9)
    assert closeness.peak_gflops(run) == 100
    run, group = read(
        make_run("faster", conditions=lambda cell, n: Conditions(gemm_gflops=100.0 + n), **make)
    )
    assert closeness.peak_gflops(run) == 107
    share = row(closeness.shares(run, group), "PyTorch")[1]
    assert share == f"{100 * 1000 * flops / 1e9 / 107:.1f} %"


def test_energy_is_told_where_it_was_read(make_run):
    def conditions(cell, number):
        joules = 5.12 if cell.framework == "torch" else None
        return Conditions(gemm_gflops=100.0, energy_j=joules)

    run, group = read(make_run(frameworks=("torch", "jax"), machine=PEAK, conditions=conditions))
    table = closeness.shares(run, group)
    assert row(table, "PyTorch")[-1].startswith("10.0")  # 5.12 J for 512 images
    assert row(table, "JAX (Flax NNX)")[-1] == "—"


def test_a_run_that_measured_nothing_of_this_says_nothing_of_it(make_run):
    report = render(make_run().path).read_text(encoding="utf-8")
    assert "## Time to accuracy" in report  # the epochs have it
    for title in ("## How close", "## Answering", "## Where the time goes"):
        assert title not in report


def test_latency_and_throughput_come_from_the_calls(make_run):
    calls = tuple(float(ms) / 1e3 for ms in range(1, 302))
    folder = make_run(
        frameworks=("torch", "jax"),
        inference={
            "torch": (
                Latency(batch_size=1, first_s=0.5, seconds=calls),
                Latency(batch_size=64, first_s=0.5, seconds=(0.25, 0.5)),
            )
        },
    )
    _, group = read(folder)
    assert [outcome.framework for outcome in inference.timed(group)] == ["torch"]
    assert row(inference.throughput(group), "PyTorch") == ["6.62", "171"]
    lines = inference.percentiles(group).splitlines()
    assert "| 301 | 500 | 151 | 271 | 298 |" in lines[2]
    assert lines[3].endswith("| — | — | — |")  # two calls have no percentile
    report = render(folder.path).read_text(encoding="utf-8")
    assert "## Answering" in report


def test_operations_say_what_makes_the_difference(make_run):
    folder = make_run(
        frameworks=("torch", "jax"),
        seeds=(0,),
        speeds={"torch": [1e4] * 8, "jax": [1e3] * 8},
        operations={
            "torch": {"convolution": 0.5, "matrix product": 0.5},
            "jax": {"convolution": 8.0, "matrix product": 1.0, "other": 1.0},
        },
    )
    _, group = read(folder)
    assert row(profile.microseconds(group), "convolution") == ["50.0", "800.0"]
    assert row(profile.shares_table(group), "other") == ["—", "10.0 %"]
    told = profile.why(group)
    assert "PyTorch had the highest median speed" in told
    assert "900.0 µs more" in told
    assert "convolution (750.0 µs more)" in told
    assert "matrix product" not in told  # 50 of 900


def noisy(make_run, name, **changes):
    run = Run.read(make_run(name, seeds=(0,), **changes))
    return " ".join(findings(run))


def test_warnings_of_noise(make_run):
    rng = np.random.default_rng(5)
    steady = 1000 * (1 + 0.01 * rng.standard_normal(40))

    def speeds(values):
        return {"frameworks": ("torch",), "epochs": 40, "speeds": {"torch": list(values)}}

    assert "Drift" not in (calm := noisy(make_run, "steady", **speeds(steady)))
    assert "Two speeds" not in calm
    assert "Outliers" not in calm
    told = noisy(make_run, "drifting", **speeds(steady * np.linspace(1, 0.8, 40)))
    assert "speed fell by 2" in told
    two = np.where(rng.permutation(40) < 15, 0.7, 1.0)
    told = noisy(make_run, "two", **speeds(steady * two))
    assert "two clusters" in told
    assert "(seed 0, 38 % of them slow)" in told


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("Other load", {"other_load": 0.4}),
        ("Heat", {"throttled": 2}),
        ("Swap", {"swapped_bytes": 2**21}),
    ],
)
def test_warnings_of_what_the_machine_did(make_run, word, value):
    quiet = dict.fromkeys(value, 0)
    for name, given in (("quiet", quiet), ("loud", value)):
        told = noisy(
            make_run, name, conditions=lambda c, n, g=given: Conditions(gemm_gflops=100.0, **g)
        )
        assert (f"**{word}**" in told) == (name == "loud")


def test_warnings_of_clock_and_machine(make_run):
    def conditions(cell, number):
        return Conditions(gemm_gflops=100.0 + 10 * number, clock_mhz=2000 + 100.0 * number)

    told = noisy(make_run, "changing", conditions=conditions)
    assert "**Clock**" in told
    assert "2,000 to 2,700 MHz" in told
    assert "**The machine itself varied**" in told


def test_another_arithmetic_is_no_deviation(make_run):
    offset = {"loss_offset": {"jax": 0.01, "jax-bf16": 0.01}}
    assert "Not the same computation" in noisy(make_run, "same", **offset)
    told = noisy(make_run, "other", frameworks=("torch", "jax-bf16"), **offset)
    assert "Not the same computation" not in told
