"""How Julia, and Knet.jl, get onto a machine: through juliapkg, or from Debian."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from harness.backends.julia import debian
from harness.backends.julia.actions import Action, CannotInstallError, output_of
from harness.backends.julia.installation import (
    Installation,
    environment,
    find_julia,
    forget,
    location,
    need_for_julia,
    need_for_knet,
    versions_with,
)
from harness.paths import julia_dir

ROWS: dict[str, str | None] = {"julia": None, "knet": "Knet"}
"""What can be set up, and the package that it is about."""
KNET = {"uuid": "1902f260-5fb4-5aff-8c31-6271790ab950", "version": "=1.4.10"}
# That Knet needs CUDA.jl 1 to 3, of which none resolves from Julia 1.10 on.
JULIA = "~1.8, ~1.9"
_RELEASES = ((1, 8), (1, 9))
JULIACALL = "juliacall==0.9.24"
"""The same as in the extra ``julia`` of pyproject.toml."""
_DOWNLOADS = "https://julialang-s3.julialang.org/bin/versions.json"
_PACKAGE_SERVER = "https://pkg.julialang.org"
_ANSWER_TIMEOUT_S = 5
_NO_ROUTE = {
    "julia": (
        "cannot install Julia here: Julia's servers do not answer, and Debian's packages need "
        "Debian and root; put Julia 1.5 or newer on PATH, or name it in PYTHON_JULIACALL_EXE"
    ),
    "knet": (
        "cannot install Knet.jl here: it comes from Julia's package servers, which do not answer; "
        "prepare a project and a depot where they do, bring both here, and set "
        "PYTHON_JULIACALL_EXE, PYTHON_JULIACALL_PROJECT and JULIA_DEPOT_PATH (docs/julia.md)"
    ),
}


def answers(url: str) -> bool:
    """Whether a server is there and willing."""
    import requests

    try:
        # Not HEAD, which package servers need not know; the body stays where it is.
        with requests.get(url, stream=True, timeout=_ANSWER_TIMEOUT_S) as response:
            return response.ok
    except requests.RequestException:
        return False


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a route depends on besides the Julia that is there."""

    answers: Callable[[str], bool] = answers
    apt: Path = debian.APT
    is_root: bool = hasattr(os, "geteuid") and os.geteuid() == 0


def plan(row: str, machine: Machine | None = None) -> list[Action]:
    """What is to be done for ``row`` (one of ``ROWS``), in order; nothing is changed yet.

    Raises:
        CannotInstallError: there is no way on this machine.
    """
    need = _NEEDS[row]()
    if need is None:
        return [Action(_found(row)), *_precompile_actions(row)]
    _refuse_a_choice_by_hand(row, need.why)
    machine = machine or Machine()
    if _servers_answer(machine):
        route = _juliapkg_actions(row)
    elif row == "julia" and (source := _debian_source(machine)) is not None:
        route = debian.install_actions(source, machine.apt)
    else:
        raise CannotInstallError(_NO_ROUTE[row])
    return [*route, Action("see whether it runs", lambda: _check(row)), *_precompile_actions(row)]


def precompile(installation: Installation) -> None:
    """Compile our packages once, so that no worker does."""
    folder = julia_dir()
    packages = {"PipelineBench": folder}
    if "Knet" in installation.packages:
        packages["PipelineBenchKnet"] = folder / "knet"
    load_path = [*map(str, packages.values()), os.environ.get("JULIA_LOAD_PATH", "")]
    output_of(
        installation.executable,
        "--startup-file=no",
        "--history-file=no",
        "-e",
        f"import {', '.join(packages)}",
        environment=environment(installation, 1) | {"JULIA_LOAD_PATH": os.pathsep.join(load_path)},
    )


def _found(row: str) -> str:
    package = ROWS[row]
    versions = versions_with(package)
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"ready: {listed}; {location(package)}"


def _check(row: str) -> None:
    need = _NEEDS[row]()
    if need is not None:
        raise CannotInstallError(f"installed, but it does not work: {need}")


def _precompile_actions(row: str) -> list[Action]:
    if not (julia_dir() / "Project.toml").is_file():
        return []
    return [
        Action(
            f"compile the harness's Julia code in {julia_dir()}",
            lambda: precompile(find_julia(ROWS[row])),
        )
    ]


def _refuse_a_choice_by_hand(row: str, why: str) -> None:
    """What is named there is what will be used: installing beside it would change nothing."""
    names = ["PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"]
    if row == "knet":
        names.append("JULIA_PROJECT")
    named = [f"{name}={value}" for name in names if (value := os.environ.get(name))]
    if named:
        raise CannotInstallError(
            f"{why}; nothing is installed beside a choice made by hand ({', '.join(named)}): "
            "mend that one (docs/julia.md), or unset the variable"
        )


def _servers_answer(machine: Machine) -> bool:
    """Whether juliapkg would find what it needs."""
    if os.environ.get("PYTHON_JULIAPKG_OFFLINE") == "yes":
        return False
    server = os.environ.get("JULIA_PKG_SERVER") or _PACKAGE_SERVER
    needed = [f"{server if '://' in server else f'https://{server}'}/registries"]
    if need_for_julia() is not None or find_julia().release not in _RELEASES:
        needed.append(_DOWNLOADS)
    return all(machine.answers(url) for url in needed)


def _debian_source(machine: Machine) -> debian.Source | None:
    tools = all(shutil.which(tool) for tool in ("apt-get", "dpkg", "dpkg-deb"))
    return debian.debian_source(machine.apt) if machine.is_root and tools else None


def _juliapkg_actions(row: str) -> list[Action]:
    packages = "Knet.jl 1.4.10 and PythonCall.jl" if row == "knet" else "PythonCall.jl"
    resolve = Action(
        f"install Julia ({JULIA}) with {packages} through juliapkg", lambda: _resolve(row)
    )
    if util.find_spec("juliacall") is not None:
        return [resolve]
    return [Action(f"install {JULIACALL} with pip", _pip_install), resolve]


def _pip_install() -> None:
    output_of(sys.executable, "-m", "pip", "install", "--quiet", JULIACALL)
    importlib.invalidate_caches()


def _resolve(row: str) -> None:
    """Have juliapkg do it; PythonCall comes with juliacall, in the version that fits it."""
    import juliapkg

    juliapkg.require_julia(JULIA)
    if row == "knet":
        juliapkg.add("Knet", **KNET)
    try:
        juliapkg.resolve()
    except Exception as error:
        raise CannotInstallError(f"juliapkg: {error}") from error
    forget()


_NEEDS = {"julia": need_for_julia, "knet": need_for_knet}
