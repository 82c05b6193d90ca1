"""``--json``: every verb that prints a table has it, with the keys listed in docs/usage.md."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.cli.tables import show_json
from harness.data.writer import write_dataset
from harness.plugins import find_model
from harness.protocol.weights import Origin, initial_weights, save_weights

DOCS = Path(__file__).parents[2] / "docs" / "usage.md"
FEW = ("--threads", "1", "--epochs", "1", "--batch-size", "8", "--no-warm-start", "--no-parity")
VERBS = {
    "run": ("--frameworks", "sound", "--datasets", "few.h5", *FEW, "--out", "new"),
    "run --dry-run": ("--frameworks", "sound", "--datasets", "few.h5", *FEW),
    "compare": ("a", "b"),
    "check": ("a", "--baseline", "b.json"),
    "baseline show": ("b.json",),
    "evaluate": ("--weights", "w.h5", "--framework", "torch", "--dataset", "few.h5"),
    "parity": ("--frameworks", "torch", "--dataset", "few.h5", "--batch-size", "8", "--steps", "1"),
    "reproduce": ("new", "--out", "again"),
    "doctor": ("--frameworks", "sound"),
    "list frameworks": (),
    "list models": (),
    "list datasets": (),
    "list runs": (".",),
    "data list": (),
    "data formats": (),
    "data validate": ("few.h5",),
    "data info": ("few.h5",),
}
"""Of each verb with ``--json`` what else it is given here."""
WITHOUT = {
    "report", "merge", "setup", "weights export", "weights import",
    "baseline update", "data export", "data fetch", "data import",
}  # fmt: skip
"""These write a file or a folder and print where."""


def verbs(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group):
        yield name, command
        return
    context = click.Context(command)
    for each in command.list_commands(context):
        found = command.get_command(context, each)
        assert found is not None
        yield from verbs(found, f"{name} {each}".strip())


def documented() -> dict[str, list[str]]:
    rows = re.findall(r"^\| `bench ([a-z -]+)` \| (`.*`) \|$", DOCS.read_text("utf-8"), re.M)
    return {name: re.findall("`([^`]+)`", keys) for name, keys in rows}


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_verb_has_it_or_prints_no_table() -> None:
    having = {
        name
        for name, command in verbs(main)
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert having == {name for name in VERBS if "--dry-run" not in name}
    assert {name for name, _ in verbs(main)} - having == WITHOUT
    assert documented().keys() == VERBS.keys()


@pytest.fixture
def here(planted, small_dataset, made_up, tmp_path, monkeypatch) -> Callable[..., Any]:
    """Runs a verb where there are a data set, two runs, a baseline and weights; reads its JSON."""
    from harness.backends.torch.plugin import BACKENDS

    planted["torch"] = BACKENDS[0]
    data = write_dataset(tmp_path / "few.h5", small_dataset((40, 9, 12), (1, 28, 28)))
    made_up("a"), made_up("b", rate=900.0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BENCH_DATA_DIR", str(tmp_path))

    def call(*words: str) -> Any:
        got = CliRunner().invoke(main, [*words, "--json"])
        assert got.exit_code in (0, 1), got.output
        return strict(got.stdout)

    def prepared(verb: str) -> Any:
        if verb in ("check", "baseline show"):
            CliRunner().invoke(main, ["baseline", "update", "a", "--baseline", "b.json"])
        if verb == "evaluate":
            parameters = find_model("lenet5").parameters((1, 28, 28), 3)
            origin = Origin(image_shape=(1, 28, 28), classes=("a", "b", "c"), task="multiclass")
            weights = initial_weights(parameters, 0)
            save_weights(tmp_path / "w.h5", weights, model="lenet5", origin=origin)
        if verb == "reproduce":
            call("run", *VERBS["run"])
        return call(*verb.split(), *VERBS[verb])

    assert data.is_file()
    return prepared


@pytest.mark.parametrize("verb", VERBS)
def test_its_keys_are_the_documented_ones(here: Callable[..., Any], verb: str) -> None:
    found = here(verb)
    for each in [found] if verb == "compare" else found:
        assert list(each) == documented()[verb]
    assert found or verb == "data validate"


def test_what_is_no_number_is_null(capsys: pytest.CaptureFixture[str]) -> None:
    show_json([{"a": math.nan, "b": [math.inf, 1.5, np.float64("nan")], "c": {"d": (-math.inf,)}}])
    assert strict(capsys.readouterr().out) == [
        {"a": None, "b": [None, 1.5, None], "c": {"d": [None]}}
    ]
