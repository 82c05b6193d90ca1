"""What a reader is warned of."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest

from harness.analysis.findings import findings
from harness.analysis.run import Run
from harness.measure.conditions import Conditions
from harness.report.sections.warnings import SENTENCES, sentence


def found(folder):
    """By kind; every one of them has a sentence."""
    every = findings(Run.read(folder))
    assert all(sentence(each) for each in every)
    return {each.kind: each for each in every}


def test_every_kind_has_a_sentence():
    from typing import get_args

    from harness.analysis.findings import Kind

    assert set(get_args(Kind)) == set(SENTENCES)


def test_a_quiet_run_has_none(make_run):
    assert found(make_run()) == {}


def test_failed_missing_and_skipped(make_run):
    every = findings(
        Run.read(
            make_run(
                failed={("jax", 0): "died", ("jax", 1): "too", ("torch", 1): "late"},
                missing=[("torch-compile", 1)],
                skipped={"jax-s2d": "not installed: jax"},
            )
        )
    )
    kinds = [each.kind for each in every]
    assert kinds == ["failed", "failed", "failed", "not run", "skipped"]
    assert every[0].severity == "caution"
    assert (every[3].outcome.framework, every[3].seeds) == ("torch-compile", (1,))
    assert every[-1].values == {"framework": "jax-s2d", "reason": "not installed: jax"}


def test_what_is_not_identical(make_run):
    kinds = found(make_run(identity={("jax", 1): {"initial_weights": "f" * 64}}))
    assert kinds["not identical"].values == {"item": "initial_weights"}
    assert kinds["not identical"].seeds == (1,)
    assert kinds["not identical"].severity == "invalid"


def test_losses_that_start_apart(make_run):
    kinds = found(make_run(seeds=(0,), loss_offset={"jax": 1e-3}))
    assert kinds["other computation"].outcome.framework == "jax"
    assert kinds["other computation"].values["difference"] == pytest.approx(1e-3, rel=1e-2)
    assert not found(make_run("close", seeds=(0,), loss_offset={"jax": 1e-6}))


def test_another_arithmetic_is_no_deviation(make_run):
    offset = {"loss_offset": {"jax-bf16": 0.01}}
    assert not found(make_run(frameworks=("torch", "jax-bf16"), seeds=(0,), **offset))


def test_results_that_contradict_their_predictions(make_run):
    folder = make_run(seeds=(0,))
    result = folder.results()[0]
    lie = result.test.model_copy(update={"correct": 60, "accuracy": 1.0})
    folder.write_result(result.model_copy(update={"test": lie}))
    values = found(folder)["counts disagree"].values
    assert values == {"counted": (58, 60), "stored": (60, 60)}

    folder = make_run("areas", seeds=(0,), frameworks=("torch",), classes=("healthy", "ill"))
    result = folder.results()[0]
    lie = result.test.model_copy(update={"auroc": (0.5,)})
    folder.write_result(result.model_copy(update={"test": lie}))
    assert set(found(folder)) == {"aurocs disagree"}


def delay(folder, seconds):
    """Start cells so much later than they say now."""
    for result in folder.results():
        started = datetime.fromisoformat(result.started)
        started += timedelta(seconds=seconds.get(result.cell.framework, 0))
        folder.write_result(result.model_copy(update={"started": started.isoformat()}))


def test_a_slow_start_between_them_does_not_part_two_that_were_interleaved(make_run):
    folder = make_run(frameworks=("torch", "knet", "julia-reference"), seeds=(0,))
    slow = folder.results()[1]
    phases = slow.phases.model_copy(update={"import_s": 200.0})
    folder.write_result(slow.model_copy(update={"phases": phases}))
    delay(folder, {"knet": 5, "julia-reference": 210})
    assert not found(folder)
    delay(folder, {"julia-reference": 60})
    assert found(folder)["not interleaved"].outcome.framework == "julia-reference"


def test_unsteady_speed(make_run):
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    result = folder.results()[0]

    def slowed(epochs):
        slow = [e.model_copy(update={"seconds": 5 * e.seconds}) for e in result.epochs[:epochs]]
        changed = (*slow, *result.epochs[epochs:])
        folder.write_result(result.model_copy(update={"epochs": changed}))
        return found(folder)

    assert slowed(3)["unsteady"].outcome.framework == "torch"
    assert not slowed(1)


def test_losses_that_are_not_numbers(make_run):
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    for result in folder.results():
        arrays = folder.read_arrays(result.cell)
        arrays.step_losses[3 if result.cell.framework == "torch" else 0 :] = np.nan
        folder.write_arrays(result.cell, arrays)
    assert found(folder)["loss is nan"].values == {"steps": 64}


def test_lost_predictions(make_run):
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    (folder.path / "cells" / "jax-lenet5-digits-s0.h5").unlink()
    assert found(folder)["arrays missing"].values == {"cells": 1}


def test_noise(make_run):
    rng = np.random.default_rng(5)
    steady = 1000 * (1 + 0.01 * rng.standard_normal(40))

    def kinds(name, values):
        speeds = {"torch": list(values)}
        return found(make_run(name, seeds=(0,), frameworks=("torch",), epochs=40, speeds=speeds))

    assert not kinds("steady", steady)
    drifting = kinds("drifting", steady * np.linspace(1, 0.8, 40))
    assert drifting["drift"].values["change"] == pytest.approx(-0.2, abs=0.02)
    two = np.where(rng.permutation(40) < 15, 0.7, 1.0)
    split = kinds("two", steady * two)["two speeds"].values
    assert (split["seed"], split["share"]) == (0, pytest.approx(15 / 40, abs=0.01))


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("other load", {"other_load": 0.2}),
        ("heat", {"throttled": 2}),
        ("swap", {"swapped_bytes": 2**21}),
    ],
)
def test_what_the_machine_did(make_run, kind, value):
    for name, given in (("quiet", dict.fromkeys(value, 0)), ("loud", value)):
        folder = make_run(
            name,
            seeds=(0,),
            conditions=lambda c, n, g=given: Conditions(gemm_gflops=100.0, **g),
        )
        assert set(found(folder)) == ({kind} if name == "loud" else set())


def test_clock_and_machine(make_run):
    def conditions(cell, number):
        return Conditions(gemm_gflops=100.0 + 10 * number, clock_mhz=2000 + 100.0 * number)

    kinds = found(make_run(seeds=(0,), conditions=conditions))
    assert set(kinds) == {"clock", "machine varied"}
    assert set(kinds["clock"].values["clocks"].values()) == {(2000.0, 2700.0)}


def test_the_load_average_counts_where_no_load_was_measured(make_run):
    busy = {"seeds": (0,), "load_average": (1.5, 1.0, 0.5)}
    assert "machine busy" in found(make_run(**busy))
    quiet = Conditions(gemm_gflops=100.0, other_load=0.01)
    assert "machine busy" not in found(make_run("measured", **busy, conditions=lambda c, n: quiet))
