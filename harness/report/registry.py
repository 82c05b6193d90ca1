"""The sections of the report, in order: to add or remove one, change this list."""

from __future__ import annotations

from harness.report.section import Section
from harness.report.sections import (
    answer,
    cells,
    code,
    comparisons,
    data,
    environment,
    examples,
    failures,
    identity,
    inference,
    labels,
    metrics,
    model,
    operations,
    parity,
    predictions,
    results,
    startup,
    time_to_accuracy,
    training,
    utilisation,
    variants,
    warnings,
)
from harness.report.sections.glossary import glossary

SECTIONS: tuple[Section, ...] = (
    answer.SECTION,
    results.SECTION,
    warnings.SECTION,
    failures.SECTION,
    training.SECTION,
    time_to_accuracy.SECTION,
    metrics.SECTION,
    labels.SECTION,
    predictions.SECTION,
    examples.SECTION,
    inference.SECTION,
    utilisation.SECTION,
    operations.SECTION,
    startup.SECTION,
    comparisons.SECTION,
    identity.SECTION,
    parity.SECTION,
    variants.SECTION,
    code.SECTION,
    model.SECTION,
    data.SECTION,
    cells.SECTION,
    environment.SECTION,
)
"""Each stands on the first page where it has a brief, and on its own page where it has a body."""
GLOSSARY = glossary(SECTIONS)
