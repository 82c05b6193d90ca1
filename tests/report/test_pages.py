"""The pages as a whole: which sections they have, how long they are, that they are well formed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from harness.analysis.summary import RunSummary
from harness.errors import BenchError
from harness.measure.conditions import Conditions
from harness.plan import Cell
from harness.report import registry
from harness.report.markdown import figures, pages, render
from harness.report.section import Section
from harness.results.folder import CellArrays, RunFolder
from harness.results.load import CELL_COLUMNS, cells_frame, epochs_frame
from harness.results.records import Latency, MachinePeak

MakeRun = Callable[..., RunFolder]
MAKE_RUN = ("torch", "torch-compile", "jax", "jax-s2d", "knet", "julia-reference")
PEAK = MachinePeak(threads=1, gemm_gflops={"float32": 100.0, "float64": 50.0}, bandwidth_gb_s=20.0)


def written(folder: RunFolder) -> dict[str, str]:
    return pages(RunSummary.read(folder))


def tables(markdown: str) -> Iterator[list[list[str]]]:
    """Tables outside code, as rows of cells; an escaped pipe does not end a cell."""
    for block in re.split(r"\n\s*\n", prose(markdown)):
        lines = [line for line in block.splitlines() if line.startswith("|")]
        if lines:
            yield [
                [c.strip() for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]] for line in lines
            ]


def prose(markdown: str) -> str:
    return re.sub(r"^(`{3,})\w*\n.*?^\1$", "", markdown, flags=re.DOTALL | re.MULTILINE)


def headline(markdown: str) -> dict[str, list[str]]:
    """Rows by variant of the table of results."""
    found = next(table for table in tables(markdown) if table[0][0] == "Variant")
    return {row[0]: row[1:] for row in found[2:]}


def everything(make_run: MakeRun, **changes: object) -> RunFolder:
    """A run in which every section but those of several labels applies."""
    names = MAKE_RUN
    return make_run(
        **{
            "frameworks": names,
            "seeds": (0, 1, 2),
            "examples": True,
            "machine": PEAK,
            "conditions": lambda cell, n: Conditions(gemm_gflops=100.0, other_load=0.15),
            "inference": dict.fromkeys(
                names, (Latency(batch_size=1, first_s=0.5, seconds=(0.25,) * 20),)
            ),
            "operations": {name: {"convolution": 0.5, "other": 0.5} for name in names},
        }
        | changes
    )


def test_the_first_page_is_short_and_starts_with_the_answer(make_run: MakeRun) -> None:
    report = written(everything(make_run))["report.md"]
    lines = report.splitlines()
    assert len(lines) <= 250
    assert re.match(r"# LeNet-5 .* on digits: PyTorch, .* compared", lines[0])
    assert len(list(tables(report))) == 1
    assert 1 <= report.count("](figures/") <= 3
    first_number = next(n for n, line in enumerate(lines) if line.startswith("| PyTorch"))
    assert first_number <= 15
    assert list(headline(report))[:3] == ["PyTorch", "JAX (Flax NNX)", "Julia (Knet.jl)"]
    for page in ("details.md", "code.md", "results.csv"):
        assert f"({page}" in report


def test_every_section_has_its_place(make_run: MakeRun) -> None:
    summary = RunSummary.read(everything(make_run))
    found = pages(summary)
    absent = {"AUROC, label by label", "Failed cells"}  # ten classes, and none
    for section in (*registry.SECTIONS, registry.GLOSSARY):
        heading = f"\n## {section.title}\n"
        body = section.applies(summary) and section.body(summary)
        assert (heading in found[section.page]) == bool(body), section.title
        assert section.applies(summary) == (section.title not in absent), section.title


def test_a_section_is_added_or_removed_in_one_place(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = Section(title="Extra", brief=lambda summary: "brief", body=lambda summary: "whole")
    monkeypatch.setattr("harness.report.markdown.SECTIONS", (*registry.SECTIONS[:2], extra))
    found = written(make_run(seeds=(0,)))
    assert "## Extra\n\nbrief" in found["report.md"]
    assert "## Extra\n\nwhole" in found["details.md"]
    assert "## Data" not in found["details.md"]


def test_what_was_not_measured_has_no_section(make_run: MakeRun) -> None:
    details = written(make_run(seeds=(0,)))["details.md"]
    assert "## Time to accuracy" in details  # the epochs have it
    for title in ("Hardware", "Inference", "Where the time", "Example", "AUROC, label"):
        assert f"## {title}" not in details


def test_a_gpu_is_named_and_not_held_against_the_processor(make_run: MakeRun) -> None:
    """What NumPy's matrix product reached on the CPU says nothing of a training beside it."""

    def conditions(cell: Cell, n: int) -> Conditions:
        return Conditions(gemm_gflops=100.0 + 20 * n)  # for a CPU: too varied to trust

    names = ("torch", "jax")
    facts = {name: {"device": "Made-up GPU"} for name in names}
    folder = everything(
        make_run, frameworks=names, device="gpu", conditions=conditions, facts=facts
    )
    found = written(folder)
    assert "GPU: Made-up GPU. CPU: Made-up processor" in found["report.md"]
    assert "Machine varied" not in found["details.md"]
    assert "Hardware utilisation" not in found["details.md"]


def test_of_many_trainings_the_predictions_of_the_first_seeds_are_read(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Cell] = []
    whole = RunFolder.read_arrays

    def noted(folder: RunFolder, cell: Cell) -> CellArrays | None:
        read.append(cell)
        return whole(folder, cell)

    monkeypatch.setattr(RunFolder, "read_arrays", noted)
    monkeypatch.setattr("harness.analysis.run.MOST_READ", 7)
    folder = everything(make_run, frameworks=("torch", "jax"), seeds=(0, 1, 2, 3, 4))
    render(folder.path)
    assert {cell.seed for cell in read} == {0, 1, 2}
    assert len(read) == 6, "each once"
    report = (folder.path / "report.md").read_text("utf-8")
    assert "of the first 3 of 5 seeds" in report
    assert "Predictions missing" not in report
    rows = pd.read_csv(folder.path / "results.csv")
    assert rows["test_accuracy"].notna().sum() == 10, "what is not of predictions is of all"


def test_of_many_seeds_the_first_stand_in_tables_and_whatever_differs(make_run: MakeRun) -> None:
    different = {("jax", 23): {"batch_order": "f" * 64}}
    folder = make_run(frameworks=("torch", "jax"), seeds=tuple(range(25)), identity=different)
    details = pages(RunSummary.read(folder))["details.md"]
    assert "the first 20 seeds, and any that differ" in details
    (digests,) = (rows for rows in tables(details) if rows[0][:2] == ["Held", "Seed"])
    order = [row[1] for row in digests[1:] if row[0] == "batch order"]
    assert order == [*map(str, range(20)), "23"]
    (trainings,) = (rows for rows in tables(details) if {"Seed", "Test loss"} <= set(rows[0]))
    assert {row[1] for row in trainings[2:]} == set(map(str, range(20)))


def test_links_lead_somewhere(make_run: MakeRun) -> None:
    folder = everything(make_run)
    render(folder.path)
    texts = {path.name: path.read_text("utf-8") for path in folder.path.glob("*.md")}
    assert set(texts) == {"report.md", "details.md", "code.md"}
    anchors = {
        f"{name}#{re.sub(r'[^a-z0-9_ -]', '', title.lower()).replace(' ', '-')}"
        for name, text in texts.items()
        for title in re.findall(r"^#+ (.*)$", prose(text), re.MULTILINE)
    }
    for text in texts.values():
        for target in re.findall(r"\]\(([^)]+)\)", prose(text)):
            if not target.startswith("https://"):
                assert target in anchors or (folder.path / target).is_file(), target


def test_rendering_twice_gives_the_same_bytes(make_run: MakeRun) -> None:
    folder = everything(make_run, seeds=(0,))

    def contents() -> dict[Path, bytes]:
        render(folder.path)
        return {p: p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}

    first = contents()
    assert contents() == first
    assert {p.name for p in first} >= {"report.md", "results.csv", "digits-lenet5-speed.svg"}
    for path in (folder.path / "figures").glob("*.svg"):
        assert first[path].startswith(b"<?xml")
        assert b"<dc:date>" not in first[path]


def test_figures_of_several_labels_are_drawn(make_run: MakeRun) -> None:
    settings = {"task": "multilabel", "classes": ("a", "$b$", "never"), "never": ("never",)}
    summary = RunSummary.read(make_run(**settings, failed={("jax", 1): "x"}))
    drawn = {Path(path).name for path in figures(summary)}
    assert {"digits-lenet5-roc.svg", "digits-lenet5-calibration.svg"} <= drawn
    assert "Mean AUROC (95 %)" in pages(summary)["report.md"]


def test_what_is_the_same_in_all_variants_is_shown_once(make_run: MakeRun) -> None:
    same = {"torch": 2, "jax": 2}
    report = written(make_run(frameworks=tuple(same), wrong=same))["report.md"]
    assert "accuracy" not in next(tables(report))[0][2].lower()
    assert "The same in both variants: Test accuracy 95.8 %" in report
    other = written(make_run("x", frameworks=tuple(same), wrong={"torch": 2, "jax": 3}))
    assert next(tables(other["report.md"]))[0][2] == "Test accuracy (95 %)"


def test_failed_missing_and_skipped_stand_in_the_table(make_run: MakeRun) -> None:
    report = written(
        make_run(
            failed={("jax", 0): "worker died: a|b <i>", ("jax", 1): "too", ("torch", 1): "late"},
            missing=[("torch-compile", 1)],
            skipped={"jax-s2d": "not installed: jax"},
        )
    )["report.md"]
    rows = headline(report)
    assert r"**failed**: worker died: a\|b &lt;i&gt;" in rows["JAX (Flax NNX)"]
    assert "skipped: not installed: jax" in rows["JAX (space-to-depth)"]
    assert rows["PyTorch (**1 of 2 seeds**)"]
    assert report.count("- **Failed**") == 3
    assert "`logs/jax-lenet5-digits-s0.log`" in report


def test_several_models_and_data_sets(make_run: MakeRun) -> None:
    folder = make_run(
        models=("lenet5", "lenet5-relu"), datasets=("digits", "my digits"), seeds=(0,)
    )
    summary = RunSummary.read(folder)
    found = pages(summary)
    assert len(list(tables(found["report.md"]))) == 4
    assert "### LeNet-5 (ReLU, max pooling) on my digits" in found["details.md"]
    shown = set(re.findall(r"\]\((figures/[^)]+)\)", "".join(found.values())))
    drawn = [d.path for s in registry.SECTIONS if s.applies(summary) for d in s.figures(summary)]
    assert shown == set(drawn)
    assert len(drawn) == 20


@pytest.mark.parametrize(
    "classes",
    [tuple("0123456789"), ("a|b", "c`d", "*e*", "f_g", "<h>", "i\nj", "[k]", "l\\", "$m$", "n")],
    ids=["digits", "hostile"],
)
def test_every_table_is_well_formed(make_run: MakeRun, classes: tuple[str, ...]) -> None:
    found = written(
        everything(
            make_run,
            classes=classes,
            failed={("jax", 1): "Traceback:\n  a | b\n```\n| c |"},
            skipped={"jax-scan": "needs | pipes"},
        )
    )
    assert sum(len(list(tables(text))) for text in found.values()) >= 15
    for text in found.values():
        for table in tables(text):
            assert {len(row) for row in table} == {len(table[0])}, table
            assert all(re.fullmatch(r":-+|-+:", cell) for cell in table[1])
        assert "<h>" not in text
        html = set(re.findall(r"</?(\w+)[^>]*>", re.sub(r"`{3}.*?`{3}", "", text, flags=re.DOTALL)))
        assert html <= {"details", "summary"}
        assert "nan" not in prose(text).casefold().split()


JULIA_FACTS = {
    "knet": {"julia": "1.2.3", "engine": "Knet.jl 9.9.9", "bridge": "juliacall 0.0"},
    "julia-reference": {"julia": "1.2.4", "engine": "standard library", "bridge": "ctypes"},
}


def test_the_two_julia_variants_cannot_be_confused(make_run: MakeRun) -> None:
    found = written(make_run(frameworks=("torch", "knet", "julia-reference"), facts=JULIA_FACTS))
    rows = headline(found["report.md"])
    roles = {name: row[0] for name, row in rows.items()}
    assert roles == {
        "PyTorch": "plain", "Julia (Knet.jl)": "plain", "Julia (reference engine)": "bound",
    }  # fmt: skip
    details = found["details.md"]
    (shown,) = (table for table in tables(details) if table[0][-1] == "Ran on")
    ran_on = {row[1]: row[-1] for row in shown[2:]}
    assert ran_on["`knet`"] == "julia 1.2.3, engine Knet.jl 9.9.9, bridge juliacall 0.0"
    assert "It is not Knet.jl" in details
    assert (
        "It is not Knet.jl"
        not in written(make_run("x", frameworks=("torch", "knet")))["details.md"]
    )


def test_code_is_compared_family_by_family(make_run: MakeRun) -> None:
    frameworks = ("torch", "jax", "knet", "julia-reference")
    code = written(make_run(frameworks=frameworks, seeds=(0,)))["code.md"]
    practice, lines, *_ = tables(code)
    assert [row[0] for row in practice[2:]] == [
        "Building the model", "Training", "Loading data", "What its user must know",
        "Written by hand here", "Documentation",
    ]  # fmt: skip
    assert all("https://" in cell for cell in practice[-1][1:])
    counts = {row[0]: row[1:] for row in lines[2:]}
    parts = [row for title, row in counts.items() if not title.startswith(("besides", "**all"))]
    assert len(parts) == 3
    for column in range(3):
        assert counts["**all**"][column] == str(sum(int(row[column]) for row in parts))
    assert "```julia\n" in code
    assert "```python\n" in code


def test_csv_reads_back(make_run: MakeRun) -> None:
    folder = make_run(failed={("jax", 1): "a, b\nc"}, missing=[("torch", 1)])
    render(folder.path)
    read = pd.read_csv(folder.path / "results.csv").set_index(["framework", "seed"])
    known = [name for name in CELL_COLUMNS if name not in ("framework", "seed")]
    assert list(read.columns)[: len(known)] == known
    assert read["status"].to_dict() == {
        ("torch", 0): "ok", ("jax", 0): "ok", ("torch-compile", 0): "ok",
        ("jax", 1): "failed", ("torch-compile", 1): "ok", ("torch", 1): "not run",
    }  # fmt: skip
    assert read.loc[("jax", 1), "error"] == r"a, b\nc"
    result = folder.read_result(Cell(framework="jax", model="lenet5", dataset="digits", seed=0))
    assert result is not None
    assert result.test is not None
    assert read.loc[("jax", 0), "test_correct"] == result.test.correct
    assert read.loc[("jax", 0), "peak_rss_mib"] == 300
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


def test_a_run_of_a_former_name_opens_and_is_shown_under_the_present_one(
    make_run: MakeRun,
) -> None:
    from harness.analysis.compare import compare

    folder = make_run(frameworks=("torch", "julia-reference"), seeds=(0,))
    for path in [folder.path / "experiment.json", *(folder.path / "cells").iterdir()]:
        if path.suffix == ".json":
            path.write_text(path.read_text().replace("julia-reference", "julia"))
        path.rename(path.with_name(path.name.replace("julia-reference", "julia")))
    again = RunFolder.open(folder.path)
    assert again.manifest.experiment.frameworks == ("torch", "julia-reference")
    assert all(again.read_arrays(cell) is not None for cell in again.manifest.cells)
    assert "`julia-reference`" in written(again)["details.md"]
    (variant,) = compare([folder.path, folder.path], variants=["julia/*/*"]).variants
    assert variant.key.framework == "julia-reference"
