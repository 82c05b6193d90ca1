"""The machine and the software, and the commands that reproduce the run."""

from __future__ import annotations

import shlex
from typing import Any

from harness.analysis.run import Run, title_of
from harness.analysis.summary import RunSummary
from harness.report.section import Section, paragraphs
from harness.report.text import NOTHING, escape, fence, table


def body(summary: RunSummary) -> str:
    folder = shlex.quote(summary.run.folder.path.resolve().name)
    return paragraphs(
        environment(summary.run),
        framework_facts(summary),
        "To reproduce the run:",
        fence(summary.run.manifest.command, "sh"),
        "The same command on another machine gives other times; accuracies may differ by rounding. "
        "To render this report again from the results, in the folder that holds the run's folder:",
        fence(f"bench report {folder}", "sh"),
    )


LONGEST = 100
"""Characters of a variable's value that are shown."""
MACHINE = {
    "cpu": "processor",
    "cpu_flags": "instruction sets that matter",
    "cpu_caches": "caches of a core",
    "cores_physical": "cores",
    "cores_logical": "hardware threads",
    "governor": "frequency governor",
    "memory_bytes": "memory",
    "swap_used_bytes": "swap in use at the start",
    "load_average": "load average at the start (1, 5, 15 minutes)",
    "system": "system",
    "kernel": "kernel",
    "machine": "architecture",
    "python": "Python",
    "versions": "versions",
    "numpy_blas": "BLAS of NumPy",
    "git_commit": "harness commit",
}


def environment(run: Run) -> str:
    """What was recorded of the machine; what this version has no words for keeps its key."""
    recorded = run.folder.environment
    keys = [key for key in MACHINE if key in recorded]
    keys += [key for key in recorded if key not in MACHINE]
    rows = [(MACHINE.get(key, escape(key)), _fact(key, recorded[key])) for key in keys]
    rows.append(("threads for each framework", str(run.manifest.experiment.threads)))
    rows.append(("harness version", escape(run.manifest.harness_version)))
    rows.append(("run started", escape(run.manifest.created)))
    return table(["Machine and software", "As recorded by the run"], rows)


def _fact(key: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if key.endswith("_bytes") and isinstance(value, int):
        return f"{value / 2**30:.1f} GiB"
    if isinstance(value, dict):
        pairs = [f"{name} {_short(text)}" for name, text in value.items()]
        return escape(", ".join(pairs)) or NOTHING
    if isinstance(value, list):
        return escape(", ".join(f"{v:.2f}" if isinstance(v, float) else str(v) for v in value))
    return escape(str(value))


def _short(text: object) -> str:
    """The whole is in the run's folder: a variable of the environment may be of any length."""
    whole = str(text)
    return whole if len(whole) <= LONGEST else f"{whole[:LONGEST]}..."


def framework_facts(summary: RunSummary) -> str:
    """One row a fact, one column a variant."""
    facts = summary.facts
    names = list(dict.fromkeys(outcome.framework for _, outcome, _ in summary.run.cells))
    rows = [
        [escape(name), *(escape("; ".join(own.get(f, []))) or NOTHING for f in names)]
        for name, own in facts.items()
    ]
    if not rows:
        return "No framework recorded facts of its own."
    return table(["As the framework reports", *(escape(title_of(name)) for name in names)], rows)


SECTION = Section(title="Environment", body=body)
