"""Quotas of control groups, as the kernel writes them and in a real group where one can be made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import cpus
from harness.cpus import available_cpus, cpu_quota, cpu_seconds, quiet_cpus


def machine(root: Path, cgroup: str, mount: str, files: dict[str, str]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    (root / "proc/self/mountinfo").write_text(mount)
    for name, content in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
V1 = "33 31 0:30 {root} /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"


@pytest.mark.parametrize(
    ("cgroup", "mount", "files", "expected"),
    [
        ("0::/\n", V2, {"cpu.max": "50000 100000\n"}, 0.5),
        ("0::/\n", V2, {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", V2, {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", V2, {"a/cpu.max": "max 1\n", "a/b/cpu.max": "20000 10000\n"}, 2.0),
        (
            "1:cpu,cpuacct:/d/x\n0::/\n",
            V1.format(root="/"),
            {"cpu/d/x/cpu.cfs_quota_us": "50000\n", "cpu/d/x/cpu.cfs_period_us": "100000"},
            0.5,
        ),
        (
            "1:cpu,cpuacct:/docker/x\n",
            V1.format(root="/docker/x"),
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3.0,
        ),
        (
            "1:cpu:/\n",
            V1.format(root="/"),
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
        ),
        ("0::/\n", V2, {"cpu.max": "nonsense\n"}, None),
        ("0::/\n", V2, {"cpu.max": "1 0\n"}, None),
        ("0::/\n", "", {}, None),
    ],
)  # fmt: skip
def test_quotas(tmp_path, cgroup, mount, files, expected):
    assert cpu_quota(machine(tmp_path, cgroup, mount, files)) == expected


@pytest.mark.parametrize(("quota", "most"), [(50_000, 1), (199_999, 1), (200_000, 2)])
def test_no_more_processors_than_the_quota_is_worth(tmp_path, quota, most):
    root = machine(tmp_path, "0::/\n", V2, {"cpu.max": f"{quota} 100000\n"})
    unlimited = available_cpus(tmp_path / "absent")
    assert available_cpus(root) == unlimited[:most]
    assert len(available_cpus(root)) >= 1


def test_without_proc(tmp_path):
    assert cpu_quota(tmp_path) is None


def test_a_real_group_of_half_a_processor(python):
    """The whole chain, down to the default of --threads."""
    group = Path("/sys/fs/cgroup/cpu") / f"bench-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cpu.cfs_quota_us").write_text("50000")
        (group / "cpu.cfs_period_us").write_text("100000")
    except OSError as error:
        if group.is_dir():
            group.rmdir()
        pytest.skip(f"no control group can be made here: {error}")
    try:
        done = python(
            "-c",
            "import os, sys; from pathlib import Path\n"
            "Path(sys.argv[1], 'cgroup.procs').write_text(str(os.getpid()))\n"
            "from harness.config import Experiment; print(Experiment().threads)",
            group,
        )
    finally:
        group.rmdir()
    assert (done.stdout, done.stderr) == ("1\n", "")


@pytest.mark.parametrize(
    ("busy", "expected"),
    [((), (2, 3, 5)), ((2,), (3, 5, 7)), ((2, 5), (3, 7, 2)), ((2, 3, 5, 7), (2, 3, 5))],
)
def test_processors_that_others_use_come_last(monkeypatch, busy, expected):
    readings = iter([{}, {cpu: 0.09 if cpu in busy else 0.01 for cpu in (2, 3, 5, 7)}])
    monkeypatch.setattr(cpus, "permitted_cpus", lambda: (2, 3, 5, 7))
    monkeypatch.setattr(cpus, "cpu_quota", lambda root: 3.0)
    monkeypatch.setattr(cpus, "cpu_seconds", lambda: next(readings))
    assert quiet_cpus(1) == expected
    assert quiet_cpus(4) == (2, 3, 5, 7)


def test_work_is_seen_on_the_processor_that_does_it():
    cpu = available_cpus()[-1]
    before = cpu_seconds()
    code = (
        f"import os, time\nos.sched_setaffinity(0, [{cpu}])\nwhile time.process_time() < 0.5: pass"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert cpu_seconds()[cpu] - before[cpu] > 0.4
