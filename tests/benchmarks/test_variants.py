"""The bare loops of the overhead benchmark do what the harness's own epoch does."""

from __future__ import annotations

import json

from harness.paths import benchmarks_dir

CODE = """
import json, sys
import numpy as np
sys.path.insert(0, sys.argv[1])
import variants_torch
from pathlib import Path
from harness.backends.base import TrainingJob
from harness.backends.torch.train import TorchBackend
from harness.config import Optimizer
backend = TorchBackend(TrainingJob(
    model="lenet5", dataset=Path(sys.argv[2]), optimizer=Optimizer(), precision="float32",
    threads=1, network="harness.models.lenet5.torch",
))
order, rates = np.arange(40).reshape(5, 8), np.full(5, 0.1)
ours = variants_torch.ours(backend, order, rates)
loss, calls = backend.compute_loss, []
backend.compute_loss = lambda *batch: calls.append(len(batch[1])) or loss(*batch)
found = []
for epoch in ours, variants_torch.bare(backend, order, rates):
    calls.clear()
    epoch()
    found.append(list(calls))
print(json.dumps(found))
"""


def test_the_bare_loop_of_pytorch_computes_the_same_loss(python, ready, small_file):
    """The compiled one, where it is compiled."""
    ready("torch")
    done = python("-c", CODE, benchmarks_dir(), small_file)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[8] * 5] * 2
