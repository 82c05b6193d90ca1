"""The report as a whole: what it shows, what it admits, and that it is well formed."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from harness.cli import main
from harness.errors import BenchError
from harness.plan import Cell
from harness.report.render import render
from harness.report.text import number, ratio
from harness.results.folder import RunFolder
from harness.results.load import CELL_COLUMNS, cells_frame, epochs_frame
from harness.stats.statistics import Estimate

MakeRun = Callable[..., RunFolder]


def tables(markdown: str) -> Iterator[list[list[str]]]:
    """Tables outside code, as rows of cells; an escaped pipe does not end a cell."""
    prose = re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)
    for block in re.split(r"\n\s*\n", prose):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            yield [
                [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in lines
            ]


def headline(markdown: str, first: str = "Framework") -> dict[str, list[str]]:
    """Rows by framework of the first table whose first column is called so."""
    found = next(table for table in tables(markdown) if table[0][0] == first)
    return {row[0]: row[1:] for row in found[2:]}


def written(folder: RunFolder) -> str:
    return render(folder.path).read_text(encoding="utf-8")


def paragraph(markdown: str) -> str:
    return markdown.splitlines()[2]


def test_rendering_twice_gives_the_same_bytes(make_run: MakeRun) -> None:
    folder = make_run()

    def contents() -> dict[Path, bytes]:
        render(folder.path)
        return {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}

    first = contents()
    assert {p.name for p in first} >= {"report.md", "results.csv", "digits-lenet5-speed.svg"}
    assert contents() == first


def test_headline_holds_the_numbers_of_the_results(make_run: MakeRun) -> None:
    folder = make_run(seeds=(0, 2))
    row = headline(written(folder))["JAX (Flax NNX)"]
    results = {(r.cell.framework, r.cell.seed): r for r in folder.results()}

    def speeds(framework: str) -> np.ndarray:
        return np.array(
            [
                e.images / e.seconds
                for s in folder.manifest.experiment.seeds
                for e in results[framework, s].epochs
            ]
        )

    jax, torch = np.log(speeds("jax")), np.log(speeds("torch"))

    def student(logs: np.ndarray) -> tuple[float, float, float]:
        """From the medians of the starts, one a seed of 8 epochs: n - 1 degrees of freedom."""
        centres = np.median(logs.reshape(2, 8), axis=1)
        reach = stats.t.ppf(0.975, 1) * centres.std(ddof=1) / np.sqrt(2)
        centre = centres.mean()
        return tuple(map(float, np.exp([centre, centre - reach, centre + reach])))

    value, low, high = student(jax)
    assert row[1] == f"{value:,.0f} ({number(low)} to {number(high)})"
    value, low, high = student(jax - torch)
    assert row[2] == ratio(Estimate(value, low, high))

    correct = [results["jax", seed].test.correct for seed in (0, 2)]  # type: ignore[union-attr]
    exact = stats.binomtest(round(np.mean(correct)), 60).proportion_ci(0.95, method="exact")
    assert row[0] == (
        f"{np.mean(correct) / 60:.1%} ({100 * exact.low:.1f} to {100 * exact.high:.1f}); "
        f"seeds {100 * min(correct) / 60:.1f} to {max(correct) / 60:.1%}"
    ).replace("%", " %")
    batch = folder.manifest.experiment.training.batch_size
    step = np.median([batch / np.median(np.exp(logs)) for logs in jax.reshape(2, 8)])
    assert row[3:] == [number(1.2 - step), "2.50", "302"]


def test_faster_is_said_only_when_shown(make_run: MakeRun) -> None:
    verdict = paragraph(written(make_run(seeds=(0, 1, 2))))
    assert "JAX (Flax NNX) trained fastest" in verdict
    assert "No difference in test accuracy is shown" in verdict

    even = {"torch": 0.5, "jax": 0.5}
    verdict = paragraph(written(make_run("even", frameworks=("torch", "jax"), seconds=even)))
    assert "No difference in training speed is shown" in verdict
    assert "fastest" not in verdict


def test_few_epochs_claim_nothing(make_run: MakeRun) -> None:
    report = written(make_run(seeds=(0,), epochs=3))
    assert "too few for an interval, so no difference is shown" in paragraph(report)
    assert headline(report)["JAX (Flax NNX)"][2] == "1.26"


def test_accuracies_that_differ_are_said_to(make_run: MakeRun) -> None:
    report = written(make_run(frameworks=("torch", "jax"), wrong={"torch": 2, "jax": 20}))
    p = stats.binomtest(0, 18, 0.5).pvalue
    assert p * 2 < 0.001
    assert "differ beyond the noise of the test images" in paragraph(report)
    assert "PyTorch and JAX (Flax NNX) disagree on 18 of 60 images for each of 2 seeds" in report


def test_one_framework_one_seed_one_epoch(make_run: MakeRun) -> None:
    report = written(make_run(frameworks=("torch",), seeds=(0,), epochs=1))
    assert report.startswith("# Training in PyTorch\n")
    assert paragraph(report).startswith("This run has only PyTorch, so nothing is ranked.")
    assert "nothing to compare: one framework only" in report
    assert headline(report) == {
        "PyTorch": ["96.7 % (88.5 to 99.6)", "1,043", "1", "1.74", "1.50", "300"]
    }


def test_failed_missing_and_skipped_are_shown(make_run: MakeRun) -> None:
    report = written(
        make_run(
            failed={("jax", 0): "worker died: a|b <i>", ("jax", 1): "too", ("torch", 1): "late"},
            missing=[("torch-compile", 1)],
            skipped={"jax-s2d": "not installed: jax"},
        )
    )
    rows = headline(report)
    tuned = headline(report, "Tuned variant")
    assert rows["JAX (Flax NNX)"][0] == r"**failed**: worker died: a\|b &lt;i&gt;"
    assert tuned["JAX (space-to-depth)"][0] == "skipped: not installed: jax"
    assert rows["PyTorch (**1 of 2 seeds**)"]
    assert tuned["PyTorch (torch.compile) (**1 of 2 seeds**)"]
    assert report.count("> - **Failed**") == 3
    assert "> - **Not run yet**: PyTorch (torch.compile)" in report
    assert "`logs/jax-lenet5-digits-s0.log`" in report


def test_all_failed_still_gives_a_report(make_run: MakeRun) -> None:
    failed = {("torch", 0): "no", ("jax", 0): "no"}
    report = written(make_run(frameworks=("torch", "jax"), seeds=(0,), failed=failed))
    assert paragraph(report).startswith("No framework finished")


def test_what_is_not_identical_is_called_out(make_run: MakeRun) -> None:
    report = written(make_run(identity={("jax", 1): {"initial_weights": "f" * 64}}))
    assert "> - **NOT IDENTICAL**: the initial weights" in report
    assert "not everything was held identical" in paragraph(report)
    assert "**identical: NO** (1 of 2 seeds)" in report
    assert "Every framework got identical" not in report


def test_identical_is_said_when_it_is(make_run: MakeRun) -> None:
    report = written(make_run())
    assert "NOT IDENTICAL" not in report
    assert "Every framework got identical data" in paragraph(report)


def test_losses_that_start_apart_are_called_out(make_run: MakeRun) -> None:
    report = written(make_run(seeds=(0,), loss_offset={"jax": 1e-3}))
    assert "**Not the same computation**: JAX (Flax NNX)" in report
    assert "Not the same computation" not in written(
        make_run("close", seeds=(0,), loss_offset={"jax": 1e-6})
    )


def test_results_that_contradict_their_predictions_are_called_out(make_run: MakeRun) -> None:
    folder = make_run(seeds=(0,))
    result = folder.results()[0]
    assert result.test is not None
    lie = result.test.model_copy(update={"correct": 60, "accuracy": 1.0})
    folder.write_result(result.model_copy(update={"test": lie}))
    assert "**Counts disagree**: PyTorch" in written(folder)


def delay(folder: RunFolder, seconds: dict[str, float]) -> None:
    """Start cells so much later than they say now."""
    for result in folder.results():
        started = datetime.fromisoformat(result.started)
        started += timedelta(seconds=seconds.get(result.cell.framework, 0))
        folder.write_result(result.model_copy(update={"started": started.isoformat()}))


def test_a_slow_start_between_them_does_not_part_two_that_took_turns(make_run: MakeRun) -> None:
    folder = make_run(frameworks=("torch", "knet", "julia-reference"), seeds=(0,))
    slow = folder.results()[1]
    assert slow.phases is not None
    phases = slow.phases.model_copy(update={"import_s": 200.0})
    folder.write_result(slow.model_copy(update={"phases": phases}))
    delay(folder, {"knet": 5, "julia-reference": 210})
    report = written(folder)
    assert "did not run in turns" not in report
    assert headline(report, "Bound")["Julia (reference engine)"][3] != "—"

    delay(folder, {"julia-reference": 60})
    report = written(folder)
    assert "Julia (reference engine) and PyTorch, LeNet-5" in report
    assert report.count("did not run in turns") == 1


def test_cells_resumed_later_are_not_paired(make_run: MakeRun) -> None:
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    result = folder.results()[1]
    folder.write_result(result.model_copy(update={"started": "2001-02-03T09:00:00+00:00"}))
    report = written(folder)
    assert "did not run in turns" in report
    assert headline(report)["JAX (Flax NNX)"][2] == "—"
    assert "so they are not compared" in paragraph(report)


JULIA_FACTS = {
    "knet": {"julia": "1.2.3", "engine": "Knet.jl 9.9.9", "bridge": "juliacall 0.0"},
    "julia-reference": {"julia": "1.2.4", "engine": "standard library", "bridge": "ctypes"},
}


def test_the_two_julia_rows_cannot_be_confused(make_run: MakeRun) -> None:
    report = written(make_run(frameworks=("torch", "knet", "julia-reference"), facts=JULIA_FACTS))
    assert list(headline(report)) == ["PyTorch", "Julia (Knet.jl)"]
    assert list(headline(report, "Bound")) == ["Julia (reference engine)"]
    (rows,) = (table for table in tables(report) if table[0][-1] == "Ran on")
    shown = {name: (title, ran_on) for title, name, _, _, ran_on in rows[2:]}
    assert shown["`knet`"] == (
        "Julia (Knet.jl)",
        "julia 1.2.3, engine Knet.jl 9.9.9, bridge juliacall 0.0",
    )
    assert shown["`julia-reference`"] == (
        "Julia (reference engine)",
        "julia 1.2.4, engine standard library, bridge ctypes",
    )
    assert "| engine | — | Knet.jl 9.9.9 | standard library |" in report
    note = next(line for line in report.splitlines() if "It is not Knet.jl" in line)
    assert note.startswith("Julia (reference engine) is this project's own engine")
    both = "Julia (Knet.jl) and Julia (reference engine)"
    assert f"For {both}, import is the start of Julia" in report


def test_the_note_on_the_engine_stands_only_where_it_ran(make_run: MakeRun) -> None:
    report = written(make_run(frameworks=("torch", "knet")))
    assert "It is not Knet.jl" not in report
    assert "only in Julia (reference engine)" not in report
    plain = written(make_run("plain"))
    assert "For Julia" not in plain
    assert "idiom of Knet" not in plain


def test_code_is_compared_in_three_columns(make_run: MakeRun) -> None:
    report = written(make_run(frameworks=("torch", "jax", "knet", "julia-reference"), seeds=(0,)))
    (lines,) = (table for table in tables(report) if table[0][0] == "Lines of code")
    assert lines[0][1:] == [
        "PyTorch",
        "JAX (Flax NNX)",
        "Julia in the idiom of Knet.jl: Julia (Knet.jl) and Julia (reference engine)",
    ]
    counts = {row[0]: row[1:] for row in lines[2:]}
    parts = [row for title, row in counts.items() if not title.startswith(("besides", "**all"))]
    assert len(parts) == 3
    for column in range(3):
        assert counts["**all**"][column] == str(sum(int(row[column]) for row in parts))
    besides = [row for title, row in counts.items() if title.startswith("besides")]
    assert len(besides) == 3
    assert all(row[:2] == ["—", "—"] and int(row[2]) > 10 for row in besides)
    for path in ("julia/src/models/layers.jl", "julia/src/train.jl", "julia/knet/src"):
        assert re.search(rf"`{path}[^`]*`:\n\n```julia\n", report), path
    assert "| `julia/src/standard/tape.jl` | " in report
    assert "`julia/src/standard/tape.jl`:" not in report


def test_what_is_paid_once_is_shown_apart(make_run: MakeRun) -> None:
    report = written(make_run(frameworks=("torch", "knet")))
    (paid,) = (table for table in tables(report) if "Process start, s" in table[0])
    assert {row[0]: row[1:] for row in paid[2:]} == {
        "PyTorch": ["0.100", "2.00", "0.0500", "1.80", "0.0200", "3.97"],
        "Julia (Knet.jl)": ["0.100", "2.00", "0.0500", "1.50", "0.0200", "3.67"],
    }


def test_pairs_that_answer_alike_share_a_sentence(make_run: MakeRun) -> None:
    same = {"torch": 2, "jax": 2, "knet": 2}
    report = written(make_run(frameworks=tuple(same), wrong=same))
    assert (
        "- Every two of PyTorch, JAX (Flax NNX) and Julia (Knet.jl) (3 pairs) give the same answer "
        "on all 60 images for every seed: no difference shown." in report
    )
    assert "(95.8 % in all 3)" in paragraph(report)

    report = written(
        make_run("one", frameworks=(*same, "julia-reference"), wrong={**same, "julia-reference": 4})
    )
    assert "- The other 3 pairs give the same answer" in report
    assert report.count("disagree on 2 of 60 images") == 3


def test_unsteady_speed_is_called_out(make_run: MakeRun) -> None:
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    result = folder.results()[0]

    def slowed(epochs: int) -> str:
        slow = [e.model_copy(update={"seconds": 5 * e.seconds}) for e in result.epochs[:epochs]]
        changed = (*slow, *result.epochs[epochs:])
        folder.write_result(result.model_copy(update={"epochs": changed}))
        return written(folder)

    report = slowed(3)
    assert "> - **Unsteady**: PyTorch," in report
    assert "**not judged** (PyTorch: not steady)" in paragraph(report)
    assert "fastest" not in paragraph(report)
    assert "Unsteady" not in slowed(1)


def test_losses_that_are_not_numbers_are_admitted(make_run: MakeRun) -> None:
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    for result in folder.results():
        arrays = folder.read_arrays(result.cell)
        assert arrays is not None
        arrays.step_losses[3 if result.cell.framework == "torch" else 0 :] = np.nan
        folder.write_arrays(result.cell, arrays)
    report = written(folder)
    assert "a training loss is not a number within the first 64 steps" in report


def test_lost_predictions_are_admitted(make_run: MakeRun) -> None:
    folder = make_run(frameworks=("torch", "jax"), seeds=(0,))
    (folder.path / "cells" / "jax-lenet5-digits-s0.h5").unlink()
    report = written(folder)
    assert "predictions and step losses of 1 cell are missing" in report
    assert "no predictions are at hand" in paragraph(report)


def test_several_networks_and_data_sets(make_run: MakeRun) -> None:
    folder = make_run(
        models=("lenet5", "lenet5-relu"), datasets=("digits", "my digits"), seeds=(0,)
    )
    report = written(folder)
    assert report.count("### LeNet-5 (ReLU, max pooling) on my digits") == 7
    figures = re.findall(r"\]\((figures/[^)]+)\)", report)
    assert len(set(figures)) == 20
    assert all((folder.path / name).is_file() for name in figures)


@pytest.mark.parametrize(
    "classes",
    [tuple("0123456789"), ("a|b", "c`d", "*e*", "f_g", "<h>", "i\nj", "[k]", "l\\", "$m$", "n")],
    ids=["digits", "hostile"],
)
def test_every_table_is_well_formed(make_run: MakeRun, classes: tuple[str, ...]) -> None:
    report = written(
        make_run(
            classes=classes,
            failed={("jax", 1): "Traceback:\n  a | b\n```\n| c |"},
            skipped={"jax-s2d": "needs | pipes"},
        )
    )
    found = list(tables(report))
    assert len(found) >= 10
    for table in found:
        assert {len(row) for row in table} == {len(table[0])}, table
        assert all(re.fullmatch(r":-+|-+:", cell) for cell in table[1])
    assert "<h>" not in report
    html = set(re.findall(r"</?(\w+)[^>]*>", re.sub(r"```.*?```", "", report, flags=re.DOTALL)))
    assert html <= {"details", "summary"}


def test_figures_are_xml(make_run: MakeRun) -> None:
    folder = make_run(failed={("jax", 0): "x"})
    render(folder.path)
    figures = sorted((folder.path / "figures").iterdir())
    assert len(figures) == 5
    for path in figures:
        root = ElementTree.parse(path).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "<dc:date>" not in path.read_text()


def test_csv_reads_back(make_run: MakeRun) -> None:
    folder = make_run(failed={("jax", 1): "a, b\nc"}, missing=[("torch", 1)])
    render(folder.path)
    read = pd.read_csv(folder.path / "results.csv").set_index(["framework", "seed"])
    assert ["framework", "seed", *read.columns] == [
        "framework", "seed", *(c for c in CELL_COLUMNS if c not in ("framework", "seed"))
    ]  # fmt: skip
    assert read["status"].to_dict() == {
        ("torch", 0): "ok", ("jax", 0): "ok", ("torch-compile", 0): "ok",
        ("jax", 1): "failed", ("torch-compile", 1): "ok", ("torch", 1): "not run",
    }  # fmt: skip
    assert read.loc[("jax", 1), "error"] == "a, b\nc"
    result = folder.read_result(Cell(framework="jax", model="lenet5", dataset="digits", seed=0))
    assert result is not None
    assert result.test is not None
    row = read.loc[("jax", 0)]
    assert row["test_correct"] == result.test.correct
    assert row["images_per_second"] == pytest.approx(np.median(result.images_per_second), rel=1e-5)
    assert row["round_seconds_median"] == pytest.approx(np.median(result.epoch_seconds), rel=1e-5)
    assert row["peak_rss_mib"] == 300
    assert pd.isna(read.loc[("jax", 1), "peak_rss_mib"])
    assert len(cells_frame(folder)) == 6
    assert len(epochs_frame(folder)) == 4 * 8


def test_no_run_and_damage_are_bench_errors(make_run: MakeRun, tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="holds no run"):
        render(tmp_path / "nowhere")
    empty = make_run(
        "empty", seeds=(0,), missing=[(f, 0) for f in ("torch", "jax", "torch-compile")]
    )
    with pytest.raises(BenchError, match="no result yet"):
        render(empty.path)
    for damage in ("experiment.json", "environment.json", "cells/jax-lenet5-digits-s0.json"):
        folder = make_run(damage.replace("/", "-"), seeds=(0,))
        (folder.path / damage).write_text('{"half": ')
        with pytest.raises(BenchError):
            render(folder.path)
    folder = make_run("arrays", seeds=(0,))
    (folder.path / "cells" / "jax-lenet5-digits-s0.h5").write_bytes(b"half")
    with pytest.raises(BenchError, match="cannot read these predictions"):
        render(folder.path)


def test_command_prints_the_table_and_the_path(make_run: MakeRun) -> None:
    from click.testing import CliRunner

    folder = make_run(failed={("jax", 1): "out of [memory]"}, skipped={"jax-s2d": "not here"})
    done = CliRunner().invoke(main, ["report", str(folder.path)])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip().endswith(str(folder.path / "report.md"))
    assert "LeNet-5 (tanh, average pooling) on digits" in done.stdout
    assert "1 of 2 trained; failed: out of [memory]" in done.stdout
    assert "JAX (space-to-depth): skipped: not here" in done.stdout

    done = CliRunner().invoke(main, ["report", str(folder.path / "nothing")])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
