"""Speeds paired round by round; what is measured beside other work is never claimed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.analysis.baseline import baselines_of
from harness.analysis.paired import paired_speed, paired_starts
from harness.analysis.reproduce import compare_cells
from harness.analysis.summary import RunSummary, WorkloadSummary
from harness.measure.conditions import Conditions
from harness.plan import Cell
from harness.results.folder import RunFolder
from harness.results.load import cells_frame
from harness.results.records import Phases, Restart, Round

MakeRun = Callable[..., RunFolder]
PAIR = ("torch", "jax")


def beside(load: float) -> Callable[[Cell, int], Conditions]:
    return lambda cell, number: Conditions(gemm_gflops=50, other_load=load)


def only(folder: RunFolder) -> WorkloadSummary:
    (each,) = RunSummary.read(folder).workloads
    return each


@pytest.mark.parametrize("load", [0.2, 0.3])
def test_other_load_above_a_quarter_withholds_every_claim(make_run: MakeRun, load: float) -> None:
    each = only(make_run(frameworks=PAIR, seeds=(0,), epochs=12, conditions=beside(load)))
    speeds = each.verdict.speeds
    assert speeds is not None
    claimed = load < 0.25
    assert bool(speeds.slower) == claimed
    assert bool(speeds.doubted) == (not claimed)
    assert each.speeds["jax"].doubt == ("" if claimed else "other load 0.3 of 1 cores")


def disturb(folder: RunFolder, framework: str, numbers: range, **more: object) -> None:
    """Mark these rounds, and make them ten times as slow."""
    for result in folder.results():
        if result.cell.framework == framework:
            epochs = [
                e.model_copy(update={"disturbed": True, "seconds": 10 * e.seconds} | more)
                if n in numbers
                else e
                for n, e in enumerate(result.epochs)
            ]
            folder.write_result(result.model_copy(update={"epochs": tuple(epochs)}))


def test_pairs_rest_on_rounds_undisturbed_for_both(make_run: MakeRun) -> None:
    folder = make_run(frameworks=PAIR, seeds=(0,), epochs=12)
    before = paired_speed(*reversed(only(folder).workload.finished))
    disturb(folder, "torch", range(3), repeats=2)
    disturb(folder, "jax", range(2, 5))
    each = only(folder)
    torch, jax = each.workload.finished
    (ratios,) = paired_starts(jax, torch) or []
    assert len(ratios) == 7
    after = paired_speed(jax, torch)
    assert before is not None
    assert after is not None
    assert after.value == pytest.approx(before.value, rel=0.05)
    assert jax.speed.value / torch.speed.value == pytest.approx(before.value, rel=0.05)
    assert each.verdict.speeds is not None
    assert each.verdict.speeds.clear
    assert sum(r.disturbed for o in each.workload.finished for r in o.rounds) == 6

    disturb(folder, "jax", range(12))
    assert only(folder).workload.finished[1].doubt == "other load in every round"


def test_intervals_come_from_fresh_starts(make_run: MakeRun) -> None:
    folder = make_run(frameworks=PAIR, seeds=(0,), epochs=12)
    assert only(folder).verdict.speeds.starts == (1,)  # type: ignore[union-attr]
    phases = Phases(start_s=1, import_s=1, build_s=1, first_step_s=1, first_predict_s=1)
    for result in folder.results():
        pace = {"torch": 1.0, "jax": 0.8}[result.cell.framework]
        restarts = tuple(
            Restart(
                session=str(n), started="", phases=phases,
                rounds=(Round(seconds=0.5 * pace * (1 + 0.1 * n), images=512),) * 6,
            )
            for n in range(3)
        )  # fmt: skip
        folder.write_result(result.model_copy(update={"restarts": restarts, "session": "first"}))
    each = only(folder)
    starts = paired_starts(*reversed(each.workload.finished))
    assert starts is not None
    assert [len(start) for start in starts] == [12, 6, 6, 6]
    assert each.verdict.speeds.starts == (4,)  # type: ignore[union-attr]
    assert len(each.workload.finished[0].starts) == 4


def test_sessions_that_were_not_interleaved_are_not_paired(make_run: MakeRun) -> None:
    folder = make_run(frameworks=PAIR, seeds=(0,))
    for result in folder.results():
        folder.write_result(result.model_copy(update={"session": result.cell.framework}))
    assert paired_starts(*only(folder).workload.finished) is None


def test_the_intervals_of_a_table_hold_together(make_run: MakeRun) -> None:
    each = only(make_run(frameworks=("torch", "jax", "knet"), seeds=(0,), epochs=12))
    assert each.workload.speed_comparisons == 3
    torch, jax, _ = each.workload.finished
    alone, together = (paired_speed(jax, torch, comparisons=n) for n in (1, 3))
    assert alone is not None
    assert together is not None
    assert together.high > alone.high
    assert each.speeds["jax"].estimate == together


def test_reproduced_speeds_are_corrected_for_the_number_of_cells(make_run: MakeRun) -> None:
    quiet = {"epochs": 12, "conditions": beside(0.0)}
    one = make_run("one", frameworks=("torch",), seeds=(0,), **quiet)
    many = make_run("many", frameworks=("torch",), seeds=tuple(range(9)), **quiet)
    alone, among = (compare_cells(folder, folder).cells[0].speed for folder in (one, many))
    assert alone is not None
    assert among is not None
    assert alone.value == among.value
    assert among.high > alone.high > 1  # type: ignore[operator]
    busy = make_run("busy", frameworks=("torch",), seeds=(0,), epochs=12, conditions=beside(0.9))
    found = compare_cells(one, busy).cells[0]
    assert found.speed is not None
    assert found.speed.verdict == "not judged"
    assert not found.reasons


def test_the_results_table_does_not_contradict_itself(make_run: MakeRun) -> None:
    speeds = {"torch": [*[1000.0] * 8, *[2000.0] * 12]}  # epochs, then further rounds
    folder = make_run(frameworks=("torch",), seeds=(0,), speeds=speeds)
    (row,) = cells_frame(folder).to_dict("records")
    assert row["rounds"] == 20
    assert row["images_per_second"] * row["round_seconds_median"] == pytest.approx(512)


def test_the_gate_and_the_report_give_the_mean_auroc_one_error(make_run: MakeRun) -> None:
    """With fourteen labels so rare that a resample lacks one of them nearly always."""
    classes = tuple("abcdefghijklmn")
    folder = make_run(frameworks=("torch",), seeds=(0,), task="multilabel", classes=classes)
    arrays = folder.read_arrays(folder.manifest.cells[0])
    assert arrays is not None
    arrays.test_labels[:] = 0
    for index in range(14):
        arrays.test_labels[2 * index : 2 * index + 1 + index % 3, index] = 1
    folder.write_arrays(folder.manifest.cells[0], arrays)
    (stored,) = baselines_of(folder)
    ranking = only(folder).workload.finished[0].ranking
    assert ranking is not None
    assert stored.auroc_error == pytest.approx(ranking.error.error)
    # Fourteen labels of one to three images: about 0.3 each if independent.
    assert 0.03 < stored.auroc_error < 0.15
