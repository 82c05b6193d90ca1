"""Everything that a report, a terminal or a JSON file shows of one run, each worked out once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.analysis import labels, metrics
from harness.analysis.agreement import LossAgreement, loss_agreements, loss_drift
from harness.analysis.code import Part, extras, parts
from harness.analysis.examples import Examples, examples_of
from harness.analysis.findings import Finding, findings
from harness.analysis.identity import Check, ItemIdentity, by_item, checks
from harness.analysis.labels import Label, labels_of
from harness.analysis.machines import Machine, machines
from harness.analysis.paired import PairedTests, RelativeSpeed, relative_speed
from harness.analysis.predictions import VariantPredictions, predictions_of
from harness.analysis.published import Study
from harness.analysis.run import Run, Workload
from harness.analysis.time_to_accuracy import Reached, Target, reached, target_of
from harness.analysis.verdict import Verdict, verdict_of
from harness.backends.spec import BackendSpec
from harness.metrics import Metric
from harness.models.card import ModelCard
from harness.parity.certificate import Certificate, read_certificate
from harness.parity.rounding import LossDrift
from harness.plugins import backends
from harness.results.folder import RunFolder


@dataclass(frozen=True)
class WorkloadSummary:
    """One model on one data set."""

    run: Run
    workload: Workload

    @cached_property
    def tests(self) -> PairedTests:
        return PairedTests.of(self.workload)

    @cached_property
    def checks(self) -> list[Check]:
        return checks(self.workload)

    @property
    def items(self) -> list[ItemIdentity]:
        return by_item(self.checks)

    @cached_property
    def agreements(self) -> list[LossAgreement]:
        return loss_agreements(self.run, self.workload, self.drift)

    @cached_property
    def drift(self) -> LossDrift | None:
        return loss_drift(self.run, self.workload)

    @cached_property
    def verdict(self) -> Verdict:
        return verdict_of(self.workload, self.tests, self.checks)

    @cached_property
    def speeds(self) -> dict[str, RelativeSpeed]:
        """By framework, of every variant that trained."""
        return {o.framework: relative_speed(self.workload, o) for o in self.workload.finished}

    @cached_property
    def machines(self) -> tuple[Machine, ...]:
        """Where the run's trainings ran."""
        return machines(self.run)

    @cached_property
    def predictions(self) -> list[VariantPredictions]:
        return predictions_of(self.workload)

    @cached_property
    def labels(self) -> list[Label]:
        return labels_of(self.workload)

    @cached_property
    def published(self) -> list[Study]:
        return labels.published(self.workload)

    @cached_property
    def headline_metrics(self) -> list[Metric]:
        return metrics.shown(self.workload, headline=True)

    @cached_property
    def metrics(self) -> list[Metric]:
        return metrics.shown(self.workload, headline=False)

    @cached_property
    def target(self) -> Target | None:
        return target_of(self.run, self.workload)

    @cached_property
    def reached(self) -> list[Reached]:
        """Time to accuracy of every variant; none without a target."""
        return [] if self.target is None else reached(self.workload, self.target)

    @cached_property
    def examples(self) -> Examples | None:
        return examples_of(self.workload)


@dataclass(frozen=True)
class RunSummary:
    """A run's folder."""

    run: Run
    workloads: tuple[WorkloadSummary, ...]

    @classmethod
    def read(cls, folder: RunFolder) -> RunSummary:
        """Read every result and array.

        Raises:
            BenchError: a file is damaged, or there is no result at all.
        """
        run = Run.read(folder)
        return cls(run, tuple(WorkloadSummary(run, workload) for workload in run.workloads))

    @cached_property
    def findings(self) -> list[Finding]:
        return findings(self.run)

    @cached_property
    def certificate(self) -> Certificate | None:
        """Of parity; None where none was made."""
        return read_certificate(self.run.folder.path)

    @property
    def specs(self) -> dict[str, BackendSpec]:
        """The variants of the run that are installed, by name."""
        names = self.run.manifest.experiment.frameworks
        return {name: backends()[name] for name in names if name in backends()}

    @cached_property
    def families(self) -> dict[str, list[BackendSpec]]:
        """The same by family."""
        found: dict[str, list[BackendSpec]] = {}
        for spec in self.specs.values():
            found.setdefault(spec.family.name, []).append(spec)
        return found

    @property
    def cards(self) -> list[ModelCard]:
        """The models of the run that are installed."""
        cards = [workload.card for workload in self.run.workloads]
        return list({card.name: card for card in cards if card is not None}.values())

    @cached_property
    def code(self) -> list[Part]:
        """What every family's files hold."""
        return parts([specs[0] for specs in self.families.values()], self.cards)

    @cached_property
    def extra_code(self) -> list[Part]:
        """What some variants have besides."""
        return extras(self.specs, self.cards)

    @cached_property
    def facts(self) -> dict[str, dict[str, list[str]]]:
        """By fact and framework, the values that differ between its cells."""
        facts: dict[str, dict[str, list[str]]] = {}
        for _, outcome, cell in self.run.cells:
            for name, value in cell.result.facts.items():
                values = facts.setdefault(name, {}).setdefault(outcome.framework, [])
                if value not in values:
                    values.append(value)
        return facts


def summarise(path: Path) -> RunSummary:
    """The run in the folder ``path``."""
    return RunSummary.read(RunFolder.open(path))
