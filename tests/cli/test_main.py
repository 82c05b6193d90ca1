from __future__ import annotations

import json

import pytest

from harness import __version__

HEAVY = ("torch", "jax", "flax", "pandas", "matplotlib", "h5py", "pydantic", "rich", "numpy")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_verbs_and_imports_nothing_heavy(python, arguments):
    code = (
        "import json, sys\n"
        "from harness.cli import main\n"
        f"try: main({arguments!r})\n"
        f"except SystemExit: print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))\n"
    )
    done = python("-c", code)
    help_, _, imported = done.stdout.strip().rpartition("\n")
    assert json.loads(imported) == []
    for verb in ("run", "report", "data"):
        assert f"\n  {verb} " in help_ + done.stderr


def test_no_command_imports_a_framework(python):
    code = (
        "import pkgutil, importlib, sys, harness\n"
        "packages = 'cli results report measure stats analysis protocol data'.split()\n"
        "for package in packages:\n"
        "    root = importlib.import_module('harness.' + package)\n"
        "    for module in pkgutil.walk_packages(root.__path__, root.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "import harness.plan\n"
        "import harness.execution.runner, harness.execution.suite, harness.execution.worker\n"
        "print([name for name in ('torch', 'jax', 'flax', 'optax') if name in sys.modules])\n"
    )
    done = python("-c", code)
    assert done.stdout.strip() == "[]", done.stderr


def test_version(bench):
    done = bench("--version")
    assert (done.returncode, done.stdout) == (0, f"bench, version {__version__}\n")


def test_an_unknown_verb_is_one_of_clicks_own_errors(bench):
    done = bench("runn")
    assert done.returncode == 2
    assert "No such command" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("verb", ["run", "report", "data"])
def test_the_help_of_each_verb_begins_with_its_line_in_the_list(verb):
    from click.testing import CliRunner

    from harness.cli import _VERBS, main

    got = CliRunner().invoke(main, [verb, "--help"])
    assert got.exit_code == 0
    assert f"Usage: main {verb}" in got.output
    assert _VERBS[verb].split(".")[0].split(",")[0].split()[0] in got.output
