"""A machine of fakes: the only programs on PATH are scripts that say what they were asked."""

from __future__ import annotations

import json
import sys
from importlib import util
from pathlib import Path

import pytest

from harness.backends.julia import installation

_VARIABLES = (
    "PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT", "JULIA_PROJECT", "JULIA_LOAD_PATH",
    "JULIA_PKG_SERVER", "JULIA_LLVM_ARGS", "OPENBLAS_CORETYPE", "PYTHON_JULIAPKG_EXE",
    "PYTHON_JULIAPKG_OFFLINE", "JULIA_DEPOT_PATH", "LD_LIBRARY_PATH",
)  # fmt: skip

# Answers the probe; `settings` come from a JSON file beside it, read at every call.
_JULIA = """
import json, os, pathlib, signal, sys, time
here = pathlib.Path(__file__)
settings = json.loads(here.with_suffix(".json").read_text())
variables = {k: v for k, v in os.environ.items() if "JULIA" in k or k == "LD_LIBRARY_PATH"}
with here.with_suffix(".log").open("a") as log:
    log.write(json.dumps([sys.argv[1:], variables]))
    log.write("\\n")
if "--version" in sys.argv:
    print("julia version", settings["version"])
elif "-e" in sys.argv:
    script = sys.argv[-1]
    if "dlpath" in script:
        print(settings["libjulia"], settings["bindir"], sep="\\0", end="")
    elif settings.get("fails"):
        sys.exit("ERROR: " + settings["fails"])
    elif "Pkg.add" in script:
        settings["packages"] |= settings.get("addable", {})
        here.with_suffix(".json").write_text(json.dumps(settings))
else:
    time.sleep(settings.get("sleeps", 0))
    if settings.get("broken"):
        sys.exit(settings["broken"])
    project = os.environ.get("JULIA_PROJECT", "")
    settings["project"] = project and os.path.join(project, "Project.toml")
    for key in ("version", "bindir", "libjulia", "system_image", "llvm", "project"):
        print(key, settings[key], sep="=")
    only_in = settings.get("packages_in", project)
    for name, path in settings["packages"].items() if project == only_in else ():
        print(f"package.{name}={path}")
    crash = settings.get("crashes_without")
    if crash and not os.path.exists(crash):
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGSEGV)
    print("exceptions=true")
"""


class FakeMachine:
    """Its folder ``bin`` is all of PATH."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin = root / "bin"
        self.juliapkg = root / "juliapkg"
        """The project that juliapkg takes for its own."""
        self.bin.mkdir(parents=True)

    def program(self, name: str, code: str, folder: Path | None = None) -> Path:
        path = (folder or self.bin) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{sys.executable} -S\n{code}", encoding="utf-8")
        path.chmod(0o755)
        return path

    def julia(self, folder: Path | None = None, **settings) -> Path:
        """Plant a Julia; keywords replace what it says of itself."""
        path = self.program("julia", _JULIA, folder)
        said = {
            "version": "1.9.4", "bindir": str(path.parent), "libjulia": "/lib/libjulia.so.1",
            "system_image": "/lib/sys.so", "llvm": "14.0.6", "packages": {},
        }  # fmt: skip
        path.with_suffix(".json").write_text(json.dumps(said | settings), encoding="utf-8")
        return path

    def package(self, name: str, version: str) -> str:
        """The entry file of an installed package."""
        source = self.root / "depot" / name / "src" / f"{name}.jl"
        source.parent.mkdir(parents=True, exist_ok=True)
        (source.parents[1] / "Project.toml").write_text(f'version = "{version}"\n')
        return str(source)

    def calls(self, julia: Path) -> list[tuple[list[str], dict[str, str]]]:
        """Arguments and environment of every call."""
        log = julia.with_suffix(".log")
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    def settle_juliapkg(self, julia: Path) -> None:
        """Have juliapkg remember this Julia, as it does once it has resolved."""
        meta = self.juliapkg / "pyjuliapkg" / "meta.json"
        meta.parent.mkdir(parents=True)
        meta.write_text(json.dumps({"executable": str(julia)}), encoding="utf-8")
        (self.juliapkg / "Project.toml").touch()


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Without any Julia at first."""
    fake = FakeMachine(tmp_path / "machine")
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(fake.bin))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHON_JULIAPKG_PROJECT", str(fake.juliapkg))
    reset = _reset_juliapkg()
    reset()
    installation.forget()
    yield fake
    monkeypatch.undo()
    reset()
    installation.forget()


def _reset_juliapkg():
    if util.find_spec("juliapkg") is None:
        return lambda: None
    from juliapkg.state import reset_state

    return reset_state
