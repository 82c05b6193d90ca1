"""Writes ``report.md``, ``results.csv`` and ``figures/`` into a run's folder, from its results."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness import __version__
from harness.analysis.comparison import SIGNIFICANCE, Group, Run
from harness.backends.spec import BackendSpec
from harness.errors import BenchError
from harness.parity.certificate import Certificate, read_certificate
from harness.plugins import backends
from harness.report import (
    answers,
    certificate,
    closeness,
    examples,
    figures,
    inference,
    labels,
    profile,
    sources,
    tables,
    target,
    text,
    verdict,
)
from harness.report.identity import TOLERANCE, findings
from harness.results.folder import RunFolder, write_atomically
from harness.results.load import cells_frame, to_csv
from harness.results.speed import BUSY, MINIMUM_ROUNDS
from harness.stats.statistics import CONFIDENCE, MINIMUM_POSITIVES

FIGURES = {
    "curves": "Training loss by step and validation {score} by epoch",
    "speed": "Training speed of each framework in images per second",
    "startup": "Seconds that each framework takes once, before its first steady epoch",
    "roc": "ROC curves of each framework, {labels}",
    "calibration": "Reliability of each framework's probabilities",
    "confusion": "Confusion matrix of each framework: true class by row, answer by column",
    "target": "Validation {score} over the seconds since the first touch of data",
    "roofline": "Roofline of the machine with the speed of each framework",
    "inference": "Images per second and latency of answers by batch size",
    "examples": "Test images, each with the class-activation map of each framework over it",
}
"""Kinds of figure and what their text for readers without pictures says."""


def render(path: Path) -> Path:
    """Render the run in ``path`` and return its ``report.md``; the same results, the same bytes.

    Raises:
        BenchError: no run there, damaged files, no results yet, or nothing can be written.
    """
    folder = RunFolder.open(path)
    if not isinstance(folder.environment, dict):
        raise BenchError(f"{path}: environment.json does not describe a machine")
    run = Run.read(folder)
    csv = to_csv(cells_frame(folder))
    drawn = [_figures(run, group) for group in run.groups]
    proof = read_certificate(path)
    proven = {} if proof is None else certificate.draw(proof)
    names = [{kind: name for kind, (name, _) in files.items()} for files in drawn]
    content = _markdown(run, names, proof)
    try:
        for name, figure in proven.items():
            write_atomically(path / name, figure)
        for files in drawn:
            for name, drawing in files.values():
                write_atomically(path / name, drawing)
        write_atomically(path / "results.csv", csv)
        # Last, so that a report never shows figures that are not there.
        write_atomically(path / "report.md", content)
    except OSError as error:
        raise BenchError(f"cannot write the report to {path}: {error.strerror}") from error
    return path / "report.md"


def _figures(run: Run, group: Group) -> dict[str, tuple[str, str | bytes]]:
    """Path below the run's folder and SVG text or bytes of a PNG, by kind."""
    stem = re.sub(r"[^A-Za-z0-9._-]+", "-", f"{group.dataset}-{group.model}")
    return {
        kind: (f"figures/{stem}-{kind}.{'svg' if isinstance(drawing, str) else 'png'}", drawing)
        for kind, drawing in figures.draw(run, group).items()
    }


def _markdown(run: Run, drawn: list[dict[str, str]], proof: Certificate | None) -> str:
    environment = Environment(
        loader=PackageLoader("harness.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown, not HTML: harness.report.text escapes what is foreign
    )
    environment.filters["plain"] = text.escape
    template = environment.get_template("report.md.j2")
    return template.render(
        run=run,
        manifest=run.manifest,
        sections=[
            {
                "group": group,
                "figures": _links(group, names),
                "confused": _confused(group),
                "two_classes": group.entry.task == "multiclass" and len(group.entry.classes) == 2,
                "examples": examples.shown(group),
                "target": target.target_of(run, group),
                "close": closeness.measured(run, group),
                "answered": inference.timed(group),
                "profiled": profile.profiled(group),
            }
            for group, names in zip(run.groups, drawn, strict=True)
        ],
        findings=findings(run),
        notes=_notes(run),
        import_notes=_import_notes(run),
        code=_code(run),
        folder_name=shlex.quote(run.folder.path.resolve().name),
        rendered_by=__version__,
        minimum_rounds=MINIMUM_ROUNDS,
        busy=round(100 * BUSY),
        significance=SIGNIFICANCE,
        tolerance=TOLERANCE[run.manifest.experiment.training.precision],
        escape=text.escape,
        join=text.join,
        fence=text.fence,
        confidence=round(100 * CONFIDENCE),
        minimum_positives=MINIMUM_POSITIVES,
        answers=answers,
        certificate=certificate,
        proof=proof,
        closeness=closeness,
        examples=examples,
        inference=inference,
        labels=labels,
        profile=profile,
        tables=tables,
        target=target,
        verdict=verdict,
    )


def _links(group: Group, names: dict[str, str]) -> dict[str, str]:
    """Markdown pictures by kind."""
    words = {
        "score": "AUROC" if target.uses_auroc(group) else "accuracy",
        "labels": "label by label" if len(group.labels) > 1 else "one plot",
    }
    return {
        kind: f"![{text.escape(f'{FIGURES[kind].format(**words)}: {group.title}')}]({name})"
        for kind, name in names.items()
    }


def _confused(group: Group) -> str:
    """The table on answers of one class out of several; nothing where there are none."""
    if group.entry.task == "multilabel" or not answers.answering(group):
        return ""
    two = len(group.entry.classes) == 2
    return answers.two_classes(group) if two else answers.several_classes(group)


def _notes(run: Run) -> list[str]:
    """What a reader must know of a row to take it for what it is."""
    return [
        f"{text.escape(spec.title)} {spec.note}"
        for name in run.manifest.experiment.frameworks
        if (spec := backends().get(name)) is not None and spec.note
    ]


def _import_notes(run: Run) -> list[str]:
    """What importing is for families where it is more than that."""
    return [
        f"For {text.escape(text.join([spec.title for spec in specs]))}, "
        f"{specs[0].family.import_note}"
        for family, specs in _families(run).items()
        if specs[0].family.import_note
    ]


def _families(run: Run) -> dict[str, list[BackendSpec]]:
    """The variants of the run by family, those that are installed."""
    found: dict[str, list[BackendSpec]] = {}
    for name in run.manifest.experiment.frameworks:
        spec = backends().get(name)
        if spec is not None:
            found.setdefault(spec.family.name, []).append(spec)
    return found


def _code(run: Run) -> dict[str, Any]:
    """The families of the run, with what each one's files hold."""
    families = _families(run)
    cards = list({group.card.name: group.card for group in run.groups if group.card}.values())
    parts = sources.parts([specs[0] for specs in families.values()], cards)
    shown = [family for family in families if any(family in part.sources for part in parts)]
    specs = {spec.name: spec for family in shown for spec in families[family]}
    return {
        "parts": parts,
        "extras": sources.extras(specs, cards),
        "families": {family: _column(families[family]) for family in shown},
        "notes": [families[family][0].family.style_note for family in shown],
    }


def _column(specs: list[BackendSpec]) -> str:
    """What stands over the code of a family."""
    idiom, titles = specs[0].family.style, text.join([spec.title for spec in specs])
    return f"{idiom}: {titles}" if idiom else titles
