"""Which Julia there is: found without loading it here and without touching the network."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path

from harness.backends.julia import private
from harness.backends.spec import MissingRequirement
from harness.errors import BenchError

PACKAGES = ("Knet", "AutoGrad", "CUDA", "NNlib", "PythonCall", "HDF5")
HIDDEN_GPUS = {"CUDA_VISIBLE_DEVICES": "-1", "JULIA_CUDA_USE_BINARYBUILDER": "false"}
"""Environment in which CUDA.jl, which Knet loads, finds no GPU and downloads no CUDA toolkit: the
Julia variants run on the CPU."""
_PROBE = Path(__file__).with_name("probe.jl")
_PROBE_TIMEOUT_S = 120
_OLDEST = (1, 5)


@dataclass(frozen=True, kw_only=True)
class Installation:
    """A Julia that runs, and what it can load."""

    executable: Path
    version: str
    found_by: str
    """``PYTHON_JULIACALL_EXE``, ``PATH``, ``juliapkg`` or ``cache``."""
    bindir: Path
    libjulia: Path
    system_image: Path
    llvm: str
    project: Path | None
    """The folder of the active project, where there is one."""
    packages: Mapping[str, str]
    """Versions of those of ``PACKAGES`` that it can resolve."""

    @property
    def release(self) -> tuple[int, int]:
        """Major and minor version."""
        return _release(self.version)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A Julia that may or may not run."""

    executable: Path
    found_by: str
    project: str = ""
    """What ``JULIA_PROJECT`` is to say; empty: leave it."""


def find_julia(package: str | None = None) -> Installation:
    """The first Julia that runs; with ``package``, the first that also has it, if any has.

    Raises:
        BenchError: none, or none that works.
    """
    found = _find(package)
    if isinstance(found, MissingRequirement):
        raise BenchError(str(found))
    return found


def missing_julia() -> MissingRequirement | None:
    """Why nothing in Julia can run."""
    found = _find()
    return found if isinstance(found, MissingRequirement) else None


def missing_knet() -> MissingRequirement | None:
    """Why Knet cannot run."""
    found = _find("Knet")
    if isinstance(found, MissingRequirement):
        return found
    if "Knet" not in found.packages:
        where = f"project {found.project}" if found.project else "no project"
        return MissingRequirement(
            f"Julia {found.version} at {found.executable} ({where}) has no Knet.jl",
            "bench setup knet",
        )
    return None


def versions_with(package: str | None = None) -> dict[str, str]:
    """What a variant runs on: Julia, and with ``package`` the packages below and beside it."""
    found = _find(package)
    if isinstance(found, MissingRequirement):
        return {}
    if package is None:
        return {"julia": found.version}
    versions = {**found.packages, "julia": found.version}
    if util.find_spec("juliacall"):
        versions["juliacall"] = metadata.version("juliacall")
    return versions


def location(package: str | None = None) -> str:
    """Where the Julia of a variant was found, for messages."""
    found = _find(package)
    if isinstance(found, MissingRequirement):
        return ""
    project = f", project {found.project}" if package and found.project else ""
    return f"{found.executable} ({found.found_by}{project})"


def worker_environment(package: str | None, threads: int) -> dict[str, str]:
    """:func:`environment` of the Julia that a variant with ``package`` uses."""
    return environment(find_julia(package), threads)


def environment(installation: Installation, threads: int) -> dict[str, str]:
    """What a process must have in its environment before it loads this Julia."""
    settings = {
        "JULIA_NUM_THREADS": str(threads),
        # So that the process finds this very Julia.
        "PYTHON_JULIACALL_EXE": str(installation.executable),
        **HIDDEN_GPUS,
        **private.environment(installation.executable),
    }
    if installation.project is not None:
        project = str(installation.project)
        settings |= {"JULIA_PROJECT": project, "PYTHON_JULIACALL_PROJECT": project}
    # The OpenBLAS of older releases takes a CPU younger than itself for an ancient one.
    if installation.release < (1, 6) and "OPENBLAS_CORETYPE" not in os.environ:
        core = openblas_core(_cpuinfo())
        if core is not None:
            settings["OPENBLAS_CORETYPE"] = core
    # LLVM 9 aborts ("Illegal inttoptr") on code like AutoGrad's unless it looks less far.
    if installation.llvm.split(".")[0] == "9" and "JULIA_LLVM_ARGS" not in os.environ:
        settings["JULIA_LLVM_ARGS"] = "-memdep-block-scan-limit=1"
    return settings


def openblas_core(cpuinfo: str) -> str | None:
    """The fastest kernels of OpenBLAS that a CPU with this ``/proc/cpuinfo`` can run."""
    fields = dict(line.partition(":")[::2] for line in cpuinfo.split("\n\n")[0].splitlines())
    known = {key.strip(): value.split() for key, value in fields.items()}
    flags = set(known.get("flags", []))
    if "avx512f" in flags:
        return "SkylakeX"
    if {"avx2", "fma"} <= flags:
        return "Zen" if known.get("vendor_id") == ["AuthenticAMD"] else "Haswell"
    return None


def candidates() -> Iterator[Candidate]:
    """Where to look, the first that works is used."""
    asked = os.environ.get("PYTHON_JULIACALL_PROJECT") or os.environ.get("JULIA_PROJECT", "")
    named = os.environ.get("PYTHON_JULIACALL_EXE")
    if named:
        executable = Path(shutil.which(named) or named)
        yield Candidate(executable=executable, found_by="PYTHON_JULIACALL_EXE", project=asked)
        return  # somebody chose: another in its stead would be a surprise
    on_path = shutil.which("julia")
    managed, project = _known_to_juliapkg() or (None, "")
    # A project is resolved for one Julia: juliapkg's goes with juliapkg's choice alone.
    same = on_path is not None and managed is not None and os.path.samefile(on_path, managed)
    if on_path:
        yield Candidate(
            executable=Path(on_path), found_by="PATH", project=asked or (project if same else "")
        )
    if managed is not None and not same:
        yield Candidate(executable=managed, found_by="juliapkg", project=asked or project)
    unpacked = private.executable()
    if unpacked is not None:
        yield Candidate(executable=unpacked, found_by="cache", project=asked)


def forget() -> None:
    """Look again: something was installed."""
    _examine.cache_clear()


def _find(package: str | None = None) -> Installation | MissingRequirement:
    """The installation to use, or why there is none."""
    working: list[Installation] = []
    broken: list[MissingRequirement] = []
    for candidate in candidates():
        examined = _examine(candidate)
        if isinstance(examined, MissingRequirement):
            broken.append(examined)
        elif package is None or package in examined.packages:
            return examined
        else:
            working.append(examined)
    if working:
        return working[0]
    return (
        broken[0]
        if broken
        else MissingRequirement("found no Julia on this machine", "bench setup julia")
    )


def _known_to_juliapkg() -> tuple[Path, str] | None:
    """Executable and project that juliapkg settled on before; asking it would resolve anew."""
    if util.find_spec("juliapkg") is None:
        return None
    from juliapkg.state import STATE

    try:
        meta = json.loads(Path(STATE["meta"]).read_text(encoding="utf-8"))
        executable = Path(meta["executable"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return (executable, STATE["project"]) if executable.exists() else None


@functools.cache
def _examine(candidate: Candidate) -> Installation | MissingRequirement:
    """Run it once."""
    executable = candidate.executable
    chosen = candidate.found_by == "PYTHON_JULIACALL_EXE"
    fix = (
        "set PYTHON_JULIACALL_EXE to another Julia, or unset it" if chosen else "bench setup julia"
    )
    project = {"JULIA_PROJECT": candidate.project} if candidate.project else {}
    try:
        run = subprocess.run(
            [executable, "--startup-file=no", "--history-file=no", "-O0", _PROBE, *PACKAGES],
            env=os.environ | private.environment(executable) | project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except OSError as error:
        return MissingRequirement(f"cannot run Julia at {executable}: {error.strerror}", fix)
    except subprocess.TimeoutExpired:
        return MissingRequirement(
            f"Julia at {executable} did not answer in {_PROBE_TIMEOUT_S} s", fix
        )
    reported = dict(line.partition("=")[::2] for line in run.stdout.splitlines())
    if "exceptions" not in reported:
        if run.returncode < 0 and "project" in reported:
            return MissingRequirement(
                f"Julia {reported['version']} at {executable} crashes on exceptions "
                f"({signal.Signals(-run.returncode).name}; wrong libunwind?)",
                fix,
            )
        first = next(iter(run.stderr.splitlines()), f"exit code {run.returncode}")
        return MissingRequirement(f"Julia at {executable} does not work: {first}", fix)
    if _release(reported["version"]) < _OLDEST:
        oldest = ".".join(map(str, _OLDEST))
        return MissingRequirement(
            f"Julia {reported['version']} at {executable} is older than {oldest}", fix
        )
    active = Path(reported["project"]) if reported["project"] else None
    if os.environ.get("PYTHON_JULIACALL_PROJECT") and not (active and active.is_file()):
        return MissingRequirement(
            f"PYTHON_JULIACALL_PROJECT={candidate.project} holds no Project.toml",
            "set it to the folder of a Julia project, or unset it",
        )
    return Installation(
        executable=executable,
        version=reported["version"],
        found_by=candidate.found_by,
        bindir=Path(reported["bindir"]),
        libjulia=Path(reported["libjulia"]),
        system_image=Path(reported["system_image"]),
        llvm=reported["llvm"],
        project=active.parent if active and active.is_file() else None,
        packages={
            name: _version_beside(Path(reported[key]))
            for name in PACKAGES
            if (key := f"package.{name}") in reported
        },
    )


def _version_beside(source: Path) -> str:
    """The version of the package whose entry file is ``source`` (``src/Name.jl``)."""
    for name in ("JuliaProject.toml", "Project.toml"):
        try:
            project = tomllib.loads((source.parents[1] / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return str(project.get("version", "unknown"))
    return "unknown"


def _release(version: str) -> tuple[int, int]:
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ""
