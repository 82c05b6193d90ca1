"""How Julia, and Knet.jl, are installed for one user: through juliapkg, or from Debian."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import util
from pathlib import Path

from harness.backends.julia import debian, resolve
from harness.backends.julia.actions import output_of, run_logged
from harness.backends.julia.installation import (
    HIDDEN_GPUS,
    Installation,
    environment,
    find_julia,
    forget,
    location,
    missing_julia,
    missing_knet,
    versions_with,
)
from harness.backends.julia.packages import KNET, REFERENCE, SHARED, folder, load_path
from harness.backends.julia.resolve import JULIA
from harness.backends.setup import Action, CannotInstallError, CheckLoad, DoesNotLoadError
from harness.console import terminal
from harness.paths import cache_dir, harness_path, page
from harness.plugins import find_backend

TARGETS: dict[str, str | None] = {"julia": None, "knet": "Knet"}
"""What can be set up, and the package that it is about."""
_RELEASES = ((1, 8), (1, 9))
JULIACALL = "juliacall==0.9.24"
"""The same as in the extra ``julia`` of pyproject.toml."""
_DOWNLOADS = "https://julialang-s3.julialang.org/bin/versions.json"
_PACKAGE_SERVER = "https://pkg.julialang.org"
_ANSWER_TIMEOUT_S = 5
_BOXED = re.compile(r"\s*([│└┌@]|\[\d+\])")
_DURATION = {"julia": "about 2 minutes", "knet": "6 to 12 minutes"}
_NO_ROUTE = {
    "julia": (
        "cannot install Julia here: Julia's servers do not answer, and apt has no source of "
        "Debian's packages; put Julia 1.5 or newer on PATH, or name it in PYTHON_JULIACALL_EXE"
    ),
    "knet": (
        "cannot install Knet.jl here: it comes from Julia's package servers, which do not answer; "
        "prepare a project and a depot where they do, bring both here, and set "
        f"PYTHON_JULIACALL_EXE, PYTHON_JULIACALL_PROJECT and JULIA_DEPOT_PATH ({page('julia.md')})"
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
    keyrings: Path = debian.KEYRINGS


def plan(
    target: str, check_load: CheckLoad, machine: Machine | None = None, *, repair: bool = False
) -> list[Action]:
    """What is to be done for ``target`` (one of ``TARGETS``), in order; nothing is changed yet.

    The last action calls ``check_load``.

    With ``repair`` what is there is installed again: it does not load.

    Raises:
        CannotInstallError: there is no way on this machine.
    """
    missing = _MISSING[target]()
    if missing is None and not repair:
        return [Action(_found(target)), _load_action(target, check_load)]
    _refuse_a_choice_by_hand(target, missing.why if missing else "it does not load")
    machine = machine or Machine()
    if _servers_answer(machine):
        route = _juliapkg_actions(target)
    elif target == "julia" and (source := _debian_source(machine)) is not None:
        route = debian.install_actions(source, machine.keyrings)
    else:
        raise CannotInstallError(_NO_ROUTE[target])
    return [
        *route,
        Action("check that it runs", lambda: _check(target)),
        _load_action(target, check_load),
    ]


def precompile(installation: Installation) -> None:
    """Compile the harness's Julia packages once, so that no worker does."""
    names = [SHARED, REFERENCE]
    if "Knet" in installation.packages:
        names.append(KNET)
    output_of(
        installation.executable,
        "--startup-file=no",
        "--history-file=no",
        "-e",
        f"import {', '.join(names)}",
        environment=environment(installation, 1)
        | {"JULIA_LOAD_PATH": load_path(*map(folder, names))},
    )


def _found(target: str) -> str:
    package = TARGETS[target]
    versions = versions_with(package)
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"found {listed}; {location(package)}"


def _check(target: str) -> None:
    forget()
    missing = _MISSING[target]()
    if missing is not None:
        raise CannotInstallError(f"installed, but it does not work: {missing}")


def _load_action(target: str, check_load: CheckLoad) -> Action:
    return Action(
        "compile the harness's Julia code and load it as a worker does"
        + (" (some minutes the first time)" if target == "knet" else ""),
        lambda: _load(target, check_load),
    )


def _load(target: str, check_load: CheckLoad) -> None:
    try:
        precompile(find_julia(TARGETS[target]))
    except CannotInstallError as error:
        raise DoesNotLoadError(str(error)) from None
    missing = check_load(find_backend(target))
    if missing is not None:
        raise DoesNotLoadError(missing.why)


def _refuse_a_choice_by_hand(target: str, why: str) -> None:
    """What is named there is what will be used: installing beside it would change nothing."""
    names = ["PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT"]
    if target == "knet":
        names.append("JULIA_PROJECT")
    named = [f"{name}={value}" for name in names if (value := os.environ.get(name))]
    if named:
        raise CannotInstallError(
            f"{why}; nothing is installed beside a choice made by hand ({', '.join(named)}): "
            f"fix that one ({page('julia.md')}), or unset the variable"
        )


def _servers_answer(machine: Machine) -> bool:
    """Whether juliapkg would find what it needs."""
    if os.environ.get("PYTHON_JULIAPKG_OFFLINE") == "yes":
        return False
    server = os.environ.get("JULIA_PKG_SERVER") or _PACKAGE_SERVER
    needed = [f"{server if '://' in server else f'https://{server}'}/registries"]
    if missing_julia() is not None or find_julia().release not in _RELEASES:
        needed.append(_DOWNLOADS)
    return all(machine.answers(url) for url in needed)


def _debian_source(machine: Machine) -> debian.Source | None:
    return debian.debian_source(machine.apt) if debian.has_tools() else None


def _juliapkg_actions(target: str) -> list[Action]:
    packages = "Knet.jl 1.4.10 and PythonCall.jl" if target == "knet" else "PythonCall.jl"
    resolve = Action(
        f"install Julia ({JULIA}) with {packages} through juliapkg: {_DURATION[target]} on two "
        "cores, plus downloads; an interrupted installation continues when it is started again",
        lambda: _resolve(target),
    )
    if util.find_spec("juliacall") is not None:
        return [resolve]
    return [Action(f"install {JULIACALL} with pip", _pip_install), resolve]


def _pip_install() -> None:
    output_of(sys.executable, "-m", "pip", "install", "--quiet", JULIACALL)
    importlib.invalidate_caches()


def _show(line: str) -> None:
    """Print a line of progress; boxes with stack traces of optional packages are for the log."""
    if not _BOXED.match(line):
        terminal.note(f"  {line}")


def _resolve(target: str) -> None:
    try:
        run_logged(
            [sys.executable, "-u", "-P", "-m", resolve.__name__, target],
            cache_dir() / "logs" / f"setup-{target}.log",
            _show,
            HIDDEN_GPUS | {"PYTHONPATH": harness_path()},
        )
    except CannotInstallError as error:
        raise CannotInstallError(f"juliapkg: {error}") from None
    forget()


_MISSING = {"julia": missing_julia, "knet": missing_knet}


def plan_julia(check_load: CheckLoad, *, repair: bool = False) -> list[Action]:
    """``bench setup julia``."""
    return plan("julia", check_load, repair=repair)


def plan_knet(check_load: CheckLoad, *, repair: bool = False) -> list[Action]:
    """``bench setup knet``."""
    return plan("knet", check_load, repair=repair)
