"""Every route to a Julia: real processes, no network; Julia itself only pretends."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import util
from pathlib import Path

import pytest

from harness.backends.julia import installation, private, setup
from harness.backends.julia.actions import run_logged
from harness.backends.julia.debian import (
    Source,
    debian_source,
    trust_in_suite,
    write_configuration,
)
from harness.backends.julia.installation import find_julia, missing_julia
from harness.backends.julia.packages import julia_dir
from harness.backends.julia.setup import JULIACALL, Machine, answers
from harness.backends.setup import CannotInstallError, DoesNotLoadError
from harness.backends.spec import MissingRequirement
from harness.processes import cause

MIRROR = "http://mirror.example/debian"
DEFAULT_PATH = os.environ["PATH"]


def nobody_answers(url):
    return False


def everybody_answers(url):
    return True


# What is answered when a framework is to be loaded: these programs only pretend.
ANSWERS: list[MissingRequirement | None] = []


def plan(target, machine, **options):
    return setup.plan(target, lambda spec: ANSWERS.pop(0) if ANSWERS else None, machine, **options)


@pytest.fixture(autouse=True)
def load():
    ANSWERS.clear()
    return ANSWERS


@pytest.fixture
def apt(machine):
    """The folder of apt's settings, with one source: this machine's mirror."""
    folder = machine.root / "apt"
    (folder / "sources.list.d").mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb {MIRROR} bookworm main\n")
    return folder


def debian(apt):
    return Machine(answers=nobody_answers, apt=apt, keyrings=apt)


def run(actions):
    for action in actions:
        if action.run is not None:
            action.run()


# --- already there


@pytest.mark.parametrize("target", ["julia", "knet"])
def test_what_is_found_is_compiled_and_loaded(machine, target):
    julia = machine.julia(packages={"Knet": machine.package("Knet", "1.4.10")})
    found, load = plan(target, Machine(answers=nobody_answers))
    assert found.run is None
    assert "julia 1.9.4" in found.sentence
    assert ("Knet 1.4.10" in found.sentence) == (target == "knet")
    assert str(julia) in found.sentence
    load.run()
    arguments, environment = machine.calls(julia)[-1]
    assert arguments[-1] == "import PipelineBench, PipelineBenchReference, PipelineBenchKnet"
    assert environment["JULIA_CUDA_USE_BINARYBUILDER"] == "false"


def test_the_packages_of_the_harness_come_last_on_the_load_path(machine, monkeypatch):
    """Since Julia 1.9 nothing that stands after them is looked at for what they depend on."""
    julia = machine.julia(packages={"Knet": machine.package("Knet", "1.4.10")})
    ours = [str(julia_dir() / name) for name in (".", "reference", "knet")]
    for given, first in ((None, [""]), ("@:/theirs", ["@", "/theirs"])):
        if given:
            monkeypatch.setenv("JULIA_LOAD_PATH", given)
        run(plan("knet", Machine(answers=nobody_answers)))
        _, environment = machine.calls(julia)[-1]
        assert environment["JULIA_LOAD_PATH"].split(os.pathsep) == [*first, *ours]


def test_without_knet_only_the_package_that_needs_nothing_is_compiled(machine):
    julia = machine.julia()
    run(plan("julia", Machine(answers=nobody_answers)))
    assert machine.calls(julia)[-1][0][-1] == "import PipelineBench, PipelineBenchReference"


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
    ("printed", "expected"),
    [
        (_PRECOMPILATION, "ERROR: LoadError: ArgumentError: Package NNlib not found"),
        ("ERROR: Failed to precompile Knet\n", "ERROR: Failed to precompile Knet"),
        ("Reading\nE: Unable to lock\nE: Is another process using it?\n", "E: Unable to lock"),
        ("\nSegmentation fault\n", "Segmentation fault"),
        ("", ""),
    ],
)
def test_cause(printed, expected):
    assert cause(printed.splitlines()).startswith(expected)
    assert bool(expected) == bool(cause(printed.splitlines()))


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


# --- Debian: its own programs, on an archive of three small packages


@pytest.fixture
def archive(machine, tmp_path):
    """A mirror with the suite bullseye; its julia is one of the programs that only pretend.

    Needs Debian's own programs: they alone are on PATH. Returns the mirror's address.
    """
    for tool in ("apt-get", "apt-config", "dpkg", "dpkg-deb", "tar", "sh"):
        real = shutil.which(tool, path=DEFAULT_PATH)
        if real is None:
            pytest.skip(f"no {tool} on this machine")
        (machine.bin / tool).symlink_to(real)
    mirror = tmp_path / "mirror" / "debian"
    mirror.mkdir(parents=True)
    julia = machine.julia(tmp_path / "julia" / "usr" / "bin", version="1.5.3")
    libraries = tmp_path / "libjulia1" / "usr" / "lib" / "x86_64-linux-gnu"
    system = tmp_path / "libc6" / "lib" / "x86_64-linux-gnu"
    for folder, file in (libraries, "libjulia.so.1"), (system, "libc.so.6"):
        folder.mkdir(parents=True)
        (folder / file).touch()
    archive = Archive(mirror)
    archive.package(julia.parents[2], depends="libjulia1")
    archive.package(tmp_path / "libjulia1", depends="libc6")
    archive.package(tmp_path / "libc6")
    archive.publish()
    return archive


class Archive:
    """An apt archive, unsigned."""

    def __init__(self, folder):
        self.folder = folder
        self.uri = f"copy:{folder}"
        self.architecture = subprocess.check_output(["dpkg", "--print-architecture"], text=True)
        self.packages = []

    def package(self, files, depends=""):
        control = (
            f"Package: {files.name}\nVersion: 1\nArchitecture: {self.architecture.strip()}\n"
            f"Maintainer: n <n@example.org>\nDescription: d\n"
            + (f"Depends: {depends}\n" if depends else "")
        )
        (files / "DEBIAN").mkdir()
        (files / "DEBIAN" / "control").write_text(control)
        path = self.folder / f"{files.name}_1_all.deb"
        subprocess.run(["dpkg-deb", "--build", files, path], check=True, capture_output=True)
        self.packages.append(f"{control}Filename: {path.name}\n{_sums(path.read_bytes())}\n")

    def publish(self):
        name = f"main/binary-{self.architecture.strip()}/Packages"
        suite = self.folder / "dists" / "bullseye"
        listed = "\n".join(self.packages).encode()
        (suite / name).parent.mkdir(parents=True, exist_ok=True)
        (suite / name).write_bytes(listed)
        (suite / "Release").write_text(
            f"Codename: bullseye\nSuite: oldoldstable\nComponents: main\nArchitectures: "
            f"{self.architecture}Date: Sat, 14 Aug 2021 07:57:41 UTC\n"
            f"SHA256:\n {hashlib.sha256(listed).hexdigest()} {len(listed)} {name}\n"
        )


def _sums(content):
    return f"Size: {len(content)}\nSHA256: {hashlib.sha256(content).hexdigest()}\n"


@pytest.fixture
def trusted(machine, apt, archive):
    """A machine whose apt uses that archive, and takes it without a signature."""
    (apt / "sources.list").write_text(f"deb [trusted=yes] {archive.uri} bookworm main\n")
    return debian(apt)


def test_julia_from_debian_is_unpacked_into_the_users_cache(machine, apt, trusted):
    before = {path: path.read_bytes() for path in apt.rglob("*") if path.is_file()}
    actions = plan("julia", trusted)
    assert str(private.root()) in actions[0].sentence
    assert not private.root().exists()
    run(actions)
    found = find_julia()
    assert (found.version, found.found_by) == ("1.5.3", "cache")
    assert found.executable == private.root() / "usr" / "bin" / "julia"
    # What the system has newer and compatible stays out.
    assert {path.name for path in private.root().rglob("*.so*")} == {"libjulia.so.1"}
    assert sorted(os.listdir(private.root().parent)) == ["bullseye"]
    assert before == {path: path.read_bytes() for path in apt.rglob("*") if path.is_file()}
    assert plan("julia", trusted)[0].run is None


def test_its_libraries_are_for_its_own_process_alone(machine, trusted, monkeypatch):
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    run(plan("julia", trusted))
    assert os.environ["LD_LIBRARY_PATH"] == "/mine"
    ours = f"{private.root()}/usr/lib/x86_64-linux-gnu:/mine"
    assert {call[1]["LD_LIBRARY_PATH"] for call in machine.calls(find_julia().executable)} == {ours}
    worker = installation.worker_environment(None, 1)
    assert worker["LD_LIBRARY_PATH"] == ours
    assert Path(worker["JULIA_DEPOT_PATH"]).is_relative_to(private.root().parent)
    for name, value in worker.items():  # as the worker sees it
        monkeypatch.setenv(name, value)
    assert find_julia().found_by == "PYTHON_JULIACALL_EXE"
    assert installation.worker_environment(None, 1)["LD_LIBRARY_PATH"] == ours


def test_a_depot_chosen_by_hand_stays(machine, trusted, monkeypatch):
    monkeypatch.setenv("JULIA_DEPOT_PATH", "/depot")
    run(plan("julia", trusted))
    assert "JULIA_DEPOT_PATH" not in installation.worker_environment(None, 1)


def test_the_machines_proxy_is_used_and_its_hooks_are_not_run(
    tmp_path, trusted, monkeypatch, archive
):
    settings = tmp_path / "apt.conf"
    settings.write_text(
        f'APT::Update::Pre-Invoke {{ "touch {tmp_path}/hook"; }};\n'
        'Acquire::http::Proxy "http://127.0.0.1:9";\nAcquire::AllowInsecureRepositories "1";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(settings))
    run(plan("julia", trusted))
    assert missing_julia() is None
    assert not (tmp_path / "hook").exists()
    configuration = tmp_path / "written"
    write_configuration(configuration, tmp_path / "folder")
    monkeypatch.setenv("APT_CONFIG", str(configuration))
    shown = subprocess.check_output(["apt-config", "dump"], text=True)
    assert 'Acquire::http::Proxy "http://127.0.0.1:9";' in shown
    assert 'Acquire::AllowInsecureRepositories "0";' in shown


def test_what_is_not_signed_is_refused(apt, archive):
    (apt / "sources.list").write_text(f"deb {archive.uri} bookworm main\n")
    with pytest.raises(CannotInstallError, match="is not signed"):
        run(plan("julia", debian(apt)))
    assert os.listdir(private.root().parent) == []


def test_what_was_changed_on_the_way_is_refused(archive, trusted):
    path = archive.folder / "libjulia1_1_all.deb"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CannotInstallError, match="Hash Sum mismatch"):
        run(plan("julia", trusted))
    assert os.listdir(private.root().parent) == []


def test_a_mirror_without_the_suite(archive, trusted):
    shutil.rmtree(archive.folder / "dists")
    with pytest.raises(CannotInstallError, match=r"'apt-get update' failed: E: .*bullseye"):
        run(plan("julia", trusted))


def test_an_installation_that_does_not_load_is_replaced(trusted, load):
    run(plan("julia", trusted))
    (private.root() / "damaged").touch()
    load += [MissingRequirement("sys.so is damaged", "bench setup julia")]
    with pytest.raises(DoesNotLoadError, match=r"sys\.so is damaged"):
        run(plan("julia", trusted))
    run(plan("julia", trusted, repair=True))
    assert sorted(os.listdir(private.root())) == ["usr"]
    assert sorted(os.listdir(private.root().parent)) == ["bullseye"]


def test_a_broken_julia_on_path_gives_way_to_debians(machine, trusted):
    machine.julia(crashes_without="/no/libunwind")
    run(plan("julia", trusted))
    assert find_julia().found_by == "cache"


def test_what_debian_brought_must_work(machine, trusted, monkeypatch):
    monkeypatch.setattr(installation, "_OLDEST", (1, 6))
    with pytest.raises(CannotInstallError, match=r"installed, but it does not work: .* older"):
        run(plan("julia", trusted))


@pytest.mark.parametrize(
    ("keys", "trust", "expected"),
    [
        (["bullseye-automatic.gpg", "bullseye-stable.gpg", "trixie-stable.gpg"], {}, "both"),
        (["bullseye-stable.gpg"], {"Trusted": "yes"}, {"Trusted": "yes"}),
        (["trixie-stable.gpg"], {"Signed-By": "/k.gpg"}, {"Signed-By": "/k.gpg"}),
        ([], {"Signed-By": "\n -----BEGIN\n .\n key"}, {"Signed-By": "\n -----BEGIN\n .\n key"}),
    ],
    ids=["the suite's keys", "trusted", "no keys of the suite", "key in the file"],
)
def test_which_keys_are_trusted(tmp_path, keys, trust, expected):
    for key in keys:
        (tmp_path / f"debian-archive-{key}").touch()
    if expected == "both":
        names = [f"{tmp_path}/debian-archive-{key}" for key in keys[:2]]
        expected = {"Signed-By": " ".join(names)}
    assert trust_in_suite(Source("m://d", ("trixie",), trust), tmp_path) == expected


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


# --- no way


def test_not_without_apt(apt):
    with pytest.raises(CannotInstallError, match="cannot install Julia here"):
        plan("julia", debian(apt))


def test_not_without_a_source_of_debian(apt, archive):
    (apt / "sources.list").write_text("")
    with pytest.raises(CannotInstallError, match="apt has no source of Debian's packages"):
        plan("julia", debian(apt))


def test_knet_needs_the_servers(machine, trusted):
    machine.julia()
    with pytest.raises(CannotInstallError) as caught:
        plan("knet", trusted)
    message = str(caught.value)
    assert "\n" not in message
    for name in ("PYTHON_JULIACALL_EXE", "PYTHON_JULIACALL_PROJECT", "JULIA_DEPOT_PATH"):
        assert name in message


@pytest.mark.parametrize("target", ["julia", "knet"])
def test_a_choice_by_hand_is_not_overruled(machine, monkeypatch, target):
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "/nowhere/julia")
    with pytest.raises(CannotInstallError, match=r"PYTHON_JULIACALL_EXE=/nowhere/julia\).*unset"):
        plan(target, Machine(answers=everybody_answers))
