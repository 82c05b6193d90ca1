"""``report.html``: one file that needs nothing else, and works in a browser."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from harness.analysis.summary import RunSummary
from harness.measure.conditions import Conditions
from harness.report import registry
from harness.report.markdown import contents, render
from harness.results.records import MachinePeak

PEAK = MachinePeak(threads=1, gemm_gflops={"float32": 100.0, "float64": 50.0}, bandwidth_gb_s=20.0)
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Document(HTMLParser):
    """Elements with their attributes; tells whether tags are nested well."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.faults: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"</{tag}> at {self.getpos()}")

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def folder(make_run):
    names = ("torch", "torch-compile", "jax", "knet")
    return make_run(
        frameworks=names,
        seconds=dict(zip(names, (0.5, 0.3, 0.4, 0.6), strict=True)),
        machine=PEAK,
        examples=True,
        conditions=lambda cell, n: Conditions(gemm_gflops=100.0),
    )


def page(folder) -> str:
    render(folder.path)
    return (folder.path / "report.html").read_text("utf-8")


def test_one_file_with_every_section(folder) -> None:
    text = page(folder)
    assert len(text) < 6_000_000
    document = Document(text)
    assert not document.faults
    assert not document.open
    ids = [attributes["id"] for _, attributes in document.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert len(headings) == len(set(headings)) > 10
    assert {section.anchor for section, _ in contents(RunSummary.read(folder))} <= set(ids)
    for link in document.all("a"):
        target = link["href"] or ""
        assert target.startswith(("https://", "data:")) or target[1:] in ids, target
    for tag, attribute in (("img", "src"), ("script", "src"), ("link", "href")):
        for element in document.all(tag):
            assert (element.get(attribute) or "data:").startswith("data:")
    for image in document.all("img"):
        assert image["alt"]
    assert {link.get("download") for link in document.all("a")} >= {"results.csv", "results.json"}


def test_charts_are_those_of_the_sections(folder) -> None:
    text = page(folder)
    found = re.search(r'<script type="application/json" id="charts">(.*?)</script>', text, re.S)
    assert found is not None
    charts = json.loads(found[1])
    assert len(charts) == len(Document(text).all("figure")) - text.count("<img alt")
    bars = [each for each in charts[0]["data"] if each["type"] == "bar"]
    speeds = RunSummary.read(folder).run.workloads[0].by_role
    assert {bar["y"][0]: bar["x"][0] for bar in bars} == pytest.approx(
        {outcome.title: outcome.speed.value for outcome in speeds}, rel=1e-4
    )
    assert all(chart["data"] for chart in charts)


def test_foreign_names_are_harmless(make_run) -> None:
    names = ("<script>alert(1)</script>", "a|b", "@@CHARTS@@", "c`d", "</script>")
    failed = {("jax", 0): "</script>"}
    folder = make_run(frameworks=("torch", "jax"), classes=names, seeds=(0,), failed=failed)
    document = Document(page(folder))
    assert not document.faults
    assert len(document.all("script")) == 3


def test_labels_have_curves(make_run) -> None:
    folder = make_run(frameworks=("torch",), task="multilabel", classes=("a", "b"), seeds=(0,))
    text = page(folder)
    assert "ROC curves of each variant" in text
    assert registry.SECTIONS
