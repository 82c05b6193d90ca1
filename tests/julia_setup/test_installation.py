"""Finding Julia: in which order, the message about a broken one, and what its process needs."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.backends.julia import installation, private
from harness.backends.julia.installation import (
    Installation,
    environment,
    find_julia,
    forget,
    location,
    missing_julia,
    missing_knet,
    openblas_core,
    versions_with,
)
from harness.errors import BenchError


def needs_juliapkg():
    return pytest.importorskip("juliapkg", reason="juliapkg is not installed")


def test_without_any_the_error_says_what_to_do(machine):
    with pytest.raises(BenchError, match=r"^found no Julia on this machine; to fix: bench setup j"):
        find_julia()
    assert str(missing_julia()) == str(missing_knet())
    assert (versions_with(), location()) == ({}, "")
    assert not machine.juliapkg.exists()  # looking resolves nothing


def test_what_julia_says_of_itself(machine):
    julia = machine.julia(
        version="1.5.3", llvm="9.0.1", packages={"Knet": machine.package("Knet", "1.4.10")}
    )
    assert find_julia() == Installation(
        executable=julia,
        version="1.5.3",
        found_by="PATH",
        bindir=machine.bin,
        libjulia=Path("/lib/libjulia.so.1"),
        system_image=Path("/lib/sys.so"),
        llvm="9.0.1",
        project=None,
        packages={"Knet": "1.4.10"},
    )
    assert versions_with() == {"julia": "1.5.3"}
    assert versions_with("Knet").items() >= {"Knet": "1.4.10", "julia": "1.5.3"}.items()
    assert location() == f"{julia} (PATH)"
    assert (missing_julia(), missing_knet()) == (None, None)


def test_it_is_run_once_and_again_when_something_was_installed(machine):
    julia = machine.julia()
    for _ in range(3):
        find_julia()
        missing_knet()
    assert len(machine.calls(julia)) == 1
    forget()
    find_julia()
    assert len(machine.calls(julia)) == 2


def test_a_julia_without_knet_is_ready_for_one_row_only(machine):
    julia = machine.julia()
    assert missing_julia() is None
    missing = missing_knet()
    assert missing is not None
    assert missing.why == f"Julia 1.9.4 at {julia} (no project) has no Knet.jl"
    assert missing.fix == "bench setup knet"


def test_one_that_is_named_wins(machine, monkeypatch):
    machine.julia()
    named = machine.julia(machine.root / "mine", version="1.8.5")
    project = machine.root / "project"
    project.mkdir()
    (project / "Project.toml").touch()
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(named))
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(project))
    monkeypatch.setenv("JULIA_PROJECT", "/elsewhere")
    found = find_julia()
    assert (found.executable, found.found_by) == (named, "PYTHON_JULIACALL_EXE")
    assert found.project == project
    assert location("Knet") == f"{named} (PYTHON_JULIACALL_EXE, project {project})"


def test_one_that_is_named_and_broken_is_not_replaced(machine, monkeypatch):
    machine.julia()
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", "/nowhere/julia")
    with pytest.raises(BenchError, match=r"^cannot run Julia at /nowhere/julia: No such file.*EXE"):
        find_julia()


def test_a_project_that_is_named_must_be_one(machine, monkeypatch):
    machine.julia()
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(machine.root))
    with pytest.raises(BenchError, match=r"^PYTHON_JULIACALL_PROJECT=.* holds no Project.toml"):
        find_julia()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crashes_without": "/no/libunwind"}, r"1\.9\.4 at .* crashes on exceptions \(SIGSEGV"),
        ({"broken": "cannot open sys.so"}, "does not work: cannot open sys.so"),
        ({"version": "1.4.2"}, r"Julia 1\.4\.2 at .* is older than 1\.5"),
        ({"sleeps": 20}, "did not answer in 1 s"),
    ],
)
def test_a_broken_one(machine, monkeypatch, settings, message):
    if "sleeps" in settings:
        monkeypatch.setattr(installation, "_PROBE_TIMEOUT_S", 1)
    machine.julia(**settings)
    with pytest.raises(BenchError, match=rf"{message}.*; to fix: bench setup julia$") as caught:
        find_julia()
    assert "\n" not in str(caught.value)


def test_juliapkg_comes_last_with_its_own_project(machine):
    needs_juliapkg()
    on_path = machine.julia()
    managed = machine.julia(
        machine.root / "managed",
        packages={"Knet": machine.package("Knet", "1.4.10")},
        packages_in=str(machine.juliapkg),
    )
    machine.settle_juliapkg(managed)
    assert find_julia().executable == on_path
    assert find_julia().project is None  # which was not resolved for that one
    found = find_julia("Knet")
    assert (found.executable, found.found_by) == (managed, "juliapkg")
    assert found.project == machine.juliapkg
    assert missing_knet() is None
    on_path.unlink()
    assert find_julia().executable == managed


def test_juliapkg_may_have_settled_on_the_julia_on_path(machine):
    needs_juliapkg()
    julia = machine.julia(
        packages={"Knet": machine.package("Knet", "1.4.10")}, packages_in=str(machine.juliapkg)
    )
    machine.settle_juliapkg(julia)
    found = find_julia("Knet")
    assert (found.found_by, found.project) == ("PATH", machine.juliapkg)


def test_a_broken_julia_on_path_gives_way_to_juliapkgs(machine):
    needs_juliapkg()
    machine.julia(crashes_without="/no/libunwind")
    managed = machine.julia(machine.root / "managed")
    machine.settle_juliapkg(managed)
    assert find_julia().executable == managed


def test_a_damaged_note_of_juliapkg_counts_as_none(machine):
    needs_juliapkg()
    machine.settle_juliapkg(machine.julia(machine.root / "managed"))
    (machine.juliapkg / "pyjuliapkg" / "meta.json").write_text("{")
    assert missing_julia() is not None


INSTALLATION = Installation(
    executable=Path("/opt/julia"), version="1.9.4", found_by="PATH", bindir=Path("/opt"),
    libjulia=Path("/lib/libjulia.so"), system_image=Path("/lib/sys.so"), llvm="14.0.6",
    project=None, packages={},
)  # fmt: skip
OLD = replace(INSTALLATION, version="1.5.3", llvm="9.0.1")


@pytest.fixture
def cpu(machine, monkeypatch):
    """This machine's CPU is one with AVX-512; nothing is set by hand."""
    monkeypatch.setattr(installation, "_cpuinfo", lambda: "flags\t\t: fma avx2 avx512f")


def test_what_a_process_needs(cpu):
    no_gpu = {"CUDA_VISIBLE_DEVICES": "-1", "JULIA_CUDA_USE_BINARYBUILDER": "false"}
    assert environment(INSTALLATION, 3) == no_gpu | {
        "JULIA_NUM_THREADS": "3",
        "PYTHON_JULIACALL_EXE": "/opt/julia",
    }
    assert environment(OLD, 1) == no_gpu | {
        "JULIA_NUM_THREADS": "1",
        "PYTHON_JULIACALL_EXE": "/opt/julia",
        "OPENBLAS_CORETYPE": "SkylakeX",
        "JULIA_LLVM_ARGS": "-memdep-block-scan-limit=1",
    }
    with_project = environment(replace(INSTALLATION, project=Path("/p")), 1)
    assert with_project["JULIA_PROJECT"] == with_project["PYTHON_JULIACALL_PROJECT"] == "/p"


def test_what_was_set_by_hand_stays(cpu, monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("JULIA_LLVM_ARGS", "")
    assert not {"OPENBLAS_CORETYPE", "JULIA_LLVM_ARGS"} & set(environment(OLD, 1))


def test_a_process_with_that_environment_finds_the_same_julia(machine, monkeypatch):
    needs_juliapkg()
    machine.julia()
    managed = machine.julia(
        machine.root / "managed", packages={"Knet": machine.package("Knet", "1.4.10")}
    )
    machine.settle_juliapkg(managed)
    chosen = find_julia("Knet")
    for name, value in environment(chosen, 1).items():
        monkeypatch.setenv(name, value)
    assert find_julia() == replace(chosen, found_by="PYTHON_JULIACALL_EXE")


@pytest.mark.parametrize(
    ("cpuinfo", "core"),
    [
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx2 avx512f\n\nprocessor : 1", "SkylakeX"),
        ("vendor_id\t: AuthenticAMD\nflags\t\t: fma avx2\n", "Zen"),
        ("vendor_id\t: GenuineIntel\nflags\t\t: fma avx2\n", "Haswell"),
        ("vendor_id\t: GenuineIntel\nflags\t\t: avx avx2\n", None),
        ("Features\t: asimd sve\n", None),
        ("", None),
    ],
)
def test_the_kernels_that_fit_a_cpu(cpuinfo, core):
    assert openblas_core(cpuinfo) == core


@pytest.fixture(scope="module")
def julia_here():
    """The Julia of this machine, and what it needs in its environment."""
    reason = missing_julia()
    if reason is not None:
        pytest.skip(str(reason))
    found = find_julia()
    return found.executable, private.environment(found.executable)


@pytest.fixture
def real(julia_here, machine, monkeypatch):
    executable, settings = julia_here
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHON_JULIACALL_EXE", str(executable))
    return machine


def test_a_real_julia(real):
    found = find_julia()
    assert found.release >= (1, 5)
    assert found.bindir.is_dir()
    assert found.libjulia.is_file()
    assert found.libjulia.name.startswith("libjulia.")
    assert found.system_image.is_file()
    assert found.llvm.split(".")[0].isdigit()
    assert (found.project, dict(found.packages)) == (None, {})


def test_packages_of_a_real_julia(real, monkeypatch, tmp_path):
    """Knet stands in the project; AutoGrad in the manifest alone, as Knet's dependency."""
    uuids = {
        "Knet": "1902f260-5fb4-5aff-8c31-6271790ab950",
        "AutoGrad": "6710c13c-97f1-543f-91c5-74e8f7d95b35",
    }
    for name, version in {"Knet": "1.4.10", "AutoGrad": "1.2.5"}.items():
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "src" / f"{name}.jl").write_text('error("it was loaded")')
        (tmp_path / name / "Project.toml").write_text(
            f'name = "{name}"\nuuid = "{uuids[name]}"\nversion = "{version}"\n'
        )
    (tmp_path / "Project.toml").write_text(f'[deps]\nKnet = "{uuids["Knet"]}"\n')
    (tmp_path / "Manifest.toml").write_text(
        f'[[AutoGrad]]\npath = "AutoGrad"\nuuid = "{uuids["AutoGrad"]}"\nversion = "1.2.5"\n\n'
        f'[[Knet]]\ndeps = ["AutoGrad"]\npath = "Knet"\nuuid = "{uuids["Knet"]}"\n'
        'version = "1.4.10"\n'
    )
    monkeypatch.setenv("PYTHON_JULIACALL_PROJECT", str(tmp_path))
    found = find_julia("Knet")
    assert dict(found.packages) == {"Knet": "1.4.10", "AutoGrad": "1.2.5"}
    assert found.project is not None
    assert os.path.samefile(found.project, tmp_path)
