"""Runs made on several machines, as merged shards are: which trainings ran on which."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from harness.analysis.run import Run, Trained, Workload

DESCRIPTION = (
    "cpu", "cpu_flags", "cpu_caches", "cores_physical", "cores_logical", "cpu_quota", "governor",
)  # fmt: skip
"""What of an environment tells machines apart; those that agree in all of it count as one."""


@dataclass(frozen=True)
class Machine:
    """Machines of one description."""

    name: str
    """Of the processor, with a number where several descriptions share it."""
    invocations: frozenset[str]
    """Of the harness, that left results; see ``RunFolder.environments``."""

    def has(self, cell: Trained) -> bool:
        """Whether every start of ``cell`` was there."""
        return all(session.partition("/")[0] in self.invocations for session in cell.starts)


def machines(run: Run) -> tuple[Machine, ...]:
    """Where the trainings of ``run`` ran, in the order of its invocations."""
    used = {s.partition("/")[0] for _, _, cell in run.cells for s in cell.starts}
    alike: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for invocation, environment in run.folder.environments.items():
        if invocation in used:
            described = json.dumps([environment.get(key) for key in DESCRIPTION], sort_keys=True)
            alike.setdefault(described, []).append(invocation)
            names[described] = str(environment.get("cpu") or "unknown")
    found: list[Machine] = []
    for described, invocations in alike.items():
        name = names[described]
        if list(names.values()).count(name) > 1:
            name += f" ({len(found) + 1})"
        found.append(Machine(name, frozenset(invocations)))
    return tuple(found)


def on_machine(workload: Workload, machine: Machine) -> Workload:
    """``workload`` with only what was trained on ``machine``."""
    outcomes = tuple(
        replace(o, trained={seed: cell for seed, cell in o.trained.items() if machine.has(cell)})
        for o in workload.outcomes
    )
    return replace(workload, outcomes=outcomes)
