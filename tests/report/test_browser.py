"""``report.html`` in headless Chromium: one browser for all tests of this module."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up import run_maker

from harness.measure.conditions import Conditions
from harness.report.markdown import render
from harness.results.records import MachinePeak

pytest.importorskip("playwright", reason="playwright is not installed (pip install '.[dev]')")
pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

PEAK = MachinePeak(threads=1, gemm_gflops={"float32": 100.0, "float64": 50.0}, bandwidth_gb_s=20.0)
WIDE, PHONE = 1280, 390
"""Widths in pixels."""
A4_PRINTABLE = 718
"""Width in CSS pixels of an A4 page between margins of 1 cm."""
MOST_PAGES = 35  # 12 of them code
TALLER_THAN_A_PAGE = 1040
"""Height in CSS pixels of an A4 page between margins of 1 cm, rounded down."""
CUT = """(width) => [...document.querySelectorAll("main *")].filter((each) =>
  each.matches(".chart svg, :not(.chart *)") && each.getClientRects().length
  && each.getBoundingClientRect().right > width + 1
).map((each) => `${each.tagName} ${each.className}: ${each.textContent.slice(0, 60)}`)"""
"""Elements that reach beyond the right margin."""
MARK_CODE = """[...document.querySelectorAll("pre.code")].slice(3).forEach((each) =>
  each.classList.add("more-code"))"""
SPEEDS = """table => [...table.tBodies[0].rows].map((row) => row.cells[0].textContent)"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ("torch", "torch-compile", "jax", "knet")
    folder = run_maker(tmp_path_factory.mktemp("runs"))(
        frameworks=names,
        seconds=dict(zip(names, (0.5, 0.3, 0.4, 0.6), strict=True)),
        machine=PEAK,
        examples=True,
        conditions=lambda cell, n: Conditions(gemm_gflops=100.0),
    )
    render(folder.path)
    return folder.path / "report.html"


@pytest.fixture(scope="module")
def opened(report: Path) -> Iterator[tuple[Page, list[str]]]:
    """The report with every figure drawn, and what the page complained of or asked for."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(5000)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda message: faults.append(message.text))
        page.on("request", lambda request: faults.append(request.url))
        page.goto(report.as_uri())
        assert faults == [report.as_uri()]
        faults.clear()
        page.evaluate("places.forEach(draw)")
        page.evaluate(
            "document.querySelectorAll('details').forEach((each) => { each.open = true })"
        )
        yield page, faults
        browser.close()


@pytest.fixture
def page(opened: tuple[Page, list[str]]) -> Iterator[Page]:
    page, faults = opened
    page.emulate_media(media="screen", color_scheme="light")
    page.set_viewport_size({"width": WIDE, "height": 900})
    yield page
    assert [each for each in faults if not each.startswith(("data:", "blob:"))] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_no_accessibility_violation(page: Page, width: int, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 900})
    page.evaluate(MARK_CODE)  # contrast in long code takes seconds: three frameworks' are enough
    violations = Axe().run(page, context={"exclude": [[".more-code"]]}).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in violations] == []
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".chart").count() == page.locator(".chart > .plot-container").count() > 3
    empty = "places.map((each) => each.clientHeight - each.querySelector('svg').clientHeight)"
    assert max(page.evaluate(empty)) < 20
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert dark == (scheme == "dark")


def test_axe_would_find_a_violation(page: Page) -> None:
    page.evaluate("document.documentElement.removeAttribute('lang')")
    found = Axe().run(page, context="html", options={"runOnly": ["html-has-lang"]})
    page.evaluate("document.documentElement.setAttribute('lang', 'en')")
    assert [each["id"] for each in found.response["violations"]] == ["html-has-lang"]


def test_tables_sort(page: Page) -> None:
    table = page.locator("main table").first
    button = table.locator("th button", has_text="images/s")
    button.click()
    slowest_first = table.evaluate(SPEEDS)
    assert slowest_first == [
        "Julia (Knet.jl)", "PyTorch", "JAX (Flax NNX)", "PyTorch (torch.compile)",
    ]  # fmt: skip
    assert table.locator("th[aria-sort=ascending]").count() == 1
    button.press("Enter")
    assert table.evaluate(SPEEDS) == slowest_first[::-1]
    assert table.locator("th[aria-sort=descending]").count() == 1


def test_tables_filter(page: Page) -> None:
    field = page.locator(".filter input").first
    rows = page.locator(".filter + .table").first.locator("tbody tr")
    everything = rows.count()
    word = rows.nth(2).locator("td").first.inner_text()
    field.fill(word.upper())
    shown = rows.locator("visible=true")
    assert 0 < shown.count() < everything
    assert all(word.lower() in text.lower() for text in shown.all_inner_texts())
    field.fill("no such row")
    assert shown.count() == 0
    field.fill("")
    assert shown.count() == everything


def test_prints_whole(page: Page) -> None:
    margin = dict.fromkeys(("top", "right", "bottom", "left"), "1cm")
    printed = page.pdf(format="A4", margin=margin)
    assert 3 < len(re.findall(rb"/Type\s*/Page\b", printed)) <= MOST_PAGES
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    widths = "[...document.querySelectorAll('.chart svg')].map((each) => each.clientWidth)"
    assert 0 < max(page.evaluate(widths)) <= A4_PRINTABLE
    page.set_viewport_size({"width": A4_PRINTABLE, "height": 1000})
    page.emulate_media(media="print")
    assert page.evaluate(CUT, A4_PRINTABLE) == []
    tallest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('figure')].map((each) => each.offsetHeight))"
    )
    assert tallest < TALLER_THAN_A_PAGE
    assert not page.locator("nav").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
