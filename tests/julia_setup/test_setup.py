"""Every route to a Julia, with programs that only pretend: real processes, no network, no apt."""

from __future__ import annotations

import json
import os
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import util
from pathlib import Path

import pytest

from harness.backends.julia import setup
from harness.backends.julia.actions import CannotInstallError, run_logged
from harness.backends.julia.debian import debian_source
from harness.backends.julia.installation import find_julia, need_for_julia
from harness.backends.julia.setup import JULIACALL, DoesNotLoadError, Machine, answers, plan
from harness.backends.spec import MissingRequirement
from harness.paths import julia_dir
from harness.processes import cause

MIRROR = "http://mirror.example/debian"


def nobody_answers(url):
    return False


def everybody_answers(url):
    return True


@pytest.fixture(autouse=True)
def load(monkeypatch):
    """What is answered when a framework is to be loaded: these programs only pretend."""
    answers = []
    monkeypatch.setattr(
        setup, "requirement_to_load", lambda spec: answers.pop(0) if answers else None
    )
    return answers


@pytest.fixture
def apt(machine):
    """The folder of apt's settings, with one source: this machine's mirror."""
    folder = machine.root / "apt"
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb {MIRROR} bookworm main\n")
    return folder


def debian(apt, *, is_root=True):
    return Machine(answers=nobody_answers, apt=apt, is_root=is_root)


def run(actions):
    for action in actions:
        if action.run is not None:
            action.run()


# --- already there


@pytest.mark.parametrize("row", ["julia", "knet"])
def test_what_is_found_is_compiled_and_loaded(machine, row):
    julia = machine.julia(packages={"Knet": machine.package("Knet", "1.4.10")})
    found, load = plan(row, Machine(answers=nobody_answers))
    assert found.run is None
    assert "julia 1.9.4" in found.sentence
    assert ("Knet 1.4.10" in found.sentence) == (row == "knet")
    assert str(julia) in found.sentence
    load.run()
    arguments, environment = machine.calls(julia)[-1]
    assert arguments[-1] == "import PipelineBench, PipelineBenchKnet"
    assert environment["JULIA_CUDA_USE_BINARYBUILDER"] == "false"


def test_the_packages_of_the_harness_come_last_on_the_load_path(machine, monkeypatch):
    """Since Julia 1.9 nothing that stands after them is looked at for what they depend on."""
    julia = machine.julia(packages={"Knet": machine.package("Knet", "1.4.10")})
    ours = [str(julia_dir()), str(julia_dir() / "knet")]
    for given, first in ((None, [""]), ("@:/theirs", ["@", "/theirs"])):
        if given:
            monkeypatch.setenv("JULIA_LOAD_PATH", given)
        run(plan("knet", Machine(answers=nobody_answers)))
        _, environment = machine.calls(julia)[-1]
        assert environment["JULIA_LOAD_PATH"].split(os.pathsep) == [*first, *ours]


def test_without_knet_only_the_package_that_needs_nothing_is_compiled(machine):
    julia = machine.julia()
    run(plan("julia", Machine(answers=nobody_answers)))
    assert machine.calls(julia)[-1][0][-1] == "import PipelineBench"


def test_a_package_that_does_not_compile_ends_it(machine):
    machine.julia(fails="LoadError: here")
    with pytest.raises(DoesNotLoadError, match="failed: ERROR: LoadError: here"):
        run(plan("julia", Machine(answers=nobody_answers)))


def test_what_compiles_and_does_not_load_ends_it(machine, load):
    machine.julia()
    load.append(MissingRequirement("the bridge does not answer", "bench setup julia"))
    with pytest.raises(DoesNotLoadError, match="the bridge does not answer"):
        run(plan("julia", Machine(answers=nobody_answers)))


# --- juliapkg


@pytest.fixture
def julia_19(machine):
    """On PATH, without Knet; what juliapkg has it add is found in juliapkg's project."""
    if util.find_spec("juliacall") is None:  # not imported: that starts Julia
        pytest.skip("juliacall is not installed")
    return machine.julia(
        packages_in=str(machine.juliapkg), addable={"Knet": machine.package("Knet", "1.4.10")}
    )


def test_knet_through_juliapkg(machine, julia_19):
    actions = plan("knet", Machine(answers=everybody_answers))
    assert "Julia (~1.8, ~1.9) with Knet.jl 1.4.10" in actions[0].sentence
    assert not machine.juliapkg.exists()
    run(actions)
    project = tomllib.loads((machine.juliapkg / "Project.toml").read_text())
    assert project["deps"]["Knet"] == "1902f260-5fb4-5aff-8c31-6271790ab950"
    assert project["compat"]["Knet"] == "=1.4.10"
    assert project["compat"]["PythonCall"] == "=" + JULIACALL.partition("==")[2]
    found = find_julia("Knet")
    assert (found.executable, found.project) == (julia_19, machine.juliapkg)
    assert plan("knet", Machine(answers=nobody_answers))[0].sentence.startswith("found Knet 1.4")


def test_what_does_not_load_is_installed_again(machine, julia_19, load):
    """juliapkg's own record says that nothing is to be done."""
    run(plan("knet", Machine(answers=everybody_answers)))
    added = [call for call in machine.calls(julia_19) if "Pkg.add" in call[0][-1]]
    load += [MissingRequirement("package NNlib is missing", "bench setup knet"), None]
    with pytest.raises(DoesNotLoadError, match="NNlib is missing"):
        run(plan("knet", Machine(answers=everybody_answers)))
    run(plan("knet", Machine(answers=everybody_answers), repair=True))
    again = [call for call in machine.calls(julia_19) if "Pkg.add" in call[0][-1]]
    assert len(again) == len(added) + 1
    assert not load


def test_a_failure_of_juliapkg_is_told_by_its_cause(machine, julia_19, capsys):
    settings = json.loads(julia_19.with_suffix(".json").read_text())
    julia_19.with_suffix(".json").write_text(json.dumps(settings | {"fails": "no registry"}))
    with pytest.raises(CannotInstallError) as caught:
        run(plan("knet", Machine(answers=everybody_answers)))
    message = str(caught.value)
    assert message.startswith("juliapkg: ERROR: no registry (everything it printed: ")
    log = Path(message.rpartition(": ")[2].rstrip(")"))
    assert "no registry" in log.read_text()
    assert "Locating Julia" in capsys.readouterr().err  # and what it did is shown


# What Julia 1.9 printed, shortened; the cause stands before what follows from it.
_PRECOMPILATION = """
  2 dependencies errored.
ERROR: LoadError: ArgumentError: Package NNlib not found in current path.
Stacktrace:
  [1] macro expansion
in expression starting at /depot/packages/Knet/src/Knet.jl:1
ERROR: LoadError: Failed to precompile Knet [1902f260] to "/depot/compiled/v1.9/Knet/jl_x".
ERROR: The following 1 direct dependency failed to precompile:
"""


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (_PRECOMPILATION, "ERROR: LoadError: ArgumentError: Package NNlib not found"),
        ("ERROR: Failed to precompile Knet\n", "ERROR: Failed to precompile Knet"),
        ("Reading\nE: Unable to lock\nE: Is another process using it?\n", "E: Unable to lock"),
        ("\nSegmentation fault\n", "Segmentation fault"),
        ("", ""),
    ],
)
def test_cause(said, told):
    assert cause(said.splitlines()).startswith(told)
    assert bool(told) == bool(cause(said.splitlines()))


def test_a_long_command_is_shown_while_it_runs(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.backends.julia.actions._SILENCE_S", 0.2)
    seen = []
    code = "import time; print('\x1b[32mone\x1b[0m', flush=True); time.sleep(0.7); print('two')"
    run_logged([sys.executable, "-c", code], tmp_path / "logs" / "log", seen.append)
    assert seen[0] == "one"
    assert seen[-1] == "two"
    assert any(line.startswith("... ") and line.endswith(" s") for line in seen[1:-1])
    assert (tmp_path / "logs" / "log").read_text() == "one\ntwo\n"


def test_what_juliapkg_installed_must_work(machine, julia_19):
    settings = json.loads(julia_19.with_suffix(".json").read_text())
    julia_19.with_suffix(".json").write_text(json.dumps(settings | {"addable": {}}))
    with pytest.raises(CannotInstallError, match=r"installed, but it does not work: .* no Knet.jl"):
        run(plan("knet", Machine(answers=everybody_answers)))


def test_which_servers_are_asked(machine, monkeypatch):
    asked = []
    machine_ = Machine(answers=lambda url: asked.append(url) or True)
    plan("julia", machine_)
    assert asked == ["https://pkg.julialang.org/registries", setup._DOWNLOADS]
    asked.clear()
    machine.julia()  # of a release that will do: nothing else is downloaded than packages
    monkeypatch.setenv("JULIA_PKG_SERVER", "inside.example")
    setup.forget()
    plan("knet", machine_)
    assert asked == ["https://inside.example/registries"]


def test_offline_nobody_is_asked(machine, monkeypatch):
    monkeypatch.setenv("PYTHON_JULIAPKG_OFFLINE", "yes")
    with pytest.raises(CannotInstallError):
        plan("knet", Machine(answers=lambda url: pytest.fail(url)))


def test_juliacall_is_pinned_as_in_the_package():
    root = Path(__file__).parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["julia"] == [JULIACALL]


def test_answers():
    class Server(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/registries" else 403)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert answers(f"{url}/registries")
        assert not answers(f"{url}/refused")
        server.shutdown()
    assert not answers(f"{url}/registries")


# --- Debian

_APT = """
import json, os, pathlib, sys
root = pathlib.Path({root!r})
with (root / "apt.log").open("a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
words = sys.argv[1:]
if "update" in words:
    sys.exit({update!r})
elif "indextargets" in words:
    print({known!r})
elif "--simulate" in words:
    print({simulated!r})
elif "install" in words and (root / "later" / "julia").exists():
    os.rename(root / "later" / "julia.json", root / "bin" / "julia.json")
    os.rename(root / "later" / "julia", root / "bin" / "julia")
elif "download" in words:
    pathlib.Path("libunwind8_1.3.2-2_amd64.deb").touch()
"""
_DPKG = """
import sys
if sys.argv[1] == "-L":
    print("/usr/share/doc/libjulia1")
    print({system_image!r})
else:
    first, relation, second = sys.argv[2:]
    sys.exit(not {{"ge": first >= second, "le": first <= second}}[relation])
"""
_DPKG_DEB = """
import pathlib, sys
assert sys.argv[1] == "-x" and pathlib.Path(sys.argv[2]).is_file()
folder = pathlib.Path(sys.argv[3], "usr", "lib", "arch")
folder.mkdir(parents=True)
(folder / "libunwind.so.8.0.1").write_text("bullseye's")
(folder / "libunwind.so.8").symlink_to("libunwind.so.8.0.1")
(folder / "libunwind-ptrace.so.0").touch()
"""


@pytest.fixture
def packages(machine):
    """Plant apt-get, dpkg and dpkg-deb; keywords change what apt-get says.

    The Julia that it installs crashes on exceptions until it has a libunwind of its own.
    """
    own = machine.root / "lib" / "julia"
    own.mkdir(parents=True)
    (own / "sys.so").touch()
    machine.julia(
        machine.root / "later", version="1.5.3", crashes_without=str(own / "libunwind.so.8")
    )

    def plant(**said):
        answers = {
            "root": str(machine.root),
            "update": 0,
            "known": "/lists/bullseye",
            "simulated": "Inst julia (1.5.3+dfsg-3 Debian:11.11/oldoldstable [amd64])",
        }
        machine.program("apt-get", _APT.format(**answers | said))
        machine.program("dpkg", _DPKG.format(system_image=str(own / "sys.so")))
        machine.program("dpkg-deb", _DPKG_DEB)
        return own

    return plant


def test_julia_from_debian(machine, apt, packages):
    own = packages()
    actions = plan("julia", debian(apt))
    assert MIRROR in actions[0].sentence
    assert os.listdir(apt / "sources.list.d") == []
    run(actions)
    added = (apt / "sources.list.d" / "pipeline-bench-bullseye.sources").read_text()
    assert added == f"Types: deb\nURIs: {MIRROR}\nSuites: bullseye\nComponents: main\n"
    pin = (apt / "preferences.d" / "pipeline-bench-bullseye").read_text()
    assert pin == "Package: *\nPin: release n=bullseye\nPin-Priority: 100\n"
    assert sorted(os.listdir(own)) == ["libunwind.so.8", "libunwind.so.8.0.1", "sys.so"]
    assert (own / "libunwind.so.8").readlink() == Path("libunwind.so.8.0.1")
    log = (machine.root / "apt.log").read_text()
    assert "--yes install --no-install-recommends julia/bullseye" in log
    assert find_julia().version == "1.5.3"
    assert plan("julia", debian(apt))[0].run is None


def test_a_libunwind_that_fits_stays(machine, apt, packages):
    own = packages()
    machine.julia(machine.root / "later", version="1.5.3")
    run(plan("julia", debian(apt)))
    assert os.listdir(own) == ["sys.so"]
    assert "download" not in (machine.root / "apt.log").read_text()


def test_a_julia_that_crashes_is_mended_without_touching_apts_settings(machine, apt, packages):
    own = packages()
    run(plan("julia", debian(apt)))
    (own / "libunwind.so.8").unlink()
    (own / "libunwind.so.8").symlink_to("nothing")  # half of it is there
    setup.forget()
    assert need_for_julia() is not None
    actions = plan("julia", debian(apt))
    assert not any("pinned" in action.sentence for action in actions)
    run(actions)
    assert need_for_julia() is None


@pytest.mark.parametrize(
    "line",
    [
        "Remv git [1:2.39.5]",
        "Inst libunwind8 [1.6.2-3] (1.3.2-2 Debian:11.11/oldoldstable [amd64])",
    ],
)
def test_nothing_is_replaced(machine, apt, packages, line):
    packages(simulated=line)
    with pytest.raises(CannotInstallError, match="does not fit this system") as caught:
        run(plan("julia", debian(apt)))
    assert line in str(caught.value)
    assert "--yes" not in (machine.root / "apt.log").read_text()


def test_a_newer_package_may_come_along(machine, apt, packages):
    packages(simulated="Inst libc6 [2.36-9] (2.37-1 Debian:12 [amd64])")
    run(plan("julia", debian(apt)))


@pytest.mark.parametrize(
    ("update", "message"),
    [("E: Malformed entry 1 in list", "E: Malformed entry"), (0, "apt found no suite bullseye")],
)
def test_a_mirror_without_the_suite_leaves_nothing_behind(apt, packages, update, message):
    packages(update=update, known="")
    with pytest.raises(CannotInstallError, match=message):
        run(plan("julia", debian(apt)))
    assert os.listdir(apt / "sources.list.d") == []
    assert os.listdir(apt / "preferences.d") == []


def test_other_sources_may_fail(apt, packages):
    packages(update="E: The repository of somebody else is gone")
    run(plan("julia", debian(apt)))
    assert need_for_julia() is None


def test_julia_that_stays_broken(apt, packages, machine):
    packages()
    machine.julia(machine.root / "later", version="1.5.3", crashes_without="/no/such/library")
    with pytest.raises(CannotInstallError, match=r"installed, but it does not work: .* crashes"):
        run(plan("julia", debian(apt)))


@pytest.mark.parametrize(
    ("files", "uri", "trust"),
    [
        (
            {"debian.sources": "Types: deb\nURIs: m://d\nSuites: trixie trixie-updates\n"
             "Components: main\nSigned-By: /k.gpg\n"},
            "m://d",
            {"Signed-By": "/k.gpg"},
        ),
        (
            {"a.list": "# c\ndeb-src x://d/debian bookworm main\n"
             "deb [arch=amd64 signed-by=/k.gpg trusted=yes] x://d/debian bookworm contrib main\n"},
            "x://d/debian",
            {"Signed-By": "/k.gpg", "Trusted": "yes"},
        ),
        (
            {"a.sources": "Types: deb\nURIs: m://other\nSuites: bookworm\nComponents: main\n\n"
             "# next\nTypes: deb-src deb\nURIs: m://us/debian/\nSuites: bookworm\n"
             "Components: main\nSigned-By:\n -----BEGIN\n .\n key\n"},
            "m://us/debian/",
            {"Signed-By": "\n -----BEGIN\n .\n key"},
        ),
        (
            {"a.sources": "Enabled: no\nTypes: deb\nURIs: m://d\nSuites: bookworm\n"
             "Components: main\n", "b.list.bak": "deb m://d bookworm main\n"},
            None,
            None,
        ),
        ({"docker.list": "deb https://d.example/linux/debian bookworm stable\n"}, None, None),
        ({"a.list": "deb http://u.example/ubuntu jammy main\n"}, None, None),
    ],
    ids=["deb822", "one line", "key in the file", "disabled", "third party", "Ubuntu"],
)  # fmt: skip
def test_the_mirror_of_this_machine(tmp_path, files, uri, trust):
    (tmp_path / "sources.list.d").mkdir()
    for name, text in files.items():
        (tmp_path / "sources.list.d" / name).write_text(text)
    source = debian_source(tmp_path)
    assert (source and source.uri) == uri
    assert (source and source.trust) == trust


def test_a_key_in_the_sources_file_is_taken_along(apt, packages):
    packages()
    (apt / "sources.list").write_text("")
    (apt / "sources.list.d" / "d.sources").write_text(
        f"Types: deb\nURIs: {MIRROR}\nSuites: bookworm\nComponents: main\n"
        "Signed-By:\n -----BEGIN\n .\n key\n"
    )
    run(plan("julia", debian(apt)))
    added = (apt / "sources.list.d" / "pipeline-bench-bullseye.sources").read_text()
    assert added.endswith("Components: main\nSigned-By: \n -----BEGIN\n .\n key\n")


# --- no way


def test_not_as_an_ordinary_user(apt, packages):
    packages()
    with pytest.raises(CannotInstallError, match="Debian and root; put Julia"):
        plan("julia", debian(apt, is_root=False))


def test_not_without_apt(apt):
    with pytest.raises(CannotInstallError, match="cannot install Julia here"):
        plan("julia", debian(apt))


def test_knet_needs_the_servers(machine, apt, packages):
    packages()
    machine.julia()
    with pytest.raises(CannotInstallError) as caught:
        plan("knet", debian(apt))
    message = str(caught.value)
    assert "\n" not in message
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT", "JULIA_DEPOT_PATH"):
        assert name in message


@pytest.mark.parametrize("row", ["julia", "knet"])
def test_a_choice_by_hand_is_not_overruled(machine, monkeypatch, row):
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "/nowhere/julia")
    with pytest.raises(CannotInstallError, match=r"PYTHON_JULIACALL_EXE=/nowhere/julia\).*unset"):
        plan(row, Machine(answers=everybody_answers))
