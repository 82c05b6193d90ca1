"""Backends with one fault each, as a plug-in that is found through its entry point.

PyTorch's backend but for the fault. The folder of this file is put on PYTHONPATH; nothing here
imports a framework before a worker does.
"""

from __future__ import annotations

from dataclasses import replace

from harness.backends.torch.plugin import BACKENDS as BUILT_IN

FAULTS = (
    "KeepsVelocity",
    "ReturnsEarly",
    "IgnoresAugmentation",
    "DropsLastBatch",
    "Drifts",
    "WritesIntoTheOrder",
    "TestsOnValidation",
    "LearnsWhileLooking",
    "SingleInDouble",
    "CompilesLate",
    "OneLossForAll",
    "InfersOtherwise",
    "DecoupledDecay",
)

(TORCH,) = (spec for spec in BUILT_IN if spec.name == "torch")
BACKENDS = tuple(
    replace(TORCH, name=f"faulty-{fault}", factory=f"faults:{fault}", by_default=False)
    for fault in FAULTS
)
