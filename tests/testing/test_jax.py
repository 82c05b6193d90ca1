"""The conformance kit on the variants of JAX."""

from __future__ import annotations

import os

import pytest

from harness.testing.backend import BackendConformance

# Parity compares these with the plain form in every run.
NIGHTLY = pytest.mark.skipif(os.environ.get("BENCH_NIGHTLY") != "1", reason="nightly")


class TestJax(BackendConformance):
    backend = "jax"
    models = ("xraynet",)


@NIGHTLY
class TestSpaceToDepth(BackendConformance):
    backend = "jax-s2d"
    models = ("lenet5",)


@NIGHTLY
class TestScan(BackendConformance):
    backend = "jax-scan"
    models = ("lenet5",)


@NIGHTLY
class TestJaxBfloat16(BackendConformance):
    backend = "jax-bf16"
    models = ("lenet5",)
