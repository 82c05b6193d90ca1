"""The workflow in the documentation: its YAML, and that every command in it would be accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from harness.cli import main
from harness.cli.run import _settings
from harness.config import load_experiment
from harness.results.baseline import read_baselines

ROOT = Path(__file__).parents[2]
WORKFLOW, PAGE = ROOT / "docs" / "ci-workflow.yml", ROOT / "docs" / "ci.md"


def commands(text: str) -> list[list[str]]:
    """The words after ``bench`` of every call, up to a redirection or a remark."""
    joined = text.replace("\\\n", " ")
    called = re.findall(r"^\s*(?:bench|python -m harness) (.+)$", joined, re.MULTILINE)
    return [shlex.split(re.split(r">>|\|", line)[0], comments=True) for line in called]


def scripts() -> list[str]:
    yaml = pytest.importorskip("yaml")
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["gate"]["steps"]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    return [step["run"] for step in steps if "run" in step]


def parsed(words: list[str]) -> click.Context:
    """As ``bench`` would take them; nothing is run."""
    command: click.Command = main
    while isinstance(command, click.Group):
        name, *words = words
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    return command.make_context(command.name, words)


def test_commands_of_the_workflow_are_accepted() -> None:
    found = [words for script in scripts() for words in commands(script)]
    verbs = [words[0] for words in found]
    assert verbs == ["parity", "run", "check", "run", "baseline", "check", "compare"]
    for words in found:
        parsed(words)


def test_commands_of_the_page_are_accepted() -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = [words for block in blocks for words in commands(block)]
    assert {words[0] for words in found} >= {"compare", "baseline", "check", "reproduce", "run"}
    for words in found:
        parsed(words)


def test_a_misspelt_option_would_be_noticed() -> None:
    with pytest.raises(click.UsageError):
        parsed(["check", "run", "--baselines", "file"])


def test_the_workflow_trains_what_the_stored_baselines_are_of() -> None:
    """Otherwise the check would refuse, or pass for want of a baseline."""
    runs = [words for script in scripts() for words in commands(script) if words[0] == "run"]
    stored = {b.key: b for b in read_baselines(ROOT / "tests" / "regression" / "baselines.json")}
    head, base = (load_experiment(None, _settings(parsed(words).params)) for words in runs)
    assert head == base
    for framework in head.frameworks:
        for model in head.models:
            baseline = stored[framework, model, head.datasets[0]]
            assert baseline.training == head.training
            assert {*head.seeds} <= {*baseline.correct}
