"""The conformance kit on the variants of PyTorch."""

from __future__ import annotations

import os

import pytest

from harness.testing.backend import BackendConformance

# Parity compares these with the plain form in every run.
NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly")


class TestTorch(BackendConformance):
    backend = "torch"
    models = ("xraynet",)


@NIGHTLY
class TestTorchChannelsLast(BackendConformance):
    backend = "torch-channels-last"
    models = ("lenet5",)


class TestTorchCompile(BackendConformance):
    backend = "torch-compile"
    models = ("lenet5-relu",)


@NIGHTLY
class TestTorchBfloat16(BackendConformance):
    backend = "torch-bf16"
    models = ("lenet5",)
