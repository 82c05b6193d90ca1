"""The Python API: the example as it stands, and what is refused."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import harness
from harness.errors import BenchError

EXAMPLE = Path(__file__).parents[1] / "examples" / "api.py"


def test_the_example_runs(python, ready, tmp_path):
    names = ready("torch", "jax").split(",")
    code = (
        "import runpy, sys; path = sys.argv.pop(1)\n"
        "runpy.run_path(path, run_name='__main__')\n"
        "print('imported here:', {'torch', 'jax', 'juliacall'} & set(sys.modules))\n"
    )
    done = python("-c", code, EXAMPLE, tmp_path / "work", BENCH_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "imported here: set()" in done.stdout  # frameworks run in processes of their own
    trained = re.findall(
        r"^(.*), shapes: accuracy (0\.\d+|1\.000), [\d,]+ images/s$", done.stdout, re.M
    )
    assert len(trained) == len(names)
    judged = re.findall(r"^weights of (\w+) in (\w+): (.*)$", done.stdout, re.M)
    assert [name for _, name, _ in judged] == names
    assert len({accuracy for *_, accuracy in judged}) == 1


def test_compare_with_planted_backends(planted, small_file, tmp_path):
    settings = {"datasets": small_file, "epochs": 2, "batch_size": 8, "warm_start": False}
    run = harness.compare(frameworks=["sound", "raises"], out=tmp_path / "run", **settings)
    (workload,) = run.workloads
    assert [outcome.framework for outcome in workload.outcomes if outcome.trained] == ["sound"]
    assert [outcome.framework for outcome in workload.outcomes if outcome.failed] == ["raises"]
    assert harness.load_run(tmp_path / "run").with_result == 2
    again = harness.compare(
        frameworks=["sound", "raises"], out=str(tmp_path / "run"), resume=True, **settings
    )
    assert again.planned == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoks": 3}, "unknown setting 'epoks'; did you mean 'epochs'?"),
        ({"epochs": 0}, "training.epochs: input should be greater than or equal to 1"),
        ({"resume": True}, "resume=True continues the run in out="),
        ({"experiment": "/no/such.toml"}, "cannot read the experiment file"),
        ({"frameworks": "sount"}, "unknown framework 'sount'"),
    ],
)
def test_what_compare_refuses(planted, settings, message):
    with pytest.raises(BenchError, match=re.escape(message)):
        harness.compare(**settings)


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    (tmp_path / "mine.h5").touch()
    with pytest.raises(BenchError, match=r"mine\.h5: exists already"):
        harness.import_dataset(tmp_path, "mine", data_dir=tmp_path)


def test_importing_the_package_imports_little(python):
    code = "import sys, harness; print(any(n in sys.modules for n in ('numpy', 'pydantic')))"
    assert python("-c", code).stdout == "False\n"
    with pytest.raises(AttributeError, match="has no attribute 'compares'"):
        harness.compares  # noqa: B018


def test_the_version_is_the_same_everywhere():
    root = EXAMPLE.parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    assert harness.__version__ == project["version"] == str(citation["version"])
