"""What a start leaves on the machine: nothing outside the run and the user's cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.backends.base import TrainingJob
from harness.config import Optimizer
from harness.execution.worker import Worker
from harness.plugins import backends, find_model
from harness.protocol.weights import initial_weights


@pytest.mark.parametrize(
    ("name", "cold"), [("torch-compile", True), ("jax", False), ("julia-reference", False)]
)
def test_a_worker_leaves_no_file_in_the_temporary_folder(
    name, cold, small_file, tmp_path, ready, monkeypatch
):
    ready(name)
    temporary, caches = tmp_path / "temporary", tmp_path / "caches"
    temporary.mkdir()
    caches.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    spec = backends()[name]
    job = TrainingJob(
        model="lenet5", dataset=small_file, optimizer=Optimizer(), precision="float32", threads=1
    )
    weights = initial_weights(find_model("lenet5").parameters((1, 12, 12), 3), seed=0)
    with Worker(spec, threads=1, environment=spec.caches(caches) if cold else {}) as worker:
        worker.import_framework()
        worker.build(job, weights)
        worker.train_epoch(np.arange(8).reshape(2, 4), np.full(2, 0.01))
        worker.predict("test")
    assert list(temporary.iterdir()) == []
    if cold:  # even what Inductor keeps for all programs is this start's own
        assert {path.name for path in caches.iterdir()} >= {"headers", "inductor"}
        assert list(caches.glob("headers/**/*.gch"))


def test_what_torch_compiles_is_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    specs = [spec for spec in backends().values() if spec.family and spec.family.name == "torch"]
    assert len(specs) >= 4
    for spec in specs:
        places = spec.environment(1)
        assert {*places} == {*spec.caches(tmp_path / "cold")}, spec.name
        assert all(Path(place).is_relative_to(tmp_path) for place in places.values())


def test_a_user_without_a_cache_can_train(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert backends()["torch"].environment(1) == {}
