"""Workflows for GitHub: their YAML, and that every command in them would be accepted."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from harness.analysis.baseline import read_baselines
from harness.cli import main
from harness.config import Experiment, load_experiment
from harness.settings import nested

ROOT = Path(__file__).parents[2]
WORKFLOW, PAGE = ROOT / "docs" / "ci-workflow.yml", ROOT / "docs" / "ci.md"


OURS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def commands(text: str) -> list[list[str]]:
    """The words after ``bench`` of every call, up to a redirection or a remark."""
    joined = text.replace("\\\n", " ")
    called = re.findall(r"^\s*(?:\S+/)?(?:bench|python -m harness) (.+)$", joined, re.MULTILINE)
    return [shlex.split(re.split(r">|\|", line)[0], comments=True) for line in called]


def scripts(workflow: Path = WORKFLOW) -> list[str]:
    yaml = pytest.importorskip("yaml")
    found = []
    for job in yaml.safe_load(workflow.read_text())["jobs"].values():
        assert all(("uses" in step) != ("run" in step) for step in job["steps"])
        found += [step["run"] for step in job["steps"] if "run" in step]
    return found


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


@pytest.mark.parametrize("workflow", OURS, ids=lambda path: path.stem)
def test_commands_of_this_projects_own_workflows_exist(workflow: Path) -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called = 0
    script = "\n".join(scripts(workflow)).replace("\\\n", " ")
    for line in filter(str.strip, script.splitlines()):
        program, *words = shlex.split(re.split(r">|\|", line)[0])
        if program == "make":
            assert {*words} <= targets, line
        elif program.endswith("/bench"):
            parsed(words)
        elif program.endswith("/python"):
            assert words[:2] == ["-m", "pytest"], line
            assert all((ROOT / path).exists() for path in words[2:]), line
        else:
            assert program == "cat", line
        called += 1
    assert called


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
    head, base = (load_experiment(None, nested(Experiment, parsed(words).params)) for words in runs)
    assert head == base
    for framework in head.frameworks:
        for model in head.models:
            baseline = stored[framework, model, head.datasets[0]]
            assert baseline.training == head.training
            assert {*head.seeds} <= {*baseline.correct}
