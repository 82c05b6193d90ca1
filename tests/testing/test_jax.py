"""The conformance kit on the variants of JAX."""

from __future__ import annotations

from harness.testing.backend import BackendConformance


class TestJax(BackendConformance):
    backend = "jax"
    models = ("xraynet",)


class TestSpaceToDepth(BackendConformance):
    backend = "jax-s2d"
    models = ("lenet5",)


class TestScan(BackendConformance):
    backend = "jax-scan"
    models = ("lenet5",)


class TestJaxBfloat16(BackendConformance):
    backend = "jax-bf16"
    models = ("lenet5",)
