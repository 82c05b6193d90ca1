"""The data sets: splits, classes, source, licence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from harness.analysis.labels import is_synthetic
from harness.analysis.summary import RunSummary
from harness.data.cards import load_cards
from harness.report.section import Section, paragraphs
from harness.report.text import code, escape, plural, table
from harness.results.folder import DatasetEntry


def body(summary: RunSummary) -> str:
    manifest = summary.run.manifest
    parts = []
    for name, entry in manifest.datasets.items():
        parts.append(dataset(name, entry, manifest.data_warnings.get(name, ())))
        parts.append(published(name))
    return paragraphs(*parts)


def published(name: str) -> str:
    """Results that others published on the data set, one a row; or nothing."""
    card = load_cards().get(name)
    rows = [
        [escape(each.model), escape(each.metric), escape(each.value), escape(each.where)]
        for each in (card.references if card else ())
    ]
    if not rows:
        return ""
    return paragraphs(
        "Other trainings on this data set, with other networks or other images; no part of this "
        "comparison:",
        table(["Published elsewhere", "Measure", "Value", "Source"], rows, align="llrl"),
    )


def dataset(name: str, entry: DatasetEntry, warnings: Sequence[str] = ()) -> str:
    channels, height, width = entry.image_shape
    classes = ", ".join(entry.classes)
    rows = [
        ("images", f"{entry.train:,} train, {entry.val:,} validation, {entry.test:,} test"),
        ("image", f"{plural(channels, 'channel')}, {height} x {width} pixels"),
        (f"classes ({len(entry.classes)})", escape(classes)),
        ("task", escape(entry.task)),
        *([("images", "**synthetic**")] if is_synthetic(name, entry) else []),
        ("split", escape(entry.split)),
        *(("**warning**", escape(warning)) for warning in warnings),
        ("licence", escape(entry.license)),
        *(("source", line) for line in _source_lines(entry.source)),
        ("SHA-256 of the HDF5 file", code(entry.sha256)),
    ]
    return table(["Data set", escape(name)], rows)


def _source_lines(source: str) -> Iterable[str]:
    """Where the files came from; the schema says a JSON list of mappings, but show anything."""
    try:
        entries = json.loads(source)
    except ValueError:
        entries = source
    for entry in entries if isinstance(entries, list) else [entries]:
        if not isinstance(entry, dict):
            yield escape(str(entry))
            continue
        parts = [escape(str(entry[key])) for key in ("file", "url", "note") if key in entry]
        parts += [
            f"{escape(str(key))}: {escape(str(value))}"
            for key, value in entry.items()
            if key not in ("file", "url", "note", "sha256")
        ]
        if "sha256" in entry:
            parts.append(f"SHA-256 {code(str(entry['sha256']))}")
        yield ", ".join(parts)


SECTION = Section(title="Data", body=body)
