"""One small real run, and everything that must hold of what it leaves."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from io import StringIO

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.cli.run import run as run_command
from harness.config import Experiment, load_experiment
from harness.plugins import backends, find_model
from harness.protocol.weights import load_weights
from harness.results.folder import RunFolder
from harness.settings import nested

EPOCHS = 2


@pytest.fixture(scope="module")
def frameworks(ready):
    return ready("torch", "jax", "knet", "julia-reference")


@pytest.fixture(scope="module")
def ran(bench, frameworks, tmp_path_factory):
    """The process of ``bench run`` and the folder of its results."""
    base = tmp_path_factory.mktemp("end-to-end")
    done = bench(
        "run", "--frameworks", frameworks, "--datasets", "digits", "--epochs", EPOCHS,
        "--threads", 1, "--no-warm-start", "--out", base / "run", "--data-dir", base / "data",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done, RunFolder.open(base / "run")


def test_what_a_log_file_gets(ran, frameworks):
    done, folder = ran
    export, *lines, report = done.stderr.splitlines()
    assert export.startswith("digits: exporting to ")
    for cell in folder.manifest.cells:
        assert any(cell.id in line for line in lines), cell
    assert sum("test accuracy" in line for line in lines) == len(frameworks.split(","))
    assert report.startswith("report: ")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr)
    assert "accuracy" in done.stdout


def test_the_files_of_a_run(ran):
    _, folder = ran
    wanted = {"experiment.json", "environment.json", "machine.json", "benchmark.json"}
    wanted |= {
        "report.md",
        "details.md",
        "code.md",
        "report.html",
        "results.csv",
        ".lock",
        "environments.json",
    }
    for cell in folder.manifest.cells:
        wanted |= {f"cells/{cell.id}{end}" for end in (".json", ".h5", ".weights.h5")}
        wanted |= {f"logs/{cell.id}.log"}
    files = {
        path.relative_to(folder.path).as_posix()
        for path in folder.path.rglob("*")
        if path.is_file()
    }
    assert files >= wanted
    others = files - wanted - {"logs/pytest.log"}
    assert {name.split("/")[0] for name in others} == {"figures"}, others


def test_the_records_agree_with_each_other(ran):
    _, folder = ran
    (entry,) = folder.manifest.datasets.values()
    identities = set()
    for result in folder.results():
        assert result.status == "ok"
        assert len(result.epochs) == EPOCHS
        steps = entry.train // 64
        assert {epoch.images for epoch in result.epochs} == {steps * 64}
        arrays = folder.read_arrays(result.cell)
        assert arrays.step_losses.shape == (EPOCHS * steps,)
        means = arrays.step_losses.reshape(EPOCHS, steps).mean(axis=1)
        np.testing.assert_allclose(means, [epoch.loss for epoch in result.epochs], rtol=1e-12)
        correct = (arrays.test_logits.argmax(axis=1) == arrays.test_labels).sum()
        assert (result.test.correct, result.test.examples) == (correct, entry.test)
        assert result.test.accuracy > 0.5  # chance is 0.1
        identities.add(result.identity)
        parameters = find_model("lenet5").parameters(entry.image_shape, len(entry.classes))
        weights = load_weights(folder.weights_path(result.cell), parameters)
        assert all(np.isfinite(array).all() for array in weights.values())
    assert len(identities) == 1


def test_benchmark_json_holds_the_same_rounds(ran, python):
    _, folder = ran
    path = folder.path / "benchmark.json"
    benchmarks = {
        (entry["extra_info"]["framework"], entry["extra_info"]["seed"]): entry
        for entry in json.loads(path.read_bytes())["benchmarks"]
    }
    assert len(benchmarks) == len(folder.manifest.cells)
    for result in folder.results():
        entry = benchmarks[result.cell.framework, result.cell.seed]
        np.testing.assert_allclose(entry["stats"]["data"], result.epoch_seconds, rtol=1e-12)
        assert entry["stats"]["rounds"] == EPOCHS
        assert entry["extra_info"]["test_accuracy"] == result.test.accuracy

    compared = python("-m", "pytest_benchmark", "compare", path)
    assert compared.returncode == 0, compared.stderr
    for cell in folder.manifest.cells:
        assert cell.id in compared.stdout


def test_results_csv_agrees_with_the_records(ran):
    _, folder = ran
    table = pd.read_csv(StringIO((folder.path / "results.csv").read_text()))
    assert len(table) == len(folder.manifest.cells)
    for row, result in zip(table.to_dict("records"), folder.results(), strict=True):
        assert (row["framework"], row["seed"], row["status"]) == (result.cell.framework, 0, "ok")
        # On a busy machine some rounds stay disturbed, and these do not count.
        rounds = [each for each in result.rounds if not each.disturbed] or result.rounds
        for value, written in (
            (result.test.accuracy, row["test_accuracy"]),
            (result.test.loss, row["test_loss"]),
            (np.median([each.seconds for each in rounds]), row["round_seconds_median"]),
            (np.median([e.images / e.seconds for e in rounds]), row["images_per_second"]),
            (result.peak_rss_bytes / 2**20, row["peak_rss_mib"]),
        ):
            assert math.isclose(value, written, rel_tol=1e-5)
        assert (row["test_correct"], row["parameters"]) == (result.test.correct, result.parameters)


def test_rendering_again_gives_the_same_bytes(ran):
    _, folder = ran
    rendered = [*folder.path.glob("*.md"), *folder.path.glob("*.csv")]
    rendered += folder.path.glob("figures/*")
    assert len(rendered) > 2
    before = {path: path.read_bytes() for path in rendered}
    for path in rendered:
        path.unlink()
    done = CliRunner().invoke(main, ["report", str(folder.path)])
    assert done.exit_code == 0, done.output
    assert {path: path.read_bytes() for path in rendered} == before


def test_the_recorded_command_is_the_same_experiment(ran, tmp_path):
    _, folder = ran
    command, verb, *words = shlex.split(folder.manifest.command)
    assert (command, verb) == ("bench", "run")
    options = run_command.make_context(verb, words).params
    assert load_experiment(None, nested(Experiment, options)) == folder.manifest.experiment
    (entry,) = folder.manifest.datasets.values()
    assert options["data_dir"] / "digits.h5" == type(options["data_dir"])(entry.path)


def test_the_logs_hold_no_complaint(ran):
    _, folder = ran
    for cell in folder.manifest.cells:
        log = folder.log_path(cell).read_text()
        assert not re.search("(?i)warning|error|traceback", log), log
    assert "warning" not in (folder.path / "logs" / "pytest.log").read_text().lower()


def test_each_framework_ran_on_the_processors_it_was_given(ran):
    _, folder = ran
    threads = folder.manifest.experiment.threads
    for result in folder.results():
        assert len(result.facts["CPUs"].split(",")) == threads
        # Its version, as it says itself.
        family = backends()[result.cell.framework].family
        assert family is not None
        assert result.facts[family.versions[0]]
    assert sys.version.split()[0] == folder.environment["python"]
