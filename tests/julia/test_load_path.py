"""Where Julia finds the packages of the harness, and what these depend on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.backends.julia import installation
from harness.backends.julia.packages import load_path
from harness.plugins import backends

KNET = "1902f260-5fb4-5aff-8c31-6271790ab950"
BRIDGE = """
import sys
from pathlib import Path
from harness.backends.julia.bridge import LibjuliaBridge
from harness.backends.julia.installation import find_julia
from harness.backends.julia.packages import julia_dir
bridge = LibjuliaBridge(find_julia(), [julia_dir(), *map(Path, sys.argv[2:])])
print(bridge.evaluate(sys.argv[1]))
"""


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> installation.Installation:
    monkeypatch.delenv("JULIA_LOAD_PATH", raising=False)  # whoever sets it means it so
    if (reason := backends()["julia-reference"].missing()) is not None:
        pytest.skip(f"julia {reason}")
    return installation.find_julia()


def through_the_bridge(
    found: installation.Installation, code: str, *folders: Path, **variables: str
) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BRIDGE, code, *map(str, folders)],
        env=os.environ | installation.environment(found, 1) | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_packages_of_the_harness_come_after_the_project(
    found: installation.Installation, tmp_path: Path
) -> None:
    code = f'LOAD_PATH[1] == "@" && LOAD_PATH[end] == {str(tmp_path)!r}'.replace("'", '"')
    assert through_the_bridge(found, f"Int({code})", tmp_path) == "1"


@pytest.fixture
def project(tmp_path: Path) -> tuple[Path, Path]:
    """A project whose manifest has a Knet, as juliapkg makes it, and a package that uses Knet."""
    knet, user = tmp_path / "installed" / "Knet", tmp_path / "user"
    for folder, text in (
        (knet, "module Knet\nanswer() = 42\nend\n"),
        (user, "module User\nusing Knet\nanswer() = Knet.answer()\nend\n"),
    ):
        (folder / "src").mkdir(parents=True)
        (folder / "src" / f"{folder.name.title()}.jl").write_text(text)
    (knet / "Project.toml").write_text(f'name = "Knet"\nuuid = "{KNET}"\nversion = "1.4.10"\n')
    (user / "Project.toml").write_text(
        'name = "User"\nuuid = "2bb1ffa2-6a0f-4c3b-a5f1-3f6a1b2a5a11"\nversion = "0.1.0"\n'
        f'[deps]\nKnet = "{KNET}"\n'
    )
    chosen = tmp_path / "project"
    chosen.mkdir()
    (chosen / "Project.toml").write_text(f'[deps]\nKnet = "{KNET}"\n')
    (chosen / "Manifest.toml").write_text(
        'manifest_format = "2.0"\n\n[[deps.Knet]]\n'
        f'path = "{knet}"\nuuid = "{KNET}"\nversion = "1.4.10"\n'
    )
    return chosen, user


def test_a_package_of_ours_finds_knet_in_the_users_manifest(
    found: installation.Installation, project: tuple[Path, Path], tmp_path: Path
) -> None:
    if found.release < (1, 9):
        pytest.skip(f"Julia {found.version}: the lookup changed in Julia 1.9")
    chosen, user = project
    depot = {"JULIA_DEPOT_PATH": str(tmp_path / "depot"), "JULIA_PROJECT": str(chosen)}
    assert through_the_bridge(found, "import User; User.answer()", user, **depot) == "42"
    done = subprocess.run(
        [found.executable, "--startup-file=no", "-e", "import User; print(User.answer())"],
        env=os.environ | depot | {"JULIA_LOAD_PATH": load_path(user)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "42", done.stderr


def test_pythoncall_is_given_this_process_by_every_name_that_its_releases_use(
    found: installation.Installation, tmp_path: Path
) -> None:
    """A PythonCall that only looks: 0.6 reads one variable, 0.9.24 a global, 0.9.37 another."""
    package = tmp_path / "PythonCall"
    (package / "src").mkdir(parents=True)
    (package / "Project.toml").write_text(
        'name = "PythonCall"\nuuid = "6099a3de-0909-46bc-b1f4-468b9a2dfc0d"\nversion = "0.9.37"\n'
    )
    (package / "src" / "PythonCall.jl").write_text(
        "module PythonCall\n"
        "const SEEN = Ref(0)\n"
        "function __init__()\n"
        '    handles = [parse(UInt, ENV["JULIA_PYTHONCALL_LIBPTR"]),\n'
        '        parse(UInt, ENV["__JULIA_PYTHONCALL_EMBEDDED_LIBPTR__"]),\n'
        "        UInt(Main.__PythonCall_libptr)]\n"
        "    SEEN[] = length(unique(handles)) == 1 && handles[1] != 0\n"
        "end\nend\n"
    )
    code = """
import os, sys, types
from pathlib import Path
from harness.backends.julia.bridge import JuliaCallBridge
from harness.backends.julia.installation import find_julia
from harness.backends.julia.packages import julia_dir
named = types.SimpleNamespace
main = named(PipelineBench=named(Bridge=named(call=1)))
sys.modules["juliacall"] = named(Main=main)
bridge = JuliaCallBridge(find_julia(), [julia_dir(), Path(sys.argv[1])])
print(bridge.evaluate("PythonCall.SEEN[]"), [name for name in os.environ if "LIBPTR" in name])
"""
    # As the project, so that it comes before a real PythonCall.
    project = dict.fromkeys(("JULIA_PROJECT", "PYTHON_JULIACALL_PROJECT"), str(package))
    done = subprocess.run(
        [sys.executable, "-c", code, str(package)],
        env=os.environ | installation.environment(found, 1) | project,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.stdout == "1 []\n", done.stderr
