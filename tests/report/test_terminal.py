"""The terminal says what the report says."""

from __future__ import annotations

import io

import pytest
from click.testing import CliRunner
from rich.console import Console

from harness.analysis.summary import RunSummary
from harness.cli import main
from harness.cli.progress import summary as progress_line
from harness.measure.conditions import Conditions
from harness.report.markdown import pages
from harness.report.sections.answer import answer
from harness.report.terminal import next_step, overview
from harness.report.text import plain


def shown(folder, width=300):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(overview(RunSummary.read(folder)))
    return console.export_text()


@pytest.mark.parametrize("load", [0.0, 0.3])
def test_the_same_verdict_as_in_the_report(make_run, load):
    folder = make_run(
        frameworks=("torch", "jax", "torch-compile"),
        epochs=12,
        conditions=lambda cell, n: Conditions(gemm_gflops=50, other_load=load),
    )
    summary = RunSummary.read(folder)
    text = " ".join(shown(folder).split())
    report = pages(summary)["report.md"]
    for sentence in answer(summary.workloads[0]).values():
        assert sentence in report
        assert " ".join(plain(sentence).split()) in text
    assert text.count("not judged") == (3 if load else 0)


def test_the_last_line_says_what_to_do_next(make_run):
    folder = make_run(missing=[("jax", 1)])
    assert shown(folder).strip().splitlines()[-1] == f"next: {next_step(RunSummary.read(folder))}"
    assert "--resume" in next_step(RunSummary.read(folder))
    assert "bench parity" in next_step(RunSummary.read(make_run("whole")))


def test_roles_follow_one_another(make_run):
    frameworks = ("julia-reference", "torch", "torch-compile", "jax", "jax-s2d", "knet")
    text = shown(make_run(frameworks=frameworks, seeds=(0,), epochs=12))
    order = ("PyTorch ", "Julia (Knet.jl)", "tuned variant", "what this CPU allows", "Speed: ")
    found = [text.index(word) for word in order]
    assert found == sorted(found)


def test_command_prints_the_table_and_what_failed(make_run):
    folder = make_run(failed={("jax", 1): "out of [memory]"}, skipped={"jax-s2d": "not here"})
    done = CliRunner().invoke(main, ["report", str(folder.path)])
    assert done.exit_code == 0, done.output
    assert str(folder.path / "report.md") in done.stdout
    assert "LeNet-5 (tanh, average pooling) on digits" in done.stdout
    assert "1 of 2 trained; failed: out of [memory]" in done.stdout
    assert "JAX (space-to-depth): skipped: not here" in done.stdout

    done = CliRunner().invoke(main, ["report", str(folder.path / "nothing")])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_labels_show_auroc_and_not_the_share_of_all_correct(make_run):
    folder = make_run(task="multilabel", classes=("a", "b"), seeds=(0,))
    header = shown(folder).splitlines()[1]
    assert "mean AUROC" in header
    assert "correct" not in header
    assert "AUROC" in progress_line(folder.results()[0])


def test_markdown_becomes_plain_text():
    assert plain(r"**a** `b` [c](d#e) f\_g &lt;h&gt; 1 \* 2") == "a b c f_g <h> 1 * 2"
