"""The conformance kit on the variants of PyTorch."""

from __future__ import annotations

from harness.testing.backend import BackendConformance


class TestTorch(BackendConformance):
    backend = "torch"
    models = ("xraynet",)


class TestTorchChannelsLast(BackendConformance):
    backend = "torch-channels-last"
    models = ("lenet5",)


class TestTorchCompile(BackendConformance):
    backend = "torch-compile"
    models = ("lenet5-relu",)


class TestTorchBfloat16(BackendConformance):
    backend = "torch-bf16"
    models = ("lenet5",)
